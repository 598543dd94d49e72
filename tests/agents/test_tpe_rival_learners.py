"""The learners of the rivals GAT-MADQN, MAPPO and MADDPG: their memory, acting, and saving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tpe_windows import info_of, some_questions

from agents.common.ppo import masked_log_probabilities
from agents.common.recurrent import Stays
from agents.common.td import chosen
from agents.common.window_memory import Pick, WindowMemory, gather
from agents.tpe_marl.actor_critic import as_known
from agents.tpe_marl.gat import Edges
from agents.tpe_marl.gat_agent import GatActor, GatConfig, GatMadqn
from agents.tpe_marl.gat_learner import GatLearner, edges_of, graph_batch, graph_rows
from agents.tpe_marl.maddpg_agent import Maddpg, MaddpgConfig, held_back
from agents.tpe_marl.maddpg_learner import MaddpgLearner
from agents.tpe_marl.mappo_agent import Mappo, MappoConfig
from agents.tpe_marl.mappo_learner import MappoLearner
from agents.tpe_marl.qmix_agent import Qmix, TpeQmix
from cosim.errors import ScenarioError
from cosim.experiments.windows import make_window
from cosim.lockstep import Actions, ActionSpec, EpisodeInfo, Observations, RoleSpec
from cosim.lockstep.learner import Setup, Window, trainable
from cosim.lockstep.weights import to_bytes
from cosim.randomness import entity_keys
from cosim.testing import check_agent
from cosim.testing.agents import driving_shared, questions

# -- graphs -----------------------------------------------------------------------------------------------------


def zone_questions(count: int, seed: int) -> list[Observations]:
    """Questions whose zone holds the vehicles asked, in another order, and some that are not."""
    rng, out = np.random.default_rng(seed), []
    for o in some_questions(count, seed):
        ids = [*o.ids[: o.active], *(f"human_{i}" for i in range(rng.integers(0, 3)))]
        order = rng.permutation(len(ids))
        others = rng.random((len(ids) - o.active, 8), dtype=np.float32)
        zone = {
            "zone_ids": entity_keys([ids[i] for i in order]),
            "zone_features": np.concatenate([o.obs[: o.active, :8], others])[order],
            "own_reward": o.reward * 2,
        }
        out.append(replace(o, shared={**o.shared, **zone}, truncated=np.zeros(len(o), dtype=np.bool_)))
    return out


def zone_window(actor: Any, seed: int, steps: int = 30, explore: bool = True) -> Window:
    info = info_of(seed)
    actor.reset(info)
    asked = zone_questions(steps + 1, seed)
    return make_window(0, info, asked, [actor.act(o, explore) for o in asked[:-1]])


GAT_SMALL: dict[str, Any] = {"batch": 8, "learn_from": 40, "memory": 3, "steps_per_update": 5}


def gat_learner(**settings: Any) -> GatLearner:
    return GatLearner(Setup(info_of(), GatConfig(**{**GAT_SMALL, **settings}), seed=0, steps=1000))


def test_every_decision_of_a_graph_is_one_of_the_window() -> None:
    window = zone_window(gat_learner(), 1)
    plain = {"reward_shift": 0, "reward_scale": 1, "lane_change_cost": 2, "guard": False}
    held = graph_rows(window, GatConfig(**plain, divide=(), one_hot=(), cross=()))
    memory = WindowMemory(1)
    memory.add(held)
    own = window.shared["own_reward"].values
    known: dict[bytes, tuple[Any, ...]] = {}
    for i in np.flatnonzero(window.decided & (window.next >= 0)):
        assert window.mask is not None
        after, ends, did = int(window.next[i]), bool(window.terminated[i]), int(window.values[i])
        then = None if ends else (window.obs[after, :8].tobytes(), window.mask[after].tolist())
        known[window.obs[i, :8].tobytes()] = (did, own[after] - 2 * (did // 3 != 1), ends, then)
    names = ("features", "decided", "action", "reward", "ahead", "allowed", "terminated")
    draw = gather(memory.picks(np.random.default_rng(0), 100, 2), names, ())
    features, edges, later, _, at, next_at, action, reward, allowed, ended = graph_batch(draw)
    assert len(at) > 100
    assert 0 < ended.sum() < len(at)
    assert len(features) < len(edges[0]) == len(edges[1]) == len(edges[2])
    for k in range(len(at)):
        then = None if ended[k] else (later[next_at[k]].tobytes(), allowed[k].tolist())
        did, paid, ends, followed = known[features[at[k]].tobytes()]
        assert (did, ends, followed) == (action[k], ended[k], then)
        assert paid == pytest.approx(reward[k], abs=1e-6)


def test_the_graph_actor_chooses_as_the_learners_network() -> None:
    learner = gat_learner()
    actor = GatActor(info_of(), learner._config)
    actor.load_policy(learner.policy())
    window = zone_window(actor, 3, explore=False)
    held = graph_rows(window, GatConfig())
    decided = 0
    for t in range(window.steps):
        rows = slice(int(held.first[t]), int(held.first[t + 1]))
        features = held.rows["features"][rows]
        if not len(features):
            continue
        edges = edges_of(features, np.zeros(len(features), dtype=np.int64), np.array([0]))
        with torch.no_grad():
            q = learner._average(torch.from_numpy(features), Edges(*map(torch.from_numpy, edges)))
        q = q.masked_fill(~torch.from_numpy(held.rows["allowed"][rows]), -torch.inf)
        taken = torch.from_numpy(held.rows["action"][rows].astype(np.int64))
        did = torch.from_numpy(held.rows["decided"][rows])
        decided += int(did.sum())
        torch.testing.assert_close(chosen(q, taken)[did], q.max(dim=1).values[did], atol=1e-5, rtol=0)
    assert decided > 50


@pytest.mark.parametrize("settings", [{}, {"reward": "team", "huber": None, "relative": False}])
def test_the_graph_learner_goes_on_from_its_state_bit_for_bit(settings: dict[str, Any]) -> None:
    one, two = gat_learner(**settings), gat_learner(**settings)
    windows = [zone_window(one, seed) for seed in range(7)]
    for window in windows[:4]:
        one.add([window])
        one.update()
    two.load(one.state())
    for window in windows[4:]:
        signals = []
        for learner in (one, two):
            learner.add([window])
            signals.append(learner.update())
        assert signals[0] == signals[1]
        assert signals[0]["td_loss"] > 0
    for name, array in one.state().arrays.items():
        np.testing.assert_array_equal(array, two.state().arrays[name], err_msg=name)


def test_the_graph_agent_acts_from_a_policy_file(tmp_path: Path) -> None:
    file = tmp_path / "p.safetensors"
    about = {"agent": GatMadqn.name, "config": GatConfig().model_dump(mode="json")}
    file.write_bytes(to_bytes(gat_learner().policy(), about))
    check_agent(lambda: GatMadqn(file))
    assert set(trainable(GatMadqn.name).recipes) == {"default", "recipe", "literal"}


# -- MAPPO ------------------------------------------------------------------------------------------------------


def own_window(actor: Any, seed: int, steps: int = 30) -> Window:
    """A window of driving-like questions with everybody's own reward."""
    info = info_of(seed)
    actor.reset(info)
    asked = [
        replace(
            o,
            truncated=np.zeros(len(o), dtype=np.bool_),
            shared={**o.shared, "own_reward": np.arange(len(o)) + o.reward},
        )
        for o in some_questions(steps + 1, seed)
    ]
    return make_window(0, info, asked, [actor.act(o, True) for o in asked[:-1]])


