"""Real and predicted trajectories: along an axis over time, and from above, with what stands beside the road."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cosim.plots.style import COLOURS, FAINT, INK, WIDTH, drawn_in_house_style, finish, new_figure

Floats = NDArray[np.float64]


@drawn_in_house_style
def predicted_paths(
    t: Floats,
    true: Mapping[str, Floats],
    predicted: Mapping[str, Floats],
    *,
    sites: Floats | None = None,
    height: float | None = None,
    ahead_s: float | None = None,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw where vehicles were (lines) and where they were predicted to be (crosses), a colour a vehicle.

    Three panels: x over time, the distance between the two over time, and from above, stretched across the road.

    Args:
        t: instants (T,), s.
        true: positions (T, 2) in m by label.
        predicted: positions (T, 2) in m predicted for the same instants, by the same labels; NaN: none.
        sites: RSUs (M, 2), m, shown from above.
        height: half the height of the view from above, m; None: as far as positions and sites reach.
        ahead_s: how long before each instant its position was predicted, s, for the legend.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    figure, axes = new_figure(3, 1, width=WIDTH, height=7.2, gridspec_kw={"height_ratios": [3, 1.3, 1.8]})
    along, error, above = axes[:, 0]
    for k, (label, xy) in enumerate(true.items()):
        colour, said = COLOURS[k % len(COLOURS)], predicted[label]
        along.plot(t, xy[:, 0], color=colour, linewidth=1.1)
        along.plot(t, said[:, 0], "x", color=colour, markersize=4, markeredgewidth=0.9)
        error.plot(t, np.hypot(*(said - xy).T), color=colour, linewidth=0.9)
        above.plot(*xy.T, color=colour, linewidth=0.9, alpha=0.7)
        above.plot(*said.T, "x", color=colour, markersize=4, markeredgewidth=0.9)
    along.set(ylabel="x [m]", xlabel="time [s]")
    error.set(ylabel="distance [m]", xlabel="time [s]")
    error.set_ylim(bottom=0)
    for ax in (along, error):
        ax.margins(x=0.01)
    if sites is not None:
        above.plot(*sites.T, "^", color=INK, markersize=6)
    above.set(xlabel="x [m]", ylabel="y [m]")
    if height is not None:
        above.set_ylim(-height, height)
    above.set_title("from above, stretched across the road", fontsize=8.5)
    error.set_title("distance between real and predicted position", fontsize=8.5)
    along.set_title("along the road", fontsize=8.5)
    ahead = "predicted" if ahead_s is None else f"predicted {ahead_s:g} s before"
    handles = [Line2D([], [], color=COLOURS[k % len(COLOURS)], label=name) for k, name in enumerate(true)]
    handles += [
        Line2D([], [], color=FAINT, label="real"),
        Line2D([], [], color=FAINT, marker="x", linestyle="", markersize=4, label=ahead),
    ]
    if sites is not None:
        handles.append(Line2D([], [], color=INK, marker="^", linestyle="", markersize=6, label="RSU"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(true) if len(true) < 5 else 4)
    return finish(figure, title=title, runs=runs)
