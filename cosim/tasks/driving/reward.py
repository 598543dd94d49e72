"""The environment reward of driving (TPE-MARL eqs (10) to (17), resolved in the specification, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cosim.tasks.driving.zone import Floats

SIGMA = 60.0
ZETA = 1.0
ROAD = 250.0


def lane_distance(
    lane: NDArray[np.integer], lowest: NDArray[np.integer], highest: NDArray[np.integer]
) -> Floats:
    """Return |y_targ - y|: lanes between ``lane`` and the nearest target lane of lowest..highest, signed.

    Positive: the target lies to the left; 0: already on a target lane.
    """
    return np.asarray(np.maximum(lowest - lane, 0) - np.maximum(lane - highest, 0), dtype=np.float64)


def position_value(x: Floats, distance: Floats) -> Floats:
    """f_p(x, y) = exp(-(l - x)^2 / (2 sigma^2)) / (zeta |y_targ - y| + 1); eq (12)."""
    return np.asarray(np.exp(np.square(ROAD - x) / (-2 * SIGMA**2)) / (ZETA * np.abs(distance) + 1))


def position_reward(x: Floats, speed: Floats, lateral: NDArray[np.integer], distance: Floats) -> Floats:
    """r_p = [v_x (l - x)/sigma^2 + zeta v_y sgn(y_targ - y)/(zeta d + 1)] f_p; eq (13), not the printed (14).

    ``distance`` (n,) is signed as :func:`lane_distance` gives it, of the lane before the change; ``lateral`` is +1
    left; ``x`` and ``speed`` are those after the step.  On a target lane the lateral part is -zeta v_y^2.
    """
    moving = np.asarray(speed * (ROAD - x) / SIGMA**2)
    if np.count_nonzero(lateral):
        d = np.abs(distance)
        moving += np.where(d == 0, -ZETA * lateral**2, ZETA * lateral * np.sign(distance) / (ZETA * d + 1))
    return np.asarray(moving * position_value(x, distance))


def action_reward(accel: Floats, speed: Floats, v_max: float, *, keeps_above: float = 0.0) -> Floats:
    """r_a = 1 if accelerating, or keeping speed while v + 2 > v_max; eq (11).

    ``keeps_above``: accelerations at or above ``-keeps_above`` count as keeping (continuous actions).
    """
    keeping = accel >= 0.0 if keeps_above == 0.0 else accel > -keeps_above
    return np.asarray((accel > 0) | (keeping & (speed + 2 > v_max)), dtype=np.float64)


def environment_reward(
    weights: Sequence[float], own: Floats, flow: float, collided: int, completed: int
) -> float:
    """r_env = mean over CAVs of *own* = w1 r_a + w2 r_p, + w3 r_flow + w4 r_safe + w5 r_complete; eq (10)."""
    _, _, w3, w4, w5 = weights
    mean = float(np.add.reduce(own)) / len(own) if len(own) else 0.0
    return mean + w3 * flow + w4 * collided + w5 * completed
