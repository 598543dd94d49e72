"""Which figures a run gets, from what it recorded: a table without rows gives none.

Positions are drawn on the net that the scenario names; if that cannot be found any more, or is another one than the
run was made with, the figures that need it are left out or say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cosim.errors import CosimError
from cosim.plots.quantities import quantity
from cosim.report.album import Drawing
from cosim.report.migration_figures import LOAD, migration_figures
from cosim.report.network_figures import network_figures, serving_links
from cosim.report.samples import measured, run_label, thinned, warmup_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cosim.plots.coverage import Coverage
    from cosim.recording import Run
    from cosim.traffic.nets import Net

_PANELS = 5
"""Time series a figure."""
_WINDOW = 180.0
"""Longest stretch of a space-time diagram, s: in more the lines cannot be told apart."""
_STRIP = 400.0
"""Longest stretch of road of a bird's-eye strip, m: on more the vehicles cannot be seen."""


@dataclass(frozen=True, slots=True)
class Road:
    """The edge that is looked at closely."""

    edge: str
    length: float
    lanes: int


def run_figures(run: Run) -> tuple[list[Drawing], list[str]]:
    """Return the figures of *run*, small ones first, and a sentence for each that could not be drawn."""
    net, notes = _net(run)
    drawings = time_figures(run)
    vehicles, links = run.vehicles, serving_links(run)
    if len(vehicles):
        drawings += [_speeds(run), *_road_figures(run, _road(vehicles, net))]
    else:
        notes.append("No vehicles were recorded: no figures of the road.")
    drawings += network_figures(run, links)
    if net is not None:
        drawings += migration_figures(run, net)
        drawings += _maps(run, net, links)
    return sorted(drawings, key=lambda drawing: drawing.broad), notes


