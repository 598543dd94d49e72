"""Matched traces on the map of their net: the routes, each fix, and the line from it to where it was matched.

Gives an overlay for :func:`~cosim.plots.net_map.draw_net`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from cosim.plots.net_map import Layer, Overlay
from cosim.plots.style import COLOURS
from cosim.traffic.geometry import NetGeometry
from cosim.traffic.traces.matched import MatchedTraces
from cosim.traffic.traces.paths import path_along

_FIX, _AWAY = "#22262a", "#d1321f"
_FAR_M = 50.0


def traces_overlay(traces: MatchedTraces) -> Overlay:
    """Return an overlay of *traces*: a colour a vehicle, fixes as dots, red where further than 50 m from the road."""

    def draw(axes: Any, geometry: NetGeometry) -> None:
        names = traces.trips["vehicle"].unique(maintain_order=True).to_list()
        colour = {name: COLOURS[k % (len(COLOURS) - 1)] for k, name in enumerate(names)}
        fixes = traces.fixes
        lines, feet = [], []
        for number, edges in traces.trips.select("trip", "edges").iter_rows():
            path = path_along(geometry, edges)
            lines.append(path.xy)
            own = fixes.filter(fixes["trip"] == number)
            feet.append(path.points(own["s"].to_numpy()))
        colours = [colour[name] for name in traces.trips["vehicle"].to_list()]
        axes.add_collection(
            LineCollection(lines, colors=colours, linewidths=1.6, alpha=0.75, zorder=Layer.TRAFFIC)
        )
        xy, foot = fixes.select("x", "y").to_numpy(), np.concatenate(feet)
        away = fixes["residual"].to_numpy() > _FAR_M
        axes.add_collection(
            LineCollection(
                list(np.stack([xy, foot], axis=1)),
                colors=[_AWAY if far else _FIX for far in away.tolist()],
                linewidths=0.6,
                zorder=Layer.TRAFFIC,
            )
        )
        axes.scatter(*xy[~away].T, s=5, c=_FIX, linewidths=0, zorder=Layer.TRAFFIC + 0.5)
        axes.scatter(*xy[away].T, s=14, c=_AWAY, linewidths=0, zorder=Layer.TRAFFIC + 0.5)
        handles = [
            Line2D([], [], color=COLOURS[0], linewidth=1.6, label="matched route, a colour a vehicle"),
            Line2D(
                [],
                [],
                color=_FIX,
                marker="o",
                markersize=3,
                linewidth=0.6,
                label="fix, and its place on the road",
            ),
        ]
        axes.legend(handles=handles, fontsize=8, loc="upper left", framealpha=0.85).set_zorder(Layer.LABELS)

    return draw
