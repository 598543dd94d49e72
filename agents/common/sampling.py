"""Random decisions of actor-critic methods by key: choices by their probabilities, and normal noise.

As in :mod:`agents.common.exploring`, a draw depends on seed, instant and entity alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cosim.randomness import quick_words, stream_key

_HIGH = np.uint64(32)


def log_probabilities(scores: NDArray[np.floating], mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return (n, A) the logarithm of softmax over the allowed choices; minus infinity for the others."""
    scores = scores.astype(np.float64)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    scores -= scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def sample_choice(
    scores: NDArray[np.floating],
    mask: NDArray[np.bool_] | None,
    keys: NDArray[np.uint64],
    seed: int,
    t_us: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw a choice for each row with the probabilities softmax(scores) over what is allowed.

    Returns the choices (n,) and the logarithms of their probabilities (n,).
    """
    logs = log_probabilities(scores, mask)
    below = np.exp(logs).cumsum(axis=1)
    u = _uniforms(keys, seed, "sample", t_us) * below[:, -1]
    # The first choice whose cumulated probability exceeds u; it has a probability of its own, so it is allowed.
    choice = (below > u[:, None]).argmax(axis=1)
    return choice, logs[np.arange(len(choice)), choice]


def normal(keys: NDArray[np.uint64], columns: int, seed: int, t_us: int) -> NDArray[np.float64]:
    """Return (n, columns) standard normal numbers."""
    names = [f"normal/{column}" for column in range(columns)]
    return np.stack([ndtri(_uniforms(keys, seed, name, t_us)) for name in names], axis=1)


def _uniforms(keys: NDArray[np.uint64], seed: int, domain: str, t_us: int) -> NDArray[np.float64]:
    """Uniforms strictly between 0 and 1, (n,)."""
    words = quick_words(keys, stream_key(seed, domain, t_us)) >> _HIGH
    return (words.astype(np.float64) + 0.5) * 2.0**-32
