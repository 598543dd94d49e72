"""What is due when: a discrete-event loop over work queues, in exact time.

:class:`Agenda` finishes the work of :class:`~cosim.network.queues.WorkQueue` objects and calls stages at instants
that were set, all in order of time.  All is integer, so results do not depend on how often it is advanced; work that
ends at one instant is served in the order (priority, origin's key, job number).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from cosim.network.queues import Finish, Work, WorkQueue
from cosim.network.servers import Flow

Stage = Callable[[int], None]
"""What happens next, at a time in µs."""


@dataclass(slots=True, eq=False)
class _Task:
    """A piece of work in some queue and what follows it."""

    flow: Flow
    after: Callable[[Finish], None]


class Agenda:
    """The queues that have something to do, and the stages that wait for their instant; it is ``now_us``."""

    def __init__(self) -> None:
        self.now_us = 0
        self._sequence = 0
        self._due: list[tuple[int, int, WorkQueue]] = []
        self._later: list[tuple[int, tuple[int, ...], int, Stage]] = []

    def advance(self, t_us: int) -> None:
        """Let everything happen that is due by ``t_us``."""
        while True:
            due = self._next_due()
            later = self._later[0][0] if self._later else None
            soonest = min((t for t in (due, later) if t is not None), default=None)
            if soonest is None or soonest > t_us:
                break
            self.now_us = max(self.now_us, soonest)
            if due == soonest:
                self._finish_all(soonest)
            else:
                _, _, _, stage = heapq.heappop(self._later)
                stage(soonest)
        self.now_us = max(self.now_us, t_us)

    def at(self, t_us: int, order: tuple[int, ...], stage: Stage) -> None:
        """Call a stage at an instant; ``order`` settles ties, then the order of calls."""
        self._sequence += 1
        heapq.heappush(self._later, (t_us, order, self._sequence, stage))

    def push(
        self, queue: WorkQueue, flow: Flow, amount: int, after: Callable[[Finish], None], micro: int = 0
    ) -> Work:
        """Put work of a job into a queue; ``after`` is called when it is done, unless the job is gone by then."""
        work = Work(_Task(flow, after), amount, flow.job.priority, flow.key, flow.number, micro)
        queue.push(work, self.now_us)
        self.watch(queue)
        return work

    def clear(self, queue: WorkQueue, flow: Flow) -> None:
        """Take all work of a job out of a queue."""
        for work in queue.waiting():
            if isinstance(work.name, _Task) and work.name.flow is flow:
                queue.remove(work, self.now_us)
        self.watch(queue)

    def set_rate(self, queue: WorkQueue, rate: int) -> None:
        """Change the rate of a queue from now on."""
        queue.set_rate(rate, self.now_us)
        self.watch(queue)

    def watch(self, queue: WorkQueue) -> None:
        """Note anew when a queue finishes something; to be called whenever it was changed."""
        due = self.now_us if queue.has_finished else queue.next_finish_us()
        if due is not None:
            self._sequence += 1
            heapq.heappush(self._due, (due, self._sequence, queue))

    def _next_due(self) -> int | None:
        """Return when the next queue finishes something; entries made void by later changes are dropped."""
        while self._due:
            t_us, _, queue = self._due[0]
            if queue.next_finish_us() == t_us or queue.has_finished:
                return t_us
            heapq.heappop(self._due)
        return None

    def _finish_all(self, t_us: int) -> None:
        """Take what all queues finish at this instant and send it on, in the order of ties."""
        finished: list[Finish] = []
        while self._next_due() == t_us:
            queue = heapq.heappop(self._due)[2]
            finished += queue.advance(t_us)
            self.watch(queue)
        finished.sort(key=lambda f: (f.work.priority, f.work.origin, f.work.number))
        for finish in finished:
            task = finish.work.name
            assert isinstance(task, _Task)
            if not task.flow.gone:
                task.after(finish)
