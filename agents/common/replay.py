"""Memory of single transitions of many entities, in a ring of flat arrays.

Windows are taken in whole, row behind row, and each row points to the row in which its entity was seen next: an
observation is held once, although it ends one transition and begins the next.  What the ring overwrites is always
older than what it still points to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep.learner import Window


@dataclass(frozen=True, slots=True)
class Batch:
    """k transitions; ``usable`` is False for the few rows that began none, to be left out of a loss."""

    obs: NDArray[np.float32]
    mask: NDArray[np.bool_]
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    next_obs: NDArray[np.float32]
    next_mask: NDArray[np.bool_]
    done: NDArray[np.bool_]
    usable: NDArray[np.bool_]


class Replay:
    """A ring of ``capacity`` rows with ``width`` columns and ``choices`` discrete actions."""

    def __init__(self, capacity: int, width: int, choices: int) -> None:
        self.capacity = capacity
        self._head = 0
        self.rows = 0
        self._arrays: dict[str, NDArray[Any]] = {
            "obs": np.zeros((capacity, width), dtype=np.float32),
            "mask": np.ones((capacity, choices), dtype=np.bool_),
            "action": np.zeros(capacity, dtype=np.int16),
            "reward": np.zeros(capacity, dtype=np.float32),
            "next": np.zeros(capacity, dtype=np.int32),
            "done": np.zeros(capacity, dtype=np.bool_),
            "usable": np.zeros(capacity, dtype=np.bool_),
        }

    def add(self, window: Window, reward: NDArray[np.floating[Any]]) -> None:
        """Take in all rows of *window*, with *reward* (M,) of the decision made in each.

        ValueError if the window has more rows than the memory.
        """
        size = len(window)
        if size > self.capacity:
            raise ValueError(f"a window of {size} rows does not fit into a memory of {self.capacity}")
        at = (self._head + np.arange(size)) % self.capacity
        usable = window.decided & (window.next >= 0)
        mask = True if window.mask is None else window.mask
        for name, values in (
            ("obs", window.obs),
            ("mask", mask),
            ("action", window.values),
            ("reward", reward),
            ("next", at[window.next]),
            ("done", window.terminated),
            ("usable", usable),
        ):
            self._arrays[name][at] = values
        self._head = (self._head + size) % self.capacity
        self.rows = min(self.rows + size, self.capacity)

    def sample(self, random: np.random.Generator, count: int) -> Batch:
        """Draw *count* rows with replacement, each equally likely."""
        a = self._arrays
        at = random.integers(0, self.rows, count)
        following = a["next"][at]
        return Batch(
            obs=a["obs"][at],
            mask=a["mask"][at],
            action=a["action"][at].astype(np.int64),
            reward=a["reward"][at],
            next_obs=a["obs"][following],
            next_mask=a["mask"][following],
            done=a["done"][at],
            usable=a["usable"][at],
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the rows held and where the ring stands."""
        held = {name: array[: self.rows] for name, array in self._arrays.items()}
        return {**held, "head": np.array([self._head], dtype=np.int64)}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave; ValueError if that is of another shape."""
        rows = len(state["obs"])
        if rows > self.capacity:
            raise ValueError(f"{rows} rows do not fit into a memory of {self.capacity}")
        for name, array in self._arrays.items():
            array[:rows] = state[name]
        self.rows, self._head = rows, int(state["head"][0])
