"""Synthetic look-alike traces: taxis of a simulation, sampled and damaged as those of the public Shenzhen release.

Real traces may not be shipped, so these stand in for them.  Taxis wander over a geo-referenced net among other
traffic in SUMO; their places are sampled at irregular gaps, blurred, rounded to 1e-4 degrees in single precision as
the release is, and given its quirks: duplicates, jumps, places outside the city, rows out of order.  All draws are
keyed, so the same call gives the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import ScenarioError
from cosim.randomness import entity_key, philox, stream_key, uniforms
from cosim.scenario import TrafficConfig, scenario_from_resolved
from cosim.traffic.geometry import NetGeometry
from cosim.traffic.nets import Net, load_geometry
from cosim.traffic.sumo import Traffic
from cosim.traffic.traces.projection import check_projection

Floats = NDArray[np.float64]

HEADER = "id,lon,lat,time,speed"
DAY = datetime(2000, 1, 1, 8, 0, 0)
"""When the traces start: a day on which no such taxi drove."""
BOX = (114.0439, 22.5213, 114.0681, 22.5423)
"""West, south, east, north of the part of Futian that the taxis prefer, degrees."""

LEAD_S = 900.0
"""Time simulated before the first fix, so that all taxis are on their way, s."""

_NOISE_M = 4.0
_STEP_DEGREES = 1e-4
# Share, shortest and longest gap between fixes, s: reports every 30 and 60 s, some in between, some missed.
_GAPS = ((0.30, 30, 30), (0.45, 60, 60), (0.15, 7, 58), (0.085, 90, 200), (0.015, 200, 408))
_DUPLICATED, _JUMPING, _OUTSIDE, _LATE = 0.015, 0.004, 0.002, 0.01
_JUMP_M = (6000.0, 9000.0)
_TOUR_SPEED = 13.0  # m/s; longer than any taxi gets, so that none reaches the end of its tour


@dataclass(frozen=True)
class LookAlike:
    """A synthetic file and what it was made of: ``text`` the file, ``driven`` the edges each taxi drove, in order."""

    text: str
    rows: int
    driven: Mapping[str, tuple[str, ...]]


def synthesise(
    net: Net, *, vehicles: int = 24, duration: float = 3600.0, seed: int = 0, lead: float = LEAD_S
) -> LookAlike:
    """Return look-alike traces of *vehicles* taxis over *duration* seconds on the geo-referenced *net*.

    *lead* seconds are simulated before the first fix.

    Raises:
        ScenarioError: the net is not geo-referenced or has no edge to drive on, or a number is not positive.
        TrafficError: SUMO died.
    """
    if vehicles < 1 or duration < 60:
        raise ScenarioError("look-alike traces need at least one vehicle and 60 s")
    check_projection(net)
    geometry = load_geometry(net)
    names = [f"synthetic-{k + 1:02d}" for k in range(vehicles)]
    config = _traffic(net, geometry, names, duration, seed, lead)
    xy, speed, driven = _drive(config, net, names, int(duration), seed, int(lead))
    rows = [row for k, name in enumerate(names) for row in _rows(geometry, name, xy[:, k], speed[:, k], seed)]
    return LookAlike("\n".join([HEADER, *rows, ""]), len(rows), driven)


def _draw(seed: int, purpose: str, entity: str, n: int) -> tuple[Floats, ...]:
    """Return four arrays (n,) of keyed uniforms."""
    counter = np.arange(n, dtype=np.uint64)
    key = stream_key(seed, f"look-alike/{purpose}", 0)
    return tuple(uniforms(w) for w in philox(counter, np.array(entity_key(entity), np.uint64), key))


def _traffic(
    net: Net, geometry: NetGeometry, names: list[str], duration: float, seed: int, lead: float
) -> TrafficConfig:
    """Return taxis on random tours, and other traffic along the net's named open routes."""
    length = (lead + duration) * _TOUR_SPEED
    groups = []
    for k, name in enumerate(names):
        depart = float(int(_draw(seed, "depart", name, 1)[0][0] * lead / 2))
        tour = _tour(geometry, name, length, seed)
        groups.append({"name": f"t{k}", "route": tour, "type": "taxi", "depart": depart, "depart_speed": 5})
    open_routes = {n: r for n, r in net.routes.items() if r[-1] not in (r[0], "") and r[0] in net.entries}
    inflow: list[dict[str, Any]] = [
        {"name": f"b{k}", "edge": route[0], "rate": "150 veh/h", "per": "edge", "hdv_type": "passenger"}
        | {"routes": {name: 1}}
        for k, (name, route) in enumerate(open_routes.items())
    ]
    types = {"passenger": {}, "taxi": {"like": "passenger"}}
    traffic = {
        "net": str(net.folder) if net.net_file.parent == net.folder and net.source else str(net.net_file),
        "step": 1,
        "types": types,
        "inflow": inflow,
        "vehicles": groups,
        "sumo": {"time_to_teleport": 120},
    }
    return scenario_from_resolved({"name": "look-alike", "duration": 1, "traffic": traffic}).traffic


