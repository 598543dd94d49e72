"""Table II and Fig. 5 of Hybrid-MAPPO: how well the shipped predictors do on traffic that they have never met.

Fresh tapes are recorded for it: those of the training have other seeds.  A seed of an item is a set of tapes; the
predictors were trained once (``python -m agents.hybrid_mappo.train_predictor``), so the intervals say how much
traffic differs, not how much trainings do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.hybrid_mappo.predictor import Predictor, constant_velocity, load, persistence
from agents.hybrid_mappo.predictor.data import PAST, Box, tape_windows
from agents.hybrid_mappo.predictor.scores import scores
from cosim.experiments.axes import parse_seeds
from cosim.experiments.papers import Case, Item, Material, Measure, Size
from cosim.experiments.tapes import record_tapes
from cosim.scenario import load_scenario
from cosim.tasks.migration import MobilityTape, load_tape

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

SCENARIO = "urban_avatar"
FRESH = 3000
"""First seed of the fresh tapes."""
TAPES = "tapes"
"""Name of the folder of tapes, and of the setting that says how many tapes a seed has."""
PATHS = "paths.npz"
SHOWN = ("eastbound.000000", "eastbound.000003", "westbound.000000")
"""Vehicles of Fig. 5."""

PAPERS_LSTM, DISPLACEMENT_LSTM = "lstm", "lstm_displacement"
_NETWORKS = {
    (PAPERS_LSTM, 10): "lstm-urban_avatar-10s-s0",
    (DISPLACEMENT_LSTM, 10): "displacement-urban_avatar-10s-s0",
    (DISPLACEMENT_LSTM, 20): "lstm-urban_avatar-20s-s0",
}
_LINEAR = {10: "ar-urban_avatar-10s-s0", 20: "ar-urban_avatar-20s-s0"}


def _networks(period: int) -> dict[str, str]:
    return {method: file for (method, at), file in _NETWORKS.items() if at == period}


def predictors(period: int) -> dict[str, Predictor]:
    """Return the predictors of 10 or 20 s by method."""
    return {
        **{method: load(file) for method, file in _networks(period).items()},
        "ar12": load(_LINEAR[period]),
        "constant_velocity": constant_velocity,
        "persistence": persistence,
    }


def _cases() -> tuple[Case, ...]:
    return tuple(
        Case(
            name=f"{method}-{period}s",
            scenario=SCENARIO,
            labels={"period": period, "method": method},
            rank=str(period),
        )
        for period in _LINEAR
        for method in (*_networks(period), "ar12", "constant_velocity", "persistence")
    )


def fresh_tapes(folder: Path, numbers: Sequence[int], jobs: int | None) -> list[MobilityTape]:
    """Return fresh tapes by number, recorded into *folder* where it lacks them."""
    seeds = [FRESH + number for number in numbers]
    return [load_tape(file) for file in record_tapes(load_scenario(SCENARIO), seeds, folder, jobs=jobs).files]


def measure(folder: Path, size: Size, jobs: int | None) -> pl.DataFrame:
    """Return Table II's measures, a row a case and seed."""
    import polars as pl

    each = int(size.overrides[TAPES])
    seeds = parse_seeds(size.seeds)
    fresh_tapes(folder / TAPES, [each * seed + k for seed in seeds for k in range(each)], jobs)
    rows: list[dict[str, Any]] = []
    for period in (10, 20):
        known = predictors(period)
        for seed in seeds:
            tapes = fresh_tapes(folder / TAPES, range(each * seed, each * (seed + 1)), jobs)
            layout, windows = tapes[0].layout, tape_windows(tapes, period)
            for method, predictor in known.items():
                said = predictor(windows.past)
                found = scores(windows.future, said, Box.of(*layout.box), layout.xy, layout.reach)
                rows.append({"case": f"{method}-{period}s", "seed": seed, **found})
    return pl.DataFrame(rows)


