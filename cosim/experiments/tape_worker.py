"""What one worker of a recording of tapes does: tape after tape in the same process.

``python -m cosim.experiments.tape_worker`` serves requests over the socket that
:class:`~cosim.lockstep.launch.AgentProcess` opened for it, one tape at a time, and ends when whoever started it is
gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosim.errors import CosimError
from cosim.experiments.batch_worker import Answer, prepare, serve
from cosim.experiments.tapes import Tapes, tapes_of, write_tape
from cosim.scenario import scenario_from_resolved


def main() -> None:
    """Serve the recording that started this process until it closes or is gone."""
    serve(_begin)


def _begin(setup: Mapping[str, Any]) -> Answer:
    prepare(setup)
    tapes = tapes_of(scenario_from_resolved(setup["scenario"], setup["origin"]))
    return lambda request, _: (_tape(tapes, int(request["run"]), Path(setup["out"])), None)


def _tape(tapes: Tapes, seed: int, folder: Path) -> dict[str, Any]:
    try:
        lost, wall_s = write_tape(tapes, seed, folder)
    except CosimError as error:
        return {"status": "failed", "error": str(error), "exit_code": error.exit_code}
    return {"status": "completed", "lost": lost, "wall_s": wall_s}


if __name__ == "__main__":
    main()
