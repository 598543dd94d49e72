"""How SUMO is told: departures, and each kind of :class:`~cosim.traffic.commands.Commands`, as calls of its own.

``vehicle`` is always the vehicle domain of libsumo or of a TraCI connection.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from cosim.traffic.demand import Departure


def insert(vehicle: Any, departure: Departure, speed_mode: int, lane_change_mode: int) -> None:
    """Let a vehicle depart as it was drawn; SUMO has it wait where the road is not free."""
    d = departure
    vehicle.add(
        d.id,
        d.route,
        typeID=d.type,
        departLane=d.lane,
        departPos=d.position,
        departSpeed=d.speed,
    )
    vehicle.setSpeedFactor(d.id, d.speed_factor)
    vehicle.setSpeedMode(d.id, speed_mode)
    vehicle.setLaneChangeMode(d.id, lane_change_mode)


def order(vehicle: Any, kind: str, ids: list[str], columns: tuple[Any, ...]) -> None:
    """Give one order to vehicles that are there.

    Args:
        vehicle: that domain.
        kind: as :attr:`~cosim.traffic.commands.Commands.orders` has it, but for ``remove``.
        ids: of n vehicles.
        columns: values, each a list of n.

    ValueError for a kind that there is not.
    """
    if kind == "speed":
        each(vehicle.setSpeed, ids, *columns)
    elif kind == "lane":
        each(vehicle.changeLane, ids, *columns)
    elif kind == "ramp":
        each(vehicle.slowDown, ids, *columns)
    elif kind == "acceleration":
        each(vehicle.setAcceleration, ids, *columns)
    elif kind == "modes":
        each(vehicle.setSpeedMode, ids, columns[0])
        each(vehicle.setLaneChangeMode, ids, columns[1])
    elif kind == "colour":
        each(vehicle.setColor, ids, zip(*columns, strict=True))
    elif kind == "route":
        each(vehicle.setRoute, ids, (edges.split() for edges in columns[0]))
    elif kind == "move_to":
        each(vehicle.moveToXY, ids, *columns)
    elif kind == "note":
        each(vehicle.setParameter, ids, *columns)
    elif kind != "migrate":  # which is the edge servers' business, here only to be recorded
        raise ValueError(f"no such order: {kind}")


def each(function: Any, *columns: Any) -> None:
    """Call SUMO for every row."""
    deque(map(function, *columns), maxlen=0)
