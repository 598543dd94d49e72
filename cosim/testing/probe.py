"""A task watched at work: every call of the engine is passed on, and what comes back is held to the contract.

:class:`Probe` stands in the engine in the task's place; :mod:`cosim.testing.tasks` drives it.  A breach is an
AssertionError that says when, which role, and what to mend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep.protocol import LEAVE_IT, Actions, Observations, RoleSpec
from cosim.tasks.base import Instant, Task
from cosim.traffic.commands import Order

Digest = dict[str, str]
"""What was seen at one decision, each part as a short hash."""


def require(condition: object, message: str) -> None:
    """Raise AssertionError with *message* unless *condition* holds (an ``assert`` is silent under ``python -O``)."""
    if not condition:
        raise AssertionError(message)


class Probe:
    """Satisfies :class:`~cosim.tasks.Task` by asking one, and checks all that it gives."""

    def __init__(self, task: Task, name: str, period_us: int) -> None:
        self._task = task
        self._label = name
        self._period_us = period_us
        self._where = f"task '{name}'"
        self.roles: Mapping[str, RoleSpec] = task.roles
        self.phases: Sequence[str] = task.phases
        self.step_columns: Sequence[str] = task.step_columns
        self.transcript: list[tuple[int, str, Digest]] = []
        self.asked = 0
        self.left = 0
        self.masked = 0
        self._asked: dict[str, tuple[tuple[str, ...], NDArray[np.float32]]] = {}
        self._gone: dict[str, set[str]] = {role: set() for role in task.roles}
        self._waiting: Observations | None = None

    def watch(self, now: Instant) -> None:
        """Pass on; see that orders and step values are in shape."""
        first = len(now.commands.orders)
        self._task.watch(now)
        self._at(now.t_us)
        self._orders(now, first)

    def settle(self, now: Instant) -> None:
        """Pass on."""
        self._task.settle(now)
        values = list(self._task.step_values())
        if len(values) != len(self.step_columns):
            self.fail(f"step_values() gives {len(values)} values for {len(self.step_columns)} step_columns")

    def observe(self, now: Instant, phase: str) -> Observations:
        """Pass on; check the batch, and that whoever left is told of once."""
        seen = self._task.observe(now, phase)
        self._at(now.t_us, phase)
        if now.t_us % self._period_us:
            self.fail("was asked outside its period")
        self._batch(seen, now, self.roles[phase])
        self._leavers(seen, phase)
        self.asked += seen.active
        self._waiting = seen
        self._asked[phase] = (seen.ids[: seen.active], np.array(seen.obs[: seen.active]))
        return seen

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        """Pass on; check what is said to have been done, and what was ordered."""
        seen, first = self._waiting, len(now.commands.orders)
        assert seen is not None
        done = self._task.apply(now, phase, actions)
        self._at(now.t_us, phase)
        self._done(seen, actions, done, self.roles[phase])
        self._orders(now, first)
        self.transcript.append((now.t_us, phase, _digest(seen, done, now.commands.orders[first:])))
        return done

    def step_values(self) -> Sequence[float]:
        """Pass on."""
        return self._task.step_values()

    def totals(self) -> dict[str, float | int | None]:
        """Pass on."""
        return self._task.totals()

    def metrics(self) -> dict[str, float | None]:
        """Pass on."""
        return self._task.metrics()

    def fail(self, what: str) -> NoReturn:
        """Raise AssertionError: *what*, and where it was."""
        raise AssertionError(f"{self._where}: {what}")

    # -- the contract --

    def _at(self, t_us: int, phase: str = "") -> None:
        role = f", role '{phase}'" if phase else ""
        self._where = f"task '{self._label}'{role} at t = {t_us / 1e6:g} s"

    def _batch(self, seen: Observations, now: Instant, role: RoleSpec) -> None:
        """Shapes, types, bounds."""
        n, active = len(seen.ids), seen.active
        if (seen.t_us, seen.role) != (now.t_us, role.name):
            self.fail(f"observations say t_us {seen.t_us}, role '{seen.role}'")
        if not isinstance(seen.ids, tuple) or len(set(seen.ids)) != n:
            self.fail("ids must be a tuple of different strings")
        if not 0 <= active <= n:
            self.fail(f"active is {active} of {n} rows")
        self._array("obs", seen.obs, (n, role.obs_dim), np.float32)
        self._array("reward", seen.reward, (n,), np.float64)
        for flag in ("terminated", "truncated"):
            self._array(flag, getattr(seen, flag), (n,), np.bool_)
        for name, values in (("obs", seen.obs), ("reward", seen.reward)):
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values).reshape(n, -1).all(axis=1))[0])
                self.fail(f"{name} of '{seen.ids[row]}' is not finite")
        outside = (seen.obs < role.low) | (seen.obs > role.high)
        if outside.any():
            row, column = map(int, np.argwhere(outside)[0])
            self.fail(
                f"observation entry {column} of '{seen.ids[row]}' is {seen.obs[row, column]:g}, outside"
                f" {role.low:g}..{role.high:g}: scale it, or widen the role's low and high"
            )
        if (seen.mask is None) != (role.action.n == 0):
            self.fail("a role has a mask exactly if it has a choice (ActionSpec.n)")
        if seen.mask is not None:
            self._array("mask", seen.mask, (n, role.action.n), np.bool_)
            nothing = np.flatnonzero(~seen.mask[:active].any(axis=1))
            if nothing.size and not role.action.leave_it:
                self.fail(f"the mask of '{seen.ids[nothing[0]]}' allows nothing: always allow the no-op")
        for name, array in seen.shared.items():
            if not isinstance(array, np.ndarray):
                self.fail(f"shared['{name}'] is {type(array).__name__}, not an array")

    def _array(self, name: str, array: Any, shape: tuple[int, ...], dtype: type) -> None:
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.dtype(dtype):
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            self.fail(f"{name} must be {np.dtype(dtype)} {shape}, is {got}")

    def _leavers(self, seen: Observations, phase: str) -> None:
        """Whoever was asked before is asked again or reported once, with its last observation, and never comes back."""
        before, last = self._asked.get(phase, ((), np.empty((0, 0))))
        row_of = {name: row for row, name in enumerate(before)}
        active, left = seen.ids[: seen.active], seen.ids[seen.active :]
        gone = self._gone[phase]
        flags = seen.terminated
        if flags[: seen.active].any() or not flags[seen.active :].all():
            self.fail("terminated must be set for those who left (the rows from active on), and for no other")
        for name in active:
            if name in gone:
                self.fail(f"'{name}' is asked again after it was reported to have left")
        for row, name in enumerate(left, start=seen.active):
            if name in gone:
                self.fail(f"'{name}' is reported to have left twice")
            if name not in row_of:
                self.fail(f"'{name}' is reported to have left, but was not asked at the decision before")
            if not np.array_equal(seen.obs[row], last[row_of[name]]):
                self.fail(f"'{name}' left and must be reported with its last observation, not with another")
        vanished = row_of.keys() - set(seen.ids)
        if vanished:
            self.fail(f"'{min(vanished)}' was asked, and is now neither asked nor reported to have left")
        new = [row for row, name in enumerate(active) if name not in row_of]
        if new and seen.reward[new].any():
            row = next(row for row in new if seen.reward[row])
            self.fail(
                f"'{seen.ids[row]}' is new and has a reward already, {seen.reward[row]:g}: it must be 0"
            )
        gone.update(left)
        self.left += len(left)

    def _done(self, seen: Observations, asked: Actions, done: Any, role: RoleSpec) -> None:
        """An allowed choice is carried out as it is, a forbidden one as something allowed."""
        spec, n = role.action, seen.active
        if not isinstance(done, Actions):
            self.fail(f"apply() returned {type(done).__name__}, expected the Actions that were executed")
        values = np.asarray(done.values)
        if values.shape != spec.shape(n) or not np.isfinite(values).all():
            self.fail(
                f"apply() returned actions of shape {values.shape}, expected {spec.shape(n)}, all finite"
            )
        if seen.mask is None or not n:
            return
        before, after = (_choices(a.values, spec.k) for a in (asked, done))
        rows = np.arange(n)
        allowed = seen.mask[rows, before] | (before == LEAVE_IT)
        changed = np.flatnonzero(allowed & (after != before))
        if changed.size:
            row = int(changed[0])
            self.fail(
                f"'{seen.ids[row]}' chose {before[row]}, which is allowed, but {after[row]} was executed"
            )
        wrong = np.flatnonzero(~(seen.mask[rows, after] | (after == LEAVE_IT)))
        if wrong.size:
            row = int(wrong[0])
            self.fail(
                f"'{seen.ids[row]}' chose {before[row]}, which the mask forbids, and {after[row]} was executed,"
                " which it forbids too: execute the no-op"
            )
        self.masked += int((~allowed).sum())

    def _orders(self, now: Instant, first: int) -> None:
        """Orders are for vehicles on the road, and finite."""
        there = set(now.traffic.ids) if len(now.commands.orders) > first else set()
        for kind, ids, columns, _ in now.commands.orders[first:]:
            if not there.issuperset(ids):
                self.fail(
                    f"order '{kind}' for a vehicle that is not on the road: {sorted(set(ids) - there)[0]}"
                )
            for column in columns:
                if any(isinstance(value, float) and not math.isfinite(value) for value in column):
                    self.fail(f"order '{kind}' holds NaN or infinity")


def _choices(values: Any, k: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    return np.asarray(array[:, 0] if k else array).astype(np.int64)


def _digest(seen: Observations, done: Actions, orders: Sequence[Order]) -> Digest:
    parts: dict[str, bytes] = {
        "ids": repr((seen.ids, seen.active)).encode(),
        "observations": seen.obs.tobytes(),
        "masks": b"" if seen.mask is None else seen.mask.tobytes(),
        "rewards": seen.reward.tobytes(),
        "flags": seen.terminated.tobytes() + seen.truncated.tobytes(),
        "shared arrays": b"".join(k.encode() + v.tobytes() for k, v in sorted(seen.shared.items())),
        "executed actions": np.asarray(done.values).tobytes(),
        "orders": repr(list(orders)).encode(),
    }
    return {name: blake2b(data, digest_size=8).hexdigest() for name, data in parts.items()}
