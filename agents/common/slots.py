"""Places for entities that come and go: each takes the lowest free slot and keeps it until it leaves.

A recurrent actor keeps each vehicle's memory in its slot, and a mixer sees each vehicle at the same input for its
whole stay.  :meth:`cosim.lockstep.learner.Window.slots` gives the same slots for a whole window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.errors import AgentError


class Slots:
    """Slots 0 … ``count`` - 1, all free at first.

    With ``growing`` there is no limit: the slots double when they run out, and ``count`` says how many there are now.
    """

    def __init__(self, count: int, growing: bool = False) -> None:
        if count < 1:
            raise ValueError(f"there must be at least one slot, not {count}")
        self.count = count
        self._growing = growing
        self.clear()

    def clear(self) -> None:
        """Free all slots."""
        self._key = np.zeros(self.count, dtype=np.uint64)
        self._taken = np.zeros(self.count, dtype=np.bool_)
        self._asked = np.empty(0, dtype=np.uint64)
        self._answer = np.empty(0, dtype=np.intp)
        self._nobody = np.empty(0, dtype=np.bool_)

    def assign(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Free the slots of who is not among *keys* (n,), give newcomers one in row order.

        Returns the slots (n,) and who has just entered (n,).  AgentError if there are more keys than slots.
        """
        if len(keys) == len(self._asked) and (keys == self._asked).all():
            return self._answer, self._nobody
        same = (keys[:, None] == self._key) & self._taken
        known = same.any(axis=1)
        self._taken &= same.any(axis=0)
        if len(keys) > self.count:
            self._grow(len(keys))
        slot = np.where(known, same.argmax(axis=1), -1)
        newcomers = (~known).nonzero()[0]
        if newcomers.size:
            free = (~self._taken).nonzero()[0][: newcomers.size]
            slot[newcomers] = free
            self._key[free] = keys[newcomers]
            self._taken[free] = True
        self._asked, self._answer = keys.copy(), slot
        self._nobody = np.zeros(len(keys), dtype=np.bool_)
        return slot, ~known

    def _grow(self, wanted: int) -> None:
        if not self._growing:
            raise AgentError(f"{wanted} vehicles at once, more than {self.count} slots")
        more = max(self.count, wanted - self.count)
        self._key = np.concatenate([self._key, np.zeros(more, dtype=np.uint64)])
        self._taken = np.concatenate([self._taken, np.zeros(more, dtype=np.bool_)])
        self.count += more
