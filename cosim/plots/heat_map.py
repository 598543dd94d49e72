"""Heat maps of counts: how often each cell of a plane was visited, one panel or several on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cosim.plots.style import NARROW, WIDTH, drawn_in_house_style, finish, new_figure

Floats = NDArray[np.float64]
Range = tuple[float, float]


def cell_counts(x: Floats, y: Floats, x_range: Range, y_range: Range, bins: int = 32) -> NDArray[np.int64]:
    """Count points in *bins* x *bins* cells; row r is the r-th interval of y, column c that of x.

    Points outside the ranges, and NaN, are not counted; the upper ends belong to the last cells.
    """
    counts, _, _ = np.histogram2d(y, x, bins=bins, range=(y_range, x_range))
    return counts.astype(np.int64)


@drawn_in_house_style
def heat_maps(
    grids: Sequence[NDArray[np.int64] | Floats],
    *,
    extent: tuple[Range, Range] | None = None,
    names: Sequence[str] = (),
    x_label: str = "",
    y_label: str = "",
    colour_label: str = "samples",
    log: bool = False,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw count matrices as heat maps side by side, on one colour scale; cells without a count stay white.

    Args:
        grids: matrices (rows, columns); row 0 is at the bottom.
        extent: what the columns and rows span, ((x0, x1), (y0, y1)); None numbers the cells.
        names: a name above each panel.
        x_label: the horizontal axis with its unit.
        y_label: the vertical axis with its unit.
        colour_label: what is counted.
        log: a logarithmic colour scale, for counts over several powers of ten.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    columns = min(len(grids), 3)
    rows = -(-len(grids) // columns)
    width = NARROW if columns == 1 else WIDTH
    figure, axes = new_figure(rows, columns, width=width, height=0.9 + rows * 3.4 / max(1, columns - 1))
    top = max((float(np.max(grid, initial=0)) for grid in grids), default=0.0) or 1.0
    norm = LogNorm(1, max(top, 2.0)) if log else Normalize(0, top)
    for k, ax in enumerate(axes.flat):
        ax.set_visible(k < len(grids))
        if k >= len(grids):
            continue
        grid = np.asarray(grids[k], dtype=np.float64)
        (x0, x1), (y0, y1) = extent or ((0, grid.shape[1]), (0, grid.shape[0]))
        drawn = ax.imshow(
            np.ma.masked_less_equal(grid, 0),
            origin="lower",
            extent=(x0, x1, y0, y1),
            aspect="auto",
            interpolation="nearest",
            norm=norm,
        )
        ax.grid(visible=False)
        for side in ("top", "right"):
            ax.spines[side].set_visible(True)
        if names:
            ax.set_title(names[k], fontsize=9)
        if k % columns == 0:
            ax.set_ylabel(y_label)
        if k + columns >= len(grids):
            ax.set_xlabel(x_label)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, aspect=30 if rows > 1 else 20)
    bar.set_label(f"{colour_label} in a cell")
    return finish(figure, title=title, runs=runs)
