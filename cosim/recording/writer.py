"""Writing a run directory as the run goes.

The engine makes one `RunWriter` a run, appends to its tables, calls `tick` at the end of each step and
`finish` at the end.  Rows wait in buffers and are cut into Parquet parts every 10 simulated seconds; a part
is written aside and renamed, so that a kill loses at most one part of each table.  ``progress.json`` says up
to which instant all tables are complete, which is where a resumed run goes on.
"""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from cosim.clock import US, to_s
from cosim.errors import RecordingError
from cosim.recording.files import TMP, is_locked, lock, read_json, to_json, write_atomically
from cosim.recording.log import RunLog
from cosim.recording.manifest import describe_environment, utc_now
from cosim.recording.reader import part_index, parts_of, read_frame, table_folders
from cosim.recording.table import Table
from cosim.recording.tables import STANDARD, Schema, checked_schema

CUT_US = 10 * US
"""Simulated time between two cuts."""

_ROW_GROUP = 1 << 20

Status = Literal["completed", "interrupted", "failed"]

_log = logging.getLogger(__name__)


class RunWriter:
    """An open run directory.  Made by `create` or `resume`; one living writer a directory.

    ``dir`` is the directory, ``manifest`` what its manifest holds, ``t_us`` the instant of the last tick and
    ``resumed_us`` the instant up to which a resumed run was complete already (0 for a new one).
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], log: IO[str], resumed_us: int = 0) -> None:
        # Polars is needed at the first cut; to import it there would stall a running simulation.
        import polars  # noqa: F401

        self.dir = folder
        self.manifest = manifest
        self.t_us = 0
        self.resumed_us = resumed_us
        self._tables: dict[str, Table] = {}
        self._next_us = CUT_US
        self._began = time.monotonic()
        self._finished = False
        self._log_file = log
        self._handler = RunLog(log, lambda: self.t_us)

    @classmethod
    def create(
        cls, out: str | Path | None = None, *, name: str, seed: int, manifest: Mapping[str, Any]
    ) -> RunWriter:
        """Make a run directory, write its manifest and return its writer.

        Without *out* it is ``runs/NAME/sSEED-UTC`` under the working folder, with a number added if that is
        taken.  *manifest* holds at least the resolved ``scenario`` and the ``hashes`` of net, weights and
        data; name, seed, time and `describe_environment` are added.

        Raises RecordingError if *out* is not empty, or cannot be made.
        """
        if out is None:
            folder, log = _claim_new(name, seed)
        else:
            folder, log = _claim(Path(out).expanduser())
        whole = {"name": name, "seed": seed, "created": utc_now(), **describe_environment(), **manifest}
        writer = cls(folder, whole, log)
        writer._write_manifest()
        return writer

    @classmethod
    def resume(cls, folder: str | Path) -> RunWriter:
        """Reopen a run that was killed, interrupted or failed, at its last complete cut.

        Later parts and the summary are removed.  The caller runs the simulation again from its start with
        the recorded actions (`read_actions`) and appends as usual: rows up to ``resumed_us`` are compared
        with the recorded ones instead of written, and new parts follow from there.

        Raises RecordingError if the directory is no run, is complete, or is being written.
        """
        folder = Path(folder).expanduser()
        manifest = _resumable(folder)
        log = open(folder / "log.txt", "a", encoding="utf-8")  # noqa: SIM115 - open for the writer's life
        if not lock(log):
            log.close()
            raise RecordingError(f"{folder}: another process is writing this run")
        progress = folder / "progress.json"
        done = read_json(progress) if progress.is_file() else {"cut": -1, "t_us": 0}
        for table in table_folders(folder):
            for part in parts_of(folder / table):
                if part_index(part) > done["cut"]:
                    part.unlink()
            for half in (folder / table).glob("*" + TMP):
                half.unlink()
        (folder / "summary.json").unlink(missing_ok=True)
        writer = cls(folder, manifest, log, resumed_us=int(done["t_us"]))
        entry = {"at": utc_now(), "t_us": writer.resumed_us, **describe_environment()}
        manifest.setdefault("resumed", []).append(entry)
        writer._write_manifest()
        _log.info("resumed at %g s", to_s(writer.resumed_us))
        return writer

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def table(self, name: str, schema: Schema | None = None) -> Table:
        """Return the table *name*, made on first use; *schema* defaults to the standard one of that name.

        Asking again with more columns widens the table, as long as it has no rows.  ValueError if the name or
        a type cannot be used, or a column's type differs from before.
        """
        if schema is None:
            if name in self._tables:
                return self._tables[name]
            if name not in STANDARD:
                raise ValueError(f"table {name!r} is not a standard one and needs a schema")
            schema = STANDARD[name]
        checked = checked_schema(name, schema)
        if name in self._tables:
            self._tables[name].widen(checked)
        else:
            self._tables[name] = Table(name, checked)
        return self._tables[name]

    def tick(self, t_us: int) -> None:
        """Say that all of the step that ended at *t_us* is appended; cuts the parts when one is due.

        Part K holds the instants in (10 K s, 10 (K + 1) s], part 0 also the instant 0; a step that reaches
        over the end of a part belongs to it whole.  Raises RecordingError if the disk refuses, or a resumed
        run differs from what is recorded.
        """
        self.t_us = t_us
        if t_us >= self._next_us:
            self._cut(t_us)

    def _cut(self, t_us: int) -> None:
        index = self._next_us // CUT_US - 1
        if t_us <= self.resumed_us:
            self._compare(index)
        else:
            self._write_parts(index)
            self._write_progress(index, t_us)
        self._next_us = (t_us // CUT_US + 1) * CUT_US

    def finish(
        self,
        status: Status,
        metrics: Mapping[str, Any],
        tasks: Mapping[str, Any],
        error: str | None = None,
    ) -> None:
        """Write the last parts and ``summary.json``, and close the directory; later calls do nothing.

        *metrics* and *tasks* hold numbers, text, lists and mappings; NaN and infinity become null.  Wall
        times do not belong in them: equal runs have equal summaries.
        """
        if self._finished:
            return
        self._finished = True
        try:
            if self.t_us >= self.resumed_us:
                self._write_parts(self._next_us // CUT_US - 1)
            summary = {"status": status, "metrics": metrics, "tasks": tasks, "error": error}
            self.manifest.update(finished=utc_now(), wall_s=round(time.monotonic() - self._began, 3))
            self._write_manifest()
            write_atomically(self.dir / "summary.json", to_json(summary, sort=True), sync=True)
        finally:
            self.close()

    def close(self) -> None:
        """Stop logging and let go of the directory, without a summary if `finish` was not called."""
        self._handler.close()
        self._log_file.close()

    def _write_manifest(self) -> None:
        data = to_json(self.manifest, sort=False, not_finite="text")
        write_atomically(self.dir / "manifest.json", data, sync=True)

    def _write_progress(self, index: int, t_us: int) -> None:
        schemas = {name: table.schema for name, table in self._tables.items()}
        data = to_json({"cut": index, "t_us": t_us, "tables": schemas}, sort=False)
        write_atomically(self.dir / "progress.json", data, sync=False)

    def _write_parts(self, index: int) -> None:
        for name, table in self._tables.items():
            if table.rows:
                # A cut that was interrupted half-way must not overwrite its parts when it is done again.
                index_here = max(index, table.parts)
                self._write_part(name, index_here, _parquet(table))
                table.parts = index_here + 1
                table.clear()

    def _write_part(self, name: str, index: int, data: memoryview) -> None:
        folder = self.dir / name
        if not folder.is_dir():
            try:
                folder.mkdir()
            except OSError as error:
                raise RecordingError(f"{folder}: cannot be made: {error.strerror or error}") from error
        write_atomically(folder / f"part-{index:06d}.parquet", data, sync=False)

    def _compare(self, index: int) -> None:
        """Check that what a resumed run repeats is what was recorded, and forget it."""
        for name in sorted({*self._tables, *table_folders(self.dir)}):
            part = self.dir / name / f"part-{index:06d}.parquet"
            table = self._tables.get(name)
            rows = table.frame() if table else None
            if part.is_file():
                same = rows is not None and read_frame([part], {}).equals(rows)
            else:
                same = rows is None or rows.is_empty()
            if not same:
                raise RecordingError(
                    f"{part}: the resumed run does not repeat what is recorded here (was cosim, SUMO or an"
                    f" agent changed since?); start a new run"
                )
            if table:
                table.parts = index + 1
                table.clear()


def _parquet(table: Table) -> memoryview:
    """Return the buffered rows as Parquet bytes: equal rows give equal bytes (no wall times in them)."""
    buffer = io.BytesIO()
    frame = table.frame()
    frame.write_parquet(buffer, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP)
    return buffer.getbuffer()


def _claim_new(name: str, seed: int) -> tuple[Path, IO[str]]:
    parent = Path("runs") / (re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    base = f"s{seed}-{stamp}"
    attempt = 1
    while True:
        folder = parent / (base if attempt == 1 else f"{base}-{attempt}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(exist_ok=False)  # whoever makes it owns it
        except FileExistsError:
            if not parent.is_dir():
                raise RecordingError(
                    f"{parent}: is a file; runs are written below a folder of that name"
                ) from None
            attempt += 1
        except OSError as error:
            raise RecordingError(f"{folder}: cannot be made: {error.strerror or error}") from error
        else:
            return _claim(folder)


def _claim(folder: Path) -> tuple[Path, IO[str]]:
    """Take an empty or new folder; the one who makes its log owns it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path.name for path in folder.iterdir())
        if there:
            raise RecordingError(
                f"{folder}: not empty (it holds {there[0]}); give a new or empty folder to --out"
            )
        log = open(folder / "log.txt", "x", encoding="utf-8")  # noqa: SIM115 - open for the writer's life
    except FileExistsError:
        what = "another run has just begun here" if folder.is_dir() else "is a file"
        raise RecordingError(f"{folder}: {what}; give a new or empty folder to --out") from None
    except OSError as error:
        raise RecordingError(f"{folder}: cannot be made: {error.strerror or error}") from error
    lock(log)
    return folder.absolute(), log


def _resumable(folder: Path) -> dict[str, Any]:
    if not (folder / "manifest.json").is_file():
        raise RecordingError(f"{folder}: not a run directory: manifest.json is missing")
    if is_locked(folder / "log.txt"):
        raise RecordingError(f"{folder}: another process is writing this run")
    summary = folder / "summary.json"
    if summary.is_file() and read_json(summary).get("status") == "completed":
        raise RecordingError(f"{folder}: the run is complete; there is nothing to resume")
    return read_json(folder / "manifest.json")
