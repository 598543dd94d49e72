"""Correlated unit normals: what shadowing and the LOS state follow while vehicles move.

Two laws with the same autocorrelation exp(-D / d_corr) over the distance D:

- :class:`Walk` (Gudmundson 1991): a first-order autoregression a pair along its way, driven by keyed draws, its
  state kept in slot arrays.
- :class:`Field`: a fixed sum of cosines in space, a pure function of position.  Vehicles in a platoon share it,
  and two policies that move vehicles differently still meet the same value at the same place.

A channel multiplies the unit state by the spread of the link's LOS state, so a change of state rescales without
a jump.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.network.randomness import Draws
from cosim.randomness import stream_key

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

_FIELD_BLOCK = 65536
_FIELD_POINTS = 512
"""Cosines and points evaluated at once: few enough for the nearer caches, with long inner loops."""


def correlation(distance: ArrayLike, d_corr: ArrayLike) -> Floats:
    """Return Gudmundson's rho = exp(-D / d_corr)."""
    return np.exp(-np.asarray(distance, np.float64) / np.asarray(d_corr, np.float64))


class Walk:
    """Unit normals of pairs that decorrelate with the distance moved; rows and columns are slots.

    ``state`` is (rows, columns), nan where a pair has not begun: its first value is a plain draw, so the law is
    stationary from the start.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Floats = np.full((0, 0), np.nan)

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for at least that many slots; what is there is kept."""
        self.state = grown(self.state, (rows, columns), np.nan)

    def forget(self, rows: Index | None = None, columns: Index | None = None) -> None:
        """Let the pairs of these slots begin anew (another entity moved in)."""
        if rows is not None:
            self.state[rows] = np.nan
        if columns is not None:
            self.state[:, columns] = np.nan

    def advance(
        self,
        rows: Index,
        columns: Index,
        moved: Floats,
        d_corr: float,
        z: Floats,
        other: tuple[NDArray[np.bool_], float] | None = None,
    ) -> Floats:
        """Step the pairs ``rows`` x ``columns`` (n and m slots) and return their values, (n, m).

        u <- rho u + sqrt(1 - rho^2) z with rho = exp(-moved / d_corr); ``moved`` (m) broadcasts to (n, m), so
        that pairs with fixed stations pay for the exponential once a row.  ``other`` names pairs with another
        correlation distance.
        """
        whole = len(columns) == self.state.shape[1] and bool((columns == np.arange(len(columns))).all())
        at = rows if whole else np.ix_(rows, columns)
        new = self.state[at]
        # Only whole rows and columns ever begin anew, so a look at one of each finds them.
        begins = bool(new.size) and bool(np.isnan(new[:, 0]).any() or np.isnan(new[0]).any())
        keep, fresh = _weights(moved, d_corr)
        if other is None:
            new *= keep
            step = fresh * z
        else:
            keep_too, fresh_too = _weights(moved, other[1])
            new *= np.where(other[0], keep_too, keep)
            step = np.where(other[0], fresh_too, fresh)
            step *= z
        new += step
        if begins:
            np.copyto(new, z, where=np.isnan(new))
        self.state[at] = new
        return new

    def read(self, rows: Index, columns: Index) -> Floats:
        """Return the values of single pairs; ``rows`` and ``columns`` broadcast."""
        return np.asarray(self.state[rows, columns])


def _weights(moved: Floats, d_corr: float) -> tuple[Floats, Floats]:
    """Return rho and sqrt(1 - rho^2)."""
    exponent = moved / -d_corr
    return np.exp(exponent), np.sqrt(-np.expm1(2.0 * exponent))


def grown(array: Floats, shape: tuple[int, ...], fill: float) -> Floats:
    """Return *array* with at least *shape*, at least doubled along what is too short, filled with *fill*."""
    if all(have >= want for have, want in zip(array.shape, shape, strict=True)):
        return array
    size = tuple(
        have if have >= want else max(want, 2 * have) for have, want in zip(array.shape, shape, strict=True)
    )
    larger = np.full(size, fill, array.dtype)
    larger[tuple(slice(n) for n in array.shape)] = array
    return larger


class Field:
    """Unit normals that are a pure function of place: N cosines for each of a set of keys.

    With wave number k = sqrt(1 / (1 - u)^2 - 1) / d_corr, uniform direction and phase, the autocorrelation of
    sqrt(2 / N) sum cos(k . x + phase) is exp(-D / d_corr) in the plane.  ``both`` adds a second, independent wave
    vector for the other end: the correlation is then exp(-(D_a + D_b) / d_corr), the product over both movers.

    Args:
        seed, domain: the stream of the draws.
        keys: (M,) uint64, one field each.
        d_corr: m.
        both: whether the other end moves, too.
        n: number of cosines.
    """

    __slots__ = ("_half_phase", "_n", "_waves")

    def __init__(
        self,
        seed: int,
        domain: str,
        keys: NDArray[np.uint64],
        d_corr: float,
        both: bool = False,
        n: int = 64,
    ) -> None:
        index = np.arange(n, dtype=np.uint64)[:, None]
        first = Draws(keys[None, :], index, stream_key(seed, domain, 0))
        second = Draws(keys[None, :], index, stream_key(seed, f"{domain}/other", 0))
        # Everything is halved, because cos 2a = 2 / (1 + tan^2 a) - 1 is what is evaluated.
        self._half_phase: Floats = math.pi * first.uniform(2)
        waves = [first, second] if both else [first]
        self._waves: list[Floats] = []
        for draws in waves:
            k = np.sqrt((1.0 - draws.uniform(0)) ** -2.0 - 1.0) * (0.5 / d_corr)
            angle = 2.0 * math.pi * draws.uniform(1)
            self._waves += [k * np.cos(angle), k * np.sin(angle)]
        self._n = n

    def at(self, *coordinates: Floats, column: Index | None = None) -> Floats:
        """Return field values.

        Args:
            coordinates: x, y (and x, y of the other end with ``both``), each (P,), m.
            column: which key's field each point is asked of, (P,); None asks all of them.

        Returns:
            (P, M), or (P,) with ``column``.
        """
        points, fields = coordinates[0].shape[0], self._half_phase.shape[1]
        value = np.empty((points, fields) if column is None else points)
        step = min(max(points, 1), _FIELD_POINTS)
        many = max(1, _FIELD_BLOCK // (self._n * step))
        for start in range(0, points, step):
            here = slice(start, start + step)
            xs = [c[here] for c in coordinates]
            if column is not None:
                value[here] = self._block(xs, (slice(None), column[here]))
                continue
            for first in range(0, fields, many):
                there = slice(first, first + many)
                value[here, there] = self._block(xs, (slice(None), there, None)).T
        return value

    def _block(self, xs: list[Floats], pick: Any) -> Floats:
        """Return one block; points run along the last axis so that inner loops are long."""
        phase = self._waves[0][pick] * xs[0]
        phase += self._half_phase[pick]
        for wave, x in zip(self._waves[1:], xs[1:], strict=True):
            phase += wave[pick] * x
        np.tan(phase, out=phase)
        phase *= phase
        phase += 1.0
        np.divide(2.0, phase, out=phase)
        # Sums of fixed order, whatever the number of points: bits must not depend on who else is there.
        while phase.shape[0] > 1:
            half = phase.shape[0] // 2
            odd = phase[2 * half :]
            phase = phase[:half] + phase[half : 2 * half]
            if odd.shape[0]:
                phase[0] += odd[0]
        total = phase[0]
        total -= self._n
        total *= math.sqrt(2.0 / self._n)
        return np.asarray(total)
