"""``tpe_marl.mappo``: its configuration, the ways to train it, and acting, in NumPy.

One network, shared by all vehicles, gives the probabilities of each vehicle's nine actions, with a memory or without;
the central value is needed in training only (:mod:`agents.tpe_marl.mappo_learner`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.common.exploring import greedy
from agents.common.gaps import guarded
from agents.common.perceptron import Inputs, Perceptron
from agents.common.sampling import sample_choice
from agents.common.trained import TrainedAgent, fitting
from agents.tpe_marl.recipes import driving_recipes
from agents.tpe_marl.recurrent_actor import InputRows, Remembering, driving_role
from cosim.errors import AgentError
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.randomness import entity_keys

NAME = "tpe_marl.mappo"
NET = "agent"
LOG_PROB = "log_prob"


class MappoConfig(BaseModel):
    """What can be set of MAPPO."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recurrent: bool = Field(
        False,
        description="the actor has a memory (GRU) and knows its last action and the inflow; costs four times as much",
    )
    hidden: int = Field(64, ge=1, description="width of the actor's layers")
    slots: int = Field(25, ge=1, description="vehicles at once while learning")
    gamma: float = Field(
        0.8,
        ge=0,
        lt=1,
        description="the smaller, the more it matters that a lane change comes now and not later",
    )
    gae: float = Field(0.9, ge=0, le=1, description="weight of longer looks ahead")
    critic_hidden: int = Field(128, ge=1, description="width of the central value's layers")
    learning_rate: float = Field(7e-4, gt=0, description="of the actor")
    critic_rate: float = Field(
        3.0, gt=0, description="the critic's learning rate as a multiple of the actor's"
    )
    last_learning_rate: float = Field(0.1, ge=0, le=1, description="share of it left at the end")
    batch: int = Field(4, ge=1, description="windows collected before each update")
    minibatch: int = Field(4, ge=1, description="windows a gradient step of a recurrent actor")
    row_batch: int = Field(1024, ge=1, description="decisions a gradient step of an actor without memory")
    epochs: int = Field(5, ge=1, description="passes over them")
    critic_batch: int = Field(
        1024,
        ge=0,
        description="rows a gradient step of the critic, as many passes; 0: with the actor's steps",
    )
    ratio: float = Field(0.2, gt=0, description="how far a probability ratio may move")
    value_ratio: float | None = Field(None, gt=0, description="how far a value may move; null: any way")
    head_start: float = Field(
        1.5,
        description="of the accelerating choices in the first scores: drawn evenly, they would jam the road",
    )
    entropy: float = Field(0.06, ge=0, description="weight of the entropy")
    last_entropy: float = Field(0.2, ge=0, le=1, description="share of it left at the end")
    value_weight: float = Field(0.5, ge=0)
    clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    reward: Literal["own", "team"] = Field(
        "own", description="a vehicle's own part of the reward, or the team's"
    )
    critic: Literal["each", "team"] = Field(
        "each",
        description="the central value is of each vehicle, by its input and the state, or of the state alone",
    )
    reward_shift: float = Field(-11.0, description="added to a reward before it is scaled")
    reward_scale: float = 0.1
    lane_change_cost: float = Field(
        0.1,
        ge=0,
        description="taken off a vehicle's scaled reward for a lane change (team: times their share)",
    )
    divide: tuple[tuple[int, float], ...] = Field(
        ((1, 3.0), (4, 2.0), (5, 10.0), (6, 10.0), (7, 10.0)),
        description="(column, divisor) of the observation",
    )
    one_hot: tuple[tuple[int, int], ...] = Field(
        ((1, 4), (4, 3)), description="(column, values) of the observation to spell out: lane and target"
    )
    cross: tuple[tuple[int, int, int, int], ...] = Field(
        ((1, 4, 4, 3),),
        description="(column, values, column, values) whose pairs to spell out: lane by target",
    )
    guard: bool = Field(
        True, description="actions that leave no safe gap (agents.common.gaps) are not taken, nor learnt from"
    )
    temperature: float = Field(
        1.0,
        ge=0,
        description="of the draws when not exploring: scores are divided by it; 0: the likeliest action",
    )
    inflow: bool = Field(False, description="the agent's input has the last inflow")
    scaled_state: bool = Field(True, description="the central value's state is brought to about 1")

    def rows(self) -> InputRows:
        """Return what makes the actor's input; ScenarioError if it does not fit the observation."""
        return InputRows(NAME, self.one_hot, self.inflow, self.cross, self.divide)