def mappo_learner(**settings: Any) -> MappoLearner:
    config = MappoConfig(**{"hidden": 16, "batch": 2, "minibatch": 1, "epochs": 2, **settings})
    return MappoLearner(Setup(info_of(), config, seed=0, steps=1000))


@pytest.mark.parametrize(("recurrent", "inflow"), [(False, False), (True, False), (True, True)])
def test_what_the_actor_noted_is_the_learners_probability(recurrent: bool, inflow: bool) -> None:
    learner = mappo_learner(recurrent=recurrent, inflow=inflow)
    window = own_window(learner, 5)
    learner.add([window])
    held = list(learner._memory)
    batch = learner._batch(held, learner._graded(held))
    assert batch is not None
    with torch.no_grad():
        if recurrent:
            scores = learner._net(batch.inputs, Stays.of_grid(batch.alive, batch.entered))
        else:
            scores = learner._net(batch.inputs)
    found = chosen(masked_log_probabilities(scores, batch.allowed), batch.action)
    assert len(found) > 50
    np.testing.assert_allclose(found.numpy(), batch.log_prob.numpy(), atol=1e-5)


def test_each_decision_is_graded_by_what_its_vehicle_gets() -> None:
    learner = mappo_learner(gamma=0.8, gae=0.7, reward_shift=0.5, reward_scale=2.0, lane_change_cost=3.0)
    window = own_window(learner, 6)
    learner.add([window])
    (graded,) = learner._graded(list(learner._memory))
    slot = window.slots(25)
    rows = [i for i in np.lexsort((slot, window.instants())) if slot[i] >= 0]
    held = next(iter(learner._memory))
    with torch.no_grad():
        draw = gather(
            [Pick(held, 0, len(held))], ("inputs", "slot", "features"), ("reward", "changes", "traffic")
        )
        state = learner._state(draw)[0][draw.cell]
        seen = torch.from_numpy(np.concatenate([draw.rows["inputs"], state], axis=1))
        value = dict(zip(rows, learner._critic(seen).squeeze(-1).tolist(), strict=True))
    own = window.shared["own_reward"].values
    advantage: dict[int, float] = {}
    for i in sorted(value, key=lambda i: -window.t_us[window.instants()[i]]):
        after = int(window.next[i])
        if not window.decided[i]:
            continue
        goes_on = after in value
        reward = (own[after] + 0.5) * 2.0 - 3.0 * (window.values[i] // 3 != 1)
        delta = reward + 0.8 * (value[after] if goes_on else 0.0) - value[i]
        advantage[i] = delta + 0.56 * (advantage.get(after, 0.0) if goes_on else 0.0)
    decided = [i for i in rows if window.decided[i]]
    expected = np.array([advantage[i] for i in decided])
    assert len(expected) > 50
    np.testing.assert_allclose(graded.returns, expected + [value[i] for i in decided], atol=1e-3)
    scaled = (expected - expected.mean()) / expected.std(ddof=1)
    np.testing.assert_allclose(graded.advantage, scaled, atol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [{}, {"recurrent": True}, {"recurrent": True, "critic": "team", "reward": "team", "critic_batch": 0}],
)
def test_the_mappo_learner_goes_on_from_its_state_bit_for_bit(settings: dict[str, Any]) -> None:
    one, two = mappo_learner(**settings), mappo_learner(**settings)
    windows = [own_window(one, seed) for seed in range(7)]
    for window in windows[:3]:
        one.add([window])
        one.update()
    two.load(one.state())
    for window in windows[3:]:
        signals = []
        for learner in (one, two):
            learner.add([window])
            signals.append(learner.update())
        assert signals[0] == signals[1]
        if signals[0]["memory_windows"] == 2:
            assert {"policy_loss", "value_loss", "entropy", "clipped", "gradient_norm"} <= set(signals[0])
    assert one.state().values["updates"] >= 6
    for name, array in one.state().arrays.items():
        np.testing.assert_array_equal(array, two.state().arrays[name], err_msg=name)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_the_mappo_agent_acts_from_a_policy_file(tmp_path: Path, temperature: float) -> None:
    file = tmp_path / "p.safetensors"
    config = MappoConfig(hidden=16, temperature=temperature)
    about = {"agent": Mappo.name, "config": config.model_dump(mode="json")}
    file.write_bytes(to_bytes(mappo_learner().policy(), about))
    check_agent(lambda: Mappo(file))
    assert set(trainable(Mappo.name).recipes) == {"default", "recipe", "literal"}


# -- MADDPG -----------------------------------------------------------------------------------------------------

CONTINUOUS = RoleSpec("cav", 38, ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0)))
CONTINUOUS_INFO = EpisodeInfo("test", "driving", 5, 0, 100_000, {"cav": CONTINUOUS}, {})


