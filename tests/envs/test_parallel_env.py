"""The PettingZoo environment: its own tests, who takes part, when an episode ends, and that it is cosim run's world."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from pettingzoo.utils.conversions import parallel_to_aec

import cosim
from cosim.assembly import assemble
from cosim.envs import ParallelTaskEnv, episode_seed
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep import Actions, Observations, create_agent
from cosim.scenario import load_scenario
from cosim.traffic.backend import libsumo_is_free

HIGHWAY = "scenarios/highway_350vph.yaml"
CROWD = ("traffic.inflow.cav_share=1", "tasks.driving.episode=700")
SPARSE = ("traffic.inflow.rate=40 veh/h", "traffic.inflow.cav_share=1")

Opener = Callable[..., ParallelTaskEnv]


@pytest.fixture
def open_env() -> Iterator[Opener]:
    """Open environments on the highway, without warm-up unless asked for; all are closed at the end."""
    opened: list[ParallelTaskEnv] = []

    def open_one(*overrides: str, **options: Any) -> ParallelTaskEnv:
        opened.append(cosim.parallel_env(HIGHWAY, overrides, **{"warmup": 0, **options}))
        return opened[-1]

    yield open_one
    for env in opened:
        env.close()


def keep(env: ParallelTaskEnv) -> dict[str, int]:
    return dict.fromkeys(env.agents, 4)


def allowed(rng: np.random.Generator, observations: dict[str, Any], agents: list[str]) -> dict[str, int]:
    return {a: int(rng.choice(np.flatnonzero(observations[a]["action_mask"]))) for a in agents}


# -- PettingZoo's own tests -----------------------------------------------------------------------------------


def test_pettingzoos_api_test_passes_without_a_warning_while_twenty_agents_enter_and_leave(
    open_env: Opener,
) -> None:
    env = open_env(*CROWD, warmup="5 s")
    left: set[str] = set()
    step = env.step

    def counted(actions: dict[str, Any]) -> Any:
        told = step(actions)
        left.update(name for name, gone in told[2].items() if gone)
        return told

    env.step = counted  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(env, num_cycles=1000)
    assert len(left) >= 20


def test_pettingzoos_seed_tests_pass(open_env: Opener) -> None:
    parallel_seed_test(lambda: open_env(*CROWD), num_cycles=100)
    seed_test(lambda: parallel_to_aec(open_env(*CROWD)), num_cycles=100)


def test_pettingzoos_turn_based_api_test_passes(open_env: Opener) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Observation space for each agent probably should be")  # a Dict
        warnings.filterwarnings("ignore", "Observation is not a NumPy array")
        warnings.filterwarnings("ignore", "We recommend agents to be named")
        warnings.filterwarnings("error", category=UserWarning, message="(?!Obs|We)")
        api_test(parallel_to_aec(open_env(*CROWD)), num_cycles=50)


# -- the same world as cosim run ------------------------------------------------------------------------------


def test_the_environment_is_the_world_of_cosim_run(open_env: Opener) -> None:
    """The rule-based agent sees and earns the same through the environment as in the engine, to the bit."""
    seen: list[tuple[Any, ...]] = []
    scenario = load_scenario(HIGHWAY, ["warmup=0", "duration=25 s"])
    assembly = assemble(scenario)
    agent = create_agent("common.rule_based")
    agent.reset(assembly.plan.infos["driving"])

    class Host:
        name = "rule_based"

        def act(self, asked: Observations) -> Actions:
            if len(asked):
                seen.append((asked.t_us, asked.ids, asked.obs.tobytes(), asked.reward.tolist()))
            return agent.act(asked)

    assembly.engine.run({"driving": Host()})  # type: ignore[dict-item]
    assembly.close()

    env = open_env("duration=25 s", "tasks.driving.episode=200")
    observations, infos = env.reset()
    told = [(observations, {}, infos)]
    while env.agents:
        actions = agent.act(_batch(observations, env.agents))
        observations, rewards, _, _, infos = env.step(dict(zip(env.agents, actions.values, strict=True)))
        told.append((observations, rewards, infos))
    assert len(told) > 150
    by_time = {t_us: (ids, obs, rewards) for t_us, ids, obs, rewards in seen}
    for observations, rewards, infos in told[:-1]:
        ids, obs, earned = by_time[next(iter(infos.values()))["t_us"]]
        assert tuple(observations) == ids
        assert b"".join(o["observation"].tobytes() for o in observations.values()) == obs
        if rewards:
            assert list(rewards.values()) == earned


def _batch(observations: dict[str, Any], agents: list[str]) -> Observations:
    n = len(agents)
    return Observations(
        0,
        "cav",
        tuple(agents),
        np.array([observations[a]["observation"] for a in agents]),
        np.array([observations[a]["action_mask"] for a in agents], dtype=bool),
        {},
        np.zeros(n),
        np.zeros(n, dtype=bool),
        np.zeros(n, dtype=bool),
        n,
    )


# -- who takes part -------------------------------------------------------------------------------------------


def test_agents_are_vehicle_ids_leave_once_and_never_come_back(open_env: Opener) -> None:
    env = open_env(*CROWD, "tasks.driving.remove_slow=5 m/s", "tasks.driving.remove_slow_above=0")
    rng = np.random.default_rng(3)
    observations, _ = env.reset(seed=5)
    gone: set[str] = set()
    while env.agents:
        before, last = list(env.agents), observations
        observations, rewards, terminated, truncated, infos = env.step(allowed(rng, last, before))
        assert observations.keys() == rewards.keys() == terminated.keys() == truncated.keys() == infos.keys()
        left = {name for name, flag in terminated.items() if flag}
        assert not gone & observations.keys()
        assert left <= set(before)
        for name in left:
            assert np.array_equal(observations[name]["observation"], last[name]["observation"])
        for name in set(env.agents) - set(before):
            assert rewards[name] == 0.0
        assert set(env.agents) == {n for n in observations if not terminated[n] and not truncated[n]}
        gone |= left
    assert len(gone) >= 20
    assert all(name.startswith("veh.") for name in gone)


def test_observations_are_in_their_spaces_and_a_mask_samples_allowed_actions(open_env: Opener) -> None:
    env = open_env(*CROWD)
    observations, _ = env.reset(seed=1)
    for _ in range(120):
        for name in env.agents:
            space = env.observation_space(name)
            assert isinstance(space, spaces.Dict)
            assert space.contains(observations[name])
            assert space["observation"].shape == (38,)
        actions = {a: env.action_space(a).sample(observations[a]["action_mask"]) for a in env.agents}
        observations, *_ = env.step(actions)
    assert env._episodes.metrics() == env.metrics()


def test_continuous_actions_have_a_box_and_no_mask(open_env: Opener) -> None:
    env = open_env(*CROWD, "tasks.driving.actions=continuous", warmup="3 s")
    observations, _ = env.reset(seed=1)
    assert isinstance(env.action_space("any"), spaces.Box)
    for _ in range(50):
        assert all(set(o) == {"observation"} for o in observations.values())
        observations, *_ = env.step({a: env.action_space(a).sample() for a in env.agents})


def test_reset_goes_on_until_a_cav_is_in_the_zone_after_the_warm_up(open_env: Opener) -> None:
    env = open_env(*SPARSE, warmup="20 s")
    _, infos = env.reset(seed=2)
    assert env.agents
    assert all(info["t_us"] >= 20_000_000 for info in infos.values())


def test_cavs_are_left_to_sumo_during_the_warm_up(open_env: Opener) -> None:
    env = open_env("traffic.inflow.cav_share=1", warmup="30 s")
    observations, _ = env.reset(seed=2)
    speeds = [25 * o["observation"][2] for o in observations.values()]
    assert max(speeds) > 12.0  # nobody ordered them to leave the 10 m/s of their departure


def test_empty_stretches_are_skipped_and_their_decisions_count(open_env: Opener) -> None:
    env = open_env(*SPARSE, "tasks.driving.episode=900")
    _, infos = env.reset(seed=2)
    times = [next(iter(infos.values()))["t_us"]]
    skips = 0
    while env.agents:
        *_, infos = env.step(keep(env))
        if env.agents:
            times.append(infos[env.agents[0]]["t_us"])
            skips += times[-1] - times[-2] > 100_000
    assert skips >= 2
    assert times[-1] - times[0] < 90_000_000
    assert len(times) < 900


# -- episodes -------------------------------------------------------------------------------------------------


def test_all_are_truncated_after_the_episodes_decisions(open_env: Opener) -> None:
    env = open_env("traffic.inflow.cav_share=1", "traffic.inflow.rate=1200 veh/h")
    _, infos = env.reset(seed=0)
    began = next(iter(infos.values()))["t_us"]
    for _ in range(179):
        *_, truncated, infos = env.step(keep(env))
        assert not any(truncated.values())
    were = set(env.agents)
    _, _, terminated, truncated, infos = env.step(keep(env))
    assert env.agents == []
    assert set(truncated) == were
    assert all(truncated[name] != terminated[name] for name in were)
    assert next(iter(infos.values()))["t_us"] - began == 18_000_000
    with pytest.raises(AgentError, match="the episode is over"):
        env.step({})


def test_a_task_without_an_episode_option_runs_for_the_scenarios_duration(open_env: Opener) -> None:
    assert open_env("tasks.driving.episode=20")._episodes.seat.episode == 20
    assert open_env()._episodes.seat.episode == 180


def test_episodes_follow_from_the_seed_and_each_can_be_had_alone(open_env: Opener) -> None:
    def begun(env: ParallelTaskEnv, seed: int | None = None) -> bytes:
        observations, _ = env.reset(seed)
        return repr(sorted((k, v["observation"].tobytes()) for k, v in observations.items())).encode()

    env = open_env(warmup="8 s")
    series = [begun(env, 7), begun(env), begun(env)]
    assert len(set(series)) == 3
    assert env.seed == episode_seed(7, 2)
    assert [begun(env, 7), begun(env), begun(env)] == series
    assert begun(env, episode_seed(7, 2)) == series[2]
    env.close()
    assert begun(open_env(warmup="8 s", seed=7)) == series[0]


def test_keeping_the_traffic_begins_the_next_episode_where_the_last_one_ended(open_env: Opener) -> None:
    env = open_env("traffic.inflow.cav_share=1", "tasks.driving.episode=30", warmup="10 s")
    env.reset(seed=0)
    while env.agents:
        observations, _, terminated, _, infos = env.step(keep(env))
    last = {a: o for a, o in observations.items() if not terminated[a]}
    again, later = env.reset(options={"keep_traffic": True})
    assert last
    for name, observation in last.items():
        assert np.array_equal(again[name]["observation"], observation["observation"])
    assert {i["t_us"] for i in later.values()} == {i["t_us"] for i in infos.values()}
    steps = 0
    while env.agents:
        env.step(keep(env))
        steps += 1
    assert steps == 30


def test_many_resets_do_not_grow_the_process(open_env: Opener) -> None:
    env = open_env("traffic.inflow.cav_share=1")

    def megabytes() -> float:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 / 1e6

    for _ in range(20):
        env.reset()
    before = megabytes()
    for _ in range(60):
        env.reset()
    gc.collect()
    assert megabytes() - before < 3.0


# -- wrong use ------------------------------------------------------------------------------------------------


def test_wrong_actions_are_refused_and_change_nothing(open_env: Opener) -> None:
    env = open_env("traffic.inflow.cav_share=1", warmup="10 s")
    with pytest.raises(AgentError, match=r"call reset\(\) first"):
        env.step({})
    env.reset(seed=0)
    right = keep(env)
    first = env.agents[0]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, f"no action for agent {first}"),
        ({k: v for k, v in right.items() if k != first}, f"no action for agent {first}; each of env.agents"),
        ({**right, "veh.999999": 4}, r"'veh.999999' is no agent now"),
        ({**right, first: 9}, r"a choice outside -1\.\.8"),
        ({**right, first: 2.5}, "not a whole number"),
        ({**right, first: float("nan")}, "NaN"),
        ({**right, first: "left"}, "numbers"),
        ({**right, first: None}, "numbers"),
    ]
    for actions, message in wrong:
        with pytest.raises(AgentError, match=message):
            env.step(actions)
    after = env.step({**right, first: np.int32(5)})
    other = open_env("traffic.inflow.cav_share=1", warmup="10 s")
    other.reset(seed=0)
    assert repr(other.step({**right, first: 5})[1:4]) == repr(after[1:4])


def test_minus_one_leaves_a_vehicle_to_sumo(open_env: Opener) -> None:
    env = open_env("traffic.inflow.cav_share=1")
    env.reset(seed=0)
    first = env.agents[0]
    for _ in range(30):
        observations, *_ = env.step(dict.fromkeys(env.agents, -1))
    assert observations[first]["observation"][2] * 25 > 12.0


def test_a_road_without_cavs_is_said_to_be_so(open_env: Opener) -> None:
    quick = ("traffic.step=500 ms", "tasks.driving.every=500 ms", "traffic.inflow.rate=2 veh/h")
    for worker in (False, True):
        env = open_env("traffic.inflow.cav_share=0", *quick, worker=worker)
        with pytest.raises(
            ScenarioError,
            match=r"highway_350vph\.yaml:\d+: tasks\.driving: nobody to decide for came within 600 s",
        ):
            env.reset()
        assert libsumo_is_free()


def test_a_task_that_is_not_there_is_named(open_env: Opener) -> None:
    with pytest.raises(ScenarioError, match="there is no task 'flying'; tasks: driving"):
        open_env(task="flying")
    with pytest.raises(ScenarioError, match="did you mean"):
        open_env("tasks.driving.episodes=3")


def test_closing_twice_is_harmless_and_a_closed_environment_can_be_reset(open_env: Opener) -> None:
    env = open_env()
    env.close()
    env.reset(seed=1)
    assert not libsumo_is_free()
    env.close()
    env.close()
    assert libsumo_is_free()
    assert env.agents == []
    env.reset(seed=1)
    assert env.agents


def test_a_forgotten_environment_gives_libsumo_back() -> None:
    env = cosim.parallel_env(HIGHWAY, warmup=0)
    env.reset()
    assert not libsumo_is_free()
    del env
    gc.collect()
    assert libsumo_is_free()
