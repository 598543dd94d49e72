"""A worker's half of a training: one real simulation at a time, an actor that decides in it, windows out of it.

A :class:`Collector` starts SUMO afresh when a leg of the training begins (:func:`collection_seed` says with which
seed) and then collects window after window on traffic that runs on.  Between legs it evaluates a policy greedily:
whole runs of the evaluation scenario, as ``cosim run`` would do them.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from cosim.assembly import Assembly, agents_of, assemble, plan, reseeded
from cosim.engine import Question
from cosim.errors import TrafficError
from cosim.experiments.windows import make_window
from cosim.lockstep.hosts import open_host
from cosim.lockstep.inline import InlineHost
from cosim.lockstep.learner import Actor, Setup, Weights, Window, trainable
from cosim.lockstep.protocol import Actions, AgentHost, EpisodeInfo, Observations
from cosim.scenario import Scenario

EVALUATION_SEED = 10**9
"""Evaluations use the seeds from here on; collection seeds lie below."""

Numbers = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do, as plain data.

    ``collect`` and ``evaluate`` are the scenarios, ``config`` the values of the method's configuration, ``window``
    the decisions of a learning window, ``windows`` how many of them a leg has at most (it numbers them).
    """

    collect: Scenario
    evaluate: Scenario
    task: str
    agent: str
    config: Mapping[str, Any]
    seed: int
    steps: int
    window: int
    windows: int


@dataclass(frozen=True, slots=True)
class Haul:
    """What one round brought in from one worker: windows in order of time, and what was counted meanwhile."""

    windows: list[Window]
    counts: dict[str, int]


