"""Flow's way of driving human vehicles: an IDM computed outside SUMO and sent as a speed command each step.

``car_following: flow_idm`` puts a vehicle type under it.  The law is the same IDM as SUMO's own, but without
SUMO's look at junctions and its own smoothing, which is why Flow's traffic differs (tpe_marl.md, section 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.traffic.commands import Commands, Order
from cosim.traffic.files import FLOW_IDM
from cosim.traffic.state import TrafficState, VehicleType

if TYPE_CHECKING:
    from cosim.scenario import TrafficConfig
    from cosim.traffic.nets import Net


def idm_acceleration(
    speed: NDArray[np.float64],
    leader_speed: NDArray[np.float64],
    gap: NDArray[np.float64],
    *,
    desired_speed: NDArray[np.float64] | float = 20.0,
    accel: NDArray[np.float64] | float = 3.5,
    decel: NDArray[np.float64] | float = 1.5,
    tau: NDArray[np.float64] | float = 1.0,
    min_gap: NDArray[np.float64] | float = 2.0,
    delta: NDArray[np.float64] | float = 4.0,
) -> NDArray[np.float64]:
    """Intelligent Driver Model (TPE-MARL eqs (2)-(3)), all arguments (n,), SI; an infinite gap means no leader.

    Returns the acceleration (n,), m/s^2.
    """
    # Eq. (3): desired gap
    wanted = min_gap + np.maximum(
        0.0, speed * tau + speed * (speed - leader_speed) / (2 * np.sqrt(accel * decel))
    )
    # Eq. (2)
    return np.asarray(accel * (1 - (speed / desired_speed) ** delta - (wanted / gap) ** 2))


class FlowIdm:
    """The types under ``flow_idm`` and their parameters, ready to give the speed commands of a step."""

    def __init__(
        self, parameters: dict[str, NDArray[np.float64]], under: NDArray[np.bool_], dt: float
    ) -> None:
        self._p = parameters
        self._under = under
        self._dt = dt

    @classmethod
    def build(
        cls, config: TrafficConfig, net: Net, types: tuple[VehicleType, ...], step_us: int
    ) -> FlowIdm | None:
        """Return the controller, or None if no type asks for it."""
        chosen = [config.types[t.id] for t in types]
        under = np.array([t.car_following == FLOW_IDM for t in chosen])
        if not under.any():
            return None
        defaults = {"accel": 2.6, "decel": 4.5, "tau": 1.0, "min_gap": 2.5, "delta": 4.0, "max_speed": 30.0}
        p = {
            name: np.array(
                [default if getattr(t, name) is None else getattr(t, name) for t in chosen], dtype=float
            )
            for name, default in defaults.items()
        }
        p["length"] = np.array([t.length for t in types])
        return cls(p, under, step_us / US)

    def orders(self, state: TrafficState) -> list[Order]:
        """Return the speed commands for the step to come."""
        rows = np.flatnonzero(self._under[state.type]) if len(state) else np.empty(0, dtype=np.intp)
        if not rows.size:
            return []
        leader = leaders(state)
        has = leader >= 0
        kind = state.type
        gap = np.where(has, state.s[leader] - self._p["length"][kind[leader]] - state.s, np.inf)
        gap = np.where(np.abs(gap) < 1e-3, 1e-3, gap)  # as Flow does, so that the law stays finite
        acceleration = idm_acceleration(
            state.speed,
            np.where(has, state.speed[leader], state.speed),
            gap,
            desired_speed=self._p["max_speed"][kind],
            accel=self._p["accel"][kind],
            decel=self._p["decel"][kind],
            tau=self._p["tau"][kind],
            min_gap=self._p["min_gap"][kind],
            delta=self._p["delta"][kind],
        )
        target = np.maximum(state.speed + acceleration * self._dt, 0.0)
        commands = Commands(state)
        commands.speed(rows, target[rows])
        return commands.orders


def leaders(state: TrafficState) -> NDArray[np.intp]:
    """Return the row of the next vehicle ahead on the same lane of the same edge, (V,); -1 if there is none."""
    n = len(state)
    result = np.full(n, -1, dtype=np.intp)
    if n < 2:
        return result
    order = np.lexsort((state.s, state.lane, state.edge))
    behind, ahead = order[:-1], order[1:]
    same = (state.edge[behind] == state.edge[ahead]) & (state.lane[behind] == state.lane[ahead])
    result[behind[same]] = ahead[same]
    return result
