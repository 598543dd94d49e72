"""Empirical distribution functions of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from cosim.plots.style import drawn_in_house_style, finish, new_figure, series_style

Floats = NDArray[np.float64]

_POINTS = 2000


def distribution(samples: ArrayLike) -> tuple[Floats, Floats]:
    """Return the points (k,) at which the distribution of *samples* (n,) steps, and its values (k,) there.

    The value is the share of samples at most as large.  NaN is left out; +inf counts (the curve then stays
    below one).
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    values = np.sort(values[~np.isnan(values)])
    n = len(values)
    points, counts = np.unique(values, return_counts=True)
    share = np.cumsum(counts) / n if n else np.empty(0)
    return points, share


@drawn_in_house_style
def cdf(
    samples: Mapping[str, ArrayLike],
    *,
    x_label: str,
    factor: float = 1.0,
    colours: Mapping[str, str] | None = None,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw the empirical distribution function of each group of samples as steps.

    Args:
        samples: arrays (n,) by group; the legend says how many values each has.
        x_label: the quantity with its unit in print.
        factor: from SI to that unit.
        colours: of groups, such as `type_colours`; others take the house's in turn.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    figure, axes = new_figure()
    ax = axes[0, 0]
    for k, (name, values) in enumerate(samples.items()):
        style = series_style(k)
        if colours and name in colours:
            style = {"color": colours[name]}
        count = int(np.count_nonzero(~np.isnan(np.asarray(values, dtype=np.float64))))
        x, share = distribution(values)
        if not count:
            continue
        if (
            len(x) > _POINTS
        ):  # a finer staircase than pixels: keep evenly spaced steps, first and last among them
            keep = np.unique(np.linspace(0, len(x) - 1, _POINTS).round().astype(np.int64))
            x, share = x[keep], share[keep]
        x, share = np.concatenate([x[:1], x]), np.concatenate([[0.0], share])
        ax.plot(x * factor, share, drawstyle="steps-post", label=f"{name} (n = {count})", **style)
    ax.set(xlabel=x_label, ylabel="share of samples ≤ x", ylim=(0, 1.02))
    if ax.lines:
        ax.legend(loc="best")
    else:
        ax.text(0.5, 0.5, "no samples", ha="center", va="center", transform=ax.transAxes)
    return finish(figure, title=title, runs=runs)
