"""Regions, masks, draws, observations and tapes of the migration task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosim.errors import RecordingError
from cosim.randomness import entity_keys
from cosim.tasks.migration import (
    OBSERVATIONS,
    Layout,
    MobilityTape,
    Ranges,
    TapeBatch,
    action_mask,
    decide,
    draw_parameters,
    draw_tasks,
    load_tape,
    observation_length,
    observation_names,
    remaining_distance,
    residence_time,
    save_tape,
    serving_station,
    station_ahead,
    vehicle_order,
)

URBAN = Layout(
    tuple(f"rsu_{i}" for i in range(6)),
    np.array([[x, y] for y in (20.0, -20.0) for x in (415.0, 1245.0, 2075.0)]),
    np.array([[0.0, -208.0], [2490.0, 208.0]]),
)
ANGLES = np.radians(np.arange(4) * 90.0)
RADIUS = 6000 / (2 * np.pi)
RING = Layout(
    tuple(f"rsu_{i}" for i in range(4)),
    RADIUS * np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]),
    np.array([[-1000.0, -1000.0], [1000.0, 1000.0]]),
    reach=500.0,
    remote=True,
)
EAST, WEST = 90.0, 270.0


def test_the_nearest_rsu_serves_and_the_driving_side_decides():
    xy = np.array([[400.0, 3.0], [400.0, -3.0], [829.0, 3.0], [831.0, 3.0], [2490.0, -1.0]])
    assert serving_station(URBAN, xy).tolist() == [0, 3, 0, 1, 5]


def test_a_region_is_830_m_of_road_in_both_directions():
    xy = np.array([[100.0, -3.0], [100.0, 3.0], [900.0, -3.0], [900.0, 3.0], [2400.0, -3.0], [2400.0, 3.0]])
    heading = np.array([EAST, WEST] * 3)
    left = remaining_distance(URBAN, xy, heading, serving_station(URBAN, xy))
    # The borders to the RSUs across the road lean by 40 m over 830 m: less than half a metre off.
    assert left == pytest.approx([730, 100, 760, 70, 90, 740], abs=0.5)


def test_residence_time_has_a_least_speed_and_a_cap():
    assert residence_time(np.array([500.0, 500.0, 800.0]), np.array([10.0, 0.2, 0.0])).tolist() == [
        50,
        500,
        600,
    ]


def test_a_coverage_circle_ends_where_it_does():
    layout = replace(RING, xy=np.array([[0.0, 0.0], [5000, 0], [9000, 0], [9900, 0]]), box=RING.box * 99)
    xy = np.array([[-500.0, 0.0], [-300.0, 400.0], [100.0, 300.0], [600.0, 0.0]])
    serving = serving_station(layout, xy)
    assert serving.tolist() == [0, 0, 0, -1]
    left = remaining_distance(layout, xy, np.full(4, EAST), serving)
    assert left == pytest.approx([1000.0, 600.0, 300.0, 0.0])


def test_the_next_rsu_of_a_ring_is_the_one_ahead():
    theta = np.radians(np.array([-25.0, 0.1, 25.0, 80.0, 200.0]))
    xy = RADIUS * np.column_stack([np.cos(theta), np.sin(theta)])
    heading = (90.0 - (np.degrees(theta) + 90.0)) % 360.0  # counter-clockwise, in SUMO's degrees
    serving = serving_station(RING, xy)
    assert serving.tolist() == [0, 0, 0, 1, 2]
    assert station_ahead(RING, xy, heading, serving).tolist() == [1, 1, 1, 2, 3]
    assert station_ahead(RING, xy, (heading + 180) % 360, serving).tolist() == [3, 3, 3, 0, 1]


def test_the_serving_rsu_is_never_open_and_never_chosen():
    serving = np.arange(6)[None, :]
    mask = action_mask(URBAN, serving, np.full((1, 6), -1))
    assert (~mask).sum() == 6
    target, share = decide(URBAN, serving, np.full((1, 6), 0.7), serving, np.full((1, 6), -1), mask)
    assert np.array_equal(target, serving)
    assert not share.any()


def test_remote_choices_are_stay_and_ahead_and_a_gap_leaves_only_one():
    serving, ahead = np.array([[0, 0, -1, 2]]), np.array([[1, -1, 1, 3]])
    mask = action_mask(RING, serving, ahead)
    assert mask.tolist() == [[[True, True], [True, False], [True, False], [True, True]]]
    target, share = decide(RING, np.array([[1, 1, 1, 0]]), np.full((1, 4), 0.5), serving, ahead, mask)
    assert target.tolist() == [[1, 0, 0, 2]]
    assert share.tolist() == [[0.5, 0, 0, 0]]


def test_vehicles_are_numbered_by_name_with_digits_as_numbers():
    assert vehicle_order(["w.10", "w.9", "e.2", "e.11", "7"]) == ["7", "e.2", "e.11", "w.9", "w.10"]


def test_draws_do_not_depend_on_who_else_is_there():
    keys = entity_keys(("a", "b", "c"))
    slots = np.arange(5)
    alone = draw_tasks(Ranges(), [3], [0], slots, keys[None, 1:2])
    all_ = draw_tasks(Ranges(), [9, 3], [4, 0], slots, np.stack([keys, keys]))
    later = draw_tasks(Ranges(), [3], [0], slots[3:4], keys[None])
    for one, many, late in zip(alone, all_, later, strict=True):
        assert np.array_equal(one[0, :, 0], many[1, :, 1])
        assert np.array_equal(late[0, 0], many[1, 3])
        assert not np.array_equal(many[0], many[1])
    few = draw_parameters(Ranges(), [3], [0], ("r1", "r0"))
    more = draw_parameters(Ranges(), [8, 3], [0, 0], ("r0", "r1", "r2"))
    assert few.cpu[0].tolist() == more.cpu[1, [1, 0]].tolist()
    assert few.migration[0, 0, 1] == more.migration[1, 0, 1] == more.migration[1, 1, 0]


def test_draws_fill_their_ranges_evenly():
    keys = np.tile(entity_keys(tuple(f"v.{i}" for i in range(10))), (200, 1))
    _, tasks = draw_tasks(Ranges(), list(range(200)), [0] * 200, np.arange(41), keys)
    scaled = (tasks / 8e6 - 50) / 200
    assert 0 < scaled.min() < 1e-4
    assert 1 - 1e-4 < scaled.max() < 1
    assert scaled.mean() == pytest.approx(0.5, abs=0.005)
    assert scaled.std() == pytest.approx(12**-0.5, abs=0.003)


def tape(seed=1, slots=53, vehicles=10, layout=URBAN):
    """Vehicles that go to and fro on the urban road, as a tape."""
    rng = np.random.default_rng(seed)
    shape = (slots, vehicles)
    speed = rng.uniform(5, 14, vehicles)
    way = (rng.uniform(0, 4980, vehicles) + np.arange(slots)[:, None] * 20 * speed) % 4980
    east = way < 2490
    xy = np.stack([np.where(east, way, 4980 - way), np.where(east, -3.0, 3.0)], axis=-1)
    heading = np.where(east, EAST, WEST)
    serving = serving_station(layout, xy)
    return MobilityTape(
        layout, tuple(f"v.{i}" for i in range(vehicles)), seed, xy, np.broadcast_to(speed, shape).copy(),
        remaining_distance(layout, xy, heading, serving), serving, station_ahead(layout, xy, heading, serving),
        track=xy, start=320.0, scenario="to and fro",
    )  # fmt: skip


def test_a_tape_comes_back_as_it_was_saved(tmp_path):
    one = tape()
    save_tape(one, tmp_path / "one.npz")
    again = load_tape(tmp_path / "one.npz")
    for name in ("xy", "speed", "remaining", "serving", "ahead", "track"):
        assert np.array_equal(getattr(one, name), getattr(again, name))
    assert (again.seed, again.vehicles, again.start, again.decisions) == (1, one.vehicles, 320.0, 41)
    assert again.layout.ids == URBAN.ids
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(RecordingError, match="no mobility tape"):
        load_tape(tmp_path / "no.npz")


def test_tapes_of_different_shape_are_refused():
    with pytest.raises(RecordingError, match="differs from tape 0 in its shape"):
        TapeBatch([tape(), tape(2, slots=50)])


def test_observations_have_the_lengths_of_the_spec():
    assert [observation_length(kind, 6, 10) for kind in OBSERVATIONS] == [9, 19, 47, 59]
    batch = TapeBatch([tape(1), tape(2)])
    for kind in OBSERVATIONS:
        seen = batch.observe(kind)
        assert seen.shape == (2, 10, len(observation_names(kind, 6, 10)))
        assert np.isfinite(seen).all()
        assert seen.min() > -0.01
        assert seen.max() < 12


def test_loads_as_they_are_give_the_same_observation_as_none():
    batch = TapeBatch([tape(1), tape(2)])
    loads = np.repeat(batch.slot.queue[:, None, :], 10, axis=1)
    for kind in OBSERVATIONS:
        assert np.array_equal(batch.observe(kind), batch.observe(kind, loads))
        other = batch.observe(kind, loads + 1e10)
        assert (other != batch.observe(kind)).any()


def test_eq_19_shows_the_own_load_first():
    batch = TapeBatch([tape(1)])
    slot = batch.slot
    seen = batch.observe("paper")[0, :, 2:8]
    for v, m in enumerate(slot.serving[0]):
        rest = [j for j in range(6) if j != m]
        assert seen[v] == pytest.approx(slot.queue[0, [m, *rest]] / 300e9, rel=1e-6)
    assert batch.observe("pilot")[0, 0, 2:8] == pytest.approx(slot.queue[0] / 300e9, rel=1e-6)


def test_an_episode_does_not_depend_on_the_batch_it_is_in():
    tapes = [tape(s) for s in (1, 2, 3)]
    rng = np.random.default_rng(0)
    wide, alone = TapeBatch(tapes), TapeBatch([tapes[2]])
    wide.start([0, 2, 1, 2], draws=[0, 5, 0, 1])
    alone.start([0], draws=[5])
    while not wide.over:
        assert np.array_equal(wide.observe("own_latency")[1], alone.observe("own_latency")[0])
        assert np.array_equal(wide.history[1], alone.history[0])
        choice, share = rng.integers(0, 6, (4, 10)), rng.uniform(0, 1, (4, 10))
        one, other = wide.step(choice, share), alone.step(choice[1:2], share[1:2])
        assert np.array_equal(one.reward[1], other.reward[0])
    assert alone.over
    assert wide.slot.t == 41


def test_history_holds_the_twelve_slots_before_the_decision():
    one = tape()
    batch = TapeBatch([one])
    batch.step(np.zeros((1, 10), dtype=np.int64), np.zeros((1, 10)))
    assert np.array_equal(batch.history[0], one.xy[1:13].transpose(1, 0, 2))
    assert np.array_equal(batch.slot.xy[0], one.xy[13])
