"""``hybrid_mappo.mappo_ddpg`` and ``hybrid_mappo.mappo_ddpg_wo``: targets by MAPPO, shares by MADDPG.

The target RSU is chosen as Hybrid-MAPPO chooses it; the continuous actor gives the share itself and follows the
gradient of a central Q(o, a) learnt from a memory (Lowe et al., NeurIPS'17).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agents.hybrid_mappo.acting import explore_near
from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.hybrid_mappo import HybridActor, HybridMappo
from agents.hybrid_mappo.recipes import DDPG, DDPG_WITHOUT
from cosim.lockstep.learner import Actor, Learner, Setup
from cosim.lockstep.protocol import EpisodeInfo


class DdpgConfig(HybridConfig):
    """What can be set of MAPPO-DDPG: Hybrid-MAPPO's settings for the targets, and these for the shares."""

    memory: int = Field(2000, ge=1, description="joint decisions held; 20 000 of single vehicles (D)")
    batch: int = Field(256, ge=1, description="joint decisions a gradient step")
    steps: int = Field(12, ge=1, description="gradient steps a round")
    follow: float = Field(0.01, gt=0, le=1, description="share by which target networks follow (tau)")
    share_gamma: float = Field(0.3, ge=0, lt=1, description="discount of Q; a share's effect is over soon")
    slower: float = Field(0.1, gt=0, description="continuous actor's share of the learning rate")
    patience: int = Field(4, ge=0, description="rounds in which Q alone learns")
    noise: float = Field(0.2, ge=0, description="deviation of what is added to shares while learning")


class MappoDdpg(HybridMappo):
    """MAPPO-DDPG with trajectory prediction."""

    name = "hybrid_mappo.mappo_ddpg"
    shipped = "hybrid_mappo/mappo_ddpg-urban_avatar-s1"
    Config = DdpgConfig
    recipes = DDPG

    @classmethod
    def actor(cls, setup: Setup) -> Actor:
        """Make the deciding half."""
        return HybridActor(setup.info, setup.config, cls.name, certain=True)

    @classmethod
    def learner(cls, setup: Setup) -> Learner:
        """Make a learner."""
        from agents.hybrid_mappo.mappo_ddpg_learner import MappoDdpgLearner

        return MappoDdpgLearner(setup, cls.name)

    @classmethod
    def crew(cls, job: Any, info: EpisodeInfo, workers: int) -> Any:
        """Make what collects on tapes: ``workers`` episodes side by side."""
        from agents.hybrid_mappo.tape_crew import TapeCrew

        config = cls.Config.model_validate(dict(job.config))
        assert isinstance(config, DdpgConfig)
        explore = explore_near(config.noise)
        return TapeCrew(job, info, config, workers, cls.name, certain=True, explore=explore)


class MappoDdpgWithout(MappoDdpg):
    """MAPPO-DDPG without prediction: its loads are L(t)."""

    name = "hybrid_mappo.mappo_ddpg_wo"
    shipped = "hybrid_mappo/mappo_ddpg_wo-urban_avatar-s1"
    recipes = DDPG_WITHOUT
