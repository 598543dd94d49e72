"""What a CAV sees: 38 numbers and a mask of nine actions (tpe_marl.md, section 2).

Action a = 0..8 means acceleration (a mod 3 - 1) x 2 m/s^2 and lateral a div 3 - 1 (-1 right, 0 keep, +1 left).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep.protocol import LEAVE_IT
from cosim.tasks.driving.zone import (
    FRONT,
    LEFT_FRONT,
    LEFT_REAR,
    NOBODY,
    RIGHT_FRONT,
    RIGHT_REAR,
    Floats,
    Zone,
)

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
    n = len(zone)
    out = np.empty((n, FEATURES), dtype=np.float32)
    out[:, 0] = zone.s / ROAD_LENGTH
    out[:, 1] = zone.lane
    out[:, 2] = zone.speed / SPEED_SCALE
    out[:, 3] = zone.cav
    out[:, 4] = zone.target
    ahead = zone.near[_FRONTS]
    headway = np.where(ahead == NOBODY, NO_HEADWAY, zone.s[ahead] - zone.s)
    out[:, 5:8] = (HEADWAY_SCALE / np.maximum(headway, SHORTEST_HEADWAY)).T
    return out


_FRONTS = np.array([LEFT_FRONT, FRONT, RIGHT_FRONT])


def observe(zone: Zone, all_features: NDArray[np.float32], who: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the observations (n, 38) of zone rows *who*: own features, then six neighbours within 100 m."""
    n = len(who)
    out = np.empty((n, OBS_DIM), dtype=np.float32)
    out[:, :FEATURES] = all_features[who]
    near = zone.near[:, who].T  # (n, 6)
    own = np.empty((5, len(zone)))
    own[0], own[1], own[2] = zone.s, zone.lane, zone.speed
    own[3], own[4] = zone.cav, zone.target
    block = own[:, near]  # (5, n, 6) of the neighbours
    mine = own[:3, who, None]
    np.subtract(mine, block[:3], out=block[:3])
    seen = (near != NOBODY) & (np.abs(block[0]) <= SIGHT)
    block[0] /= ROAD_LENGTH
    block[2] /= SPEED_SCALE
    block *= seen
    out[:, FEATURES:] = block.transpose(1, 2, 0).reshape(n, 30)
    return out


def action_mask(zone: Zone, who: NDArray[np.intp], lanes: int, distance: float | None) -> NDArray[np.bool_]:
    """Return which of the nine actions zone rows *who* may take, (n, 9).

    A lane that does not exist is always forbidden; with *distance* (m) so is a side on which a vehicle is that
    close, front to front.
    """
    lane = zone.lane[who]
    right, left = lane > 0, lane < lanes - 1
    if distance is not None:
        near = zone.near[:, who]
        close = (near != NOBODY) & (np.abs(zone.s[near] - zone.s[who]) <= distance)
        left &= ~(close[LEFT_FRONT] | close[LEFT_REAR])
        right &= ~(close[RIGHT_FRONT] | close[RIGHT_REAR])
    mask = np.ones((len(who), ACTIONS), dtype=np.bool_)
    mask[:, 0:3] = right[:, None]
    mask[:, 6:9] = left[:, None]
    return mask


def decode(values: NDArray[np.int64], accel_step: float) -> tuple[Floats, NDArray[np.int64]]:
    """Return acceleration (m/s^2) and lateral movement (+1 left) of discrete actions (n,)."""
    return np.asarray((values % 3 - 1) * accel_step, dtype=np.float64), values // 3 - 1


def describe_discrete(values: NDArray[np.int64]) -> list[str]:
    """Return each action (n,) in words, such as ``accelerate, keep lane``."""
    return [
        f"{_PEDAL[a % 3]}, {_WHEEL[a // 3]}" if a != LEAVE_IT else "left to SUMO" for a in values.tolist()
    ]


def describe_continuous(values: Floats, accel_step: float) -> list[str]:
    """Return each action (n, 2), as the agent scales them, in words, such as ``+1.3 m/s2, change left``."""
    return [f"{accel_step * a:+.1f} m/s2, {_WHEEL[round(lateral) + 1]}" for a, lateral in values.tolist()]
