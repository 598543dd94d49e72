"""Policy diversity: topology vectors hashed to the cells of a 32 x 32 map (TPE-MARL eqs (43) to (45)).

Vectors are those of :func:`agents.tpe_marl.topology.window_vectors` with distances as they are (distance scale 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CELLS = 32
_HALF = 32
_LARGEST = 2**_HALF - 1


def random_signs(seed: int, dimensions: int = 100) -> NDArray[np.int8]:
    """Return 64 random vectors r_k of -1 and +1, (64, dimensions)."""
    signs = np.random.default_rng([seed, 43]).integers(0, 2, (2 * _HALF, dimensions), dtype=np.int8)
    return signs * np.int8(2) - np.int8(1)


def diversity_hash(vectors: NDArray[np.floating[Any]], signs: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return X and Y, (S, 2), of *vectors* (S, d): bits 1 to 32 and 33 to 64, the first of each the highest."""
    bits = vectors.astype(np.float64) @ signs.T.astype(np.float64) >= 0  # Eq. (43)
    weights = 1 << np.arange(_HALF - 1, -1, -1)
    return np.asarray(bits.reshape(-1, 2, _HALF) @ weights, dtype=np.int64)  # Eq. (44)


def cells(vectors: NDArray[np.floating[Any]], signs: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the cell (S, 2) of each vector, each number from 0 to 31."""
    place = diversity_hash(vectors, signs) / _LARGEST  # Eq. (45)
    return np.asarray(np.minimum((CELLS * place).astype(np.int64), CELLS - 1))


def heat_map(vectors: NDArray[np.floating[Any]], signs: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return how many of *vectors* (S, d) fall into each cell, (32, 32), first X then Y."""
    at = cells(vectors, signs)
    return np.bincount(at[:, 0] * CELLS + at[:, 1], minlength=CELLS * CELLS).reshape(CELLS, CELLS)
