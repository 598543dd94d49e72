"""Which vehicles are on the road: the rows of a state, in key order, and the slots that vehicles keep.

A slot is a small number that a vehicle has from its departure to its arrival; the smallest free one is given again.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import TrafficError
from cosim.traffic.state import entity_key


class Roster:
    """The vehicles on the road; ``ids``, ``key``, ``slot`` and ``type`` are as of the last :meth:`settle`.

    ``slots`` is one more than the largest slot in use so far.
    """

    def __init__(self) -> None:
        self.slots = 0
        self._keys: list[int] = []
        self._ids: list[str] = []
        self._known: dict[str, tuple[int, int, int]] = {}  # id -> key, slot, type
        self._free: list[int] = []
        self.settle()

    def __contains__(self, vehicle: object) -> bool:
        return vehicle in self._known

    def enter(self, vehicle: str, type_index: int) -> None:
        """Take in a vehicle; TrafficError if another one has its key."""
        key = entity_key(vehicle)
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            raise TrafficError(f"vehicles '{vehicle}' and '{self._ids[at]}' have the same key: rename one")
        if self._free:
            slot = heappop(self._free)
        else:
            slot, self.slots = self.slots, self.slots + 1
        self._keys.insert(at, key)
        self._ids.insert(at, vehicle)
        self._known[vehicle] = (key, slot, type_index)

    def leave(self, vehicle: str) -> bool:
        """Forget a vehicle; say whether it was known."""
        known = self._known.pop(vehicle, None)
        if known is None:
            return False
        key, slot, _ = known
        at = bisect_left(self._keys, key)
        del self._keys[at], self._ids[at]
        heappush(self._free, slot)
        return True

    def settle(self) -> None:
        """Make the arrays of the vehicles that are there now."""
        self.ids = tuple(self._ids)
        rows = [self._known[i] for i in self.ids]
        self.key: NDArray[np.uint64] = frozen(np.array(self._keys, dtype=np.uint64))
        self.slot: NDArray[np.int32] = frozen(np.array([r[1] for r in rows], dtype=np.int32))
        self.type: NDArray[np.int32] = frozen(np.array([r[2] for r in rows], dtype=np.int32))


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, now read-only."""
    array.flags.writeable = False
    return array
