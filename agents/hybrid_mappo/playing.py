"""Playing policies on recorded tapes: rollouts to learn from, and evaluations with the trained or a fixed policy.

Decisions never change the traffic, so what a predictor says is computed once for each tape and slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from agents.hybrid_mappo.acting import Scores, settle_on
from agents.hybrid_mappo.central_state import central_state, state_length
from agents.hybrid_mappo.deciders import Decision, Question
from agents.hybrid_mappo.foresight import Foresight
from agents.hybrid_mappo.rollout import Rollout
from cosim.randomness import entity_keys
from cosim.tasks.migration import ObservationSet, TapeBatch, observation_length

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Explore = Callable[[Scores, NDArray[np.bool_], np.random.Generator], tuple[NDArray[np.int64], Singles]]
Net = Callable[[Singles], Scores]

PERIOD_US = 1_000_000


class Player:
    """Plays E episodes at a time on the tapes of *batch*; ``begin_us`` (N,) are their first decisions' instants."""

    def __init__(self, batch: TapeBatch, foresight: Foresight, observation: ObservationSet) -> None:
        self.batch, self._foresight, self._observation = batch, foresight, observation
        tapes = batch.tapes
        self._keys = np.stack([entity_keys(tape.vehicles) for tape in tapes])
        self._seeds = [tape.seed for tape in tapes]
        first, slot = tapes[0].start + tapes[0].history * tapes[0].slot, tapes[0].slot
        self._t_us = [round((first + t * slot) * PERIOD_US) for t in range(batch.decisions)]
        self._counts = self._all_counts()

    def _all_counts(self) -> NDArray[np.float32] | None:
        """Return z (T, N, V, M) of all slots of all tapes, None where nothing is foreseen."""
        batch, found = self.batch, []
        batch.start(range(len(batch.tapes)))
        for _ in range(batch.decisions):
            counts = self._foresight.counts(batch.layout, batch.slot, batch.history)
            if counts is None:
                return None
            found.append(counts.astype(np.float32))
            batch.step(np.zeros(batch.slot.serving.shape, dtype=np.int64), np.zeros(batch.slot.serving.shape))
        return np.stack(found)

    def start(self, which: Sequence[int] | NDArray[np.int64], draws: Sequence[int]) -> None:
        """Begin episodes on tapes *which* (E,) with draw numbers *draws* (E,)."""
        self._which = np.asarray(which, dtype=np.int64)
        self.batch.start(self._which, draws)

    def question(self) -> Question:
        """Return what this slot asks, with the loads that are foreseen."""
        batch, slot = self.batch, self.batch.slot
        counts = None if self._counts is None else self._counts[slot.t][self._which].astype(np.float64)
        return Question(
            rules=batch.rules,
            slot=slot,
            mask=batch.mask,
            loads=self._foresight.loads(slot, counts),
            keys=self._keys[self._which],
            seeds=[self._seeds[i] for i in self._which],
            t_us=[self._t_us[slot.t]] * len(self._which),
            remote=batch.layout.remote,
        )

    def rollout(
        self,
        net: Net,
        explore: Explore,
        which: NDArray[np.int64],
        draws: Sequence[int],
        random: np.random.Generator,
    ) -> Rollout:
        """Play whole episodes while exploring and return what there is to learn from."""
        batch, episodes, slots = self.batch, len(which), self.batch.decisions
        self.start(which, draws)
        shape = (episodes, slots, batch.vehicles)
        width = observation_length(self._observation, batch.layout.stations, batch.vehicles)
        out = Rollout(
            inputs=np.empty((*shape, width), dtype=np.float32),
            state=np.empty(
                (episodes, slots, state_length(width, batch.vehicles, batch.layout.stations)), np.float32
            ),
            allowed=np.empty((*shape, batch.mask.shape[-1]), dtype=np.bool_),
            present=np.empty(shape, dtype=np.bool_),
            target=np.empty(shape, dtype=np.int64),
            share=np.empty(shape, dtype=np.float32),
            moves=np.empty(shape, dtype=np.bool_),
            reward=np.empty(shape),
        )
        for t in range(slots):
            question = self.question()
            x = batch.observe(self._observation, question.loads)
            target, share = explore(net(x), question.mask, random)
            out.inputs[:, t], out.allowed[:, t], out.present[:, t] = x, question.mask, batch.slot.has_task
            out.state[:, t] = central_state(x, batch.rules, batch.slot, slots)
            out.target[:, t], out.share[:, t] = target, share
            open_ = batch.slot.has_task & np.take_along_axis(question.mask, target[..., None], -1)[..., 0]
            out.moves[:, t] = open_ & (target == 1) if question.remote else open_
            out.reward[:, t] = batch.step(target, share.astype(np.float64)).reward
        return out

    def trained(self, net: Net, draw: bool) -> Callable[[Question], Decision]:
        """Return the trained policy as a rule; ``draw``: choices are drawn by key, else the likeliest is taken."""
        return lambda question: settle_on(
            net(self.batch.observe(self._observation, question.loads)), question, draw
        )

    def play(
        self,
        rule: Callable[[Question], Decision],
        which: Sequence[int] | NDArray[np.int64],
        draws: Sequence[int],
    ) -> Floats:
        """Return T_sum (E, T, V) in s of whole episodes; NaN where a vehicle had no task."""
        self.start(which, draws)
        found = []
        while not self.batch.over:
            question = self.question()
            outcome = self.batch.step(*rule(question))
            found.append(np.where(outcome.done, outcome.latency.total, np.nan))
        return np.stack(found, axis=1)
