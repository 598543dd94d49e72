"""``tpe_marl.qmix`` and ``tpe_marl.tpe_qmix``: their configurations, the ways to train them, and acting, in NumPy.

Both act alike: one recurrent network, shared by all vehicles, values each vehicle's nine actions.  The topology is
seen by the mixer and by the reward, that is only in training: :mod:`agents.tpe_marl.qmix_learner`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.common.exploring import epsilon_greedy, greedy
from agents.common.gaps import guarded
from agents.common.trained import EPSILON, TrainedAgent, number_of
from agents.tpe_marl.partners import partners
from agents.tpe_marl.recipes import COLLECTING, driving_recipes
from agents.tpe_marl.recurrent_actor import InputRows, Remembering, driving_role
from agents.tpe_marl.topology import TopologySet
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations

QMIX = "tpe_marl.qmix"
TPE = "tpe_marl.tpe_qmix"
NET = "agent"


class QmixConfig(BaseModel):
    """What can be set of QMIX; the defaults are the recipe of the specification, section 12.

    Steps are environment steps of all workers together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(64, ge=1, description="width of the recurrent network")
    heads: int = Field(1, ge=1, le=2, description="linear heads that are added")
    head_penalty: float = Field(0.0, ge=0, description="weight of the second head's mean size in the loss")
    embed: int = Field(32, ge=1, description="width of the mixer")
    mixer_hidden: int = Field(64, ge=1, description="width of the networks that make its weights")
    slots: int = Field(25, ge=1, description="vehicles at once while learning")
    gamma: float = Field(0.97, ge=0, lt=1)
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = Field(5e-4, gt=0)
    last_learning_rate: float = Field(0.03, ge=0, le=1, description="share of it left at the end")
    batch: int = Field(12, ge=1, description="stretches a gradient step")
    stretch: int = Field(20, ge=0, description="decisions of a stretch; 0: whole windows")
    burn_in: int = Field(5, ge=0, description="decisions of it that only fill the memory")
    steps_per_update: float = Field(40.0, gt=0, description="environment steps a gradient step")
    learn_from: int = Field(5760, ge=1, description="steps taken before learning begins")
    memory: int = Field(500, ge=1, description="windows held")
    target_every: int = Field(200, ge=1, description="gradient steps between copies to the target networks")
    huber: float | None = Field(1.0, description="error beyond which the loss is linear; null: squared error")
    clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    average: float = Field(
        0.005, gt=0, le=1, description="share by which the shipped weights follow at each gradient step"
    )
    epsilon: tuple[float, float] = Field((1.0, 0.05), description="exploration at first and at last")
    epsilon_steps: int = Field(10_000, ge=0, description="steps from first to last")
    reward_shift: float = Field(-3.0, description="added to the team reward before it is scaled")
    reward_scale: float = 0.1
    lane_change_cost: float = Field(
        0.15, ge=0, description="taken off the scaled reward, times the share of vehicles that change lane"
    )
    own_weight: float = Field(
        1.0, ge=0, description="of the loss of each vehicle's value against its own reward, beside the team's"
    )
    one_hot: tuple[tuple[int, int], ...] = Field(
        ((1, 4), (4, 3)), description="(column, values) of the observation to spell out: lane and target"
    )
    cross: tuple[tuple[int, int, int, int], ...] = Field(
        ((1, 4, 4, 3),),
        description="(column, values, column, values) whose pairs to spell out: lane by target",
    )
    divide: tuple[tuple[int, float], ...] = Field(
        ((1, 3.0), (4, 2.0), (5, 10.0), (6, 10.0), (7, 10.0)),
        description="(column, divisor) of the observation",
    )
    guard: bool = Field(
        True, description="actions that leave no safe gap (agents.common.gaps) are not taken, nor learnt from"
    )
    dwell: int = Field(
        10, ge=0, description="decisions for which a vehicle keeps the lane into which it has changed"
    )
    inflow: bool = Field(False, description="the agent's input has the last inflow")
    scaled_state: bool = Field(True, description="the mixer's state is brought to about 1")

    def rows(self, name: str) -> InputRows:
        """Return what makes the agent's input; ScenarioError if it does not fit the observation."""
        return InputRows(name, self.one_hot, self.inflow, self.cross, self.divide, self.dwell)


class TpeConfig(QmixConfig):
    """What TPE adds: topology in the mixer's state, and two intrinsic rewards."""

    topology_set: TopologySet = Field("nearest_farthest", description="the paper's (a), (b) or (c)")
    bits: int = Field(8, ge=1, le=32, description="of SimHash")
    state: Literal["topology", "both"] = Field(
        "topology", description="what the mixer sees beside the traffic: topology, or also the plain state"
    )
    visit_weight: float = Field(0.1, ge=0, description="of r_vis, added to the scaled reward")
    topology_weight: float = Field(0.2, ge=0, description="of r_topo, added to the scaled reward")
    past: int = Field(10, ge=1, description="inputs of a vehicle that TopologyNet sees")
    latent: int = Field(16, ge=1)
    topology_batch: int = Field(32, ge=1, description="instants a gradient step of TopologyNet")
    topology_learning_rate: float = Field(5e-4, gt=0)
    kl_weight: float = Field(0.001, ge=0)
    rg_weight: float = Field(0.01, ge=0)
    rg_sign: Literal[-1, 1] = -1
    decay: bool = Field(False, description="shrink the encoder by the learning rate, as eq (30) is printed")


