"""A sensible driver without learning: accelerate, brake when close, change toward the target lane where there is a gap.

It reads only the observation of the driving task (layout: ``cosim.tasks.driving.observation``) and serves as the
first decider of the shipped scenarios and as a reference for learnt ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.common.gaps import BODY, NO_CHANGE_BEYOND, following_gap, side_gap
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.tasks.driving.observation import (
    FEATURES,
    NO_HEADWAY,
    ROAD_LENGTH,
    SPEED_SCALE,
)
from cosim.tasks.driving.options import LEFT, RIGHT, STRAIGHT
from cosim.tasks.driving.zone import FRONT, LEFT_FRONT, RIGHT_FRONT

MARGIN = 1.0
"""Gap beyond what following needs from which on a vehicle may accelerate, m."""
YIELD_ABOVE = 12.0
"""Speed (m/s) down to which a vehicle falls back to get a gap on the side."""

_NAMES = {"right": RIGHT, "straight": STRAIGHT, "left": LEFT}


class RuleBased:
    """The rule-based agent; needs no weights."""

    def __init__(self, weights: Path | None = None) -> None:
        self._lowest = np.array([0, 1, 3])
        self._highest = np.array([0, 2, 3])
        self._continuous = False

    def reset(self, info: EpisodeInfo) -> None:
        self._continuous = info.options.get("actions") == "continuous"
        for route, lanes in (info.options.get("targets") or {}).items():
            if route in _NAMES:
                self._lowest[_NAMES[route]], self._highest[_NAMES[route]] = min(lanes), max(lanes)

    def act(self, observations: Observations) -> Actions:
        n = observations.active
        obs = observations.obs[:n].astype(np.float64)
        s, lane, speed = obs[:, 0] * ROAD_LENGTH, obs[:, 1], obs[:, 2] * SPEED_SCALE
        target = obs[:, 4].astype(np.int64)
        accel = _accelerate(obs, s, speed)
        side = np.sign(
            np.maximum(self._lowest[target] - lane, 0) - np.maximum(lane - self._highest[target], 0)
        )
        left, right = _gap_on(obs, LEFT_FRONT), _gap_on(obs, RIGHT_FRONT)
        clear = np.where(side > 0, left[0], right[0])
        # Beside a vehicle of the same speed no gap ever opens: fall back behind it, as it falls back behind others.
        behind = np.where(side > 0, left[1], right[1]) & (side != 0) & ~clear & (speed > YIELD_ABOVE)
        accel = np.where(behind, -1, accel)
        side = np.where(clear & (s < NO_CHANGE_BEYOND), side, 0).astype(np.int64)
        if self._continuous:
            return Actions(np.column_stack([accel, side]).astype(np.float64))
        action = (side + 1) * 3 + accel + 1
        if observations.mask is not None and n:
            # A side that the mask forbids is not taken; the acceleration stays.
            action = np.where(observations.mask[np.arange(n), action], action, accel + 4)
        return Actions(action)

    def close(self) -> None:
        """Nothing is held."""


def _neighbour(obs: NDArray[np.float64], which: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return front-to-front distance (m, positive ahead, NO_HEADWAY if unseen) and own speed minus theirs (m/s)."""
    block = obs[:, FEATURES + 5 * which : FEATURES + 5 * which + 5]
    seen = (block != 0).any(axis=1)
    return np.where(seen, -block[:, 0] * ROAD_LENGTH, NO_HEADWAY), block[:, 2] * SPEED_SCALE


def _accelerate(
    obs: NDArray[np.float64], s: NDArray[np.float64], speed: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return -1, 0 or +1: brake where the gap is shorter than stopping behind the leader takes, else accelerate."""
    distance, closing = _neighbour(obs, FRONT)
    gap = distance - BODY
    needed = following_gap(s, speed, closing)
    return np.where(gap < needed, -1, np.where(gap < needed + MARGIN, 0, 1))


def _gap_on(obs: NDArray[np.float64], front: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether the lane whose front slot is *front* has room, and if the vehicle ahead is in the way."""
    ahead, closing = _neighbour(obs, front)
    behind, pulling_away = _neighbour(obs, front + 1)
    ahead_ok = ahead - BODY >= side_gap(closing)
    behind = np.where(behind == NO_HEADWAY, NO_HEADWAY, -behind)
    behind_ok = behind - BODY >= side_gap(-pulling_away)
    return ahead_ok & behind_ok, ~ahead_ok
