"""Who drives in, when, as what and where to: drawn by key, so that it does not depend on what the traffic does.

Reads the scenario's ``inflow`` and ``vehicles``; gives :class:`Departure` objects in time order.  Vehicle number
k of an inflow is drawn from (seed, inflow name, k) alone: another CAV share keeps every arrival time, route,
lane and speed factor, and only turns some HDVs into CAVs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.randomness import philox, stream_key, uniforms
from cosim.traffic.nets import Net, load_geometry
from cosim.traffic.routes import check_lane, check_route, group_route, known_routes, open_lanes
from cosim.traffic.state import entity_key

if TYPE_CHECKING:
    from cosim.scenario import InflowConfig, TrafficConfig, VehicleGroupConfig, VehicleTypeConfig

NEVER = 2**62
_BLOCK = 256
_STANDARD_NORMAL = NormalDist()
_SPEED_FACTORS = (0.2, 2.0)
"""Bounds of a speed factor, SUMO's own (``normc(mean, dev, 0.2, 2)``)."""


@dataclass(slots=True)
class Departure:
    """One vehicle to come.  ``lane``, ``position`` and ``speed`` are SUMO's depart attributes, as text."""

    t_us: int
    id: str
    type: str
    route: str
    edge: str
    lane: str
    position: str
    speed: str
    speed_factor: float
    reported: bool = False
    """Whether its waiting for a free place at the entry has been reported."""


Draw = Callable[[str, NDArray[np.uint64]], tuple[NDArray[np.float64], ...]]


def _draws(seed: int, name: str) -> Draw:
    """Return a function (purpose, vehicle numbers) -> four arrays of uniforms."""
    entity = np.array(entity_key(name), dtype=np.uint64)

    def draw(purpose: str, k: NDArray[np.uint64]) -> tuple[NDArray[np.float64], ...]:
        return tuple(uniforms(w) for w in philox(k, entity, stream_key(seed, f"demand/{purpose}", 0)))

    return draw


def _normal(u: NDArray[np.float64]) -> NDArray[np.float64]:
    # A block of vehicles at a time, so a loop does; scipy's ndtri would cost half a second of import.
    return np.array([_STANDARD_NORMAL.inv_cdf(x) for x in u.tolist()])


def _speed_factors(u: NDArray[np.float64], mean: float, dev: float) -> NDArray[np.float64]:
    factors: NDArray[np.float64] = (
        np.clip(mean + dev * _normal(u), *_SPEED_FACTORS) if dev else np.full(len(u), mean)
    )
    return factors


def _limit(edge: str, net: Net) -> float:
    """Return the lowest speed limit of an edge's lanes, m/s."""
    return min(lane.speed for lane in load_geometry(net).edges[edge].lanes)


def _speed(wanted: str | float, limit: float, kind: VehicleTypeConfig, factor: float) -> str:
    """Return a departure speed as SUMO's text; more than the vehicle may drive there would end SUMO."""
    if isinstance(wanted, str):
        return wanted
    return repr(min(float(wanted), limit * float(factor), kind.max_speed or float(wanted)))


# -- inflows --------------------------------------------------------------------------------------------------


def _numbers() -> Iterator[NDArray[np.uint64]]:
    start = 0
    while True:
        yield np.arange(start, start + _BLOCK, dtype=np.uint64)
        start += _BLOCK


def _times_poisson(rate: float, begin: float, draw: Draw) -> Iterator[float]:
    t = begin
    for k in _numbers():
        for gap in (-np.log(draw("arrival", k)[0]) / rate).tolist():
            t += gap
            yield t


def _times_bernoulli(rate: float, begin: float, step_us: int, draw: Draw) -> Iterator[float]:
    """Each traffic step brings a vehicle with probability rate x step, at most one."""
    t = round(begin * US) // step_us
    log_miss = np.log1p(-rate * step_us / US)
    for k in _numbers():
        for gap in (1 + np.floor(np.log(draw("arrival", k)[0]) / log_miss)).astype(int).tolist():
            t += gap
            yield t * step_us / US


def _times_equal(rates: Sequence[float], begin: float) -> Iterator[tuple[float, int]]:
    """Each class (type, route) is equally spaced on its own, all beginning 1 s after ``begin``, as SUMO does."""
    heap = [(begin + 1.0, c, 0) for c, rate in enumerate(rates) if rate > 0]
    while heap:
        t, c, i = heapq.heappop(heap)
        yield t, c
        heapq.heappush(heap, (begin + 1.0 + (i + 1) / rates[c], c, i + 1))


