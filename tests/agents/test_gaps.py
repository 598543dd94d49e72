"""The guard of learnt drivers, against a road of our own in which everybody does something random that it allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.common.gaps import (
    BODY,
    BRAKING,
    NO_CHANGE_BEYOND,
    SIDE_GAP,
    STANDSTILL_GAP,
    TIME_GAP,
    guarded,
    side_gap,
)

BRAKE_IN_LANE = 3
RIGHT, STRAIGHT, LEFT = range(3)

Vehicle = tuple[float, int, float, int]


def features(*vehicles: Vehicle, targets: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Return (N, 8) of vehicles (s, lane, speed, is CAV) that go where *targets* say, or straight on."""
    out = np.zeros((len(vehicles), 8), dtype=np.float32)
    for row, (s, lane, speed, cav) in enumerate(vehicles):
        out[row, :5] = s / 250.0, lane, speed / 25.0, cav, STRAIGHT if targets is None else targets[row]
    return out


def allowed(*vehicles: Vehicle, targets: Sequence[int] | None = None) -> NDArray[np.bool_]:
    everyone = features(*vehicles, targets=targets)
    return guarded(everyone, everyone[None])


def entry_gap(leader: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gap (m) behind leaders (m/s) in which who enters at 10 m/s can stop, at least 12 m."""
    return np.maximum(12.0, (10.0**2 - leader**2) / (2.0 * BRAKING) + 1.0)


def braking_ways_apart(fast: float, slow: float) -> float:
    """By how many metres the braking way of one is longer than that of the other."""
    return (fast**2 - slow**2) / (2.0 * BRAKING)


def test_alone_everything_goes_until_just_before_the_junction() -> None:
    assert allowed((50.0, 1, 15.0, 1)).all()
    late = allowed((NO_CHANGE_BEYOND + 1.0, 1, 15.0, 1))[0]
    assert late.tolist() == [False] * 3 + [True] * 3 + [False] * 3


@pytest.mark.parametrize("cav", [0, 1])
def test_nobody_accelerates_or_keeps_speed_into_a_leader(cav: int) -> None:
    needed = BODY + braking_ways_apart(15.0, 10.0) + (SIDE_GAP if cav else STANDSTILL_GAP + TIME_GAP * 15.0)
    for spare, pedals in ((0.4, [True, False, False]), (0.6, [True, True, False]), (2.6, [True] * 3)):
        assert allowed((60.0, 2, 15.0, 1), (60.0 + needed + spare, 2, 10.0, cav))[0, 3:6].tolist() == pedals


@pytest.mark.parametrize("cav", [0, 1])
@pytest.mark.parametrize("ahead", [True, False])
def test_a_lane_is_entered_only_where_the_rear_vehicle_can_brake_in_time(ahead: bool, cav: int) -> None:
    gap = BODY + side_gap(np.float64(4.0))
    if cav or ahead:
        gap = BODY + SIDE_GAP + braking_ways_apart(14.0, 10.0)
    own, other = (14.0, 10.0) if ahead else (10.0, 14.0)
    for spare in (-0.1, 0.1):
        at = 60.0 + (gap + spare if ahead else -gap - spare)
        free = allowed((60.0, 1, own, 1), (at, 2, other, cav))[0]
        assert free[6:9].any() == (spare > 0)
        assert free[:3].all()


@pytest.mark.parametrize("targets", [(LEFT, RIGHT), (STRAIGHT, RIGHT), (RIGHT, STRAIGHT)])
def test_of_two_that_want_the_middle_lane_and_of_two_that_do_not_the_one_ahead_has_it(
    targets: tuple[int, int],
) -> None:
    rear, front = allowed((60.0, 0, 12.0, 1), (62.0, 2, 12.0, 1), targets=targets)
    assert not rear[6:9].any()
    assert front[:3].any()
    right, left = allowed((60.0, 0, 12.0, 1), (60.0, 2, 12.0, 1), targets=targets)
    assert right[6:9].any()
    assert not left[:3].any()


@pytest.mark.parametrize("ahead", [-2.0, 0.0, 2.0])
@pytest.mark.parametrize(
    ("lanes", "drawn", "others"), [((1, 3), LEFT, LEFT), ((3, 1), RIGHT, RIGHT), ((3, 1), RIGHT, STRAIGHT)]
)
def test_who_is_drawn_to_the_middle_lane_goes_before_who_is_not(
    lanes: tuple[int, int], drawn: int, others: int, ahead: float
) -> None:
    one = (60.0, lanes[0], 12.0, 1), (60.0 + ahead, lanes[1], 12.0, 1)
    own, other = allowed(*one, targets=(drawn, others))
    inwards, back = (slice(6, 9), slice(0, 3)) if drawn == LEFT else (slice(0, 3), slice(6, 9))
    assert own[inwards].any()
    assert not other[back].any()


def test_a_human_driver_always_has_it() -> None:
    assert not allowed((62.0, 0, 12.0, 1), (60.0, 2, 12.0, 0))[0, 6:9].any()


def test_nobody_in_padding_changes_nothing() -> None:
    everyone = features((60.0, 1, 12.0, 1), (75.0, 1, 9.0, 1), (61.0, 2, 12.0, 0))
    padded = np.concatenate([everyone, np.full((4, 8), np.nan, dtype=np.float32)])
    np.testing.assert_array_equal(guarded(everyone, everyone[None]), guarded(everyone, padded[None]))


@pytest.mark.parametrize("seed", range(4))
def test_random_allowed_actions_never_collide(seed: int) -> None:
    """Hundreds of vehicles, all acting at once with what was allowed before anybody moved."""
    rng = np.random.default_rng(seed)
    s, lane, speed = np.empty(0), np.empty(0, dtype=np.int64), np.empty(0)
    target = np.empty(0, dtype=np.int64)
    slow = np.empty(0, dtype=np.bool_)  # who brakes for a while, for no reason
    passed = 0
    for _ in range(1500):
        new = int(rng.integers(4))
        if rng.random() < 0.15 and not ((lane == new) & (s < 5.1 + BODY + entry_gap(speed))).any():
            s, lane, speed = np.append(s, 5.1), np.append(lane, new), np.append(speed, 10.0)
            slow, target = np.append(slow, False), np.append(target, rng.integers(3))
        if not len(s):
            continue
        vehicles = ((a, int(b), c, 1) for a, b, c in zip(s, lane, speed, strict=True))
        everyone = features(*vehicles, targets=target.tolist())
        may = guarded(everyone, everyone[None])
        may[lane == 0, :3] = False
        may[lane == 3, 6:] = False
        assert may[:, BRAKE_IN_LANE].all()
        # Accelerating and changing are likelier than braking, so that the road keeps moving.
        action = (rng.random(may.shape) * [3, 3, 3, 0.4, 1, 3, 3, 3, 3] * may).argmax(axis=1)
        slow ^= rng.random(len(slow)) < np.where(slow, 0.03, 0.003)
        action[slow] = BRAKE_IN_LANE
        speed = np.clip(speed + (action % 3 - 1) * 0.2, 0.0, 20.0)
        lane = lane + action // 3 - 1
        s = s + speed * 0.1
        passed += int((s >= 250.0).sum())
        s, lane, speed, slow, target = (a[s < 250.0] for a in (s, lane, speed, slow, target))
        order = np.lexsort((s, lane))
        same = lane[order][1:] == lane[order][:-1]
        assert (np.diff(s[order])[same] >= BODY).all()
    assert passed > 50
