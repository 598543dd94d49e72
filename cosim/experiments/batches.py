"""Batches: many runs in a folder of their own, on a pool of processes or a Ray cluster, resumable.

:func:`batch` is ``cosim batch``.  A finished run is a line of ``rows.jsonl`` before anything else is written of it;
the tables are made from those lines, so a kill at any moment loses the runs under way and nothing more.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from cosim.errors import RecordingError, ScenarioError
from cosim.experiments.batch_worker import RUNS, unpack
from cosim.experiments.grid import GRID_JSON, Cell, Grid, changed_files, grid_from_data
from cosim.experiments.grid_file import Overrides, Record, read_grid
from cosim.experiments.pool import Outcome, Pool, ProcessWorker, Worker
from cosim.experiments.ray_cluster import ray_cluster
from cosim.experiments.results import (
    Row,
    journal_line,
    read_journal,
    results_frame,
    summary_frame,
    write_tables,
)
from cosim.recording import describe_environment
from cosim.recording.files import TMP, lock, read_json, to_json, write_atomically
from cosim.recording.manifest import utc_now
from cosim.registry import load_plugins
from cosim.runner import terminable
from cosim.scenario import Scenario

if TYPE_CHECKING:
    import polars as pl

ROWS = "rows.jsonl"
LOG = "workers.log"

_TABLES_SHARE = 0.02
"""Most of the wall time that rewriting the tables may take while runs go on."""

_log = logging.getLogger("cosim.batch")

Engine = Literal["process", "ray"]


@dataclass(frozen=True)
class Progress:
    """How far a batch is: runs in the grid, finished (failed among them), and shares of those under way."""

    runs: int
    finished: int
    failed: int
    under_way: float


@dataclass(frozen=True)
class BatchOptions:
    """How to run a batch, beside what to run."""

    jobs: int | None = None
    """Runs at a time; None: one a processor."""
    engine: Engine = "process"
    ray_address: str | None = None
    """``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None starts a local cluster."""
    out: str | Path | None = None
    """The batch's folder, new or empty; default ``batches/NAME-UTC``."""
    resume: bool = False
    """Go on in ``out`` with what is missing there."""
    retry: bool = False
    """When resuming, run what failed again, too."""
    plugins: Sequence[str] = ()
    progress: Callable[[Progress], None] | None = None
    command: Sequence[str] = ()
    """The command line, for the manifests."""


@dataclass(frozen=True)
class BatchResult:
    """A batch as it ended: ``completed``, though runs of it may have failed, or ``interrupted``."""

    dir: Path
    status: Literal["completed", "interrupted"]
    grid: Grid
    results: pl.DataFrame
    """A row a finished run (docs/experiments.md)."""
    summary: pl.DataFrame
    """Means and 95 % CIs of each group's metrics."""

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return int((self.results["status"] == "failed").sum())

    @property
    def missing(self) -> int:
        """How many runs of the grid have not finished."""
        return len(self.grid.cells) - len(self.results)


def batch(
    what: str | Path | Scenario | Grid | Sequence[str | Path | Scenario] = (),
    options: BatchOptions | None = None,
    *,
    seeds: str | int | Sequence[int | str] | None = None,
    overrides: Overrides = (),
    agents: Sequence[str] = (),
    record: Record | None = None,
) -> BatchResult:
    """Run all that *what* spans with seeds, overrides and agents (see :func:`~cosim.experiments.read_grid`).

    Everything is checked before the first run.  A run that fails, or takes its process down, is a row with its
    error; the others go on.  With ``options.resume`` and nothing else given, the grid is the one that the batch
    began with.  Ctrl-C ends runs under way and gives what is there.

    Raises:
        ScenarioError: the grid cannot be run as written; nothing was run.
        RecordingError: the folder cannot be used.
    """
    options = options or BatchOptions()
    if options.jobs is not None and options.jobs < 1:
        raise ScenarioError(f"--jobs {options.jobs}: must be at least 1")
    if options.engine not in ("process", "ray"):
        raise ScenarioError(f"--engine {options.engine}: must be process or ray")
    load_plugins(options.plugins)
    given: Grid | None = None
    if isinstance(what, Grid):
        given = what
    elif isinstance(what, str | Path | Scenario) or what:
        given = read_grid(what, seeds=seeds, overrides=overrides, agents=agents, record=record)
    elif not options.resume:
        raise ScenarioError("give at least one scenario or grid file")
    elif seeds is not None or overrides or agents or record:
        raise ScenarioError("to change a grid that is resumed, name its scenarios or grid file, too")
    with ExitStack() as closing:
        state = _State.resumed(given, options) if options.resume else _State.new(given, options)
        closing.callback(state.close)
        status = state.work(options)
        return state.result(status)


