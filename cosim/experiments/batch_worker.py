"""What one worker of a batch does: run after run in the same process, each into a directory of its own.

``python -m cosim.experiments.batch_worker`` serves requests over the socket that
:class:`~cosim.lockstep.launch.AgentProcess` opened for it, one run at a time, agents inline.  It ends when whoever
started it is gone; told to stop (SIGTERM) it ends its run tidily, as interrupted.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import tarfile
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import CosimError, RecordingError
from cosim.experiments.grid import GRID_JSON
from cosim.lockstep.client import connect
from cosim.lockstep.inline import described
from cosim.lockstep.wire import Closed
from cosim.recording.files import is_locked, read_json
from cosim.registry import load_plugins
from cosim.runner import RunOptions, RunResult, run
from cosim.scenario import scenario_from_resolved

RUNS = "runs"

_TELL_S = 0.5
"""Least wall time between two reports of progress."""
_OTHERS_END_S = 10.0
"""How long a worker of a killed batch may take to be gone."""


Telling = Callable[[float], None]
"""Is given the share of a request that is done, now and then."""
Answer = Callable[[Mapping[str, Any], Telling], tuple[dict[str, Any], NDArray[np.uint8] | None]]
"""Does what a request says; gives what came of it, and files if they are to be sent."""


def main() -> None:
    """Serve the batch that started this process until it closes or is gone."""
    serve(_begin)


def serve(begin: Callable[[Mapping[str, Any]], Answer]) -> None:
    """Answer requests until whoever started this process closes or is gone; *begin* is told what holds for all."""
    channel = connect()
    channel.bound(None)
    try:
        setup, _ = channel.receive()
        try:
            answer = begin(setup)
        except CosimError as error:
            channel.send({"type": "error", "text": str(error)})
            return
        channel.send({"type": "ready"})
        while True:
            request, _ = channel.receive()
            if request["type"] == "close":
                return
            outcome, files = answer(request, lambda share: channel.send({"type": "share", "share": share}))
            channel.send({"type": "done", **outcome}, {} if files is None else {"files": files})
    except Closed:
        pass
    finally:
        channel.close()


def _begin(setup: Mapping[str, Any]) -> Answer:
    prepare(setup)
    return perform


def prepare(setup: Mapping[str, Any]) -> None:
    """Make this process like the one that started the batch: working folder, module path, plugins."""
    if Path(setup["folder"]).is_dir():
        os.chdir(setup["folder"])
    sys.path.extend(p for p in setup["path"] if p not in sys.path)
    load_plugins(setup["plugins"])


def perform(request: Mapping[str, Any], tell: Telling) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """Run what *request* says and return what came of it: status, metrics, error, wall time (s).

    The second value is the run directory as a tar archive, if the batch's own folder is not on this machine.
    ``tell`` is given the share that is done, now and then.
    """
    began = time.monotonic()
    with _stop_noted() as stopped, _run_folder(request) as (folder, here):
        outcome = _outcome(request, folder, tell, stopped)
        error = outcome["error"]
        if error is not None:
            # The same words wherever the batch lies.
            text = str(error).replace(f"{folder.parent.parent}{os.sep}", "")
            outcome["error"] = " ".join(text.split())
        files = None if here else _packed(folder)
    return {**outcome, "wall_s": round(time.monotonic() - began, 3)}, files


@contextmanager
def _stop_noted() -> Iterator[threading.Event]:
    """Give what is set once SIGTERM came while no simulation ran: a run that is complete must still be told of."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.signal(signal.SIGTERM, lambda *_: noted.set())
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, before)


def _outcome(
    request: Mapping[str, Any], folder: Path, tell: Telling, stopped: threading.Event
) -> dict[str, Any]:
    told = time.monotonic()

    def progress(t_us: int, end_us: int) -> None:
        nonlocal told
        if stopped.is_set():
            raise KeyboardInterrupt
        if (now := time.monotonic()) - told >= _TELL_S:
            told = now
            tell(t_us / end_us)

    options = RunOptions(
        agents=request["agents"],
        inline=True,
        out=folder,
        progress=progress,
        command=request["command"],
    )
    nothing = {"metrics": {}, "status": "failed"}
    try:
        _make_room(folder)
        scenario = scenario_from_resolved(request["scenario"], request["origin"])
        result = run(scenario, options, seed=request["seed"])
    except CosimError as error:
        return {**nothing, "error": str(error)}
    except KeyboardInterrupt:
        return {**nothing, "status": "interrupted", "error": None}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return {**nothing, "error": described(error)}
    if result.status != "completed":
        error_text = None if result.error is None else str(result.error)
        return {**nothing, "status": result.status, "error": error_text}
    return {"status": "completed", "metrics": _measured(result), "error": None}


def _measured(result: RunResult) -> dict[str, float | None]:
    """Return metrics, and each task's own numbers as ``task.name``, as the run's summary holds them."""
    summary = read_json(result.dir / "summary.json")
    found = {name: summary["metrics"][name] for name in result.metrics}
    for task, values in result.tasks.items():
        written = summary["tasks"][task]
        found |= {f"{task}.{name}": written[name] for name in values if _is_number(written[name])}
    return found


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


@contextmanager
def _run_folder(request: Mapping[str, Any]) -> Iterator[tuple[Path, bool]]:
    """Give the run's directory, and whether it lies in the batch's own folder.

    On another machine of a cluster, without a shared disk, it lies in a temporary folder.
    """
    batch = Path(request["batch"])
    grid = batch / GRID_JSON
    if grid.is_file() and read_json(grid).get("id") == request["id"]:
        yield batch / RUNS / request["run"], True
        return
    with tempfile.TemporaryDirectory(prefix="cosim-batch-") as aside:
        yield Path(aside) / RUNS / request["run"], False


def _make_room(folder: Path) -> None:
    """Remove what an interrupted or killed batch left of this run; nobody else writes below its folder."""
    ends = time.monotonic() + _OTHERS_END_S
    while is_locked(folder / "log.txt"):
        if time.monotonic() > ends:
            raise RecordingError(f"{folder}: another process is writing this run")
        time.sleep(0.1)
    if folder.exists():
        shutil.rmtree(folder)


def _packed(folder: Path) -> NDArray[np.uint8] | None:
    if not folder.is_dir():
        return None
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname=folder.name)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def unpack(files: NDArray[np.uint8], runs: Path) -> None:
    """Write a packed run directory below *runs*; RecordingError if that cannot be."""
    try:
        with tarfile.open(fileobj=io.BytesIO(files.tobytes())) as archive:
            archive.extractall(runs, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise RecordingError(f"{runs}: cannot be written: {error}") from error


if __name__ == "__main__":
    main()
