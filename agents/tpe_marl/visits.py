"""How often a game topology has been seen, and the reward for seeing it seldom: r_vis = 1 / sqrt(visits).

The key of an instant is, over its vehicles from the foremost on, the distance rounded to whole numbers and the code
of every relation (the topology is real-valued: as it is, none would ever repeat), hashed to 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.tpe_marl.topology import Ints, Topology
from cosim.randomness import quick_words, stream_key

_STREAM = stream_key(0, "tpe_marl/visits", 0)


def window_visit_keys(whole: Topology, rank: Ints, first: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the keys (T + 1,) of a window's instants; ``rank`` (M,) from ``window_ranks``, -1 for absent rows."""
    words = _words(whole, rank)
    words[rank < 0] = 0
    # Sums modulo 2^64, so differences of running sums are exact.
    running = np.zeros(len(words) + 1, dtype=np.uint64)
    words.sum(axis=1).cumsum(out=running[1:])
    keys: NDArray[np.uint64] = running[first[1:]] - running[first[:-1]]
    return keys


def _words(topology: Topology, rank: Ints) -> NDArray[np.uint64]:
    """Return (n, k) a random-looking word for each relation and its place; their sum is the key."""
    k = topology.member.shape[1]
    place = (rank * k + 1)[:, None] + np.arange(k)
    rounded = np.rint(topology.distance).astype(np.uint64)
    # 32 bits of code, 20 of distance, 12 of place.
    packed = (place.astype(np.uint64) << np.uint64(52)) ^ (rounded << np.uint64(32))
    return quick_words(packed ^ topology.code.astype(np.uint64), _STREAM)


def visit_reward(visits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return r_vis = 1 / sqrt(visits), the current visit included."""
    return 1.0 / np.sqrt(visits)


class VisitTable:
    """Visits by key: two sorted arrays, merged once a call."""

    def __init__(self) -> None:
        self._keys = np.empty(0, dtype=np.uint64)
        self._visits = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def visit(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Count a visit to each of *keys* (n,), in order; return how many each has had, this one included."""
        distinct, which, count = np.unique(keys, return_inverse=True, return_counts=True)
        at = self._keys.searchsorted(distinct)
        known = np.zeros(len(distinct), dtype=np.bool_)
        inside = at < len(self._keys)
        known[inside] = self._keys[at[inside]] == distinct[inside]
        before = np.zeros(len(distinct), dtype=np.int64)
        before[known] = self._visits[at[known]]
        self._visits[at[known]] += count[known]
        self._keys = np.insert(self._keys, at[~known], distinct[~known])
        self._visits = np.insert(self._visits, at[~known], count[~known])
        # Within the call: equal keys in order, numbered from 1.
        order = which.argsort(kind="stable")
        number = np.empty(len(keys), dtype=np.int64)
        number[order] = np.arange(len(keys)) - np.repeat(count.cumsum() - count, count) + 1
        return before[which] + number

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the table as arrays."""
        return {"keys": self._keys.copy(), "visits": self._visits.copy()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave."""
        self._keys = np.array(state["keys"], dtype=np.uint64)
        self._visits = np.array(state["visits"], dtype=np.int64)