class _State:
    """The folder of a batch while its runs go on."""

    def __init__(
        self, folder: Path, grid: Grid, about: dict[str, Any], journal: IO[str], rows: dict[str, Row]
    ) -> None:
        self.folder, self.grid, self.about = folder, grid, about
        self.rows = rows
        self._journal = journal
        self._cells = {cell.name: cell for cell in grid.cells}
        self._written = -1
        self._cost_s = 0.0
        self._written_at = time.monotonic()

    @classmethod
    def new(cls, grid: Grid | None, options: BatchOptions) -> _State:
        assert grid is not None
        assert grid.cells
        folder = _claim(options.out, grid.name)
        journal = _journal(folder)
        about = {
            "format": 1,
            "id": secrets.token_hex(8),
            "created": utc_now(),
            **grid.to_data(),
            "environment": {**describe_environment(), "command": list(options.command)},
        }
        _write_about(folder, about)
        return cls(folder, grid, about, journal, {})

    @classmethod
    def resumed(cls, given: Grid | None, options: BatchOptions) -> _State:
        if options.out is None:
            raise ScenarioError("--resume: say which batch with --out DIR")
        folder = Path(options.out).expanduser().absolute()
        if given is not None and not (folder / GRID_JSON).is_file() and not _holds_anything(folder):
            return cls.new(given, options)
        if not (folder / GRID_JSON).is_file():
            raise RecordingError(f"{options.out}: not a batch: {GRID_JSON} is missing")
        about = read_json(folder / GRID_JSON)
        journal = _journal(folder)
        try:
            began = grid_from_data(about, str(folder / GRID_JSON))
            load_plugins(began.plugins)
            rows = read_journal(folder / ROWS)
            grid = began if given is None else _extended(given, rows, folder)
            changed = changed_files(grid)
            if changed:
                raise ScenarioError(f"{changed[0]}: was changed since {folder} began; start a new batch")
            if options.retry:
                rows = {name: row for name, row in rows.items() if row["status"] != "failed"}
            if any(cell.name not in rows for cell in grid.cells):
                _note_versions(folder, about, options)
            about.update(grid.to_data())
            _write_about(folder, about)
            lines = "".join(journal_line(row) for row in rows.values())
            # Half a line at the end would spoil the next one.
            journal.truncate(0)
            journal.write(lines)
            journal.flush()
        except BaseException:
            journal.close()
            raise
        return cls(folder, grid, about, journal, dict(rows))

    def close(self) -> None:
        self._journal.close()

    def work(self, options: BatchOptions) -> Literal["completed", "interrupted"]:
        """Run what is missing; tables are written whatever happens."""
        missing = [cell for cell in self.grid.cells if cell.name not in self.rows]
        try:
            if not missing:
                return "completed"
            (self.folder / RUNS).mkdir(exist_ok=True)
            requests = [self._request(cell, options) for cell in missing]
            self._tell(options, 0.0)
            with _workers(self.folder, self.grid, options, len(missing)) as (start, jobs), terminable():
                pool = Pool(start, jobs)
                finished = pool.run(
                    requests, partial(self._took, options), lambda shares: self._tell(options, shares)
                )
            return "completed" if finished else "interrupted"
        except KeyboardInterrupt:
            return "interrupted"
        finally:
            self._write_tables()

    def result(self, status: Literal["completed", "interrupted"]) -> BatchResult:
        results = results_frame(self.grid, self.rows)
        return BatchResult(
            self.folder, status, self.grid, results, summary_frame(results, self.grid.parameters)
        )

    def _request(self, cell: Cell, options: BatchOptions) -> dict[str, Any]:
        return {
            "run": cell.name,
            "batch": str(self.folder),
            "id": self.about["id"],
            "scenario": cell.group.scenario.resolved(),
            "origin": f"scenario '{cell.group.scenario.name}'",
            "seed": cell.seed,
            "agents": list(cell.group.agents),
            "command": list(options.command),
        }

    def _took(self, options: BatchOptions, name: str, outcome: Outcome) -> None:
        found, arrays = outcome
        if "files" in arrays:
            unpack(arrays["files"], self.folder / RUNS)  # type: ignore[arg-type]
        keys = ("status", "error", "metrics", "wall_s")
        row = {"run": name, **{key: found[key] for key in keys}}
        self._journal.write(journal_line(row))
        self._journal.flush()
        self.rows[name] = row
        if row["error"]:
            _log.info("%s: %s", name, row["error"])
        if (time.monotonic() - self._written_at) * _TABLES_SHARE > self._cost_s:
            self._write_tables()

    def _write_tables(self) -> None:
        if self._written == len(self.rows):
            return
        began = time.monotonic()
        results = results_frame(self.grid, self.rows)
        write_tables(self.folder, results, summary_frame(results, self.grid.parameters))
        self._written, self._written_at = len(self.rows), time.monotonic()
        self._cost_s = self._written_at - began

    def _tell(self, options: BatchOptions, shares: float) -> None:
        if options.progress is not None:
            failed = sum(row["status"] == "failed" for row in self.rows.values())
            options.progress(Progress(len(self._cells), len(self.rows), failed, shares))


