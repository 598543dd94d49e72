"""A task as PettingZoo ParallelEnv: each vehicle that enters becomes an agent and is one until it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo.utils.env import ParallelEnv  # type: ignore[import-untyped]

from cosim.envs.episodes import Episodes
from cosim.envs.spaces import action_space, observation_space
from cosim.errors import AgentError, nearest
from cosim.lockstep.protocol import Observations
from cosim.scenario import Scenario

Observation = dict[str, NDArray[Any]]
Infos = dict[str, dict[str, Any]]
Stepped = tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], Infos]


class ParallelTaskEnv(ParallelEnv[str, Observation, Any]):  # type: ignore[misc]
    """The agents are the vehicles (or stations, servers) that the task decides for; their names are its ids.

    ``agents`` changes from step to step: who enters joins it, who leaves is reported once more, terminated, and
    never comes back in the episode.  ``possible_agents`` are all agents that the episode has had so far; it grows,
    because who will come is not known ahead.  The reward is the task's (driving: r_env, the same for all);
    ``infos[agent]`` holds ``t_us``, ``shared`` (what concerns all rows) and ``row`` (the agent's row in those
    shared arrays that have a row for each).

    Decisions without any agent are skipped, but count in the episode; their rewards go to nobody.  After the
    episode's decisions all agents are truncated and ``agents`` is empty.
    """

    def __init__(self, episodes: Episodes) -> None:
        self._episodes = episodes
        role = episodes.seat.role
        self._observation_space = observation_space(role)
        self._action_space = action_space(role.action)
        self._pairs = isinstance(self._action_space, spaces.Tuple)
        self.metadata = {
            "name": f"cosim_{episodes.seat.task}_v0",
            "render_modes": [],
            "is_parallelizable": True,
        }
        self.render_mode = None
        self.agents: list[str] = []
        self.possible_agents: list[str] = []
        self._known: set[str] = set()

    # -- PettingZoo --

    def observation_space(self, agent: str) -> spaces.Dict:
        """Return the space of one agent's observation, the same object for all agents."""
        return self._observation_space

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return the space of one agent's action, the same object for all agents (so seed it once)."""
        return self._action_space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], Infos]:
        """Begin an episode: SUMO starts anew, warms up, and runs on until there is an agent.

        With *seed* the demand of that seed; without, the next of the series that the last seed began.
        ``options={"keep_traffic": True}`` goes on with the road as it is; other options are ignored.

        Raises:
            ScenarioError: nobody came for 600 s.
            TrafficError: SUMO could not be started.
        """
        keep = bool(options and options.get("keep_traffic"))
        turn = self._episodes.reset(seed, keep_traffic=keep)
        self.agents = []
        self.possible_agents.clear()  # the same list: wrappers hold it
        self._known.clear()
        self._enter(turn.now)
        observations, _, _, _, infos = _told(turn.now, turn.now.active)
        return observations, infos

    def step(self, actions: Mapping[str, Any]) -> Stepped:
        """Execute an action for each agent and go on to the next decision that has agents.

        A choice that the mask forbids is executed as its no-op; -1 leaves the vehicle to SUMO where the task
        allows that.  AgentError if an agent's action is missing, the agent is none, or its action is not in
        the action space; the environment is then as it was.
        """
        turn = self._episodes.step(self._values(actions))
        after, now = turn.after, turn.now
        told = _told(after, len(after))
        if turn.over:
            self._end(after, told)
        else:
            if now is not after:  # decisions were skipped: in `after` there are only those who left
                for column, more in zip(told, _told(now, now.active), strict=True):
                    column.update(more)  # type: ignore[attr-defined]
            self._enter(now)
        return told

    def render(self) -> None:
        """There is no picture; ``cosim run SCENARIO --gui`` shows the road."""

    def close(self) -> None:
        """End the simulation; may be called again, and reset() may follow."""
        self._episodes.close()
        self.agents = []

    # -- beyond PettingZoo --

    @property
    def seed(self) -> int:
        """The seed of the running episode; ``cosim run --seed`` meets the same vehicles with it."""
        return self._episodes.seed

    @property
    def in_worker(self) -> bool:
        """Whether the simulation runs in a process of its own."""
        return self._episodes.in_worker

    def metrics(self) -> dict[str, float | None]:
        """Return the task's metrics since the warm-up, SI; None where nothing was measured."""
        return self._episodes.metrics()

    # -- inside --

    def _values(self, actions: Mapping[str, Any]) -> NDArray[Any]:
        """Return the actions as the task takes them, rows in the order of the agents."""
        agents = self.agents
        try:
            if len(actions) != len(agents):
                raise KeyError
            chosen = [actions[agent] for agent in agents]
        except KeyError:
            raise AgentError(_wrong_agents(actions, agents)) from None
        try:
            if self._pairs:
                return np.array([[choice, *values] for choice, values in chosen], dtype=np.float64)
            return np.array(chosen)
        except (TypeError, ValueError) as error:
            raise AgentError(f"step(): actions that are no numbers of one shape: {error}") from None

    def _enter(self, now: Observations) -> None:
        ids = now.ids[: now.active]
        self.agents = list(ids)
        known = self._known
        if not known.issuperset(ids):
            fresh = [name for name in ids if name not in known]
            known.update(fresh)
            self.possible_agents.extend(fresh)

    def _end(self, after: Observations, told: Stepped) -> None:
        """Truncate whoever is still there; those who came only now never were agents and are not told of."""
        were = set(self.agents)
        truncations = told[3]
        for name in after.ids[: after.active]:
            if name in were:
                truncations[name] = True
            else:
                for column in told:
                    del column[name]
        self.agents = []


