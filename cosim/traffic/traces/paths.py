"""The line that a vehicle follows along a route: lane centres, through junctions, as one polyline.

Reads a net's geometry and a connected list of edges; chooses lanes so that the vehicle changes lanes as seldom as
the turns allow (in the middle of the edge) and strings their centre lines together.  Everything about a trip is then
a function of one number, the distance along this path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cosim.errors import ScenarioError
from cosim.traffic.geometry import Connection, Lane, NetGeometry
from cosim.traffic.routes import lets_in

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Path:
    """A polyline in net metres and what lies along it.

    ``xy`` (p, 2) its points, ``far`` (p,) their distance from the start, m; ``piece_from`` (q,) where each lane piece
    begins, ascending, with ``piece_edge`` and ``piece_lane`` its edge id (internal ones too) and lane index;
    ``edge_from`` and ``edge_to`` (e,) where the route's edges begin and end, ``edge_length`` their driven lengths.
    """

    xy: Floats
    far: Floats
    piece_from: Floats
    piece_edge: tuple[str, ...]
    piece_lane: Ints
    edge_from: Floats
    edge_to: Floats
    edge_length: Floats

    @property
    def length(self) -> float:
        """Length of the whole path, m."""
        return float(self.far[-1])

    def points(self, s: Floats) -> Floats:
        """Return the points (n, 2) at distances *s* (n,), m."""
        return np.stack(
            [np.interp(s, self.far, self.xy[:, 0]), np.interp(s, self.far, self.xy[:, 1])], axis=-1
        )

    def at_edge(self, index: Ints, position: Floats) -> Floats:
        """Return the distances (n,) of *position* (n,), m of the driven length, on the route's edges *index* (n,)."""
        share = np.clip(position / self.edge_length[index], 0.0, 1.0)
        found: Floats = self.edge_from[index] + share * (self.edge_to[index] - self.edge_from[index])
        return found

    def edges_at(self, s: Floats) -> tuple[Ints, Floats]:
        """Return the route's edge index (n,) and the driven position there (n,), m; in a junction its end."""
        index = np.clip(np.searchsorted(self.edge_from, s, side="right") - 1, 0, len(self.edge_from) - 1)
        drawn = self.edge_to[index] - self.edge_from[index]
        share = np.clip((s - self.edge_from[index]) / np.maximum(drawn, 1e-9), 0.0, 1.0)
        return index.astype(np.int64), share * self.edge_length[index]


def path_along(net: NetGeometry, edges: Sequence[str], vehicle_class: str = "passenger") -> Path:
    """Return the path along *edges*, each of which leads to the next.

    Raises:
        ScenarioError: an edge does not exist, is closed to *vehicle_class*, or does not lead to the next.
    """
    for edge in edges:
        if edge not in net.edges:
            raise ScenarioError(f"the net has no edge '{edge}'; match the traces again")
    turns = [_turns(net, one, other, vehicle_class) for one, other in pairwise(edges)]
    taken = _fewest_changes(net, edges, turns, vehicle_class)
    pieces: list[tuple[Lane, Floats]] = []
    first_piece, last_piece = [], []
    for k, edge in enumerate(edges):
        lanes = net.edges[edge].lanes
        arrive = taken[k - 1].to_lane if k else None
        leave = taken[k].from_lane if k < len(taken) else None
        arrive = leave if arrive is None else arrive
        arrive = _open(lanes, vehicle_class)[0] if arrive is None else arrive
        leave = arrive if leave is None else leave
        first_piece.append(len(pieces))
        pieces += _change(lanes, arrive, leave)
        last_piece.append(len(pieces) - 1)
        if k < len(taken):
            pieces += [(lane, lane.shape) for lane in net.inner_lanes(taken[k])]
    return _strung(net, edges, pieces, first_piece, last_piece)


def _turns(net: NetGeometry, one: str, other: str, vehicle_class: str) -> list[Connection]:
    found = [
        c
        for c in _leaving(net).get(one, ())
        if c.to_edge == other
        and lets_in(net.edges[one].lanes[c.from_lane], vehicle_class)
        and lets_in(net.edges[other].lanes[c.to_lane], vehicle_class)
    ]
    if not found:
        raise ScenarioError(f"edge '{one}' does not lead to '{other}'; match the traces again")
    return found


