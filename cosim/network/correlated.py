"""Correlated unit normals for all pairs of two sets of radios, whichever law they follow.

Reads the ends of the pairs (:class:`Ends`) once a tick; gives values for blocks of the matrix (vehicles x
stations) or for single pairs (among vehicles).  A walk advances once a tick, so that its draws do not depend on
who asks; a field is evaluated where it is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cosim.network.randomness import Draws
from cosim.network.shadowing import Field, Walk
from cosim.randomness import stream_key

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

BLOCK = 24576
"""Pairs evaluated at once: few enough for the nearer caches, many enough that calls cost little."""


@dataclass
class Ends:
    """One side of a set of links at an instant, n radios in key order.

    ``x, y`` in m, ``h`` antenna heights in m, ``slot`` the row of state kept for each, ``shift`` (n, 2) what each
    moved since the last tick in m (0 for a new one), ``body`` the row of its vehicle in the traffic state (-1 for
    none), ``new`` the slots that another entity has taken over.
    """

    key: NDArray[np.uint64]
    x: Floats
    y: Floats
    h: Floats
    slot: Index
    shift: Floats
    body: Index
    new: Index

    def __len__(self) -> int:
        return len(self.key)

    @cached_property
    def moved(self) -> Floats:
        """Metres moved since the last tick, (n,)."""
        return np.hypot(self.shift[:, 0], self.shift[:, 1])

    @property
    def xy(self) -> Floats:
        """Positions, (n, 2)."""
        return np.stack([self.x, self.y], axis=1)


class Correlated:
    """Unit normals of pairs with autocorrelation exp(-D / d_corr).

    Args:
        law: ``walk`` or ``field``.
        seed, domain: the stream of the draws.
        d_corr: m.
        among: both ends are vehicles of one set; values are reciprocal.
        site: share of a term that all pairs of a vehicle have in common.
        relative: a walk's distance is the change of the vector between the ends.
        waves: cosines of a field.
    """

    def __init__(
        self,
        law: Literal["walk", "field"],
        seed: int,
        domain: str,
        d_corr: float,
        among: bool,
        site: float = 0.0,
        relative: bool = False,
        waves: int = 64,
    ) -> None:
        self.law, self._seed, self._domain, self._d_corr = law, seed, domain, d_corr
        self._among, self._relative, self._waves = among, relative, waves
        self._own, self._common = math.sqrt(1.0 - site), math.sqrt(site)
        self._walk, self._site_walk = Walk(), Walk()
        self._field: Field | None = None
        self._keys: NDArray[np.uint64] | None = None
        self._site_field: Field | None = None
        if law == "field":
            zero = np.zeros(1, np.uint64)
            if among:
                self._field = Field(seed, f"{domain}/field", zero, d_corr, True, waves)
            if site:
                self._site_field = Field(seed, f"{domain}/site", zero, d_corr, False, waves)

    def begin(self, a: Ends, b: Ends, step: int, slots: int) -> None:
        """Take over the ends of this tick; ``slots`` is the number of rows in use."""
        self._a, self._b = a, b
        self._site: Floats | None = None
        if self.law == "field":
            self._begin_field(a, b)
            return
        self._walk.reserve(slots, slots if self._among else int(b.slot.max(initial=-1)) + 1)
        self._walk.forget(a.new, a.new if self._among else b.new)
        if self._common:
            self._site_walk.reserve(slots, 1)
            self._site_walk.forget(a.new)
            stream = stream_key(self._seed, f"{self._domain}/site", step)
            z = Draws(a.key[:, None], np.zeros((1, 1), np.uint64), stream).z0
            moved = a.moved[:, None]
            column = np.zeros(1, np.int64)
            self._site = self._site_walk.advance(a.slot, column, moved, self._d_corr, z)[:, 0]

    def _begin_field(self, a: Ends, b: Ends) -> None:
        if self._site_field is not None:
            self._site = self._site_field.at(a.x, a.y)[:, 0]
        mobile = bool((b.body >= 0).any())
        if not self._among and (self._keys is None or not np.array_equal(self._keys, b.key)):
            self._keys = b.key.copy()
            self._field = Field(self._seed, f"{self._domain}/field", b.key, self._d_corr, mobile, self._waves)

    def block(
        self, rows: slice, draws: Floats | None, other: tuple[NDArray[np.bool_], float] | None = None
    ) -> Floats:
        """Return the values of some vehicles (``rows``) with all of the other side, (n, m); a walk advances.

        Walks are advanced once a tick, row by row.  ``draws`` are their innovations; ``other`` names pairs
        with another correlation distance.
        """
        if self._field is not None:
            value = self._field_block(rows)
        else:
            assert draws is not None
            moved = self._distance(rows)
            value = self._walk.advance(self._a.slot[rows], self._b.slot, moved, self._d_corr, draws, other)
        if self._site is not None:
            value *= self._own
            value += (self._common * self._site[rows])[:, None]
        return value

    def _field_block(self, rows: slice) -> Floats:
        a, b, field = self._a, self._b, self._field
        assert field is not None
        x, y = a.x[rows], a.y[rows]
        if not (b.body >= 0).any():
            return field.at(x, y)
        n, m = len(x), len(b)
        column = np.tile(np.arange(m), n)
        ends = np.repeat(x, m), np.repeat(y, m), np.tile(b.x, n), np.tile(b.y, n)
        return field.at(*ends, column=column).reshape(n, m)

    def _distance(self, rows: slice) -> Floats:
        a, b = self._a, self._b
        if self._relative:
            shift = a.shift[rows][:, None, :] - b.shift[None, :, :]
            return np.hypot(shift[..., 0], shift[..., 1])
        moved = b.moved
        mine = a.moved[rows][:, None]
        return mine + moved[None, :] if moved.any() else mine

    def pairs(self, i: Index, j: Index) -> Floats:
        """Return the values of single pairs among vehicles; ``i`` and ``j`` are rows that broadcast."""
        a = self._a
        if self._field is None:
            value = self._walk.read(a.slot[i], a.slot[j])
        else:
            i, j = np.broadcast_arrays(i, j)
            # The end with the smaller key comes first, which makes the value reciprocal (rows are in key order).
            first, second = np.minimum(i, j).ravel(), np.maximum(i, j).ravel()
            ends = a.x[first], a.y[first], a.x[second], a.y[second]
            value = self._field.at(*ends)[:, 0].reshape(i.shape)
        if self._site is not None:
            common = (self._site[i] + self._site[j]) * (self._common * math.sqrt(0.5))
            value = value * self._own + common
        return np.asarray(value)
