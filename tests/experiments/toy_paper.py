"""A small paper to reproduce; a plugin of the reproduction tests.  Its published values lie in TOY_PUBLISHED."""

from __future__ import annotations

import os

import polars as pl

from cosim.experiments.papers import PAPERS, Case, Item, Measure, Paper, Size, bar_charts

SHORT = {"warmup": "0 s", "duration": "8 s"}

ITEM = Item(
    name="table1",
    description="Vehicles and collisions",
    cases=tuple(
        Case(f"q{q}", f"highway_{q}vph", agents=("driving=common.keep_lane",), labels={"flow": q})
        for q in (150, 350)
    ),
    measures=(
        Measure("collisions_per_hour"),
        Measure("driving.decisions"),
        Measure("vehicles", of=lambda run: float(run.steps["n_vehicles"].max())),
    ),
    quick=Size(seeds="0:2", overrides={"warmup": "0 s", "duration": "4 s"}),
    full=Size(seeds="0:3", overrides=SHORT),
    published=os.environ.get("TOY_PUBLISHED", ""),
    draw=bar_charts("flow"),
    note="A toy.",
)


def computed(folder, size, jobs):
    """A result that needs no run."""
    return pl.DataFrame({"case": ["a"] * 3, "seed": [0, 1, 2], "answer": [41.0, 42.0, 43.0]})


COMPUTED = Item(
    name="figure2",
    description="The answer",
    cases=(Case("a", ""),),
    measures=(Measure("answer"),),
    quick=Size(seeds=0),
    full=Size(seeds=0),
    compute=computed,
)

PAPER = Paper("toy", "A toy paper", (ITEM, COMPUTED))
PAPERS.register("toy")(PAPER)
