"""The vehicles in the coordinating zone as arrays: targets, features, and who is next to whom.

All functions take and give arrays over the N vehicles of the zone; nothing loops over vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LEFT_FRONT, LEFT_REAR, FRONT, REAR, RIGHT_FRONT, RIGHT_REAR = range(6)
NOBODY = -1


@dataclass(frozen=True, slots=True)
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


def neighbours(s: Floats, lane: NDArray[np.int32], tie: NDArray[np.int64], lanes: int) -> NDArray[np.intp]:
    """Return (6, N): the nearest vehicle in each of six directions, in the order of the observation.

    Of vehicles at the same ``s`` the one with the larger ``tie`` counts as ahead.
    """
    n = len(s)
    if n == 0:
        return np.empty((6, 0), dtype=np.intp)
    order = np.lexsort((tie, s))
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    place = lane.astype(np.int64) * n + rank  # unique: lane first, then order along the road
    by_place = np.argsort(place)
    sorted_place = place[by_place]
    sorted_lane = lane[by_place]
    near = np.empty((6, n), dtype=np.intp)
    for slot, offset in ((LEFT_FRONT, 1), (FRONT, 0), (RIGHT_FRONT, -1)):
        at = np.searchsorted(sorted_place, place + offset * n)
        wanted = lane + offset
        # In the own lane `at` is the vehicle itself, so the one ahead is the next.
        ahead = at + 1 if offset == 0 else at
        for direction, index in ((slot, ahead), (slot + 1, at - 1)):
            safe = index.clip(0, n - 1)
            ok = (index >= 0) & (index < n) & (sorted_lane[safe] == wanted)
            near[direction] = np.where(ok, by_place[safe], NOBODY)
    return near
