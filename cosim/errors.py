"""The exceptions that cosim raises on purpose, with the exit code that the command line gives each.

Every one is written for the user: what is wrong, where, and what would be right, in one line.  Anything
else that escapes is a defect of cosim and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CosimError(Exception):
    """Base of all errors that are meant for the user; ``exit_code`` is what the process ends with."""

    exit_code = 2


class ScenarioError(CosimError):
    """A scenario, net, grid or command line that cannot be used as written (exit code 2).

    ``key`` is the dotted path of the offending entry where it is known (``network.radios.rsu.attach.poi``),
    so that whoever knows the file can add file and line.
    """

    def __init__(self, message: str = "", *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class RecordingError(CosimError):
    """A run directory that cannot be written or read (exit code 2)."""


class TrafficError(CosimError):
    """SUMO could not be started, or died during a run (exit code 3)."""

    exit_code = 3


class AgentError(CosimError):
    """An agent died, hung, or answered something that is not an answer (exit code 4)."""

    exit_code = 4


class Interrupted(CosimError):
    """The user ended the run by closing its window; like Ctrl-C, exit code 130."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to *name*, or an empty string."""
    match = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.55)
    return f" (did you mean '{match[0]}'?)" if match else ""