def _inflow(index: int, traffic: TrafficConfig, net: Net, seed: int) -> Iterator[Departure]:
    config = traffic.inflow[index]
    at = f"traffic.inflow.{index}" if len(traffic.inflow) > 1 else "traffic.inflow"
    geometry = load_geometry(net)
    edge = config.edge or (net.entries[0] if net.entries else "")
    if edge not in geometry.edges:
        raise ScenarioError(
            f"net '{net.name}' has no edge '{edge}'{nearest(edge, geometry.edges)}", key=f"{at}.edge"
        )
    vehicle_class = _vehicle_class(traffic.types[config.hdv_type])
    check_lane(config.depart_lane, edge, net, vehicle_class, f"{at}.depart_lane")
    lanes = open_lanes(edge, net, vehicle_class)
    known = known_routes(traffic, net)
    for route in config.routes:
        if route not in known:
            raise ScenarioError(
                f"there is no route '{route}'{nearest(route, known)}; routes: {', '.join(known) or 'none'}",
                key=f"{at}.routes.{route}",
            )
        if known[route][0] != edge:
            raise ScenarioError(
                f"route '{route}' begins at '{known[route][0]}', not at '{edge}'", key=f"{at}.routes.{route}"
            )
    if not config.routes:
        raise ScenarioError(
            f"say which routes the vehicles take: {', '.join(known) or 'none'}", key=f"{at}.routes"
        )
    rate = config.rate * (len(lanes) if config.per == "lane" else 1)
    return _inflow_departures(config, traffic, edge, lanes, _limit(edge, net), rate, seed, at)


def _vehicle_class(kind: VehicleTypeConfig) -> str:
    return str(kind.params.get("vClass", "passenger"))


def _inflow_departures(
    config: InflowConfig,
    traffic: TrafficConfig,
    edge: str,
    lanes: Sequence[int],
    limit: float,
    rate: float,
    seed: int,
    at: str,
) -> Iterator[Departure]:
    if rate <= 0:
        return
    names = list(config.routes)
    cumulative = np.cumsum([config.routes[r] for r in names])
    draw = _draws(seed, config.name)
    step = traffic.step_us / US
    begin = config.begin
    classes: list[tuple[str, str]] = []
    times: Iterator[float | tuple[float, int]]
    if config.arrivals == "equal":
        shares = ((config.hdv_type, 1 - config.cav_share), (config.cav_type, config.cav_share))
        classes = [(t, r) for t, _ in shares for r in names]
        times = _times_equal([rate * share * config.routes[r] for _, share in shares for r in names], begin)
    elif config.arrivals == "bernoulli":
        if rate * step >= 1:
            raise ScenarioError(
                f"bernoulli arrivals need rate x step below 1, got {rate * step:g}", key=f"{at}.rate"
            )
        times = _times_bernoulli(rate, begin, traffic.step_us, draw)
    else:
        times = _times_poisson(rate, begin, draw)
    position = "base" if config.depart_pos == "base" else repr(float(config.depart_pos))
    end = NEVER / US if config.end is None else config.end
    for k in _numbers():
        _, u_type, u_route, u_lane = draw("arrival", k)
        u_speed = draw("speed", k)[0]
        is_cav = u_type < config.cav_share
        routes = np.minimum(np.searchsorted(cumulative, u_route, side="right"), len(names) - 1)
        lane = np.asarray(lanes)[(u_lane * len(lanes)).astype(int)]
        factors = {
            t: _speed_factors(u_speed, traffic.types[t].speed_factor, traffic.types[t].speed_dev)
            for t in (config.hdv_type, config.cav_type)
        }
        for i in range(_BLOCK):
            moment: Any = next(times, None)
            if moment is None:
                return
            kind = config.cav_type if is_cav[i] else config.hdv_type
            route = names[routes[i]]
            if isinstance(moment, tuple):
                moment, c = moment
                kind, route = classes[c]
            if moment >= end:
                return
            yield Departure(
                t_us=round(moment * US),
                id=f"{config.name}.{int(k[i]):06d}",
                type=kind,
                route=route,
                edge=edge,
                lane=str(lane[i] if config.depart_lane == "random" else config.depart_lane),
                position=position,
                speed=_speed(config.depart_speed, limit, traffic.types[kind], factors[kind][i]),
                speed_factor=float(factors[kind][i]),
            )


