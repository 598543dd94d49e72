"""What training needs of a method beyond deciding: experience in, updates, and a state that can be saved.

Arrays only: a learner may be written with any library.  Workers collect experience side by side with
:meth:`Learner.act`; what they collected is added in worker order, so a training is repeatable and, from
:meth:`Learner.state`, resumable to the same curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations


@dataclass(frozen=True, slots=True)
class Decision:
    """One question and its answer; ``actions`` is None for the last, which only settles the one before."""

    observations: Observations
    actions: Actions | None


@dataclass(frozen=True, slots=True)
class Transitions:
    """What one worker collected of one task in one stretch: its decisions in order, phases interleaved.

    The last decision of each role has no actions: its rewards and flags belong to the decision before.
    ``worker`` counts from 0.
    """

    worker: int
    info: EpisodeInfo
    decisions: tuple[Decision, ...]

    def of(self, role: str) -> tuple[Decision, ...]:
        """Return the decisions of one role."""
        return tuple(d for d in self.decisions if d.observations.role == role)


@dataclass(frozen=True, slots=True)
class Rows:
    """Transitions of one role cut into single rows: entity i decided at ``t_us`` and was seen again.

    =================  ==============================  ==========================================
    ``t_us``           (n,) int64                      instant of the decision
    ``ids``            n str                           who decided
    ``obs``            (n, d) float32                  what it saw
    ``mask``           (n, A) bool or None             choices allowed then
    ``values``         (n,) or (n, 1 + k), (n, k)      what was decided, as in ``Actions.values``
    ``reward``         (n,) float64                    reward of this decision
    ``next_obs``       (n, d) float32                  what it saw next; its last view if it left
    ``next_mask``      (n, A) bool or None             choices allowed next
    ``terminated``     (n,) bool                       it left before it could decide again
    ``truncated``      (n,) bool                       the learning window ended
    =================  ==============================  ==========================================
    """

    t_us: NDArray[np.int64]
    ids: tuple[str, ...]
    obs: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    values: NDArray[Any]
    reward: NDArray[np.float64]
    next_obs: NDArray[np.float32]
    next_mask: NDArray[np.bool_] | None
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LearnerState:
    """What a training needs to go on: ``arrays`` (saved as safetensors) and plain JSON ``values``."""

    arrays: Mapping[str, NDArray[Any]]
    values: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Learner(Protocol):
    """A method that can be trained.  One instance learns one task."""

    def reset(self, info: EpisodeInfo) -> None:
        """Begin to collect an episode: forget what belongs to entities of the one before."""

    def act(self, observations: Observations, explore: bool) -> Actions:
        """Answer the first ``observations.active`` rows, with exploration or greedily.

        Randomness is keyed by (seed, t_us, id), so an answer does not depend on who else is asked.
        """

    def add(self, transitions: Sequence[Transitions]) -> None:
        """Take in what the workers collected, in worker order."""

    def update(self) -> dict[str, float]:
        """Learn from what is held; return the signals that belong into the learning curve (losses …)."""

    def policy(self) -> dict[str, NDArray[Any]]:
        """Return the weights that acting needs: what workers are sent and what is shipped."""

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Act with these weights from now on."""

    def state(self) -> LearnerState:
        """Return everything, random generators and memories included."""

    def load(self, state: LearnerState) -> None:
        """Go on as the learner that gave *state* would have."""


def rows(transitions: Transitions, role: str) -> Rows | None:
    """Cut the decisions of one role into rows, each matched by id with its entity's next appearance.

    A row whose entity does not appear in the next decision is left out (tasks report everyone who leaves once
    more, so none is).  None if there is nothing.
    """
    decisions = transitions.of(role)
    parts = [
        _pair(one.observations, one.actions, two.observations)
        for one, two in pairwise(decisions)
        if one.actions is not None and one.observations.active
    ]
    parts = [part for part in parts if len(part.ids)]
    if not parts:
        return None
    masked = all(part.mask is not None and part.next_mask is not None for part in parts)
    return Rows(
        t_us=np.concatenate([part.t_us for part in parts]),
        ids=tuple(entity for part in parts for entity in part.ids),
        obs=np.concatenate([part.obs for part in parts]),
        mask=np.concatenate([part.mask for part in parts if part.mask is not None]) if masked else None,
        values=np.concatenate([part.values for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        next_obs=np.concatenate([part.next_obs for part in parts]),
        next_mask=(
            np.concatenate([part.next_mask for part in parts if part.next_mask is not None])
            if masked
            else None
        ),
        terminated=np.concatenate([part.terminated for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
    )


def _pair(asked: Observations, answered: Actions, after: Observations) -> Rows:
    """Match the rows that decided with the same entities' rows one decision later."""
    here, there = matched(asked.ids[: asked.active], after.ids)
    return Rows(
        t_us=np.full(len(here), asked.t_us, dtype=np.int64),
        ids=tuple(asked.ids[i] for i in here.tolist()),
        obs=asked.obs[here],
        mask=None if asked.mask is None else asked.mask[here],
        values=np.asarray(answered.values)[here],
        reward=after.reward[there],
        next_obs=after.obs[there],
        next_mask=None if after.mask is None else after.mask[there],
        terminated=after.terminated[there],
        truncated=after.truncated[there],
    )


def matched(first: Sequence[str], second: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row numbers of equal ids in *first* and *second*, in the order of *first*."""
    if not len(first) or not len(second):
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    if tuple(second[: len(first)]) == tuple(first):
        same = np.arange(len(first), dtype=np.intp)
        return same, same
    a, b = np.array(first), np.array(second)
    order = np.argsort(b)
    at = np.minimum(np.searchsorted(b, a, sorter=order), len(b) - 1)
    there = order[at]
    here = np.flatnonzero(b[there] == a)
    return here, there[here]
