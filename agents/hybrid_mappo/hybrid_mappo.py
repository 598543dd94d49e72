"""``hybrid_mappo.hybrid_mappo`` and ``hybrid_mappo.hybrid_mappo_wo``: the trained agents, with and without prediction.

Two actors choose target RSU and share; critics are needed in training only
(:mod:`agents.hybrid_mappo.hybrid_mappo_learner`).  Training plays on recorded tapes
(:mod:`agents.hybrid_mappo.tape_crew`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.hybrid_mappo.acting import PolicyNet, settle_on
from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.foresight import Foresight
from agents.hybrid_mappo.reading import Reader, sizes_of
from agents.hybrid_mappo.recipes import RECIPES, WITHOUT
from cosim.errors import AgentError
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup, Weights
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.lockstep.registry import find_weights
from cosim.lockstep.weights import read_policy
from cosim.tasks.migration import Layout, observe

NAME, NAME_WITHOUT = "hybrid_mappo.hybrid_mappo", "hybrid_mappo.hybrid_mappo_wo"


class HybridActor:
    """The deciding half: acts on one episode in lockstep with SUMO; ``certain`` as :class:`PolicyNet` says."""

    def __init__(self, info: EpisodeInfo, config: HybridConfig, name: str, certain: bool = False) -> None:
        self._name, self._config, self._certain = name, config, certain
        self._sizes = sizes_of(info, config)
        self._foresight = Foresight.named(config.prediction, config.zeta)
        self._net: PolicyNet | None = None
        self.reset(info)

    def reset(self, info: EpisodeInfo) -> None:
        """Draw by this episode's seed from now on."""
        self._reader = Reader.of(info, self._name)

    def act(self, observations: Observations, explore: bool) -> Actions:
        """One choice and share a row, as the trained policy does; exploring is for tapes."""
        if self._net is None:
            raise AgentError(f"{self._name}: was asked before it had weights")
        if not observations.active:
            return Actions(np.empty((0, 2)))
        question = self._reader.question(observations, self._foresight)
        layout = Layout.from_shared(observations.shared)
        x = observe(self._config.observation, layout, question.rules, question.slot, question.loads)
        return self._reader.actions(observations, settle_on(self._net(x), question, self._config.draw))

    def load_policy(self, weights: Weights) -> None:
        """Act with these weights; AgentError if they do not fit the task."""
        self._net = PolicyNet(weights, self._sizes.guide, self._name, self._certain)
        if self._net.inputs != self._sizes.width:
            raise AgentError(
                f"{self._name}: weights for {self._net.inputs} inputs, but this task gives {self._sizes.width}"
            )


class HybridMappo:
    """The agent with trajectory prediction: acts by trained weights, the shipped ones unless others are named."""

    name: ClassVar[str] = NAME
    shipped: ClassVar[str] = "hybrid_mappo/hybrid_mappo-urban_avatar-s1"
    Config: ClassVar[type[HybridConfig]] = HybridConfig
    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    def __init__(self, weights: Path | None = None) -> None:
        path = find_weights(self.shipped, self.name) if weights is None else weights
        self._policy = read_policy(path, self.name)
        self._config = self.Config.model_validate(self._policy.about.get("config", {}))
        self._actor: Any = None

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if the weights do not fit the task."""
        self._actor = self.actor(Setup(info, self._config, info.seed, 0))
        self._actor.load_policy(self._policy.arrays)

    def act(self, observations: Observations) -> Actions:
        """One choice and share a row."""
        assert self._actor is not None, "reset comes first"
        actions: Actions = self._actor.act(observations, explore=False)
        return actions

    def close(self) -> None:
        """Nothing is held."""

    @classmethod
    def actor(cls, setup: Setup) -> Actor:
        """Make the deciding half."""
        return HybridActor(setup.info, setup.config, cls.name)

    @classmethod
    def learner(cls, setup: Setup) -> Learner:
        """Make a learner."""
        from agents.hybrid_mappo.hybrid_mappo_learner import HybridMappoLearner

        return HybridMappoLearner(setup, cls.name)

    @classmethod
    def crew(cls, job: Any, info: EpisodeInfo, workers: int) -> Any:
        """Make what collects on tapes: ``workers`` episodes side by side."""
        from agents.hybrid_mappo.tape_crew import TapeCrew

        return TapeCrew(job, info, cls.Config.model_validate(dict(job.config)), workers, cls.name)


class HybridMappoWithout(HybridMappo):
    """The agent without prediction: its loads are L(t)."""

    name = NAME_WITHOUT
    shipped = "hybrid_mappo/hybrid_mappo_wo-urban_avatar-s1"
    recipes = WITHOUT