def _tour(geometry: NetGeometry, name: str, length: float, seed: int) -> list[str]:
    """Return a random walk over the edges, at least *length* m, that prefers the box and its main road."""
    middles = {e.id: e.lanes[0].shape.mean(axis=0) for e in geometry.edges.values()}
    lonlat = geometry.to_lonlat(*np.array(list(middles.values())).T)
    west, south, east, north = BOX
    inside: NDArray[np.bool_] = np.all((lonlat > (west, south)) & (lonlat < (east, north)), axis=1)
    widest = max(len(e.lanes) for e in geometry.edges.values())
    weight = {
        edge: (4.0 if within else 1.0) * (2.0 if len(geometry.edges[edge].lanes) == widest else 1.0)
        for edge, within in zip(middles, inside.tolist(), strict=True)
    }
    following = {edge: geometry.successors(edge) for edge in middles}
    starts = [edge for edge in middles if following[edge]]
    if not starts:
        raise ScenarioError("this net has no edge that leads to another")
    steps = int(length / 20.0) + 1
    u = _draw(seed, "tour", name, steps)[0]
    tour, driven = [_pick(starts, weight, u[0])], 0.0
    for share in u[1:]:
        driven += geometry.edges[tour[-1]].length
        if driven >= length or not following[tour[-1]]:
            break
        tour.append(_pick(following[tour[-1]], weight, share))
    return tour


def _pick(edges: Any, weight: Mapping[str, float], u: float) -> str:
    cumulative = np.cumsum([weight[edge] for edge in edges])
    return str(edges[min(int(np.searchsorted(cumulative, u * cumulative[-1], side="right")), len(edges) - 1)])


def _drive(
    config: TrafficConfig, net: Net, names: list[str], duration: int, seed: int, lead: int
) -> tuple[Floats, Floats, dict[str, tuple[str, ...]]]:
    """Return places (duration, V, 2) m and speeds (duration, V) m/s every second, and the edges driven; NaN: away."""
    xy = np.full((duration, len(names), 2), np.nan)
    speed = np.full((duration, len(names)), np.nan)
    edges: list[list[str]] = [[] for _ in names]
    ids = [f"t{k}.000000" for k in range(len(names))]
    with Traffic(config, net, seed) as traffic:
        for _ in range(lead):
            traffic.step()
        for second in range(duration):
            state = traffic.step()
            for k, row in enumerate([state.row(vehicle) for vehicle in ids]):
                if row >= 0:
                    xy[second, k], speed[second, k] = state.xy[row], state.speed[row]
                    edge = state.edges[state.edge[row]] if state.edge[row] >= 0 else ":"
                    if not edge.startswith(":") and (not edges[k] or edges[k][-1] != edge):
                        edges[k].append(edge)
    return xy, speed, {name: tuple(driven) for name, driven in zip(names, edges, strict=True)}


def _rows(geometry: NetGeometry, name: str, xy: Floats, speed: Floats, seed: int) -> list[str]:
    """Return the lines of one taxi's fixes, quirks and all."""
    seconds = _moments(name, len(xy), seed)
    seconds = seconds[np.isfinite(xy[seconds, 0])]
    n = len(seconds)
    first, second, jump, far = _draw(seed, "fix", name, n)
    radius, turn = _NOISE_M * np.sqrt(-2 * np.log(first)), 2 * np.pi * second
    jumps = jump < _JUMPING
    radius = np.where(jumps, _JUMP_M[0] + far * (_JUMP_M[1] - _JUMP_M[0]), radius)
    place = xy[seconds] + (radius * np.array([np.cos(turn), np.sin(turn)])).T
    lonlat = np.round(geometry.to_lonlat(place[:, 0], place[:, 1]) / _STEP_DEGREES) * _STEP_DEGREES
    outside, twice, late, _ = _draw(seed, "quirk", name, n)
    lonlat[outside < _OUTSIDE] = 0.0
    lines: list[str] = []
    for k, (lon, lat) in enumerate(lonlat.astype(np.float32).tolist()):
        moment = DAY + timedelta(seconds=int(seconds[k]))
        line = f"{name},{lon:.6f},{lat:.6f},{moment:%Y-%m-%d %H:%M:%S},{round(speed[seconds[k]] * 3.6)}.0"
        lines += [line] * (2 if twice[k] < _DUPLICATED else 1)
        if late[k] < _LATE and len(lines) > 1:
            lines[-2:] = [lines[-1], lines[-2]]
    return lines


def _moments(name: str, duration: int, seed: int) -> NDArray[np.int64]:
    """Return the seconds at which one taxi reports."""
    n = duration // 7 + 2
    which, within, start, _ = _draw(seed, "gap", name, n)
    shares = np.cumsum([share for share, _, _ in _GAPS])
    kind = np.minimum(np.searchsorted(shares, which, side="right"), len(_GAPS) - 1)
    low, high = np.array([g[1] for g in _GAPS])[kind], np.array([g[2] for g in _GAPS])[kind]
    gaps = np.floor(low + within * (high - low + 1)).astype(np.int64)
    moments = int(start[0] * 30) + np.concatenate([[0], np.cumsum(gaps)])
    return moments[moments < duration]
