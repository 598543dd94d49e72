"""How the latency of a decided task comes about in lockstep: one interface, and the closed form behind it.

The task asks a model for the parameters of the episode, the rates and queues of a slot, hands it each joint
decision, and collects the outcome at its next ``settle``.  ``paper`` computes it at once by equations (1) to (10);
``queues`` (:mod:`cosim.tasks.migration.queues`) measures it in the run's network layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.tasks.base import Instant, TaskContext
from cosim.tasks.migration.draws import Parameters, draw_parameters
from cosim.tasks.migration.episode import Outcome, Slot, settle
from cosim.tasks.migration.latency import Floats, Rules, spectral_efficiency
from cosim.tasks.migration.options import MigrationOptions
from cosim.tasks.migration.space import Ints, Layout, distances


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """What a latency model is built from; ``context.network`` is the run's network layer, if it has one."""

    options: MigrationOptions
    context: TaskContext
    layout: Layout
    rules: Rules


@dataclass(frozen=True, slots=True)
class Decision:
    """A joint decision in lockstep (E = 1).

    ``target`` and ``share`` (1, V) as executed, ``vehicles`` V ids ("" for a number not given), ``rows`` (V,) their
    rows in the traffic state (-1: not on the road).
    """

    slot: Slot
    target: Ints
    share: Floats
    vehicles: tuple[str, ...]
    rows: Ints


@dataclass(frozen=True, slots=True)
class Settled:
    """What is now known of the decisions of one slot: the rows that are ``done`` in its outcome.

    ``unfinished`` of them count with the time that they had waited by then, because they will never be finished.
    """

    slot: Slot
    outcome: Outcome
    unfinished: int = 0


class LatencyModel(Protocol):
    """What decides how long the parts of a task take; all arrays have a leading axis of 1."""

    parameters: Parameters
    """The episode's constants, as agents are told of them."""

    def rates(self, now: Instant, xy: Floats, rows: Ints) -> Floats:
        """Return the wireless rates (1, V, M), bit/s, of vehicles at ``xy`` (V, 2) to every RSU.

        ``rows`` (V,) are theirs in the traffic state, -1 for one that is not on the road.
        """

    def loads(self, now: Instant) -> Floats:
        """Return the RSUs' queues L(t) now, (1, M) cycles."""

    def level(self, now: Instant) -> Floats:
        """Return the queues (M,) cycles at any instant, with the work of the slot under way; for showing only."""

    def start(self, now: Instant, decision: Decision) -> None:
        """Set the tasks of a slot going."""

    def watch(self, now: Instant) -> None:
        """See the run after each traffic step."""

    def settle(self, now: Instant) -> Sequence[Settled]:
        """Return what became known since the last call, oldest slot first; each task is told of once.

        The last slot is among them even if none of its tasks is done: ``outcome.latency.total`` of a task that is
        not done is then the time that it has waited.
        """

    def unfinished(self) -> Sequence[Settled]:
        """Return the tasks still under way as if the run ended where it was last seen; changes nothing."""


class PaperModel:
    """Equations (1) to (10): the outcome is known as soon as the decision is."""

    def __init__(self, setup: ModelSetup) -> None:
        options = setup.options
        self._rules, self._layout = setup.rules, setup.layout
        self.parameters = draw_parameters(
            options.ranges(), [setup.context.seed], [options.draw], setup.layout.ids
        )
        self._queue = self.parameters.queue
        self._full, self._full_us = self._queue[0], 0
        self._settled: list[Settled] = []

    def rates(self, now: Instant, xy: Floats, rows: Ints) -> Floats:
        return closed_rates(self._rules, self._layout, self.parameters, xy)

    def loads(self, now: Instant) -> Floats:
        return self._queue

    def level(self, now: Instant) -> Floats:
        gone = self.parameters.cpu[0] * ((now.t_us - self._full_us) / US)
        level: Floats = np.maximum(self._full - gone, 0.0)
        return level

    def start(self, now: Instant, decision: Decision) -> None:
        slot = decision.slot
        outcome = settle(self._rules, slot, decision.target, decision.share)
        self._settled, self._queue = [Settled(slot, outcome)], outcome.queue
        full = slot.queue[0].copy()
        np.add.at(full, np.maximum(slot.serving[0], 0), outcome.kept[0])
        np.add.at(full, outcome.target[0], outcome.taken[0])
        self._full, self._full_us = full, now.t_us

    def watch(self, now: Instant) -> None:
        pass

    def settle(self, now: Instant) -> Sequence[Settled]:
        settled, self._settled = self._settled, []
        return settled

    def unfinished(self) -> Sequence[Settled]:
        return ()


def closed_rates(rules: Rules, layout: Layout, parameters: Parameters, xy: Floats) -> Floats:
    """Return the rates (1, V, M) of eqs (1) and (2), bit/s, at ``xy`` (V, 2)."""
    efficiency = spectral_efficiency(rules, distances(layout, xy[None]))
    rates: Floats = parameters.bandwidth[:, None, :] * efficiency
    return rates


def _queues(setup: ModelSetup) -> LatencyModel:
    # Imported only where it is used: the network layer brings scipy and shapely along.
    from cosim.tasks.migration.queues import QueuesModel

    return QueuesModel(setup)


LATENCY_MODELS: dict[str, Callable[[ModelSetup], LatencyModel]] = {"paper": PaperModel, "queues": _queues}
"""Latency models by the name that ``tasks.migration.model`` gives."""


def make_model(setup: ModelSetup) -> LatencyModel:
    """Return the latency model that the options name; ScenarioError if there is none."""
    name = setup.options.model
    if name not in LATENCY_MODELS:
        known = ", ".join(LATENCY_MODELS)
        raise ScenarioError(
            f"unknown latency model '{name}'{nearest(name, LATENCY_MODELS)}; known: {known}",
            key="tasks.migration.model",
        )
    return LATENCY_MODELS[name](setup)
