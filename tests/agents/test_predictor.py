"""Trajectory prediction without training: windows, split, box, linear predictors, measures, workload, NumPy LSTM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.common.networks import module_arrays
from agents.hybrid_mappo.predictor import (
    Frame,
    LinearAr,
    Lstm,
    ar_bytes,
    constant_velocity,
    load,
    lstm_bytes,
    persistence,
)
from agents.hybrid_mappo.predictor.data import (
    PAST,
    Box,
    Windows,
    cut_windows,
    filled,
    in_training,
    split,
)
from agents.hybrid_mappo.predictor.net import PredictorNet
from agents.hybrid_mappo.predictor.scores import scores, table2
from agents.hybrid_mappo.workload import predicted_counts, predicted_load, predicted_station
from cosim.errors import ScenarioError
from cosim.lockstep.weights import to_bytes

Floats = NDArray[np.float64]
ROAD = Box.of([0.0, -200.0], [2490.0, 200.0])
SITES = np.array([[x, y] for y in (20.0, -20.0) for x in (415.0, 1245.0, 2075.0)])


def labelled(vehicles: int, rows: int) -> Floats:
    """Return positions (rows, vehicles, 2) that say which vehicle (y) and row (x) they are of."""
    xy = np.empty((rows, vehicles, 2))
    xy[..., 0] = np.arange(rows)[:, None]
    xy[..., 1] = np.arange(vehicles)
    return xy


def drive(vehicles: int, rows: int, seed: int = 0) -> Floats:
    """Return positions (rows, vehicles, 2) of vehicles that change speed at random, m."""
    rng = np.random.default_rng(seed)
    speed = np.clip(8.0 + np.cumsum(rng.normal(0.0, 1.0, (rows, vehicles)), axis=0), 0.0, 14.0)
    x = np.cumsum(speed, axis=0)
    return np.stack([x, np.where(rng.random(vehicles) < 0.5, 1.6, -1.6) + 0.0 * x], axis=-1)


# -- windows --


def test_a_window_is_twelve_positions_of_one_vehicle_and_the_next() -> None:
    windows = cut_windows(labelled(3, 20), ["a", "b", "c"], step_s=1.0, period_s=1.0)
    assert len(windows) == 3 * 8
    whole = np.concatenate([windows.past, windows.future[:, None]], axis=1)
    assert (np.diff(whole[..., 0], axis=1) == 1).all()
    assert (whole[..., 1] == whole[:, :1, 1]).all()
    assert [f"{'abc'[int(y)]}" for y in whole[:, 0, 1]] == windows.groups.tolist()


def test_coarser_windows_come_at_every_phase_asked_for() -> None:
    xy = labelled(1, 60)
    slots = cut_windows(xy, ["a"], step_s=1.0, period_s=4.0)
    assert slots.past[:, 0, 0].tolist() == [0, 4, 8]
    every = cut_windows(xy, ["a"], step_s=1.0, period_s=4.0, every_s=1.0)
    assert every.past[:, 0, 0].tolist() == list(range(12))
    assert (every.future[:, 0] - every.past[:, 0, 0] == 4 * PAST).all()


def test_no_window_spans_a_gap() -> None:
    xy = labelled(2, 40)
    xy[17, 1] = np.nan
    windows = cut_windows(xy, ["a", "b"], step_s=1.0, period_s=1.0)
    of_b = windows.where(windows.groups == "b")
    assert np.isfinite(windows.past).all()
    assert sorted(of_b.past[:, 0, 0].tolist()) == [*range(5), *range(18, 28)]


def test_tracks_too_short_give_no_window() -> None:
    assert len(cut_windows(labelled(2, 12), ["a", "b"], step_s=1.0, period_s=1.0)) == 0


@pytest.mark.parametrize(("period", "every"), [(2.5, None), (0.5, None), (10.0, 0.3)])
def test_times_that_do_not_fit_the_samples_are_refused(period: float, every: float | None) -> None:
    with pytest.raises(ScenarioError, match="whole multiple"):
        cut_windows(labelled(1, 40), ["a"], step_s=1.0, period_s=period, every_s=every)


# -- split --


def test_no_group_is_on_both_sides() -> None:
    names = [f"tape {k % 40}" for k in range(400)]
    windows = Windows(np.zeros((400, 12, 2)), np.zeros((400, 2)), np.array(names))
    train, test = split(windows, seed=3)
    assert len(train) + len(test) == 400
    assert not set(train.groups) & set(test.groups)


def test_three_quarters_of_many_groups_are_for_training() -> None:
    share = in_training([f"tape {k}" for k in range(4000)], seed=0).mean()
    assert share == pytest.approx(0.75, abs=0.03)


@given(st.sets(st.integers(0, 500), min_size=1), st.sets(st.integers(0, 500)), st.integers(0, 9))
def test_more_tapes_move_none_to_the_other_side(few: set[int], more: set[int], seed: int) -> None:
    names = [f"t {k}" for k in sorted(few)]
    both = [f"t {k}" for k in sorted(few | more)]
    before = dict(zip(names, in_training(names, seed), strict=True))
    after = dict(zip(both, in_training(both, seed), strict=True))
    assert all(before[name] == after[name] for name in names)


# -- box --


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=20))
def test_a_box_around_positions_maps_them_into_the_unit_square_and_back(
    points: list[tuple[float, float]],
) -> None:
    xy = np.array(points)
    box = Box.around(xy)
    shares = box.normalise(xy)
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    np.testing.assert_allclose(box.denormalise(shares), xy, atol=1e-8)


def test_a_box_without_height_divides_by_nothing() -> None:
    box = Box.around(np.array([[0.0, 7.0], [100.0, 7.0]]))
    np.testing.assert_array_equal(box.normalise(np.array([[50.0, 7.0]])), [[0.5, 0.0]])
    np.testing.assert_array_equal(box.denormalise(np.array([[0.5, 0.0]])), [[50.0, 7.0]])


@pytest.mark.parametrize("high", [[-1.0, 5.0], [np.nan, 5.0], [np.inf, 5.0]])
def test_a_box_that_is_none_is_refused(high: list[float]) -> None:
    with pytest.raises(ScenarioError, match="two finite corners"):
        Box.of([0.0, 0.0], high)


def test_a_box_around_nothing_is_refused() -> None:
    with pytest.raises(ScenarioError, match="no position"):
        Box.around(np.full((3, 2), np.nan))


# -- measures (the specification's oracle 9.7) --


def test_table2_of_three_predictions() -> None:
    true = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    said = np.array([[0.11, 0.19], [0.29, 0.43], [0.5, 0.58]])
    found = table2(true, said)
    assert found["mse"] == pytest.approx(2.666667e-4, rel=1e-6)
    assert found["mae"] == pytest.approx(0.0133333, rel=1e-5)
    assert found["r2"] == pytest.approx(0.99, rel=1e-9)
    assert found["medae"] == pytest.approx(0.015, rel=1e-9)
    assert found["r2_pooled"] == pytest.approx(1 - found["mse"] / true.var(axis=0).mean(), rel=1e-9)


def test_r2_of_a_coordinate_that_never_changes_is_no_number() -> None:
    true = np.array([[0.0, 1.0], [1.0, 1.0]])
    assert table2(true, true)["r2_pooled"] == 1.0
    assert np.isnan(table2(true, true)["r2_y"])
    assert table2(true, true)["r2_x"] == 1.0


def test_the_hit_rate_knows_the_side_of_the_road() -> None:
    true = np.array([[400.0, 3.0], [400.0, -3.0], [1240.0, 3.0], [2000.0, 3.0]])
    said = np.array([[410.0, 3.0], [400.0, 3.0], [1300.0, 3.0], [1600.0, 3.0]])
    assert scores(true, said, ROAD, SITES)["rsu_hit_rate"] == 0.5


# -- linear predictors --


def test_persistence_and_constant_velocity() -> None:
    history = np.arange(24, dtype=float).reshape(12, 2)
    assert persistence(history).tolist() == [22.0, 23.0]
    assert constant_velocity(history).tolist() == [24.0, 25.0]


def test_constant_velocity_of_a_vehicle_just_seen_is_where_it_is() -> None:
    history = np.full((12, 2), np.nan)
    history[-1] = 5.0, 1.0
    assert constant_velocity(history).tolist() == [5.0, 1.0]
    assert np.isnan(persistence(np.full((12, 2), np.nan))).all()


def test_the_autoregression_finds_a_linear_law() -> None:
    rng = np.random.default_rng(1)
    past = rng.uniform(0.0, 1000.0, (400, 12, 2))
    future = past[:, -1] * [1.5, 0.25] - 0.5 * past[:, 0, ::-1] + [30.0, -4.0]
    law = LinearAr.fit(Windows(past, future, np.array(["a"] * 400)), ROAD)
    fresh = rng.uniform(0.0, 1000.0, (3, 7, 12, 2))
    expected = fresh[..., -1, :] * [1.5, 0.25] - 0.5 * fresh[..., 0, ::-1] + [30.0, -4.0]
    np.testing.assert_allclose(law(fresh), expected, atol=1e-6)


def test_no_linear_predictor_of_its_windows_beats_the_autoregression() -> None:
    windows = cut_windows(drive(20, 300), ["a"] * 20, step_s=1.0, period_s=5.0)
    law = LinearAr.fit(windows, ROAD)
    box = ROAD.normalise
    mse = {
        name: table2(box(windows.future), box(predictor(windows.past)))["mse"]
        for name, predictor in (("ar", law), ("cv", constant_velocity), ("stay", persistence))
    }
    assert mse["ar"] < min(mse["cv"], mse["stay"])


# -- workload, eq (18) --


def test_a_vehicle_is_predicted_at_the_nearest_site_on_its_side() -> None:
    xy = np.array([[[400.0, 3.0], [900.0, -3.0], [2400.0, 1.6], [np.nan, np.nan]]])
    assert predicted_station(xy, SITES).tolist() == [[0, 4, 2, -1]]
    assert predicted_station(xy, SITES, reach=200.0).tolist() == [[0, -1, -1, -1]]


def test_workload_of_three_vehicles_by_hand() -> None:
    counts = predicted_counts(np.array([0, 0, 2]), 3)
    assert counts.tolist() == [[1, 0, 1], [1, 0, 1], [2, 0, 0]]
    load = predicted_load(np.array([5e9, 6e9, 7e9]), counts, zeta=10e9)
    assert (load / 1e9).tolist() == [[15, 6, 17], [15, 6, 17], [25, 6, 7]]


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=12))
def test_every_predicted_vehicle_is_counted_by_all_others(stations: list[int]) -> None:
    where = np.array(stations)
    counts = predicted_counts(where, 6)
    there = (where >= 0).sum()
    assert counts.sum(axis=1).tolist() == [there - (s >= 0) for s in stations]
    brute = [
        [sum(s == m for j, s in enumerate(stations) if j != i) for m in range(6)]
        for i in range(len(stations))
    ]
    assert counts.tolist() == brute


def test_batches_of_workload_are_as_one_by_one() -> None:
    where = np.random.default_rng(0).integers(-1, 6, (4, 3, 10))
    whole = predicted_counts(where, 6)
    assert whole.shape == (4, 3, 10, 6)
    assert (whole[2, 1] == predicted_counts(where[2, 1], 6)).all()


# -- the network --


def net(inputs: int = 2, hidden: int = 256, *, relu: bool = True) -> PredictorNet:
    generator = torch.Generator().manual_seed(5)
    return PredictorNet(inputs, hidden, relu=relu, bias=0.5, dropout=0.05, generator=generator)


def test_the_network_has_the_parameters_of_the_paper() -> None:
    paper = net()
    assert paper.learnt() == 791_042
    assert sum(p.numel() for p in paper.parameters()) == 793_090


def test_without_dropout_the_network_is_torchs_own_two_layer_lstm() -> None:
    ours = net(hidden=16)
    theirs = torch.nn.LSTM(2, 16, 2)
    weights = dict(ours.named_parameters())
    with torch.no_grad():
        for layer, name in enumerate(("first", "second")):
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(theirs, f"{part}_l{layer}").copy_(weights[f"{name}.{part}_l0"])
        past = torch.rand((7, 12, 2), generator=torch.Generator().manual_seed(0))
        expected = torch.relu(ours.dense(theirs(past.transpose(0, 1))[0][-1]))
        torch.testing.assert_close(ours(past), expected)


def test_dropout_leaves_out_a_twentieth_and_depends_on_its_generator_alone() -> None:
    ours = net(hidden=16)
    past = torch.rand((64, 12, 2), generator=torch.Generator().manual_seed(0))
    one, again, other = (ours(past, torch.Generator().manual_seed(k)) for k in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float((one - ours(past)).detach().abs().mean()) < 0.05


@pytest.mark.parametrize("target", ["position", "displacement"])
def test_numpy_predicts_what_torch_does(target: str) -> None:
    windows = cut_windows(drive(5, 300), ["a"] * 5, step_s=1.0, period_s=5.0)
    frame = Frame.of(target, ROAD, windows.past, windows.future)
    torch_net = net(frame.inputs, 32, relu=target == "position")
    with torch.no_grad():
        said = torch_net(torch.from_numpy(frame.shown(windows.past))).numpy()
    ours = Lstm(module_arrays(torch_net, "net"), frame)
    np.testing.assert_allclose(ours(windows.past), frame.meant(windows.past, said), atol=2e-3)


def test_a_batch_is_predicted_as_its_rows(tmp_path: Path) -> None:
    windows = cut_windows(drive(5, 400), ["a"] * 5, step_s=1.0, period_s=5.0, every_s=1.0)
    ours = Lstm(module_arrays(net(hidden=8), "net"), Frame.of("position", ROAD, windows.past, windows.future))
    history = windows.past[:1200].reshape(4, 300, 12, 2)
    whole = ours(history)
    assert whole.shape == (4, 300, 2)
    np.testing.assert_allclose(whole[1, 7], ours(history[1, 7]), atol=1e-3)
    assert ours(np.empty((0, 12, 2))).shape == (0, 2)


def test_the_frame_gives_back_the_true_position_for_the_right_answer() -> None:
    windows = cut_windows(drive(5, 300), ["a"] * 5, step_s=1.0, period_s=5.0)
    for target in ("position", "displacement"):
        frame = Frame.of(target, ROAD, windows.past, windows.future)
        answer = frame.wanted(windows.past, windows.future)
        np.testing.assert_allclose(frame.meant(windows.past, answer), windows.future, atol=1e-3)
        assert Frame.described(frame.describe()).describe() == frame.describe()


def test_an_unknown_beginning_counts_as_standing() -> None:
    history = np.full((2, 12, 2), np.nan)
    history[0, 9:] = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]
    done = filled(history)
    assert done[0, :, 0].tolist() == [1.0] * 10 + [2.0, 3.0]
    assert np.isnan(done[1]).all()
    known = labelled(1, 12)[:, 0]
    np.testing.assert_array_equal(filled(known), known)


# -- files --


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    windows = cut_windows(drive(5, 300), ["a"] * 5, step_s=1.0, period_s=5.0)
    frame = Frame.of("displacement", ROAD, windows.past, windows.future)
    weights = module_arrays(net(frame.inputs, 32, relu=False), "net")
    (tmp_path / "one.safetensors").write_bytes(lstm_bytes(weights, frame, {"period_s": 5.0}))
    found = load(tmp_path / "one.safetensors")
    np.testing.assert_allclose(found(windows.past), Lstm(weights, frame)(windows.past), atol=0.2)
    law = LinearAr.fit(windows, ROAD)
    (tmp_path / "two.safetensors").write_bytes(ar_bytes(law, {}))
    np.testing.assert_array_equal(load(tmp_path / "two.safetensors")(windows.past), law(windows.past))


def test_the_paper_s_network_takes_less_than_two_megabytes() -> None:
    frame = Frame.of("position", ROAD, np.zeros((1, 12, 2)), np.zeros((1, 2)))
    assert len(lstm_bytes(module_arrays(net(), "net"), frame, {})) < 2e6


def test_predictors_without_weights_have_names() -> None:
    assert load("persistence") is persistence
    assert load("constant_velocity") is constant_velocity


def test_a_predictor_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="persistence"):
        load("persistance")
    other = tmp_path / "policy.safetensors"
    other.write_bytes(to_bytes({}, {"agent": "tpe_marl.qmix"}))
    with pytest.raises(ScenarioError, match=r"tpe_marl\.qmix"):
        load(other)
    short = tmp_path / "short.safetensors"
    frame = Frame.of("position", ROAD, np.zeros((1, 12, 2)), np.zeros((1, 2)))
    short.write_bytes(lstm_bytes({"net.first.weight_ih_l0": np.zeros((4, 2))}, frame, {}))
    with pytest.raises(ScenarioError, match="no predictor weights"):
        load(short)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ScenarioError, match="displacement"):
        Frame.of("displacment", ROAD, np.zeros((1, 12, 2)), np.zeros((1, 2)))
