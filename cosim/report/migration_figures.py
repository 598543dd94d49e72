"""The figure of the migration task: loads of the RSUs, who is served where, and what is migrated where to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from cosim.errors import CosimError
from cosim.report.album import Drawing
from cosim.report.samples import run_label, warmup_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cosim.plots.station_load import SlotChoices
    from cosim.recording import Run
    from cosim.tasks.migration import Layout, MigrationOptions
    from cosim.traffic.nets import Net

LOAD = "migration_load_"
"""Beginning of the names of the columns of ``steps/`` that hold the load of an RSU."""
_MOST = 30
"""Vehicles, or slots in tens, that still can be told apart."""


def migration_figures(run: Run, net: Net) -> list[Drawing]:
    """Return the figure of a run with a migration task; none where vehicles or steps were not recorded at its slots."""
    task = (run.scenario.get("tasks") or {}).get("migration")
    if task is None:
        return []
    found = _options(task, net)
    if found is None:
        return []
    options, layout = found
    choices = _choices(run, layout, options, float(task["every"]))
    if choices is None:
        return []
    from cosim.plots.station_load import station_loads

    figure = station_loads(
        choices, limit=options.load_max / 1e9, title="RSU load and pre-migration", runs=[run_label(run)]
    )
    moved = int(np.count_nonzero(choices.share > 0))
    tasks = int(np.count_nonzero(choices.serving >= 0))
    ends = f"{choices.t_s[0]:g} s to {choices.t_s[-1] + choices.slot_s:g} s"
    return [
        Drawing(
            "rsu_load",
            figure,
            "Load of each RSU at the begin of each slot, the work decided then counted in, up to its largest; below,"
            " which RSU serves each vehicle (cell) and to which it migrates (dot, as large as the share).",
            f"Loads of {len(layout.ids)} RSUs over {len(choices.t_s)} slots from {ends}, on average"
            f" {choices.loads.mean():.0f} Gcycles; {moved} of {tasks} tasks of {len(choices.vehicles)} vehicles are"
            " partly or wholly migrated.",
        )
    ]


def _options(task: dict[str, Any], net: Net) -> tuple[MigrationOptions, Layout] | None:
    from cosim.scenario.schema import TaskConfig
    from cosim.tasks.migration import MigrationOptions
    from cosim.traffic.nets import load_geometry

    own = {key: value for key, value in task.items() if key not in TaskConfig.model_fields}
    try:
        options = MigrationOptions(**own)
        return options, options.layout(load_geometry(net))
    except (ValidationError, CosimError):  # of another version of cosim
        return None


def _choices(run: Run, layout: Layout, options: MigrationOptions, every: float) -> SlotChoices | None:
    """Return what was decided in each slot, as far as the run's tables say it."""
    from cosim.plots.station_load import SlotChoices
    from cosim.tasks.migration import serving_station, vehicle_order

    columns = [LOAD + name for name in layout.ids]
    steps, vehicles = run.steps, run.vehicles
    if vehicles.is_empty() or not set(columns) <= set(steps.columns):
        return None
    period, begin = round(every * 1e6), round(np.ceil(warmup_s(run) / every) * every * 1e6)
    types = (run.scenario.get("traffic") or {}).get("types") or {}
    agents = options.types or [name for name, kind in types.items() if kind.get("cav")]
    at = (pl.col("t_us") >= begin) & (pl.col("t_us") % period == 0)
    loads = steps.filter(at).sort("t_us")[:-1]  # at the end of the run nothing is decided
    places = vehicles.filter(at & pl.col("type").is_in(agents))
    ids = vehicle_order(places["id"].unique().to_list())[:_MOST]
    t_us = loads["t_us"].to_numpy()
    t_us = t_us[np.isin(t_us, places["t_us"].to_numpy())][: 10 * _MOST]
    if not len(t_us) or not ids:
        return None
    xy = np.full((len(t_us), len(ids), 2), np.nan)
    found, at_slot, who = _cells(places, t_us, ids)
    xy[at_slot, who] = found.select("x", "y").to_numpy()
    there = ~np.isnan(xy[..., 0])
    serving = np.where(there, serving_station(layout, np.nan_to_num(xy)), -1)
    target = np.full(serving.shape, -1, dtype=np.int64)
    share = np.zeros(serving.shape)
    # Orders are given when a slot begins; what became of a migration may be known much later.
    moves, at_slot, who = _cells(run.commands.filter(pl.col("kind") == "migrate"), t_us, ids)
    number = {name: k for k, name in enumerate(layout.ids)}
    target[at_slot, who] = [number.get(name, -1) for name in moves["text"].to_list()]
    share[at_slot, who] = moves["a"].to_numpy()
    return SlotChoices(
        t_s=t_us / 1e6,
        slot_s=every,
        stations=layout.ids,
        vehicles=ids,
        loads=loads.filter(pl.col("t_us").is_in(t_us)).select(columns).to_numpy() / 1e9,
        serving=serving,
        target=target,
        share=share,
    )


def _cells(
    frame: pl.DataFrame, t_us: NDArray[np.int64], ids: list[str]
) -> tuple[pl.DataFrame, NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of *ids* that lie at the begin of a slot, and their slots and vehicles."""
    number = {name: k for k, name in enumerate(ids)}
    slot = {t: k for k, t in enumerate(t_us.tolist())}
    found = frame.filter(pl.col("id").is_in(ids) & pl.col("t_us").is_in(list(slot)))
    at = np.array([slot[t] for t in found["t_us"].to_list()], dtype=np.intp)
    who = np.array([number[name] for name in found["id"].to_list()], dtype=np.intp)
    return found, at, who
