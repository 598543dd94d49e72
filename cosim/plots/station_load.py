"""The load of edge servers slot by slot, and below it who is served where and moves work where to.

In the upper panel every station is a row of slots, as light as it is loaded.  In the lower one every vehicle is a row:
a slot has the colour of the station that serves the vehicle, and a dot in the colour of the station to which it
migrates, as large as the share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cosim.plots.style import INK, WIDTH, drawn_in_house_style, finish, lighter, new_figure, series_style

_DOT = 40.0
"""Area of the dot of a share of 1, square points."""
_ROW = 0.19
"""Height of a row, inches."""


@dataclass(frozen=True, eq=False, slots=True)
class SlotChoices:
    """What happened in T slots that begin at ``t_s`` (T,) and last ``slot_s``, at M stations and with V vehicles.

    ``loads`` (T, M) is each station's load at the slot's begin, its new work counted in.  ``serving`` and ``target``
    (T, V) are station numbers, -1 for none, ``share`` (T, V) is how much is migrated, 0 to 1.
    """

    t_s: NDArray[np.float64]
    slot_s: float
    stations: Sequence[str]
    vehicles: Sequence[str]
    loads: NDArray[np.float64]
    serving: NDArray[np.int64]
    target: NDArray[np.int64]
    share: NDArray[np.float64]


@drawn_in_house_style
def station_loads(
    choices: SlotChoices,
    *,
    label: str = "load [Gcycles]",
    limit: float | None = None,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw loads and decisions over time.

    Args:
        choices: what is drawn; needs a slot.
        label: what the loads are, with their unit.
        limit: the largest load that a server takes, the end of the scale; None: the largest that occurs.
        title: what the figure shows.
        runs: names of the runs shown.
    """
    rows = [len(choices.stations), len(choices.vehicles)]
    figure, axes = new_figure(
        2,
        width=WIDTH,
        height=1.6 + _ROW * sum(rows),
        sharex=True,
        gridspec_kw={"height_ratios": rows},
    )
    top, bottom = axes[:, 0]
    edges = np.append(choices.t_s, choices.t_s[-1] + choices.slot_s)
    image = top.pcolormesh(
        edges,
        np.arange(rows[0] + 1) - 0.5,
        choices.loads.T,
        vmin=0.0,
        vmax=limit or max(float(choices.loads.max()), 1e-9),
        edgecolors="white",
        linewidth=0.4,
    )
    figure.colorbar(image, ax=top, label=label, pad=0.01)
    _rows(top, choices.stations)
    for tick, k in zip(top.get_yticklabels(), range(rows[0]), strict=True):
        tick.set_color(_colour(k))
        tick.set_fontweight("bold")
    _draw_choices(bottom, choices)
    _rows(bottom, choices.vehicles)
    bottom.set_xlabel("time [s]")
    bottom.set_xlim(edges[0], edges[-1])
    figure.legend(handles=_legend(choices.stations), loc="outside lower center", ncols=5)
    return finish(figure, title=title, runs=runs)


def _rows(ax: Any, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names, fontsize=6.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False)


def _draw_choices(ax: Any, choices: SlotChoices) -> None:
    slots, vehicles = np.nonzero(choices.serving >= 0)
    cells = [
        Rectangle((choices.t_s[t], v - 0.42), choices.slot_s, 0.84)
        for t, v in zip(slots.tolist(), vehicles.tolist(), strict=True)
    ]
    colours: list[Any] = [lighter(_colour(k), 0.55) for k in choices.serving[slots, vehicles].tolist()]
    ax.add_collection(PatchCollection(cells, facecolors=colours, edgecolors="white", linewidths=0.4))
    slots, vehicles = np.nonzero((choices.target >= 0) & (choices.share > 0))
    at = choices.t_s[slots] + choices.slot_s / 2
    colours = [_colour(k) for k in choices.target[slots, vehicles].tolist()]
    ax.scatter(at, vehicles, s=_DOT * choices.share[slots, vehicles], c=colours, linewidths=0, zorder=3)


def _colour(station: int) -> str:
    return str(series_style(station)["color"])


def _legend(stations: Sequence[str]) -> list[Any]:
    plain: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0}
    found: list[Any] = [
        Line2D([], [], marker="s", markersize=6, color=_colour(k), label=name, **plain)
        for k, name in enumerate(stations)
    ]
    for label, share in (("dot: migrates half", 0.5), ("migrates all", 1.0)):
        size = float((_DOT * share) ** 0.5)
        found.append(Line2D([], [], marker="o", markersize=size, color=INK, label=label, **plain))
    return found
