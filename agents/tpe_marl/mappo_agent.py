"""``tpe_marl.mappo``: its configuration, the ways to train it, and acting, in NumPy.

One recurrent network, shared by all vehicles, gives the probabilities of each vehicle's nine actions; the central
value is needed in training only (:mod:`agents.tpe_marl.mappo_learner`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agents.common.exploring import greedy
from agents.common.sampling import sample_choice
from agents.tpe_marl.recurrent_actor import InputRows, Remembering, driving_role
from cosim.lockstep.learner import Actor, Learner, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.lockstep.weights import read_policy

NAME = "tpe_marl.mappo"
NET = "agent"
LOG_PROB = "log_prob"


class MappoConfig(BaseModel):
    """What can be set of MAPPO."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(64, ge=1, description="width of the networks")
    slots: int = Field(25, ge=1, description="vehicles at once while learning")
    gamma: float = Field(0.9, ge=0, lt=1)
    gae: float = Field(0.95, ge=0, le=1, description="weight of longer looks ahead")
    learning_rate: float = Field(5e-4, gt=0)
    last_learning_rate: float = Field(0.03, ge=0, le=1, description="share of it left at the end")
    batch: int = Field(8, ge=1, description="windows collected before each update")
    minibatch: int = Field(4, ge=1, description="windows a gradient step")
    epochs: int = Field(10, ge=1, description="passes over them")
    ratio: float = Field(0.2, gt=0, description="how far a probability ratio, and a value, may move")
    entropy: float = Field(0.01, ge=0, description="weight of the entropy")
    value_weight: float = Field(0.5, ge=0)
    clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    reward_shift: float = Field(-11.0, description="added to the team reward before it is scaled")
    reward_scale: float = 0.1
    one_hot: tuple[tuple[int, int], ...] = Field(
        ((1, 4), (4, 3)), description="(column, values) of the observation to spell out: lane and target"
    )
    inflow: bool = Field(False, description="the agent's input has the last inflow")
    scaled_state: bool = Field(True, description="the central value's state is brought to about 1")


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
        about="tpe_marl.md, section 7; rewards divided by 100, for the value's clipping",
        agent={
            "gamma": 0.99,
            "last_learning_rate": 1.0,
            "batch": 32,
            "minibatch": 8,
            "epochs": 15,
            "reward_shift": 0.0,
            "reward_scale": 0.01,
            "one_hot": (),
            "inflow": True,
            "scaled_state": False,
        },
        training=_BEST,
        settings=_SETTINGS,
    ),
}


class MappoActor:
    """The deciding half: draws by key while exploring, else the likeliest action."""

    def __init__(self, info: EpisodeInfo, config: MappoConfig) -> None:
        driving_role(info, NAME)
        self._seed = info.seed
        self._net = Remembering(NAME, InputRows(NAME, config.one_hot, config.inflow))

    def reset(self, info: EpisodeInfo) -> None:
        """Forget all vehicles and draw by this episode's seed from now on."""
        self._seed = info.seed
        self._net.clear()

    def act(self, observations: Observations, explore: bool) -> Actions:
        """One choice a row; while exploring noted with the logarithm of its probability."""
        n = observations.active
        mask = None if observations.mask is None else observations.mask[:n]
        keys, scores = self._net.scores(observations)
        if not explore or not n:
            choice = greedy(scores, mask)
            self._net.acted(choice)
            return Actions(choice)
        choice, log_prob = sample_choice(scores, mask, keys, self._seed, observations.t_us)
        self._net.acted(choice)
        return Actions(choice, {LOG_PROB: log_prob})

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights."""
        self._net.load(weights, NET)


class Mappo:
    """The agent: takes the likeliest action by trained weights."""

    needs_weights = True
    name: ClassVar[str] = NAME
    Config: ClassVar[type[MappoConfig]] = MappoConfig
    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    def __init__(self, weights: Path) -> None:
        self._policy = read_policy(weights, NAME)
        self._config = MappoConfig.model_validate(self._policy.about.get("config", {}))
        self._actor: MappoActor | None = None

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if the weights do not fit the task."""
        self._actor = MappoActor(info, self._config)
        self._actor.load_policy(self._policy.arrays)

    def act(self, observations: Observations) -> Actions:
        """One choice a row."""
        assert self._actor is not None, "reset comes first"
        return self._actor.act(observations, explore=False)

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def actor(setup: Setup) -> Actor:
        """Make the deciding half for a worker."""
        return MappoActor(setup.info, setup.config)

    @staticmethod
    def learner(setup: Setup) -> Learner:
        """Make a learner."""
        from agents.tpe_marl.mappo_learner import MappoLearner

        return MappoLearner(setup)
