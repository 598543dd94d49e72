"""Fig. 12: which game topologies TPE and GAT-MADQN meet while they train, as heat maps at five points of it.

The topology vector v of every fourth instant is hashed to a cell (:mod:`agents.tpe_marl.heatmap`); a map holds all
samples so far.  The full size trains both methods for the paper's 400,000 steps and samples what is collected.  The
quick size lets the exploring policies that every training keeps at each fifth drive for some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.common.shipped import Shipped
from agents.tpe_marl.heatmap import CELLS, heat_map, random_signs
from agents.tpe_marl.items.cells import TRAINED_FLOW, VARIANT, recipe, scenario, shipped
from agents.tpe_marl.topology import SLOTS, SimHash, window_ranks, window_topology, window_vectors
from cosim.errors import ScenarioError
from cosim.experiments.papers import Case, Item, Material, Measure, Size
from cosim.lockstep.learner import Window
from cosim.plots.quantities import Quantity

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

METHODS = ("tpe_qmix", "gat_madqn")
SHARE = 100
POINTS = 5
EVERY = 4
"""Instants between two samples."""
SIGNS_SEED = 0
SKIPPED = 2
"""Windows (18 s each) that fill the road before a kept policy is sampled."""
_COUNTS = "counts.npz"


def vectors(window: Window, hash_: SimHash) -> NDArray[np.float32]:
    """Return v (S, 100) of every fourth instant of a window in which somebody is there; distances as they are."""
    whole = window_topology(window.obs, window.first, window.active, hash_)
    instant = window.instants()
    rank = window_ranks(window.obs[:, 0], instant, window.active)
    tensor = whole.tensor(hash_, distance_scale=1.0)
    found = window_vectors(tensor, rank, instant, len(window.first) - 1, SLOTS)
    there = np.flatnonzero(np.diff(window.first)[:-1])
    return np.asarray(found[there[there % EVERY == 0]])


def counted(windows: Sequence[Window], hash_: SimHash, signs: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return how many samples of *windows* fall into each cell, (32, 32)."""
    counts = np.zeros((CELLS, CELLS), dtype=np.int64)
    for window in windows:
        counts += heat_map(vectors(window, hash_), signs)
    return counts


# -- quick: the policies that a training kept --


def kept(method: str) -> tuple[Shipped, tuple[Path, ...]] | None:
    """Return a shipped policy of *method* with the exploring ones kept on its way, None if none is shipped."""
    for policy in shipped():
        if (policy.method, policy.scenario) == (method, scenario(TRAINED_FLOW, SHARE)):
            folder = policy.file(".snapshots")
            files = tuple(sorted(folder.glob("*.safetensors"))) if folder is not None else ()
            if files:
                return policy, files
    return None


