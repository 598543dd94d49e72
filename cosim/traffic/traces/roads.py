"""A net as a matcher sees it: which edges are near a point, and how far it is along the roads from one to another.

Reads a net's geometry once.  Distances run over the graph whose nodes are edges and whose arcs are the turns that
vehicles may take, by Dijkstra from one edge at a time, bounded and remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from cosim.traffic.geometry import Connection, NetGeometry
from cosim.traffic.routes import lets_in

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_MEMORY = 2000  # edges whose distances are remembered


@dataclass(frozen=True)
class Near:
    """Candidates of one point: edges, the positions (m of the edge's own length) and the distances (m), each (n,)."""

    edge: Rows
    at: Floats
    away: Floats


@dataclass(frozen=True)
class _Reach:
    """What can be reached from one edge: edges (ascending), distance from its end to their end, and who came before."""

    bound: float
    edges: Rows
    far: Floats
    before: Rows


class RoadGraph:
    """The edges of a net that vehicles of one SUMO class may use.

    ``turn_back`` (m) is added to the length of every turn back on the same road, which drivers avoid.
    """

    def __init__(self, net: NetGeometry, vehicle_class: str = "passenger", turn_back: float = 100.0) -> None:
        self.net = net
        edges = [e for e in net.edges.values() if any(lets_in(lane, vehicle_class) for lane in e.lanes)]
        self.ids = tuple(e.id for e in edges)
        self.length = np.array([e.length for e in edges], np.float64)
        lines = [shapely.LineString(e.lanes[len(e.lanes) // 2].shape) for e in edges]
        self._lines = np.array(lines, dtype=object)
        self._drawn = shapely.length(self._lines)
        self._tree = shapely.STRtree(self._lines)
        self._graph = self._turns(vehicle_class, turn_back)
        self._reached: dict[int, _Reach] = {}

    def _turns(self, vehicle_class: str, turn_back: float) -> csr_array:
        number = {edge: k for k, edge in enumerate(self.ids)}
        cost: dict[tuple[int, int], float] = {}
        for c in self.net.connections:
            pair = (number.get(c.from_edge, -1), number.get(c.to_edge, -1))
            if min(pair) < 0 or not self._usable(c, vehicle_class):
                continue
            inside = sum(lane.length for lane in self.net.inner_lanes(c))
            length = inside + self.length[pair[1]] + (turn_back if c.direction == "t" else 0.0)
            cost[pair] = min(cost.get(pair, np.inf), length)
        at = np.array(list(cost), np.int32).reshape(-1, 2)
        size = len(self.ids)
        return csr_array((np.array(list(cost.values())), (at[:, 0], at[:, 1])), shape=(size, size))

    def _usable(self, c: Connection, vehicle_class: str) -> bool:
        lanes = (self.net.edges[c.from_edge].lanes[c.from_lane], self.net.edges[c.to_edge].lanes[c.to_lane])
        return all(lets_in(lane, vehicle_class) for lane in lanes)

    def near(self, xy: Floats, radius: float, most: int = 12) -> list[Near]:
        """Return the candidates of each of the points *xy* (n, 2): at most *most* edges within *radius* (m)."""
        points = shapely.points(xy)
        of, edge = self._tree.query(points, predicate="dwithin", distance=radius)
        line = self._lines[edge]
        away = shapely.distance(points[of], line)
        at = shapely.line_locate_point(line, points[of]) * (self.length[edge] / self._drawn[edge])
        order = np.lexsort((edge, away, of))
        of, edge, away, at = of[order], edge[order], away[order], at[order]
        bounds = np.searchsorted(of, np.arange(len(points) + 1))
        found = []
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            stop = min(end, start + most)
            found.append(Near(edge[start:stop], at[start:stop], away[start:stop]))
        return found

    def between(self, one: Near, other: Near, bound: float, slack: float) -> Floats:
        """Return the driven distances (n, m) from candidates to the next ones, m; inf beyond *bound*.

        A position up to *slack* metres behind another on the same edge counts as no distance: fixes of a standing
        vehicle wander.
        """
        far = np.empty((len(one.edge), len(other.edge)))
        for k, (edge, at) in enumerate(zip(one.edge.tolist(), one.at.tolist(), strict=True)):
            reach = self._reach(edge, bound)
            place = np.minimum(np.searchsorted(reach.edges, other.edge), len(reach.edges) - 1)
            found = reach.edges[place] == other.edge
            around = np.where(found, reach.far[place], np.inf) - self.length[other.edge]
            far[k] = self.length[edge] - at + around + other.at
            ahead = other.at - at
            same = (other.edge == edge) & (ahead >= -slack)
            far[k, same] = np.maximum(ahead[same], 0.0)
        far[far > bound] = np.inf
        return far

    def way(self, one: int, other: int, bound: float) -> list[int]:
        """Return the edges after *one* up to and with *other* on the shortest way, by number."""
        reach = self._reach(one, bound)
        found = [other]
        while True:
            before = int(reach.before[np.searchsorted(reach.edges, found[-1])])
            if before == one:
                return found[::-1]
            found.append(before)

    def _reach(self, edge: int, bound: float) -> _Reach:
        known = self._reached.pop(edge, None)
        if known is None or known.bound < bound:
            limit = bound + float(self.length.max())
            # From the edges that follow, so that the way back to the edge itself (once round the block) is found too.
            start, stop = self._graph.indptr[edge], self._graph.indptr[edge + 1]
            firsts, costs = self._graph.indices[start:stop], self._graph.data[start:stop]
            known = self._search(edge, firsts, costs, bound, limit)
            if len(self._reached) >= _MEMORY:
                del self._reached[next(iter(self._reached))]
        self._reached[edge] = known
        return known

    def _search(self, edge: int, firsts: Rows, costs: Floats, bound: float, limit: float) -> _Reach:
        if not len(firsts):
            return _Reach(bound, np.array([edge]), np.array([np.inf]), np.array([edge]))
        far, before = dijkstra(self._graph, indices=firsts, return_predecessors=True, limit=limit)
        far = far + costs[:, None]
        best = np.argmin(far, axis=0)
        nodes = np.arange(len(self.ids))
        lowest = far[best, nodes]
        came = before[best, nodes]
        came = np.where(nodes == firsts[best], edge, came)
        edges = np.flatnonzero(np.isfinite(lowest))
        return _Reach(bound, edges, lowest[edges], came[edges].astype(np.intp))
