"""Time series: columns of ``steps/`` over simulated time, a panel each, several runs on top of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from cosim.plots.quantities import quantity
from cosim.plots.style import FAINT, drawn_in_house_style, finish, new_figure, series_style

if TYPE_CHECKING:
    import polars as pl


@drawn_in_house_style
def time_series(
    frames: Mapping[str, pl.DataFrame],
    columns: Sequence[str],
    *,
    warmup_s: float = 0.0,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw *columns* over time, one panel a column with a common time axis.

    Args:
        frames: tables with ``t_us`` and *columns* by label; a label is shown if there are several.
        columns: numeric columns; units are those of `quantity`.
        warmup_s: the warm-up, shaded.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    figure, axes = new_figure(len(columns), height=0.6 + 1.25 * len(columns), sharex=True)
    for ax, column in zip(axes[:, 0], columns, strict=True):
        shown = quantity(column)
        for k, (label, frame) in enumerate(frames.items()):
            values = frame[column].cast(float).to_numpy() * shown.factor
            ax.plot(frame["t_us"].to_numpy() / 1e6, values, label=label, linewidth=1.1, **series_style(k))
            _dots_where_alone(ax, frame["t_us"].to_numpy() / 1e6, values, series_style(k)["color"])
        if warmup_s > 0:
            ax.axvspan(0.0, warmup_s, color=FAINT, alpha=0.12, linewidth=0)
        ax.set_title(shown.axis, fontsize=8.5)
        ax.margins(x=0.01)
    last = axes[-1, 0]
    last.set_xlabel("time [s]" + (f" (shaded: warm-up of {warmup_s:g} s)" if warmup_s > 0 else ""))
    if len(frames) > 1:
        handles = axes[0, 0].get_legend_handles_labels()[0]
        figure.legend(handles=handles, loc="outside upper right", ncols=min(len(frames), 4))
    return finish(figure, title=title, runs=runs)


def _dots_where_alone(
    ax: object,
    t: np.ndarray[tuple[int], np.dtype[np.float64]],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    colour: str,
) -> None:
    """Draw values without a neighbour as dots: a line cannot show them."""
    there = np.isfinite(values)
    before = np.concatenate([[False], there[:-1]])
    after = np.concatenate([there[1:], [False]])
    alone = there & ~before & ~after
    ax.plot(t[alone], values[alone], ".", markersize=3, color=colour)  # type: ignore[attr-defined]
