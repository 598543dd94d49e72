"""The actors of Hybrid-MAPPO and MAPPO-DDPG at work, in NumPy: inputs, scores, shares, and how a vehicle chooses.

All of it takes E episodes at once, (E, V, …): one in lockstep and a batch of tapes are decided by the same code.
Matrix products are made episode by episode, so an answer does not depend on how many are asked together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.common.perceptron import Perceptron, tanh
from agents.hybrid_mappo.deciders import Decision, Question
from agents.hybrid_mappo.guide import Guide
from cosim.errors import AgentError

Floats = NDArray[np.float32]
TARGET, SHARE = "actor.target", "actor.share"
"""Prefixes of both actors' weights."""
CERTAIN = 1e-4
"""Shares are kept this far from 0 and 1, where the Beta density ends."""


@dataclass(frozen=True, slots=True)
class Scores:
    """``scores`` of the choices and the two parameters of each one's share, (E, V, A) each."""

    scores: Floats
    alpha: Floats
    beta: Floats

    @property
    def mean_share(self) -> Floats:
        """Means of the shares' Beta distributions."""
        mean: Floats = self.alpha / (self.alpha + self.beta)
        return mean


class PolicyNet:
    """Both actors; ``weights`` as :class:`agents.hybrid_mappo.nets.ActorPair` gives them.

    ``certain``: the continuous actor gives the share itself; alpha and beta are then K and 1 - K, whose mean is K.
    """

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], guide: Guide | None, name: str, certain: bool = False
    ) -> None:
        try:
            self._target = Perceptron(weights, TARGET, tanh)
            self._share = Perceptron(weights, SHARE, tanh)
        except ValueError as error:
            raise AgentError(f"{name}: {error}") from None
        self._guide, self._certain = guide, certain

    @property
    def inputs(self) -> int:
        """Width of the networks' input."""
        return self._target.inputs

    def __call__(self, x: Floats) -> Scores:
        """Return what both actors say of inputs (E, V, d)."""
        scores, raw = self._target(x), self._share(x)
        guide = self._guide
        if guide is not None:
            scores = scores - np.float32(guide.slope) * x[..., guide.latency]
        if self._certain:
            if guide is not None:
                raw = raw + np.float32(guide.weight) * (x[..., guide.share] - np.float32(0.5))
            share = np.float32(1.0) / (np.float32(1.0) + np.exp(-raw))
            return Scores(scores, share, np.float32(1.0) - share)
        half = raw.shape[-1] // 2
        alpha, beta = raw[..., :half], raw[..., half:]
        if guide is not None:
            share, weight = x[..., guide.share], np.float32(guide.weight)
            alpha, beta = alpha + weight * share, beta + weight * (np.float32(1.0) - share)
        return Scores(scores, beta_parameter(alpha), beta_parameter(beta))


def beta_parameter(x: Floats) -> Floats:
    """Return 1 + softplus(x)."""
    return (np.float32(1.0) + np.logaddexp(np.float32(0.0), x)).astype(np.float32)


def probabilities(scores: Floats, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (…, A) softmax over the open choices; uniform where none is open."""
    wide = np.where(mask, scores.astype(np.float64), -np.inf)
    top = wide.max(axis=-1, keepdims=True)
    wide = np.exp(wide - np.where(np.isfinite(top), top, 0.0))
    total = wide.sum(axis=-1, keepdims=True)
    share: NDArray[np.float64] = wide / np.where(total > 0.0, total, 1.0)
    return np.where(total > 0.0, share, 1.0 / scores.shape[-1])


def at(values: NDArray[Any], choice: NDArray[np.int64]) -> NDArray[Any]:
    """Return (…,) the entries of *values* (…, A) at *choice* (…,)."""
    return np.take_along_axis(values, choice[..., None], axis=-1)[..., 0]


def explore(
    said: Scores, mask: NDArray[np.bool_], random: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Draw choice and share of every vehicle from both actors' distributions."""
    choice = draw_choice(probabilities(said.scores, mask), random.random(mask.shape[:-1]))
    share = random.beta(at(said.alpha, choice), at(said.beta, choice))
    return choice, np.clip(share, CERTAIN, 1.0 - CERTAIN).astype(np.float32)


def explore_near(
    noise: float,
) -> Callable[[Scores, NDArray[np.bool_], np.random.Generator], tuple[NDArray[np.int64], Floats]]:
    """Return a way to explore that draws the choice and adds normal noise to a certain share."""

    def near(
        said: Scores, mask: NDArray[np.bool_], random: np.random.Generator
    ) -> tuple[NDArray[np.int64], Floats]:
        choice = draw_choice(probabilities(said.scores, mask), random.random(mask.shape[:-1]))
        share = at(said.mean_share, choice) + noise * random.standard_normal(choice.shape)
        return choice, np.clip(share, CERTAIN, 1.0 - CERTAIN).astype(np.float32)

    return near


def draw_choice(probability: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the choice (…,) on which the uniform *u* (…,) falls."""
    below = probability.cumsum(axis=-1)
    choice: NDArray[np.int64] = (below > (u * below[..., -1])[..., None]).argmax(axis=-1)
    return choice


def settle_on(said: Scores, question: Question, draw: bool) -> Decision:
    """Return what a trained policy does: a choice drawn by key (or the likeliest), and the mean of its share."""
    probability = probabilities(said.scores, question.mask)
    choice = draw_choice(probability, question.uniforms("policy")) if draw else probability.argmax(axis=-1)
    return choice, at(said.mean_share, choice).astype(np.float64)
