"""One task of a scenario, simulated for somebody outside who answers its questions: reset, step, and no more.

A :class:`Session` holds at most one running simulation, with the same engine, task and traffic as ``cosim run``.
It answers for the caller during the warm-up and where nobody is there to decide for; the other tasks of the
scenario are decided by their own agents.  :mod:`cosim.envs.worker` has the same thing in a process of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cosim.assembly import Assembly, Plan, agents_of, assemble, plan, reseeded
from cosim.clock import US
from cosim.engine import Question
from cosim.errors import AgentError, ScenarioError, TrafficError
from cosim.lockstep.hosts import open_host
from cosim.lockstep.protocol import LEAVE_IT, Actions, AgentHost, EpisodeInfo, Observations, RoleSpec
from cosim.lockstep.registry import check_spec
from cosim.scenario import Scenario

PATIENCE_US = 600 * US
"""Simulated time without anybody to decide for after which a reset gives up."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Where an episode stands after an answer.

    ``after`` is the batch of the decision right after the answer: the rewards of the answer and who left.
    ``now`` is the batch that waits for an answer; it is the same object unless decisions without anybody to
    decide for were skipped.  ``decisions`` counts those of the episode so far, skipped ones included; when the
    episode is ``over``, ``now`` is what a next episode on the same traffic would begin with.
    """

    after: Observations
    now: Observations
    decisions: int
    over: bool


class Simulated(Protocol):
    """What environments need of a session, wherever it runs."""

    def reset(self, seed: int, episode: int) -> Turn:
        """Start the simulation anew and go on until somebody is to be decided for."""

    def go_on(self) -> Turn:
        """Begin a new episode on the traffic as it is."""

    def step(self, values: NDArray[Any]) -> Turn:
        """Answer the batch that waits, and go on to the next one with anybody in it."""

    def metrics(self) -> dict[str, float | None]:
        """Return the task's metrics since the warm-up."""

    def close(self) -> None:
        """End everything; never raises, may be called again."""


@dataclass(frozen=True)
class Seat:
    """Which task of a scenario is decided from outside: its only role, and how many decisions an episode has."""

    scenario: Scenario
    task: str
    info: EpisodeInfo
    role: RoleSpec
    episode: int


