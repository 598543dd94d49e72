"""Grouped bar charts of means over runs, with 95 % confidence intervals and every run's own value as a dot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from cosim.plots.intervals import Interval, mean_interval
from cosim.plots.quantities import number, quantity
from cosim.plots.style import (
    INK,
    NARROW,
    WIDTH,
    drawn_in_house_style,
    finish,
    lighter,
    new_figure,
    series_style,
)

if TYPE_CHECKING:
    import polars as pl

_ALL = ""
_LETTER = 0.075  # inches
_NARROW_BARS = 9
"""More bars take a wider figure."""


def intervals_by(
    frame: pl.DataFrame, value: str, x: str, group: str | None = None
) -> dict[tuple[Any, Any], Interval]:
    """Return mean and 95 % interval of *value* for each (x, group) of *frame*, in order of appearance.

    Args:
        frame: a row a run.
        value: a numeric column; null and NaN are no value (a cell of nothing else has n = 0).
        x: the column along the axis.
        group: the column of the bars within a group; None: one bar each, its group is an empty text.
    """
    keys = [x] if group is None else [x, group]
    found = {}
    for key, part in frame.group_by(keys, maintain_order=True):
        found[key[0], key[1] if group else _ALL] = mean_interval(part[value].cast(float).to_numpy())
    return found


@drawn_in_house_style
def bars(
    frame: pl.DataFrame,
    value: str,
    x: str,
    *,
    group: str | None = None,
    published: Mapping[tuple[Any, Any], float] | None = None,
    x_label: str = "",
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw the mean of *value* for each *x*, bars of a *group* beside each other, with 95 % CIs.

    Args:
        frame: a row a run.
        value: the column of heights, SI; it is shown in the unit of `quantity`.
        x: the column along the axis.
        group: the column that tells the bars of one place apart.
        published: published values (SI) by (x, group), drawn as diamonds; the group is "" without *group*.
        x_label: the horizontal axis; default the name of *x*.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    shown = quantity(value)
    cells = intervals_by(frame, value, x, group)
    places = list(dict.fromkeys(place for place, _ in cells))
    groups = list(dict.fromkeys(name for _, name in cells))
    figure, axes = new_figure(width=WIDTH if len(cells) > _NARROW_BARS else NARROW)
    ax = axes[0, 0]
    width = 0.8 / max(len(groups), 1)
    for k, name in enumerate(groups):
        centre = np.arange(len(places)) + (k - (len(groups) - 1) / 2) * width
        found = [cells.get((place, name), Interval(np.nan, np.nan, 0)) for place in places]
        height = np.array([cell.mean for cell in found]) * shown.factor
        half = np.array([cell.half for cell in found]) * shown.factor
        colour = lighter(series_style(k)["color"])
        ax.bar(centre, height, width * 0.92, color=colour, label=number(name))
        there = np.isfinite(half)
        ax.errorbar(
            centre[there], height[there], half[there], fmt="none", ecolor=INK, capsize=3, linewidth=1.1
        )
        _draw_runs(ax, frame, (value, x, group), (centre, places, name), width, shown.factor)
        _draw_published(ax, published or {}, (centre, places, name), shown.factor)
    _label_places(figure, ax, [number(place) for place in places])
    ax.set(xlabel=x_label or quantity(x).label, ylabel=shown.axis, xlim=(-0.5, len(places) - 0.5))
    ax.grid(axis="x", visible=False)
    if group is not None:
        _legend(figure, ax, quantity(group).label)
    return finish(figure, title=title, runs=runs, note=_explanation(cells, bool(published)))


def _label_places(figure: Figure, ax: Any, names: Sequence[str]) -> None:
    """Write the names below their bars: in several lines if they are long, slanted if that is not enough."""
    letters = int((figure.get_figwidth() - 0.8) / max(len(names), 1) / _LETTER)
    wrapped = ["\n".join(_lines(name, letters)) for name in names]
    fits = all(len(line) <= letters for text in wrapped for line in text.split("\n"))
    ax.set_xticks(np.arange(len(names)), wrapped if fits else names)
    if not fits:
        figure.set_figheight(figure.get_figheight() + 0.035 * max(map(len, names)))
        for label in ax.get_xticklabels():
            label.set(rotation=30, rotation_mode="anchor", ha="right")


def _lines(text: str, letters: int) -> list[str]:
    """Break *text* into lines of at most that many letters, after a space or a sign; longer words stay whole."""
    lines = [""]
    for word in re.findall(r"[^\s_\-.,=/:]*[\s_\-.,=/:]*", text):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > letters:
            lines.append("")
        lines[-1] += word
    return [line.strip() for line in lines]


def _legend(figure: Figure, ax: Any, title: str) -> None:
    """Put the names of the groups above the axes, as many beside each other as there is room for."""
    labels = ax.get_legend_handles_labels()[1]
    widest = max(map(len, labels)) * _LETTER + 0.6
    columns = max(1, min(len(labels), int((figure.get_figwidth() - 0.8) / widest)))
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        title=title,
        alignment="left",
        title_fontsize=8,
        borderaxespad=0.2,
    )
    figure.set_figheight(figure.get_figheight() + 0.17 * (-(-len(labels) // columns)))


def _draw_runs(
    ax: Any,
    frame: pl.DataFrame,
    columns: tuple[str, str, str | None],
    at: tuple[Any, Any, Any],
    width: float,
    factor: float,
) -> None:
    """Draw each run's value beside the middle of its bar."""
    (value, x, group), (centre, places, name) = columns, at
    part = frame if group is None else frame.filter(frame[group].eq_missing(name))
    for middle, place in zip(centre, places, strict=True):
        values = part.filter(part[x].eq_missing(place))[value].drop_nulls().cast(float).to_numpy() * factor
        spread = np.linspace(-0.3, 0.3, len(values)) * width if len(values) > 1 else np.zeros(len(values))
        ax.plot(middle + spread, values, ".", color=INK, markersize=3, alpha=0.6, linestyle="none")


def _draw_published(
    ax: Any, published: Mapping[tuple[Any, Any], float], at: tuple[Any, Any, Any], factor: float
) -> None:
    centre, places, name = at
    points = [
        (m, published[p, name] * factor)
        for m, p in zip(centre, places, strict=True)
        if (p, name) in published
    ]
    if points:
        ax.plot(
            *zip(*points, strict=True),
            "D",
            markersize=6,
            markerfacecolor="white",
            markeredgecolor=INK,
            zorder=4,
        )


def _explanation(cells: Mapping[Any, Interval], published: bool) -> str:
    counts = {cell.n for cell in cells.values()} or {0}
    n = f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"
    diamonds = "; diamonds: published" if published else ""
    return f"bars: mean and its 95 % CI ({n}); dots: single runs{diamonds}"