def collection_seed(seed: int, worker: int, leg: int) -> int:
    """Return the scenario seed with which *worker* starts SUMO for *leg* of the training with *seed*."""
    digest = blake2b(f"{seed}|train/collect|{worker}|{leg}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % EVALUATION_SEED


class Collector:
    """One worker.  Close it when done; what goes wrong is a CosimError."""

    def __init__(self, job: Job, worker: int) -> None:
        self._job = job
        self._worker = worker
        ready = plan(job.collect)
        kind = trainable(job.agent)
        config = kind.Config.model_validate(dict(job.config))
        self._info = ready.infos[job.task]
        self._phases = tuple(next(s.task.phases for s in ready.tasks if s.name == job.task))
        self._actor = kind.actor(Setup(self._info, config, job.seed, job.steps, "cpu"))
        self._hosts = self._all_hosts(job.collect)
        self._assembly: Assembly | None = None
        self._loop: Generator[Question, Actions, None] | None = None
        self._question: Question | None = None
        self._open: dict[str, _Stretch] = {}

    def _all_hosts(self, scenario: Scenario) -> dict[str, AgentHost]:
        specs = agents_of(scenario)
        hosts: dict[str, AgentHost] = {
            name: open_host(spec, name, inline=True) for name, spec in specs.items() if name != self._job.task
        }
        self._deciding = _Deciding(self._actor)
        hosts[self._job.task] = InlineHost(self._deciding, self._job.agent, self._job.task)
        return hosts

    # -- collecting --

    def begin(self, leg: int) -> None:
        """Start SUMO afresh for a leg; ScenarioError or TrafficError if that fails."""
        self.stop()
        job = self._job
        ready = plan(reseeded(job.collect, collection_seed(job.seed, self._worker, leg)))
        self._info = ready.infos[job.task]
        for name, host in self._hosts.items():
            host.reset(ready.infos[name])
        self._assembly = assemble(ready, endless=True)
        self._loop = self._assembly.engine.decisions()
        self._question = next(self._loop)
        self._open = {role: _Stretch(leg * job.windows) for role in self._phases}
        self._counted = self._totals()

    def collect(self, weights: Weights, windows: int) -> Haul:
        """Act with *weights* for that many windows and return them.

        A window of several phases ends when the last of them has been asked at the instant after its last decision;
        that question waits for the next call, so it is answered with the next weights.
        """
        self._actor.load_policy(weights)
        self._deciding.explore = True
        done: list[Window] = []
        while True:
            question = self._asked()
            if question.task == self._job.task:
                observations = question.observations
                stretch = self._open[observations.role]
                if stretch.sees(observations) and len(stretch.answered) == self._job.window:
                    done.append(self._close(observations))
                    if len(done) == windows * len(self._phases):
                        return Haul(done, self._counts())
            self._answer(question)

    def _asked(self) -> Question:
        if self._question is None:
            raise TrafficError(f"worker {self._worker} was asked to collect before SUMO was started")
        return self._question

    def _answer(self, question: Question) -> None:
        assert self._loop is not None
        host = self._hosts[question.task]
        if question.task == self._job.task:
            stretch = self._open[question.observations.role]
            if not stretch.answered and question.phase == self._phases[0]:
                host.reset(self._numbered(stretch))
            answer = host.act(question.observations)
            stretch.answered.append(answer)
        else:
            answer = host.act(question.observations)
        try:
            self._question = self._loop.send(answer)
        except StopIteration:
            raise TrafficError("the simulation ended by itself") from None

    def _close(self, last: Observations) -> Window:
        """Pack the window that *last* settles, and begin the next one with it."""
        stretch = self._open[last.role]
        self._open[last.role] = _Stretch(stretch.number + 1, last)
        return make_window(self._worker, self._numbered(stretch), stretch.asked, stretch.answered)

    def _numbered(self, stretch: _Stretch) -> EpisodeInfo:
        return replace(self._info, episode=stretch.number)

    def _counts(self) -> dict[str, int]:
        before, self._counted = self._counted, self._totals()
        return {name: count - before[name] for name, count in self._counted.items()}

    def _totals(self) -> dict[str, int]:
        """The whole numbers that the task counts."""
        assert self._assembly is not None
        task = next(s.task for s in self._assembly.plan.tasks if s.name == self._job.task)
        return {
            name: int(value) for name, value in task.totals().items() if isinstance(value, int | np.integer)
        }

    # -- evaluating --

    def evaluate(self, weights: Weights, seeds: Sequence[int]) -> list[Numbers]:
        """Run the evaluation scenario once a seed, greedily, and return the task's metrics and totals of each.

        ``reward`` is the mean reward of an entity's decision.  A simulation under way is ended.
        """
        self.stop()
        self._actor.load_policy(weights)
        self._deciding.explore = False
        return [self._run(seed) for seed in seeds]

    def _run(self, seed: int) -> Numbers:
        job = self._job
        ready = plan(reseeded(job.evaluate, seed))
        for name, host in self._hosts.items():
            host.reset(ready.infos[name])
        self._deciding.forget()
        self._assembly = assemble(ready)
        try:
            self._assembly.engine.run(self._hosts)
            task = next(s.task for s in ready.tasks if s.name == job.task)
            numbers: Numbers = {
                name: float(value) if value is not None and math.isfinite(value) else None
                for name, value in {**task.totals(), **task.metrics()}.items()
            }
        finally:
            self.stop()
        numbers["reward"] = self._deciding.mean_reward()
        return numbers

    # -- life --

    def stop(self) -> None:
        """End SUMO if it runs; never raises."""
        loop, assembly = self._loop, self._assembly
        self._loop = self._assembly = self._question = None
        if loop is not None:
            loop.close()
        if assembly is not None:
            assembly.close()

    def close(self) -> None:
        """End everything; never raises."""
        self.stop()
        for host in self._hosts.values():
            host.close()


class _Stretch:
    """The open window of one role: its number, the questions so far and the answers so far."""

    __slots__ = ("answered", "asked", "number")

    def __init__(self, number: int, beginning: Observations | None = None) -> None:
        self.number = number
        self.asked: list[Observations] = [] if beginning is None else [beginning]
        self.answered: list[Actions] = []

    def sees(self, observations: Observations) -> bool:
        """Take in a question; False if it is the one that was taken in last, held over from the call before."""
        if self.asked and self.asked[-1] is observations:
            return False
        self.asked.append(observations)
        return True


class _Deciding:
    """An actor as an agent: exploring or not, with the rewards it was told added up."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self.explore = True
        self.forget()

    def forget(self) -> None:
        """Begin to add up rewards anew."""
        self._reward, self._rewarded = 0.0, 0

    def mean_reward(self) -> float | None:
        """Return the mean reward of an entity's decision, None without any."""
        return self._reward / self._rewarded if self._rewarded else None

    def reset(self, info: EpisodeInfo) -> None:
        self._actor.reset(info)
        self._asked_before: dict[str, int] = {}

    def act(self, observations: Observations) -> Actions:
        if not self.explore:
            # Newcomers have no reward yet: every decision before is reported once, newcomers with 0.
            self._reward += float(observations.reward.sum())
            self._rewarded += self._asked_before.get(observations.role, 0)
            self._asked_before[observations.role] = observations.active
        return self._actor.act(observations, self.explore)

    def close(self) -> None:
        """Nothing is held."""
