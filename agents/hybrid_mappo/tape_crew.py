"""Collecting and evaluating on recorded tapes, in this process: what Hybrid-MAPPO trains with instead of SUMO workers.

Decisions never change this task's traffic, so a training meets tapes that were recorded once; missing ones are
recorded before it begins.  A round plays ``workers`` episodes side by side, each on a tape and with draws chosen by
key; nothing is carried from round to round, so a training is repeatable and resumable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.hybrid_mappo.acting import PolicyNet, explore
from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.deciders import random as random_rule
from agents.hybrid_mappo.foresight import Foresight
from agents.hybrid_mappo.playing import Explore, Player
from agents.hybrid_mappo.reading import sizes_of
from cosim.errors import ScenarioError
from cosim.experiments.rollout import Haul, Job, Numbers
from cosim.experiments.tapes import record_tapes
from cosim.lockstep.learner import Weights
from cosim.lockstep.protocol import EpisodeInfo
from cosim.scenario import Scenario
from cosim.tasks.migration import MigrationOptions, TapeBatch, load_tape

DRAWS = 1 << 30
"""Draw numbers while learning are below this, and above those of evaluations."""
_FIRST_DRAW = 1000


class TapeCrew:
    """Satisfies :class:`cosim.experiments.crew.Collecting`.

    Args:
        config: the method's configuration.
        episodes: episodes side by side.
        name: the agent's, in messages.
        certain: whether the continuous actor gives the share itself, see :class:`PolicyNet`.
        explore: how choices and shares are drawn while learning.
    """

    def __init__(
        self,
        job: Job,
        info: EpisodeInfo,
        config: HybridConfig,
        episodes: int,
        name: str,
        *,
        certain: bool = False,
        explore: Explore = explore,
    ) -> None:
        self._job, self._info, self._episodes, self._name = job, info, episodes, name
        self._config, self._certain, self._explore = config, certain, explore
        self._sizes = sizes_of(info, self._config)
        self._weights: Weights = {}
        self._round, self._leg, self._count = 0, 0, 1
        self._evaluator: tuple[tuple[int, ...], Player, float] | None = None

    def __enter__(self) -> TapeCrew:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    # -- collecting --

    def open(self) -> None:
        """Read or record the tapes; ScenarioError if they do not fit."""
        first, count = self._config.tape_seed, self._config.tape_count
        self._player = self._playing(range(first, first + count), self._job.collect, self._config.prediction)
        if self._player.batch.decisions != self._job.window:
            raise ScenarioError(
                f"window {self._job.window}: tapes of this scenario hold {self._player.batch.decisions} decisions"
            )

    def _playing(self, seeds: Sequence[int], scenario: Scenario, prediction: str) -> Player:
        """Return a player of the tapes of *seeds* by the task options of *scenario*."""
        job, info, config = self._job, self._info, self._config
        folder = config.tapes or f"runs/tapes/{job.evaluate.name}"
        tapes = [load_tape(file) for file in record_tapes(job.evaluate, seeds, folder).files]
        options = scenario.parse(f"tasks.{job.task}", MigrationOptions)
        batch = TapeBatch(tapes, options.rules(info.period_us / 1e6), options.ranges())
        return Player(batch, Foresight.named(prediction, config.zeta), config.observation)

    def begin(self, leg: int) -> None:
        """Begin a leg."""
        self._leg, self._round = leg, 0

    def start(self, weights: Weights, windows: int) -> None:
        """Take the weights with which the next round is played."""
        self._weights, self._count = weights, windows

    def hauls(self) -> list[Haul]:
        """Play a round: ``windows`` episodes for each worker, all at once."""
        random = np.random.default_rng(np.random.SeedSequence([self._job.seed, 2, self._leg, self._round]))
        self._round += 1
        number, tapes = self._episodes * self._count, len(self._player.batch.tapes)
        which = random.choice(tapes, number, replace=number > tapes)
        draws = random.integers(_FIRST_DRAW, DRAWS, number).tolist()
        rollout: Any = self._player.rollout(self._net(self._weights), self._explore, which, draws, random)
        return [Haul([rollout], {})]

    def _net(self, weights: Weights) -> PolicyNet:
        return PolicyNet(weights, self._sizes.guide, self._name, self._certain)

    # -- evaluating --

    def evaluate(self, weights: Weights, seeds: Sequence[int]) -> list[Numbers]:
        """Return, for each seed, what ``cosim run --seed`` gives on the same traffic and draws: mean T_sum and reward.

        ``vs_random`` is T_sum against the random rule's on all seeds, less 1.
        """
        _, player, base = self._held_out(tuple(seeds))
        latency = player.play(
            player.trained(self._net(weights), self._config.draw), range(len(seeds)), [0] * len(seeds)
        )
        results: list[Numbers] = []
        for episode in latency:
            mean = float(np.nanmean(episode)) if np.isfinite(episode).any() else math.nan
            results.append({"task_latency": mean, "reward": -mean, "vs_random": mean / base - 1.0})
        return results

    def _held_out(self, seeds: tuple[int, ...]) -> tuple[tuple[int, ...], Player, float]:
        if self._evaluator is None or self._evaluator[0] != seeds:
            player = self._playing(seeds, self._job.evaluate, self._config.prediction)
            base = float(np.nanmean(player.play(random_rule, range(len(seeds)), [0] * len(seeds))))
            self._evaluator = (seeds, player, base)
        return self._evaluator