TABLE2 = Item(
    name="table2",
    description="Table II: errors of trajectory prediction, beside linear and trivial predictors",
    cases=_cases(),
    measures=tuple(
        Measure(name)
        for name in ("mse", "mae", "r2", "medae", "r2_pooled", "r2_x", "r2_y", "rmse_m", "rsu_hit_rate")
    ),
    quick=Size(seeds="0:3", overrides={TAPES: 4}),
    full=Size(seeds="0:5", overrides={TAPES: 9}),
    published="hybrid_mappo_table2.csv",
    compute=measure,
    note="Positions are shares of the net's box. A seed is a set of fresh tapes; each network was trained once. The"
    " paper names neither its sampling period nor its box. Its MSE and R² fit a pooled R²; the mean of both"
    " coordinates' is far lower here, because across the road only lanes and sides differ (y within 5 m).",
)


def follow(folder: Path, size: Size, jobs: int | None) -> pl.DataFrame:
    """Predict some vehicles' positions on a fresh tape, keep them for the figure, and return how far they are off."""
    import polars as pl

    seeds = parse_seeds(size.seeds)
    fresh_tapes(folder / TAPES, seeds, jobs)
    rows: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for seed in seeds:
        (tape,) = fresh_tapes(folder / TAPES, [seed], jobs)
        chosen = [tape.vehicles.index(name) for name in SHOWN]
        for case in FIG5_CASES:
            period = int(str(case.labels["period"]))
            predictor = predictors(period)[str(case.labels["method"])]
            step = round(period / tape.track_step)
            track = tape.track[::step, chosen]
            past = np.lib.stride_tricks.sliding_window_view(track[:-1], PAST, axis=0)  # (n, vehicles, 2, 12)
            said, true = predictor(np.moveaxis(past, -1, -2)), track[PAST:]
            error = float(np.sqrt(((said - true) ** 2).sum(axis=-1).mean()))
            rows.append({"case": case.name, "seed": seed, "rmse_m": error})
            if seed == seeds[0]:
                arrays |= {f"{case.name}_true": true, f"{case.name}_predicted": said}
                arrays[f"{case.name}_t"] = tape.start + period * np.arange(PAST, PAST + len(true))
                arrays["sites"] = tape.layout.xy
    np.savez(folder / PATHS, **arrays)
    return pl.DataFrame(rows)


def draw_fig5(material: Material) -> Mapping[str, Figure]:
    """Draw real and predicted trajectories of the first seed's tape."""
    from cosim.plots.predictions import predicted_paths

    figures = {}
    names = [f"{group} {int(number)}" for group, number in (name.split(".") for name in SHOWN)]
    with np.load(material.dir / PATHS, allow_pickle=False) as kept:
        for case in material.item.cases:
            true, said = kept[f"{case.name}_true"], kept[f"{case.name}_predicted"]
            figures[f"trajectories-{case.name}"] = predicted_paths(
                kept[f"{case.name}_t"],
                {name: true[:, k] for k, name in enumerate(names)},
                {name: said[:, k] for k, name in enumerate(names)},
                sites=kept["sites"],
                height=24.0,
                ahead_s=float(str(case.labels["period"])),
                title=f"Trajectories, {case.labels['method']}",
                runs=[f"{SCENARIO}, tape {FRESH + int(material.results['seed'][0])}"],
            )
    return figures


FIG5_CASES = tuple(
    case for case in TABLE2.cases if case.labels["method"] in (PAPERS_LSTM, DISPLACEMENT_LSTM, "ar12")
)

FIG5 = Item(
    name="fig5",
    description="Fig. 5: real and predicted trajectories of three vehicles on a fresh tape",
    cases=FIG5_CASES,
    measures=(Measure("rmse_m"),),
    quick=Size(seeds=0),
    full=Size(seeds="0:5"),
    compute=follow,
    draw=draw_fig5,
    note="The paper shows pictures only. The figure is of the first seed.",
)

ITEMS = (TABLE2, FIG5)