@contextmanager
def _workers(
    folder: Path, grid: Grid, options: BatchOptions, runs: int
) -> Iterator[tuple[Callable[[], Worker], int]]:
    """Give what starts a worker, and how many there may be."""
    setup = {
        "folder": grid.folder,
        "path": [p for p in sys.path if isinstance(p, str) and p],
        "plugins": list(grid.plugins),
    }
    log = folder / LOG
    if options.engine == "process":
        yield (lambda: ProcessWorker(setup, log)), options.jobs or _processors()
        return
    from cosim.experiments.ray_pool import RayWorker

    jobs = options.jobs or (None if options.ray_address else _processors())
    with ray_cluster(options.ray_address, jobs) as ray:
        there = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield (lambda: RayWorker(ray, setup, log)), min(jobs or there, there)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _claim(out: str | Path | None, name: str) -> Path:
    """Make the batch's folder, or take an empty one."""
    try:
        if out is not None:
            folder = Path(out).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            if _holds_anything(folder):
                hint = "; go on with it: --resume" if (folder / GRID_JSON).is_file() else ""
                raise RecordingError(f"{out}: not empty{hint or '; give a new or empty folder to --out'}")
            return folder
        stem = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "batch"
        base = Path("batches").absolute() / f"{stem}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"
        base.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = base if attempt == 1 else base.with_name(f"{base.name}-{attempt}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
        raise RecordingError(f"{base}: taken a thousand times")
    except OSError as error:
        raise RecordingError(f"{error.filename or out}: cannot be made: {error.strerror or error}") from error


def _holds_anything(folder: Path) -> bool:
    """Whether there is more than what a batch that was killed at once leaves."""
    if not folder.is_dir():
        return False
    return any(p.name != ROWS or p.stat().st_size for p in folder.iterdir() if not p.name.endswith(TMP))


def _journal(folder: Path) -> IO[str]:
    """Open the journal, which also guards the folder against a second batch."""
    try:
        journal = open(folder / ROWS, "a", encoding="utf-8")  # noqa: SIM115 - open for the batch's life
    except OSError as error:
        raise RecordingError(f"{folder / ROWS}: cannot be written: {error.strerror or error}") from error
    if not lock(journal):
        journal.close()
        raise RecordingError(f"{folder}: another process is running this batch")
    return journal


def _write_about(folder: Path, about: Mapping[str, Any]) -> None:
    write_atomically(folder / GRID_JSON, to_json(about, sort=False, not_finite="text"), sync=True)


def _extended(given: Grid, rows: Mapping[str, Row], folder: Path) -> Grid:
    """Return the grid *given*, which must hold all runs that have finished."""
    known = {cell.name for cell in given.cells}
    lost = next((name for name in rows if name not in known), None)
    if lost is not None:
        raise ScenarioError(
            f"{folder} is another batch: its run {lost} is not in this grid (were scenario, net, weights or cosim"
            " changed since?); give another --out"
        )
    return given


def _note_versions(folder: Path, about: dict[str, Any], options: BatchOptions) -> None:
    """Write down that the batch goes on, and warn if with other versions than it began with."""
    now = {**describe_environment(), "command": list(options.command)}
    before = about["environment"]
    pairs = [(k, before["packages"].get(k), v) for k, v in now["packages"].items()]
    changes = [f"{k} {old} is now {new}" for k, old, new in pairs if old != new]
    commits = [e.get("git", {}).get("cosim", {}).get("commit", "")[:8] for e in (before, now)]
    if commits[0] != commits[1]:
        changes.append(f"cosim's commit {commits[0]} is now {commits[1]}")
    if changes:
        _log.warning("%s began with other versions: %s", folder, "; ".join(changes))
    about.setdefault("resumed", []).append({"at": utc_now(), **now})