_LITERAL: dict[str, Any] = {
    "heads": 2,
    "gamma": 0.99,
    "optimizer": "rmsprop",
    "last_learning_rate": 1.0,
    "batch": 32,
    "stretch": 0,
    "burn_in": 0,
    "steps_per_update": 180.0,
    "memory": 10_000,
    "huber": None,
    "average": 1.0,
    "epsilon_steps": 50_000,
    "reward_shift": 0.0,
    "reward_scale": 1.0,
    "one_hot": (),
    "cross": (),
    "guard": False,
    "own_weight": 0.0,
    "dwell": 0,
    "lane_change_cost": 0.0,
    "divide": (),
    "inflow": True,
    "scaled_state": False,
}
# At the paper's weights a vehicle that brakes for a gap loses more than it gains by reaching its lane.
_COMPLETING = (*COLLECTING, "tasks.{task}.reward_weights=[2,2,1,-50,80]")

# Each copy to the targets lets values look one decision further; with many soon after each other, choices flicker.
_LONG: dict[str, Any] = {
    "steps_per_update": 60.0,
    "target_every": 400,
    "average": 0.001,
    "lane_change_cost": 0.3,
}
# Values that look far ahead see what braking for a gap gains, if it costs little.
_BRAKING = "tasks.{task}.reward_weights=[1,2,1,-50,80]"


def _recipes(literal: Mapping[str, Any]) -> Mapping[str, Recipe]:
    """Return the ways to train one of the two."""
    learning = driving_recipes(
        "what learns: the specification, section 12, with gamma .97, own rewards, more for completing, and a guard",
        "the paper's settings as printed, where it prints them (the specification, sections 5 and 6)",
        literal,
        collecting=_COMPLETING,
    )
    short = learning["default"]
    about = "for hundreds of thousands of steps: the default with rarer copies, slower averages, and less for speed"
    long = replace(short, about=about, agent=_LONG, settings=(*short.settings, _BRAKING))
    return {**learning, "long": long, "literal": replace(learning["literal"], settings=COLLECTING)}


RECIPES = _recipes(_LITERAL)
TPE_RECIPES = _recipes({**_LITERAL, "kl_weight": 1.0, "decay": True, "topology_batch": 180})


class QmixActor:
    """The deciding half of both: a step of the recurrent network for all vehicles at once, exploration by key."""

    def __init__(self, info: EpisodeInfo, config: QmixConfig, name: str) -> None:
        driving_role(info, name)
        self._seed, self._guard = info.seed, config.guard
        self._net = Remembering(name, config.rows(name))
        self._epsilon = 0.0

    def reset(self, info: EpisodeInfo) -> None:
        """Forget all vehicles and draw by this episode's seed from now on."""
        self._seed = info.seed
        self._net.clear()

    def act(self, observations: Observations, explore: bool) -> Actions:
        """One choice a row."""
        n = observations.active
        mask = None if observations.mask is None else observations.mask[:n]
        keys, scores = self._net.scores(observations)
        allowed = self._net.allowed()
        if self._guard and n:
            allowed &= guarded(observations.obs[:n], observations.shared["zone_features"][None])
        mask = allowed if mask is None else mask & allowed
        if explore:
            choice = epsilon_greedy(scores, mask, self._epsilon, keys, self._seed, observations.t_us)
        else:
            choice = greedy(scores, mask)
        self._net.acted(choice)
        return Actions(choice)

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights; ``epsilon`` comes along where exploration is wanted."""
        self._net.load(weights, NET)
        self._epsilon = number_of(weights, EPSILON)


class Qmix(TrainedAgent):
    """The agent: acts greedily with trained weights."""

    name: ClassVar[str] = QMIX
    Config: ClassVar[type[BaseModel]] = QmixConfig
    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    @classmethod
    def deciding(cls, info: EpisodeInfo, config: QmixConfig) -> Actor:
        """Make the deciding half; ScenarioError if the task is none for it."""
        return QmixActor(info, config, cls.name)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.tpe_marl.qmix_learner import QmixLearner, SlotState

        return QmixLearner(setup, QMIX, SlotState(setup.config))


class TpeQmix(Qmix):
    """The agent of TPE: the same, from weights learnt with topology."""

    name: ClassVar[str] = TPE
    Config: ClassVar[type[BaseModel]] = TpeConfig
    recipes: ClassVar[Mapping[str, Recipe]] = TPE_RECIPES
    partners = staticmethod(partners)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.tpe_marl.qmix_learner import QmixLearner
        from agents.tpe_marl.topology_side import TopologySide

        return QmixLearner(setup, TPE, TopologySide(setup))
