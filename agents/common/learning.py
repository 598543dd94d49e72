"""What learners of networks have in common, with torch: acting, counting, schedules, and saving all they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.networks import (
    load_module,
    load_optimizer,
    module_arrays,
    optimizer_arrays,
    pick_device,
    set_learning_rate,
)
from agents.common.schedules import linear
from agents.common.window_memory import under
from cosim.lockstep.learner import Actor, LearnerState, Setup
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations

Arrays = dict[str, NDArray[Any]]
_MEMORY = "memory."


class Schedule(Protocol):
    """What of a configuration says how fast is learnt."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def last_learning_rate(self) -> float: ...


class Counted(Protocol):
    """Experience that says how many environment steps it took."""

    @property
    def steps(self) -> int: ...


class Memory(Protocol):
    """Experience held: a ring of transitions, whole windows or episodes."""

    def state(self) -> Arrays:
        """Return all that is held."""

    def load(self, state: Mapping[str, NDArray[Any]], /) -> None:
        """Hold what :meth:`state` gave."""


M = TypeVar("M", bound=Memory | None)


class NetLearner(Generic[M]):
    """Base of a learner: it acts by its actor, counts steps and gradient steps, and saves all it holds.

    A method gives its networks and optimizers by name (:meth:`nets`, :meth:`optimizers`), in an order that does not
    change; they are what :meth:`state` saves beside *memory* (None: nothing is held over), counts and the generator.
    """

    def __init__(self, setup: Setup, actor: Actor, memory: M) -> None:
        self._actor, self._horizon = actor, setup.steps
        self._device = pick_device(setup.device)
        self._weights = torch.Generator().manual_seed(setup.seed % 2**63)
        self._memory = memory
        self._random = np.random.default_rng(np.random.SeedSequence([setup.seed, 1]))
        self._steps = self._updates = 0
        self._owed = 0.0

    def nets(self) -> Mapping[str, nn.Module]:
        """Return all networks by name."""
        raise NotImplementedError

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return all optimizers by name."""
        raise NotImplementedError

    def policy(self, explore: bool = False) -> Arrays:
        """Return what the actor loads."""
        raise NotImplementedError

    # -- acting --

    def reset(self, info: EpisodeInfo) -> None:
        """As the actor's."""
        self._actor.reset(info)

    def act(self, observations: Observations, explore: bool) -> Actions:
        """As the actor's, with the weights of now."""
        self._actor.load_policy(self.policy(explore))
        return self._actor.act(observations, explore)

    # -- counting --

    def took(self, window: Counted, steps_per_update: float = 0.0) -> None:
        """Count the steps of a window, and the gradient steps they are worth."""
        self._steps += window.steps
        if steps_per_update:
            self._owed += window.steps / steps_per_update

    def due(self, learn_from: int, had: int | None = None) -> int:
        """Return how many gradient steps are due; they are then no longer owed.

        None are before *had* (environment steps by default) reaches *learn_from*, nor owed from that time.
        """
        if (self._steps if had is None else had) < learn_from:
            self._owed = 0.0
        due = int(self._owed)
        self._owed -= due
        return due

    def now(self, first: float, last: float, steps: int | None = None) -> float:
        """Return what falls (or rises) evenly from *first* to *last* over *steps*, the whole training by default."""
        return linear(first, last, self._horizon if steps is None else steps, self._steps)

    def set_rates(self, config: Schedule) -> float:
        """Set the learning rate of now in all optimizers and return it."""
        rate = config.learning_rate * self.now(1.0, config.last_learning_rate)
        for optimizer in self.optimizers().values():
            set_learning_rate(optimizer, rate)
        return rate

    def tensor(self, array: NDArray[Any]) -> torch.Tensor:
        """Return an array as a tensor where the networks are."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    # -- saving --

    def state(self) -> LearnerState:
        """Return networks, optimizers, memory, counts and the generator."""
        arrays: Arrays = {}
        for prefix, net in self.nets().items():
            arrays |= module_arrays(net, prefix)
        for prefix, optimizer in self.optimizers().items():
            arrays |= optimizer_arrays(optimizer, prefix)
        if self._memory is not None:
            arrays |= {_MEMORY + name: array for name, array in self._memory.state().items()}
        values = {
            "steps": self._steps,
            "updates": self._updates,
            "owed": self._owed,
            "random": self._random.bit_generator.state,
        }
        return LearnerState(arrays, values)

    def load(self, state: LearnerState) -> None:
        """Go on from :meth:`state`; AgentError if it is of another configuration."""
        for prefix, net in self.nets().items():
            load_module(net, state.arrays, prefix)
        for prefix, optimizer in self.optimizers().items():
            load_optimizer(optimizer, state.arrays, prefix)
        if self._memory is not None:
            self._memory.load(under(state.arrays, _MEMORY))
        values = state.values
        self._steps, self._updates, self._owed = values["steps"], values["updates"], values["owed"]
        self._random.bit_generator.state = values["random"]


def descend(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, parameters: list[nn.Parameter], clip: float
) -> torch.Tensor:
    """Make a gradient step with the gradient's norm cut to *clip*; returns the norm before."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    return norm.detach()
