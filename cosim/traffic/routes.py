"""Routes that a scenario may name: the net's, its own, and those of its vehicle groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from cosim.errors import ScenarioError, nearest
from cosim.traffic.geometry import Lane
from cosim.traffic.nets import Net, load_geometry

if TYPE_CHECKING:
    from cosim.scenario import TrafficConfig, VehicleGroupConfig


def known_routes(traffic: TrafficConfig, net: Net) -> dict[str, tuple[str, ...]]:
    """Return the routes that a scenario may name: the net's, then the scenario's own."""
    return {**net.routes, **{name: tuple(edges) for name, edges in traffic.routes.items()}}


def group_route(group: VehicleGroupConfig, config: TrafficConfig, net: Net) -> tuple[str, ...]:
    """Return the edges that a vehicle group drives along, laps counted in; ScenarioError if there is no such route."""
    at = f"traffic.vehicles.{config.vehicles.index(group)}"
    key = f"{at}.route"
    if isinstance(group.route, str):
        known = known_routes(config, net)
        if group.route not in known:
            raise ScenarioError(
                f"there is no route '{group.route}'{nearest(group.route, known)}; routes: {', '.join(known) or 'none'}",
                key=key,
            )
        edges = known[group.route]
    else:
        edges = tuple(group.route)
        check_route(edges, net, key)
    if group.repeat > 1:
        check_route((edges[-1], edges[0]), net, f"{at}.repeat")
    return edges * group.repeat


def check_route(edges: Sequence[str], net: Net, key: str) -> None:
    """Raise ScenarioError about *key* if an edge does not exist or does not lead to the next."""
    geometry = load_geometry(net)
    for edge in edges:
        if edge not in geometry.edges:
            raise ScenarioError(
                f"net '{net.name}' has no edge '{edge}'{nearest(edge, geometry.edges)}", key=key
            )
    for edge, following in pairwise(edges):
        on = geometry.successors(edge)
        if following not in on:
            raise ScenarioError(
                f"'{edge}' does not lead to '{following}'; it leads to {', '.join(on) or 'nowhere'}", key=key
            )


def open_lanes(edge: str, net: Net, vehicle_class: str) -> tuple[int, ...]:
    """Return the indices of the lanes of *edge* that vehicles of SUMO's class *vehicle_class* may use."""
    return tuple(lane.index for lane in load_geometry(net).edges[edge].lanes if lets_in(lane, vehicle_class))


def lets_in(lane: Lane, vehicle_class: str) -> bool:
    """Whether vehicles of SUMO's class *vehicle_class* may use *lane*."""
    if lane.allow:
        return vehicle_class in lane.allow or "all" in lane.allow
    return vehicle_class not in lane.disallow and "all" not in lane.disallow


def check_lane(lane: str | int, edge: str, net: Net, vehicle_class: str, key: str) -> None:
    """Raise ScenarioError about *key* if a vehicle cannot enter *edge* on *lane* (``random`` and ``best``: any)."""
    lanes = len(load_geometry(net).edges[edge].lanes)
    usable = open_lanes(edge, net, vehicle_class)
    if not usable:
        raise ScenarioError(f"edge '{edge}' has no lane for vehicles of class '{vehicle_class}'", key=key)
    if isinstance(lane, int) and not 0 <= lane < lanes:
        raise ScenarioError(f"edge '{edge}' has lanes 0 to {lanes - 1}", key=key)
    if isinstance(lane, int) and lane not in usable:
        raise ScenarioError(
            f"lane {lane} of edge '{edge}' is closed to vehicles of class '{vehicle_class}';"
            f" open: {', '.join(map(str, usable))}",
            key=key,
        )


def used_routes(traffic: TrafficConfig) -> tuple[str, ...]:
    """Return the names of the routes that the inflows use."""
    return tuple(dict.fromkeys(r for inflow in traffic.inflow for r in inflow.routes))
