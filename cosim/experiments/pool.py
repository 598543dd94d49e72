"""A pool of workers: one run each at a time, until all are done or the user says stop.

A worker is a process of its own that runs many simulations one after the other (:mod:`cosim.experiments.batch_worker`),
here or on a Ray cluster.  One that dies, or whose run failed, is replaced, so no run can spoil the next.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from cosim.errors import ScenarioError, TrafficError
from cosim.lockstep.launch import AgentProcess, Ended
from cosim.lockstep.wire import Array, Channel, Closed, WireError

Request = Mapping[str, Any]
Outcome = tuple[dict[str, Any], Mapping[str, Array]]
"""What came of a run (status, metrics, error, wall_s), and its directory where that lies elsewhere."""

_START_S = 120.0
_STOP_S = 20.0
"""How long runs may take to end once they were told to stop."""
_LOOK_S = 0.2


class WorkerDied(Exception):
    """A worker ended in the middle of a run; the text says how."""


class Worker(Protocol):
    """One worker, wherever it is."""

    @property
    def alive(self) -> bool:
        """Whether it can take a run."""

    def run(self, request: Request, tell: Callable[[float], None]) -> Outcome:
        """Run one simulation and return what came of it; WorkerDied if the worker ends meanwhile."""

    def stop(self) -> None:
        """Ask it, from another thread, to end its run now."""

    def close(self) -> None:
        """End it; never raises."""


class ProcessWorker:
    """A worker in an operating-system process of its own.

    *setup* is what :func:`cosim.experiments.batch_worker.prepare` takes, or its like of another *module* that serves
    the same frames; *log* gets what runs and agents print.  Raises TrafficError if it does not start.
    """

    def __init__(
        self, setup: Mapping[str, Any], log: Path | None, module: str = "cosim.experiments.batch_worker"
    ) -> None:
        command = [sys.executable, "-m", module]
        self._process = AgentProcess(command, log, grace_s=0.0)
        self._channel: Channel | None = None
        self._closed = False
        try:
            self._channel = self._process.connect(_START_S)
            self._channel.bound(None)
            self._channel.send({"type": "open", **setup})
            header, _ = self._channel.receive()
        except (Ended, TimeoutError, Closed, WireError) as why:
            how = self._process.how_it_ended(1.0) or str(why) or "did not start"
            words = self._process.last_words()
            self.close()
            raise TrafficError(
                f"a worker process {how}" + (f"; its last words: {words}" if words else "")
            ) from None
        if header["type"] == "error":
            self.close()
            raise ScenarioError(f"in a worker process: {header['text']}")

    @property
    def alive(self) -> bool:
        return self._channel is not None and not self._process.how_it_ended(0.0)

    def run(self, request: Request, tell: Callable[[float], None]) -> Outcome:
        channel = self._channel
        assert channel is not None
        try:
            channel.send({"type": "run", **request})
            while True:
                header, arrays = channel.receive()
                if header.pop("type") == "done":
                    return header, arrays
                tell(header["share"])
        except (Closed, WireError) as why:
            how = self._process.how_it_ended(5.0) or f"closed its connection ({why})"
            raise WorkerDied(f"the worker process {how}") from None

    def stop(self) -> None:
        with suppress(OSError):
            os.kill(self._process.pid, signal.SIGTERM)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._process.dismiss(self._channel, 1.0)


class Pool:
    """Runs requests on up to *jobs* workers that *start* makes."""

    def __init__(self, start: Callable[[], Worker], jobs: int) -> None:
        self._start = start
        self._jobs = jobs
        self._todo: deque[Request] = deque()
        self._done: queue.SimpleQueue[tuple[str, Outcome] | BaseException] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._workers: dict[int, Worker] = {}
        self._shares: dict[str, float] = {}

    def run(
        self,
        requests: Sequence[Request],
        took: Callable[[str, Outcome], None],
        moved: Callable[[float], None],
    ) -> bool:
        """Run all *requests*, each of which has a name ``run``; return False if that was interrupted.

        Args:
            requests: what :func:`cosim.experiments.batch_worker.perform` takes.
            took: called with the name and outcome of each finished run, in the order in which they finish.  A run
                that was interrupted is not reported.
            moved: called now and then with the share done of the runs under way, in runs.
        """
        self._todo.extend(requests)
        count = min(self._jobs, len(requests))
        threads = [threading.Thread(target=self._serve, args=(k,), daemon=True) for k in range(count)]
        for thread in threads:
            thread.start()
        left = len(requests)
        try:
            while left:
                left -= self._take(took)
                moved(sum(self._shares.values()))
        except KeyboardInterrupt:
            self._stop(threads)
            while self._take(took, wait=False):
                pass
            return False
        except BaseException:
            self._stop(threads)
            raise
        for thread in threads:
            thread.join()
        return True

    def _take(self, took: Callable[[str, Outcome], None], *, wait: bool = True) -> int:
        """Report the next outcome, waiting a little for one; return how many that were."""
        try:
            item = self._done.get(timeout=_LOOK_S) if wait else self._done.get_nowait()
        except queue.Empty:
            return 0
        if isinstance(item, BaseException):
            if self._stopping.is_set():
                return 1
            raise item
        name, outcome = item
        self._shares.pop(name, None)
        if outcome[0]["status"] != "interrupted":
            took(name, outcome)
        return 1

    def _stop(self, threads: Sequence[threading.Thread]) -> None:
        """Tell all workers to end their runs, and wait for it; a second Ctrl-C waits no longer."""
        self._stopping.set()
        for worker in list(self._workers.values()):
            worker.stop()
        ends = time.monotonic() + _STOP_S
        try:
            for thread in threads:
                thread.join(max(0.0, ends - time.monotonic()))
        except KeyboardInterrupt:
            pass
        for worker in list(self._workers.values()):
            worker.close()

    def _serve(self, number: int) -> None:
        """Keep one worker busy; the body of one thread."""
        try:
            while not self._stopping.is_set():
                try:
                    request = self._todo.popleft()
                except IndexError:
                    return
                outcome = self._one(number, request)
                if outcome[0]["status"] != "completed":
                    self._replace(number)
                self._done.put((request["run"], outcome))
        except BaseException as error:
            self._done.put(error)
        finally:
            self._replace(number)

    def _one(self, number: int, request: Request) -> Outcome:
        name = request["run"]

        def tell(share: float) -> None:
            self._shares[name] = share

        if number in self._workers and not self._workers[number].alive:
            self._replace(number)
        began = time.monotonic()
        try:
            worker = self._workers.get(number) or self._start()
            self._workers[number] = worker
            if self._stopping.is_set():
                return {"status": "interrupted"}, {}
            return worker.run(request, tell)
        except WorkerDied as death:
            status = "interrupted" if self._stopping.is_set() else "failed"
            wall_s = round(time.monotonic() - began, 3)
            return {"status": status, "metrics": {}, "error": str(death), "wall_s": wall_s}, {}

    def _replace(self, number: int) -> None:
        worker = self._workers.pop(number, None)
        if worker is not None:
            worker.close()
