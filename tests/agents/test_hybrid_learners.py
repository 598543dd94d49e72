"""Trainings of Hybrid-MAPPO and MAPPO-DDPG: they learn, go on bit for bit, and act in lockstep as on tapes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from migration_tapes import BruteForceBatch, a_tape, info_for

import cosim
from agents.hybrid_mappo import deciders
from agents.hybrid_mappo.acting import PolicyNet, explore, explore_near
from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.foresight import Foresight
from agents.hybrid_mappo.hybrid_mappo import HybridMappo, HybridMappoWithout
from agents.hybrid_mappo.hybrid_mappo_learner import HybridMappoLearner
from agents.hybrid_mappo.mappo_ddpg import DdpgConfig, MappoDdpg, MappoDdpgWithout
from agents.hybrid_mappo.mappo_ddpg_learner import MappoDdpgLearner, Memory
from agents.hybrid_mappo.playing import Player
from agents.hybrid_mappo.reading import sizes_of
from agents.hybrid_mappo.rollout import Rollout
from cosim.errors import ScenarioError
from cosim.experiments.rollout import EVALUATION_SEED
from cosim.experiments.training import TrainOptions, TrainResult, resume_training, train
from cosim.lockstep.learner import SelfCollecting, Setup, trainable
from cosim.lockstep.weights import read_policy
from cosim.tasks.migration import TapeBatch
from cosim.testing import check_agent

KINDS = (HybridMappo, HybridMappoWithout, MappoDdpg, MappoDdpgWithout)


def learner_for(config: HybridConfig, steps: int, vehicles: int = 2, **options: Any) -> Any:
    certain = isinstance(config, DdpgConfig)
    kind: Any = MappoDdpgLearner if certain else HybridMappoLearner
    return kind(Setup(info_for(vehicles, 3, **options), config, seed=0, steps=steps), "test")


def net_of(learner: Any, config: HybridConfig, vehicles: int = 2) -> PolicyNet:
    guide = sizes_of(info_for(vehicles, 3), config).guide
    return PolicyNet(learner.policy(), guide, "test", isinstance(config, DdpgConfig))


def learnt(config: HybridConfig, updates: int, episodes: int = 32) -> float:
    """Train on the brute-force instance and return what both slots then cost."""
    player = Player(BruteForceBatch(), Foresight(), config.observation)
    learner = learner_for(config, updates * episodes * 2)
    way = explore_near(config.noise) if isinstance(config, DdpgConfig) else explore
    for number in range(updates):
        random = np.random.default_rng([1, number])
        which = np.zeros(episodes, dtype=np.int64)
        learner.add([player.rollout(net_of(learner, config), way, which, [0] * episodes, random)])
        learner.update()
    latency = player.play(player.trained(net_of(learner, config), draw=False), [0], [0])
    return float(latency.sum())


SMALL: dict[str, Any] = {
    "hidden": (16,), "critic_hidden": (16,), "epochs": 4, "minibatches": 2, "learning_rate": 5e-3,
}  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        HybridConfig(observation="extended", **SMALL),
        HybridConfig(observation="paper", critic="action_values", shared=False, reward="team", **SMALL),
    ],
    ids=["value", "action_values"],
)
def test_vehicles_learn_to_share_two_rsus(config: HybridConfig) -> None:
    """Section 9.3: the optimum in quarters is 19.37 s, and greedy vehicles herd at 20.9."""
    player = Player(BruteForceBatch(), Foresight(), "extended")
    cost = learnt(config, 100)
    assert cost < float(player.play(deciders.greedy, [0], [0]).sum())
    assert cost < 1.05 * 19.368333


def test_shares_by_gradient_learn_too_but_may_stop_at_an_end() -> None:
    """Both vehicles migrate everything to an RSU of their own: 22.8 s; random vehicles need about 31 s."""
    config = DdpgConfig(observation="extended", batch=64, noise=0.3, steps=16, **SMALL)
    player = Player(BruteForceBatch(), Foresight(), "extended")
    usual = np.mean(player.play(deciders.random, [0] * 300, list(range(300))).sum(axis=(1, 2)))
    assert learnt(config, 60) < 0.85 * usual


@pytest.mark.parametrize(
    "config",
    [
        HybridConfig(observation="own_latency", guide=1.5, **SMALL),
        HybridConfig(observation="paper", critic="action_values", shared=False, **SMALL),
        DdpgConfig(observation="pilot", batch=8, memory=12, **SMALL),
    ],
    ids=["value", "action_values", "ddpg"],
)
@pytest.mark.parametrize("remote", [False, True])
def test_a_learner_goes_on_from_its_state_bit_for_bit(config: HybridConfig, remote: bool) -> None:
    if remote:
        if config.guide:
            with pytest.raises(ScenarioError, match="urban"):
                learner_for(config, 100, vehicles=4, space="remote")
            return
        options = {"space": "remote"}
    else:
        options = {}
    tapes = TapeBatch([a_tape(seed, remote=remote) for seed in range(3)])
    player = Player(tapes, Foresight(), config.observation)
    one, two = (learner_for(config, 1000, vehicles=4, **options) for _ in range(2))
    way = explore_near(0.1) if isinstance(config, DdpgConfig) else explore

    def round_of(learner: Any, number: int) -> dict[str, float]:
        net = PolicyNet(
            learner.policy(), sizes_of(info_for(4, 3, **options), config).guide, "test",
            isinstance(config, DdpgConfig),
        )  # fmt: skip
        random = np.random.default_rng(number)
        learner.add([player.rollout(net, way, np.array([0, 1, 2]), [0, 1, 2], random)])
        signals: dict[str, float] = learner.update()
        return signals

    first = [round_of(one, number) for number in range(4)]
    assert all(np.isfinite(list(signals.values())).all() for signals in first)
    assert [round_of(two, number) for number in range(2)] == first[:2]
    state = two.state()
    fresh = learner_for(config, 1000, vehicles=4, **options)
    fresh.load(state)
    assert [round_of(fresh, number) for number in range(2, 4)] == first[2:]
    for name, array in one.state().arrays.items():
        np.testing.assert_array_equal(array, fresh.state().arrays[name], err_msg=name)


def test_a_learner_without_anybody_there_stays_finite() -> None:
    config = HybridConfig(observation="pilot", **SMALL)
    player = Player(TapeBatch([a_tape(1)]), Foresight(), "pilot")
    learner = learner_for(config, 100, vehicles=4)
    net = PolicyNet(learner.policy(), None, "test")
    rollout = player.rollout(net, explore, np.array([0]), [0], np.random.default_rng(0))
    absent = Rollout(**{name: getattr(rollout, name).copy() for name in Rollout.__dataclass_fields__})
    absent.present[:, :, 1:] = absent.moves[:, :, 1:] = False
    absent.reward[:, :, 1:] = 0.0
    learner.add([absent])
    assert np.isfinite(list(learner.update().values())).all()


def test_the_memory_holds_the_last_episodes_and_knows_their_ends() -> None:
    player = Player(TapeBatch([a_tape(seed) for seed in range(3)]), Foresight(), "pilot")
    learner = learner_for(HybridConfig(observation="pilot"), 100, vehicles=4)
    net = PolicyNet(learner.policy(), None, "test")
    memory = Memory(12)
    rollouts = [player.rollout(net, explore, np.array([i]), [i], np.random.default_rng(i)) for i in range(3)]
    for rollout in rollouts:
        memory.add(rollout)
    known = np.concatenate([r.reward for r in rollouts[1:]])
    now, later, ended = memory.sample(60, np.random.default_rng(0))
    for k in range(60):
        e, t = (int(i[0]) for i in np.nonzero((known == now.reward[k]).all(axis=-1)))
        assert ended[k] == (t == 5)
        np.testing.assert_array_equal(later.reward[k, 0], known[e, min(t + 1, 5)])


@pytest.mark.parametrize("kind", KINDS)
def test_all_methods_are_trainable_on_tapes_by_named_recipes(kind: Any) -> None:
    found = trainable(kind.name)
    assert isinstance(found, SelfCollecting)
    named = {"default", "pilot", "extended"} | ({"paper"} if issubclass(kind, HybridMappo) else set())
    if kind in (MappoDdpg, MappoDdpgWithout):
        named -= {"paper"}
    assert set(found.recipes) == named
    for recipe in found.recipes.values():
        config = found.Config.model_validate(recipe.agent)
        assert isinstance(config, HybridConfig)
        assert (config.prediction == "none") == kind.name.endswith("_wo")


# -- whole trainings ---------------------------------------------------------------------------------------------

SHORT = ("duration=100 s",)
"""Five decisions."""
TRAINING: dict[str, Any] = {
    "workers": 2, "window": 5, "leg": 1, "steps": 40, "eval_every": 20, "eval_seeds": 1, "checkpoint_every": 10,
    "keep": 10,
}  # fmt: skip


def trained_into(out: Path, tapes: Path, agent: str, **training: Any) -> TrainResult:
    settings = [f"tapes={tapes}", "tape_seed=7", "tape_count=2", "hidden=[8]", "critic_hidden=[8]"]
    if "ddpg" in agent:
        settings += ["batch=4", "steps=2", "memory=12"]
    return train(
        "urban_avatar", agent, TrainOptions(engine="inline", out=out), overrides=SHORT, seed=1,
        agent_settings=[*settings, "prediction=perfect"], **(TRAINING | training),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tapes") / "urban"


@pytest.mark.parametrize("agent", ["hybrid_mappo.hybrid_mappo", "hybrid_mappo.mappo_ddpg"])
def test_a_training_on_tapes_resumes_to_the_same_curve_and_acts_in_lockstep_as_on_tapes(
    agent: str, tapes: Path, tmp_path: Path
) -> None:
    whole = trained_into(tmp_path / "whole", tapes, agent)
    assert whole.status == "completed"
    assert whole.policy is not None
    folder = tmp_path / "killed"
    shutil.copytree(whole.dir, folder)
    for checkpoint in sorted((folder / "checkpoints").iterdir())[2:]:
        shutil.rmtree(checkpoint)
    resumed = resume_training(folder, TrainOptions(engine="inline", out=folder))
    assert resumed.status == "completed"
    for name in ("curve.csv", "curve.parquet"):
        assert (folder / name).read_bytes() == (whole.dir / name).read_bytes()
    one, two = (read_policy(r.policy).arrays for r in (whole, resumed) if r.policy)
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
    run = cosim.run(
        "urban_avatar",
        cosim.RunOptions(agents=[f"{agent}:{whole.policy}"], inline=True, out=tmp_path / "run"),
        seed=EVALUATION_SEED,
        overrides=SHORT,
    )
    assert run.metrics["task_latency"] == pytest.approx(whole.evaluation["task_latency"], rel=1e-13)


def test_a_window_that_tapes_do_not_hold_is_refused(tapes: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="hold 5 decisions"):
        trained_into(tmp_path / "t", tapes, "hybrid_mappo.hybrid_mappo", window=7)


@pytest.mark.parametrize("agent", ["hybrid_mappo.hybrid_mappo", "hybrid_mappo.hybrid_mappo_wo"])
def test_shipped_policies_are_fit_for_use_without_naming_weights(agent: str) -> None:
    check_agent(agent, task="migration", in_process=False, steps=6)
