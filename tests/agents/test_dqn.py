"""common.dqn: its parts against closed forms, brute force and torch; its learning against a known solution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.common.dqn import DQN, DQNActor, DQNConfig
from agents.common.dqn_learner import DQNLearner
from agents.common.exploring import epsilon_greedy, greedy
from agents.common.networks import PerceptronNet, load_optimizer, module_arrays, optimizer_arrays, pick_device
from agents.common.perceptron import Inputs, Perceptron
from agents.common.replay import Replay
from agents.common.schedules import linear
from cosim.errors import AgentError, ScenarioError
from cosim.experiments.windows import make_window
from cosim.lockstep import Actions, ActionSpec, EpisodeInfo, Observations, RoleSpec
from cosim.lockstep.learner import Setup, Window, trainable
from cosim.lockstep.weights import read_policy, to_bytes
from cosim.randomness import entity_keys
from cosim.testing import check_agent
from cosim.testing.agents import DRIVING, driving_shared, questions


def info_of(width: int = 1, choices: int = 2) -> EpisodeInfo:
    role = RoleSpec("cav", width, ActionSpec(n=choices))
    return EpisodeInfo("test", "driving", 5, 0, 100_000, {"cav": role}, {})


# -- choosing ---------------------------------------------------------------------------------------------------


def test_epsilon_falls_in_a_line_and_stays() -> None:
    assert [linear(1.0, 0.05, 50_000, k) for k in (0, 25_000, 50_000, 60_000)] == [1.0, 0.525, 0.05, 0.05]
    assert linear(1.0, 0.2, 0, 0) == 0.2


@settings(max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 30))
def test_the_greedy_choice_is_the_best_of_the_allowed(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 9)).astype(np.float32)
    mask = rng.random((n, 9)) < 0.5
    mask[:, 4] = True
    got = greedy(scores, mask)
    for i in range(n):
        assert got[i] == max((a for a in range(9) if mask[i, a]), key=lambda a: scores[i, a])


def test_exploration_takes_each_allowed_choice_equally_often() -> None:
    n = 20_000
    keys = entity_keys([f"v{i}" for i in range(n)])
    scores = np.zeros((n, 4), np.float32)
    scores[:, 0] = 1.0
    mask = np.tile([True, True, False, True], (n, 1))
    got = epsilon_greedy(scores, mask, 0.3, keys, seed=1, t_us=100)
    share = np.bincount(got, minlength=4) / n
    # Standard error of a share is below .004.
    np.testing.assert_allclose(share, [0.7 + 0.1, 0.1, 0.0, 0.1], atol=0.015)
    assert (epsilon_greedy(scores, mask, 0.0, keys, 1, 100) == 0).all()


def test_what_a_vehicle_explores_depends_on_no_other_vehicle() -> None:
    ids = [f"v{i}" for i in range(200)]
    scores = np.random.default_rng(0).normal(size=(200, 9)).astype(np.float32)
    whole = epsilon_greedy(scores, None, 0.5, entity_keys(ids), 3, 700)
    some = np.arange(0, 200, 3)[::-1]
    part = epsilon_greedy(scores[some], None, 0.5, entity_keys([ids[i] for i in some]), 3, 700)
    assert (part == whole[some]).all()
    assert (epsilon_greedy(scores, None, 0.5, entity_keys(ids), 3, 800) != whole).any()
    assert (epsilon_greedy(scores, None, 0.5, entity_keys(ids), 4, 700) != whole).any()


# -- networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(5, 3), (45, 128, 128, 9)])
def test_the_numpy_network_gives_what_torch_gives(sizes: tuple[int, ...]) -> None:
    net = PerceptronNet(sizes, torch.Generator().manual_seed(0))
    x = np.random.default_rng(0).normal(size=(20, sizes[0])).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(Perceptron(module_arrays(net, "q"), "q")(x), expected, atol=1e-6)


def test_initial_weights_depend_on_their_generator_alone() -> None:
    def first() -> dict[str, Any]:
        torch.randn(3)
        return module_arrays(PerceptronNet((4, 8, 2), torch.Generator().manual_seed(3)), "q")

    one, two = first(), first()
    assert all((one[name] == two[name]).all() for name in one)
    assert np.abs(one["q.0.weight"]).max() <= 1 / np.sqrt(4)


def test_an_optimizer_goes_on_from_its_arrays_bit_for_bit() -> None:
    def make() -> tuple[PerceptronNet, torch.optim.Optimizer]:
        net = PerceptronNet((3, 4, 1), torch.Generator().manual_seed(0))
        return net, torch.optim.Adam(net.parameters(), lr=0.01, fused=True)

    def step(net: PerceptronNet, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        net(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()

    net, optimizer = make()
    step(net, optimizer)
    other, its = make()
    other.load_state_dict(net.state_dict())
    load_optimizer(its, optimizer_arrays(optimizer, "adam"), "adam")
    for _ in range(3):
        step(net, optimizer)
        step(other, its)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_inputs_are_scaled_and_whole_numbers_spelt_out() -> None:
    inputs = Inputs(3, divide=((1, 4.0),), one_hot=((2, 3), (1, 2)))
    got = inputs(np.array([[0.5, 1.0, 2.0], [0.25, 0.0, 0.0]], np.float32))
    assert got.tolist() == [[0.5, 0.25, 2, 0, 0, 1, 0, 1], [0.25, 0, 0, 1, 0, 0, 1, 0]]
    crossed = Inputs(3, divide=(), one_hot=((1, 2),), cross=((1, 2, 2, 3),))
    assert crossed(np.array([[0.5, 1.0, 2.0]], np.float32)).tolist() == [[0.5, 1, 2, 0, 1, 0, 0, 0, 0, 0, 1]]
    with pytest.raises(ValueError, match="column 3"):
        Inputs(3, divide=((3, 1.0),), one_hot=())


def test_cuda_without_a_device_is_an_error() -> None:
    if torch.cuda.is_available():
        assert pick_device("cuda").type == "cuda"
    else:
        with pytest.raises(ScenarioError, match="no CUDA device"):
            pick_device("cuda")
        assert pick_device("auto").type == "cpu"


# -- memory -----------------------------------------------------------------------------------------------------


def some_window(seed: int, steps: int = 10) -> Window:
    role = info_of(4, 9).roles["cav"]
    rng = np.random.default_rng(seed)
    asked = questions((role,), steps + 1, seed, driving_shared)
    answered = [Actions(rng.integers(0, 9, o.active)) for o in asked[:-1]]
    return make_window(0, info_of(4, 9), asked, answered)


def test_every_transition_sampled_is_one_that_was_added() -> None:
    windows = [some_window(seed) for seed in range(12)]
    size = max(len(w) for w in windows)
    replay = Replay(3 * size, 4, 9)  # the ring is overwritten several times
    for window in windows:
        replay.add(window, window.reward)
    known = {
        w.obs[i].tobytes(): (
            int(w.values[i]),
            np.float32(w.reward[i]),
            w.obs[w.next[i]].tobytes(),
            w.terminated[i],
        )
        for w in windows
        for i in np.flatnonzero(w.decided)
    }
    batch = replay.sample(np.random.default_rng(0), 2000)
    assert batch.usable.mean() > 0.6
    for k in np.flatnonzero(batch.usable):
        expected = known[batch.obs[k].tobytes()]
        got = (int(batch.action[k]), batch.reward[k], batch.next_obs[k].tobytes(), batch.done[k])
        assert got == expected


def test_a_memory_goes_on_from_its_state() -> None:
    one, two = Replay(200, 4, 9), Replay(200, 4, 9)
    for seed in range(9):
        one.add(some_window(seed), some_window(seed).reward)
    two.load(one.state())
    for memory in (one, two):
        memory.add(some_window(99), some_window(99).reward)
    a, b = (memory.sample(np.random.default_rng(1), 500) for memory in (one, two))
    np.testing.assert_array_equal(a.obs, b.obs)
    np.testing.assert_array_equal(a.next_obs, b.next_obs)
    with pytest.raises(ValueError, match="does not fit"):
        Replay(3, 4, 9).add(some_window(1), some_window(1).reward)


# -- learning ---------------------------------------------------------------------------------------------------

CONFIG = DQNConfig(
    hidden=(32,),
    gamma=0.5,
    learning_rate=0.01,
    batch=64,
    steps_per_update=1,
    learn_from=64,
    memory=1000,
    target_every=20,
    reward="team",
)


def corridor(learner_steps: int, seed: int) -> Window:
    """Windows of a corridor of three places: choice 1 goes on, 0 stays; going on from the last place pays 1 and ends.

    With gamma 1/2 the values are Q(x, 1) = 2^(x - 2) and Q(x, 0) = Q(x, 1) / 2.
    """
    rng = np.random.default_rng(seed)
    asked, answered = [], []
    place, walker, paid, left = 0, 0, 0.0, None
    for t in range(learner_steps + 1):
        names = (f"w{walker}", *([left] if left else []))
        rewards = np.array([0.0, paid] if left else [0.0])
        asked.append(
            Observations(
                t_us=t,
                role="cav",
                ids=names,
                obs=np.array([[place]] + ([[2.0]] if left else []), np.float32),
                mask=None,
                shared={},
                reward=rewards,
                terminated=np.arange(len(names)) >= 1,
                truncated=np.zeros(len(names), bool),
                active=1,
            )
        )
        if t == learner_steps:
            break
        choice = int(rng.integers(0, 2))
        answered.append(Actions(np.array([choice])))
        left, paid = None, 0.0
        if choice and place == 2:
            left, paid, place, walker = f"w{walker}", 1.0, 0, walker + 1
        else:
            place += choice
    return make_window(0, info_of(), asked, answered)


def test_values_of_a_corridor_are_learnt() -> None:
    config = CONFIG.model_copy(update={"one_hot": ((0, 3),)})
    learner = DQNLearner(Setup(info_of(), config, seed=0, steps=1200))
    for seed in range(12):
        learner.add([corridor(100, seed)])
        signals = learner.update()
    assert signals["updates"] > 1000
    net = Perceptron(learner.policy(), "q")
    places = Inputs(1, (), ((0, 3),))(np.array([[0], [1], [2]], np.float32))
    np.testing.assert_allclose(net(places), [[0.125, 0.25], [0.25, 0.5], [0.5, 1.0]], atol=0.03)


def test_a_learner_goes_on_from_its_state_bit_for_bit() -> None:
    def fresh() -> DQNLearner:
        return DQNLearner(Setup(info_of(), CONFIG, seed=0, steps=1000))

    one, two = fresh(), fresh()
    for seed in range(3):
        one.add([corridor(90, seed)])
        one.update()
    state = one.state()
    two.load(state)
    for seed in range(3, 6):
        signals = []
        for learner in (one, two):
            learner.add([corridor(90, seed)])
            signals.append(learner.update())
        assert signals[0] == signals[1]
        assert "td_loss" in signals[0]
    for name, array in one.state().arrays.items():
        np.testing.assert_array_equal(array, two.state().arrays[name])
    assert one.state().values == two.state().values


def test_the_last_row_of_a_window_teaches_nothing() -> None:
    """The settling instant ends one window and begins the next: it must be learnt from once."""
    window = corridor(5, 1)
    replay = Replay(1000, 1, 2)
    replay.add(window, window.reward)
    batch = replay.sample(np.random.default_rng(0), 400)
    assert batch.usable.mean() == pytest.approx(window.decided.sum() / len(window), abs=0.1)


def test_a_cost_of_choices_lowers_their_values() -> None:
    config = CONFIG.model_copy(update={"one_hot": ((0, 3),), "choice_cost": (0.0, 0.5)})
    learner = DQNLearner(Setup(info_of(), config, seed=0, steps=1200))
    for seed in range(12):
        learner.add([corridor(100, seed)])
        learner.update()
    net = Perceptron(learner.policy(), "q")
    last = net(Inputs(1, (), ((0, 3),))(np.array([[2]], np.float32)))
    assert last[0, 1] == pytest.approx(0.5, abs=0.03)  # 1 - .5
    with pytest.raises(ScenarioError, match="3 values for 2 choices"):
        DQNLearner(Setup(info_of(), CONFIG.model_copy(update={"choice_cost": (0.0,) * 3}), 0, 10))


def test_advantage_learning_widens_the_gap_between_choices() -> None:
    """The better choice keeps its value; the gap to the other grows to 1 / (1 - alpha) times what it was."""
    config = CONFIG.model_copy(update={"one_hot": ((0, 3),), "advantage": 0.5})
    learner = DQNLearner(Setup(info_of(), config, seed=0, steps=1200))
    for seed in range(12):
        learner.add([corridor(100, seed)])
        learner.update()
    net = Perceptron(learner.policy(), "q")
    values = net(Inputs(1, (), ((0, 3),))(np.array([[0], [1], [2]], np.float32)))
    np.testing.assert_allclose(values[:, 1], [0.25, 0.5, 1.0], atol=0.04)
    np.testing.assert_allclose(values[:, 1] - values[:, 0], [0.25, 0.5, 1.0], atol=0.06)


def test_own_rewards_must_be_there_if_they_are_asked_for() -> None:
    config = CONFIG.model_copy(update={"reward": "own"})
    learner = DQNLearner(Setup(info_of(), config, seed=0, steps=100))
    with pytest.raises(ScenarioError, match="own_reward"):
        learner.add([corridor(20, 0)])


def test_a_task_with_continuous_actions_is_refused() -> None:
    role = RoleSpec("cav", 38, ActionSpec(low=(-1.0,), high=(1.0,)))
    info = EpisodeInfo("test", "driving", 0, 0, 100_000, {"cav": role}, {})
    with pytest.raises(ScenarioError, match="discrete"):
        DQNActor(info, DQNConfig())


# -- the agent --------------------------------------------------------------------------------------------------


def policy_file(path: Path) -> Path:
    config = DQNConfig(hidden=(8,))
    info = EpisodeInfo("test", "driving", 0, 0, 100_000, {"cav": DRIVING}, {})
    weights = DQNLearner(Setup(info, config, 0, 10)).policy()
    path.write_bytes(to_bytes(weights, {"agent": "common.dqn", "config": config.model_dump(mode="json")}))
    return path


def test_the_agent_acts_from_a_policy_file(tmp_path: Path) -> None:
    file = policy_file(tmp_path / "p.safetensors")
    check_agent(lambda: DQN(file))


def test_equal_policies_are_equal_files(tmp_path: Path) -> None:
    one, two = policy_file(tmp_path / "a.safetensors"), policy_file(tmp_path / "b.safetensors")
    assert one.read_bytes() == two.read_bytes()
    assert read_policy(one).about["config"]["hidden"] == [8]


def test_a_file_that_is_no_policy_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    with pytest.raises(ScenarioError, match=r"bad\.safetensors: is no policy file"):
        DQN(bad)
    other = tmp_path / "other.safetensors"
    other.write_bytes(to_bytes({"q.0.weight": np.zeros((1, 1))}, {"agent": "mine.own"}))
    with pytest.raises(ScenarioError, match=r"weights of agent 'mine\.own', not of 'common\.dqn'"):
        DQN(other)


def test_weights_for_other_observations_are_refused(tmp_path: Path) -> None:
    agent = DQN(policy_file(tmp_path / "p.safetensors"))
    with pytest.raises(AgentError, match="38 inputs"):
        agent.reset(info_of(4, 9))


def test_weights_without_the_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.safetensors"
    file.write_bytes(to_bytes({"other.0.weight": np.zeros((1, 1))}, {"agent": "common.dqn"}))
    with pytest.raises(AgentError, match=r"common\.dqn: no layer 'q\.0\.weight' among other\.0\.weight"):
        DQN(file).reset(info_of(4, 9))


def test_dqn_is_trainable_and_the_random_agent_is_not() -> None:
    assert set(trainable("common.dqn").recipes) == {"default", "plain"}
    with pytest.raises(ScenarioError, match=r"'common\.random' cannot be trained"):
        trainable("common.random")
