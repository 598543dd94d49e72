"""Queues that count exactly: radio bearer, wired link and processor are one class.

Work is an integer (bits or cycles), the rate an integer per second, time integer microseconds.  Service is counted
in micro-units: a rate of r units per second serves r micro-units in a microsecond.  Hence at every call

    arrived = completed + removed + served of those still here + backlog        (micro-units, exact)

and finish times do not depend on how often :meth:`WorkQueue.advance` is called: a job finishes at the first whole
microsecond by which its work is done, and what is left of that microsecond serves the next job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import islice

from cosim.clock import US
from cosim.errors import ScenarioError
from cosim.network.models import GROUP
from cosim.registry import Registry


@dataclass(slots=True, eq=False)
class Work:
    """A piece of work in a queue.

    ``amount`` is in whole units (bits or cycles); ties at one instant are served by (priority, origin, number).
    ``micro`` adds a part of a unit in micro-units, which moved work may have.
    """

    name: Hashable
    amount: int
    priority: int = 0
    origin: int = 0
    number: int = 0
    micro: int = 0
    total: int = field(init=False, default=0)
    """Micro-units asked of the queue so far; moves away lower it."""
    remaining: int = field(init=False, default=0)
    """Micro-units not served when the queue last looked; :meth:`WorkQueue.remaining` is up to date."""
    arrived_us: int = field(init=False, default=0)
    started_us: int | None = field(init=False, default=None)


@dataclass(frozen=True, slots=True)
class Finish:
    """Work done: ``arrived_us``, ``started_us`` (first served) and ``t_us`` (finished)."""

    work: Work
    t_us: int
    arrived_us: int
    started_us: int


@dataclass(frozen=True)
class Discipline:
    """Who is served: ``function(n, cores)`` gives (how many from the front, cores that they share equally).

    ``key(work)`` orders the queue (smallest first).
    """

    function: Callable[[int, int], tuple[int, int]]
    key: Callable[[Work], tuple[int, ...]]


DISCIPLINES: Registry[Discipline] = Registry(GROUP, "queue discipline")


def by_arrival(work: Work) -> tuple[int, ...]:
    """Order of arrival; ties by priority, origin's key and job number."""
    return work.arrived_us, work.priority, work.origin, work.number


def by_priority(work: Work) -> tuple[int, ...]:
    """Smaller priority numbers first, whenever they came."""
    return work.priority, work.arrived_us, work.origin, work.number


def discipline(
    name: str, key: Callable[[Work], tuple[int, ...]] = by_arrival
) -> Callable[[Callable[[int, int], tuple[int, int]]], Discipline]:
    """Register a service discipline under *name*; see :class:`Discipline`."""

    def add(function: Callable[[int, int], tuple[int, int]]) -> Discipline:
        return DISCIPLINES.register(name)(Discipline(function, key))

    return add


@discipline("fifo")
def fifo(n: int, cores: int) -> tuple[int, int]:
    """One job a core, in order of arrival."""
    served = min(n, cores)
    return served, served


@discipline("ps")
def ps(n: int, cores: int) -> tuple[int, int]:
    """All jobs at once, in equal shares, none faster than one core."""
    return n, min(n, cores)


@discipline("priority", key=by_priority)
def priority(n: int, cores: int) -> tuple[int, int]:
    """One job a core, the most urgent first; a more urgent arrival interrupts."""
    served = min(n, cores)
    return served, served


