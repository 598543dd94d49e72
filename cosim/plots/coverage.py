"""The net as a map with a quantity of the radio on it: received power, SINR, rate, or whose station serves.

Reads a net (drawn by `cosim.plots.net_map`) and a grid of values in net coordinates, computed from a channel model or
gathered from what vehicles met on the road (`gathered`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.path import Path
from numpy.typing import ArrayLike, NDArray
from shapely import LineString, Polygon, unary_union

from cosim.plots.net_map import Layer, Overlay, draw_net
from cosim.plots.style import FAINT, MAP, drawn_in_house_style, finish
from cosim.traffic.geometry import NetGeometry
from cosim.traffic.nets import Net

Floats = NDArray[np.float64]

_THINNEST = 2.5  # points


@dataclass(frozen=True, eq=False, slots=True)
class Coverage:
    """Values on square cells: ``values`` (rows, columns), NaN where there is none; row 0 is the lowest y.

    ``x0``, ``y0`` are the lower left corner and ``cell`` the side of a cell, net coordinates in m; ``label`` names
    the quantity with its unit.
    """

    values: Floats
    x0: float
    y0: float
    cell: float
    label: str

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(xmin, xmax, ymin, ymax), m."""
        rows, columns = self.values.shape
        return self.x0, self.x0 + columns * self.cell, self.y0, self.y0 + rows * self.cell


def gathered(x: ArrayLike, y: ArrayLike, values: ArrayLike, *, cell: float, label: str) -> Coverage:
    """Return the mean of *values* (n,) of all samples at *x*, *y* (n,), m, in each square cell of side *cell*."""
    at_x, at_y, v = (np.asarray(a, dtype=np.float64) for a in (x, y, values))
    good = np.isfinite(at_x) & np.isfinite(at_y) & np.isfinite(v)
    at_x, at_y, v = at_x[good], at_y[good], v[good]
    if not len(v):
        return Coverage(np.full((1, 1), np.nan), 0.0, 0.0, cell, label)
    column, row = np.floor(at_x / cell).astype(np.int64), np.floor(at_y / cell).astype(np.int64)
    left, low = int(column.min()), int(row.min())
    shape = (int(row.max()) - low + 1, int(column.max()) - left + 1)
    index = (row - low) * shape[1] + column - left
    count = np.bincount(index, minlength=shape[0] * shape[1])
    total = np.bincount(index, weights=v, minlength=shape[0] * shape[1])
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return Coverage(mean.reshape(shape), left * cell, low * cell, cell, label)


def stations_overlay(names: Sequence[str], xy: ArrayLike) -> Overlay:
    """Return an overlay that marks stations at *xy* (n, 2) m which are no POIs of the net (those are drawn anyway)."""

    def draw(axes: Any, geometry: NetGeometry) -> None:
        known = {poi.id for poi in geometry.pois}
        for name, (x, y) in zip(names, np.asarray(xy, dtype=np.float64).tolist(), strict=True):
            if name not in known:
                axes.scatter(
                    [x], [y], s=60, marker="^", c="#7b3294", edgecolors="white", zorder=Layer.STATIONS
                )
                axes.annotate(
                    name,
                    (x, y),
                    xytext=(0, -8),
                    textcoords="offset points",
                    ha="center",
                    va="top",
                    fontsize=8,
                    bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
                    zorder=Layer.LABELS,
                )

    return draw


def coverage_overlay(coverage: Coverage, *, on_roads: bool = False) -> Overlay:
    """Return an overlay for `draw_net` that colours the cells of *coverage* and adds the colour bar.

    Values met on the road (`gathered`) are best drawn *on_roads*: the roads take their colours.
    """

    def draw(axes: Any, geometry: NetGeometry) -> None:
        image = axes.imshow(
            np.ma.masked_invalid(coverage.values),
            origin="lower",
            extent=coverage.extent,
            interpolation="nearest",
            cmap=MAP,
            alpha=1.0 if on_roads else 0.75,
            zorder=Layer.SIGNALS - 0.2 if on_roads else Layer.COVERAGE,
            aspect="equal",
        )
        figure = axes.figure
        if on_roads:
            image.set_clip_path(_roads(axes, geometry), axes.transData)
        box, wide = axes.get_position(), figure.get_figwidth()
        _widen(figure, 0.85)
        left = (box.x1 * wide + 0.12) / figure.get_figwidth()
        place = figure.add_axes((left, box.y0, 0.13 / figure.get_figwidth(), box.height))
        bar = figure.colorbar(image, cax=place)
        bar.set_label(coverage.label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_edgecolor(FAINT)

    return draw


@drawn_in_house_style
def coverage_map(
    net: Net,
    coverage: Coverage | None = None,
    *,
    on_roads: bool = False,
    overlays: Sequence[Overlay] = (),
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw *net* with its stations and buildings, and *coverage* on it if there is one.

    Args:
        net: the net.
        coverage: a quantity on square cells.
        on_roads: colour the roads with it, instead of the ground below them.
        overlays: more to draw, see `cosim.plots.net_map`.
        title: what the figure shows; default facts of the net.
        runs: names of the runs shown.

    Raises:
        ScenarioError: the net's files cannot be read.
    """
    more = [] if coverage is None else [coverage_overlay(coverage, on_roads=on_roads)]
    figure = draw_net(net, [*more, *overlays], title=title or None)
    for ax in figure.axes:
        ax.grid(visible=False)
    if runs:
        _heighten(figure, 0.22)
    return finish(figure, runs=runs)


def _roads(axes: Any, geometry: NetGeometry) -> Path:
    """Return the outline of all lanes and junctions, lanes at least as wide as can be seen."""
    points_per_metre = axes.get_window_extent().width / axes.figure.dpi * 72.0 / np.ptp(axes.get_xlim())
    least = _THINNEST / points_per_metre
    parts = [
        LineString(lane.shape).buffer(max(lane.width, least) / 2, cap_style="flat")
        for lane in geometry.lanes()
    ]
    parts += [Polygon(j.shape).buffer(0) for j in geometry.junctions.values() if len(j.shape) > 2]
    outline = unary_union(parts)
    polygons = [outline] if outline.geom_type == "Polygon" else list(outline.geoms)
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.interiors)]
    return Path.make_compound_path(*(Path(np.asarray(ring.coords), closed=True) for ring in rings))


def _widen(figure: Figure, inches: float) -> None:
    """Add room at the right; the axes keep their size."""
    width, height = figure.get_size_inches()
    boxes = [ax.get_position() for ax in figure.axes]
    figure.set_size_inches(width + inches, height)
    for ax, box in zip(figure.axes, boxes, strict=True):
        scale = width / (width + inches)
        ax.set_position((box.x0 * scale, box.y0, box.width * scale, box.height))


def _heighten(figure: Figure, inches: float) -> None:
    """Add room at the bottom; the axes keep their size."""
    width, height = figure.get_size_inches()
    boxes = [ax.get_position() for ax in figure.axes]
    figure.set_size_inches(width, height + inches)
    for ax, box in zip(figure.axes, boxes, strict=True):
        y0, tall = box.y0 * height + inches, box.height * height
        ax.set_position((box.x0, y0 / (height + inches), box.width, tall / (height + inches)))
