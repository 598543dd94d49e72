"""What all agents have in common that act by trained weights: they read a policy file and let the method's actor act.

The actor is the deciding half of the method, the same that collects in a worker; without exploration it acts as it was
evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cosim.errors import AgentError
from cosim.lockstep.learner import Actor, Recipe, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.lockstep.weights import read_policy

EPSILON = "epsilon"


class TrainedAgent:
    """An agent of trained weights; a method says ``name``, ``Config``, ``recipes``, :meth:`deciding`, ``learner``."""

    needs_weights = True
    name: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    recipes: ClassVar[Mapping[str, Recipe]]

    def __init__(self, weights: Path) -> None:
        self._policy = read_policy(weights, self.name)
        self._config = self.Config.model_validate(self._policy.about.get("config", {}))
        self._actor: Actor | None = None

    @classmethod
    def deciding(cls, info: EpisodeInfo, config: Any) -> Actor:
        """Make the deciding half; ScenarioError if the task is none for it."""
        raise NotImplementedError

    @classmethod
    def actor(cls, setup: Setup) -> Actor:
        """Make the deciding half for a worker."""
        return cls.deciding(setup.info, setup.config)

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if the weights do not fit the task."""
        self._actor = self.deciding(info, self._config)
        self._actor.load_policy(self._policy.arrays)

    def act(self, observations: Observations) -> Actions:
        """Act without exploring."""
        assert self._actor is not None, "reset comes first"
        return self._actor.act(observations, explore=False)

    def close(self) -> None:
        """Nothing is held."""


def number_of(weights: Mapping[str, NDArray[Any]], name: str, otherwise: float = 0.0) -> float:
    """Return the number that came along with weights under that name (epsilon, noise)."""
    return float(np.ravel(weights[name])[0]) if name in weights else otherwise


class Net(Protocol):
    """A network that acts."""

    @property
    def inputs(self) -> int:
        """Width of the input."""


N = TypeVar("N", bound=Net)


def fitting(
    make: Callable[[Mapping[str, NDArray[Any]], str], N],
    weights: Mapping[str, NDArray[Any]],
    prefix: str,
    inputs: int,
    name: str,
) -> N:
    """Make the network of agent *name* from the weights under *prefix*.

    AgentError if some are missing (a ValueError of *make*), or if they are for another number of inputs.
    """
    try:
        net = make(weights, prefix)
    except ValueError as error:
        raise AgentError(f"{name}: {error}") from None
    if net.inputs != inputs:
        raise AgentError(f"{name}: weights for {net.inputs} inputs, but there are {inputs}")
    return net