class WorkQueue:
    """A server with a queue.

    Args:
        rate: units a second and core, at least 0.
        discipline: a name in :data:`DISCIPLINES`.
        cores: how many jobs run side by side.
        now_us: where its clock starts.

    ScenarioError for a negative rate or fewer than one core.
    """

    __slots__ = (
        "_capacity",
        "_discipline",
        "_due",
        "_finished",
        "_jobs",
        "_served",
        "_since",
        "arrived",
        "completed",
        "cores",
        "now_us",
        "rate",
        "removed",
    )

    def __init__(self, rate: int, discipline: str = "fifo", cores: int = 1, now_us: int = 0) -> None:
        if rate < 0 or cores < 1:
            raise ScenarioError(f"a queue needs a rate of at least 0 and a core, not {rate} and {cores}")
        self.rate, self.cores, self.now_us = rate, cores, now_us
        self._discipline = DISCIPLINES.get(discipline)
        self._jobs: deque[Work] = deque()
        self._finished: list[Finish] = []
        self.arrived = self.completed = self.removed = 0
        """Micro-units that came, were served to the end, and were taken away."""
        # An epoch is a stretch in which the served jobs and the rate stay the same: service since its begin is a
        # closed form, so looking at the queue in between changes nothing.
        self._since = now_us
        self._served = 0
        self._capacity = 0
        self._due: int | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def push(self, work: Work, t_us: int) -> None:
        """Add *work* that arrives at ``t_us``, which may not lie before an earlier call's time."""
        self._run(t_us)
        work.total = work.remaining = work.amount * US + work.micro
        work.arrived_us = t_us
        self.arrived += work.total
        key = self._discipline.key
        place = len(self._jobs)
        if place and key(self._jobs[-1]) > key(work):
            place = next(i for i, other in enumerate(self._jobs) if key(other) > key(work))
        if place >= self._served and self._served == self._discipline.function(place + 1, self.cores)[0]:
            self._jobs.append(work) if place == len(self._jobs) else self._jobs.insert(place, work)
            return  # joins the waiting ones: the epoch goes on
        self._settle(t_us)
        self._jobs.insert(place, work)
        self._begin(t_us)

    def advance(self, t_us: int) -> list[Finish]:
        """Serve until ``t_us`` and return what finished since the last call, in order of time."""
        self._run(t_us)
        finished, self._finished = self._finished, []
        return finished

    def look(self, t_us: int) -> None:
        """Serve until ``t_us``, so that counters hold there; what finished waits for :meth:`advance`."""
        self._run(t_us)

    def set_rate(self, rate: int, t_us: int) -> None:
        """Change the rate from ``t_us`` on."""
        if rate < 0:
            raise ScenarioError(f"a queue's rate cannot be negative ({rate})")
        self._run(t_us)
        if rate != self.rate:
            self._settle(t_us)
            self.rate = rate
            self._begin(t_us)

    def remove(self, work: Work, t_us: int, micro: int | None = None) -> int:
        """Take *micro* micro-units (default: all) of the remaining work of *work* away; return how many.

        Work of which nothing remains leaves the queue without a :class:`Finish`.
        """
        self._run(t_us)
        if work not in self._jobs:
            return 0
        self._settle(t_us)
        taken = work.remaining if micro is None else min(micro, work.remaining)
        work.remaining -= taken
        work.total -= taken
        self.removed += taken
        if not work.remaining:
            self._jobs.remove(work)
            self.completed += work.total
        self._begin(t_us)
        return taken

    def waiting(self) -> tuple[Work, ...]:
        """All work here, in the order of service."""
        return tuple(self._jobs)

    def next_finish_us(self) -> int | None:
        """When the next job will finish if nothing else happens; None if none will."""
        return self._due

    def remaining(self, work: Work) -> int:
        """Micro-units of *work* not served by now."""
        for rank, job in enumerate(islice(self._jobs, self._served)):
            if job is work:
                return work.remaining - self._share(self.now_us, rank)
        return work.remaining if work in self._jobs else 0

    @property
    def has_finished(self) -> bool:
        """Whether something finished that :meth:`advance` has not returned yet."""
        return bool(self._finished)

    @property
    def backlog(self) -> int:
        """Micro-units waiting or under way, not served by now."""
        served = sum(self._share(self.now_us, rank) for rank in range(self._served))
        return sum(job.remaining for job in self._jobs) - served

    @property
    def head_served(self) -> int:
        """Micro-units already served of the jobs that are still here."""
        return sum(job.total for job in self._jobs) - self.backlog

    def _share(self, t_us: int, rank: int) -> int:
        """Micro-units that the served job number *rank* got in this epoch by ``t_us``; the ranks' sum is exact."""
        served = self._served
        return (self._capacity * (t_us - self._since) + served - 1 - rank) // served

    def _run(self, t_us: int) -> None:
        if t_us < self.now_us:
            raise ValueError(f"a queue cannot go back from {self.now_us} to {t_us} us")
        while self._due is not None and self._due <= t_us:
            self._complete(self._due)
        self.now_us = t_us

    def _settle(self, t_us: int) -> None:
        """Book the service of the epoch that ends at ``t_us``."""
        if t_us > self._since:
            for rank, job in enumerate(islice(self._jobs, self._served)):
                job.remaining -= self._share(t_us, rank)
                if job.started_us is None:
                    job.started_us = self._since

    def _begin(self, t_us: int) -> None:
        """Begin an epoch: who is served from now, and when will the first of them be done."""
        self._since = t_us
        self._served, cores = self._discipline.function(len(self._jobs), self.cores)
        self._capacity = self.rate * cores
        self._due = None
        for rank, job in enumerate(islice(self._jobs, self._served)):
            need = self._served * job.remaining - (self._served - 1 - rank)
            if job.remaining <= 0:
                due = t_us
            elif self._capacity:
                due = t_us - (-need // self._capacity)
            else:
                continue
            if self._due is None or due < self._due:
                self._due = due

    def _complete(self, t_us: int) -> None:
        """Let those go that are done at ``t_us`` and pass on what is left of their last microsecond."""
        self._settle(t_us)
        before = self._served
        stay: list[Work] = []
        spare: list[int] = []
        for _ in range(before):
            job = self._jobs.popleft()
            if job.remaining > 0:
                stay.append(job)
                continue
            spare.append(-job.remaining)
            job.remaining = 0
            self.completed += job.total
            started = t_us if job.started_us is None else job.started_us
            self._finished.append(Finish(job, t_us, job.arrived_us, started))
        self._jobs.extendleft(reversed(stay))
        self._pass_on(spare, len(stay))
        self._begin(t_us)

    def _pass_on(self, spare: list[int], stayed: int) -> None:
        served, cores = self._discipline.function(len(self._jobs), self.cores)
        if served > stayed:  # a freed core goes on with the next job
            for job, extra in zip(islice(self._jobs, stayed, served), spare, strict=False):
                job.remaining -= extra
        elif cores < served:  # shared cores: the rest is for all
            total = sum(spare)
            for rank, job in enumerate(islice(self._jobs, served)):
                job.remaining -= (total + served - 1 - rank) // served
