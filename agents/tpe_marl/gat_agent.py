"""``tpe_marl.gat_madqn``: its configuration, the ways to train it, and acting, in NumPy.

Every vehicle of the zone is a node of a graph; each CAV chooses by its own node's values.
:mod:`agents.tpe_marl.gat_learner` has the learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.common.exploring import epsilon_greedy, greedy
from agents.common.gaps import guarded
from agents.common.perceptron import Inputs
from agents.common.trained import EPSILON, TrainedAgent, fitting, number_of
from agents.tpe_marl.graph_policy import GraphPolicy
from agents.tpe_marl.inputs import Floats
from agents.tpe_marl.recipes import SLOW, driving_recipes
from agents.tpe_marl.recurrent_actor import driving_role
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.randomness import entity_keys
from cosim.tasks.driving.observation import FEATURES

NAME = "tpe_marl.gat_madqn"
NET = "gat"


class GatConfig(BaseModel):
    """What can be set of GAT double DQN.  Steps are environment steps of all workers together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(64, ge=1, description="width of the layers")
    heads: int = Field(4, ge=1, description="attention heads")
    width: int = Field(16, ge=1, description="of a head")
    gamma: float = Field(0.9, ge=0, lt=1)
    learning_rate: float = Field(5e-4, gt=0)
    last_learning_rate: float = Field(0.03, ge=0, le=1, description="share of it left at the end")
    batch: int = Field(64, ge=1, description="instants a gradient step, with all decisions made in them")
    steps_per_update: float = Field(20.0, gt=0, description="environment steps a gradient step")
    learn_from: int = Field(5760, ge=1, description="steps taken before learning begins")
    memory: int = Field(500, ge=1, description="windows held")
    target_every: int = Field(200, ge=1, description="gradient steps between copies to the target network")
    huber: float | None = Field(1.0, description="error beyond which the loss is linear; null: squared error")
    clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    average: float = Field(
        0.005, gt=0, le=1, description="share by which the shipped weights follow at each gradient step"
    )
    epsilon: tuple[float, float] = Field((1.0, 0.05), description="exploration at first and at last")
    epsilon_steps: int = Field(20_000, ge=0, description="steps from first to last")
    reward: Literal["own", "team"] = Field(
        "own", description="a vehicle's own part of the reward, or the team's"
    )
    reward_shift: float = Field(-11.0, description="added to a reward before it is scaled")
    reward_scale: float = 0.1
    lane_change_cost: float = Field(
        0.1, ge=0, description="taken off a vehicle's scaled reward for a lane change; 0: none"
    )
    divide: tuple[tuple[int, float], ...] = Field(
        ((4, 2.0), (5, 10.0), (6, 10.0), (7, 10.0)),
        description="(column, divisor) of a node's features; not 0 and 1, which say who sees whom",
    )
    one_hot: tuple[tuple[int, int], ...] = Field(
        ((1, 4), (4, 3)), description="(column, values) of a node's features to spell out: lane and target"
    )
    cross: tuple[tuple[int, int, int, int], ...] = Field(
        ((1, 4, 4, 3),),
        description="(column, values, column, values) whose pairs to spell out: lane by target",
    )
    guard: bool = Field(
        True, description="actions that leave no safe gap (agents.common.gaps) are not taken, nor learnt from"
    )
    relative: bool = Field(True, description="what a vehicle hears of another has their difference in it")

    def nodes(self) -> Inputs:
        """Return what makes a node's input of its features; ScenarioError if they do not fit."""
        if any(column < 2 for column, _ in self.divide):
            raise ScenarioError(f"{NAME}: divide: columns 0 and 1 say who sees whom and stay as they are")
        try:
            return Inputs(FEATURES, self.divide, self.one_hot, self.cross)
        except ValueError as error:
            raise ScenarioError(f"{NAME}: {error}") from None


# Short legs: while everybody drives at random the road jams, and a queue at the entry is slow.
RECIPES = driving_recipes(
    "as the recipe of the specification, section 12: own reward with kappa 30, gamma .9, averaged weights; spelt-out"
    " nodes, edges that know how vehicles lie to each other, guard, cost of lane changes",
    "the specification, section 7: the team's reward as it is, gamma .99, squared error",
    {
        "hidden": 32,
        "width": 8,
        "batch": 32,
        "gamma": 0.99,
        "last_learning_rate": 1.0,
        "steps_per_update": 1.0,
        "huber": None,
        "average": 1.0,
        "epsilon_steps": 50_000,
        "reward": "team",
        "reward_shift": 0.0,
        "reward_scale": 1.0,
        "lane_change_cost": 0.0,
        "divide": (),
        "one_hot": (),
        "cross": (),
        "guard": False,
        "relative": False,
    },
    training={"leg": 10},
    collecting=(SLOW,),
)


def nodes(observations: Observations) -> tuple[NDArray[np.uint64], Floats, NDArray[np.intp]]:
    """Return keys (n,) of the vehicles asked, features (N, 8) of all nodes, and each vehicle's node (n,).

    Nodes are the vehicles of the zone; who is asked and not among them becomes one by its own observation.
    """
    n = observations.active
    keys = entity_keys(observations.ids[:n])
    same = keys[:, None] == observations.shared["zone_ids"]
    at = same.argmax(axis=1) if same.shape[1] else np.zeros(n, dtype=np.intp)
    features = observations.shared["zone_features"]
    missing = (~same.any(axis=1)).nonzero()[0]
    if missing.size:
        at[missing] = len(features) + np.arange(len(missing))
        features = np.concatenate([features, observations.obs[missing, :FEATURES]])
    return keys, features, at


class GatActor:
    """The deciding half: one pass of the graph network for all vehicles, exploration by key."""

    def __init__(self, info: EpisodeInfo, config: GatConfig) -> None:
        driving_role(info, NAME)
        self._seed, self._guard = info.seed, config.guard
        self._inputs = config.nodes()
        self._net: GraphPolicy | None = None
        self._epsilon = 0.0

    def reset(self, info: EpisodeInfo) -> None:
        """Draw by this episode's seed from now on."""
        self._seed = info.seed

    def act(self, observations: Observations, explore: bool) -> Actions:
        """One choice a row."""
        if self._net is None:
            raise AgentError(f"{NAME}: was asked before it had weights")
        mask = None if observations.mask is None else observations.mask[: observations.active]
        keys, features, at = nodes(observations)
        if self._guard and len(at):
            allowed = guarded(features[at], features[None])
            mask = allowed if mask is None else mask & allowed
        scores = self._net(self._inputs(features), at)
        if not explore:
            return Actions(greedy(scores, mask))
        return Actions(epsilon_greedy(scores, mask, self._epsilon, keys, self._seed, observations.t_us))

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights; ``epsilon`` comes along where exploration is wanted."""
        self._net = fitting(GraphPolicy, weights, NET, self._inputs.size, NAME)
        self._epsilon = number_of(weights, EPSILON)


class GatMadqn(TrainedAgent):
    """The agent: acts greedily with trained weights."""

    name: ClassVar[str] = NAME
    Config: ClassVar[type[BaseModel]] = GatConfig
    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    @classmethod
    def deciding(cls, info: EpisodeInfo, config: GatConfig) -> Actor:
        """Make the deciding half; ScenarioError if the task is none for it."""
        return GatActor(info, config)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.tpe_marl.gat_learner import GatLearner

        return GatLearner(setup)