def maddpg_learner(**settings: Any) -> MaddpgLearner:
    small = {"hidden": 16, "batch": 8, "learn_from": 40, "memory": 3, "steps_per_update": 5}
    return MaddpgLearner(Setup(CONTINUOUS_INFO, MaddpgConfig(**{**small, **settings}), seed=0, steps=1000))


def continuous_window(actor: Any, seed: int, steps: int = 30, explore: bool = True) -> Window:
    info = replace(CONTINUOUS_INFO, seed=seed)
    actor.reset(info)
    asked = questions((CONTINUOUS,), steps + 1, seed, driving_shared)
    asked = [replace(o, shared={**o.shared, "own_reward": 2 * o.reward}) for o in asked]
    return make_window(0, info, asked, [actor.act(o, explore) for o in asked[:-1]])


@pytest.mark.parametrize("lateral", ["number", "choice"])
def test_the_continuous_actor_acts_as_the_learners_network(lateral: str) -> None:
    learner = maddpg_learner(lateral=lateral, guard=False)
    window = continuous_window(learner, 3, explore=False)
    rows = window.obs[window.decided]
    with torch.no_grad():
        expected = learner._target(torch.from_numpy(learner._inputs(rows)))
    assert len(rows) > 50
    known = as_known(torch.from_numpy(window.values[window.decided].astype(np.float32)), expected.shape[1])
    torch.testing.assert_close(known, expected, atol=1e-5, rtol=0)


