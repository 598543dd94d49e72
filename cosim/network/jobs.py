"""Jobs that vehicles offload, what becomes of them, and streams of jobs drawn by key.

A job goes up over the vehicle's radio bearer, along wires to a server, through its processor, back to the station
that serves the vehicle by then, and down.  :mod:`cosim.network.edge` moves it; here is what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from cosim.clock import US
from cosim.network.config import JobsConfig
from cosim.network.randomness import Draws
from cosim.randomness import stream_key
from cosim.scenario.spans import Span

SERVING = "serving"
"""Names the server at the station that serves the vehicle when its data has come up."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work that a vehicle gives to a server.

    ``id`` is unique in a run; ``origin`` the vehicle's id; ``bits_up`` and ``bits_down`` in bit, ``cycles`` of
    processor work, all whole and not negative; ``deadline_us`` after submission or None; a smaller ``priority`` goes
    first where jobs meet at one instant (always, with the discipline ``priority``).
    """

    id: str
    origin: str
    bits_up: int
    cycles: int
    bits_down: int = 0
    deadline_us: int | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        for name in ("bits_up", "cycles", "bits_down"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 0:
                raise ValueError(
                    f"{name} of job '{self.id}' must be a whole number of at least 0, not {value!r}"
                )


@dataclass(frozen=True, slots=True)
class Submission:
    """What a server took of a job: ``accepted`` cycles, and those ``returned`` to the caller."""

    accepted: int
    returned: int


@dataclass(frozen=True, slots=True)
class PartDone:
    """A part of a job that ``server`` finished at ``computed_us``: ``cycles`` of work."""

    server: str
    computed_us: int
    cycles: float


@dataclass(frozen=True, slots=True)
class JobDone:
    """A job whose result is back: all times in µs.

    ``servers`` worked on it; ``uploaded_us`` its data was at a station; ``computed_us`` the last part was computed;
    ``waited_us`` is the time that its parts spent at processors beyond what their work needs alone there (the queue
    delay, mean over parts); ``met`` tells whether it kept its deadline (None without one); ``parts`` are in the
    order in which they were finished.
    """

    t_us: int
    job: str
    origin: str
    servers: tuple[str, ...]
    submitted_us: int
    uploaded_us: int
    computed_us: int
    waited_us: int
    met: bool | None
    parts: tuple[PartDone, ...] = ()

    @property
    def latency_us(self) -> int:
        """From submission to result, µs."""
        return self.t_us - self.submitted_us


@dataclass(frozen=True, slots=True)
class JobDropped:
    """A job that will not be finished: ``reason`` is ``left``, ``full`` or ``no way``."""

    t_us: int
    job: str
    origin: str
    reason: str


Report = Callable[[JobDone | JobDropped], None]
"""Is told at once how a job ended."""


@dataclass(frozen=True, slots=True)
class JobMoved:
    """Part of a job moved from server to server: ``cycles`` of work and ``bits`` of state."""

    t_us: int
    job: str
    origin: str
    source: str
    target: str
    cycles: float
    bits: int


@dataclass(frozen=True, slots=True)
class Handover:
    """A vehicle changed from station to station; ``ping_pong`` if it returned within the configured time."""

    t_us: int
    vehicle: str
    source: str
    target: str
    ping_pong: bool


@dataclass(slots=True)
class NetworkEvents:
    """What happened since the last look, each list in order of time."""

    handovers: list[Handover] = field(default_factory=list)
    done: list[JobDone] = field(default_factory=list)
    dropped: list[JobDropped] = field(default_factory=list)
    moved: list[JobMoved] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job of a stream, to be submitted at ``t_us`` to the server ``to``."""

    t_us: int
    job: Job
    to: str


class JobStream:
    """Jobs that every vehicle with a radio offloads, drawn by (seed, stream, tick, vehicle) alone."""

    def __init__(self, number: int, config: JobsConfig, seed: int) -> None:
        self.config, self._seed = config, seed
        self._domain = f"jobs.{number}"
        self._number = number

    def arrivals(
        self, t_us: int, tick_us: int, ids: list[str], keys: NDArray[np.uint64]
    ) -> Iterator[Arrival]:
        """Yield the jobs that some vehicles, given by id and key, offload in [t, t + tick)."""
        if not len(keys):
            return
        every_us = self.config.every * US
        for n, when in enumerate(self._times(t_us, tick_us, keys, every_us)):
            for row in np.flatnonzero(when >= 0):
                yield self._make(t_us // tick_us, n, int(when[row]), ids[row], keys[row : row + 1])

    def _times(
        self, t_us: int, tick_us: int, keys: NDArray[np.uint64], every_us: float
    ) -> Iterator[NDArray[np.int64]]:
        """Yield each vehicle's first, second, … instant in the tick, -1 where it has no more."""
        step, n = t_us // tick_us, 0
        if self.config.arrivals == "periodic":
            phase = np.floor(
                Draws(keys, _ZERO, stream_key(self._seed, f"{self._domain}/phase", 0)).uniform(0) * every_us
            )
            first = np.ceil((t_us - phase) / every_us)
            while True:
                when = np.rint(phase + (first + n) * every_us).astype(np.int64)
                inside = (when >= t_us) & (when < t_us + tick_us)
                if not inside.any():
                    return
                yield np.where(inside, when, -1)
                n += 1
        mean = tick_us / every_us
        u = Draws(keys, _ZERO, stream_key(self._seed, f"{self._domain}/count", step)).uniform(0)
        # A vehicle has more than n jobs in the tick where its uniform exceeds the Poisson distribution at n.
        while (more := u > gammaincc(n + 1, mean)).any():
            offset = Draws(keys, _ZERO, stream_key(self._seed, f"{self._domain}/time/{n}", step)).uniform(0)
            yield np.where(more, t_us + (offset * tick_us).astype(np.int64), -1)
            n += 1

    def _make(self, step: int, n: int, t_us: int, vehicle: str, key: NDArray[np.uint64]) -> Arrival:
        draws = Draws(key, _ZERO, stream_key(self._seed, f"{self._domain}/size/{n}", step))
        config = self.config

        def size(span: Span, word: int) -> int:
            return round(span.at(lambda: float(draws.uniform(word)[0])))

        job = Job(
            id=f"{vehicle}/{self._number}.{step}.{n}",
            origin=vehicle,
            bits_up=size(config.up, 0),
            cycles=size(config.work, 1),
            bits_down=size(config.down, 2),
            deadline_us=config.deadline,
        )
        return Arrival(t_us, job, config.to)


_ZERO = np.zeros(1, np.uint64)
