"""Collecting in a real SUMO: which decision ends up in which window, with which weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cosim.errors import AgentError, ScenarioError, TrafficError
from cosim.experiments.crew import Crew, ProcessWorker
from cosim.experiments.rollout import EVALUATION_SEED, Collector, Haul, Job, collection_seed
from cosim.registry import load_plugins
from cosim.scenario import Scenario, load_scenario
from cosim.traffic.backend import libsumo_is_free

PLUGIN = Path(__file__).with_name("train_duet.py")
load_plugins([str(PLUGIN)])

DUET = [
    "tasks={duet: {every: 100 ms, agent: test.duet}}",
    "duration=2 s",
    "warmup=0",
    "traffic.inflow.rate=0",
]
DRIVING = ["traffic.variant=uni_noturn", "warmup=0"]


def duet_job(window: int = 5, **config: float) -> Job:
    scenario = load_scenario("highway_350vph", DUET)
    return Job(scenario, scenario, "duet", "test.duet", config, seed=1, steps=100, window=window, windows=6)


def weight(value: int) -> dict[str, np.ndarray]:
    return {"weight": np.array([value])}


@pytest.fixture
def duet() -> Iterator[Collector]:
    collector = Collector(duet_job(), worker=0)
    yield collector
    collector.close()
    assert libsumo_is_free()


def test_windows_follow_each_other_without_a_gap(duet: Collector) -> None:
    duet.begin(0)
    hauls = [duet.collect(weight(10), 2), duet.collect(weight(20), 1), duet.collect(weight(30), 1)]
    for role in ("leader", "follower"):
        windows = [w for haul in hauls for w in haul.windows if w.role == role]
        assert [w.steps for w in windows] == [5] * 4
        assert [w.info.episode for w in windows] == [0, 1, 2, 3]
        times = [w.t_us[:-1].tolist() for w in windows]
        assert [t for some in times for t in some] == [100_000 * k for k in range(1, 21)]
        assert all(a.t_us[-1] == b.t_us[0] for a, b in pairwise(windows))


def test_a_reward_belongs_to_the_decision_before_it(duet: Collector) -> None:
    duet.begin(0)
    for window in duet.collect(weight(10), 2).windows:
        at = window.decided
        assert (window.reward[at] == 1000 + window.values[at]).all()
        assert not window.terminated.any()


def test_a_new_window_resets_the_actor_and_new_weights_answer_the_question_that_waited(
    duet: Collector,
) -> None:
    duet.begin(0)
    first, second = duet.collect(weight(10), 1), duet.collect(weight(20), 1)
    assert first.windows[0].values[first.windows[0].decided].tolist() == [10, 11, 12, 13, 14]
    leader, follower = second.windows
    # The leader had to answer at the settling instant of the first window, so that the follower could be asked.
    assert leader.values[leader.decided].tolist() == [10, 21, 22, 23, 24]
    assert leader.notes["weight"][leader.decided].tolist() == [10, 20, 20, 20, 20]
    assert follower.values[follower.decided].tolist() == [20, 20, 21, 21, 22, 22, 23, 23, 24, 24]


def test_the_second_role_sees_what_the_first_answered_at_the_same_instant(duet: Collector) -> None:
    duet.begin(0)
    leader, follower = duet.collect(weight(10), 1).windows
    for t in range(5):
        shown = follower.obs[follower.first[t] : follower.first[t + 1], 1]
        assert (shown == leader.values[leader.first[t]]).all()


def test_what_a_round_counts_is_its_own(duet: Collector) -> None:
    duet.begin(0)
    assert duet.collect(weight(0), 1).counts == {"answers": 5 * 3 + 1}
    assert duet.collect(weight(0), 1).counts == {"answers": 5 * 3}


def test_an_evaluation_is_a_whole_run_of_the_scenario(duet: Collector) -> None:
    one, two = duet.evaluate(weight(10), [3, 4])
    # 2 s at 100 ms: 19 decisions of three entities, the last instant only settles.
    assert one["answers"] == two["answers"] == 19 * 3
    # The actor counts on through a run: the mean of 10 … 27, and 1000; nobody is asked after the last decision.
    assert one["reward"] == pytest.approx(1000 + 18.5)


def test_collecting_before_sumo_is_started_is_an_error(duet: Collector) -> None:
    with pytest.raises(TrafficError, match="before SUMO was started"):
        duet.collect(weight(1), 1)


def test_what_an_actor_raises_is_an_agent_error() -> None:
    collector = Collector(duet_job(fail_at=0.4), 0)
    try:
        collector.begin(0)
        with pytest.raises(
            AgentError, match=r"'test\.duet' of task 'duet' failed at t = 0\.4 s: ValueError: no more ideas"
        ):
            collector.collect(weight(1), 1)
    finally:
        collector.close()


def test_collection_seeds_differ_and_are_not_evaluation_seeds() -> None:
    seeds = {collection_seed(s, w, leg) for s in range(3) for w in range(4) for leg in range(50)}
    assert len(seeds) == 600
    assert max(seeds) < EVALUATION_SEED


# -- driving ----------------------------------------------------------------------------------------------------


def driving_job(scenario: Scenario, window: int = 60) -> Job:
    return Job(scenario, scenario, "driving", "common.dqn", {"hidden": [8]}, 1, 1000, window, 4)


def driving_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = ((8, 38), (9, 8))
    weights = {f"q.{k}.weight": rng.normal(size=s).astype(np.float32) for k, s in enumerate(sizes)}
    weights |= {f"q.{k}.bias": np.zeros(s[0], np.float32) for k, s in enumerate(sizes)}
    return {**weights, "epsilon": np.array([1.0])}


@pytest.fixture(scope="module")
def driven() -> Haul:
    collector = Collector(driving_job(load_scenario("highway_350vph_cav100", DRIVING)), 0)
    try:
        collector.begin(0)
        collector.collect(driving_weights(), 2)
        return collector.collect(driving_weights(), 2)
    finally:
        collector.close()


def test_every_decision_of_a_real_drive_is_settled(driven: Haul) -> None:
    for window in driven.windows:
        assert window.decided.sum() > 60
        assert (window.next[window.decided] >= 0).all()
        assert window.mask is not None
        at = np.flatnonzero(window.decided)
        assert window.mask[at, window.values[at]].all()


def test_own_rewards_hold_own_collisions_and_completions(driven: Haul) -> None:
    collided = completed = 0
    for window in driven.windows:
        own = window.shared["own_reward"].values[window.next[window.decided]]
        collided += int((own < -30).sum())
        completed += int(((own > 4) & (own < 9)).sum() + (own > 13).sum())
        assert window.terminated[window.decided][own < -30].all()
    assert collided == driven.counts["vehicles_collided"] > 0
    assert completed > 0


def test_all_who_decide_at_an_instant_are_paid_the_team_reward(driven: Haul) -> None:
    for window in driven.windows:
        team, instant = window.team_reward(), window.instants()
        at = np.flatnonzero(window.decided)
        assert len(team) == window.steps
        assert (window.reward[at] == team[instant[at]]).all()
        empty = np.setdiff1d(np.arange(window.steps), instant[at])
        assert not team[empty].any()


def test_whoever_is_terminated_has_left(driven: Haul) -> None:
    left = sum(int(window.terminated.sum()) for window in driven.windows)
    counts = driven.counts
    assert left == counts["vehicles_left"] + counts["vehicles_collided"] + counts["vehicles_removed"]


# -- where workers live -----------------------------------------------------------------------------------------


def test_a_worker_in_a_process_collects_what_one_in_this_process_collects(driven: Haul) -> None:
    job = driving_job(load_scenario("highway_350vph_cav100", DRIVING))
    collector = Collector(job, 0)
    info = collector._info
    collector.close()
    with Crew(job, info, 1, "process") as crew:
        crew.open()
        crew.begin(0)
        crew.start(driving_weights(), 2)
        crew.hauls()
        crew.start(driving_weights(), 2)
        (haul,) = crew.hauls()
    assert haul.counts == driven.counts
    for mine, theirs in zip(driven.windows, haul.windows, strict=True):
        assert mine.info.episode == theirs.info.episode
        for name in ("key", "obs", "values", "reward", "next"):
            assert getattr(mine, name).tobytes() == getattr(theirs, name).tobytes()


def test_a_worker_that_dies_is_named_with_how_it_ended() -> None:
    job = duet_job()
    collector = Collector(job, 0)
    info = collector._info
    collector.close()
    with Crew(job, info, 2, "process") as crew:
        crew.open()
        crew.begin(0)
        worker = crew._workers[1]
        assert isinstance(worker, ProcessWorker)
        worker._process._process.kill()
        with pytest.raises(TrafficError, match="worker 1 of the training was killed by signal SIGKILL"):
            crew.begin(1)


def test_what_goes_wrong_in_a_worker_process_is_raised_here_with_the_same_words() -> None:
    job = duet_job(fail_at=0.2)
    collector = Collector(job, 0)
    info = collector._info
    collector.close()
    with Crew(job, info, 1, "process") as crew:
        crew.open()
        crew.begin(0)
        crew.start(weight(1), 1)
        with pytest.raises(
            AgentError, match=r"'test\.duet' of task 'duet' failed at t = 0\.2 s: ValueError: no more"
        ):
            crew.hauls()


def test_several_simulations_do_not_fit_into_one_process() -> None:
    job = duet_job()
    with pytest.raises(ScenarioError, match="workers must be 1"):
        Crew(job, None, 2, "inline")  # type: ignore[arg-type]
