"""Learning curves: the mean over seeds with its confidence band, one line a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cosim.plots.intervals import column_intervals
from cosim.plots.quantities import quantity
from cosim.plots.style import drawn_in_house_style, finish, new_figure, series_style

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

_POINTS = 2000  # more points than a line has pixels only cost space


@drawn_in_house_style
def learning_curves(
    frame: pl.DataFrame,
    x: str,
    y: str,
    *,
    group: str | None = None,
    seed: str | None = "seed",
    smooth: int = 1,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw *y* over *x*, a line a *group* (method), with the 95 % band of the mean over the seeds.

    Args:
        frame: a row a (group, seed, x); null and NaN are left out.
        x: the column of progress, such as ``env_steps`` or ``episode``.
        y: the column to show.
        group: the column that tells methods apart; None draws one line.
        seed: the column that tells repetitions apart; None, or a column that *frame* lacks: no repetitions.
        smooth: rows of each seed's trailing moving mean (the first rows average over what there is).
        title: what the figure shows.
        runs: names of the runs shown.
    """
    figure, axes = new_figure()
    ax = axes[0, 0]
    shown = quantity(y)
    groups = [None] if group is None else frame[group].unique(maintain_order=True).to_list()
    for k, name in enumerate(groups):
        part = frame if group is None else frame.filter(frame[group] == name)
        grid, values = on_common_grid(part, x, y, seed=seed, smooth=smooth)
        if not len(grid):
            continue
        mean, half, n = column_intervals(values * shown.factor)
        style = series_style(k)
        repeats = f"n = {len(values)}"
        ax.plot(grid, mean, label=repeats if name is None else f"{name} ({repeats})", **style)
        if (n > 1).any():
            ax.fill_between(
                grid, mean - half, mean + half, where=n > 1, color=style["color"], alpha=0.2, linewidth=0
            )
    ax.set_xlabel(quantity(x).axis)
    ax.set_ylabel(shown.axis + (f"\nmean of the last {smooth}" if smooth > 1 else ""))
    ax.margins(x=0.01)
    if ax.lines:
        ax.legend(title="mean and 95 % CI over seeds", title_fontsize=7, alignment="left")
    else:
        ax.text(0.5, 0.5, "no values yet", ha="center", va="center", transform=ax.transAxes)
    return finish(figure, title=title, runs=runs)


def on_common_grid(
    frame: pl.DataFrame, x: str, y: str, *, seed: str | None = "seed", smooth: int = 1
) -> tuple[Floats, Floats]:
    """Return all seeds of *frame* on one grid: its points (k,) and the values (seeds, k).

    The grid has every x that occurs (at most 2000 evenly spaced ones); between its own rows a seed is
    interpolated linearly, outside of them it is NaN.
    """
    keep = frame.filter(frame[x].is_not_null() & frame[y].is_not_null())
    parts = [keep] if seed is None or seed not in keep.columns else keep.partition_by(seed)
    curves = []
    for part in parts:
        ordered = part.sort(x)
        at = ordered[x].cast(float).to_numpy()
        values = ordered[y].cast(float).to_numpy()
        good = np.isfinite(values)
        at, values = at[good], moving_mean(values[good], smooth)
        if len(at):
            curves.append((at, values))
    if not curves:
        return np.empty(0), np.empty((0, 0))
    grid = np.unique(np.concatenate([at for at, _ in curves]))
    if len(grid) > _POINTS:
        grid = np.linspace(grid[0], grid[-1], _POINTS)
    rows = [np.interp(grid, at, values, left=np.nan, right=np.nan) for at, values in curves]
    return grid, np.array(rows)


def moving_mean(values: Floats, width: int) -> Floats:
    """Return the mean of each value and the up to *width* - 1 before it; shape as *values*, (n,)."""
    if width <= 1 or len(values) < 2:
        return values
    total = np.concatenate([[0.0], np.cumsum(values)])
    stop = np.arange(1, len(values) + 1)
    start = np.maximum(stop - width, 0)
    return np.asarray((total[stop] - total[start]) / (stop - start))
