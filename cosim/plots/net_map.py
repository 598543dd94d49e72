"""Draw a net as a picture: lanes, junctions, signals, buildings, stations and a scale bar.

Reads a :class:`~cosim.traffic.nets.Net` and its geometry; gives a matplotlib figure (Agg, no display
needed).  What else belongs on the map (a coverage map, trajectories) comes as *overlays*: functions that draw
on the axes at one of the :class:`Layer` heights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.transforms import ScaledTranslation

from cosim.traffic.geometry import NetGeometry
from cosim.traffic.nets import Net, load_geometry

Overlay = Callable[[Any, NetGeometry], None]
"""Draws on (matplotlib axes in net metres, geometry); its artists choose a :class:`Layer` as zorder."""


class Layer(IntEnum):
    """Drawing heights; an overlay's artists lie between or on them."""

    GROUND = 0
    COVERAGE = 1
    BUILDINGS = 2
    ROADS = 3
    SIGNALS = 4
    TRAFFIC = 5
    STATIONS = 6
    LABELS = 7


_GROUND, _ROAD, _INSIDE, _INK = "#f3f2ec", "#5b636b", "#6b737b", "#22262a"
_BUILDING, _BUILDING_EDGE = "#d6cfc2", "#b3aa9a"
_STATION, _SIGNAL = "#d1321f", "#1d9a53"
_BACKING = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
_LABELLED_EDGES = 16  # more names than this only clutter


def draw_net(net: Net, overlays: Sequence[Overlay] = (), *, title: str | None = None) -> Figure:
    """Draw *net* with *overlays* on top of it, in net coordinates (m).

    Raises:
        ScenarioError: the net's files cannot be read.
    """
    geometry = load_geometry(net)
    xmin, ymin, xmax, ymax = _extent(geometry)
    figure, axes = _frame(xmax - xmin, ymax - ymin)
    axes.set(xlim=(xmin, xmax), ylim=(ymin, ymax))
    _draw_buildings(axes, geometry)
    _draw_roads(axes, geometry, _points_per_metre(figure, axes))
    _draw_signals(axes, geometry)
    _draw_stations(axes, geometry)
    if len(geometry.edges) <= _LABELLED_EDGES:
        _label_edges(axes, geometry)
    for overlay in overlays:
        overlay(axes, geometry)
    _scale_bar(axes)
    axes.set_title(title or _title(net, geometry), fontsize=11, loc="left")
    return figure


