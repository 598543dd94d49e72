"""Means with their confidence intervals, from a handful of independent runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over ``n`` values and the half-width of its confidence interval, NaN with fewer than two."""

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half


def mean_interval(values: ArrayLike | Sequence[float | None], level: float = 0.95) -> Interval:
    """Return the mean of *values* (n,) with Student's t interval: mean ± t((1+level)/2; n-1) · s / √n.

    None and NaN count as no value.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    mean, half, n = column_intervals(x[:, None], level)
    return Interval(float(mean[0]), float(half[0]), int(n[0]))


def column_intervals(
    values: NDArray[np.float64], level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean (k,), half-width (k,) and count (k,) of each column of *values* (n, k), NaN left out.

    The mean of an empty column is NaN; so is the half-width of one with fewer than two values.
    """
    from scipy.special import stdtrit

    there = np.isfinite(values)
    n = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    mean = np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
    off = np.where(there, values - mean, 0.0)
    freedom = np.maximum(n - 1, 1)
    spread = np.sqrt((off**2).sum(axis=0) / freedom)
    half = stdtrit(freedom, 0.5 + level / 2) * spread / np.sqrt(np.maximum(n, 1))
    return mean, np.where(n > 1, half, np.nan), n.astype(np.int64)
