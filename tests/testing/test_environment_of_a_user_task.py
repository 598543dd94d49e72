"""A task that a user wrote plays as environment like our own, beside another task, in this process and a worker."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test
from toy_tasks import scenario_with

import cosim
from cosim.errors import ScenarioError

SHORT = ("duration=20 s",)


def test_a_user_task_passes_pettingzoos_api_test() -> None:
    env = cosim.parallel_env(scenario_with("toy"), SHORT, warmup=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(env, num_cycles=300)
    assert len(env.possible_agents) >= 15
    env.close()


def test_a_user_task_passes_gymnasiums_checker() -> None:
    env = cosim.gym_env(scenario_with("toy"), SHORT, warmup=0, slots=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)


def test_the_other_tasks_are_decided_by_the_agents_that_the_scenario_names() -> None:
    both = scenario_with("driving", "toy", overrides=SHORT)
    seen = []
    for worker in (False, True):
        env = cosim.parallel_env(both, task="toy", warmup=0, worker=worker)
        observations, _ = env.reset(seed=1)
        for _ in range(60):
            observations, *_ = env.step(dict.fromkeys(env.agents, 1))
        seen.append({name: o["observation"].tobytes() for name, o in observations.items()})
        env.close()
    assert seen[0] == seen[1]
    alone = cosim.parallel_env(scenario_with("toy", overrides=SHORT), warmup=0)
    observations, _ = alone.reset(seed=1)
    speeds = []
    for _ in range(60):
        observations, *_ = alone.step(dict.fromkeys(alone.agents, 1))
        speeds += [o["observation"][1] * 25 for o in observations.values()]
    assert np.allclose(speeds, 10.0)  # the toy's no-op keeps the speed of departure; driving did not
    assert {name: o["observation"].tobytes() for name, o in observations.items()} != seen[0]
    alone.close()


def test_the_task_must_be_named_where_there_are_two() -> None:
    with pytest.raises(ScenarioError, match="say which task is meant: task=…; tasks: driving, toy"):
        cosim.parallel_env(scenario_with("driving", "toy"))