# Short legs: while everybody drives at random the road jams, and a queue at the entry is slow.
RECIPES = driving_recipes(
    "as the recipe of the specification, section 12: kappa 30; gamma .8, own reward, a central value of each vehicle",
    "the specification, section 7; rewards divided by 100, for the value's clipping",
    {
        "gamma": 0.99,
        "recurrent": True,
        "critic_hidden": 64,
        "learning_rate": 5e-4,
        "critic_rate": 1.0,
        "last_learning_rate": 1.0,
        "gae": 0.95,
        "batch": 32,
        "minibatch": 8,
        "epochs": 15,
        "value_ratio": 0.2,
        "head_start": 0.0,
        "entropy": 0.01,
        "last_entropy": 1.0,
        "reward": "team",
        "critic": "team",
        "reward_shift": 0.0,
        "reward_scale": 0.01,
        "lane_change_cost": 0.0,
        "critic_batch": 0,
        "guard": False,
        "temperature": 0.0,
        "divide": (),
        "one_hot": (),
        "cross": (),
        "inflow": True,
        "scaled_state": False,
    },
    training={"leg": 10},
)


class Plain:
    """As :class:`agents.tpe_marl.recurrent_actor.Remembering`, of a network without memory."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._net: Perceptron | None = None

    def load(self, weights: Mapping[str, NDArray[Any]], prefix: str) -> None:
        """Use these weights; AgentError if they are for other inputs."""
        self._net = fitting(Perceptron, weights, prefix, self._inputs.size, NAME)

    def clear(self) -> None:
        """Nothing is remembered."""

    def scores(self, observations: Observations) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Return the keys (n,) of the vehicles asked and the network's output (n, A)."""
        if self._net is None:
            raise AgentError(f"{NAME}: was asked before it had weights")
        n = observations.active
        return entity_keys(observations.ids[:n]), self._net(self._inputs(observations.obs[:n]))

    def acted(self, choice: NDArray[np.int64]) -> None:
        """Nothing is remembered."""


def make_policy(config: MappoConfig) -> Plain | Remembering:
    """Return the actor's network for acting."""
    rows = config.rows()
    return Remembering(NAME, rows) if config.recurrent else Plain(rows.prepare)


class MappoActor:
    """The deciding half: draws by key while exploring, else the likeliest action."""

    def __init__(self, info: EpisodeInfo, config: MappoConfig) -> None:
        driving_role(info, NAME)
        self._seed, self._guard = info.seed, config.guard
        self._net, self._temperature = make_policy(config), config.temperature

    def reset(self, info: EpisodeInfo) -> None:
        """Forget all vehicles and draw by this episode's seed from now on."""
        self._seed = info.seed
        self._net.clear()

    def act(self, observations: Observations, explore: bool) -> Actions:
        """One choice a row; while exploring noted with the logarithm of its probability."""
        n = observations.active
        mask = None if observations.mask is None else observations.mask[:n]
        if self._guard and n:
            allowed = guarded(observations.obs[:n], observations.shared["zone_features"][None])
            mask = allowed if mask is None else mask & allowed
        keys, scores = self._net.scores(observations)
        if not n or (not explore and not self._temperature):
            choice = greedy(scores, mask)
            self._net.acted(choice)
            return Actions(choice)
        if not explore:
            scores = scores / self._temperature
        choice, log_prob = sample_choice(scores, mask, keys, self._seed, observations.t_us)
        self._net.acted(choice)
        return Actions(choice, {LOG_PROB: log_prob})

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights."""
        self._net.load(weights, NET)


class Mappo(TrainedAgent):
    """The agent: draws by trained weights (``temperature`` 0: takes the likeliest action)."""

    name: ClassVar[str] = NAME
    Config: ClassVar[type[BaseModel]] = MappoConfig
    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    @classmethod
    def deciding(cls, info: EpisodeInfo, config: MappoConfig) -> Actor:
        """Make the deciding half; ScenarioError if the task is none for it."""
        return MappoActor(info, config)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.tpe_marl.mappo_learner import MappoLearner

        return MappoLearner(setup)
