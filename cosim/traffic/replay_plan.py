"""The trips of a replay, chosen from matched traces and laid out so that all are placed by one lookup.

Reads the ``traffic.replay`` section and a folder of matched traces (:mod:`cosim.traffic.traces.matched`); gives a
:class:`ReplayPlan`: who enters when and where on which route, and where each is at any instant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.traffic.nets import Net, load_geometry
from cosim.traffic.traces.matched import MatchedTraces, check_net, load_matched
from cosim.traffic.traces.paths import Path as Way
from cosim.traffic.traces.paths import path_along

if TYPE_CHECKING:
    from cosim.scenario import ReplayConfig, TrafficConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KEY = "traffic.replay"
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_END_SLACK = 0.5  # m


@dataclass(frozen=True)
class ReplayTrip:
    """One vehicle to come: ``begin_us`` and ``end_us`` in simulated time (the beginning may lie before 0).

    ``edges`` is the route from where the vehicle enters, ``position`` (m) where on its first edge, ``speed`` (m/s)
    the trace's mean speed up to the next fix.
    """

    id: str
    begin_us: int
    end_us: int
    edges: tuple[str, ...]
    position: float
    speed: float

    @property
    def depart_us(self) -> int:
        """When the vehicle enters, microseconds."""
        return max(0, self.begin_us)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where some trips are at one instant.

    ``xy`` (n, 2) m, ``angle`` (n,) degrees clockwise from north, ``speed`` (n,) m/s between the fixes before and
    after, ``piece`` (n,) the lane piece of the plan, ``off`` (n,) whether off the road.
    """

    xy: Floats
    angle: Floats
    speed: Floats
    piece: Ints
    off: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ReplayPlan:
    """The trips of a scenario, in order of id, and the numbers to place them by.

    The fixes of all trips lie one after another: ``fix_t`` is a trip's number times ``span`` plus the simulated time
    (us), ascending throughout, ``fix_s`` the distance along the trip's path, ``fix_xy`` the fix itself, ``fix_off``
    whether it is replayed off the road.  The points of all paths lie one after another too, ``far`` ascending
    throughout: path k begins at ``path_from[k]``; likewise the lane pieces.
    """

    trips: tuple[ReplayTrip, ...]
    span: int
    fix_t: Ints
    fix_s: Floats
    fix_xy: Floats
    fix_off: NDArray[np.bool_]
    path_from: Floats
    far: Floats
    xy: Floats
    piece_from: Floats
    piece_edge: tuple[str, ...]
    piece_lane: Ints

    def routes(self) -> dict[str, tuple[str, ...]]:
        """Return the route of each trip by the name that SUMO knows it by."""
        return {route_name(trip.id): trip.edges for trip in self.trips}

    def place(self, which: Ints, t_us: int) -> Places:
        """Return where the trips *which* (n,) are at *t_us*, which must lie in their time."""
        at = which * self.span + t_us
        k = np.searchsorted(self.fix_t, at, side="right") - 1
        # The last fix of a trip is an end, not a beginning; a trip has at least two fixes.
        following = np.minimum(k + 1, len(self.fix_t) - 1)
        k = k - ((k + 1 >= len(self.fix_t)) | (self.fix_t[following] // self.span != which))
        lasting = self.fix_t[k + 1] - self.fix_t[k]
        share = (at - self.fix_t[k]) / lasting
        way = self.fix_s[k + 1] - self.fix_s[k]
        xy, heading, piece = self._on_path(self.path_from[which] + self.fix_s[k] + share * way)
        off = self.fix_off[k] | self.fix_off[k + 1]
        if off.any():
            start, end = (self._end(which[off], of) for of in (k[off], k[off] + 1))
            straight = end - start
            xy[off] = start + share[off, None] * straight
            way[off] = np.hypot(*straight.T)
            heading[off] = np.where(way[off, None] > 1e-6, straight, heading[off])
        angle = np.degrees(np.arctan2(heading[:, 0], heading[:, 1])) % 360.0
        return Places(xy, angle, way / (lasting / US), piece, off)

    def _end(self, which: Ints, k: Ints) -> Floats:
        """Return the places (n, 2) of fixes *k*: on the path, or where the fix itself is."""
        on_path, _, _ = self._on_path(self.path_from[which] + self.fix_s[k])
        return np.where(self.fix_off[k, None], self.fix_xy[k], on_path)

    def _on_path(self, far: Floats) -> tuple[Floats, Floats, Ints]:
        """Return point (n, 2), direction of travel (n, 2) and lane piece (n,) at distances along all paths."""
        k = np.minimum(np.searchsorted(self.far, far, side="right") - 1, len(self.far) - 2)
        step = self.far[k + 1] - self.far[k]
        # The end of a path: its last stretch that has a length and does not lead to the next path.
        while (beyond := (step <= 0) | (self.far[k] > far) | self._last_of_path(k)).any():
            k = np.where(beyond, k - 1, k)
            step = self.far[k + 1] - self.far[k]
        way = self.xy[k + 1] - self.xy[k]
        xy = self.xy[k] + ((far - self.far[k]) / step)[:, None] * way
        piece = np.searchsorted(self.piece_from, far, side="right") - 1
        return xy, way, piece.astype(np.int64)

    def _last_of_path(self, k: Ints) -> NDArray[np.bool_]:
        following = np.searchsorted(self.path_from, self.far[k], side="right")
        has_next = following < len(self.path_from)
        start = self.path_from[np.minimum(following, len(self.path_from) - 1)]
        found: NDArray[np.bool_] = has_next & (self.far[k + 1] >= start)
        return found


def route_name(vehicle: str) -> str:
    """Return what the route of a replayed vehicle is called in SUMO."""
    return f"replay:{vehicle}"


def replay_plan(traffic: TrafficConfig, net: Net) -> ReplayPlan | None:
    """Return the replay of a scenario's traffic section, None if it has none.

    Raises:
        ScenarioError: with its key, if the traces are missing, damaged, of another net, or none is left.
    """
    config = traffic.replay
    if config is None:
        return None
    try:
        traces = _load(str(config.traces), net)
        return _plan(config, traces, net, _stamps(traces))
    except ScenarioError as error:
        raise ScenarioError(str(error), key=getattr(error, "key", None) or f"{KEY}.traces") from None


def _load(name: str, net: Net) -> MatchedTraces:
    traces = load_matched(name)
    check_net(traces, net)
    return traces


def _stamps(traces: MatchedTraces) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns for file in traces.files())


_plans: dict[tuple[Any, ...], ReplayPlan] = {}


def _plan(config: ReplayConfig, traces: MatchedTraces, net: Net, stamps: tuple[int, ...]) -> ReplayPlan:
    """Build a plan, or return the one built last for the same section, traces and net."""
    known = (config.model_dump_json(), traces.folder, stamps, net.net_file, net.net_file.stat().st_mtime_ns)
    if known not in _plans:
        _plans.clear()
        _plans[known] = _build(config, traces, net)
    return _plans[known]


def _build(config: ReplayConfig, traces: MatchedTraces, net: Net) -> ReplayPlan:
    table = traces.trips
    begin = table["begin"].to_physical().to_numpy()
    end = table["end"].to_physical().to_numpy()
    origin = begin if config.align == "start" else np.full(len(begin), _origin(config, begin))
    begin, end = begin - origin, end - origin
    chosen = _choose(config, table["vehicle"].to_list(), begin, end)
    ids = _ids(config.name, table["vehicle"].to_list(), table["segment"].to_list())
    chosen = chosen[np.argsort([ids[k] for k in chosen.tolist()], kind="stable")]
    geometry = load_geometry(net)
    edges = table["edges"].to_list()
    ways = [path_along(geometry, edges[k]) for k in chosen.tolist()]
    fixes = traces.fixes
    bounds = np.concatenate([[0], np.cumsum(table["fixes"].to_numpy())])
    t = fixes["time"].to_physical().to_numpy() - np.repeat(origin, table["fixes"].to_numpy())
    s, residual = fixes["s"].to_numpy(), fixes["residual"].to_numpy()
    xy = fixes.select("x", "y").to_numpy()
    rows = [np.arange(bounds[k], bounds[k + 1]) for k in chosen.tolist()]
    trips = tuple(
        _trip(ids[k], edges[k], way, t[of], s[of])
        for k, way, of in zip(chosen.tolist(), ways, rows, strict=True)
    )
    every = np.concatenate(rows)
    span = int(max(end[chosen].max(), -begin[chosen].min())) * 2 + 2
    number = np.repeat(np.arange(len(chosen)), [len(of) for of in rows])
    # At the very end of its route SUMO would take a vehicle off the road before its trace is over.
    s = np.clip(s[every], 0.0, np.array([max(way.length - _END_SLACK, 0.0) for way in ways])[number])
    far, path_from = _one_after_another(ways)
    return ReplayPlan(
        trips=trips,
        span=span,
        fix_t=number * span + t[every],
        fix_s=s,
        fix_xy=xy[every],
        fix_off=residual[every] > config.off_road,
        path_from=path_from,
        far=far,
        xy=np.concatenate([way.xy for way in ways]),
        piece_from=np.concatenate(
            [way.piece_from + start for way, start in zip(ways, path_from, strict=True)]
        ),
        piece_edge=tuple(edge for way in ways for edge in way.piece_edge),
        piece_lane=np.concatenate([way.piece_lane for way in ways]),
    )


def _one_after_another(ways: list[Way]) -> tuple[Floats, Floats]:
    """Return the distances of all paths' points on one line, and where each path begins on it, 1 m apart."""
    lengths = np.array([way.length + 1.0 for way in ways])
    starts = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    return np.concatenate([way.far + start for way, start in zip(ways, starts, strict=True)]), starts


def _trip(vehicle: str, edges: list[str], way: Way, t: Ints, s: Floats) -> ReplayTrip:
    at = max(0, int(t[0]))
    index, position = way.edges_at(np.interp([at], t, s))
    k = min(int(np.searchsorted(t, at, side="right")), len(t) - 1)
    speed = (s[k] - s[k - 1]) / ((t[k] - t[k - 1]) / US)
    # Exactly at the end of its edge a vehicle would have left it.
    place = min(float(position[0]), float(way.edge_length[index[0]]) - 0.1)
    return ReplayTrip(
        vehicle, int(t[0]), int(t[-1]), tuple(edges[int(index[0]) :]), max(0.0, place), float(speed)
    )


def _origin(config: ReplayConfig, begin: Ints) -> int:
    """Return the traces' time (us) at which the simulation starts."""
    if config.begin is None:
        return int(begin.min())
    text = config.begin
    try:
        if " " in text:
            moment = datetime.fromisoformat(text)
        else:
            day = datetime.fromisoformat("1970-01-01") + (_moment(int(begin.min())) - _moment(0))
            moment = datetime.fromisoformat(f"{day:%Y-%m-%d} {text}")
    except ValueError:
        raise ScenarioError(f"'{text}' is not a time of day such as '08:00:00'", key=f"{KEY}.begin") from None
    return round((moment - _moment(0)).total_seconds()) * US


def _moment(t_us: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=t_us)


def _choose(config: ReplayConfig, vehicles: list[str], begin: Ints, end: Ints) -> Ints:
    """Return the numbers of the trips that the scenario asks for."""
    wanted = np.ones(len(vehicles), bool)
    if config.vehicles is not None:
        for name in config.vehicles:
            if name not in vehicles:
                raise ScenarioError(
                    f"no trip of a vehicle '{name}'{nearest(name, set(vehicles))}", key=f"{KEY}.vehicles"
                )
        wanted = np.isin(np.array(vehicles), config.vehicles)
    late = wanted & (end > 0)
    if not late.any():
        raise ScenarioError(f"no trip ends after {config.begin}", key=f"{KEY}.begin")
    found = late
    if config.cover:
        found = late & (begin <= 0) & (end >= round(config.cover * US))
        if not found.any():
            raise ScenarioError(
                f"no trip is on the road from the start until {config.cover:g} s", key=f"{KEY}.cover"
            )
    chosen = np.flatnonzero(found)
    if config.count is not None:
        if len(chosen) < config.count:
            raise ScenarioError(f"only {len(chosen)} trips are there to choose from", key=f"{KEY}.count")
        chosen = chosen[: config.count]
    return chosen


def _ids(name: str, vehicles: list[str], segments: list[int]) -> list[str]:
    """Return each trip's vehicle id; a trace's name that SUMO or a file could not take becomes a number."""
    rank = {vehicle: k for k, vehicle in enumerate(sorted(set(vehicles)))}
    plain = all(_PLAIN_ID.fullmatch(vehicle) for vehicle in rank)
    found: list[str] = []
    seen: dict[tuple[str, int], int] = {}
    for vehicle, segment in zip(vehicles, segments, strict=True):
        piece = seen[vehicle, segment] = seen.get((vehicle, segment), -1) + 1
        who = vehicle if plain else f"n{rank[vehicle]:06d}"
        found.append(f"{name}.{who}.{segment}" + (f".{piece}" if piece else ""))
    return found
