"""Means with 95 % confidence intervals as points, in panels beside each other: many groups in little space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from cosim.plots.bar_charts import intervals_by
from cosim.plots.quantities import number, quantity
from cosim.plots.style import FAINT, WIDTH, drawn_in_house_style, finish, new_figure, series_style

if TYPE_CHECKING:
    import polars as pl

_MARKERS = "osD^vPX"


@drawn_in_house_style
def dot_panels(
    frame: pl.DataFrame,
    value: str,
    x: str,
    group: str,
    panel: str,
    *,
    base: str | None = None,
    groups: Sequence[Any] = (),
    x_label: str = "",
    panel_label: str = "{}",
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw the mean of *value* over *x*, a point with its 95 % CI for each *group*, one panel a value of *panel*.

    Args:
        frame: a row a run.
        value: the column of heights, SI; it is shown in the unit of `quantity`.
        x: the column along the axes, a place each.
        group: the column that tells the points of one place apart.
        panel: the column that tells panels apart.
        base: the group that does not depend on *x*: a line across its panel, with its CI as a band.
        groups: the groups in order; default: as they appear.
        x_label: the horizontal axes; default the name of *x*.
        panel_label: what stands above a panel, with ``{}`` for its value.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    shown = quantity(value)
    panels = sorted(frame[panel].unique().to_list())
    wanted = groups or frame[group].unique(maintain_order=True).to_list()
    # Numbered before those that are not there are left out: a group has its colour in all figures.
    order = [(k, g) for k, g in enumerate(wanted) if g != base and (frame[group] == g).any()]
    points = frame.filter(frame[group] != base) if base is not None else frame
    places = sorted(points[x].unique().to_list())
    figure, axes = new_figure(1, max(len(panels), 1), width=WIDTH, height=2.9, sharey=True)
    spread = (np.arange(len(order)) - (len(order) - 1) / 2) * 0.8 / max(len(order), 1)
    counts = set()
    for ax, here in zip(axes[0], panels, strict=False):
        part = points.filter(points[panel] == here)
        cells = intervals_by(part, value, x, group)
        for (k, name), aside in zip(order, spread, strict=True):
            found = [(i, cells[place, name]) for i, place in enumerate(places) if (place, name) in cells]
            found = [(i, cell) for i, cell in found if cell.n]
            counts |= {cell.n for _, cell in found}
            style = {"color": series_style(k)["color"], "marker": _MARKERS[k % len(_MARKERS)]}
            ax.errorbar(
                [i + aside for i, _ in found],
                [cell.mean * shown.factor for _, cell in found],
                [np.nan_to_num(cell.half) * shown.factor for _, cell in found],
                linestyle="none",
                markersize=4,
                capsize=2,
                linewidth=1.1,
                label=number(name),
                **style,
            )
        if base is not None:
            _draw_base(ax, frame.filter((frame[panel] == here) & (frame[group] == base)), value, base)
        for i in range(1, len(places)):
            ax.axvline(i - 0.5, color=FAINT, linewidth=0.4, alpha=0.5)
        ax.set_xticks(range(len(places)), [number(place) for place in places])
        ax.set(xlim=(-0.5, max(len(places), 1) - 0.5), xlabel=x_label or quantity(x).label)
        ax.set_title(panel_label.format(number(here)), fontsize=8.5)
        ax.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel(shown.axis)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper")
    n = (
        f"n = {min(counts)}"
        if len(counts) == 1
        else f"n = {min(counts, default=0)} to {max(counts, default=0)}"
    )
    return finish(figure, title=title, runs=runs, note=f"points: mean and its 95 % CI ({n})")


def _draw_base(ax: Any, part: pl.DataFrame, value: str, name: str) -> None:
    from cosim.plots.intervals import mean_interval

    shown = quantity(value)
    cell = mean_interval(part[value].cast(float).to_numpy() * shown.factor)
    if not cell.n:
        return
    ax.axhline(cell.mean, color=FAINT, linewidth=1.1, linestyle="--", label=number(name))
    if np.isfinite(cell.half):
        ax.axhspan(cell.low, cell.high, color=FAINT, alpha=0.15, linewidth=0)