# -- groups ---------------------------------------------------------------------------------------------------


def group_ids(group: VehicleGroupConfig) -> tuple[str, ...]:
    """Return the ids of a group's vehicles, in order."""
    return tuple(f"{group.name}.{i:06d}" for i in range(group.count))


def _group(
    group: VehicleGroupConfig, route: Sequence[str], kind: VehicleTypeConfig, limit: float, seed: int
) -> list[Departure]:
    """The vehicles of one explicit group: t = group draw + each one's own draw, never before 0."""
    k = np.arange(group.count, dtype=np.uint64)
    draw = _draws(seed, group.name)
    u_each = draw("depart", k)[0]
    u_group = draw("depart_group", k[:1])[0]
    times = group.departure_times(u_group.tolist(), u_each.tolist())
    names = group_ids(group)
    factors = _speed_factors(draw("speed", k)[0], kind.speed_factor, kind.speed_dev)
    return [
        Departure(
            t_us=max(0, round(times[i] * US)),
            id=names[i],
            type=group.type,
            route=f"group:{group.name}",
            edge=route[0],
            lane=str(group.depart_lane),
            position="base" if group.depart_pos == "base" else repr(float(group.depart_pos)),
            speed=_speed(group.depart_speed, limit, kind, factors[i]),
            speed_factor=float(factors[i]),
        )
        for i in range(group.count)
    ]


# -- replayed traces ------------------------------------------------------------------------------------------


def _replayed(traffic: TrafficConfig, net: Net, seed: int) -> list[Departure]:
    """The vehicles of ``traffic.replay``; where their traces go on at every step they enter standing."""
    from cosim.traffic.replay_plan import replay_plan, route_name  # polars, which most scenarios do without

    config, plan = traffic.replay, replay_plan(traffic, net)
    assert config is not None
    assert plan is not None
    kind = traffic.types[config.type]
    found = []
    for trip in plan.trips:
        u = _draws(seed, trip.id)("speed", np.zeros(1, np.uint64))[0]
        factor = float(_speed_factors(u, kind.speed_factor, kind.speed_dev)[0])
        wanted = trip.speed if config.mode == "routes" else 0.0
        found.append(
            Departure(
                t_us=trip.depart_us,
                id=trip.id,
                type=config.type,
                route=route_name(trip.id),
                edge=trip.edges[0],
                lane="best",
                position=repr(trip.position),
                speed=_speed(wanted, _limit(trip.edges[0], net), kind, factor),
                speed_factor=factor,
            )
        )
    return sorted(found, key=lambda d: (d.t_us, d.id))


class Demand:
    """All departures of a run in time order; ``next_us`` is when the next one is due (NEVER: none)."""

    def __init__(self, config: TrafficConfig, net: Net, seed: int) -> None:
        streams: list[Iterator[Departure]] = [
            _inflow(i, config, net, seed) for i in range(len(config.inflow))
        ]
        for name, edges in config.routes.items():
            check_route(edges, net, f"traffic.routes.{name}")
        for i, group in enumerate(config.vehicles):
            route, kind = group_route(group, config, net), config.types[group.type]
            key = f"traffic.vehicles.{i}.depart_lane"
            check_lane(group.depart_lane, route[0], net, _vehicle_class(kind), key)
            departures = _group(group, route, kind, _limit(route[0], net), seed)
            streams.append(iter(sorted(departures, key=lambda d: (d.t_us, d.id))))
        if config.replay is not None:
            streams.append(iter(_replayed(config, net, seed)))
        self._merged = heapq.merge(*streams, key=lambda d: (d.t_us, d.id))
        self._next = next(self._merged, None)

    @property
    def next_us(self) -> int:
        """Time of the next departure, microseconds."""
        return NEVER if self._next is None else self._next.t_us

    def until(self, t_us: int) -> list[Departure]:
        """Take every departure due by ``t_us``."""
        due = []
        while self._next is not None and self._next.t_us <= t_us:
            due.append(self._next)
            self._next = next(self._merged, None)
        return due
