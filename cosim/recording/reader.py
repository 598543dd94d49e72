"""Reading a run directory back: tables as polars frames, and the recorded actions in order for replay.

Works on finished, killed and still running runs: only whole parts are read, half-written ones are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import RecordingError, nearest
from cosim.recording.files import is_locked, read_json
from cosim.recording.tables import STANDARD, polars_schema

if TYPE_CHECKING:
    import polars as pl


def load_run(folder: str | Path) -> Run:
    """Open a run directory for reading.  RecordingError, naming what is missing, if it is not one."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise RecordingError(f"{folder}: no such folder; give the directory of a run")
    if not (folder / "manifest.json").is_file():
        raise RecordingError(f"{folder}: not a run directory: manifest.json is missing")
    return Run(folder)


class Run:
    """A run directory, read as far as it is asked for.  Made by `load_run`."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder
        self.manifest: dict[str, Any] = read_json(folder / "manifest.json")
        self.tables = Tables(folder)
        """All tables by name, also those that tasks and plugins added."""

    def __repr__(self) -> str:
        return f"<Run {self.dir} {self.status}>"

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The summary: status, metrics, tasks, error; of a run without one, its status only."""
        path = self.dir / "summary.json"
        if path.is_file():
            return read_json(path)
        status = "running" if is_locked(self.dir / "log.txt") else "killed"
        return {"status": status, "metrics": {}, "tasks": {}, "error": None}

    @property
    def status(self) -> str:
        """``completed``, ``interrupted``, ``failed``; ``running``, or ``killed`` before it could say."""
        return str(self.summary["status"])

    @property
    def metrics(self) -> dict[str, Any]:
        """The summary metrics, SI units; None for a metric over nothing."""
        return dict(self.summary["metrics"])

    @property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario."""
        return dict(self.manifest.get("scenario", {}))

    @property
    def steps(self) -> pl.DataFrame:
        """A row a recorded step."""
        return self.tables["steps"]

    @property
    def vehicles(self) -> pl.DataFrame:
        """A row a recorded instant and vehicle."""
        return self.tables["vehicles"]

    @property
    def links(self) -> pl.DataFrame:
        """A row a recorded instant, vehicle and station."""
        return self.tables["links"]

    @property
    def events(self) -> pl.DataFrame:
        """A row an event: departure, arrival, collision, handover, migration, contract ..."""
        return self.tables["events"]

    @property
    def commands(self) -> pl.DataFrame:
        """A row an order given to traffic or network."""
        return self.tables["commands"]

    @property
    def actions(self) -> pl.DataFrame:
        """A row an agent's answer for one vehicle or other decider."""
        return self.tables["actions"]


class Tables(Mapping[str, "pl.DataFrame"]):
    """The tables of a run by name; a frame is read when it is first asked for, and kept.

    The standard tables are always there, empty if nothing was recorded.
    """

    def __init__(self, folder: Path) -> None:
        self._dir = folder
        progress = folder / "progress.json"
        written = read_json(progress)["tables"] if progress.is_file() else {}
        self._schemas: dict[str, dict[str, str]] = {**STANDARD, **written}
        self._names = sorted({*self._schemas, *table_folders(folder)})
        self._frames: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._names:
            raise KeyError(f"{self._dir} has no table {name!r}{nearest(name, self._names)}")
        if name not in self._frames:
            self._frames[name] = read_frame(parts_of(self._dir / name), self._schemas.get(name, {}))
        return self._frames[name]

    def scan(self, name: str) -> pl.LazyFrame:
        """Return a table as a lazy frame, for one too large to hold whole.  KeyError if there is none."""
        import polars as pl

        parts = parts_of(self._dir / name)
        if not parts:
            return self[name].lazy()
        return pl.scan_parquet(parts, glob=False, hive_partitioning=False)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True, slots=True)
class RecordedActions:
    """What one agent answered at one instant for one role; n rows in the order of the answer."""

    t_us: int
    task: str
    role: str
    ids: tuple[str, ...]
    values: NDArray[np.float64]
    """(n, d); d = 1 for one discrete choice."""
    masked: NDArray[np.bool_]
    """(n,) whether the mask forbade the action."""


def read_actions(folder: str | Path, until_us: int | None = None) -> Iterator[RecordedActions]:
    """Iterate over the recorded actions in the order in which they were taken, up to *until_us* inclusive.

    Reads one part at a time.  An instant at which nobody was asked has no entry.  RecordingError if *folder*
    is not a run directory, or recorded no actions.
    """
    run = load_run(folder)
    parts = parts_of(run.dir / "actions")
    if not parts:
        raise RecordingError(f"{run.dir}: recorded no actions")
    return _actions(parts, until_us)


def _actions(parts: Sequence[Path], until_us: int | None) -> Iterator[RecordedActions]:
    for part in parts:
        frame = read_frame([part], STANDARD["actions"])
        t_us = frame["t_us"].to_numpy()
        changed = np.zeros(len(frame), np.bool_)
        changed[0] = True
        for column in ("t_us", "task", "role"):
            values = frame[column].rle_id().to_numpy()
            changed[1:] |= values[1:] != values[:-1]
        starts = np.flatnonzero(changed).tolist()
        ids, task, role = frame["id"].to_list(), frame["task"].to_list(), frame["role"].to_list()
        masked = frame["masked"].to_numpy()
        widths = frame["value"].list.len().to_numpy()
        flat = frame["value"].list.drop_nulls().explode().drop_nulls().to_numpy()
        offsets = np.concatenate([[0], np.cumsum(widths, dtype=np.int64)]).tolist()
        for start, stop in zip(starts, [*starts[1:], len(frame)], strict=True):
            if until_us is not None and t_us[start] > until_us:
                return
            values = flat[offsets[start] : offsets[stop]].reshape(stop - start, widths[start])
            yield RecordedActions(
                int(t_us[start]), task[start], role[start], tuple(ids[start:stop]), values, masked[start:stop]
            )


def table_folders(folder: Path) -> list[str]:
    """Return the names of the tables that have parts, sorted."""
    return sorted({path.parent.name for path in folder.glob("*/part-[0-9]*.parquet")})


def parts_of(table: Path) -> list[Path]:
    """Return the whole parts of a table in order."""
    return sorted(table.glob("part-[0-9]*.parquet"), key=part_index)


def part_index(part: Path) -> int:
    """Return the index in a part's name."""
    return int(part.stem.removeprefix("part-"))


def read_frame(parts: Sequence[Path], schema: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows of *parts*; without parts, an empty frame of *schema*."""
    import polars as pl

    if not parts:
        return pl.DataFrame(schema=polars_schema(schema))
    try:
        return pl.read_parquet(list(parts), glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecordingError(f"{parts[0].parent}: cannot be read: {error}") from error
