"""``tpe_marl.maddpg``: its configuration, the ways to train it, and acting, in NumPy.

Needs driving with continuous actions (``tasks.driving.actions=continuous``): one network, shared by all vehicles,
gives acceleration and lateral movement in -1 … 1.  :mod:`agents.tpe_marl.maddpg_learner` has the learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.common.perceptron import Inputs, Perceptron
from agents.common.sampling import normal
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.lockstep.weights import read_policy
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
    learning_rate: float = Field(5e-4, gt=0)
    last_learning_rate: float = Field(0.03, ge=0, le=1, description="share of it left at the end")
    batch: int = Field(64, ge=1, description="transitions of the team a gradient step")
    steps_per_update: float = Field(10.0, gt=0, description="environment steps a gradient step")
    learn_from: int = Field(5760, ge=1, description="steps taken before learning begins")
    memory: int = Field(500, ge=1, description="windows held")
    follow: float = Field(
        0.01, gt=0, le=1, description="share by which the target networks follow; the target actor is shipped"
    )
    saturation: float = Field(1e-3, ge=0, description="weight of the actor's size before its tanh")
    clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    noise: tuple[float, float] = Field((0.5, 0.05), description="of exploration, at first and at last")
    noise_steps: int = Field(20_000, ge=0, description="steps from first to last")
    reward_shift: float = Field(-11.0, description="added to the team reward before it is scaled")
    reward_scale: float = 0.1
    one_hot: tuple[tuple[int, int], ...] = Field(
        ((1, 4), (4, 3)), description="(column, values) of the observation to spell out: lane and target"
    )
    scaled_state: bool = Field(True, description="the critic's state is brought to about 1")


_SETTINGS = ("tasks.{task}.remove_slow=1 m/s", "tasks.{task}.max_cavs=25")
_BEST = {"best_by": "success_rate,-vehicles_collided"}
RECIPE = Recipe(
    about="as the recipe of tpe_marl.md, section 12: team reward with kappa 30, gamma .9",
    training=_BEST,
    settings=("tasks.{task}.kappa=30", *_SETTINGS),
)
RECIPES = {
    "default": RECIPE,
    "recipe": RECIPE,
    "literal": Recipe(
        about="tpe_marl.md, section 7: the team's reward as it is, gamma .99, noise .2 to .05",
        agent={
            "gamma": 0.99,
            "last_learning_rate": 1.0,
            "batch": 32,
            "noise": (0.2, 0.05),
            "noise_steps": 50_000,
            "reward_shift": 0.0,
            "reward_scale": 1.0,
            "one_hot": (),
            "scaled_state": False,
        },
        training=_BEST,
        settings=_SETTINGS,
    ),
}


def check_continuous(info: EpisodeInfo) -> None:
    """ScenarioError unless the task is driving with continuous actions."""
    role = next(iter(info.roles.values()))
    if len(info.roles) != 1 or role.obs_dim != OBS_DIM or role.action.n or role.action.k != ACTIONS:
        raise ScenarioError(
            f"{NAME} drives with {ACTIONS} continuous actions: --set tasks.{info.task}.actions=continuous"
        )


def input_rows(config: MaddpgConfig) -> Inputs:
    """Return what makes input rows of observations; ScenarioError if a column does not exist."""
    try:
        return Inputs(OBS_DIM, (), config.one_hot)
    except ValueError as error:
        raise ScenarioError(f"{NAME}: {error}") from None


class MaddpgActor:
    """The deciding half: one forward pass for all rows, exploration by normal noise drawn by key."""

    def __init__(self, info: EpisodeInfo, config: MaddpgConfig) -> None:
        check_continuous(info)
        self._seed = info.seed
        self._inputs = input_rows(config)
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
        action = np.tanh(self._net(self._inputs(observations.obs[:n]))).astype(np.float64)
        if explore and self._noise > 0.0 and n:
            keys = entity_keys(observations.ids[:n])
            action += self._noise * normal(keys, ACTIONS, self._seed, observations.t_us)
            np.clip(action, -1.0, 1.0, out=action)
        return Actions(action)

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights; ``noise`` comes along where exploration is wanted."""
        try:
            self._net = Perceptron(weights, f"{NET}.layers")
        except ValueError as error:
            raise AgentError(f"{NAME}: {error}") from None
        if self._net.inputs != self._inputs.size:
            raise AgentError(
                f"{NAME}: weights for {self._net.inputs} inputs, but there are {self._inputs.size}"
            )
        self._noise = float(weights[NOISE][0]) if NOISE in weights else 0.0


class Maddpg:
    """The agent: acts without noise with trained weights."""

    needs_weights = True
    name: ClassVar[str] = NAME
    Config: ClassVar[type[MaddpgConfig]] = MaddpgConfig
    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    def __init__(self, weights: Path) -> None:
        self._policy = read_policy(weights, NAME)
        self._config = MaddpgConfig.model_validate(self._policy.about.get("config", {}))
        self._actor: MaddpgActor | None = None

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if the weights do not fit the task."""
        self._actor = MaddpgActor(info, self._config)
        self._actor.load_policy(self._policy.arrays)

    def act(self, observations: Observations) -> Actions:
        """Acceleration and lateral movement of each row."""
        assert self._actor is not None, "reset comes first"
        return self._actor.act(observations, explore=False)

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def actor(setup: Setup) -> Actor:
        """Make the deciding half for a worker."""
        return MaddpgActor(setup.info, setup.config)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.tpe_marl.maddpg_learner import MaddpgLearner

        return MaddpgLearner(setup)
