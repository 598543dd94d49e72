"""Clean fixes on disk: one Parquet or CSV table and, beside it, the report as JSON.

The columns are ``cleaning.COLUMNS``; docs/traces.md describes them.  Whatever reads traces takes such a table, the
folder that holds it, or a raw file, which is then converted on the way.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from cosim.errors import ScenarioError
from cosim.traffic.traces.cleaning import COLUMNS, Fixes, Rules, convert
from cosim.traffic.traces.reading import label_of
from cosim.traffic.traces.report import Report

TABLE, REPORT = "fixes.parquet", "report.json"
_SUFFIXES = (".parquet", ".csv")
_SCHEMA = {
    "vehicle": pl.String,
    "segment": pl.Int64,
    "time": pl.Datetime("us"),
    "lon": pl.Float64,
    "lat": pl.Float64,
    "speed": pl.Float64,
    "occupied": pl.Boolean,
    "line": pl.Int64,
}


def check_new(out: Path) -> None:
    """Raise ScenarioError if *out* is a file, or a folder that is not empty: results are never overwritten."""
    if out.is_dir() and any(out.iterdir()):
        raise ScenarioError(f"--out {out}: the folder is not empty")
    if out.is_file():
        raise ScenarioError(f"--out {out}: the file exists already")


def write_fixes(fixes: Fixes, out: str | Path) -> list[Path]:
    """Write *fixes* to a file ``….parquet`` or ``….csv``, or into a folder; return the table and the report.

    Raises:
        ScenarioError: *out* exists, or is a file of another kind.
    """
    target = Path(out)
    check_new(target)
    if target.suffix and target.suffix not in _SUFFIXES and not target.is_dir():
        raise ScenarioError(f"--out {target}: must be a folder, or a file ending in .parquet or .csv")
    if target.suffix in _SUFFIXES:
        table, report = target, target.with_suffix(".report.json")
    else:
        table, report = target / TABLE, target / REPORT
    table.parent.mkdir(parents=True, exist_ok=True)
    if table.suffix == ".csv":
        fixes.table.write_csv(table, datetime_format="%Y-%m-%d %H:%M:%S%.f")
    else:
        fixes.table.write_parquet(table)
    report.write_text(
        json.dumps(fixes.report.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return [table, report]


def load_fixes(
    path: str | Path, *, columns: str | None = None, date: str | None = None, rules: Rules | None = None
) -> Fixes:
    """Return the fixes of a converted table or of its folder, or convert the raw file *path*.

    ``columns``, ``date`` and ``rules`` are for raw files only.

    Raises:
        ScenarioError: not readable, or not a table of fixes.
    """
    place = Path(path).expanduser()
    table = place / TABLE if place.is_dir() else place
    if place.is_dir() and not table.is_file():
        raise ScenarioError(f"{label_of(place)}: no {TABLE} in this folder; `cosim trace convert` makes one")
    if not table.is_file():
        raise ScenarioError(f"{label_of(table)}: no such file")
    frame = _converted(table)
    if frame is None:
        return convert(table, columns=columns, date=date, rules=rules)
    sizes = frame.group_by("vehicle", "segment").len()
    report = Report(label_of(table), len(frame), len(frame), sizes["vehicle"].n_unique(), len(sizes))
    return Fixes(frame, report)


def _converted(table: Path) -> pl.DataFrame | None:
    """Return a converted table, None if *table* is a raw file."""
    label = label_of(table)
    with table.open("rb") as stream:
        start = stream.read(256)
    parquet = start.startswith(b"PAR1")
    if not parquet and start.split(b"\n")[0].strip() != ",".join(COLUMNS).encode():
        return None
    try:
        frame = (
            pl.read_parquet(table) if parquet else pl.read_csv(table, schema_overrides={"vehicle": pl.String})
        )
        if frame.is_empty():
            raise ScenarioError(f"{label}: no fix in this table")
        if tuple(frame.columns) != COLUMNS:
            raise ScenarioError(f"{label}: not a table of fixes; its columns should be {', '.join(COLUMNS)}")
        if not parquet:
            frame = frame.with_columns(pl.col("time").str.strptime(pl.Datetime("us"), "%Y-%m-%d %H:%M:%S%.f"))
        return frame.cast(_SCHEMA)  # type: ignore[arg-type]
    except PolarsError as error:
        raise ScenarioError(f"{label}: damaged table: {' '.join(str(error).split())[:120]}") from None
