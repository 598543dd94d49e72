"""The loop: traffic, network, tasks and recorder advance through one instant after another, and nothing else.

:meth:`Engine.decisions` is the loop as a generator that stops at each question to an agent; :meth:`Engine.run`
answers the questions from agent hosts, an environment (:mod:`cosim.envs`) answers them from its caller.  The
order within an instant is the contract of lockstep (DESIGN: "The picture"): all that a decision reads is of one
instant, every decision acts before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cosim.clock import Rate
from cosim.lockstep.protocol import Actions, AgentHost, Observations
from cosim.tasks.base import Instant, Task
from cosim.traffic.commands import Commands
from cosim.traffic.state import TrafficState
from cosim.traffic.sumo import Traffic, TrafficEvent


@dataclass(frozen=True, slots=True)
class Question:
    """One batch that waits for its answer."""

    task: str
    phase: str
    observations: Observations


class Recorder(Protocol):
    """What the engine tells of each instant."""

    def actions(
        self, t_us: int, task: str, phase: str, asked: Observations, answered: Actions, done: Actions
    ) -> None:
        """One answered question: what the agent answered and what was done of it."""

    def instant(self, now: Instant) -> None:
        """Everything of this instant is decided; called last."""


class NetworkLayer(Protocol):
    """What the engine needs of the network layer."""

    def step(self, state: TrafficState) -> Any:
        """Advance to the state's instant and return the network's state there."""

    def events(self) -> Any:
        """Return what happened since the last call."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A task and how often it decides."""

    name: str
    task: Task
    rate: Rate


class Engine:
    """Everything of one run, stepped in lockstep.

    ``warmup_us`` is simulated and left out of metrics, ``duration_us`` is the measured time after it (None: without
    end).  ``network`` acts at ``network_rate``; ``meter`` is given its states and events of the measured time.
    ``samples_us`` are periods at which the recorder wants an instant, also between two traffic steps.
    """

    def __init__(
        self,
        traffic: Traffic,
        tasks: Sequence[Scheduled],
        *,
        warmup_us: int,
        duration_us: int | None,
        network: NetworkLayer | None = None,
        network_rate: Rate | None = None,
        meter: Callable[[Any, Any], None] | None = None,
        recorder: Recorder | None = None,
        samples_us: Sequence[int] = (),
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.traffic = traffic
        self.tasks = tuple(tasks)
        self.network = network
        self.warmup_us = warmup_us
        self.end_us = None if duration_us is None else warmup_us + duration_us
        self._network_rate = network_rate
        self._meter = meter
        self._recorder = recorder
        self._progress = progress
        rates = [s.rate for s in self.tasks] + ([network_rate] if network_rate else [])
        rates += [Rate(traffic.step_us, period) for period in samples_us]
        self._divisors = sorted({r.period_us for r in rates if r.per_step > 1})

    @property
    def t_us(self) -> int:
        """The instant that the traffic has reached."""
        return self.traffic.state.t_us

    def run(self, hosts: Mapping[str, AgentHost]) -> None:
        """Run to the end, each task's questions answered by its host; errors pass through."""
        loop = self.decisions()
        try:
            question = next(loop)
            while True:
                question = loop.send(hosts[question.task].act(question.observations))
        except StopIteration:
            return
        finally:
            loop.close()

    def decisions(self) -> Generator[Question, Actions, None]:
        """Yield each question, in order; send the answer to go on."""
        traffic, progress = self.traffic, self._progress
        state = traffic.state
        network_state = None
        while self.end_us is None or state.t_us < self.end_us:
            before = state
            state = traffic.step()
            last = self.end_us is not None and state.t_us >= self.end_us
            for t_us in self._instants(before.t_us, state.t_us) if self._divisors else (state.t_us,):
                whole = t_us == state.t_us
                here = state if whole else interpolate(before, state, t_us)
                events: Sequence[TrafficEvent] = traffic.events if whole else ()
                # Orders at an instant between two traffic steps are given to vehicles of the newer state.
                now = Instant(t_us, here, network_state, events, Commands(here), t_us > self.warmup_us)
                if self._network_rate is not None and self._network_rate.due(t_us):
                    network_state = self._step_network(now)
                for scheduled in self.tasks:
                    yield from self._decide(scheduled, now, whole=whole, last=last and whole)
                if now.commands.orders:
                    traffic.apply(now.commands)
                if self._recorder is not None:
                    self._recorder.instant(now)
            if progress is not None:
                progress(state.t_us)

    def _step_network(self, now: Instant) -> Any:
        assert self.network is not None
        now.network = self.network.step(now.traffic)
        now.network_events = self.network.events()
        if self._meter is not None and now.measured:
            self._meter(now.network, now.network_events)
        return now.network

    def _decide(
        self, scheduled: Scheduled, now: Instant, *, whole: bool, last: bool
    ) -> Generator[Question, Actions, None]:
        task = scheduled.task
        now.commands.source = scheduled.name
        if whole:
            task.watch(now)
        if not scheduled.rate.due(now.t_us):
            if last:
                task.settle(now)
            return
        task.settle(now)
        if last:
            return
        for phase in task.phases:
            asked = task.observe(now, phase)
            answered = yield Question(scheduled.name, phase, asked)
            done = task.apply(now, phase, answered)
            if self._recorder is not None:
                self._recorder.actions(now.t_us, scheduled.name, phase, asked, answered, done)

    def _instants(self, after_us: int, until_us: int) -> list[int]:
        """Return the instants in (after, until] at which some component acts, the traffic's own last."""
        found = {until_us}
        for period in self._divisors:
            found.update(range(after_us + period, until_us + 1, period))
        return sorted(found)


def interpolate(before: TrafficState, after: TrafficState, t_us: int) -> TrafficState:
    """Return the vehicles of *after* at an instant between the two states, positions (m) on straight lines.

    A vehicle that was not in *before* (it entered in this step) stands where it entered.
    """
    share = (t_us - before.t_us) / (after.t_us - before.t_us)
    if after.ids is before.ids:
        xy, z, s, edge, lane = before.xy, before.z, before.s, before.edge, before.lane
    else:
        xy, z, s, edge, lane = _at_their_rows(before, after)
    xy, z = xy + share * (after.xy - xy), z + share * (after.z - z)
    # Along-lane positions of two different lanes do not mix: those vehicles keep the newer one.
    same_lane = (edge == after.edge) & (lane == after.lane) & (s <= after.s)
    s = np.where(same_lane, s + share * (after.s - s), after.s)
    for array in (xy, z, s):
        array.flags.writeable = False
    return replace(after, t_us=t_us, xy=xy, z=z, s=s)


def _at_their_rows(before: TrafficState, after: TrafficState) -> tuple[NDArray[Any], ...]:
    """Return xy, z, s, edge and lane of *before* in the rows of *after*; newcomers have those of *after*."""
    found = tuple(getattr(after, name).copy() for name in ("xy", "z", "s", "edge", "lane"))
    rows = np.flatnonzero(np.isin(after.key, before.key, assume_unique=True))
    at = np.searchsorted(before.key, after.key[rows])
    for array, name in zip(found, ("xy", "z", "s", "edge", "lane"), strict=True):
        array[rows] = getattr(before, name)[at]
    return found
