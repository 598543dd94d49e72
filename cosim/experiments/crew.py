"""The workers of a training: in this process, in processes of their own, or on a Ray cluster; all behave alike.

Requests and answers are frames wherever a worker runs, so the place changes nothing but the transport, and the bytes
that come back are the same.  Processes speak the wire format of agents over a local socket: nothing is unpickled,
the user's script is not imported again, Ctrl-C stays here, and a worker ends when this process is gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal, NoReturn, Protocol

from cosim.errors import ScenarioError, TrafficError
from cosim.experiments.rollout import Haul, Job, Numbers
from cosim.experiments.windows import unpack_windows
from cosim.experiments.worker import Desk, Frame, opening, raise_error
from cosim.lockstep.launch import AgentProcess, Ended
from cosim.lockstep.learner import Weights
from cosim.lockstep.protocol import EpisodeInfo
from cosim.lockstep.wire import Array, Channel, Closed, WireError

Engine = Literal["process", "ray", "inline"]

_START_S = 120.0
_GRACE_S = 5.0


class Worker(Protocol):
    """One worker, wherever it is: asked, and later answering."""

    def ask(self, header: dict[str, Any], arrays: Mapping[str, Array]) -> None:
        """Send a request; returns at once."""

    def answer(self) -> Frame:
        """Wait for the answer."""

    def close(self) -> None:
        """End the worker; never raises."""


class Collecting(Protocol):
    """What a training needs of those who collect and evaluate for it; a context manager.

    :class:`Crew` is the usual one; a method may bring its own (``cosim.lockstep.learner.SelfCollecting``).
    """

    def __enter__(self) -> Collecting: ...

    def __exit__(self, *_: object) -> None: ...

    def open(self) -> None:
        """Get ready; the first thing to be called."""

    def begin(self, leg: int) -> None:
        """Begin a leg: nothing from the legs before may matter in it."""

    def start(self, weights: Weights, windows: int) -> None:
        """Begin to collect that many windows a worker with these weights."""

    def hauls(self) -> list[Haul]:
        """Return what was collected."""

    def evaluate(self, weights: Weights, seeds: Sequence[int]) -> list[Numbers]:
        """Return the results of the greedy policy for each seed, in order."""


class Crew:
    """All workers of a training, asked together and answering in their order; a context manager.

    They are started at once and take up *job* with :meth:`open`, so that what else has to be prepared can be
    meanwhile.  ``info`` is the trained task's episode, which windows carry; ``ray_address`` that of a running cluster,
    None for a local one.  What goes wrong in a worker is raised here: the same CosimError with the same words, or a
    TrafficError with its last words if it died.
    """

    def __init__(
        self, job: Job, info: EpisodeInfo, count: int, engine: Engine, ray_address: str | None = None
    ) -> None:
        if engine == "inline" and count != 1:
            raise ScenarioError("engine inline runs one simulation in this process: workers must be 1")
        self._info = info
        self._request = opening(job)
        self._workers: list[Worker] = []
        self._place = ExitStack()
        try:
            make = _maker(engine, count, ray_address, self._place)
            for number in range(count):
                self._workers.append(make(number))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._workers)

    def open(self) -> None:
        """Give every worker its job; the first thing to do."""
        self._ask([{**self._request, "worker": number} for number in range(len(self))])
        self._answers()

    def begin(self, leg: int) -> None:
        """Start SUMO afresh in every worker."""
        self._ask([{"type": "begin", "leg": leg}] * len(self))
        self._answers()

    def start(self, weights: Weights, windows: int) -> None:
        """Let every worker begin to collect; :meth:`hauls` waits for what comes of it."""
        self._ask([{"type": "collect", "windows": windows}] * len(self), weights)

    def hauls(self) -> list[Haul]:
        """Return what each worker collected, in worker order."""
        return [
            Haul(unpack_windows(number, self._info, header["windows"], arrays), header["counts"])
            for number, (header, arrays) in enumerate(self._answers())
        ]

    def evaluate(self, weights: Weights, seeds: Sequence[int]) -> list[Numbers]:
        """Return the results of each seed, in the order of *seeds*; the work is shared among all workers."""
        shares = [list(seeds[number :: len(self)]) for number in range(len(self))]
        self._ask([{"type": "evaluate", "seeds": share} for share in shares], weights)
        found: dict[int, Numbers] = {}
        for share, (header, _) in zip(shares, self._answers(), strict=True):
            found.update(zip(share, header["results"], strict=True))
        return [found[seed] for seed in seeds]

    def close(self) -> None:
        """End all workers; never raises."""
        for worker in self._workers:
            worker.close()
        self._workers = []
        self._place.close()

    def _ask(self, headers: Sequence[dict[str, Any]], arrays: Weights | None = None) -> None:
        for worker, header in zip(self._workers, headers, strict=True):
            worker.ask(header, dict(arrays or {}))

    def _answers(self) -> list[Frame]:
        frames = [worker.answer() for worker in self._workers]
        for header, _ in frames:
            if header["type"] == "error":
                raise_error(header)
        return frames


def _maker(engine: Engine, count: int, ray_address: str | None, place: ExitStack) -> Callable[[int], Worker]:
    """Return what makes worker number k; *place* closes where they live."""
    if engine == "inline":
        return lambda number: InlineWorker()
    if engine == "process":
        return ProcessWorker
    from cosim.experiments.ray_cluster import ray_cluster
    from cosim.experiments.ray_worker import RayWorker

    ray = place.enter_context(ray_cluster(ray_address, max(count, os.cpu_count() or 1)))
    processors = int(ray.cluster_resources().get("CPU", 0))
    if processors < count:
        raise ScenarioError(f"engine ray: the cluster has {processors} processors for {count} workers")
    return lambda number: RayWorker(number, ray)


class InlineWorker:
    """A worker in this process, for one simulation, tests and debuggers."""

    def __init__(self) -> None:
        self._desk = Desk()
        self._request: tuple[dict[str, Any], Mapping[str, Array]] = ({}, {})

    def ask(self, header: dict[str, Any], arrays: Mapping[str, Array]) -> None:
        self._request = (header, arrays)

    def answer(self) -> Frame:
        return self._desk.reply(*self._request)

    def close(self) -> None:
        self._desk.close()


class ProcessWorker:
    """A worker in an operating-system process of its own."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._process = AgentProcess([sys.executable, "-m", "cosim.experiments.worker"], grace_s=_GRACE_S)
        self._channel: Channel | None = None
        self._closed = False

    def ask(self, header: dict[str, Any], arrays: Mapping[str, Array]) -> None:
        if self._channel is None:
            self._channel = self._connected()
        try:
            self._channel.send(header, arrays)
        except Closed:
            self._died(self._process.how_it_ended(1.0))

    def answer(self) -> Frame:
        assert self._channel is not None, "ask comes first"
        try:
            return self._channel.receive()
        except (Closed, WireError) as why:
            self._died(self._process.how_it_ended(1.0) or str(why))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._process.dismiss(self._channel, 0.5)

    def _connected(self) -> Channel:
        try:
            channel = self._process.connect(_START_S)
        except (Ended, TimeoutError) as why:
            self._died(str(why) or f"did not start within {_START_S:g} s")
        channel.bound(None)
        return channel

    def _died(self, how: str) -> NoReturn:
        words = self._process.last_words()
        raise TrafficError(
            f"worker {self._number} of the training {how or 'closed its connection'}"
            + (f"; its last words: {words}" if words else "")
        )