def sampled(files: Sequence[Path], windows: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Let each kept policy drive and explore for *windows* windows; yield its steps of training and the counts."""
    from cosim.experiments.crew import Crew
    from cosim.experiments.rollout import Job
    from cosim.experiments.train_config import make_plan
    from cosim.lockstep.weights import read_policy

    hash_, signs = SimHash.random(SIGNS_SEED), random_signs(SIGNS_SEED)
    policies = [read_policy(path) for path in files]
    about = policies[0].about
    plan = _plan(make_plan, about, seed)
    job = Job(
        collect=plan.collect,
        evaluate=plan.evaluate,
        task=plan.task,
        agent=plan.agent,
        config=dict(about["config"]),
        seed=seed,
        steps=int(about["training"]["steps"]),
        window=plan.window,
        windows=windows + SKIPPED,
    )
    with Crew(job, plan.info, 1, "process") as crew:
        crew.open()
        for leg, policy in enumerate(policies):
            crew.begin(leg)
            crew.start(policy.arrays, windows + SKIPPED)
            (haul,) = crew.hauls()
            yield int(policy.about["steps"]), counted(haul.windows[SKIPPED:], hash_, signs)


def _plan(make_plan: Any, about: dict[str, Any], seed: int) -> Any:
    from cosim.scenario import load_scenario

    settings = [f"{key}={value}" for key, value in VARIANT.items()]
    whole = load_scenario(scenario(TRAINED_FLOW, SHARE), settings)
    plan = make_plan(whole, about["agent"], task=about["task"], recipe="default", seed=seed, training={})
    return replace(plan, config=plan.kind.Config.model_validate(about["config"]))


# -- full: the training itself --


class Watcher:
    """Counts the cells of everything a training collects, and holds them for each fifth of it.

    The counts are written at the end of each call, so that a training that was stopped goes on with them; what is
    collected again after a resume replaces what had been counted for it.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self._path, self._steps = folder / _COUNTS, steps
        self._hash, self._signs = SimHash.random(SIGNS_SEED), random_signs(SIGNS_SEED)
        self._rounds: dict[int, NDArray[np.int64]] = {}
        if self._path.is_file():
            with np.load(self._path) as held:
                self._rounds = dict(zip(held["steps"].tolist(), held["counts"], strict=True))

    def __call__(self, steps: int, windows: Sequence[Window]) -> None:
        """Count a round that ends after *steps*."""
        self._rounds = {at: held for at, held in self._rounds.items() if at < steps}
        self._rounds[steps] = counted(windows, self._hash, self._signs)

    def save(self) -> None:
        """Write the counts of all rounds so far."""
        order = sorted(self._rounds)
        counts = (
            np.stack([self._rounds[at] for at in order]) if order else np.zeros((0, CELLS, CELLS), np.int64)
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self._path, steps=np.array(order, dtype=np.int64), counts=counts)

    def fifths(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Return, for each fifth, its last step and the counts made in it."""
        ends = [self._steps * (k + 1) // POINTS for k in range(POINTS)]
        found = []
        for first, last in zip([0, *ends[:-1]], ends, strict=True):
            inside = [
                held for at, held in self._rounds.items() if first < at <= last or (last == ends[-1] < at)
            ]
            found.append(
                (last, np.sum(inside, axis=0) if inside else np.zeros((CELLS, CELLS), dtype=np.int64))
            )
        return found


def trained(method: str, folder: Path, steps: int, seed: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Train a method, or go on with it, and return the counts of each fifth of it."""
    from cosim.experiments.training import TrainOptions, resume_training, train

    home = folder / "trainings" / f"{method}-s{seed}"
    watcher = Watcher(folder / "trainings" / f"{method}-s{seed}-counts", steps)
    if (home / "curve.parquet").is_file():
        return watcher.fifths()
    options = TrainOptions(out=home, watch=watcher)
    try:
        if (home / "training.json").is_file():
            done = resume_training(home, options)
        else:
            settings = [f"{key}={value}" for key, value in VARIANT.items()]
            name = scenario(TRAINED_FLOW, SHARE)
            agent = f"tpe_marl.{method}"
            done = train(
                name,
                agent,
                options,
                recipe=recipe(method, steps),
                seed=seed,
                overrides=settings,
                steps=steps,
                workers=1,
                overlap=True,
            )
    finally:
        watcher.save()
    if done.error is not None:
        raise done.error
    if done.status == "interrupted":
        raise KeyboardInterrupt
    return watcher.fifths()


# -- the item --


def compute(folder: Path, size: Size, jobs: int | None) -> pl.DataFrame:
    """Return a row a method and point: cells reached so far, and how evenly; write the maps to ``maps.npz``."""
    import polars as pl

    steps, windows = int(size.overrides["steps"]), int(size.overrides["windows"])
    rows: list[dict[str, Any]] = []
    maps: dict[str, Any] = {}
    for method in METHODS:
        found = list(_points(method, folder, steps, windows))
        total = np.zeros((CELLS, CELLS), dtype=np.int64)
        for k, (at, counts) in enumerate(found):
            total = total + counts
            maps[f"{method}-{k}"] = total
            rows.append(
                {
                    "case": f"{method}-{100 * (k + 1) // POINTS}",
                    "seed": 0,
                    "run": method,
                    "steps": at,
                    "samples": int(total.sum()),
                    "cells": int(np.count_nonzero(total)),
                    "cells_now": int(np.count_nonzero(counts)),
                    "entropy": entropy(total),
                }
            )
    if not rows:
        return pl.DataFrame(schema={"case": pl.String, "seed": pl.Int64, "run": pl.String})
    np.savez_compressed(folder / "maps.npz", **maps)
    return pl.DataFrame(rows)


def _points(method: str, folder: Path, steps: int, windows: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    if steps:
        yield from trained(method, folder, steps, seed=1)
        return
    found = kept(method)
    if found is None:
        return
    if len(found[1]) != POINTS:
        raise ScenarioError(f"{found[1][0].parent}: holds {len(found[1])} policies, expected {POINTS}")
    yield from sampled(found[1], windows, seed=1)


def entropy(counts: NDArray[np.int64]) -> float:
    """Return the entropy of the cells' shares, bits; 0 if all samples are in one."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def draw(material: Material) -> dict[str, Figure]:
    """Return the heat maps, a row a method, and how cells and evenness grow."""
    from agents.tpe_marl.items.drawings import heat_map_rows

    with np.load(material.dir / "maps.npz") as held:
        there = [m for m in METHODS if f"{m}-{POINTS - 1}" in held]
        grids = [[held[f"{m}-{k}"] for k in range(POINTS)] for m in there]
    columns = [f"{100 * (k + 1) // POINTS} % of training" for k in range(POINTS)]
    return {
        "heat_maps": heat_map_rows(
            grids,
            there,
            columns,
            title="fig12: game topologies met so far, 350 veh/h a lane, 100 % CAVs",
            note="every fourth instant; 32 x 32 cells of a hash of the topology vector, eqs (43) to (45)",
        )
    }


FIG12 = Item(
    name="fig12",
    description="Fig. 12: heat maps of game topologies met at 20 to 100 % of training, TPE and GAT-MADQN",
    cases=tuple(
        Case(
            f"{method}-{100 * (k + 1) // POINTS}",
            scenario(TRAINED_FLOW, SHARE),
            labels={"method": method, "training": f"{100 * (k + 1) // POINTS} %"},
        )
        for method in METHODS
        for k in range(POINTS)
    ),
    measures=(
        Measure("samples", Quantity("samples so far")),
        Measure("cells", Quantity("cells reached so far")),
        Measure("cells_now", Quantity("cells reached in this fifth")),
        Measure("entropy", Quantity("entropy so far", "bit")),
    ),
    quick=Size(seeds=1, overrides={"steps": 0, "windows": 60}),
    full=Size(seeds=1, overrides={"steps": 400_000, "windows": 0}),
    compute=compute,
    draw=draw,
    note="A map holds all samples so far, of one training. Quick: samples come from the exploring policies kept at each"
    " fifth of the shipped training, 18 min of traffic each. Full: both methods train for the paper's 400,000 steps"
    " and what they collect is sampled; called again it goes on.",
)
