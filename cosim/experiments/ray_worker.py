"""A worker of a training as an actor on a Ray cluster, local or running elsewhere.

What is asked and answered is what a worker process is asked and answers, so a training on Ray gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cosim.errors import TrafficError
from cosim.experiments.worker import Desk, Frame
from cosim.lockstep.wire import Array

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class RayWorker:
    """A worker wherever Ray puts it, on a processor of its own; needs a connected ``ray``."""

    def __init__(self, number: int, ray: Any) -> None:
        self._number, self._ray = number, ray
        kind = ray.remote(num_cpus=1, max_restarts=0, runtime_env={"env_vars": _ONE_THREAD})(Desk)
        self._desk = kind.remote()
        self._waiting: Any = None

    def ask(self, header: dict[str, Any], arrays: Mapping[str, Array]) -> None:
        self._waiting = self._desk.reply.remote(header, dict(arrays))

    def answer(self) -> Frame:
        try:
            header, arrays = self._ray.get(self._waiting)
        except self._ray.exceptions.RayError as why:
            words = " ".join(str(why).split())[:400]
            raise TrafficError(f"worker {self._number} of the training on Ray failed: {words}") from None
        return header, arrays

    def close(self) -> None:
        with suppress(Exception):
            self._ray.get(self._desk.close.remote(), timeout=5.0)
        with suppress(Exception):
            self._ray.kill(self._desk)
