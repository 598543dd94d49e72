"""The migration task in lockstep with SUMO: against tapes to the bit, its contract, its record, its environments."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cosim
from cosim.assembly import assemble, plan
from cosim.envs import gym_env, parallel_env
from cosim.errors import ScenarioError
from cosim.experiments.tapes import record_tapes
from cosim.lockstep import Actions
from cosim.scenario import load_scenario
from cosim.tasks.migration import (
    LATENCY_MODELS,
    OBSERVATIONS,
    Layout,
    MigrationOptions,
    Slot,
    TapeBatch,
    load_tape,
    observe,
)
from cosim.testing import check_task

SHORT = ["warmup=440 s", "duration=200 s"]


def scenario(name: str, overrides=(), **options):
    """An avatar scenario, short, with a migration task of these options."""
    entry = {"every": "20 s", "agent": "common.random", **options}
    if name == "remote_avatar":
        entry = {"space": "remote", "cpu": "{uniform: [10 GHz, 20 GHz]}", "load_max": "200 Gcycle", **entry}
    text = "{" + ", ".join(f"{k}: {v}" for k, v in entry.items()) + "}"
    return load_scenario(name, [*SHORT, f"tasks.migration={text}", *overrides])


def play(whole, decide):
    """Run a scenario and return what was asked and what was answered, decision by decision."""
    assembly = assemble(plan(whole))
    loop = assembly.engine.decisions()
    asked, answers = [], []
    try:
        question = next(loop)
        while True:
            seen = question.observations
            if seen.active:
                asked.append(seen)
            values = decide(seen)
            if seen.active:
                answers.append(values)
            question = loop.send(Actions(values))
    except StopIteration:
        return asked, answers, assembly
    finally:
        loop.close()
        assembly.close()


def random_answers(seed):
    rng = np.random.default_rng(seed)

    def decide(seen):
        choices = 0 if seen.mask is None else seen.mask.shape[1]
        return np.stack([rng.integers(0, choices, seen.active), rng.uniform(0, 1, seen.active)], axis=1)

    return decide


@pytest.mark.parametrize(
    ("name", "options"), [("urban_avatar", {"observation": "own_latency"}), ("remote_avatar", {})]
)
def test_a_tape_gives_the_rewards_of_lockstep_to_the_bit(name, options, tmp_path: Path):
    whole = scenario(name, **options)
    task_options = whole.parse("tasks.migration", MigrationOptions)
    tape = load_tape(record_tapes(whole, [5], tmp_path, jobs=1).files[0])
    asked, answers, assembly = play(whole.with_overrides([f"seed={tape.seed}"]), random_answers(1))
    batch = TapeBatch([tape], task_options.rules(20.0), task_options.ranges())
    assert batch.decisions == len(asked) == 10
    assert tape.vehicles == asked[0].ids
    rewards = []
    for seen, values in zip(asked, answers, strict=True):
        assert np.array_equal(batch.observe(task_options.observation)[0], seen.obs)
        assert np.array_equal(batch.mask[0], seen.mask)
        assert np.array_equal(batch.history[0], seen.shared["history"])
        assert np.array_equal(batch.slot.queue[0], seen.shared["queue"])
        if rewards:
            assert np.array_equal(rewards[-1], seen.reward)
        outcome = batch.step(values[None, :, 0].astype(np.int64), values[None, :, 1])
        rewards.append(outcome.reward[0])
    metrics = assembly.plan.tasks[0].task.metrics()
    if name == "urban_avatar":
        assert metrics["task_latency"] == pytest.approx(-np.concatenate(rewards).mean(), rel=1e-12)
        assert metrics["covered"] == 1.0
    else:
        assert 0 < metrics["covered"] < 1


def test_slots_rebuilt_from_shared_arrays_show_the_same():
    whole = scenario("urban_avatar", observation="pilot", model="paper")
    asked, _, assembly = play(whole, random_answers(2))
    task = assembly.plan.tasks[0].task
    seen = asked[3]
    slot = Slot.from_shared(seen.shared)
    layout = Layout.from_shared(seen.shared)
    for kind in OBSERVATIONS:
        assert np.array_equal(
            observe(kind, layout, task.rules, slot), observe(kind, task.layout, task.rules, slot)
        )
    assert np.array_equal(observe("pilot", layout, task.rules, slot)[0], seen.obs)
    assert seen.shared["vehicle"].tolist() == list(range(10))
    assert slot.t == 3
    assert [a.t_us for a in asked] == list(range(440_000_000, 640_000_000, 20_000_000))


@pytest.mark.parametrize("name", ["urban_avatar", "remote_avatar"])
def test_the_task_keeps_the_contract_of_tasks(name):
    # Draws are keyed by name, so a twin with other names is no twin.
    check_task(scenario(name), order_free=False, seconds=300.0)


def test_no_vehicle_in_a_gap_has_a_task_or_a_reward():
    asked, answers, assembly = play(scenario("remote_avatar"), random_answers(3))
    gaps = 0
    for before, seen in pairwise(asked):
        gap = before.shared["serving"] == -1
        gaps += int(gap.sum())
        assert not before.mask[gap, 1].any()
        assert before.mask[:, 0].all()
        assert not seen.reward[gap].any()
        assert (seen.reward[~gap] < 0).all()
    assert gaps > 0
    totals = assembly.plan.tasks[0].task.totals()
    expected = sum(
        int((~seen.mask[np.arange(10), values[:, 0].astype(int)]).sum())
        for seen, values in zip(asked, answers, strict=True)
    )
    assert totals["masked_actions"] == expected > 0


def test_a_run_records_migrations_orders_and_answers(tmp_path: Path):
    out = tmp_path / "run"
    result = cosim.run(scenario("urban_avatar"), cosim.RunOptions(inline=True, out=out))
    assert result.status == "completed"
    orders = pl.read_parquet(out / "commands").filter(pl.col("kind") == "migrate")
    events = pl.read_parquet(out / "events").filter(pl.col("kind") == "migration")
    answers = pl.read_parquet(out / "actions")
    assert len(answers) == 100  # ten decisions of ten vehicles
    assert answers["value"].list.len().to_list() == [2] * 100
    # Each order is settled one slot later: share, from, to.
    told = events.with_columns(t_us=pl.col("t_us") - 20_000_000).select("t_us", "id", "value", "station")
    assert told.rows() == orders.select("t_us", "id", "a", "text").rows()
    assert set(events["place"]) <= {f"rsu_{k}" for k in range(6)}
    assert (events["place"] != events["station"]).all()
    steps = pl.read_parquet(out / "steps").filter(pl.col("t_us") % 20_000_000 == 0)
    assert steps["migration_latency"].drop_nulls().mean() == pytest.approx(result.metrics["task_latency"])
    parts = ("upload_time", "processing_time", "cloud_time", "download_time")
    assert sum(result.metrics[p] for p in parts) == pytest.approx(result.metrics["task_latency"])


def test_a_replayed_run_gives_the_same_bytes(tmp_path: Path):
    from cosim.recording import digest

    whole = scenario("urban_avatar")
    cosim.run(whole, cosim.RunOptions(inline=True, out=tmp_path / "one"))
    cosim.run(whole, cosim.RunOptions(inline=False, out=tmp_path / "two"))
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_a_petting_zoo_environment_has_hybrid_actions():
    with_one = parallel_env(scenario("urban_avatar"), worker=False)
    try:
        observations, _ = with_one.reset(seed=3)
        assert len(observations) == 10
        agent = with_one.agents[0]
        space = with_one.action_space(agent)
        space.seed(0)
        actions = {name: space.sample() for name in with_one.agents}
        assert len(actions[agent]) == 2
        observations, rewards, _, truncated, _ = with_one.step(actions)
        assert all(reward < 0 for reward in rewards.values())
        assert observations[agent]["observation"].shape == (19,)
        assert observations[agent]["action_mask"].sum() == 5
        assert not any(truncated.values())
    finally:
        with_one.close()


def test_a_gymnasium_environment_has_hybrid_actions():
    env = gym_env(scenario("urban_avatar"), slots=10, worker=False)
    try:
        observation, _ = env.reset(seed=3)
        assert observation["alive"].all()
        env.action_space.seed(0)
        _, reward, _, _, info = env.step(env.action_space.sample())
        assert reward == pytest.approx(info["shared"]["own_reward"].mean())
    finally:
        env.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "papper"}, "unknown latency model 'papper' .did you mean 'paper'"),
        ({"stations": "rsu_0"}, "needs two RSU sites"),
        ({"types": "[bus]"}, "unknown vehicle type 'bus'"),
        ({"task_size": "[250 MB, 50 MB]"}, "must rise"),
        ({"initial_load": "[0, 400 Gcycle]"}, "at most load_max"),
        ({"zeeta": 1}, "did you mean 'zeta'"),
        ({"bandwidth": "30 s"}, "a time, not a frequency"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ScenarioError, match=message):
        plan(scenario("urban_avatar", **options))


def test_ranges_are_fixed_numbers_or_two_ends_with_units():
    options = MigrationOptions.model_validate(
        {"task_size": "150 MB", "bandwidth": ["100 MHz", "500 MHz"], "cpu": {"uniform": ["10 GHz", 2e10]}}
    )
    ranges = options.ranges()
    assert ranges.task_bits == (1.2e9, 1.2e9)
    assert ranges.bandwidth == (1e8, 5e8)
    assert ranges.cpu == (1e10, 2e10)
    assert MigrationOptions.model_validate(options.model_dump(mode="json")) == options


def test_a_latency_model_of_ones_own_is_used(monkeypatch):
    class Twice(LATENCY_MODELS["paper"]):
        def loads(self, now):
            return 2 * super().loads(now)

    plain, _, _ = play(scenario("urban_avatar"), random_answers(4))
    monkeypatch.setitem(LATENCY_MODELS, "twice", Twice)
    other, _, _ = play(scenario("urban_avatar", model="twice"), random_answers(4))
    assert np.array_equal(2 * plain[0].shared["queue"], other[0].shared["queue"])


def test_vehicles_that_come_and_go_are_numbered_once_and_reported_when_they_leave():
    whole = load_scenario(
        "urban_rsu",
        [
            "traffic.step=1 s",
            "warmup=0 s",
            "network=null",
            "tasks.migration={every: 5 s, agent: common.random}",
        ],
    )
    check_task(whole, order_free=False, seconds=330.0)
    asked, _, assembly = play(
        whole.with_overrides(["warmup=60 s", "duration=300 s", "tasks.migration.vehicles=6"]),
        random_answers(0),
    )
    left = [name for seen in asked for name in seen.ids[seen.active :]]
    assert len(left) == len(set(left)) > 0
    assert max(seen.active for seen in asked) == 6
    assert len(assembly.plan.tasks[0].task.fleet.ids) == 6
    numbers: dict[str, int] = {}
    for seen in asked:
        for name, number in zip(seen.ids, seen.shared["vehicle"].tolist(), strict=False):
            assert numbers.setdefault(name, number) == number
        absent = np.setdiff1d(np.arange(6), seen.shared["vehicle"])
        assert (seen.shared["serving"][absent] == -1).all()


def test_a_run_with_hybrid_actions_is_replayed_to_the_byte(tmp_path: Path):
    from cosim.recording import digest

    first = cosim.run(scenario("remote_avatar"), cosim.RunOptions(inline=True, out=tmp_path / "one"))
    again = cosim.replay(first.dir, cosim.RunOptions(out=tmp_path / "two"))
    assert digest(again.dir) == digest(first.dir)


def test_pettingzoo_finds_nothing_to_mend():
    from pettingzoo.test import parallel_api_test

    env = parallel_env(scenario("remote_avatar"), worker=False)
    try:
        parallel_api_test(env, num_cycles=12)
    finally:
        env.close()
