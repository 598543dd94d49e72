"""The same road under other names: a second task sees every vehicle renamed, so that the rows come in another order.

Rows are ordered by the keys of ids, which are hashes: what a task gives for a vehicle must not depend on that
order.  :class:`Twin` is a :class:`~cosim.testing.probe.Probe` that runs the renamed task along and compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep.protocol import Actions, Observations
from cosim.tasks.base import Instant, Task
from cosim.testing.probe import Probe
from cosim.traffic.commands import Commands, Order
from cosim.traffic.state import TrafficState, entity_key

PREFIX = "twin/"
"""What is put before every id; ids keep their alphabetical order."""


class Twin(Probe):
    """Checks *task*, and that *other*, built alike, gives the same for the renamed road."""

    def __init__(self, task: Task, other: Task, name: str, period_us: int) -> None:
        super().__init__(task, name, period_us)
        self._other = other
        self._now: Instant | None = None
        self._renamed_now: Instant | None = None
        self._ids: tuple[str, ...] | None = None
        self._order: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def watch(self, now: Instant) -> None:
        super().watch(now)
        self._other.watch(self._renamed(now))

    def settle(self, now: Instant) -> None:
        super().settle(now)
        self._other.settle(self._renamed(now))

    def observe(self, now: Instant, phase: str) -> Observations:
        seen = super().observe(now, phase)
        other = self._other.observe(self._renamed(now), phase)
        if {PREFIX + name for name in seen.ids} != set(other.ids) or seen.active != other.active:
            self._depends("who is asked")
        place = {name: row for row, name in enumerate(other.ids)}
        rows = np.array([place[PREFIX + name] for name in seen.ids], dtype=np.intp)
        self._same(seen, "observation", seen.obs, other.obs[rows])
        self._same(seen, "reward", seen.reward, other.reward[rows])
        if seen.mask is not None and other.mask is not None:
            self._same(seen, "mask", seen.mask, other.mask[rows])
        for flag in ("terminated", "truncated"):
            self._same(seen, flag, getattr(seen, flag), getattr(other, flag)[rows])
        if (rows[: seen.active] >= seen.active).any():
            self._depends("who is asked")
        self._rows = rows[: seen.active]
        return seen

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        first = len(now.commands.orders)
        done = super().apply(now, phase, actions)
        values = np.empty_like(actions.values)
        values[self._rows] = actions.values
        renamed = self._renamed(now)
        other_first = len(renamed.commands.orders)
        other = self._other.apply(renamed, phase, Actions(values))
        if self._waiting is not None:
            self._same(self._waiting, "executed action", done.values, other.values[self._rows])
        ours = _by_vehicle(now.commands.orders[first:], "")
        theirs = _by_vehicle(renamed.commands.orders[other_first:], PREFIX)
        for name in ours.keys() | theirs.keys():
            if not _alike(ours.get(name, []), theirs.get(name, [])):
                self._depends(f"what is ordered of '{name}', {ours.get(name)} against {theirs.get(name)},")
        return done

    def _same(self, seen: Observations, what: str, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
        close = np.isclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=1e-6, atol=1e-6)
        if not close.all():
            row = int(np.flatnonzero(~close.reshape(len(close), -1).all(axis=1))[0])
            self._depends(
                f"the {what} of '{seen.ids[row]}', {np.asarray(ours[row])} against {np.asarray(theirs[row])},"
            )

    def _depends(self, what: str) -> None:
        self.fail(
            f"{what} depends on the order of rows or on names (all vehicles were renamed); if names are meant"
            " to matter, pass order_free=False"
        )

    # -- renaming --

    def _renamed(self, now: Instant) -> Instant:
        if self._now is not now:
            state = self._state(now.traffic)
            events = [
                replace(e, id=PREFIX + e.id, other=PREFIX + e.other if e.other else "") for e in now.events
            ]
            commands = Commands(state, now.commands.source)
            self._now = now
            self._renamed_now = Instant(now.t_us, state, None, events, commands, now.measured)
        assert self._renamed_now is not None
        return self._renamed_now

    def _state(self, state: TrafficState) -> TrafficState:
        if state.ids is not self._ids:
            self._ids = state.ids
            keys = np.array([entity_key(PREFIX + name) for name in state.ids], dtype=np.uint64)
            self._order = np.argsort(keys)
            self._keys = keys[self._order]
            self._names = tuple(PREFIX + state.ids[row] for row in self._order.tolist())
        o = self._order
        columns = ("slot", "xy", "z", "angle", "speed", "accel", "edge", "lane", "s", "type")
        return replace(
            state, ids=self._names, key=self._keys, **{name: getattr(state, name)[o] for name in columns}
        )


def _by_vehicle(orders: Sequence[Order], prefix: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return each vehicle's orders in the order in which they were given."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for kind, ids, columns, _ in orders:
        for row, name in enumerate(ids):
            found.setdefault(name.removeprefix(prefix), []).append((kind, *(list(c)[row] for c in columns)))
    return found


def _alike(ours: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> bool:
    if len(ours) != len(theirs):
        return False
    for one, two in zip(ours, theirs, strict=True):
        if len(one) != len(two):
            return False
        for a, b in zip(one, two, strict=True):
            if isinstance(a, float) and isinstance(b, float):
                if abs(a - b) > 1e-9 * max(1.0, abs(a)):
                    return False
            elif a != b:
                return False
    return True
