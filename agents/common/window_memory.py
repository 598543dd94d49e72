"""Memory of whole learning windows, from which stretches of consecutive instants are drawn.

For methods that learn from sequences or from all entities of an instant together: rows lie one instant behind the
other, what belongs to an instant lies in arrays of its own.  A draw cuts slices out of a few windows, so nothing is
padded and an entity that is not there has no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Held:
    """A window of I instants: ``rows`` (M, …), ``instants`` (I, …), ``first`` (I + 1,) where their rows begin."""

    first: NDArray[np.int64]
    rows: Arrays
    instants: Arrays

    def __len__(self) -> int:
        return len(self.first) - 1


@dataclass(frozen=True, slots=True)
class Draw:
    """``count`` stretches of ``length`` instants, one behind the other.

    ``rows`` (R, …); ``instants`` (count, length, …); ``cell`` (R,) the instant of each row, numbered through all
    stretches; ``first`` (count * length,) where each of these instants begins in ``rows``.
    """

    count: int
    length: int
    rows: dict[str, NDArray[Any]]
    instants: dict[str, NDArray[Any]]
    cell: NDArray[np.int64]
    first: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pick:
    """A stretch of a window: its first instant and how many."""

    held: Held
    start: int
    length: int

    @property
    def where(self) -> slice:
        """Its rows."""
        return slice(int(self.held.first[self.start]), int(self.held.first[self.start + self.length]))


class WindowMemory:
    """The last ``capacity`` windows, all of equally many instants."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held: list[Held] = []
        self._head = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held)

    def add(self, held: Held) -> None:
        """Take in a window; the oldest goes where there are too many."""
        if self._held and len(held) != len(self._held[0]):
            raise ValueError(f"a window of {len(held)} instants among windows of {len(self._held[0])}")
        if len(self._held) < self.capacity:
            self._held.append(held)
        else:
            self._held[self._head] = held
            self._head = (self._head + 1) % self.capacity

    def picks(self, random: np.random.Generator, count: int, length: int) -> list[Pick]:
        """Draw *count* stretches of *length* instants (of whole windows if they are shorter), each equally likely."""
        which = random.integers(0, len(self._held), count).tolist()
        length = min(length, len(self._held[0]))
        start = random.integers(0, len(self._held[0]) - length + 1, count).tolist()
        return [Pick(self._held[w], s, length) for w, s in zip(which, start, strict=True)]

    # -- saving --

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all windows as arrays."""
        out: dict[str, NDArray[Any]] = {"head": np.array([self._head], dtype=np.int64)}
        if self._held:
            out["first"] = np.stack([held.first for held in self._held])
            for name in self._held[0].rows:
                out[f"rows.{name}"] = np.concatenate([held.rows[name] for held in self._held])
            for name in self._held[0].instants:
                out[f"instants.{name}"] = np.stack([held.instants[name] for held in self._held])
        return out

    def load(self, state: Arrays) -> None:
        """Go on from what :meth:`state` gave."""
        self._head, self._held = int(state["head"][0]), []
        first = state.get("first", np.empty((0, 1), dtype=np.int64))
        ends = np.concatenate([[0], first[:, -1].cumsum()])
        for number in range(len(first)):
            where = slice(int(ends[number]), int(ends[number + 1]))
            self._held.append(
                Held(
                    np.array(first[number]),
                    {k: np.array(a[where]) for k, a in under(state, "rows.").items()},
                    {k: np.array(a[number]) for k, a in under(state, "instants.").items()},
                )
            )


def under(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with *prefix*, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def gather(picks: list[Pick], rows: tuple[str, ...], instants: tuple[str, ...]) -> Draw:
    """Return what the stretches *picks* hold of the named arrays."""
    length = picks[0].length
    sizes = np.concatenate([np.diff(p.held.first[p.start : p.start + length + 1]) for p in picks])
    cell = np.repeat(np.arange(len(sizes)), sizes)
    return Draw(
        count=len(picks),
        length=length,
        rows={name: np.concatenate([p.held.rows[name][p.where] for p in picks]) for name in rows},
        instants={
            name: np.stack([p.held.instants[name][p.start : p.start + length] for p in picks])
            for name in instants
        },
        cell=cell,
        first=np.cumsum(sizes) - sizes,
    )
