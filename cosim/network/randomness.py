"""Keyed draws for pairs of entities: four uniforms or four standard normals a pair from one Philox call.

A draw depends on (seed, domain, step, the two ids) only, so adding, removing or reordering vehicles or stations
changes no other draw, and two policies on one seed get the same draws.  The generator itself is
:mod:`cosim.randomness`; here are the normals, the rule for reciprocal pairs, and single draws for parameters.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import packed_words, stream_key
from cosim.traffic.state import entity_key

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def normal_pair(
    packed: NDArray[np.uint64], out: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two standard normals from each pair of words by Box and Muller.

    ``packed`` holds the first word in its high half: u1 = (first + 0.5) / 2^32 gives the radius, u2 = second /
    2^32 the angle; the results are the cosine and the sine part, of the shape of ``packed``.  ``out`` are two
    arrays whose memory they take; the second may be ``packed`` itself.
    """
    one, two = (np.empty_like(packed), np.empty_like(packed)) if out is None else out
    radius, tangent = one.view(np.float64), two.view(np.float64)
    np.right_shift(packed, _32, out=one)
    np.multiply(one.view(np.int64), 2.0**-32, out=radius)
    radius += 2.0**-33
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    # cos 2x = 2 / (1 + tan^2 x) - 1 and sin 2x = 2 tan x / (1 + tan^2 x): one vectorised tangent instead of a
    # scalar sine and cosine; the absolute error stays at a few units in the last place of 1.
    np.bitwise_and(packed, _LOW, out=two)
    np.multiply(two.view(np.int64), math.pi * 2.0**-32, out=tangent)
    np.tan(tangent, out=tangent)
    cosine = tangent * tangent
    cosine += 1.0
    np.divide(2.0, cosine, out=cosine)
    tangent *= cosine
    tangent *= radius
    cosine -= 1.0
    radius *= cosine
    return radius, tangent


_Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


class Draws:
    """The four normals and uniforms of every pair of two sets of entities at one step.

    ``key_a`` and ``key_b`` are uint64 keys that broadcast against each other; ``stream`` comes from
    :func:`cosim.randomness.stream_key`.  Nothing is computed before it is asked for.  z0 serves shadowing, z1
    the LOS state, (z2, z3) complex fading.  ``out`` is room for the work, (4, *shape); the normals then live in it.
    """

    __slots__ = ("_a", "_b", "_first", "_out", "_second", "_stream", "_words")

    def __init__(
        self,
        key_a: NDArray[np.uint64],
        key_b: NDArray[np.uint64],
        stream: int,
        out: NDArray[np.uint64] | None = None,
    ) -> None:
        self._a, self._b, self._stream, self._out = key_a, key_b, stream, out
        self._words: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None
        self._first: _Pair | None = None
        self._second: _Pair | None = None

    def _packed(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        if self._words is None:
            self._words = packed_words(self._a, self._b, self._stream, self._out)
        return self._words

    def _half(self, which: int) -> _Pair:
        """Return (z0, z1) or (z2, z3); with room given, in layers of it that are not needed any more."""
        room = self._out
        if room is None:
            return normal_pair(self._packed()[which])
        if which == 0:
            return normal_pair(self._packed()[0], (room[2], room[3]))
        if self._first is None:
            self._first = self._half(0)
        words = self._packed()
        self._words = None  # their memory goes to the normals; whoever wants them again computes them again
        self._out = None
        return normal_pair(words[1], (room[0], room[1]))

    @property
    def z0(self) -> NDArray[np.float64]:
        """First standard normal."""
        if self._first is None:
            self._first = self._half(0)
        return self._first[0]

    @property
    def z1(self) -> NDArray[np.float64]:
        """Second standard normal."""
        if self._first is None:
            self._first = self._half(0)
        return self._first[1]

    @property
    def z2(self) -> NDArray[np.float64]:
        """Third standard normal."""
        if self._second is None:
            self._second = self._half(1)
        return self._second[0]

    @property
    def z3(self) -> NDArray[np.float64]:
        """Fourth standard normal."""
        if self._second is None:
            self._second = self._half(1)
        return self._second[1]

    def exponential(self) -> NDArray[np.float64]:
        """Return (z2^2 + z3^2) / 2, which by Box and Muller is -ln u1 of the third word."""
        value = self.uniform(2)
        np.log(value, out=value)
        np.negative(value, out=value)
        return value

    def uniform(self, word: int) -> NDArray[np.float64]:
        """Return (w + 0.5) / 2^32 of output word 0 to 3."""
        packed = self._packed()[word // 2]
        value = ((packed & _LOW) if word % 2 else (packed >> _32)).view(np.int64).astype(np.float64)
        value += 0.5
        value *= 2.0**-32
        return value


def ordered(
    key_a: NDArray[np.uint64], key_b: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the smaller and the larger key of each pair, which makes the draws of vehicle pairs reciprocal."""
    return np.minimum(key_a, key_b), np.maximum(key_a, key_b)


def uniforms_of(
    seed: int, domain: str, keys: NDArray[np.uint64], step: int = 0, other: int = 0
) -> NDArray[np.float64]:
    """Return one uniform in (0, 1) an entity, shape of ``keys``; ``other`` is a second key for pairs."""
    return Draws(keys, np.uint64(other), stream_key(seed, domain, step)).uniform(0)  # type: ignore[arg-type]


def uniform_of(seed: int, domain: str, entity: str, other: str = "") -> float:
    """Return the uniform in (0, 1) of one entity (or, sorted by id, of a pair): parameters drawn once."""
    first, second = sorted((entity, other)) if other else (entity, "")
    keys = np.array([entity_key(first)], np.uint64)
    return float(uniforms_of(seed, domain, keys, other=entity_key(second) if second else 0)[0])
