"""Bird's-eye strips: the vehicles on a multi-lane edge at chosen instants, one strip of road below the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cosim.plots.style import INK, WIDTH, drawn_in_house_style, finish, new_figure, type_colours

if TYPE_CHECKING:
    import polars as pl

_ROAD, _LINE = "#e9ebee", "#9aa2aa"
_LENGTH, _WIDTH = 5.0, 1.8  # m, the body of the built-in types
_LANE = 3.2


@drawn_in_house_style
def strips(
    vehicles: pl.DataFrame,
    edge: str,
    instants_s: Sequence[float],
    *,
    length: float,
    lanes: int,
    lane_width: float = _LANE,
    bodies: Mapping[str, tuple[float, float]] | None = None,
    labelled: Collection[str] | Mapping[str, str] = (),
    window_m: tuple[float, float] | None = None,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw the vehicles on *edge* from above, one strip an instant; traffic goes from left to right.

    Args:
        vehicles: the table ``vehicles/``; the sample closest to each instant is taken.
        edge: the edge to show; lane 0, the rightmost, is at the bottom.
        instants_s: what to show, s.
        length: the edge's length, m.
        lanes: how many lanes it has.
        lane_width: m.
        bodies: length and width (m) of each type's vehicles; 5 m x 1.8 m if not given.
        labelled: ids of vehicles that get a thick outline and their name, or the text that a mapping has for them.
        window_m: the part of the edge to show, m; None shows all of it.
        title: what the figure shows; default the edge's name.
        runs: names of the runs shown.
    """
    on = vehicles.filter(vehicles["edge"] == edge)
    times = np.unique(vehicles["t_us"].to_numpy())
    colours = type_colours(on["type"].unique().to_list())
    count = max(len(instants_s), 1)
    figure, axes = new_figure(count, width=WIDTH, height=0.9 + 0.33 * count * (1 + 0.5 * lanes), sharex=True)
    for ax, instant in zip(axes[:, 0], instants_s, strict=False):
        shown = int(times[np.abs(times - instant * 1e6).argmin()]) if len(times) else round(instant * 1e6)
        _draw_road(ax, length, lanes, lane_width)
        _draw_vehicles(ax, on.filter(on["t_us"] == shown), colours, bodies or {}, labelled, lane_width)
        ax.set_title(f"t = {shown / 1e6:g} s", fontsize=8.5)
    axes[-1, 0].set(xlabel="position on the edge [m], direction of travel →", xlim=window_m or (0, length))
    handles = [Rectangle((0, 0), 1, 1, color=colour, label=kind) for kind, colour in colours.items()]
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return finish(figure, title=title or f"Edge {edge} from above", runs=runs)


def _draw_road(ax: Any, length: float, lanes: int, lane_width: float) -> None:
    ax.add_patch(Rectangle((0, 0), length, lanes * lane_width, color=_ROAD, linewidth=0))
    for line in range(lanes + 1):
        edge = line in (0, lanes)
        ax.plot(
            [0, length],
            [line * lane_width] * 2,
            color=_LINE,
            linewidth=1.0,
            linestyle="-" if edge else (0, (6, 6)),
        )
    ax.set(ylim=(-0.1 * lane_width, (lanes + 0.1) * lane_width), ylabel="lane")
    ax.set_yticks(lane_width * (np.arange(lanes) + 0.5), [str(lane) for lane in range(lanes)])
    ax.grid(visible=False)
    ax.tick_params(axis="y", length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)


def _draw_vehicles(
    ax: Any,
    now: pl.DataFrame,
    colours: Mapping[str, str],
    bodies: Mapping[str, tuple[float, float]],
    labelled: Collection[str] | Mapping[str, str],
    lane_width: float,
) -> None:
    for kind, part in ((k, now.filter(now["type"] == k)) for k in colours):
        long, wide = bodies.get(kind, (_LENGTH, _WIDTH))
        bottom = (part["lane"].to_numpy() + 0.5) * lane_width - wide / 2
        rear = part["s"].to_numpy() - long  # s is the front bumper
        patches = [Rectangle((x, y), long, wide) for x, y in zip(rear, bottom, strict=True)]
        ax.add_collection(
            PatchCollection(patches, facecolor=colours[kind], edgecolor="white", linewidth=0.3, zorder=3)
        )
        for vehicle, x, y in zip(part["id"].to_list(), rear, bottom, strict=True):
            if vehicle in labelled:
                ax.add_patch(
                    Rectangle((x, y), long, wide, fill=False, edgecolor=INK, linewidth=1.4, zorder=4)
                )
                ax.annotate(
                    labelled[vehicle] if isinstance(labelled, Mapping) else vehicle,
                    (x + long / 2, y + wide),
                    xytext=(0, 1),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=6,
                    color=INK,
                    zorder=5,
                )
