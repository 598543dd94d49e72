"""Whether two runs are the same: one hash of a run, and the first row in which two differ."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosim.recording.files import to_json
from cosim.recording.reader import load_run, parts_of, table_folders

if TYPE_CHECKING:
    import polars as pl


def digest(folder: str | Path) -> str:
    """Return one SHA-256 over all table bytes and the summary's metrics and tasks.

    Two runs of one scenario and seed have the same digest (rule 4 of the design).  Manifest, log and progress
    are left out.  RecordingError if *folder* is not a run directory.
    """
    run = load_run(folder)
    total = hashlib.sha256()
    for table in table_folders(run.dir):
        for part in parts_of(run.dir / table):
            total.update(f"{table}/{part.name}\n".encode())
            total.update(hashlib.sha256(part.read_bytes()).digest())
    results = {"metrics": run.summary["metrics"], "tasks": run.summary["tasks"]}
    total.update(to_json(results, sort=True))
    return total.hexdigest()


def compare_runs(a: str | Path, b: str | Path) -> list[str]:
    """Return a line for each table or metric in which run *b* differs from run *a*; empty if they are equal.

    A line names the first differing row and its differing columns.  RecordingError if one is not a run.
    """
    first, second = load_run(a), load_run(b)
    lines = []
    for table in sorted({*first.tables, *second.tables}):
        if table not in first.tables or table not in second.tables:
            lines.append(f"{table}: only in {first.dir if table in first.tables else second.dir}")
            continue
        difference = _frame_difference(first.tables[table], second.tables[table])
        if difference:
            lines.append(f"{table}: {difference}")
        elif not _same_bytes(first.dir / table, second.dir / table):
            lines.append(f"{table}: the same rows in other bytes (cut otherwise, or by another polars)")
    for part in ("metrics", "tasks"):
        lines += _value_differences(part, first.summary[part], second.summary[part])
    return lines


def _frame_difference(a: pl.DataFrame, b: pl.DataFrame) -> str | None:
    if a.schema != b.schema:
        return f"columns {dict(a.schema)} against {dict(b.schema)}"
    if a.equals(b):
        return None
    common = min(len(a), len(b))
    equal = [a[column][:common].eq_missing(b[column][:common]) for column in a.columns]
    unequal = [(~same).arg_true() for same in equal]
    rows = [int(places[0]) for places in unequal if len(places)]
    if not rows:
        beyond = (a if len(a) > len(b) else b).row(common, named=True)
        return f"{len(a)} rows against {len(b)}; the first {common} are equal, then {beyond}"
    row = min(rows)
    columns = [column for column, same in zip(a.columns, equal, strict=True) if not same[row]]
    parts = [f"{column} {a[column][row]!r} against {b[column][row]!r}" for column in columns]
    where = f"t_us {a['t_us'][row]}" + (f", {a['id'][row]}" if "id" in a.columns else "")
    return f"row {row} ({where}): {', '.join(parts)}"


def _same_bytes(a: Path, b: Path) -> bool:
    ours, theirs = parts_of(a), parts_of(b)
    return [part.name for part in ours] == [part.name for part in theirs] and all(
        one.read_bytes() == other.read_bytes() for one, other in zip(ours, theirs, strict=True)
    )


def _value_differences(where: str, a: Any, b: Any) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        lines = []
        for key in sorted({*a, *b}):
            lines += _value_differences(f"{where}.{key}", a.get(key), b.get(key))
        return lines
    return [] if a == b else [f"{where}: {a!r} against {b!r}"]
