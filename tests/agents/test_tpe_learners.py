"""The learners of QMIX, TPE and their rivals: their memory, acting, saving, and learning on real SUMO."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tpe_windows import info_of, some_questions, window_by

from agents.common.networks import load_module, module_arrays
from agents.common.random import Random
from agents.common.recurrent import RecurrentNet, Stays
from agents.common.td import chosen
from agents.common.window_memory import Held, WindowMemory, gather
from agents.tpe_marl.gat_agent import GatMadqn
from agents.tpe_marl.maddpg_agent import Maddpg
from agents.tpe_marl.mappo_agent import Mappo
from agents.tpe_marl.qmix_agent import NET, QMIX, Qmix, QmixActor, QmixConfig, TpeQmix
from agents.tpe_marl.qmix_learner import QmixLearner
from agents.tpe_marl.recurrent_actor import InputRows, Remembering
from agents.tpe_marl.team_rows import grid, team_rows
from cosim.assembly import assemble, plan, reseeded
from cosim.errors import AgentError, ScenarioError
from cosim.experiments.rollout import EVALUATION_SEED
from cosim.experiments.training import TrainOptions, resume_training, train
from cosim.lockstep import ActionSpec, InlineHost, RoleSpec
from cosim.lockstep.learner import Recipe, Setup, trainable
from cosim.lockstep.weights import to_bytes
from cosim.scenario import Scenario, load_scenario
from cosim.testing import check_agent

KINDS: list[Any] = [Qmix, TpeQmix]
SMALL: dict[str, Any] = {
    "hidden": 16,
    "embed": 8,
    "mixer_hidden": 16,
    "batch": 4,
    "learn_from": 40,
    "memory": 3,
    "steps_per_update": 10,
}


def learner_of(kind: Any, **settings: Any) -> Any:
    return kind.learner(Setup(info_of(), kind.Config(**{**SMALL, **settings}), seed=0, steps=1000))


# -- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inflow", [False, True])
def test_rows_on_their_grid_are_what_the_window_says(inflow: bool) -> None:
    learner = learner_of(Qmix)
    window = window_by(learner, 1)
    team = team_rows(window, InputRows(QMIX, ((1, 4),), inflow), 25)
    slot = window.slots(25)
    alive = window.dense(window.active, slot, 25)
    memory = WindowMemory(1)
    memory.add(team.held)
    draw = gather(memory.picks(np.random.default_rng(0), 1, 31), tuple(team.held.rows), ("reward", "changes"))
    there = grid(draw, np.ones(len(draw.cell), dtype=np.bool_), 25)[0]
    np.testing.assert_array_equal(there, alive)
    for name, values in (("allowed", window.mask), ("features", window.obs[:, :8])):
        assert values is not None
        np.testing.assert_array_equal(draw.rows[name], window.dense(values, slot, 25)[alive])
    np.testing.assert_array_equal(draw.rows["inputs"][:, :38], window.dense(window.obs, slot, 25)[alive])
    np.testing.assert_array_equal(draw.instants["reward"].shape, (1, 31))


def test_a_row_is_shown_its_own_last_action_and_newcomers_none() -> None:
    window = window_by(learner_of(Qmix), 2)
    team = team_rows(window, InputRows(QMIX, (), False), 25)
    shown, entered = team.held.rows["inputs"][:, 38:47], team.held.rows["entered"]
    before = {int(window.next[i]): int(window.values[i]) for i in np.flatnonzero(window.decided)}
    for row, at in enumerate(team.order.tolist()):
        assert entered[row] == (at not in before)
        assert np.flatnonzero(shown[row]).tolist() == ([before[at]] if at in before else [])


def test_the_team_reward_is_that_of_any_row_that_decided() -> None:
    window = window_by(learner_of(Qmix), 3)
    told = np.linspace(-1, 1, len(window.t_us))[window.instants()]
    team = team_rows(replace(window, reward=told), InputRows(QMIX, (), False), 25)
    decided = np.zeros(len(window.t_us), dtype=np.bool_)
    decided[window.instants()[window.decided & (window.next >= 0)]] = True
    expected = np.where(decided, np.linspace(-1, 1, len(window.t_us)), 0.0)
    np.testing.assert_allclose(team.held.instants["reward"], expected, atol=1e-7)


def some_held(number: int, instants: int = 6) -> Held:
    sizes = np.random.default_rng(number).integers(0, 4, instants)
    first = np.concatenate([[0], sizes.cumsum()])
    rows = {"x": np.stack([np.full(first[-1], number), np.arange(first[-1])], axis=1)}
    return Held(first, rows, {"t": number * 100 + np.arange(instants)})


def test_a_draw_is_made_of_consecutive_instants_of_one_window() -> None:
    memory = WindowMemory(4)
    for number in range(6):
        memory.add(some_held(number))
    draw = gather(memory.picks(np.random.default_rng(0), 200, 3), ("x",), ("t",))
    assert set(draw.instants["t"][:, 0] // 100) == {2, 3, 4, 5}
    assert (np.diff(draw.instants["t"], axis=1) == 1).all()
    for k in range(200):
        window, start = divmod(int(draw.instants["t"][k, 0]), 100)
        held = some_held(window)
        expected = held.rows["x"][held.first[start] : held.first[start + 3]]
        np.testing.assert_array_equal(draw.rows["x"][draw.cell // 3 == k], expected)


def test_a_memory_of_windows_goes_on_from_its_state() -> None:
    one, two = WindowMemory(4), WindowMemory(4)
    for number in range(6):
        one.add(some_held(number))
    two.load(one.state())
    draws = []
    for memory in (one, two):
        memory.add(some_held(9))
        draws.append(gather(memory.picks(np.random.default_rng(1), 50, 2), ("x",), ("t",)))
    np.testing.assert_array_equal(draws[0].rows["x"], draws[1].rows["x"])
    np.testing.assert_array_equal(draws[0].instants["t"], draws[1].instants["t"])
    with pytest.raises(ValueError, match="among windows of 6"):
        one.add(some_held(1, instants=5))


# -- acting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heads", [1, 2])
def test_acting_from_weights_is_the_learners_greedy_network(kind: Any, heads: int) -> None:
    learner = learner_of(kind, heads=heads, inflow=heads == 2)
    config = kind.Config(**{**SMALL, "heads": heads, "inflow": heads == 2})
    actor = kind.actor(Setup(info_of(), config, 0, 1000))
    actor.load_policy(learner.policy())
    window = window_by(actor, 7, explore=False)
    inputs = config.rows(kind.name)
    team = team_rows(window, inputs, 25, guard=config.guard)
    net = RecurrentNet(inputs.size, 9, torch.Generator(), config.hidden, heads)
    load_module(net, learner.policy(), NET)
    memory = WindowMemory(1)
    memory.add(team.held)
    draw = gather(memory.picks(np.random.default_rng(0), 1, 31), ("inputs", "slot", "entered"), ())
    alive = torch.from_numpy(grid(draw, np.ones(len(draw.cell), dtype=np.bool_), 25))
    entered = torch.from_numpy(grid(draw, draw.rows["entered"], 25))
    with torch.no_grad():
        q = net(torch.from_numpy(draw.rows["inputs"]), Stays.of_grid(alive, entered))
    q = q.masked_fill(~torch.from_numpy(team.held.rows["allowed"]), -torch.inf)
    decided = team.instant < window.steps
    assert decided.sum() > 50
    taken = torch.from_numpy(team.held.rows["action"].astype(np.int64))
    best = q.max(dim=1).values
    # The same up to rounding: NumPy and torch add in another order.
    torch.testing.assert_close(chosen(q, taken)[decided], best[decided], atol=1e-5, rtol=0)


def test_memories_begin_anew_when_the_tasks_window_ends() -> None:
    asked = [replace(o, truncated=~o.terminated & (t == 18)) for t, o in enumerate(some_questions(20))]
    inputs = InputRows(QMIX, (), False)
    net = RecurrentNet(inputs.size, 9, torch.Generator().manual_seed(0), 8)
    remembering, beginning = Remembering(QMIX, inputs), Remembering(QMIX, inputs)
    for one in (remembering, beginning):
        one.load(module_arrays(net, NET), NET)
    for t, question in enumerate(asked):
        found = remembering.scores(question)[1]
        remembering.acted(np.zeros(len(found), dtype=np.int64))
        if t >= 18:
            fresh = beginning.scores(question)[1]
            beginning.acted(np.zeros(len(fresh), dtype=np.int64))
            assert len(found)
            np.testing.assert_allclose(found, fresh, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_agent_acts_from_a_policy_file(kind: Any, tmp_path: Path) -> None:
    config = kind.Config(**SMALL)
    file = tmp_path / "p.safetensors"
    about = {"agent": kind.name, "config": config.model_dump(mode="json")}
    file.write_bytes(to_bytes(learner_of(kind).policy(), about))
    check_agent(lambda: kind(file))
    assert set(trainable(kind.name).recipes) == {"default", "recipe", "long", "literal"}


def test_another_task_is_refused() -> None:
    role = RoleSpec("cav", 12, ActionSpec(n=3))
    info = replace(info_of(), roles={"cav": role})
    with pytest.raises(ScenarioError, match="38 observations and 9 choices"):
        Qmix.actor(Setup(info, QmixConfig(), 0, 10))
    with pytest.raises(AgentError, match="weights for 67 inputs, but there are 75"):
        QmixActor(info_of(), QmixConfig(inflow=True), QMIX).load_policy(learner_of(Qmix).policy())


# -- learning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"optimizer": "rmsprop", "stretch": 0, "huber": None, "batch": 2}])
def test_a_learner_goes_on_from_its_state_bit_for_bit(kind: Any, settings: dict[str, Any]) -> None:
    one, two = learner_of(kind, **settings), learner_of(kind, **settings)
    windows = [window_by(one, seed) for seed in range(7)]
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
        assert {"td_loss", "q_total", "gradient_norm", "epsilon"} <= set(signals[0])
    if kind is TpeQmix:
        assert {"r_vis", "r_topo", "topology_loss", "kl_loss", "reconstruction_loss"} <= set(signals[0])
    left, right = one.state(), two.state()
    assert left.arrays.keys() == right.arrays.keys()
    for name, array in left.arrays.items():
        np.testing.assert_array_equal(array, right.arrays[name], err_msg=name)
    assert left.values == right.values


@pytest.mark.parametrize("kind", KINDS)
def test_how_many_slots_stay_empty_changes_no_value(kind: Any) -> None:
    """A batch holds nothing for an empty slot, and where one is in the state there are zeros."""
    learner: QmixLearner = learner_of(kind)
    for seed in range(3):
        learner.add([window_by(learner, seed)])
    batch = learner._batch()
    assert len(batch.inputs) == int(batch.alive.sum())
    assert bool((batch.entered & ~batch.alive).sum() == 0)
    if kind is Qmix:
        empty = batch.state[..., :200].unflatten(-1, (25, 8))[~batch.alive]
        assert not bool(empty.any())
    else:
        # Vehicles come first in the topology vector, whatever their slots.
        filled = batch.state[..., :100].unflatten(-1, (25, 4)).any(-1)
        count = batch.alive.sum(-1)
        assert bool((filled.sum(-1) <= count).all())
        assert bool(filled[count >= 2].any())


def test_a_topology_seen_before_pays_less() -> None:
    learner = learner_of(TpeQmix)
    window = window_by(learner, 1)
    learner.add([window])
    first = next(iter(learner._memory)).instants["visit_reward"]
    learner.add([window])
    held = list(learner._memory)
    assert held[0].instants["visit_reward"] is first
    assert (held[1].instants["visit_reward"][:-1] < first[:-1]).all()
    assert first[-1] == 0.0


def test_members_and_past_of_held_rows_are_those_of_the_window() -> None:
    learner = learner_of(TpeQmix, past=4)
    learner.add([window_by(learner, 6)])
    held = next(iter(learner._memory))
    side = learner._side
    at = np.arange(held.first[-1])
    rows = side._tensors(held.rows["inputs"], held.rows, at)
    instant = np.repeat(np.arange(len(held)), np.diff(held.first))
    member = rows.member.numpy()
    there = member >= 0
    assert there.any()
    assert (instant[np.where(there, member, 0)] == instant[:, None])[there].all()
    last = rows.length.numpy() - 1
    np.testing.assert_array_equal(rows.past.numpy()[at, last], held.rows["inputs"])
    assert (last[held.rows["entered"]] == 0).all()
    # Cut out, they are the same.
    picks = [
        p for p in learner._memory.picks(np.random.default_rng(0), 20, 1) if p.where.start < p.where.stop
    ]
    joined = side._joined(picks)
    offset = 0
    for pick in picks:
        count = pick.where.stop - pick.where.start
        expected = np.where(there, member - pick.where.start + offset, -1)[pick.where]
        np.testing.assert_array_equal(joined.member.numpy()[offset : offset + count], expected)
        assert torch.equal(joined.past[offset : offset + count], rows.past[pick.where])
        offset += count


# -- on real SUMO -----------------------------------------------------------------------------------------------

ROAD = ["traffic.variant=uni_noturn", "duration=60 s", "warmup=0"]
QUICK = {"leg": 2, "window": 60, "eval_seeds": 1, "eval_every": 0, "workers": 1}


GAT_SMALL: dict[str, Any] = {"batch": 8, "learn_from": 40, "memory": 3, "steps_per_update": 5}


@pytest.mark.parametrize("kind", [*KINDS, GatMadqn, Mappo, Maddpg])
def test_a_training_resumed_ends_with_the_same_policy(kind: Any, tmp_path: Path) -> None:
    options = TrainOptions(engine="inline", out=tmp_path / "whole")
    small: dict[str, Any] = {
        GatMadqn: {**GAT_SMALL, "learn_from": 120},
        Maddpg: {"hidden": 16, "batch": 8, "learn_from": 120, "memory": 3},
        Mappo: {"hidden": 16, "batch": 3, "minibatch": 2, "epochs": 2},
    }.get(kind, {**SMALL, "learn_from": 120})
    recipe = Recipe(agent=small, settings=("tasks.{task}.max_cavs=25",))
    actions = "continuous" if kind is Maddpg else "discrete"
    scenario = load_scenario("highway_350vph_cav100", [*ROAD, f"tasks.driving.actions={actions}"])
    whole = train(
        scenario, kind.name, options, recipe=recipe, seed=3, steps=480, checkpoint_every=120, **QUICK
    )
    assert whole.status == "completed", whole.error
    again = tmp_path / "again"
    shutil.copytree(whole.dir, again)
    shutil.rmtree(max((again / "checkpoints").iterdir()))
    for file in again.glob("*.safetensors"):
        file.unlink()
    resumed = resume_training(again, TrainOptions(engine="inline"))
    assert resumed.status == "completed", resumed.error
    assert (again / "curve.csv").read_bytes() == (whole.dir / "curve.csv").read_bytes()
    assert resumed.policy is not None
    assert whole.policy is not None
    assert resumed.policy.read_bytes() == whole.policy.read_bytes()


FAST: dict[str, Any] = {
    "learn_from": 300,
    "steps_per_update": 8,
    "epsilon_steps": 1000,
    "target_every": 50,
    "average": 0.03,
    "learning_rate": 2e-3,
}
LEARNING: list[Any] = [
    (Qmix, {**FAST, "hidden": 24, "mixer_hidden": 16, "embed": 8, "batch": 8}),
    (TpeQmix, {**FAST, "hidden": 24, "mixer_hidden": 16, "embed": 8, "batch": 8, "topology_batch": 8}),
    (GatMadqn, FAST),
]


@pytest.mark.parametrize(("kind", "config"), LEARNING, ids=["qmix", "tpe_qmix", "gat_madqn"])
def test_a_short_training_drives_better_than_chance(
    kind: Any, config: dict[str, Any], tmp_path: Path
) -> None:
    """After 1,500 steps a policy earns far more than random driving on the same traffic, with fewer collisions."""
    scenario = load_scenario("highway_350vph_cav100", ROAD)
    settings = ("tasks.{task}.kappa=30", "tasks.{task}.max_cavs=25")
    result = train(
        scenario,
        kind.name,
        TrainOptions(engine="inline", out=tmp_path / "training"),
        recipe=Recipe(agent=config, settings=settings),
        seed=1,
        steps=1500,
        **{**QUICK, "leg": 25},
    )
    assert result.status == "completed", result.error
    chance = by_chance(scenario)
    earned, collided = (result.evaluation[name] for name in ("return_per_episode", "vehicles_collided"))
    assert earned is not None
    assert collided is not None
    assert earned > 1.5 * chance["return_per_episode"]
    assert collided < chance["vehicles_collided"]


def by_chance(scenario: Scenario) -> dict[str, float]:
    """Return how random driving does on the traffic of the evaluation."""
    ready = plan(reseeded(scenario, EVALUATION_SEED))
    host = InlineHost(Random(), "common.random", "driving")
    host.reset(ready.infos["driving"])
    assembly = assemble(ready)
    try:
        assembly.engine.run({"driving": host})
        return {name: float(v) for name, v in ready.tasks[0].task.totals().items() if v is not None}
    finally:
        assembly.close()
