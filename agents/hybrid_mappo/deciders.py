"""Rules that need no learning: greedy, random, full and no pre-migration, and the two bounds ``soft`` and ``seq``.

Each is a function of what is known of one slot for E episodes at once (:class:`Question`), so one agent in lockstep
and a batch of tapes are decided by the same code, to the bit.  Random numbers are keyed by (seed, instant, vehicle).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import quick_words, stream_key
from cosim.tasks.migration.episode import Slot, own_latency, service_order, settle
from cosim.tasks.migration.latency import Rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Decision = tuple[Ints, Floats]
"""Choices (E, V) and shares (E, V)."""

SHARES = np.linspace(0.0, 1.0, 11)
"""K in {0, .1, …, 1}, what greedy, soft and seq try."""
_HIGH = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Question:
    """What one decision slot asks of E episodes.

    ``keys`` (E, V) are the vehicles' entity keys, ``seeds`` (E,) the episodes' seeds, ``t_us`` (E,) the instants;
    ``mask`` (E, V, A) the open choices; ``loads`` (E, M) or (E, V, M) the queues to reckon with (L or L_pre).
    ``remote``: the choices are to stay and to migrate to the next RSU ahead, not the RSUs themselves.
    """

    rules: Rules
    slot: Slot
    mask: Bools
    loads: Floats
    keys: NDArray[np.uint64]
    seeds: Sequence[int]
    t_us: Sequence[int]
    remote: bool = False

    def uniforms(self, purpose: str) -> Floats:
        """Return uniforms (E, V) strictly between 0 and 1."""
        streams = [
            stream_key(s, f"hybrid_mappo/{purpose}", t) for s, t in zip(self.seeds, self.t_us, strict=True)
        ]
        words = [quick_words(keys, stream) for keys, stream in zip(self.keys, streams, strict=True)]
        return ((np.stack(words) >> _HIGH).astype(np.float64) + 0.5) * 2.0**-32


def target_of(slot: Slot, choice: Ints, remote: bool) -> Ints:
    """Return the RSU (E, V) that a choice stands for; the serving one (at least 0) where nothing is migrated."""
    if not remote:
        return choice
    return np.where((choice == 1) & (slot.ahead >= 0), slot.ahead, np.maximum(slot.serving, 0))


def best_replies(question: Question) -> tuple[Floats, Floats]:
    """Return (E, V, A) the least T_sum that a vehicle expects of each choice, and the share K that gives it.

    A choice that is closed is infinite.
    """
    slot = question.slot
    expected = own_latency(question.rules, slot, SHARES, question.loads)
    if question.remote:
        stay = np.where(np.arange(len(SHARES)) == 0, expected[:, :, 0, :], np.inf)
        ahead = np.maximum(slot.ahead, 0)[..., None, None]
        onward = np.take_along_axis(expected, ahead, axis=2)[:, :, 0]
        expected = np.stack([stay, onward], axis=2)
    best = expected.argmin(axis=-1)
    least = np.take_along_axis(expected, best[..., None], axis=-1)[..., 0]
    return np.where(question.mask, least, np.inf), SHARES[best]


def _at(values: Floats, choice: Ints) -> Floats:
    return np.take_along_axis(values, choice[..., None], axis=-1)[..., 0]


def _fraction(question: Question, weights: Floats) -> Ints:
    """Return the choice (E, V) on which the vehicle's uniform falls, with probabilities like *weights* (E, V, A)."""
    below = weights.cumsum(axis=-1)
    u = question.uniforms("target") * below[..., -1]
    choice: Ints = (below > u[..., None]).argmax(axis=-1)
    return choice


def greedy(question: Question) -> Decision:
    """Take the choice and share with the least T_sum by the loads as they are."""
    least, share = best_replies(question)
    choice = least.argmin(axis=-1)
    return choice, _at(share, choice)


def random(question: Question) -> Decision:
    """Take any open choice and K ~ U[0, 1]."""
    return _fraction(question, question.mask.astype(np.float64)), question.uniforms("share")


def full(question: Question) -> Decision:
    """Migrate all of the task, to any open RSU."""
    weights = question.mask.astype(np.float64)
    if question.remote:
        weights[..., 0] = np.where(question.mask[..., 1], 0.0, weights[..., 0])
    return _fraction(question, weights), np.ones(question.keys.shape)


def none(question: Question) -> Decision:
    """Migrate nothing."""
    return question.mask.argmax(axis=-1), np.zeros(question.keys.shape)


def soft(question: Question, tau: float = 1.0) -> Decision:
    """Draw the choice by softmax(-T_sum / tau) of its best share: vehicles that think alike spread out."""
    least, share = best_replies(question)
    low = least.min(axis=-1, keepdims=True)
    low = np.where(np.isfinite(low), low, 0.0)
    choice = _fraction(question, np.exp((low - least) / tau))
    return choice, _at(share, choice)


def sequential(question: Question) -> Decision:
    """Let each vehicle reply best to what those served before it in this slot have just decided: a bound.

    No vehicle could know that; it is how far decisions could get without looking ahead in time.
    """
    rules, slot = question.rules, question.slot
    choice = np.zeros(question.keys.shape, dtype=np.int64)
    share = np.zeros(question.keys.shape)
    queue = slot.queue
    still = replace(rules, slot=0.0)
    for i in service_order(slot.t, question.keys.shape[1]):
        one = _vehicle(question, i, queue)
        choice[:, i : i + 1], share[:, i : i + 1] = greedy(one)
        target = target_of(one.slot, choice[:, i : i + 1], question.remote)
        queue = settle(still, one.slot, target, share[:, i : i + 1]).queue
    return choice, share


def _vehicle(question: Question, i: int, queue: Floats) -> Question:
    """Return what is asked of vehicle i alone, with the queues that it would meet."""
    slot, only = question.slot, slice(i, i + 1)
    mine = replace(
        slot,
        **{name: getattr(slot, name)[:, only] for name in _BY_VEHICLE},
        queue=queue,
    )
    return replace(question, slot=mine, mask=question.mask[:, only], loads=queue, keys=question.keys[:, only])


_BY_VEHICLE = ("xy", "speed", "duration", "serving", "ahead", "input_bits", "task_bits", "rate", "last")

RULES: Mapping[str, Callable[[Question], Decision]] = {
    "greedy": greedy,
    "random": random,
    "fpm": full,
    "npm": none,
    "soft": soft,
    "seq": sequential,
}
"""The rules by the method names of their agents."""
