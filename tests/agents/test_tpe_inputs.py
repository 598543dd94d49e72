"""What the networks are shown: input rows, states, and the past of each vehicle in a window."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from agents.common.perceptron import Inputs
from agents.tpe_marl.inputs import (
    NO_ACTION,
    agent_inputs,
    gather_history,
    history,
    slot_state,
    topology_state,
    traffic_state,
)


def test_an_input_row_is_observation_last_action_and_inflow() -> None:
    obs = np.random.default_rng(0).random((3, 38), dtype=np.float32)
    inflow = np.arange(8, dtype=np.float32)
    rows = agent_inputs(obs, np.array([4, NO_ACTION, 8]), inflow)
    assert rows.shape == (3, 55)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, :38], obs)
    np.testing.assert_array_equal(rows[:, 38:47], [np.eye(9)[4], np.zeros(9), np.eye(9)[8]])
    np.testing.assert_array_equal(rows[:, 47:], np.tile(inflow, (3, 1)))


def test_an_input_row_can_be_spelt_out_and_leave_the_inflow_out() -> None:
    obs = np.zeros((2, 38), dtype=np.float32)
    obs[:, 1], obs[:, 4] = [3, 1], [0, 2]
    prepare = Inputs(38, [(1, 3.0), (4, 2.0)], [(1, 4), (4, 3)])
    rows = agent_inputs(obs, np.array([0, NO_ACTION]), None, prepare)
    assert rows.shape == (2, 38 + 7 + 9)
    np.testing.assert_array_equal(rows[0, 38:45], [0, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(rows[1, 38:45], [0, 1, 0, 0, 0, 0, 1])
    assert rows[0, 1] == 1.0
    assert rows[0, 45] == 1.0
    assert agent_inputs(obs[:0], np.empty(0, np.int64), np.zeros((0, 8), np.float32), prepare).shape == (
        0,
        62,
    )


def test_the_traffic_of_an_instant_is_inflow_numbers_and_mean_speed() -> None:
    inflow = np.arange(24, dtype=np.float32).reshape(3, 8)
    features = np.zeros((4, 8), dtype=np.float32)
    features[:, 2] = [10 / 25, 20 / 25, 5 / 25, 7 / 25]
    features[:, 3] = [1, 0, 1, 1]
    state = traffic_state(inflow, features, np.array([0, 0, 0, 2]))
    np.testing.assert_array_equal(state[:, :8], inflow)
    np.testing.assert_allclose(state[0, 8:], [2 / 25, 1 / 25, (35 / 3) / 20], rtol=1e-6)
    np.testing.assert_array_equal(state[1, 8:], 0)
    np.testing.assert_allclose(state[2, 8:], [1 / 25, 0, 7 / 20], rtol=1e-6)


def test_states_have_the_papers_sizes_and_show_nothing_of_empty_slots() -> None:
    traffic = np.ones((4, 11), dtype=np.float32)
    assert topology_state(np.zeros((4, 100), np.float32), traffic).shape == (4, 111)
    alive = np.random.default_rng(0).random((4, 25)) < 0.3
    features = np.random.default_rng(1).random((4, 25, 8), dtype=np.float32)
    plain = slot_state(features, alive, traffic)
    assert plain.shape == (4, 211)
    cells = plain[:, :200].reshape(4, 25, 8)
    np.testing.assert_array_equal(cells[alive], features[alive])
    assert not cells[~alive].any()
    features[~alive] = np.nan
    np.testing.assert_array_equal(slot_state(features, alive, traffic), plain)
    scaled = slot_state(features, alive, traffic, scaled=True)[:, :200].reshape(4, 25, 8)
    np.testing.assert_allclose(scaled[alive], features[alive] / [1, 3, 1, 1, 2, 10, 10, 10], rtol=1e-6)


def test_the_past_of_a_row_follows_its_vehicle_back_through_the_window() -> None:
    # Instants (a b), (b a), (a), (c a): b left after the second instant (its last view is row 5).
    following = np.array([3, 2, 5, 4, 7, -1, -1, -1])
    decided = np.array([True, True, True, True, True, False, False, False])
    past = history(following, decided, 3)
    expected = [
        [0, -1, -1],
        [1, -1, -1],
        [1, 2, -1],
        [0, 3, -1],
        [0, 3, 4],
        [1, 2, 5],
        [6, -1, -1],
        [3, 4, 7],
    ]
    assert past.tolist() == expected
    rows, count = gather_history(np.arange(16, dtype=np.float32).reshape(8, 2), past)
    assert count.tolist() == [1, 1, 2, 2, 3, 3, 1, 3]
    assert rows[3].tolist() == [[0, 1], [6, 7], [0, 0]]
    assert rows[4, :, 0].tolist() == [0, 6, 8]
    assert history(following[:0], decided[:0], 3).shape == (0, 3)


def test_acting_needs_no_torch() -> None:
    parts = ["topology", "visits", "heatmap", "inputs", "graph_policy"]
    names = [f"agents.tpe_marl.{part}" for part in parts]
    names += [f"agents.common.{part}" for part in ("recurrent_policy", "sampling")]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