def take_seat(scenario: Scenario, task: str | None = None) -> Seat:
    """Return the seat at *task* (None: the only one) of *scenario*, all of it checked, nothing simulated.

    An episode has as many decisions as the task's option ``episode`` says, else as fit into the scenario's
    duration.  ScenarioError if the scenario does not fit together, has no such task, or the task asks several
    roles in turn at one instant.
    """
    ready = plan(scenario)
    name = task_name(ready, task)
    for other, spec in agents_of(scenario).items():
        if other != name:
            check_spec(spec)
    chosen = next(s for s in ready.tasks if s.name == name)
    phases = tuple(chosen.task.phases)
    if len(phases) != 1:
        raise scenario.error(
            f"tasks.{name}",
            f"asks {', '.join(phases)} in turn at one instant; an environment takes a task with one role",
        )
    info = ready.infos[name]
    episode = info.options.get("episode")
    decisions = episode if isinstance(episode, int) else max(1, scenario.duration_us // info.period_us)
    return Seat(scenario, name, info, info.roles[phases[0]], decisions)


def task_name(ready: Plan, task: str | None) -> str:
    """Return *task*, or the plan's only task; ScenarioError if there is no such task or more than one."""
    names = [s.name for s in ready.tasks]
    known = ", ".join(names) or "none"
    if task is None and len(names) == 1:
        return names[0]
    if task is None:
        raise ready.scenario.error("tasks", f"say which task is meant: task=…; tasks: {known}")
    if task not in names:
        raise ready.scenario.error("tasks", f"there is no task '{task}'; tasks: {known}")
    return task


class Session:
    """A seat taken, in this process; ``backend`` None takes the scenario's."""

    def __init__(self, seat: Seat, backend: str | None = None) -> None:
        self._seat = seat
        self._backend = backend
        self._assembly: Assembly | None = None
        self._loop: Generator[Question, Actions, None] | None = None
        self._turn: Turn | None = None
        self._others: dict[str, AgentHost] = {}

    # -- what the caller does --

    def reset(self, seed: int, episode: int) -> Turn:
        """Start SUMO anew under *seed*, simulate the warm-up, and go on until somebody is to be decided for.

        ScenarioError if nobody comes for :data:`PATIENCE_US`; TrafficError if SUMO does not start.
        """
        self.stop()
        try:
            ready = plan(reseeded(self._seat.scenario, seed))
            for name, host in self._hosts().items():
                host.reset(replace(ready.infos[name], episode=episode))
            self._assembly = assemble(ready, backend=self._backend, endless=True)
            self._loop = self._assembly.engine.decisions()
            return self._open(self._question(next(self._loop)))
        except BaseException:
            self.stop()
            raise

    def go_on(self) -> Turn:
        """Begin a new episode with the batch that waits; AgentError if nothing is running."""
        return self._open(self._running().now)

    def step(self, values: NDArray[Any]) -> Turn:
        """Answer the batch that waits with *values*, shaped as the role's action spec says."""
        turn = self._running()
        after = now = self._answer(values)
        decisions = turn.decisions + 1
        while not now.active and decisions < self._seat.episode:
            now = self._quiet(now)
            decisions += 1
        self._turn = Turn(after, now, decisions, decisions >= self._seat.episode)
        return self._turn

    def metrics(self) -> dict[str, float | None]:
        """Return the task's metrics since the warm-up; None where nothing was measured."""
        self._running()
        assert self._assembly is not None
        return next(s.task for s in self._assembly.plan.tasks if s.name == self._seat.task).metrics()

    def close(self) -> None:
        """End SUMO and the other tasks' agents; never raises."""
        self.stop()
        for host in self._others.values():
            host.close()
        self._others = {}

    # -- inside --

    def _open(self, now: Observations) -> Turn:
        """Go on from *now* to the first decision of an episode."""
        warmup_us = self._seat.scenario.warmup_us
        ends_us = max(warmup_us, now.t_us) + PATIENCE_US
        while now.t_us < warmup_us or not now.active:
            if now.t_us >= ends_us:
                self.stop()
                raise ScenarioError(
                    f"nobody to decide for came within {PATIENCE_US / US:g} s: does the scenario bring any?",
                    key=f"tasks.{self._seat.task}",
                )
            now = self._quiet(now)
        self._turn = Turn(now, now, 0, over=False)
        return self._turn

    def _running(self) -> Turn:
        if self._turn is None:
            raise AgentError("the environment is not running: call reset() first")
        return self._turn

    def _quiet(self, asked: Observations) -> Observations:
        return self._answer(quiet(self._seat.info, self._seat.role, asked.active))

    def _answer(self, values: NDArray[Any]) -> Observations:
        assert self._loop is not None
        try:
            return self._question(self._loop.send(Actions(values)))
        except StopIteration:
            raise TrafficError("the simulation ended by itself") from None
        except BaseException:
            self.stop()
            raise

    def _question(self, question: Question) -> Observations:
        """Let the other tasks' agents answer until it is the caller's turn."""
        while question.task != self._seat.task:
            assert self._loop is not None
            question = self._loop.send(self._others[question.task].act(question.observations))
        return question.observations

    def _hosts(self) -> dict[str, AgentHost]:
        if not self._others:
            specs = agents_of(self._seat.scenario)
            self._others = {
                name: open_host(spec, name, inline=True)
                for name, spec in specs.items()
                if name != self._seat.task
            }
        return self._others

    def stop(self) -> None:
        """End SUMO, so that libsumo is free again; never raises."""
        loop, assembly = self._loop, self._assembly
        self._loop = self._assembly = self._turn = None
        if loop is not None:
            loop.close()
        if assembly is not None:
            assembly.close()


def quiet(info: EpisodeInfo, role: RoleSpec, rows: int) -> NDArray[Any]:
    """Return the answer that interferes least, for that many rows.

    A choice is LEAVE_IT where the task allows it, else the task's option ``no_op``, else 0; continuous values are
    as near to 0 as their bounds allow.
    """
    spec = role.action
    values = np.zeros(spec.shape(rows), dtype=spec.dtype)
    if spec.k:
        values[:, -spec.k :] = np.clip(0.0, spec.low, spec.high)
    if spec.n:
        named = info.options.get("no_op", 0)
        named = named.get(role.name, 0) if isinstance(named, Mapping) else named
        (values[:, 0] if spec.k else values)[...] = LEAVE_IT if spec.leave_it else int(named)
    return values
