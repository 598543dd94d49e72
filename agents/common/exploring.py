"""Choosing discrete actions from scores: greedily within a mask, or at random by key with probability epsilon.

A draw depends on seed, instant and entity alone, so what one vehicle explores depends on no other row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import quick_words, stream_key

_HIGH = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def greedy(scores: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Return (n,) the allowed choice of highest score in each row; the first of equals."""
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    return np.asarray(scores.argmax(axis=1))


def epsilon_greedy(
    scores: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    epsilon: float,
    keys: NDArray[np.uint64],
    seed: int,
    t_us: int,
) -> NDArray[np.int64]:
    """Return (n,) choices: greedy, but with probability *epsilon* each allowed one equally likely.

    Args:
        scores: (n, A) a score of each choice.
        mask: (n, A) allowed choices; None allows all.
        keys: (n,) entity keys.
        seed: of the episode.
        t_us: the instant, microseconds.
    """
    choice = greedy(scores, mask)
    if epsilon <= 0.0 or not len(choice):
        return choice
    words = quick_words(keys, stream_key(seed, "explore", t_us))
    exploring = ((words >> _HIGH) < np.uint64(epsilon * 2.0**32)).nonzero()[0]
    if exploring.size:
        allowed = np.ones((len(exploring), scores.shape[1]), np.bool_) if mask is None else mask[exploring]
        # The low half of the word picks one of the allowed choices by its number among them.
        below = ((words[exploring] & _LOW) * allowed.sum(axis=1).astype(np.uint64)) >> _HIGH
        choice[exploring] = (allowed.cumsum(axis=1) > below[:, None]).argmax(axis=1)
    return choice
