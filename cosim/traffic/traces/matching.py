"""Map matching: the edges that a vehicle drove along between its fixes, and where on them each fix belongs.

A hidden Markov model after Newson and Krumm ("Hidden Markov Map Matching Through Noise and Sparseness", 2009): a
fix speaks for the edges close by, two fixes speak for a way between them that is hardly longer than the straight
line and can be driven in the time.  Fixes that a standing vehicle sends are one fix that lasts.  Where no way fits,
the segment is cut into trips; a fix far from all roads is left out and replayed off the road.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cosim.traffic.geometry import NetGeometry
from cosim.traffic.traces.paths import Path, path_along
from cosim.traffic.traces.roads import Near, RoadGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MatchRules:
    """Numbers of the matcher, metres and seconds.

    ``radius``: how far a fix may lie from an edge's middle.  ``noise``: standard deviation of fixes about the road
    (GPS and the rounding to 1e-4 degrees).  ``detour``: how much longer than the straight line a way may be before it
    is e times less likely.  ``fill``: longest way between two fixes.  ``max_speed``: fastest mean speed on it.
    ``standing``: fixes closer than this to one before them are the same place.  ``slack``: how far back on its edge a
    fix may lie without the vehicle having turned.
    """

    radius: float = 50.0
    noise: float = 6.0
    detour: float = 100.0
    fill: float = 5000.0
    max_speed: float = 120 / 3.6
    standing: float = 15.0
    slack: float = 20.0


@dataclass(frozen=True)
class Matched:
    """One trip: a connected route and the fixes of one segment along it.

    ``rows`` are row numbers of the table that was matched, ``t_us`` their times, ``xy`` (n, 2) the fixes in net
    metres, ``s`` (n,) how far along the path (m) each belongs, ascending, ``residual`` (n,) its distance from there.
    """

    edges: tuple[str, ...]
    path: Path
    rows: Ints
    t_us: Ints
    xy: Floats
    s: Floats
    residual: Floats


@dataclass
class MatchCounts:
    """What became of the fixes of a matching."""

    fixes: int = 0
    matched: int = 0
    off_road: int = 0
    """Far from all roads, but between matched fixes: replayed off the road."""
    no_road: int = 0
    """Far from all roads at the beginning or end of a segment: left out."""
    alone: int = 0
    """In a segment or piece with fewer than two places: cannot be driven."""
    segments: int = 0
    trips: int = 0
    cuts: int = 0
    """Places where no way led on and a segment was cut."""


def match(
    fixes: pl.DataFrame, net: NetGeometry, rules: MatchRules | None = None, counts: MatchCounts | None = None
) -> Iterator[Matched]:
    """Match clean *fixes* (:data:`~cosim.traffic.traces.cleaning.COLUMNS`) to *net*; yield the trips in order.

    *counts*, if given, is filled on the way.  Raises ScenarioError if the net is not geo-referenced.
    """
    rules = rules or MatchRules()
    counts = counts if counts is not None else MatchCounts()
    graph = RoadGraph(net)
    xy = net.to_xy(fixes["lon"].to_numpy(), fixes["lat"].to_numpy())
    t_us = fixes["time"].dt.epoch("us").to_numpy()
    number = fixes.select(pl.struct("vehicle", "segment").rle_id()).to_series().to_numpy()
    bounds = np.flatnonzero(np.diff(number, prepend=-1, append=-1))
    counts.fixes += len(fixes)
    counts.segments += len(bounds) - 1
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        rows = np.arange(start, end)
        for trip in _match_segment(graph, xy[rows], t_us[rows], rules, counts):
            edges, places, s_on_edge, of_place, kept = trip
            done = _along(
                net, edges, places, s_on_edge, of_place, rows[kept], t_us[rows[kept]], xy[rows[kept]]
            )
            counts.trips += 1
            off = int((done.residual > rules.radius).sum())
            counts.off_road += off
            counts.matched += len(done.rows) - off
            yield done


_Trip = tuple[list[str], Ints, Floats, Ints, Ints]


def _match_segment(
    graph: RoadGraph, xy: Floats, t_us: Ints, rules: MatchRules, counts: MatchCounts
) -> Iterator[_Trip]:
    """Yield trips: edges, each place's edge index and position on it, each fix's place (-1: none), and which fixes."""
    near = graph.near(xy, rules.radius)
    on_road = np.array([len(candidates.edge) > 0 for candidates in near])
    place_of = _places(xy, on_road, rules.standing)
    size = int(place_of.max(initial=-1)) + 1
    first = np.array([int(np.flatnonzero(place_of == p)[0]) for p in range(size)], np.int64)
    last = np.array([int(np.flatnonzero(place_of == p)[-1]) for p in range(size)], np.int64)
    pieces = (
        _viterbi(graph, [near[k] for k in first], xy[first], t_us[first], t_us[last], rules) if size else []
    )
    counts.cuts += max(0, len(pieces) - 1)
    used = 0
    for begin, chosen in pieces:
        here = np.arange(begin, begin + len(chosen))
        inside = np.flatnonzero((place_of >= here[0]) & (place_of <= here[-1]))
        kept = np.arange(inside[0], inside[-1] + 1)
        if len(chosen) < 2:
            counts.alone += len(kept)
            used += len(kept)
            continue
        used += len(kept)
        edges, index = _route(graph, [near[first[p]] for p in here], chosen, xy[first[here]], rules)
        at = np.array([near[first[p]].at[k] for p, k in zip(here.tolist(), chosen, strict=True)])
        of_place = np.where(place_of[kept] >= 0, place_of[kept] - begin, -1)
        yield edges, index, at, of_place, kept
    counts.no_road += len(xy) - used


def _places(xy: Floats, on_road: NDArray[np.bool_], standing: float) -> Ints:
    """Number the places of fixes (n,): consecutive ones within *standing* m of the first are one; off-road: -1."""
    found = np.full(len(xy), -1, np.int64)
    number, anchor = -1, None
    for k in np.flatnonzero(on_road).tolist():
        if anchor is None or np.hypot(*(xy[k] - anchor)) > standing:
            number, anchor = number + 1, xy[k]
        found[k] = number
    return found


def _viterbi(
    graph: RoadGraph, near: Sequence[Near], xy: Floats, came_us: Ints, left_us: Ints, rules: MatchRules
) -> list[tuple[int, list[int]]]:
    """Return the pieces of a segment that can be driven through: first place, and the chosen candidate of each."""
    pieces: list[tuple[int, list[int]]] = []
    begin = 0
    cost = _emission(near[0], rules)
    back: list[Ints] = []
    for k in range(1, len(near)):
        straight = float(np.hypot(*(xy[k] - xy[k - 1])))
        seconds = (came_us[k] - left_us[k - 1]) / 1e6
        bound = min(rules.fill, max(rules.max_speed * seconds, straight) + 2 * rules.radius)
        far = graph.between(near[k - 1], near[k], bound, rules.slack)
        total = cost[:, None] + np.abs(far - straight) / rules.detour
        best = np.argmin(total, axis=0)
        lowest = total[best, np.arange(total.shape[1])]
        if not np.isfinite(lowest).any():
            pieces.append((begin, _trace_back(cost, back)))
            begin, cost, back = k, _emission(near[k], rules), []
            continue
        cost = lowest + _emission(near[k], rules)
        back.append(best)
    pieces.append((begin, _trace_back(cost, back)))
    return pieces


def _emission(near: Near, rules: MatchRules) -> Floats:
    cost: Floats = 0.5 * (near.away / rules.noise) ** 2
    return cost


def _trace_back(cost: Floats, back: Sequence[Ints]) -> list[int]:
    chosen = [int(np.argmin(cost))]
    for best in reversed(back):
        chosen.append(int(best[chosen[-1]]))
    return chosen[::-1]


def _route(
    graph: RoadGraph, near: Sequence[Near], chosen: Sequence[int], xy: Floats, rules: MatchRules
) -> tuple[list[str], Ints]:
    """Return the route's edges, and for each place the index of its edge in it."""
    edge = int(near[0].edge[chosen[0]])
    at = float(near[0].at[chosen[0]])
    route, index = [edge], [0]
    for candidates, k in zip(near[1:], chosen[1:], strict=True):
        following, ahead = int(candidates.edge[k]), float(candidates.at[k])
        if following != edge or ahead < at - rules.slack:
            route += graph.way(edge, following, 0.0)
        index.append(len(route) - 1)
        edge, at = following, ahead
    return [graph.ids[e] for e in route], np.array(index, np.int64)


def _along(
    net: NetGeometry,
    edges: Sequence[str],
    index: Ints,
    at: Floats,
    of_place: Ints,
    rows: Ints,
    t_us: Ints,
    xy: Floats,
) -> Matched:
    """Put the fixes of one trip on its path: places ascend, fixes of one place lie at it, others between in time."""
    path = path_along(net, edges)
    s_place = np.maximum.accumulate(path.at_edge(index, at))
    placed = of_place >= 0
    s = np.empty(len(rows))
    s[placed] = s_place[of_place[placed]]
    s[~placed] = np.interp(t_us[~placed], t_us[placed], s[placed])
    residual = np.hypot(*(xy - path.points(s)).T)
    return Matched(tuple(edges), path, rows, t_us, xy, s, residual)