def time_figures(run: Run) -> list[Drawing]:
    """Return the time series of all numeric columns of ``steps/`` that hold a value, a few panels a figure.

    The loads of single RSUs have a figure of their own.
    """
    from cosim.plots.series import time_series

    steps = run.steps
    columns = [
        name
        for name, kind in steps.schema.items()
        if name != "t_us"
        and not name.startswith(LOAD)
        and kind.is_numeric()
        and steps[name].is_not_null().any()
    ]
    found = []
    figures = -(-len(columns) // _PANELS)
    for k in range(figures):
        chosen = columns[k * len(columns) // figures : (k + 1) * len(columns) // figures]
        figure = time_series(
            {"": steps}, chosen, warmup_s=warmup_s(run), title="Over time", runs=[run_label(run)]
        )
        ends = steps["t_us"][0] / 1e6, steps["t_us"][-1] / 1e6
        names = ", ".join(quantity(c).label for c in chosen)
        found.append(
            Drawing(
                f"time_series_{k + 1}",
                figure,
                f"Recorded steps over simulated time: {names}.",
                f"Line charts of {names} from {ends[0]:g} s to {ends[1]:g} s; last values "
                + ", ".join(f"{quantity(c).label} {_last(steps, c)}" for c in chosen)
                + ".",
                broad=False,
            )
        )
    return found


def _last(steps: pl.DataFrame, column: str) -> str:
    shown = quantity(column)
    value = steps[column].drop_nulls()[-1]
    return f"{float(value) * shown.factor:.4g} {shown.unit}".rstrip()


def _net(run: Run) -> tuple[Net | None, list[str]]:
    """Return the run's net, and a note if it is gone or is not what the run was made with."""
    from cosim.traffic.nets import find_net

    traffic = run.scenario.get("traffic") or {}
    try:
        net = find_net(str(traffic.get("net", "")), traffic.get("variant"))
    except CosimError as error:
        return None, [f"No map: {error}."]
    hashes = (run.manifest.get("hashes") or {}).values()
    if hashes and net.sha256() not in hashes:
        return None, [f"No map: {net.net_file} is not the net that the run was made with (another SHA-256)."]
    return net, []


def _road(vehicles: pl.DataFrame, net: Net | None) -> Road:
    """Return the net's zone, or else the edge on which most samples with several lanes were taken."""
    from cosim.traffic.nets import load_geometry

    edges = load_geometry(net).edges if net is not None else {}
    zone = next((e for e in (net.zone if net is not None else ()) if e in edges), None)
    seen = vehicles.group_by("edge").agg(
        pl.len().alias("n"), pl.col("s").max().alias("s"), pl.col("lane").max().alias("lane")
    )
    lanes = {
        edge: len(edges[edge].lanes) if edge in edges else lane + 1
        for edge, lane in seen.select("edge", "lane").rows()
    }
    if zone is None or zone not in lanes:
        busiest = seen.sort(
            [pl.col("edge").replace_strict(lanes) > 1, "n", "edge"], descending=[True, True, False]
        )
        inner = busiest.filter(~pl.col("edge").str.starts_with(":"))  # SUMO's names inside junctions
        zone = str((inner if len(inner) else busiest)["edge"][0])
    if zone in edges:
        return Road(zone, edges[zone].length, len(edges[zone].lanes))
    reached = float(seen.filter(pl.col("edge") == zone)["s"][0])
    return Road(zone, max(float(np.ceil(reached)), 1.0), lanes[zone])


@dataclass(frozen=True, eq=False, slots=True)
class _View:
    """A road and a stretch of time: ``on`` the samples on the road, ``part`` those of that time."""

    run: Run
    road: Road
    on: pl.DataFrame
    part: pl.DataFrame
    window_s: tuple[float, float]

    @property
    def where(self) -> str:
        return f"edge {self.road.edge} ({self.road.length:g} m, {self.road.lanes} lanes)"


def _road_figures(run: Run, road: Road) -> list[Drawing]:
    on = run.vehicles.filter(pl.col("edge") == road.edge)
    start, end = window_s = _window(on, warmup_s(run))
    part = on.filter(pl.col("t_us").is_between(round(start * 1e6), round(end * 1e6)))
    view = _View(run, road, on, part, window_s)
    return [_space_time(view), _strips(view), _states(view)]


def _space_time(view: _View) -> Drawing:
    from cosim.plots.trajectories import space_time

    run, road = view.run, view.road
    span = f"{view.window_s[0]:g} s to {view.window_s[1]:g} s"
    figure = space_time(
        run.vehicles,
        road.edge,
        length=road.length,
        lanes=road.lanes,
        window_s=view.window_s,
        runs=[run_label(run)],
    )
    return Drawing(
        "space_time",
        figure,
        f"Space-time diagram of {view.where}, lanes side by side, {span}; a line is a vehicle, and breaks where it"
        " changes lanes.",
        f"Trajectories of {view.part['id'].n_unique()} vehicles on {view.where} from {span}, coloured by vehicle"
        " type.",
    )


def _strips(view: _View) -> Drawing:
    from cosim.plots.birdseye import strips

    run, road, (start, end) = view.run, view.road, view.window_s
    instants = [start + (end - start) * share for share in (0.25, 0.5, 0.75)]
    figure = strips(
        run.vehicles,
        road.edge,
        instants,
        length=road.length,
        lanes=road.lanes,
        bodies=_bodies(run),
        window_m=_stretch(view.part, road),
        runs=[run_label(run)],
    )
    return Drawing(
        "strips",
        figure,
        f"Vehicles on {view.where} from above at three instants; lane 0 is the rightmost.",
        f"Positions of the vehicles on each lane at about {', '.join(f'{t:g} s' for t in instants)}.",
    )


def _states(view: _View) -> Drawing:
    from cosim.plots.heat_map import cell_counts, heat_maps

    position, speed = view.on["s"].to_numpy(), view.on["speed"].to_numpy() * quantity("speed").factor
    top = float(np.ceil(max(speed.max(initial=0.0), 1.0) / 10) * 10)
    extent = (0.0, view.road.length), (0.0, top)
    counts = cell_counts(position, speed, *extent)
    figure = heat_maps(
        [counts],
        extent=extent,
        x_label=f"{quantity('s').label} on the edge [m]",
        y_label=quantity("speed").axis,
        log=_uneven(counts),
        title=f"Edge {view.road.edge}: where and how fast",
        runs=[run_label(view.run)],
    )
    return Drawing(
        "positions_and_speeds",
        figure,
        f"Recorded samples on {view.where} by position and speed, 32 x 32 cells; {len(position)} samples.",
        f"Heat map of {len(position)} samples of position and speed on edge {view.road.edge}; mean speed"
        f" {speed.mean() if len(speed) else 0.0:.1f} km/h.",
        broad=False,
    )


def _uneven(counts: NDArray[np.int64]) -> bool:
    """Whether a few cells hold so much that on a linear scale the others could not be told apart."""
    there = counts[counts > 0]
    return bool(len(there) and there.max() > 10 * np.median(there))


def _window(on: pl.DataFrame, warmup: float) -> tuple[float, float]:
    """Return the stretch of time to look at: from the end of the warm-up, or from the first sample."""
    first, last = (float(t) / 1e6 for t in (on["t_us"].min() or 0, on["t_us"].max() or 0))  # type: ignore[arg-type]
    start = max(first, warmup) if warmup < last else first
    return start, min(last, start + _WINDOW)


def _stretch(part: pl.DataFrame, road: Road) -> tuple[float, float] | None:
    """Return the part of a long road on which most samples lie; None: all of it."""
    if road.length <= 1.5 * _STRIP:
        return None
    edges = np.arange(0.0, road.length, _STRIP / 4)
    counts, _ = np.histogram(part["s"].to_numpy(), bins=[*edges, road.length])
    best = int(np.convolve(counts, np.ones(4), mode="valid").argmax()) if len(counts) >= 4 else 0
    low = min(float(edges[best]), road.length - _STRIP)
    return low, low + _STRIP


def _bodies(run: Run) -> dict[str, tuple[float, float]]:
    types = (run.scenario.get("traffic") or {}).get("types") or {}
    return {name: (float(t.get("length", 5.0)), float(t.get("width", 1.8))) for name, t in types.items()}


def _speeds(run: Run) -> Drawing:
    from cosim.plots.distributions import cdf
    from cosim.plots.style import type_colours

    vehicles = thinned(measured(run, run.vehicles))
    samples = {str(kind): part["speed"].to_numpy() for (kind,), part in sorted(vehicles.group_by("type"))}
    shown = quantity("speed")
    medians = ", ".join(
        f"{kind} {np.median(v) * shown.factor:.1f} {shown.unit}" for kind, v in samples.items()
    )
    return Drawing(
        "speeds",
        cdf(
            samples,
            x_label=shown.axis,
            factor=shown.factor,
            colours=type_colours(samples),
            title="Speeds",
            runs=[run_label(run)],
        ),
        "Distribution of recorded speeds on all edges, by vehicle type, after the warm-up.",
        f"Cumulative distribution of speeds; medians: {medians or 'none'}.",
        broad=False,
    )


def _maps(run: Run, net: Net, links: pl.DataFrame) -> list[Drawing]:
    """Return the net, coloured with what vehicles met: their speed, and the radio where there is one."""
    from cosim.plots.coverage import coverage_map

    vehicles = run.vehicles
    label = f"{net.name}{f' ({net.variant})' if net.variant else ''}"
    if not len(vehicles):
        figure = coverage_map(net, runs=[run_label(run)])
        return [Drawing("map", figure, f"The net {label}.", f"Map of the net {label}.")]
    chosen = [c for c in ("sinr_db", "rx_dbm") if c in links.columns and links[c].is_not_null().any()][:1]
    met = {"speed": vehicles} | {
        column: links.join(vehicles, left_on=["t_us", "vehicle"], right_on=["t_us", "id"])
        for column in chosen
    }
    found = []
    for column, frame in met.items():
        if not len(frame):
            continue
        shown = quantity(column)
        figure = coverage_map(
            net,
            _coverage(frame, column),
            on_roads=True,
            title=f"{label}: mean {shown.label} met on the road",
            runs=[run_label(run)],
        )
        found.append(
            Drawing(
                f"map_{column}",
                figure,
                f"The net {label}, roads coloured by the mean {shown.label} recorded there; triangles are stations.",
                f"Map of the net {label} with the mean {shown.label} of {len(frame)} samples where they were taken.",
            )
        )
    return found


def _coverage(frame: pl.DataFrame, column: str) -> Coverage:
    from cosim.plots.coverage import gathered

    shown = quantity(column)
    spans = [np.ptp(frame[axis].to_numpy()) for axis in ("x", "y")]
    cell = max(10.0, float(np.ceil(max(spans) / 100)))
    values: Any = frame[column].to_numpy() * shown.factor
    return gathered(
        frame["x"].to_numpy(), frame["y"].to_numpy(), values, cell=cell, label=f"mean {shown.axis}"
    )
