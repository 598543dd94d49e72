"""What can be set of Hybrid-MAPPO."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cosim.tasks.migration import ObservationSet


class HybridConfig(BaseModel):
    """What can be set of Hybrid-MAPPO and of MAPPO-DDPG's discrete half."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    observation: ObservationSet = Field("own_latency", description="what a vehicle sees")
    prediction: str = Field("none", description="none, perfect, or a predictor's name or file")
    zeta: float = Field(
        10e9, ge=0, description="cycles that a predicted vehicle is reckoned to bring (eq 18)"
    )
    guide: float = Field(
        0.0, ge=0, description="tau (s) of the soft rule that the actors start from; 0: from nothing"
    )
    guide_share: float = Field(6.0, ge=0, description="how much the share leans to the rule's at first")
    shared: bool = Field(True, description="all vehicles share one pair of actors")
    hidden: tuple[int, ...] = Field((64, 64), description="widths of the actors")
    critic: Literal["value", "action_values"] = Field(
        "value", description="V(s), or Q(o, a) with counterfactual baselines (eqs 22 to 31)"
    )
    critic_hidden: tuple[int, ...] = Field((128, 128), description="widths of the critics")
    gamma: float = Field(0.95, ge=0, lt=1)
    gae: float = Field(0.5, ge=0, le=1, description="lambda: weight of longer looks ahead")
    learning_rate: float = Field(1e-3, gt=0)
    last_learning_rate: float = Field(0.05, ge=0, le=1, description="share of it left at the end")
    epochs: int = Field(4, ge=1, description="passes over a round")
    minibatches: int = Field(8, ge=1, description="gradient steps a pass")
    ratio: float = Field(0.2, gt=0, description="how far a probability ratio may move (epsilon)")
    entropy: float = Field(0.003, ge=0, description="weight of the targets' entropy, at first")
    last_entropy: float = Field(0.003, ge=0, description="the same at the end")
    clip: float = Field(0.5, gt=0, description="largest norm of each network's gradient")
    reward: Literal["own", "team"] = Field("own", description="own -T_sum, or the mean of all vehicles'")
    reward_scale: float = Field(0.1, gt=0)
    draw: bool = Field(True, description="a trained policy draws its target by key; false: the likeliest")
    tapes: str = Field("", description="folder of mobility tapes; default: runs/tapes/SCENARIO")
    tape_seed: int = Field(1000, ge=0, description="seed of the first tape to learn from")
    tape_count: int = Field(200, ge=1, description="tapes to learn from, of seeds one after another")
