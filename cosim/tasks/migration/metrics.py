"""The measures of the migration task over the measured time."""

from __future__ import annotations

import numpy as np

from cosim.tasks.migration.episode import Outcome, Slot
from cosim.tasks.migration.latency import Rules

METRICS = (
    "task_latency",
    "upload_time",
    "processing_time",
    "cloud_time",
    "download_time",
    "cloud_share",
    "migrated_share",
    "clustering",
    "queue_load",
    "covered",
    "unfinished",
)
"""Means over tasks of T_sum, T_up, T_pro, T_c, T_d (s); the shares of all work that the cloud and the targets did;
the mean over slots of max_m z_m (vehicles); the mean queue L(t) over RSUs and slots (cycles); the share of
vehicle-slots with a task; and the share of tasks that were not finished and count with the time they waited."""

CROWDED = 4.2
"""Below this clustering the paper's order of full and no pre-migration does not hold (spec, E1)."""


class Statistics:
    """Running sums of one run."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._sums = np.zeros(5)
        self._work = self._cloud = self._moved = 0.0
        self._crowd = self._load = 0.0
        self.tasks = self.slots = self._vehicles = self._given = self._unfinished = 0

    def add_slot(self, slot: Slot, present: int) -> None:
        """Count one slot (E = 1) in which ``present`` agent vehicles were on the road."""
        self.slots += 1
        self._vehicles += present
        self._given += int(np.count_nonzero(slot.has_task))
        self._crowd += crowding(slot)
        self._load += float(slot.queue.mean())

    def add_tasks(self, slot: Slot, outcome: Outcome, unfinished: int = 0) -> None:
        """Count the tasks of a slot that are done; ``unfinished`` of them only waited."""
        done = outcome.done
        self._unfinished += unfinished
        found = outcome.latency
        self.tasks += int(np.count_nonzero(done))
        for i, part in enumerate((found.total, found.up, found.processing, found.cloud, found.down)):
            self._sums[i] += float(part[done].sum())
        self._work += float((slot.task_bits[done]).sum()) * self._rules.cycles_per_bit
        self._cloud += float(found.cloud_work[done].sum())
        self._moved += float(outcome.taken[done].sum())

    @property
    def clustering(self) -> float | None:
        """The mean over slots of max_m z_m; None without slots."""
        return self._crowd / self.slots if self.slots else None

    def values(self) -> dict[str, float | None]:
        """Return the metrics in SI units; None where nothing was measured."""
        means = [s / self.tasks if self.tasks else None for s in self._sums.tolist()]
        per_slot = self.slots or None
        return dict(
            zip(
                METRICS,
                [
                    *means,
                    self._cloud / self._work if self._work else None,
                    self._moved / self._work if self._work else None,
                    self.clustering,
                    self._load / per_slot if per_slot else None,
                    self._given / self._vehicles if self._vehicles else None,
                    self._unfinished / self.tasks if self.tasks else None,
                ],
                strict=True,
            )
        )


def crowding(slot: Slot) -> float:
    """Return max_m z_m of one slot (E = 1): the most vehicles that one RSU serves."""
    served = slot.serving[slot.has_task]
    return float(np.bincount(served).max()) if served.size else 0.0