def test_exploration_is_noise_and_choices_at_random() -> None:
    learner = maddpg_learner(lateral="number", guard=False, noise=(0.5, 0.5))
    calm, noisy = (continuous_window(learner, 3, explore=e) for e in (False, True))
    assert 0.3 < (noisy.values - calm.values)[noisy.decided].std() < 0.6  # noise of .5, cut at the ends
    assert np.abs(noisy.values).max() <= 1.0
    learner = maddpg_learner(lateral="choice", guard=False, noise=(0.6, 0.6))
    calm, noisy = (continuous_window(learner, 3, explore=e) for e in (False, True))
    other = (noisy.values[:, 1] != calm.values[:, 1])[noisy.decided]
    assert 0.3 < other.mean() < 0.5  # two thirds of .6
    assert set(noisy.values[noisy.decided, 1]) == {-1.0, 0.0, 1.0}


def test_what_leaves_no_gap_is_not_done() -> None:
    action = np.array([[0.7, 1.0], [0.7, 0.3], [0.7, -0.9], [-0.5, 0.0], [0.7, 0.0]])
    allowed = np.ones((5, 9), dtype=np.bool_)
    allowed[0, 6:] = False  # no change to the left: in lane, and there no acceleration
    allowed[0, 5] = False
    allowed[2, 1:3] = False  # only braking on the right
    allowed[3, 4:6] = False
    allowed[4, [0, 1, 2, 6, 7, 8]] = False
    expected = [[0.0, 0.0], [0.7, 0.3], [-1.0, -0.9], [-1.0, 0.0], [0.7, 0.0]]
    assert held_back(action, allowed).tolist() == expected