_by_edge: dict[int, tuple[NetGeometry, dict[str, list[Connection]]]] = {}


def _leaving(net: NetGeometry) -> dict[str, list[Connection]]:
    """Return the connections by the edge that they leave; remembered for the last net."""
    known = _by_edge.get(id(net))
    if known is None or known[0] is not net:
        table: dict[str, list[Connection]] = {}
        for c in net.connections:
            table.setdefault(c.from_edge, []).append(c)
        _by_edge.clear()
        known = _by_edge[id(net)] = (net, table)
    return known[1]


def _open(lanes: Sequence[Lane], vehicle_class: str) -> list[int]:
    found = [lane.index for lane in lanes if lets_in(lane, vehicle_class)]
    if not found:
        raise ScenarioError(f"edge '{lanes[0].edge}' is closed to vehicles of class '{vehicle_class}'")
    return found


def _fewest_changes(
    net: NetGeometry, edges: Sequence[str], turns: Sequence[Sequence[Connection]], vehicle_class: str
) -> list[Connection]:
    """Choose one connection a turn so that the lanes crossed on the edges between are fewest."""
    cost = np.zeros(len(turns[0])) if turns else np.zeros(0)
    back: list[Ints] = []
    for before, after in pairwise(turns):
        arrive = np.array([c.to_lane for c in before])
        leave = np.array([c.from_lane for c in after])
        total = cost[:, None] + np.abs(arrive[:, None] - leave[None, :])
        best = np.argmin(total, axis=0)
        back.append(best)
        cost = total[best, np.arange(len(after))]
    if not turns:
        return []
    chosen = [int(np.argmin(cost))]
    for best in reversed(back):
        chosen.append(int(best[chosen[-1]]))
    return [turn[k] for turn, k in zip(turns, chosen[::-1], strict=True)]


def _change(lanes: Sequence[Lane], arrive: int, leave: int) -> list[tuple[Lane, Floats]]:
    """Return the pieces along an edge from lane *arrive* to lane *leave*, lane after lane in equal parts."""
    step = 1 if leave > arrive else -1
    order = [*range(arrive, leave, step), leave]
    cuts = np.linspace(0.0, 1.0, len(order) + 1)
    return [(lanes[k], _part(lanes[k].shape, a, b)) for k, (a, b) in zip(order, pairwise(cuts), strict=True)]


def _part(shape: Floats, start: float, end: float) -> Floats:
    """Return the part of a polyline between two shares of its length."""
    if (start, end) == (0.0, 1.0):
        return shape
    far = _far(shape)
    a, b = start * far[-1], end * far[-1]
    inside = (far > a) & (far < b)
    ends = np.stack([np.interp([a, b], far, shape[:, 0]), np.interp([a, b], far, shape[:, 1])], axis=-1)
    return np.concatenate([ends[:1], shape[inside], ends[1:]])


def _far(shape: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(shape, axis=0).T))])


def _strung(
    net: NetGeometry,
    edges: Sequence[str],
    pieces: Sequence[tuple[Lane, Floats]],
    first: Sequence[int],
    last: Sequence[int],
) -> Path:
    """String pieces together; the sideways step of a lane change takes no length."""
    xy = np.concatenate([shape for _, shape in pieces])
    steps = np.hypot(*np.diff(xy, axis=0).T)
    sizes = np.array([len(shape) for _, shape in pieces])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    changes = [one.edge == other.edge for (one, _), (other, _) in pairwise(pieces)]
    steps[starts[1:-1][changes] - 1] = 0.0
    far = np.concatenate([[0.0], np.cumsum(steps)])
    return Path(
        xy=xy,
        far=far,
        piece_from=far[starts[:-1]],
        piece_edge=tuple(lane.edge for lane, _ in pieces),
        piece_lane=np.array([lane.index for lane, _ in pieces], np.int64),
        edge_from=far[starts[list(first)]],
        edge_to=far[starts[np.array(last) + 1] - 1],
        edge_length=np.array([net.edges[edge].length for edge in edges], np.float64),
    )
