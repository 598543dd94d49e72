"""Predictors without a network: where the vehicle is, constant velocity, and a linear autoregression AR(12).

Each takes histories (..., 12, 2) in m, oldest position first, and returns the next positions (..., 2) in m; NaN
where the newest position is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.hybrid_mappo.predictor.data import PAST, Box, Windows, filled

Floats = NDArray[np.float64]


def persistence(history: Floats) -> Floats:
    """Return the newest positions: nobody moves."""
    return history[..., -1, :]


def constant_velocity(history: Floats) -> Floats:
    """Return the newest positions moved on by the last displacement."""
    known = filled(history)
    return 2.0 * known[..., -1, :] - known[..., -2, :]


@dataclass(frozen=True)
class LinearAr:
    """Both coordinates as a linear function of all 24 past ones and a constant, in shares of ``box``.

    ``weights`` (24, 2) for the history (12, 2) read row by row, ``bias`` (2,).
    """

    box: Box
    weights: Floats
    bias: Floats

    @classmethod
    def fit(cls, windows: Windows, box: Box) -> LinearAr:
        """Return the least-squares fit (of the smallest norm where windows do not determine it)."""
        past = _rows(box.normalise(windows.past))
        design = np.column_stack([past, np.ones(len(past))])
        found = np.linalg.lstsq(design, box.normalise(windows.future), rcond=None)[0]
        solution = np.asarray(found, dtype=np.float64)
        return cls(box, solution[:-1], solution[-1])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> LinearAr:
        """Return what :meth:`arrays` gave."""
        wide = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
        return cls(Box.of(wide["low"], wide["high"]), wide["weights"], wide["bias"])

    def arrays(self) -> dict[str, Floats]:
        """Return all numbers by name."""
        return {"low": self.box.low, "high": self.box.high, "weights": self.weights, "bias": self.bias}

    def __call__(self, history: Floats) -> Floats:
        """Return the next positions (..., 2), m."""
        shares = self.box.normalise(filled(history))
        rows = _rows(shares.reshape(-1, PAST, 2))
        return self.box.denormalise((rows @ self.weights + self.bias).reshape(*shares.shape[:-2], 2))


def _rows(history: Floats) -> Floats:
    return history.reshape(len(history), 2 * PAST)
