"""The road at one instant, as arrays: what everything downstream of SUMO reads.

The bridge reads SUMO once a step and gives one :class:`TrafficState`; tasks, network, recorder and plots read
only that.  Rows are in ascending key order, so sums over vehicles do not depend on insertion order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import entity_key as entity_key


@dataclass(frozen=True, slots=True)
class VehicleType:
    """A vehicle type's name and body (m); ``cav`` tells whether agents may command such vehicles."""

    id: str
    length: float = 5.0
    width: float = 1.8
    height: float = 1.5
    cav: bool = False


@dataclass(frozen=True, slots=True, init=False)
class TrafficState:
    """All vehicles on the road at ``t_us``; V rows in ascending key order.

    ``ids`` is the *same* tuple object from step to step while no vehicle enters or leaves, so whatever depends
    on the set of vehicles alone may be cached on its identity.  ``slot`` is a small integer that a vehicle
    keeps for life and that is reused after it left: the row of per-vehicle state held elsewhere.

    ============  ===========  =======================================================
    field         shape,dtype  meaning
    ============  ===========  =======================================================
    ids           V str        SUMO's vehicle ids, never used twice in a run
    key           V uint64     :func:`entity_key` of the id, ascending
    slot          V int32      stable row number
    xy            V,2 f8       front bumper, m, net coordinates
    z             V f8         height above the net's zero, m
    angle         V f8         heading, degrees clockwise from north (SUMO's)
    speed         V f8         m/s
    accel         V f8         m/s^2, of the step that led here
    edge          V int32      index into ``edges``
    lane          V int32      lane index on that edge, 0 = rightmost
    s             V f8         front bumper's position along the lane, m
    type          V int32      index into ``types``
    ============  ===========  =======================================================
    """

    t_us: int
    ids: tuple[str, ...]
    key: NDArray[np.uint64]
    slot: NDArray[np.int32]
    xy: NDArray[np.float64]
    z: NDArray[np.float64]
    angle: NDArray[np.float64]
    speed: NDArray[np.float64]
    accel: NDArray[np.float64]
    edge: NDArray[np.int32]
    lane: NDArray[np.int32]
    s: NDArray[np.float64]
    type: NDArray[np.int32]
    edges: tuple[str, ...]
    types: tuple[VehicleType, ...]

    def __init__(
        self,
        t_us: int,
        ids: tuple[str, ...],
        key: NDArray[np.uint64],
        slot: NDArray[np.int32],
        xy: NDArray[np.float64],
        z: NDArray[np.float64],
        angle: NDArray[np.float64],
        speed: NDArray[np.float64],
        accel: NDArray[np.float64],
        edge: NDArray[np.int32],
        lane: NDArray[np.int32],
        s: NDArray[np.float64],
        type: NDArray[np.int32],
        edges: tuple[str, ...],
        types: tuple[VehicleType, ...],
    ) -> None:
        # A state is made every step; the __init__ of a frozen dataclass takes three times as long.
        values = (t_us, ids, key, slot, xy, z, angle, speed, accel, edge, lane, s, type, edges, types)
        for assign, value in zip(_ASSIGN, values, strict=True):
            assign(self, value)

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, vehicle: str) -> int:
        """Return the row of one vehicle, -1 if it is not on the road (for rare events, not for loops)."""
        key = np.uint64(entity_key(vehicle))
        at = int(np.searchsorted(self.key, key))
        return at if at < len(self.key) and self.key[at] == key else -1


_ASSIGN = tuple(TrafficState.__dict__[field.name].__set__ for field in fields(TrafficState))
