"""The space-time diagram of one edge with its lanes side by side (TPE-MARL, figs 15 and 16).

Horizontal is ``L * lane + s`` with L the edge's length: as many adjacent strips as lanes, lane 0 (the rightmost)
first.  Vertical is time.  Each vehicle is a line, coloured by its type, that breaks where it changes lanes; a faint
line leads to where it goes on, if wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cosim.plots.style import FAINT, INK, WIDTH, drawn_in_house_style, finish, new_figure, type_colours

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """A vehicle's stay on one lane without interruption; ``points`` (n, 2) are (L * lane + s [m], time [s])."""

    vehicle: str
    type: str
    lane: int
    points: NDArray[np.float64]


def lane_pieces(vehicles: pl.DataFrame, edge: str, length: float) -> list[Piece]:
    """Cut the trajectories on *edge* into pieces of one lane.

    A piece ends where the vehicle changes lanes, and where it was away from the edge for more than one and a half
    times the sampling period.

    Args:
        vehicles: the table ``vehicles/`` or a part of it: t_us, id, type, edge, lane, s.
        edge: the edge to show.
        length: its length, m.

    Returns:
        Pieces in order of vehicle and time; one of a single sample has one point.
    """
    period = _period(vehicles["t_us"].to_numpy())
    on = vehicles.filter(vehicles["edge"] == edge).sort("id", "t_us")
    if on.is_empty():
        return []
    t_us, lane = on["t_us"].to_numpy(), on["lane"].to_numpy()
    cut = np.ones(len(on), dtype=np.bool_)
    same = on["id"].rle_id().to_numpy()
    cut[1:] = (np.diff(same) != 0) | (np.diff(lane) != 0) | (np.diff(t_us) > 1.5 * period)
    points = np.column_stack([length * lane + on["s"].to_numpy(), t_us / 1e6])
    starts = np.flatnonzero(cut)
    ids, types = on["id"].gather(starts).to_list(), on["type"].gather(starts).to_list()
    pieces = np.split(points, starts[1:])
    return [
        Piece(vehicle, kind, int(where), piece)
        for vehicle, kind, where, piece in zip(ids, types, lane[starts], pieces, strict=True)
    ]


def _period(t_us: NDArray[np.int64]) -> float:
    """Return the sampling period: the smallest distance between two instants, µs."""
    instants = np.unique(t_us)
    return float(np.diff(instants).min()) if len(instants) > 1 else float("inf")


@drawn_in_house_style
def space_time(
    vehicles: pl.DataFrame,
    edge: str,
    *,
    length: float,
    lanes: int,
    window_s: tuple[float, float] | None = None,
    changes: bool = False,
    labelled: Mapping[str, str] | None = None,
    title: str = "",
    runs: Sequence[str] = (),
) -> Figure:
    """Draw the space-time diagram of *edge* with its lanes side by side.

    Args:
        vehicles: the table ``vehicles/``; the finer it was sampled, the smoother the lines.
        edge: the edge to show.
        length: its length, m (the width of a strip).
        lanes: how many lanes it has.
        window_s: first and last instant to show, s; None shows all.
        changes: lane changes get a faint line from where the vehicle was to where it is, and a dot there.
        labelled: vehicles that are drawn thicker, with a text where their longest line begins.
        title: what the figure shows; default the edge's name.
        runs: names of the runs shown.
    """
    if window_s is not None:
        first, last = (round(t * 1e6) for t in window_s)
        vehicles = vehicles.filter(vehicles["t_us"].is_between(first, last))
    pieces = lane_pieces(vehicles, edge, length)
    colours = type_colours(piece.type for piece in pieces)
    figure, axes = new_figure(width=WIDTH, height=5.2)
    ax = axes[0, 0]
    for kind, colour in colours.items():
        of_kind = [piece.points for piece in pieces if piece.type == kind]
        lines = [points for points in of_kind if len(points) > 1]
        dots = [points for points in of_kind if len(points) == 1]
        ax.add_collection(LineCollection(lines, colors=colour, linewidths=0.9, label=kind))
        if dots:
            ax.plot(*np.concatenate(dots).T, ".", markersize=2, color=colour)
    if changes:
        _draw_changes(ax, pieces, colours)
    for vehicle, text in (labelled or {}).items():
        _draw_labelled(ax, [piece for piece in pieces if piece.vehicle == vehicle], colours, text)
    for lane in range(1, lanes):
        ax.axvline(length * lane, color=INK, linewidth=0.9)
    if window_s is None and pieces:
        times = np.concatenate([piece.points[:, 1] for piece in pieces])
        window_s = (float(times.min()), float(times.max()))
    low, high = window_s or (0.0, 1.0)
    ax.set(xlim=(0, length * lanes), ylim=(low, high if high > low else low + 1.0))
    ax.set_xticks(length / 2 * np.arange(2 * lanes + 1))
    ax.set(xlabel=f"{length:g} m · lane + position on the edge [m]", ylabel="time [s]")
    ax.grid(axis="x", visible=False)
    for lane in range(lanes):
        name = f"lane {lane}" + (" (right)" if lane == 0 else " (left)" if lane == lanes - 1 else "")
        ax.text(
            length * (lane + 0.5),
            1.01,
            name,
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
            color=FAINT,
        )
    vehicle_counts = {kind: len({p.vehicle for p in pieces if p.type == kind}) for kind in colours}
    handles = [
        Line2D([], [], color=colours[kind], label=f"{kind} ({n})") for kind, n in vehicle_counts.items()
    ]
    if changes:
        name = f"lane change ({len(_changes(pieces))})"
        handles.append(Line2D([], [], color=FAINT, linewidth=0.5, marker=".", markersize=4, label=name))
    if handles:
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    else:
        ax.text(0.5, 0.5, "no vehicle was recorded here", ha="center", va="center", transform=ax.transAxes)
    return finish(figure, title=title or f"Edge {edge}, lanes side by side", runs=runs)


def _changes(pieces: Sequence[Piece]) -> list[tuple[Piece, Piece]]:
    """Return the pieces before and after each lane change."""
    return [(a, b) for a, b in pairwise(pieces) if a.vehicle == b.vehicle and a.lane != b.lane]


def _draw_changes(ax: Any, pieces: Sequence[Piece], colours: Mapping[str, str]) -> None:
    found = _changes(pieces)
    lines = [np.stack([a.points[-1], b.points[0]]) for a, b in found]
    ax.add_collection(LineCollection(lines, colors=FAINT, linewidths=0.35, alpha=0.5, zorder=1.5))
    for kind, colour in colours.items():
        ends = [b.points[0] for _, b in found if b.type == kind]
        if ends:
            ax.plot(*np.array(ends).T, ".", markersize=2.5, color=colour)


def _draw_labelled(ax: Any, pieces: Sequence[Piece], colours: Mapping[str, str], text: str) -> None:
    for piece in pieces:
        ax.plot(*piece.points.T, color=INK, linewidth=2.6, zorder=2.5)
        ax.plot(*piece.points.T, color=colours[piece.type], linewidth=1.4, zorder=2.6)
    if pieces:
        begin = max(pieces, key=lambda piece: len(piece.points)).points[0]
        ax.annotate(text, begin, xytext=(3, -2), textcoords="offset points", fontsize=9, va="top", zorder=4)
