"""The vehicles in the coordinating zone as arrays: targets, features, and who is next to whom.

All functions take and give arrays over the N vehicles of the zone; nothing loops over vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LEFT_FRONT, LEFT_REAR, FRONT, REAR, RIGHT_FRONT, RIGHT_REAR = range(6)
NOBODY = -1


@dataclass(frozen=True)
class Zone:
    """N vehicles; row k is row ``rows[k]`` of the traffic state.

    ``near`` (6, N) holds the zone row of the nearest vehicle left-front, left-rear, front, rear, right-front,
    right-rear (:data:`NOBODY`: none in that lane ahead or behind).  ``target`` is 0 right, 1 straight, 2 left, as
    float where it enters features.
    """

    rows: Ints
    s: Floats
    lane: NDArray[np.int32]
    speed: Floats
    cav: NDArray[np.bool_]
    target: NDArray[np.int8]
    near: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def own(self) -> Floats:
        """(5, N + 1) s, lane, speed, cav, target; in the last column those of :data:`NOBODY`, infinitely far ahead."""
        own = np.empty((5, len(self) + 1))
        own[0, :-1], own[1, :-1], own[2, :-1] = self.s, self.lane, self.speed
        own[3, :-1], own[4, :-1] = self.cav, self.target
        own[:, -1] = _NOBODYS
        return own

    @cached_property
    def around(self) -> Floats:
        """(5, 6, N) by how much each of the six is behind (m), lanes to the right, slower (m/s); cav, target."""
        around = self.own.take(self.near, axis=1)
        np.subtract(self.own[:3, None, :-1], around[:3], out=around[:3])
        return around


_NOBODYS = (np.inf, 0.0, 0.0, 0.0, 0.0)


def neighbours(s: Floats, lane: NDArray[np.int32], tie: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return (6, N): the nearest vehicle in each of six directions, in the order of the observation.

    Of vehicles at the same ``s`` the one with the larger ``tie`` counts as ahead.
    """
    n = len(s)
    if n == 0:
        return np.empty((6, 0), dtype=np.intp)
    order = np.lexsort((tie, s))
    rank = np.empty(n, dtype=np.int64)
    rank[order] = _numbers(n)
    place = lane * n + rank  # unique: lane first, then order along the road
    by_place = place.argsort()
    # A sentinel at both ends saves the bounds checks: nobody drives on lane -9.
    row = np.full(n + 2, NOBODY, dtype=np.intp)
    row[1:-1] = by_place
    lane_there = np.full(n + 2, -9, dtype=np.int64)
    lane_there[1:-1] = lane[by_place]
    wanted = lane + _SIDES  # (3, n): left, own, right
    at = place[by_place].searchsorted(wanted * n + rank)
    index = np.empty((3, 2, n), dtype=np.intp)
    # `at` is where the vehicle would stand in that lane; in its own lane it stands there itself.
    np.add(at, _AHEAD, out=index[:, 0])
    index[:, 1] = at
    near = np.where(lane_there[index] == wanted[:, None], row[index], NOBODY)
    return near.reshape(6, n)


_SIDES = np.array([[1], [0], [-1]], dtype=np.int64)
_AHEAD = np.array([[1], [2], [1]])
_COUNT = np.arange(1024)


def _numbers(n: int) -> NDArray[np.intp]:
    return _COUNT[:n] if n <= len(_COUNT) else np.arange(n)


class Neighbours:
    """:func:`neighbours` step by step: what was found holds until a vehicle changes lane or passes another."""

    def __init__(self) -> None:
        self._lane: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._tie: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._order = self._near = np.empty(0, dtype=np.intp)

    def __call__(self, s: Floats, lane: NDArray[np.int32], tie: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return (6, N) as :func:`neighbours`; *tie* is the same object as long as the vehicles are the same."""
        if tie is self._tie and not np.count_nonzero(lane != self._lane):
            along = s.take(self._order)
            if np.count_nonzero(along[1:] > along[:-1]) == len(along) - 1:
                return self._near
        self._lane, self._tie = lane, tie
        # Ties as in neighbours(): kept the other way round, what was found would be wrong when two of them part.
        self._order = np.lexsort((tie, s))
        self._near = neighbours(s, lane, tie)
        return self._near
