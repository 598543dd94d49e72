"""The driving task against the worked examples of Han et al., arXiv 2507.12110, as resolved in the specification."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.tasks.driving.observation import (
    ACTIONS,
    OBS_DIM,
    OBS_NAMES,
    action_mask,
    decode,
    features,
    observe,
)
from cosim.tasks.driving.reward import (
    action_reward,
    environment_reward,
    lane_distance,
    position_reward,
    position_value,
)
from cosim.tasks.driving.zone import NOBODY, Neighbours, Zone, neighbours

RIGHT, STRAIGHT, LEFT = 0, 1, 2
TARGETS = {RIGHT: (0, 0), STRAIGHT: (1, 2), LEFT: (3, 3)}


def zone_of(*vehicles: tuple[bool, int, float, float, int]) -> Zone:
    """A zone of (cav, lane, s, v, target) rows; later rows have larger ids."""
    cav, lane, s, v, target = (np.array(column) for column in zip(*vehicles, strict=True))
    lane = lane.astype(np.int32)
    s = s.astype(float)
    near = neighbours(s, lane, np.arange(len(s)))
    return Zone(np.arange(len(s)), s, lane, v.astype(float), cav, target.astype(np.int8), near)


def targets(*codes: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = zip(*(TARGETS[c] for c in codes), strict=True)
    return np.array(low), np.array(high)


EXAMPLE = (
    (True, 2, 100.0, 15.0, LEFT),
    (True, 2, 130.0, 12.0, STRAIGHT),
    (True, 1, 40.0, 10.0, RIGHT),
    (False, 3, 90.0, 18.0, RIGHT),
    (False, 1, 249.0, 20.0, STRAIGHT),
)


def test_the_observation_of_the_worked_example() -> None:
    zone = zone_of(*EXAMPLE)
    row = observe(zone, features(zone), np.array([0]))[0]
    expected = np.zeros(OBS_DIM)
    expected[:8] = [0.4, 2, 0.6, 1, 2, 0.05, 50 / 30, 50 / 149]
    expected[13:18] = [0.04, -1, -0.12, 0, 0]
    expected[18:23] = [-0.12, 0, 0.12, 1, 1]
    expected[33:38] = [0.24, 1, 0.2, 1, 0]
    np.testing.assert_allclose(row, expected, atol=1e-6)
    assert action_mask(zone, np.array([0]), 4, 6.0).all()


def test_observation_names_are_as_many_as_entries() -> None:
    assert len(OBS_NAMES) == OBS_DIM == 38


@pytest.mark.parametrize(
    ("x", "lane", "target", "value"),
    [
        (250, 3, LEFT, 1.0),
        (250, 0, LEFT, 0.25),
        (190, 3, LEFT, 0.60653066),
        (190, 2, LEFT, 0.30326533),
        (190, 0, STRAIGHT, 0.30326533),
    ],
)
def test_position_value(x: float, lane: int, target: int, value: float) -> None:
    d = lane_distance(np.array([lane]), *targets(target))
    assert position_value(np.array([x]), d)[0] == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize(
    ("x", "lane", "target", "speed", "by_lateral"),
    [
        (190, 2, LEFT, 15, (0.2274490, 0.0758163, -0.0758163)),
        (190, 3, LEFT, 15, (-0.4548980, 0.1516327, -0.4548980)),
        (230, 1, RIGHT, 20, (-0.1839366, 0.0525533, 0.2890432)),
    ],
)
def test_position_reward(
    x: float, lane: int, target: int, speed: float, by_lateral: tuple[float, ...]
) -> None:
    d = lane_distance(np.array([lane] * 3), *targets(target, target, target))
    got = position_reward(np.full(3, x), np.full(3, speed), np.array([1, 0, -1]), d)
    np.testing.assert_allclose(got, by_lateral, atol=5e-8)


def test_environment_reward_of_the_worked_example() -> None:
    low, high = targets(LEFT, STRAIGHT)
    d = lane_distance(np.array([2, 1]), low, high)
    s, v = np.array([190.0, 100.0]), np.array([15.0, 19.9])
    r_p = position_reward(s, v, np.array([1, 0]), d)
    r_a = action_reward(np.array([2.0, 0.0]), v, 20.0)
    flow = np.array([15.0, 19.9, 12.0]).mean() / 20
    weights = (10.0, 2.0, 1.0, -50.0, 8.0)
    own = 10.0 * r_a + 2.0 * r_p
    assert environment_reward(weights, own, flow, 0, 1) == pytest.approx(19.0455467, abs=1e-7)
    assert environment_reward(weights, own, flow, 2, 1) == pytest.approx(-80.9544533, abs=1e-7)


@given(
    lane=st.integers(0, 3),
    target=st.sampled_from([RIGHT, STRAIGHT, LEFT]),
    x=st.floats(0, 250),
    v=st.floats(0, 20),
)
def test_moving_toward_the_target_beats_keeping_beats_moving_away(
    lane: int, target: int, x: float, v: float
) -> None:
    low, high = targets(target)
    d = lane_distance(np.array([lane]), low, high)
    toward = int(np.sign(d[0]))
    if toward == 0:
        return

    def reward(lateral: int) -> float:
        return float(position_reward(np.array([x]), np.array([v]), np.array([lateral]), d)[0])

    assert reward(toward) > reward(0) > reward(-toward)


def test_actions_decode_as_the_specification_numbers_them() -> None:
    accel, lateral = decode(np.arange(ACTIONS), 2.0)
    assert accel.tolist() == [-2, 0, 2] * 3
    assert lateral.tolist() == [-1, -1, -1, 0, 0, 0, 1, 1, 1]


def test_a_vehicle_of_the_same_position_and_larger_id_counts_as_ahead() -> None:
    zone = zone_of((True, 1, 50.0, 10.0, LEFT), (True, 2, 50.0, 10.0, LEFT))
    left_front, left_rear, _, _, right_front, right_rear = range(6)
    assert zone.near[left_front, 0] == 1
    assert zone.near[left_rear, 0] == NOBODY
    assert zone.near[right_front, 1] == NOBODY
    assert zone.near[right_rear, 1] == 0


def test_the_mask_forbids_lanes_that_do_not_exist_and_sides_with_a_near_vehicle() -> None:
    zone = zone_of((True, 0, 50.0, 10.0, LEFT), (True, 3, 50.0, 10.0, LEFT), (False, 1, 56.0, 10.0, LEFT))
    mask = action_mask(zone, np.array([0, 1]), 4, 6.0)
    assert mask[0].tolist() == [False] * 3 + [True] * 3 + [False] * 3  # 6 m away on the left
    assert mask[1].tolist() == [True] * 6 + [False] * 3
    assert action_mask(zone, np.array([0]), 4, None)[0].tolist() == [False] * 3 + [True] * 6


def brute_force(s: np.ndarray, lane: np.ndarray) -> np.ndarray:
    """Nearest neighbours by looking at every pair; ties by row."""
    n = len(s)
    near = np.full((6, n), NOBODY)
    for i in range(n):
        for k, offset in enumerate((1, 0, -1)):
            ahead = [j for j in range(n) if j != i and lane[j] == lane[i] + offset and (s[j], j) > (s[i], i)]
            behind = [j for j in range(n) if j != i and lane[j] == lane[i] + offset and (s[j], j) < (s[i], i)]
            if ahead:
                near[2 * k, i] = min(ahead, key=lambda j: (s[j], j))
            if behind:
                near[2 * k + 1, i] = max(behind, key=lambda j: (s[j], j))
    return near


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([0.0, 5.1, 10.0, 5.1 + 1e-9, 77.5, 120.0, 249.0]) | st.floats(0, 250),
        ),
        max_size=24,
    )
)
def test_neighbours_equal_a_search_over_all_pairs(vehicles: list[tuple[int, float]]) -> None:
    lane = np.array([v[0] for v in vehicles], dtype=np.int32)
    s = np.array([v[1] for v in vehicles], dtype=float)
    np.testing.assert_array_equal(neighbours(s, lane, np.arange(len(s))), brute_force(s, lane))


@given(seed=st.integers(0, 2**32 - 1), vehicles=st.integers(1, 8))
def test_neighbours_that_are_kept_from_step_to_step_are_those_found_anew(seed: int, vehicles: int) -> None:
    random = np.random.default_rng(seed)
    kept, tie = Neighbours(), random.permutation(vehicles)
    s, lane = random.integers(0, 20, vehicles) * 1.0, random.integers(0, 4, vehicles).astype(np.int32)
    for _ in range(12):
        if random.random() < 0.1:  # somebody else is there now
            tie = random.permutation(vehicles)
        if random.random() < 0.3:
            lane = lane.copy()
            lane[random.integers(vehicles)] = random.integers(4)
        s = s + random.integers(0, 4, vehicles)
        assert np.array_equal(kept(s, lane, tie), neighbours(s, lane, tie))