def _told(batch: Observations, rows: int) -> Stepped:
    """Return the first *rows* rows of a batch as PettingZoo's five dictionaries, nobody truncated."""
    ids = batch.ids[:rows]
    observations: dict[str, Observation]
    if batch.mask is None:
        observations = {name: {"observation": row} for name, row in zip(ids, batch.obs, strict=False)}
    else:
        # Gymnasium samples with masks of int8; the bytes are the same.
        masks = np.ascontiguousarray(batch.mask).view(np.int8)
        observations = {
            name: {"observation": row, "action_mask": mask}
            for name, row, mask in zip(ids, batch.obs, masks, strict=False)
        }
    rewards = dict(zip(ids, batch.reward.tolist(), strict=False))
    terminations = dict(zip(ids, batch.terminated.tolist(), strict=False))
    infos: Infos = {
        name: {"t_us": batch.t_us, "row": row, "shared": batch.shared} for row, name in enumerate(ids)
    }
    return observations, rewards, terminations, dict.fromkeys(ids, False), infos


def _wrong_agents(actions: Mapping[str, Any], agents: Sequence[str]) -> str:
    """Say what is wrong with the names in *actions*."""
    missing = [name for name in agents if name not in actions]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"step(): no action for agent {', '.join(missing[:3])}{more}; each of env.agents needs one"
    name = next(name for name in actions if name not in set(agents))
    there = ", ".join(agents[:5]) + (" …" if len(agents) > 5 else "")
    return f"step(): '{name}' is no agent now{nearest(name, agents)}; env.agents: {there or 'none'}"


def parallel_env(
    scenario: Scenario | str | Path,
    overrides: Sequence[str] = (),
    *,
    task: str | None = None,
    seed: int | None = None,
    warmup: float | str | None = None,
    backend: str | None = None,
    worker: bool | None = None,
    plugins: Sequence[str] = (),
) -> ParallelTaskEnv:
    """Return a task of *scenario* as a PettingZoo ParallelEnv, over the same engine as ``cosim run``.

    Args:
        scenario: a scenario's name or path, or a loaded one.
        overrides: ``key.path=value`` texts, as ``--set`` takes them; ``tasks.driving.episode=600`` makes an
            episode of 600 decisions.
        task: which task is played; may be left out if there is only one.  The others are decided by the agents
            that the scenario names.
        seed: of the first episode; None takes the scenario's.  Each later one has a seed that follows from it.
        warmup: simulated before each episode (``30 s``, or seconds); None takes the scenario's.  During it
            vehicles are left to SUMO where the task allows that, else nothing is ordered but zeros.
        backend: libsumo or traci; None takes the scenario's.
        worker: simulate in a process of its own; None does so only if this process's libsumo is in use.
        plugins: modules that register tasks or agents.

    Raises ScenarioError if the scenario or task cannot be used; nothing is simulated before ``reset()``.

    >>> env = parallel_env("highway_350vph")
    >>> observations, infos = env.reset(seed=1)
    >>> actions = {a: env.action_space(a).sample(observations[a]["action_mask"]) for a in env.agents}
    >>> observations, rewards, terminations, truncations, infos = env.step(actions)
    >>> env.close()
    """
    return ParallelTaskEnv(
        Episodes(
            scenario,
            overrides,
            task=task,
            seed=seed,
            warmup=warmup,
            backend=backend,
            worker=worker,
            plugins=plugins,
        )
    )
