"""Gaps that a vehicle needs when it drives, and a guard that forbids the driving actions which would not leave them.

The guard sees what every driving agent is shown: its own features and those of all vehicles in the zone.  It is the
agent's own caution, not a rule of the task: the task's mask stays as it is, and an agent without the guard may crash.
Its rules answer the residual crashes named in the specification, section 12: two vehicles entering one middle lane at
once, changes just before the junction, and changes into gaps that braking at 2 m/s^2 cannot keep open.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.tasks.driving.observation import ACTIONS, ROAD_LENGTH, SPEED_SCALE

BODY = 5.0
"""Length taken of other vehicles, m: the observation does not hold it."""
STANDSTILL_GAP = 3.0
TIME_GAP = 0.4
BRAKING = 2.0
"""What the braking action gives, m/s^2."""
TURNS_BEYOND = 150.0
LEADER_BRAKING = 3.0
"""From this position on (m), leaders are expected to brake that hard (m/s^2) for the junction."""
SIDE_GAP = 1.5
NO_CHANGE_BEYOND = 240.0
"""Vehicles on the junction behind the zone cannot be seen, so nobody changes lane just before it (m)."""

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

_S, _LANE, _SPEED, _CAV, _TARGET = range(5)  # columns of the features
_COLUMNS = 5
_SCALE = np.array([ROAD_LENGTH, 1, SPEED_SCALE, 1, 1], dtype=np.float32)
_OVER = np.arange(-2, 3, dtype=np.float32)[:, None, None]
"""By how many lanes another may be to the left of a vehicle."""
_ENOUGH = np.array([-np.finfo(np.float32).max, 0.5, 2.5], dtype=np.float32)
"""Room (m) in a lane that lets a vehicle brake there, keep its speed, accelerate; where it is blocked there is none.

Until the next decision 20 m/s take 2 m, and braking away what was gained meanwhile 2 m more, if the leader brakes from
now on until it stands; SIDE_GAP holds 1.5 m of that.
"""


def braking_gap(closing: Floats) -> Floats:
    """Return the gap (m) that is used up until a surplus speed *closing* (m/s) is braked away."""
    return np.asarray(np.maximum(closing, 0.0) ** 2 * (0.5 / BRAKING))


def turning_gap(speed: Floats, leader: Floats) -> Floats:
    """Return the gap (m) that lets a vehicle stop behind a leader (m/s) who brakes for the junction."""
    return STANDSTILL_GAP + np.maximum(speed**2 * (0.5 / BRAKING) - leader**2 * (0.5 / LEADER_BRAKING), 0.0)


def following_gap(s: Floats, speed: Floats, closing: Floats) -> Floats:
    """Return the gap (m) needed behind a leader; ``closing`` is the own speed minus the leader's (m/s)."""
    needed = STANDSTILL_GAP + TIME_GAP * speed + braking_gap(closing)
    turning = turning_gap(speed, np.maximum(speed - closing, 0.0))
    return np.where(s > TURNS_BEYOND, np.maximum(needed, turning), needed)


def side_gap(closing: Floats) -> Floats:
    """Return the gap (m) needed to a vehicle beside which one moves in; ``closing``: the rear one's surplus speed."""
    return SIDE_GAP + braking_gap(closing)


def guarded(features: NDArray[np.float32], zone: NDArray[np.float32]) -> Bools:
    """Return which of the nine driving actions leave the needed gaps, (n, 9); braking in lane is always among them.

    Args:
        features: (n, 8 or more) own features, as in the first columns of a driving observation.
        zone: (n, N, 8 or more) features of all vehicles of the zone at each row's instant, or (1, N, …) of one instant
            for all rows; rows of NaN are nobody.  A vehicle may be among its own others.

    Of two vehicles on both sides of a middle lane the one whose target lies that way has the right of way; of two such,
    or two others, the one ahead (of equals the one further right).  An HDV always has it, because nobody knows what it
    does.
    """
    own, others = features[:, :_COLUMNS] * _SCALE, zone[..., :_COLUMNS] * _SCALE
    s, speed, leader = own[:, _S, None], own[:, _SPEED, None], others[..., _SPEED]
    by = others[..., _S] - s
    ahead = by >= 0
    gap = np.abs(by) - BODY
    human = others[..., _CAV] == 0
    # Who is ahead may brake on, for the junction or for another: what is used up if both brake until they stand.
    slower = np.square(speed) - np.square(leader)
    surplus = np.maximum(np.where(ahead, slower, -slower), 0.0) * (0.5 / BRAKING)
    if np.count_nonzero(human):
        spare, tight = _beside_humans(s, speed, leader, ahead, gap, human, surplus)
    else:
        surplus += SIDE_GAP
        spare, tight = gap - surplus, gap < surplus
    over = others[..., _LANE] - own[:, _LANE, None] == _OVER
    in_front = by > 0
    over[2] &= in_front
    blocked = over[1::2] & tight
    beyond = over[::4] & tight
    if np.count_nonzero(beyond):
        # The other may come in from there: an HDV, or a CAV with the right of way.
        left, right = _drawn(own)
        others_left, others_right = _drawn(others)
        beyond[0] &= np.where(right[:, None] == others_left, ahead, others_left) | human
        beyond[1] &= np.where(left[:, None] == others_right, in_front, others_right) | human
        blocked |= beyond
    spare = np.where(over[1:4] & ahead, spare, np.inf)
    np.copyto(spare[::2], -np.inf, where=blocked)
    room = np.minimum.reduce(spare, axis=2, initial=np.inf)
    np.copyto(room[::2], -np.inf, where=s[:, 0] >= NO_CHANGE_BEYOND)
    return np.asarray(room.T[:, :, None] >= _ENOUGH).reshape(len(features), ACTIONS)


def _drawn(features: NDArray[np.float32]) -> tuple[Bools, Bools]:
    """Return (...,) whether a vehicle's target lanes lie to its left, and whether to its right."""
    lane, target = features[..., _LANE], features[..., _TARGET]
    # Targets 0, 1, 2 are the lanes 0, 1 to 2, 3: arithmetic, as rows of NaN are nobody.
    return lane < target * (target + 1) / 2, lane > target * (5 - target) / 2


def _beside_humans(
    s: Floats, speed: Floats, leader: Floats, ahead: Bools, gap: Floats, human: Bools, surplus: Floats
) -> tuple[Floats, Bools]:
    """Return what is spare of the gaps and which are too tight to move in, (n, N), where some are HDVs' (*human*)."""
    # A human driver behind brakes as hard as it takes.
    surplus = np.where(human & ~ahead, braking_gap(leader - speed), surplus)
    # A CAV brakes no harder than this one can, and not before this one sees it a step later.
    turning = turning_gap(speed, leader) * ((s > TURNS_BEYOND) & human)
    apart = np.where(human, STANDSTILL_GAP + TIME_GAP * speed, SIDE_GAP)
    spare = gap - np.maximum(apart + surplus, turning)
    return spare, gap < np.maximum(SIDE_GAP + surplus, turning * ahead)
