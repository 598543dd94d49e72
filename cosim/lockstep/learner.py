"""What training needs of a method beyond deciding: experience in, updates, and a state that can be saved.

Arrays only: a learner may be written with any library.  Workers collect experience side by side, each with an
:class:`Actor`; it reaches the :class:`Learner` as :class:`Window` objects in worker order, so a training is
repeatable and, from :meth:`Learner.state`, resumable to the same curve.  An agent that can be trained offers
what :class:`Trainable` says.  ``docs/training.md`` shows how to write one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.lockstep.registry import AGENTS

Weights = Mapping[str, NDArray[Any]]
"""Names and arrays, as a safetensors file holds them."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """A shared array of each instant, one behind the other; that of instant t is ``at(t)``."""

    values: NDArray[Any]
    first: NDArray[np.int64]
    """(T + 2,) where each instant's array begins in ``values``; the last entry is where all end."""

    def at(self, t: int) -> NDArray[Any]:
        """Return the array of instant *t*, as the task gave it."""
        return self.values[self.first[t] : self.first[t + 1]]


@dataclass(frozen=True, slots=True)
class Window:
    """What one worker saw and did in one role in one learning window: T decisions, all in flat arrays.

    There are T + 1 instants; the last only settles the decision before it, and is the first of the next window.
    The M rows are those of all instants, one instant behind the other; in each, the entities that are there come
    first, those that had just left follow.  ``next`` leads from a decision to the row in which its entity was seen
    one instant later (its last view if it left), so nothing is stored twice.

    ==============  ====================  ============================================================
    ``t_us``        (T + 1,) int64        the instants
    ``first``       (T + 2,) int64        where each instant's rows begin; the last entry is M
    ``key``         (M,) uint64           the entity (``cosim.randomness.entity_key`` of its id)
    ``active``      (M,) bool             the entity is there; else it has just left
    ``obs``         (M, d) float32        observation
    ``mask``        (M, A) bool or None   choices allowed
    ``values``      (M,) or (M, k)        what was decided, as in ``Actions.values``; 0 where nothing was
    ``reward``      (M,) float64          reward of the decision of this row; 0 where there was none
    ``next``        (M,) int64            row of the same entity one instant later; -1: none
    ``terminated``  (M,) bool             the entity left right after this decision
    ``truncated``   (M,) bool             the task's learning window ended right after this decision
    ==============  ====================  ============================================================

    ``shared`` holds the task's shared arrays.  One that the task gives with a row per observation row has the
    offsets ``first``, so ``shared["own_reward"].values[next]`` belongs to the decisions.  ``notes`` (M, …) are
    what the actor noted with its actions (log-probabilities, values); 0 where nothing was decided.
    """

    worker: int
    info: EpisodeInfo
    role: str
    t_us: NDArray[np.int64]
    first: NDArray[np.int64]
    key: NDArray[np.uint64]
    active: NDArray[np.bool_]
    obs: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    values: NDArray[Any]
    reward: NDArray[np.float64]
    next: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    shared: Mapping[str, Ragged] = field(default_factory=dict)
    notes: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.key)

    @property
    def steps(self) -> int:
        """T, the number of decisions."""
        return len(self.t_us) - 1

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(M,) whether a decision was made in this row: its entity is there and the instant is not the last."""
        decided = self.active.copy()
        decided[self.first[-2] :] = False
        return decided

    def instants(self) -> NDArray[np.int64]:
        """Return (M,) the instant, 0 to T, of each row."""
        return np.repeat(np.arange(len(self.t_us)), np.diff(self.first))

    def team_reward(self) -> NDArray[np.float64]:
        """Return (T,) the reward of each instant's decisions, of tasks that pay all entities alike.

        It is the first decision's; 0 where nobody decided.
        """
        begins, ends = self.first[:-2], self.first[1:-1]
        some = begins < ends
        some[some] = self.active[begins[some]]
        team = np.zeros(self.steps)
        team[some] = self.reward[begins[some]]
        return team

    def slots(self, count: int) -> NDArray[np.int64]:
        """Return (M,) a slot 0 … count - 1 for each row, -1 for rows of entities that have just left.

        An entity takes the lowest free slot when it appears and keeps it until it leaves.  AgentError if there
        are ever more entities than slots.
        """
        slot = np.full(len(self), -1, dtype=np.int64)
        held: dict[int, int] = {}
        before: list[int] = []
        for t in range(len(self.t_us)):
            here = slice(int(self.first[t]), int(self.first[t]) + self._active_at(t))
            keys = self.key[here].tolist()
            if keys != before:
                present = set(keys)
                held = {key: at for key, at in held.items() if key in present}
                free = iter(sorted(set(range(count)).difference(held.values())))
                for key in keys:
                    if key not in held:
                        at = next(free, None)
                        if at is None:
                            raise AgentError(
                                f"role '{self.role}' has {len(keys)} entities at once, more than {count} slots"
                            )
                        held[key] = at
                before = keys
            slot[here] = [held[key] for key in keys]
        return slot

    def _active_at(self, t: int) -> int:
        return int(np.count_nonzero(self.active[self.first[t] : self.first[t + 1]]))

    def dense(self, values: NDArray[Any], slot: NDArray[np.int64], count: int) -> NDArray[Any]:
        """Return (T + 1, count, …): the rows of *values* (M, …) by instant and slot, 0 where a slot is empty."""
        out = np.zeros((len(self.t_us), count, *values.shape[1:]), dtype=values.dtype)
        there = slot >= 0
        out[self.instants()[there], slot[there]] = values[there]
        return out


@dataclass(frozen=True, slots=True)
class LearnerState:
    """What a training needs to go on: ``arrays`` (saved as safetensors) and plain JSON ``values``."""

    arrays: Mapping[str, NDArray[Any]]
    values: Mapping[str, Any] = field(default_factory=dict)


class Actor(Protocol):
    """The deciding half of a learner, all that a worker needs of it."""

    def reset(self, info: EpisodeInfo) -> None:
        """Begin a window; called often, so cheap.  Forget what belongs to the entities of the one before."""

    def act(self, observations: Observations, explore: bool) -> Actions:
        """Answer the first ``observations.active`` rows, with exploration or greedily.

        Randomness is keyed by (seed, t_us, id), so an answer does not depend on who else is asked.
        """

    def load_policy(self, weights: Weights) -> None:
        """Act with these weights from now on."""


class Learner(Actor, Protocol):
    """A method that can be trained.  One instance learns one task, all roles of it."""

    def add(self, windows: Sequence[Window]) -> None:
        """Take in what the workers collected: by worker, then by time, then by role.

        Also counts the environment steps: a window's ``steps``, once for all its roles.
        """

    def update(self) -> dict[str, float]:
        """Learn from what is held; return the signals that belong into the learning curve (losses …).

        Called once a round, after ``add``: how many gradient steps that makes is the method's own affair.
        """

    def policy(self, explore: bool = False) -> dict[str, NDArray[Any]]:
        """Return what :meth:`load_policy` takes: what is evaluated and shipped, or what workers explore with."""

    def state(self) -> LearnerState:
        """Return everything, random generators and memories included."""

    def load(self, state: LearnerState) -> None:
        """Go on as the learner that gave *state* would have."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a learner or an actor is made from.

    ``config`` is the method's own :attr:`Trainable.Config`; ``steps`` the environment steps that the training
    is to take, for schedules; ``device`` is auto, cpu or cuda, and means nothing to actors.
    """

    info: EpisodeInfo
    config: Any
    seed: int
    steps: int
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named way to train a method: what differs from the defaults.

    ``agent`` holds values of the method's Config, ``training`` of
    :class:`cosim.experiments.train_config.TrainingConfig`, ``settings`` scenario settings (``key=value``, with
    ``{task}`` for the task's name) that hold while collecting and not while evaluating.
    """

    about: str = ""
    agent: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()


