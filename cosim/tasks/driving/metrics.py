"""The measures of driving, over the zone and at every traffic step (TPE-MARL eqs (38) to (42) and section V-D).

Per-vehicle running values live in slot arrays, those of the vehicles that are there meanwhile in an array of their
own; one update a step costs a fixed number of array operations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.tasks.driving.zone import FRONT, NOBODY, Floats, Ints, Zone

CLOSING = 0.1
"""Least closing speed (m/s) at which a time to collision is counted."""

METRICS = (
    "avg_velocity",
    "min_ttc",
    "min_ttc_capped",
    "lc_interval",
    "lc_interval_strict",
    "mean_jerk",
    "velocity_variance",
    "success_rate",
    "collisions_per_hour",
    "min_headway",
)


_NO_SLOTS: NDArray[np.int32] = np.empty(0, dtype=np.int32)


class _Mean:
    """A running mean that is None over nothing."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def add(self, total: float, count: int = 1) -> None:
        self.total += total
        self.count += count

    def value(self) -> float | None:
        return self.total / self.count if self.count else None


class Statistics:
    """Running statistics of one run.

    ``dt`` is the traffic step (s), ``ttc_cap`` the cap of ``min_ttc_capped`` (s).
    """

    def __init__(self, dt: float, ttc_cap: float) -> None:
        self._dt = dt
        self._cap = ttc_cap
        self._velocity_cav, self._velocity_all = _Mean(), _Mean()
        self._ttc, self._ttc_capped, self._headway = _Mean(), _Mean(), _Mean()
        self._jerk, self._variance, self._strict = _Mean(), _Mean(), _Mean()
        self.vehicle_seconds = 0.0
        self.seconds = 0.0
        self.changes = 0
        self.left = self.left_well = self.collided = self.removed = 0
        self._here: NDArray[np.int32] = _NO_SLOTS
        self._now = np.empty((7, 0))
        self._grow(64)

    def _grow(self, slots: int) -> None:
        """Make room for that many slots; ``steps`` counts a vehicle's steps in the zone."""
        self._put_back()
        old = getattr(self, "_table", None)
        self._table = np.zeros((7, slots))
        if old is not None:
            self._table[:, : old.shape[1]] = old
        # Rows: steps, mean speed, its sum of squares, speed, acceleration, instant of the last change of lane, lane.
        self._steps, self._m2, self._lane = self._table[0], self._table[2], self._table[6]

    def _put_back(self) -> None:
        """Bring the table up to date."""
        if len(self._here):
            self._table[:, self._here] = self._now
        self._here = _NO_SLOTS

    def update(self, zone: Zone, slots: NDArray[np.int32], lengths: Floats, t: float, measured: bool) -> None:
        """Take in one traffic step.

        ``slots`` (N,) of the zone's vehicles, the same object while these are the same; ``lengths`` (N,) m, ``t`` s.
        """
        v = zone.speed
        if measured:
            self.seconds += self._dt
        if not len(v):
            return
        if slots is not self._here:
            self._put_back()
            self._here, self._now = slots, self._table.take(slots, axis=1)
        now = self._now
        steps = now[0] + 1
        delta = v - now[1]
        a = (v - now[3]) / self._dt
        changed = now[6] != zone.lane
        if measured:
            self._measure(zone, lengths, steps, a, now[4])
        if np.count_nonzero(changed):
            self._lane_changes(now, changed & (steps > 1), t, measured)
        now[0] = steps
        now[1] += delta / steps
        now[2] += delta * (v - now[1])
        now[3], now[4], now[6] = v, a, zone.lane

    def _measure(self, zone: Zone, lengths: Floats, steps: Floats, a: Floats, a_before: Floats) -> None:
        v, n = zone.speed, len(zone)
        self.vehicle_seconds += n * self._dt
        total = float(np.add.reduce(v))
        self._velocity_all.add(total / n)  # Eq. (38)
        cavs = int(np.count_nonzero(zone.cav))
        if cavs:
            self._velocity_cav.add((total if cavs == n else float(np.add.reduce(v * zone.cav))) / cavs)
        third = steps > 2
        count = int(np.count_nonzero(third))
        if count:
            jerk = np.abs(a - a_before)  # Eq. (40)
            self._jerk.add(float(np.add.reduce(jerk if count == n else jerk[third])) / self._dt, count)
        lead = zone.near[FRONT]
        has = (lead != NOBODY).nonzero()[0]
        if has.size:
            lead = lead[has]
            gap = zone.s[lead] - lengths[lead] - zone.s[has]
            self._headway.add(float(np.minimum.reduce(gap)))
            closing = v[has] - v[lead]
            near = closing >= CLOSING
            if np.count_nonzero(near):
                ttc = float(np.minimum.reduce(gap[near] / closing[near]))  # Eq. (39)
                self._ttc.add(ttc)
                self._ttc_capped.add(min(ttc, self._cap))

    def _lane_changes(self, now: Floats, changed: NDArray[np.bool_], t: float, measured: bool) -> None:
        before = now[5, changed]
        if measured:
            self.changes += len(before)
            again = before > 0
            if again.any():
                self._strict.add(float((t - before[again]).sum()), int(again.sum()))
        now[5, changed] = t

    def last_lane(self, slots: NDArray[np.int32]) -> Floats:
        """Return the lanes in which these vehicles were last seen in the zone."""
        self._put_back()
        return np.asarray(self._lane[slots])

    def reserve(self, slots: int) -> None:
        """Make room for that many slots."""
        if slots > self._table.shape[1]:
            self._grow(slots)

    def forget(self, slots: Ints | NDArray[np.int32]) -> None:
        """Clear the slots of vehicles that entered the zone."""
        self._put_back()
        self._table[:, slots] = 0.0

    def leave(self, slots: NDArray[np.int32], well: NDArray[np.bool_], measured: bool) -> None:
        """Vehicles left the zone over its end; ``well``: from a target lane."""
        if measured:
            self.left += len(slots)
            self.left_well += int(well.sum())
            self._close(slots)

    def end_early(self, slots: NDArray[np.int32], measured: bool, *, collided: bool) -> None:
        """Vehicles collided or were removed."""
        if measured:
            if collided:
                self.collided += len(slots)
            else:
                self.removed += len(slots)
            self._close(slots)

    def _close(self, slots: NDArray[np.int32]) -> None:
        self._put_back()
        steps = self._steps[slots]
        whole = steps > 1
        self._variance.add(float((self._m2[slots][whole] / steps[whole]).sum()), int(whole.sum()))  # Eq. (41)

    def values(self) -> dict[str, float | None]:
        """Return the metrics in SI units; None where nothing was measured."""
        ended = self.left + self.collided + self.removed
        cav = self._velocity_cav.value()
        return {
            # All vehicles where there never was a CAV: the all-human case.
            "avg_velocity": self._velocity_all.value() if cav is None else cav,
            "min_ttc": self._ttc.value(),
            "min_ttc_capped": self._ttc_capped.value(),
            "lc_interval": self.vehicle_seconds / self.changes if self.changes else None,
            "lc_interval_strict": self._strict.value(),
            "mean_jerk": self._jerk.value(),
            "velocity_variance": self._variance.value(),
            "success_rate": self.left_well / ended if ended else None,  # Eq. (42)
            "collisions_per_hour": self.collided * 3600.0 / self.seconds if self.seconds else None,
            "min_headway": self._headway.value(),
        }
