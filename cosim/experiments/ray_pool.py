"""Workers of a batch on a Ray cluster.

An actor is only a place: in it lives the same worker process as in a pool on one machine.  So a run gives the same
bytes and the same words when it fails, SUMO's libraries never meet Ray's, and a crash takes no actor down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cosim.errors import CosimError, TrafficError
from cosim.experiments.pool import Outcome, ProcessWorker, Request, WorkerDied


class Place:
    """The actor: holds one worker process and passes requests on to it."""

    def __init__(self) -> None:
        self._worker: ProcessWorker | None = None

    def open(self, setup: Mapping[str, Any], log: str) -> str:
        """Start the worker process; return what is wrong if it does not start, else an empty text."""
        try:
            self._worker = ProcessWorker(setup, Path(log) if Path(log).parent.is_dir() else None)
        except CosimError as error:
            return str(error)
        return ""

    def run(self, request: Request) -> Outcome | str:
        """Return what came of a run, or how the worker process ended."""
        assert self._worker is not None
        try:
            return self._worker.run(request, lambda _: None)
        except WorkerDied as death:
            return str(death)

    def stop(self) -> None:
        """Ask the worker process to end its run now."""
        if self._worker is not None:
            self._worker.stop()

    def close(self) -> None:
        """End the worker process."""
        if self._worker is not None:
            self._worker.close()


class RayWorker:
    """A worker wherever Ray puts it, on a processor of its own; needs a connected *ray*."""

    def __init__(self, ray: Any, setup: Mapping[str, Any], log: Path) -> None:
        self._ray = ray
        self._lost = False
        # Two threads: one sits in run while another one hears stop.
        kind = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2)(Place)
        self._place = kind.remote()
        try:
            wrong = ray.get(self._place.open.remote(dict(setup), str(log)))
        except ray.exceptions.RayError as error:
            wrong = f"a worker on Ray did not start: {' '.join(str(error).split())[:400]}"
        if wrong:
            self.close()
            raise TrafficError(wrong)

    @property
    def alive(self) -> bool:
        return not self._lost

    def run(self, request: Request, tell: Callable[[float], None]) -> Outcome:
        try:
            outcome: Outcome | str = self._ray.get(self._place.run.remote(dict(request)))
        except self._ray.exceptions.RayError:
            self._lost = True
            raise WorkerDied("the worker on Ray was lost") from None
        if isinstance(outcome, str):
            self._lost = True
            raise WorkerDied(outcome)
        return outcome

    def stop(self) -> None:
        with suppress(Exception):
            self._place.stop.remote()

    def close(self) -> None:
        with suppress(Exception):
            self._ray.get(self._place.close.remote(), timeout=5.0)
        with suppress(Exception):
            self._ray.kill(self._place)
