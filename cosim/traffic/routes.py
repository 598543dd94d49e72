"""Routes that a scenario may name: the net's, its own, and those of its vehicle groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosim.errors import ScenarioError, nearest
from cosim.traffic.nets import Net, load_geometry

if TYPE_CHECKING:
    from cosim.scenario import TrafficConfig, VehicleGroupConfig


def known_routes(traffic: TrafficConfig, net: Net) -> dict[str, tuple[str, ...]]:
    """Return the routes that a scenario may name: the net's, then the scenario's own."""
    return {**net.routes, **{name: tuple(edges) for name, edges in traffic.routes.items()}}


def group_route(group: VehicleGroupConfig, config: TrafficConfig, net: Net) -> tuple[str, ...]:
    """Return the edges that a vehicle group drives along, laps counted in; ScenarioError if there is no such route."""
    key = f"traffic.vehicles.{config.vehicles.index(group)}.route"
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
        have = load_geometry(net).edges
        for edge in edges:
            if edge not in have:
                raise ScenarioError(f"net '{net.name}' has no edge '{edge}'{nearest(edge, have)}", key=key)
    return edges * group.repeat


def used_routes(traffic: TrafficConfig) -> tuple[str, ...]:
    """Return the names of the routes that the inflows use."""
    return tuple(dict.fromkeys(r for inflow in traffic.inflow for r in inflow.routes))
