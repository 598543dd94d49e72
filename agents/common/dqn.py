"""``common.dqn``: double DQN with one network shared by all entities, each learning from its own transitions.

This module holds the configuration, the ways to train it, and acting, all in NumPy; :mod:`agents.common.dqn_learner`
has the learning (van Hasselt, Guez and Silver, AAAI'16, with masks on the next choice; optionally the operator of
Bellemare et al., "Increasing the Action Gap", AAAI'16: at 0.1 s a decision one choice is hardly worse than another,
and a greedy policy would dither).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.common.exploring import epsilon_greedy, greedy
from agents.common.perceptron import Inputs, Perceptron
from agents.common.trained import EPSILON, TrainedAgent, fitting, number_of
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations, RoleSpec
from cosim.randomness import entity_keys

NAME = "common.dqn"
NET = "q"


class DQNConfig(BaseModel):
    """What can be set of the method.  Steps are environment steps of all workers together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: tuple[int, ...] = Field((128, 128), description="widths of the hidden layers")
    gamma: float = Field(0.95, ge=0, lt=1)
    learning_rate: float = Field(5e-4, gt=0)
    last_learning_rate: float = Field(0.03, ge=0, le=1, description="share of it left at the end")
    batch: int = Field(256, ge=1)
    steps_per_update: float = Field(10.0, gt=0, description="environment steps a gradient step")
    learn_from: int = Field(2000, ge=1, description="rows held before learning begins")
    memory: int = Field(200_000, ge=1000, description="rows held, a row an entity and decision")
    target_every: int = Field(200, ge=1, description="gradient steps between copies to the target network")
    advantage: float = Field(
        0.0, ge=0, lt=1, description="share alpha of advantage learning: widens the gap between choices"
    )
    huber: float = Field(1.0, gt=0, description="error beyond which the loss is linear")
    clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    average: float = Field(
        0.005, gt=0, le=1, description="share by which the shipped weights follow at each gradient step"
    )
    epsilon: tuple[float, float] = Field((1.0, 0.05), description="exploration at first and at last")
    epsilon_steps: int = Field(20_000, ge=0, description="steps from first to last")
    reward: Literal["own", "team"] = Field(
        "own", description="own: shared['own_reward'] of the entity; team: the reward of its row"
    )
    reward_scale: float = 1.0
    reward_shift: float = Field(0.0, description="added to a reward before it is scaled")
    choice_cost: tuple[float, ...] = Field(
        (), description="taken off the scaled reward, by choice; none, or one for each"
    )
    divide: tuple[tuple[int, float], ...] = Field((), description="(column, divisor) of the observation")
    one_hot: tuple[tuple[int, int], ...] = Field((), description="(column, values) to spell out")
    cross: tuple[tuple[int, int, int, int], ...] = Field(
        (), description="(column, values, column, values) whose pairs to spell out"
    )

    def inputs(self, width: int) -> Inputs:
        """Return what makes observations of that width the network's input; ScenarioError if they do not fit."""
        try:
            return Inputs(width, self.divide, self.one_hot, self.cross)
        except ValueError as error:
            raise ScenarioError(f"{NAME}: {error}") from None


DRIVING = {
    "gamma": 0.9,
    "reward": "own",
    # A perfect step pays about 0, so that leaving the road is neither punished nor rewarded.
    "reward_shift": -11.0,
    "reward_scale": 0.1,
    # Where the reward does not care for the lane, neither would the policy, and change it at every other step.
    "choice_cost": (0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1),
    "divide": ((1, 3.0), (4, 2.0), (5, 10.0), (6, 10.0), (7, 10.0)),
    "one_hot": ((1, 4), (4, 3)),
    "cross": ((1, 4, 4, 3),),
}

RECIPES = {
    "default": Recipe(
        about="the driving task: own reward with kappa 30, gamma .9 (tpe_marl, section 12)",
        agent=DRIVING,
        training={"best_by": "success_rate,-vehicles_collided"},
        settings=("tasks.{task}.kappa=30", "tasks.{task}.remove_slow=1 m/s"),
    ),
    "plain": Recipe(
        about="any task of one role with discrete choices: its reward as it is", agent={"reward": "team"}
    ),
}


def role_of(info: EpisodeInfo) -> RoleSpec:
    """Return the one role of a task; ScenarioError if there are more, or if its actions are not plain choices."""
    if len(info.roles) != 1:
        raise ScenarioError(f"{NAME} decides for one role; task '{info.task}' has {', '.join(info.roles)}")
    role = next(iter(info.roles.values()))
    if not role.action.n or role.action.k:
        raise ScenarioError(
            f"{NAME} needs discrete choices; those of task '{info.task}' are not (driving: actions: discrete)"
        )
    return role


class DQNActor:
    """The deciding half: a forward pass for all rows at once, exploration by key."""

    def __init__(self, info: EpisodeInfo, config: DQNConfig) -> None:
        self._seed = info.seed
        self._inputs = config.inputs(role_of(info).obs_dim)
        self._net: Perceptron | None = None
        self._epsilon = 0.0

    def reset(self, info: EpisodeInfo) -> None:
        """Draw by this episode's seed from now on."""
        self._seed = info.seed

    def act(self, observations: Observations, explore: bool) -> Actions:
        """One choice a row."""
        if self._net is None:
            raise AgentError(f"{NAME}: was asked before it had weights")
        n = observations.active
        mask = None if observations.mask is None else observations.mask[:n]
        scores = self._net(self._inputs(observations.obs[:n]))
        if not explore:
            return Actions(greedy(scores, mask))
        keys = entity_keys(observations.ids[:n])
        return Actions(epsilon_greedy(scores, mask, self._epsilon, keys, self._seed, observations.t_us))

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights; ``epsilon`` comes along where exploration is wanted."""
        self._net = fitting(Perceptron, weights, NET, self._inputs.size, NAME)
        self._epsilon = number_of(weights, EPSILON)


class DQN(TrainedAgent):
    """The agent: acts greedily with trained weights."""

    name = NAME
    Config = DQNConfig
    recipes = RECIPES

    @classmethod
    def deciding(cls, info: EpisodeInfo, config: DQNConfig) -> Actor:
        """ScenarioError if the task has more roles than one, or no plain choices."""
        return DQNActor(info, config)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.common.dqn_learner import DQNLearner

        return DQNLearner(setup)
