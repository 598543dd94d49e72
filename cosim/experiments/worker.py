"""What a worker of a training does with a request, and the process of its own that it usually lives in.

A request is a frame (JSON header and arrays): ``open`` makes a :class:`~cosim.experiments.rollout.Collector`, then
``begin``, ``collect`` and ``evaluate`` call it.  ``python -m cosim.experiments.worker`` serves frames over the socket
that :class:`~cosim.lockstep.launch.AgentProcess` opened for it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from cosim import errors
from cosim.errors import CosimError, ScenarioError
from cosim.experiments.rollout import Collector, Job
from cosim.experiments.windows import pack_windows
from cosim.lockstep.client import connect
from cosim.lockstep.inline import one_torch_thread
from cosim.lockstep.learner import Weights
from cosim.lockstep.registry import AGENTS
from cosim.lockstep.wire import Array, Closed
from cosim.registry import load_plugins, plugins
from cosim.scenario import scenario_from_resolved
from cosim.tasks import tasks

Frame = tuple[dict[str, Any], dict[str, Array]]

_PLAIN = ("task", "agent", "config", "seed", "steps", "window", "windows")


def opening(job: Job) -> dict[str, Any]:
    """Return the request that makes a worker for *job*, all of it plain JSON values.

    ScenarioError if the agent or a task is defined in the main script, which another process cannot import.
    """
    return {
        "type": "open",
        "job": {name: getattr(job, name) for name in _PLAIN},
        "collect": job.collect.resolved(),
        "evaluate": job.evaluate.resolved(),
        "path": [p for p in sys.path if isinstance(p, str)],
        "plugins": list(plugins()),
        "modules": _modules(job),
    }


def _modules(job: Job) -> list[str]:
    """Return the modules that define agent and tasks: importing them registers what a decorator registers."""
    found = {getattr(AGENTS.get(job.agent), "__module__", ""): f"agent '{job.agent}'"}
    found |= {tasks.get(name).__module__: f"task '{name}'" for name in job.collect.tasks}
    if "__main__" in found:
        raise ScenarioError(
            f"{found['__main__']} is defined in the main script, where a worker process cannot find it: "
            "put it into a module"
        )
    return sorted(name for name in found if name)


def raise_error(header: Mapping[str, Any]) -> NoReturn:
    """Raise what an ``error`` frame says: the same CosimError, or a RuntimeError with the worker's traceback."""
    kind = getattr(errors, str(header.get("error")), None)
    text = str(header.get("text"))
    if isinstance(kind, type) and issubclass(kind, CosimError):
        raise ScenarioError(text, key=header.get("key")) if kind is ScenarioError else kind(text)
    raise RuntimeError(f"in a worker of the training:\n{text}")


class Desk:
    """Answers requests with a collector, wherever the worker runs."""

    def __init__(self) -> None:
        self._collector: Collector | None = None

    def reply(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> Frame:
        """Do what a request asks; a failure becomes a frame that says so."""
        try:
            return self._reply(header, {name: np.asarray(array) for name, array in arrays.items()})
        except CosimError as error:
            key = getattr(error, "key", None)
            return {"type": "error", "error": type(error).__name__, "text": str(error), "key": key}, {}
        except Exception:
            return {"type": "error", "error": "", "text": traceback.format_exc()}, {}

    def _reply(self, header: Mapping[str, Any], weights: Weights) -> Frame:
        kind = header["type"]
        if kind == "open":
            self._collector = _opened(header)
            one_torch_thread()
            return {"type": "ready"}, {}
        collector = self._collector
        assert collector is not None, "the first request opens"
        if kind == "begin":
            collector.begin(header["leg"])
            return {"type": "begun"}, {}
        if kind == "collect":
            haul = collector.collect(weights, header["windows"])
            headers, arrays = pack_windows(haul.windows)
            return {"type": "haul", "windows": headers, "counts": haul.counts}, arrays
        assert kind == "evaluate", kind
        return {"type": "evaluated", "results": collector.evaluate(weights, header["seeds"])}, {}

    def close(self) -> None:
        """End SUMO; never raises."""
        if self._collector is not None:
            self._collector.close()


def _opened(header: Mapping[str, Any]) -> Collector:
    sys.path.extend(p for p in header["path"] if p not in sys.path)
    load_plugins(header["plugins"])
    for module in header["modules"]:
        importlib.import_module(module)
    collect, evaluate = (
        scenario_from_resolved(header[key], f"{key}: {header[key].get('name')}")
        for key in ("collect", "evaluate")
    )
    return Collector(Job(collect=collect, evaluate=evaluate, **header["job"]), header["worker"])


def main() -> None:
    """Connect to the training that started this process and serve it until it closes or is gone."""
    channel = connect()
    channel.bound(None)
    desk = Desk()
    try:
        while True:
            header, arrays = channel.receive()
            if header["type"] == "close":
                return
            channel.send(*desk.reply(header, arrays))
    except Closed:
        pass
    finally:
        desk.close()
        channel.close()


if __name__ == "__main__":
    main()