@runtime_checkable
class Trainable(Protocol):
    """What stands behind an agent's name (usually the agent's class) if the agent can be trained.

    ``Config`` is a pydantic model with a default for everything, ``recipes`` named ways to train; the recipe
    ``default`` is taken where none is named.
    """

    Config: ClassVar[type[BaseModel]]
    recipes: ClassVar[Mapping[str, Recipe]]

    def learner(self, setup: Setup) -> Learner:
        """Make a learner (a static method of a class)."""

    def actor(self, setup: Setup) -> Actor:
        """Make the deciding half of it, for a worker (a static method of a class)."""


@runtime_checkable
class SelfCollecting(Protocol):
    """A :class:`Trainable` that gathers its experience itself, for instance on recorded traffic."""

    def crew(self, job: Any, info: EpisodeInfo, workers: int) -> Any:
        """Return what collects and evaluates for a training: a :class:`cosim.experiments.crew.Collecting`.

        ``job`` is a :class:`cosim.experiments.rollout.Job`; ``workers`` means what the method makes of it.
        """


def trainable(name: str) -> Trainable:
    """Return what stands behind an agent's name; ScenarioError if it cannot be trained, or is unknown."""
    thing: Any = AGENTS.get(name)
    if not isinstance(thing, Trainable):
        raise ScenarioError(
            f"agent '{name}' cannot be trained: it offers no Config, recipes, learner and actor (docs/training.md)"
        )
    return thing
