"""Recording: the run directory, written as a run goes and read back afterwards.

`writer` makes a run directory and cuts its tables into parts, `table` buffers the rows of one table,
`tables` holds the schemas of the standard tables, `manifest` says what a run was made with, `log` writes the
human log, `files` has the atomic writes, `reader` gives a run back as polars frames and its actions for
replay, `compare` hashes a run and finds the first row in which two differ.  The format itself is described in
``docs/run_directory.md``.  Polars is imported when a run is written or read, not with this package.
"""

from __future__ import annotations

from cosim.recording.compare import compare_runs, digest
from cosim.recording.manifest import describe_environment, hash_files, sha256_file
from cosim.recording.reader import RecordedActions, Run, load_run, read_actions
from cosim.recording.table import Coded, Table
from cosim.recording.tables import STANDARD
from cosim.recording.writer import RunWriter

__all__ = [
    "STANDARD",
    "Coded",
    "RecordedActions",
    "Run",
    "RunWriter",
    "Table",
    "compare_runs",
    "describe_environment",
    "digest",
    "hash_files",
    "load_run",
    "read_actions",
    "sha256_file",
]
