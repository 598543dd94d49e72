"""What one worker of a recording of tapes does: tape after tape in the same process.

``python -m cosim.experiments.tape_worker`` serves requests over the socket that
:class:`~cosim.lockstep.launch.AgentProcess` opened for it, one tape at a time, and ends when whoever started it is
gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cosim.errors import CosimError
from cosim.experiments.batch_worker import prepare
from cosim.experiments.tapes import Tapes, tapes_of, write_tape
from cosim.lockstep.client import connect
from cosim.lockstep.wire import Closed
from cosim.scenario import scenario_from_resolved


def main() -> None:
    """Serve the recording that started this process until it closes or is gone."""
    channel = connect()
    channel.bound(None)
    try:
        setup, _ = channel.receive()
        try:
            prepare(setup)
            tapes = tapes_of(scenario_from_resolved(setup["scenario"], setup["origin"]))
        except CosimError as error:
            channel.send({"type": "error", "text": str(error)})
            return
        channel.send({"type": "ready"})
        while True:
            header, _ = channel.receive()
            if header["type"] == "close":
                return
            channel.send({"type": "done", **_tape(tapes, int(header["run"]), Path(setup["out"]))})
    except Closed:
        pass
    finally:
        channel.close()


def _tape(tapes: Tapes, seed: int, folder: Path) -> dict[str, Any]:
    try:
        lost, wall_s = write_tape(tapes, seed, folder)
    except CosimError as error:
        return {"status": "failed", "error": str(error), "exit_code": error.exit_code}
    return {"status": "completed", "lost": lost, "wall_s": wall_s}


if __name__ == "__main__":
    main()
