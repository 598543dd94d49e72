"""Agents that follow a rule: greedy, random, full and no pre-migration, and the bounds ``soft`` and ``seq``.

The rules are :mod:`agents.hybrid_mappo.deciders`.  ``soft`` takes a predictor in place of weights
(``hybrid_mappo.soft:FILE``): it then reckons with L_pre, more cautiously (tau 1.5 s instead of 1 s).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from agents.hybrid_mappo import deciders
from agents.hybrid_mappo.deciders import Decision, Question
from agents.hybrid_mappo.foresight import NONE, PERFECT, Foresight
from agents.hybrid_mappo.reading import Reader
from cosim.errors import ScenarioError
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations

TAU, TAU_PREDICTED = 1.0, 1.5
"""Temperatures of ``soft`` (s) by L and by L_pre."""


class RuleAgent:
    """An agent that follows one rule."""

    name: ClassVar[str]
    foresees: ClassVar[bool] = False

    def __init__(self, weights: Path | None = None) -> None:
        if weights is not None and not self.foresees:
            raise ScenarioError(f"agent '{self.name}' has no weights: name it without ':{weights}'")
        self._foresight = self._foreseen(weights)
        self._reader: Reader | None = None

    def _foreseen(self, weights: Path | None) -> Foresight:
        return Foresight.named(NONE if weights is None else str(weights))

    def rule(self, question: Question) -> Decision:
        """Decide for all vehicles."""
        return deciders.RULES[self.name.rpartition(".")[2]](question)

    def reset(self, info: EpisodeInfo) -> None:
        """ScenarioError if the task is not the migration task."""
        self._reader = Reader.of(info, self.name)

    def act(self, observations: Observations) -> Actions:
        """One choice and share a row."""
        assert self._reader is not None, "reset comes first"
        if not observations.active:
            return Actions(np.empty((0, 2)))
        question = self._reader.question(observations, self._foresight)
        return self._reader.actions(observations, self.rule(question))

    def close(self) -> None:
        """Nothing is held."""


class Greedy(RuleAgent):
    """Own least T_sum by L(t)."""

    name = "hybrid_mappo.greedy"


class Random(RuleAgent):
    """Any target, K ~ U[0, 1]."""

    name = "hybrid_mappo.random"


class FullPreMigration(RuleAgent):
    """K = 1, any target."""

    name = "hybrid_mappo.fpm"


class NoPreMigration(RuleAgent):
    """K = 0."""

    name = "hybrid_mappo.npm"


class Sequential(RuleAgent):
    """Full information, best replies in service order: a bound."""

    name = "hybrid_mappo.seq"


class Soft(RuleAgent):
    """Targets by softmax(-T_sum / tau), by L(t), or by L_pre if a predictor is named."""

    name = "hybrid_mappo.soft"
    foresees = True

    def rule(self, question: Question) -> Decision:
        """Decide for all vehicles."""
        return soft_rule(self._foresight)(question)


class SoftPerfect(Soft):
    """``soft`` that knows who will be where: a bound."""

    name = "hybrid_mappo.soft_perfect"
    foresees = False

    def _foreseen(self, weights: Path | None) -> Foresight:
        return Foresight.named(PERFECT)


def soft_rule(foresight: Foresight) -> Callable[[Question], Decision]:
    """Return ``soft`` with the temperature that suits what is foreseen."""
    foreseen = foresight.perfect or foresight.predictor is not None
    return partial(deciders.soft, tau=TAU_PREDICTED if foreseen else TAU)
