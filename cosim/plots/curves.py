"""Learning curves: the mean over seeds with its confidence band, one line a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from cosim.plots.intervals import column_intervals
from cosim.plots.quantities import quantity
from cosim.plots.style import WIDTH, drawn_in_house_style, finish, new_figure, series_style

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
    _draw_lines(ax, frame, (x, y), (group, groups), seed, smooth)
    ax.set_xlabel(quantity(x).axis)
    ax.set_ylabel(shown.axis + (f"\nmean of the last {smooth}" if smooth > 1 else ""))
    if ax.lines:
        ax.legend(title="mean and 95 % CI over seeds", title_fontsize=7, alignment="left")
    else:
        ax.text(0.5, 0.5, "no values yet", ha="center", va="center", transform=ax.transAxes)
    return finish(figure, title=title, runs=runs)


@drawn_in_house_style
def learning_curve_panels(
    frame: pl.DataFrame,
    x: str,
    y: str,
    panel: str,
    group: str,
    *,
    columns: int = 4,
    groups: Sequence[Any] = (),
    seed: str | None = "seed",
    smooth: int = 1,
    clip: float = 0.0,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw :func:`learning_curves` in panels, one a value of the column *panel* in order of appearance.

    Args:
        frame: a row a (panel, group, seed, x).
        x: the column of progress.
        y: the column to show; all panels have one scale.
        panel: the column that tells panels apart.
        group: the column that tells methods apart.
        columns: panels beside each other.
        groups: the methods in order; default: as they appear.
        seed: the column that tells repetitions apart.
        smooth: as in :func:`learning_curves`.
        clip: the share of each group's values in a panel, the lowest, that may lie below the axes, so that beginnings
            do not hide the ends.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    names = frame[panel].unique(maintain_order=True).to_list()
    order = list(groups) or frame[group].unique(maintain_order=True).to_list()
    columns = max(min(columns, len(names)), 1)
    rows = max(-(-len(names) // columns), 1)
    figure, axes = new_figure(rows, columns, width=WIDTH, height=0.8 + 2.1 * rows, sharey=True)
    for k, ax in enumerate(axes.flat):
        ax.set_visible(k < len(names))
        if k < len(names):
            _draw_lines(ax, frame.filter(frame[panel] == names[k]), (x, y), (group, order), seed, smooth)
            ax.set_title(str(names[k]), fontsize=8.5)
            ax.set_xlabel(quantity(x).axis if k + columns >= len(names) else "")
            ax.set_ylabel(quantity(y).axis if k % columns == 0 else "")
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    parts = frame.partition_by(panel, group)
    low, high = _range([part[y] for part in parts], clip, quantity(y).factor)
    if low < high:
        axes[0, 0].set_ylim(low, high)  # shared by all
    handles = {}
    for ax in axes.flat:
        for line in ax.lines:
            name = str(line.get_label()).rpartition(" (n")[0]
            handles[name] = Line2D([], [], color=line.get_color(), linestyle=line.get_linestyle(), label=name)
    if handles:
        shown = [handles[name] for name in map(str, order) if name in handles]
        figure.legend(handles=shown, loc="outside right upper")
    below = f"; the lowest {100 * clip:g} % of a line may lie below" if clip else ""
    return finish(figure, title=title, runs=runs, note=f"mean over seeds, 95 % CI as a band{below}")


def _range(lines: Sequence[pl.Series], clip: float, factor: float) -> tuple[float, float]:
    """Return what the vertical axis shows: from the lowest of the lines' quantiles *clip* to a little above all."""
    known = [line.drop_nulls().cast(float).to_numpy() * factor for line in lines]
    known = [values for line in known if len(values := line[np.isfinite(line)])]
    if not known or not clip:
        return 0.0, 0.0
    low, high = min(float(np.quantile(k, clip)) for k in known), max(float(k.max()) for k in known)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _draw_lines(
    ax: Any,
    frame: pl.DataFrame,
    columns: tuple[str, str],
    lines: tuple[str | None, Sequence[Any]],
    seed: str | None,
    smooth: int,
) -> None:
    """Draw a line with its band for each group, in the style of its number."""
    (x, y), (group, groups) = columns, lines
    for k, name in enumerate(groups):
        part = frame if group is None else frame.filter(frame[group] == name)
        grid, values = on_common_grid(part, x, y, seed=seed, smooth=smooth)
        if not len(grid):
            continue
        mean, half, n = column_intervals(values * quantity(y).factor)
        style = series_style(k)
        repeats = f"n = {len(values)}"
        ax.plot(grid, mean, label=repeats if name is None else f"{name} ({repeats})", **style)
        if (n > 1).any():
            ax.fill_between(
                grid, mean - half, mean + half, where=n > 1, color=style["color"], alpha=0.2, linewidth=0
            )
    ax.margins(x=0.01)


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
