"""What a CAV sees: 38 numbers and a mask of nine actions (the specification, section 2).

Action a = 0..8 means acceleration (a mod 3 - 1) x 2 m/s^2 and lateral a div 3 - 1 (-1 right, 0 keep, +1 left).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep.protocol import LEAVE_IT
from cosim.tasks.driving.zone import Floats, Zone

OBS_DIM = 38
FEATURES = 8
ACTIONS = 9
KEEP = 4
"""Keep speed, keep lane."""

ROAD_LENGTH = 250.0
SPEED_SCALE = 25.0
HEADWAY_SCALE = 50.0
NO_HEADWAY = 1000.0
SHORTEST_HEADWAY = 5.0
SIGHT = 100.0

_PEDALS = (np.arange(ACTIONS) % 3 - 1).astype(np.float64)
_WHEELS = (np.arange(ACTIONS) // 3 - 1).astype(np.int64)
_PEDAL = ("brake", "keep speed", "accelerate")
_WHEEL = ("change right", "keep lane", "change left")

OBS_NAMES = (
    "s", "lane", "speed", "type", "target", "h_left", "h_front", "h_right",
    *(
        f"{where}_{what}"
        for where in ("left_front", "left_rear", "front", "rear", "right_front", "right_rear")
        for what in ("ds", "dlane", "dspeed", "type", "target")
    ),
)  # fmt: skip


def features(zone: Zone) -> NDArray[np.float32]:
    """Return entries 0 to 7 of the observation for all vehicles of the zone, (N, 8)."""
    out = np.empty((len(zone), FEATURES), dtype=np.float32)
    out[:, :5] = (zone.own[:, :-1] / _SCALE).T
    headway = -zone.around[0, ::2]  # left front, front, right front
    headway[headway == np.inf] = NO_HEADWAY
    out[:, 5:8] = (HEADWAY_SCALE / np.maximum(headway, SHORTEST_HEADWAY)).T
    return out


_SCALE = np.array([[ROAD_LENGTH], [1.0], [SPEED_SCALE], [1.0], [1.0]])
"""Of s, lane, speed, type and target."""


def observe(zone: Zone, all_features: NDArray[np.float32], who: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the observations (n, 38) of zone rows *who*: own features, then six neighbours within 100 m."""
    n = len(who)
    out = np.empty((n, OBS_DIM), dtype=np.float32)
    out[:, :FEATURES] = all_features[who]
    around = zone.around if n == len(zone) else zone.around.take(who, axis=2)
    seen = np.abs(around[0]) <= SIGHT
    scaled = np.where(seen, around, 0.0)
    scaled /= _SCALE[:, :, None]
    out[:, FEATURES:].reshape(n, 6, 5)[...] = scaled.T
    return out


def action_mask(zone: Zone, who: NDArray[np.intp], lanes: int, distance: float | None) -> NDArray[np.bool_]:
    """Return which of the nine actions zone rows *who* may take, (n, 9).

    A lane that does not exist is always forbidden; with *distance* (m) so is a side on which a vehicle is that
    close, front to front.
    """
    n = len(who)
    wall = zone.lane == np.array([[lanes - 1], [0]])  # left, right
    if distance is not None:
        close = np.abs(zone.around[0]) <= distance
        wall |= close[::4] | close[1::4]  # front and rear on the left, on the right
    if n < len(zone):
        wall = wall[:, who]
    mask = np.ones((n, 3, 3), dtype=np.bool_)
    np.logical_not(wall.T[:, :, None], out=mask[:, ::-2])
    return mask.reshape(n, ACTIONS)


def decode(values: NDArray[np.int64], accel_step: float) -> tuple[Floats, NDArray[np.int64]]:
    """Return acceleration (m/s^2) and lateral movement (+1 left) of discrete actions (n,)."""
    return _PEDALS.take(values) * accel_step, _WHEELS.take(values)


def describe_discrete(values: NDArray[np.int64]) -> list[str]:
    """Return each action (n,) in words, such as ``accelerate, keep lane``."""
    return [
        f"{_PEDAL[a % 3]}, {_WHEEL[a // 3]}" if a != LEAVE_IT else "left to SUMO" for a in values.tolist()
    ]


def describe_continuous(values: Floats, accel_step: float) -> list[str]:
    """Return each action (n, 2), as the agent scales them, in words, such as ``+1.3 m/s2, change left``."""
    return [f"{accel_step * a:+.1f} m/s2, {_WHEEL[round(lateral) + 1]}" for a, lateral in values.tolist()]