def test_a_joint_batch_holds_the_vehicles_before_and_after() -> None:
    learner = maddpg_learner(
        batch=60, lateral="number", divide=(), reward_shift=0.0, reward_scale=1.0, lane_change_cost=3.0
    )
    window = continuous_window(learner, 2)
    learner.add([window])
    batch = learner._batch()
    assert len(batch.inputs) == len(batch.action) == len(batch.own) == int(batch.alive.sum())
    assert len(batch.next_inputs) == int(batch.next_alive.sum())
    own = window.shared["own_reward"].values
    known: dict[bytes, tuple[Any, ...]] = {}
    for i in np.flatnonzero(window.decided & (window.next >= 0)):
        after, changes = int(window.next[i]), np.rint(window.values[i, 1]) != 0
        then = None if window.terminated[i] else window.obs[after].tobytes()
        action = window.values[i].astype(np.float32).tobytes()
        known[window.obs[i].tobytes()] = (action, own[after] - 3.0 * changes, then)
    assert 0 < int(batch.left.sum()) < len(batch.left)
    for i, row in enumerate(batch.inputs.numpy()):
        action, paid, then = known[row[:38].tobytes()]
        assert batch.action[i].numpy().tobytes() == action
        assert batch.own[i].item() == pytest.approx(paid, abs=1e-5)
        assert bool(batch.left[i]) == (then is None)
        assert then is None or batch.next_inputs[batch.after[i], :38].numpy().tobytes() == then
    empty = batch.state[..., :200].unflatten(-1, (25, 8))[~batch.alive]
    assert not bool(empty.any())


@pytest.mark.parametrize("settings", [{}, {"lateral": "number", "critic": "team", "reward": "team"}])
def test_the_maddpg_learner_goes_on_from_its_state_bit_for_bit(settings: dict[str, Any]) -> None:
    one, two = maddpg_learner(**settings), maddpg_learner(**settings)
    windows = [continuous_window(one, seed) for seed in range(7)]
    for window in windows[:4]:
        one.add([window])
        one.update()
    two.load(one.state())
    for window in windows[4:]:
        signals = []
        for learner in (one, two):
            learner.add([window])
            signals.append(learner.update())
        assert signals[0] == signals[1]
        assert {"td_loss", "actor_loss", "gradient_norm", "noise"} <= set(signals[0])
    for name, array in one.state().arrays.items():
        np.testing.assert_array_equal(array, two.state().arrays[name], err_msg=name)


def test_the_maddpg_agent_acts_from_a_policy_file(tmp_path: Path) -> None:
    file = tmp_path / "p.safetensors"
    config = MaddpgConfig(hidden=16)
    about = {"agent": Maddpg.name, "config": config.model_dump(mode="json")}
    file.write_bytes(to_bytes(maddpg_learner().policy(), about))
    check_agent(lambda: Maddpg(file), roles=(CONTINUOUS,))
    with pytest.raises(ScenarioError, match=r"tasks\.driving\.actions=continuous"):
        Maddpg(file).reset(info_of())


@pytest.mark.parametrize("kind", [Qmix, TpeQmix, GatMadqn, Mappo, Maddpg])
def test_every_recipe_is_a_valid_configuration(kind: Any) -> None:
    recipes = trainable(kind.name).recipes
    assert set(recipes) - {"long"} == {"default", "recipe", "literal"}
    assert ("long" in recipes) == (kind in {Qmix, TpeQmix})
    for recipe in recipes.values():
        kind.Config(**recipe.agent)
    recipe, literal = (kind.Config(**kind.recipes[name].agent) for name in ("default", "literal"))
    assert recipe == kind.Config()
    assert recipe.gamma < literal.gamma == 0.99
    assert "tasks.{task}.kappa=30" in kind.recipes["default"].settings
    assert not any("kappa" in text for text in kind.recipes["literal"].settings)


def test_a_window_in_which_nobody_decides_is_held_too() -> None:
    """Human drivers alone, say: nodes without a row of their own."""
    asked = [
        replace(o, ids=o.ids[:0], obs=o.obs[:0], mask=None if o.mask is None else o.mask[:0], active=0,
                reward=o.reward[:0], terminated=o.terminated[:0], truncated=o.truncated[:0],
                shared={**o.shared, "own_reward": np.empty(0)})
        for o in some_questions(5)
    ]  # fmt: skip
    answered = [Actions(np.empty(0, dtype=np.int64)) for _ in asked[:-1]]
    window = make_window(0, info_of(), asked, answered)
    held = graph_rows(window, GatConfig())
    assert len(held.rows["features"]) == len(window.shared["zone_features"].values) > 0
    assert not held.rows["decided"].any()
    assert held.rows["terminated"].all()