def save_net_map(net: Net, out: Path, overlays: Sequence[Overlay] = (), *, title: str | None = None) -> Path:
    """Draw *net* into the PNG file *out* (folders are made); the same net gives the same bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_net(net, overlays, title=title).savefig(out, format="png", metadata={"Software": None})
    return out


def _extent(geometry: NetGeometry) -> tuple[float, float, float, float]:
    """Return the frame (xmin, ymin, xmax, ymax) that holds lanes, stations and buildings, with a margin."""
    parts = [lane.shape for lane in geometry.lanes()]
    parts += [polygon.shape for polygon in geometry.buildings()]
    parts += [np.array([[poi.x, poi.y]]) for poi in geometry.pois]
    points = np.concatenate(parts)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(6.0, 0.03 * float((high - low).max()))
    return (*(float(v) for v in low - margin), *(float(v) for v in high + margin))  # type: ignore[return-value]


def _frame(wide: float, high: float) -> tuple[Figure, Any]:
    """Return a figure and axes of the same aspect as the net, with room for ticks, title and scale bar."""
    left, right, bottom, top = 0.75, 0.2, 0.65, 0.4  # inches
    width = 11.0 if wide > 1.3 * high else 8.5
    inside = (width - left - right, (width - left - right) * high / wide)
    if inside[1] > 9.0:
        inside = (9.0 * wide / high, 9.0)
    size = (max(inside[0], 4.0) + left + right, max(inside[1], 1.2) + bottom + top)
    figure = Figure(figsize=size, dpi=150)
    FigureCanvasAgg(figure)
    place = (left / size[0], bottom / size[1], inside[0] / size[0], inside[1] / size[1])
    axes = figure.add_axes(place, aspect="equal", adjustable="datalim", facecolor=_GROUND)
    axes.set_xlabel("x [m]", fontsize=9)
    axes.set_ylabel("y [m]", fontsize=9)
    axes.tick_params(labelsize=8)
    return figure, axes


def _points_per_metre(figure: Figure, axes: Any) -> float:
    box = axes.get_position()
    return float(box.width * figure.get_figwidth() * 72.0 / np.ptp(axes.get_xlim()))


def _draw_buildings(axes: Any, geometry: NetGeometry) -> None:
    shapes = [polygon.shape for polygon in geometry.buildings()]
    axes.add_collection(
        PolyCollection(
            shapes, facecolors=_BUILDING, edgecolors=_BUILDING_EDGE, linewidths=0.4, zorder=Layer.BUILDINGS
        )
    )


def _draw_roads(axes: Any, geometry: NetGeometry, scale: float) -> None:
    """Draw junction areas and lanes at their true width, but never thinner than 0.7 points.

    Neighbouring lanes leave a hair of the ground between them where the scale shows lanes at all.
    """
    outlines = [j.shape for j in geometry.junctions.values() if len(j.shape) > 2]
    axes.add_collection(PolyCollection(outlines, facecolors=_INSIDE, linewidths=0, zorder=Layer.ROADS))
    lanes = list(geometry.lanes())
    widths = [max(0.7, (lane.width - 0.25) * scale) for lane in lanes]
    axes.add_collection(
        LineCollection(
            [lane.shape for lane in lanes],
            linewidths=widths,
            colors=_ROAD,
            capstyle="butt",
            zorder=Layer.ROADS,
        )
    )
    if scale > 1.5:  # close enough to see single paths through a junction
        inside = [lane.shape for edge in geometry.internal.values() for lane in edge.lanes]
        axes.add_collection(
            LineCollection(inside, linewidths=0.6, colors="#aeb5bb", zorder=Layer.ROADS + 0.5)
        )


def _draw_signals(axes: Any, geometry: NetGeometry) -> None:
    signals = [(j.x, j.y) for j in geometry.junctions.values() if j.type.startswith("traffic_light")]
    if signals:
        x, y = zip(*signals, strict=True)
        axes.scatter(
            x, y, s=16, c=_SIGNAL, edgecolors="white", linewidths=0.5, zorder=Layer.SIGNALS, label="signal"
        )


def _draw_stations(axes: Any, geometry: NetGeometry) -> None:
    """Draw stations with their names, the radius of a ``range`` parameter dotted, and other POIs as dots."""
    stations = geometry.stations()
    others = [poi for poi in geometry.pois if poi not in stations]
    axes.scatter([p.x for p in others], [p.y for p in others], s=8, c=_INK, zorder=Layer.STATIONS)
    discs = [Circle((p.x, p.y), float(p.params["range"])) for p in stations if "range" in p.params]
    axes.add_collection(
        PatchCollection(
            discs,
            facecolors="none",
            edgecolors=_STATION,
            linestyles=":",
            linewidths=0.8,
            zorder=Layer.COVERAGE,
        )
    )
    axes.scatter(
        [p.x for p in stations],
        [p.y for p in stations],
        s=42,
        marker="^",
        c=_STATION,
        edgecolors="white",
        linewidths=0.6,
        zorder=Layer.STATIONS,
    )
    for poi in stations:
        others_at = [p for p in stations if p is not poi]
        closest = min(others_at, key=lambda p: math.hypot(p.x - poi.x, p.y - poi.y), default=poi)
        above = poi.y >= closest.y  # names of a pair on both sides of a road point away from each other
        axes.annotate(
            poi.id,
            (poi.x, poi.y),
            xytext=(0, 6 if above else -6),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=8,
            color=_INK,
            bbox=_BACKING,
            zorder=Layer.LABELS,
        )


def _label_edges(axes: Any, geometry: NetGeometry) -> None:
    """Write each edge's name beside its rightmost lane, a third of the way along; long edges go first.

    A name that would lie on another one is left out.
    """
    renderer = axes.figure.canvas.get_renderer()
    written: list[Any] = [text.get_window_extent(renderer) for text in axes.texts]
    for edge in sorted(geometry.edges.values(), key=lambda edge: -edge.length):
        shape = edge.lanes[0].shape
        steps = np.diff(shape, axis=0)
        lengths = np.hypot(steps[:, 0], steps[:, 1])
        reached = np.cumsum(lengths)
        k = int(np.searchsorted(reached, reached[-1] / 3))
        place = shape[k] + steps[k] * (1 - (reached[k] - reached[-1] / 3) / lengths[k])
        angle = math.degrees(math.atan2(steps[k, 1], steps[k, 0]))
        right = np.array([steps[k, 1], -steps[k, 0]]) / lengths[k]
        text = axes.annotate(
            edge.id,
            place,
            xytext=tuple(10.0 * right),
            textcoords="offset points",
            ha="center",
            va="center",
            rotation=(angle + 90) % 180 - 90,
            fontsize=7,
            color=_INK,
            bbox=_BACKING,
            zorder=Layer.LABELS,
        )
        box = text.get_window_extent(renderer)
        if any(box.overlaps(other) for other in written):
            text.remove()
        else:
            written.append(box)


def _scale_bar(axes: Any) -> None:
    """Draw, below the frame, a bar of a round length (1, 2 or 5 times a power of ten)."""
    xmin, xmax = axes.get_xlim()
    rough = (xmax - xmin) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    length = max(m * power for m in (1, 2, 5) if m * power <= rough)
    below = axes.get_xaxis_transform() + ScaledTranslation(0, -0.42, axes.figure.dpi_scale_trans)
    ends = [xmax - length, xmax]
    axes.plot(ends, [0, 0], color=_INK, linewidth=3, solid_capstyle="butt", transform=below, clip_on=False)
    text = f"{length / 1000:g} km " if length >= 1000 else f"{length:g} m "
    axes.text(ends[0], 0, text, transform=below, ha="right", va="center", fontsize=9, color=_INK)


def _title(net: Net, geometry: NetGeometry) -> str:
    variant = f" ({net.variant})" if net.variant else ""
    schematic = ", schematic" if net.schematic else ""
    lane_km = sum(lane.length for lane in geometry.lanes()) / 1000
    signals = sum(j.type.startswith("traffic_light") for j in geometry.junctions.values())
    counts = {"edge": len(geometry.edges), "signal": signals, "station": len(geometry.stations())}
    facts = [f"{count} {what}{'s' if count > 1 else ''}" for what, count in counts.items() if count]
    facts.insert(1, f"{lane_km:.1f} lane km")
    return f"{net.name}{variant}{schematic}: {', '.join(facts)}"
