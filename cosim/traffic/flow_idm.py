"""Flow's way of driving human vehicles: an IDM computed outside SUMO and sent as a speed command each step.

``car_following: flow_idm`` puts a vehicle type under it, as Flow's ``IDMController`` does (Wu et al., "Flow: a modular
learning framework for mixed autonomy traffic", IEEE T-RO 2022): the acceleration of the law is taken once a step
from the state, the new speed is ordered for that one step (Flow's ``slowDown`` of 1 ms), and on junctions, where Flow
orders nothing, SUMO's own IDM drives.  SUMO still caps an ordered speed by its safe speed (speed mode 25).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.traffic.commands import Commands, Order
from cosim.traffic.files import FLOW_IDM
from cosim.traffic.state import TrafficState, VehicleType

if TYPE_CHECKING:
    from cosim.scenario import TrafficConfig

LOOK_AHEAD = 2000.0
"""How far Flow asks SUMO for a leader, m."""

_ONE_STEP = 1e-3
"""Duration of the order, s: less than a step, so that SUMO drives again if no other order follows."""

_LEAST_GAP = 1e-3
"""Flow's bound of a gap, m, so that the law stays finite."""

Leader = tuple[str, float]
"""A vehicle and the gap to its back bumper, m."""


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
        self._edges: tuple[str, ...] = ()
        self._junction = np.empty(0, dtype=bool)
        self._commanded: dict[str, float] = {}
        """Who is under another's command, and until when (microseconds)."""

    @classmethod
    def build(cls, config: TrafficConfig, types: tuple[VehicleType, ...], step_us: int) -> FlowIdm | None:
        """Return the controller, or None if no type asks for it."""
        chosen = [config.types[t.id] for t in types]
        under = np.array([t.car_following == FLOW_IDM for t in chosen])
        if not under.any():
            return None
        # IDMController's own defaults
        defaults = {"accel": 1.0, "decel": 1.5, "tau": 1.0, "min_gap": 2.0, "delta": 4.0, "max_speed": 30.0}
        p = {
            name: np.array(
                [default if getattr(t, name) is None else getattr(t, name) for t in chosen], dtype=float
            )
            for name, default in defaults.items()
        }
        p["length"] = np.array([t.length for t in types])
        return cls(p, under, step_us / US)

    def give_way(self, orders: Sequence[Order], t_us: int) -> None:
        """Leave vehicles alone whose speed others command at *t_us*, until that is over or they are released."""
        for kind, ids, columns, _ in orders:
            if kind == "speed":
                self._commanded |= dict.fromkeys(ids, np.inf)
                for vehicle, value in zip(ids, columns[0], strict=True):
                    if value < 0:
                        self._commanded.pop(vehicle, None)
            elif kind in ("ramp", "acceleration"):
                for vehicle, duration in zip(ids, columns[1], strict=True):
                    self._commanded[vehicle] = t_us + duration * US

    def orders(self, state: TrafficState, ahead: Callable[[str], Leader | None]) -> list[Order]:
        """Return the speed commands for the step to come.

        ``ahead(vehicle)`` asks SUMO for the leader of one vehicle (whose minGap is 0); that is done for the first
        vehicle of each lane only, whose leader is on another edge or crosses the junction.
        """
        if not len(state):
            return []
        if state.edges is not self._edges:
            self._edges = state.edges
            self._junction = np.array([edge.startswith(":") for edge in state.edges])
        free = self._under[state.type] & ~self._junction[state.edge]
        if self._commanded:
            self._commanded = {
                v: t for v, t in self._commanded.items() if t > state.t_us and state.row(v) >= 0
            }
            free &= [vehicle not in self._commanded for vehicle in state.ids]
        rows = np.flatnonzero(free)
        if not rows.size:
            return []
        kind = state.type[rows]
        gap, leader_speed = self._gaps(state, rows, ahead)
        acceleration = idm_acceleration(
            state.speed[rows],
            leader_speed,
            gap,
            desired_speed=self._p["max_speed"][kind],
            accel=self._p["accel"][kind],
            decel=self._p["decel"][kind],
            tau=self._p["tau"][kind],
            min_gap=self._p["min_gap"][kind],
            delta=self._p["delta"][kind],
        )
        commands = Commands(state)
        commands.ramp(rows, np.maximum(state.speed[rows] + acceleration * self._dt, 0.0), _ONE_STEP)
        return commands.orders

    def _gaps(
        self, state: TrafficState, rows: NDArray[np.intp], ahead: Callable[[str], Leader | None]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each vehicle's gap to its leader (inf: none) and the leader's speed, both (n,)."""
        leader = leaders(state)[rows]
        here = leader >= 0
        gap = np.where(here, state.s[leader] - self._p["length"][state.type[leader]] - state.s[rows], np.inf)
        speed = np.where(here, state.speed[leader], state.speed[rows])
        for k in np.flatnonzero(~here).tolist():
            found = ahead(state.ids[rows[k]])
            row = -1 if found is None else state.row(found[0])
            if found is not None and row >= 0:
                gap[k], speed[k] = found[1], state.speed[row]
        return np.where(np.abs(gap) < _LEAST_GAP, _LEAST_GAP, gap), speed


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
