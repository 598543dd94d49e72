"""``tpe_marl.maddpg``: its configuration, the ways to train it, and acting, in NumPy.

Needs driving with continuous actions (``tasks.driving.actions=continuous``): one network, shared by all vehicles,
gives acceleration and lateral movement in -1 … 1.  The task rounds the lateral movement to a lane; so the network
may as well give a score to each of right, keep and left (``lateral: choice``).
:mod:`agents.tpe_marl.maddpg_learner` has the learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.common.exploring import epsilon_greedy
from agents.common.gaps import guarded
from agents.common.perceptron import Inputs, Perceptron
from agents.common.sampling import normal
from agents.common.trained import TrainedAgent, fitting, number_of
from agents.tpe_marl.recipes import driving_recipes
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.randomness import entity_keys
from cosim.tasks.driving.observation import OBS_DIM

NAME = "tpe_marl.maddpg"
NET = "actor"
NOISE = "noise"
ACTIONS = 2


class MaddpgConfig(BaseModel):
    """What can be set of MADDPG.  Steps are environment steps of all workers together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(64, ge=1, description="width of the networks")
    slots: int = Field(25, ge=1, description="vehicles at once while learning")
    gamma: float = Field(0.9, ge=0, lt=1)
    learning_rate: float = Field(1e-3, gt=0, description="of the critic")
    actor_rate: float = Field(0.5, gt=0, description="the actor's learning rate as a share of the critic's")
    last_learning_rate: float = Field(0.03, ge=0, le=1, description="share of it left at the end")
    batch: int = Field(32, ge=1, description="instants a gradient step, with all decisions made in them")
    steps_per_update: float = Field(20.0, gt=0, description="environment steps a gradient step")
    learn_from: int = Field(5760, ge=1, description="steps taken before learning begins")
    memory: int = Field(500, ge=1, description="windows held")
    follow: float = Field(
        0.01, gt=0, le=1, description="share by which the target networks follow; the target actor is shipped"
    )
    saturation: float = Field(1e-3, ge=0, description="weight of the actor's size before its tanh")
    huber: float | None = Field(1.0, description="error beyond which the loss is linear; null: squared error")
    clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    noise: tuple[float, float] = Field((1.0, 0.05), description="of exploration, at first and at last")
    noise_steps: int = Field(20_000, ge=0, description="steps from first to last")
    lateral: Literal["number", "choice"] = Field(
        "number", description="number: -1 … 1, rounded by the task; choice: the best of three scores"
    )
    entropy: float = Field(0.01, ge=0, description="weight of the entropy of the three scores (choice)")
    critic: Literal["each", "team"] = Field(
        "each", description="the central critic is of each vehicle and its own action too, or of the team"
    )
    reward: Literal["own", "team"] = Field(
        "own", description="a vehicle's own part of the reward, or the team's"
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
    guard: bool = Field(True, description="what leaves no safe gap (agents.common.gaps) is not done")
    scaled_state: bool = Field(True, description="the critic's state is brought to about 1")

    @property
    def outputs(self) -> int:
        """Outputs of the actor, and numbers by which a critic knows an action."""
        return 2 if self.lateral == "number" else 4

    def rows(self) -> Inputs:
        """Return what makes the actor's input; ScenarioError if it does not fit the observation."""
        try:
            return Inputs(OBS_DIM, self.divide, self.one_hot, self.cross)
        except ValueError as error:
            raise ScenarioError(f"{NAME}: {error}") from None


# Short legs: while everybody drives at random the road jams, and a queue at the entry is slow.
RECIPES = driving_recipes(
    "as the recipe of the specification, section 12: kappa 30, gamma .9; own reward, a central critic of each vehicle",
    "the specification, section 7: the team's reward as it is, gamma .99, noise .2 to .05",
    {
        "steps_per_update": 10.0,
        "gamma": 0.99,
        "learning_rate": 5e-4,
        "actor_rate": 1.0,
        "last_learning_rate": 1.0,
        "huber": None,
        "noise": (0.2, 0.05),
        "noise_steps": 50_000,
        "lateral": "number",
        "critic": "team",
        "reward": "team",
        "reward_shift": 0.0,
        "reward_scale": 1.0,
        "lane_change_cost": 0.0,
        "guard": False,
        "divide": (),
        "one_hot": (),
        "cross": (),
        "scaled_state": False,
    },
    training={"leg": 10},
)


def check_continuous(info: EpisodeInfo) -> None:
    """ScenarioError unless the task is driving with continuous actions."""
    role = next(iter(info.roles.values()))
    if len(info.roles) != 1 or role.obs_dim != OBS_DIM or role.action.n or role.action.k != ACTIONS:
        raise ScenarioError(
            f"{NAME} drives with {ACTIONS} continuous actions: --set tasks.{info.task}.actions=continuous"
        )


def held_back(action: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return actions (n, 2) as the nine choices *allowed* (n, 9) leave them: no such lane change, no such acceleration.

    Where a lane may only be kept at its speed or by braking, acceleration is at most 0, or full braking.
    """
    rows = np.arange(len(action))
    lateral = np.rint(action[:, 1]).astype(np.int64)
    stays = ~allowed[rows, 3 * (lateral + 1)]  # braking is the last that is forbidden of a lane
    lateral = np.where(stays, 0, lateral)
    at = 3 * (lateral + 1)
    most = np.where(allowed[rows, at + 2], 1.0, np.where(allowed[rows, at + 1], 0.0, -1.0))
    return np.column_stack([np.minimum(action[:, 0], most), np.where(stays, 0.0, action[:, 1])])


class MaddpgActor:
    """The deciding half: one forward pass for all rows, exploration by normal noise drawn by key."""

    def __init__(self, info: EpisodeInfo, config: MaddpgConfig) -> None:
        check_continuous(info)
        self._seed = info.seed
        self._inputs = config.rows()
        self._outputs, self._guard = config.outputs, config.guard
        self._net: Perceptron | None = None
        self._noise = 0.0

    def reset(self, info: EpisodeInfo) -> None:
        """Draw by this episode's seed from now on."""
        self._seed = info.seed

    def act(self, observations: Observations, explore: bool) -> Actions:
        """Acceleration and lateral movement of each row, (n, 2) in -1 … 1."""
        if self._net is None:
            raise AgentError(f"{NAME}: was asked before it had weights")
        n = observations.active
        scores = self._net(self._inputs(observations.obs[:n]))
        keys = entity_keys(observations.ids[:n])
        noise = self._noise if explore and n else 0.0
        action = np.tanh(scores[:, :ACTIONS]).astype(np.float64)
        if noise > 0.0:
            action += noise * normal(keys, ACTIONS, self._seed, observations.t_us)
            np.clip(action, -1.0, 1.0, out=action)
        if self._outputs > ACTIONS:
            action[:, 1] = epsilon_greedy(scores[:, 1:], None, noise, keys, self._seed, observations.t_us) - 1
        if self._guard and n:
            allowed = guarded(observations.obs[:n], observations.shared["zone_features"][None])
            action = held_back(action, allowed)
        return Actions(action)

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights; ``noise`` comes along where exploration is wanted."""
        self._net = fitting(Perceptron, weights, f"{NET}.layers", self._inputs.size, NAME)
        self._noise = number_of(weights, NOISE)


class Maddpg(TrainedAgent):
    """The agent: acts without noise with trained weights."""

    name: ClassVar[str] = NAME
    Config: ClassVar[type[BaseModel]] = MaddpgConfig
    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    @classmethod
    def deciding(cls, info: EpisodeInfo, config: MaddpgConfig) -> Actor:
        """Make the deciding half; ScenarioError if the task is none for it."""
        return MaddpgActor(info, config)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.tpe_marl.maddpg_learner import MaddpgLearner

        return MaddpgLearner(setup)
