"""Tables of a batch: one row a run, and the means of each group with their confidence intervals.

``results`` has the columns ``run``, the grid's parameters, ``seed``, ``status``, ``error``, one column a metric, and
``wall_s`` last; all but the last are the same however the batch was run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.experiments.grid import Grid
from cosim.plots.intervals import column_intervals
from cosim.recording.files import write_atomically

if TYPE_CHECKING:
    import polars as pl

FIXED = ("run", "seed", "status", "error", "wall_s")
"""Columns of ``results`` that are neither parameters nor metrics."""

Row = Mapping[str, Any]
"""What came of one run: run, status, error, metrics, wall_s."""


def results_frame(grid: Grid, rows: Mapping[str, Row]) -> pl.DataFrame:
    """Return the table of finished runs in the order of the grid; *rows* by run name."""
    import polars as pl

    done = [(cell, rows[cell.name]) for cell in grid.cells if cell.name in rows]
    metrics = list(dict.fromkeys(name for _, row in done for name in row["metrics"]))
    columns = [
        pl.Series("run", [cell.name for cell, _ in done], dtype=pl.String),
        *(
            _parameter(name, grid, [c.group.parameters.get(name) for c, _ in done])
            for name in grid.parameters
        ),
        pl.Series("seed", [cell.seed for cell, _ in done], dtype=pl.Int64),
        pl.Series("status", [row["status"] for _, row in done], dtype=pl.String),
        pl.Series("error", [row["error"] for _, row in done], dtype=pl.String),
        *(
            pl.Series(name, [_float(row["metrics"].get(name)) for _, row in done], dtype=pl.Float64)
            for name in metrics
        ),
        pl.Series("wall_s", [row["wall_s"] for _, row in done], dtype=pl.Float64),
    ]
    return pl.DataFrame(columns)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _parameter(name: str, grid: Grid, values: Sequence[Any]) -> pl.Series:
    """Return a parameter's column; its type depends on the whole grid, not on which runs are done."""
    import polars as pl

    kinds = {type(g.parameters[name]) for g in grid.groups if name in g.parameters}
    if kinds <= {int}:
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds <= {int, float}:
        return pl.Series(name, [_float(v) for v in values], dtype=pl.Float64)
    return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)


def metric_columns(results: pl.DataFrame, parameters: Iterable[str]) -> list[str]:
    """Return the columns of *results* that are metrics."""
    others = {*FIXED, *parameters}
    return [name for name in results.columns if name not in others]


def summary_frame(results: pl.DataFrame, parameters: Sequence[str]) -> pl.DataFrame:
    """Return, for each group and metric, the mean over its completed runs with its 95 % CI.

    Columns: the parameters, ``metric``, ``mean``, ``ci_low``, ``ci_high`` (Student's t over the seeds; null with
    fewer than two values), ``n`` (runs that have a value), ``runs`` (completed) and ``failed``.
    """
    import polars as pl

    metrics = metric_columns(results, parameters)
    rows: list[dict[str, Any]] = []
    groups = results.group_by(parameters, maintain_order=True) if parameters else [((), results)]
    for key, part in groups:
        done = part.filter(part["status"] == "completed")
        values = done.select(metrics).fill_null(np.nan).to_numpy() if metrics else np.empty((len(done), 0))
        mean, half, n = column_intervals(values.astype(np.float64))
        for k, metric in enumerate(metrics):
            rows.append(
                {
                    **dict(zip(parameters, key, strict=True)),
                    "metric": metric,
                    "mean": _or_none(mean[k]),
                    "ci_low": _or_none(mean[k] - half[k]),
                    "ci_high": _or_none(mean[k] + half[k]),
                    "n": int(n[k]),
                    "runs": len(done),
                    "failed": len(part) - len(done),
                }
            )
    numbers = {"mean": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64}
    counts = {"n": pl.Int64, "runs": pl.Int64, "failed": pl.Int64}
    schema: dict[str, Any] = {
        **{p: results.schema[p] for p in parameters},
        "metric": pl.String,
        **numbers,
        **counts,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def write_tables(folder: Path, results: pl.DataFrame, summary: pl.DataFrame) -> None:
    """Write ``results.parquet``, ``results.csv`` and ``summary.csv``, each whole or not at all.

    RecordingError if the disk refuses.
    """
    buffer = io.BytesIO()
    results.write_parquet(buffer, compression="zstd", compression_level=1)
    write_atomically(folder / "results.parquet", buffer.getbuffer(), sync=False)
    write_atomically(folder / "results.csv", results.write_csv().encode(), sync=False)
    write_atomically(folder / "summary.csv", summary.write_csv().encode(), sync=False)


def read_journal(path: Path) -> dict[str, Row]:
    """Return the finished runs that a journal holds, by name; half a line at its end is left out."""
    rows: dict[str, Row] = {}
    if not path.is_file():
        return rows
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["run"]] = row
    return rows


def journal_line(row: Row) -> str:
    """Return *row* as one line of a journal."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
