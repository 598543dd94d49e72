"""The Gymnasium environment: its own checker, the same rewards as the parallel one, slots that are kept for life."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import cosim
from cosim.envs import SlotsEnv
from cosim.errors import AgentError, ScenarioError

CROWD = ("traffic.inflow.cav_share=1", "traffic.inflow.rate=900 veh/h", "tasks.driving.episode=300")

Opener = Callable[..., SlotsEnv]


@pytest.fixture
def open_env() -> Iterator[Opener]:
    opened: list[SlotsEnv] = []

    def open_one(*overrides: str, **options: Any) -> SlotsEnv:
        opened.append(cosim.gym_env("highway_350vph", overrides, **{"warmup": 0, **options}))
        return opened[-1]

    yield open_one
    for env in opened:
        env.close()


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_gymnasiums_checker_passes_without_a_warning(open_env: Opener, actions: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A symmetric, normalised Box is for the task to choose; an episode's end is a truncation.
        check_env(open_env(f"tasks.driving.actions={actions}"), skip_render_check=True)


def test_a_vehicle_keeps_its_slot_until_it_leaves(open_env: Opener) -> None:
    env = open_env(*CROWD, slots=12)
    observation, info = env.reset(seed=1)
    slot_of: dict[str, int] = {}
    full = reused = False
    truncated = False
    while not truncated:
        for slot, name in enumerate(info["ids"]):
            assert bool(name) == bool(observation["alive"][slot])
            if name:
                assert slot_of.setdefault(name, slot) == slot
                assert observation["observation"][slot].any()
            else:
                assert not observation["observation"][slot].any()
                assert observation["action_mask"][slot].all()
        full |= all(info["ids"])
        reused |= len(slot_of) > 12
        assert np.array_equal(env.action_masks(), observation["action_mask"].ravel())
        observation, _, terminated, truncated, info = env.step(np.full(12, 5))
        assert not terminated
    assert full
    assert reused


def test_the_learner_earns_what_the_vehicles_earn(open_env: Opener) -> None:
    overrides = ("traffic.inflow.cav_share=1", "tasks.driving.episode=250")
    env, parallel = open_env(*overrides), cosim.parallel_env("highway_350vph", overrides, warmup=0)
    _, info = env.reset(seed=2)
    parallel.reset(seed=2)
    rng = np.random.default_rng(0)
    while parallel.agents:
        action = rng.integers(0, 9, 25)
        by_name = {name: int(a) for name, a in zip(info["ids"], action, strict=True) if name}
        assert by_name.keys() == set(parallel.agents)
        acted = set(parallel.agents)
        _, reward, _, truncated, info = env.step(action)
        _, rewards, *_ = parallel.step(by_name)
        assert reward == pytest.approx(np.mean([r for name, r in rewards.items() if name in acted]))
    assert truncated
    parallel.close()


def test_vehicles_without_a_slot_are_left_to_sumo(open_env: Opener) -> None:
    env = open_env(*CROWD, slots=1)
    env.reset(seed=1)
    truncated, names = False, set()
    while not truncated:
        *_, truncated, info = env.step(np.array([5]))
        names.add(info["ids"][0])
    assert len(names) > 1


def test_wrong_slots_and_actions_are_refused(open_env: Opener) -> None:
    with pytest.raises(ScenarioError, match="at least one slot"):
        open_env(slots=0)
    env = open_env(slots=3)
    with pytest.raises(AgentError, match=r"call reset\(\) first"):
        env.step(np.array([4, 4, 4]))
    env.reset()
    with pytest.raises(AgentError, match="not in MultiDiscrete"):
        env.step(np.array([4, 4, 9]))
    assert isinstance(env.action_space, spaces.MultiDiscrete)
