"""Reading a batch, or any folder of runs: one row a run, and which columns are parameters and which metrics.

A finished batch has ``results.parquet`` (or ``results.csv``).  Without one, after a kill or for a folder that was
filled run by run (``runs/NAME``), the rows are gathered from the run directories: their parameters are then the keys
of the resolved scenario in which the runs differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cosim.errors import RecordingError
from cosim.recording import Run, load_run

RESULTS = ("results.parquet", "results.csv")
DESCRIPTIONS = ("seed", "status", "error", "run", "dir", "wall_s")
"""Columns of `Batch.rows` that are always there and are neither parameter nor metric."""

_SAME_AS = {
    "dir": ("dir", "run_dir", "folder", "path", "directory"),
    "wall_s": ("wall_s", "wall_time", "wall", "seconds"),
    "run": ("run", "cell", "key", "id"),
}
_MORE = (
    "index",
    "number",
    "name",
    "exit_code",
    "attempts",
    "engine",
    "host",
    "worker",
    "created",
    "finished",
    "digest",
)
_DEPTH = 3  # folders below the batch in which runs are looked for


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """A set of runs: ``rows`` has a row a run, with `DESCRIPTIONS`, the ``parameters`` and the ``metrics``."""

    folder: Path
    rows: pl.DataFrame
    parameters: tuple[str, ...]
    metrics: tuple[str, ...]
    grid: Mapping[str, Any]
    manifest: Mapping[str, Any]
    """Of one of its runs: what all share of versions and git state."""

    @property
    def varying(self) -> tuple[str, ...]:
        """Parameters that tell runs apart; one that only repeats the distinctions of those before it is left out."""
        kept: list[str] = []
        cells = 1
        for name in self.parameters:
            now = len(self.rows.select(*kept, name).unique())
            if now > cells:
                kept.append(name)
                cells = now
        return tuple(kept)

    @property
    def completed(self) -> pl.DataFrame:
        """The rows of runs that reached their end: means are over these."""
        return self.rows.filter(pl.col("status") == "completed")


def find_runs(folder: Path) -> list[Run]:
    """Return the run directories below *folder*, sorted by path."""
    found: list[Path] = []
    for depth in range(1, _DEPTH + 1):
        for manifest in sorted(folder.glob("/".join(["*"] * depth) + "/manifest.json")):
            if not any(parent in found for parent in manifest.parent.parents):
                found.append(manifest.parent)
    return [load_run(path) for path in sorted(found)]


def read_batch(folder: Path) -> Batch:
    """Read a batch directory.  RecordingError if its results cannot be read, or there are neither these nor runs."""
    runs = find_runs(folder)
    results = next((folder / name for name in RESULTS if (folder / name).is_file()), None)
    grid = _grid(folder)
    measured = list(dict.fromkeys(m for run in runs for m in run.metrics))
    if results is not None:
        rows = _read(results)
    elif runs:
        rows = _gathered(folder, runs)
    else:
        raise RecordingError(f"{folder}: has neither results.parquet, nor results.csv, nor runs")
    rows = _described(rows)
    others = [c for c in rows.columns if c not in DESCRIPTIONS and c not in _MORE]
    metrics = [c for c in others if c in measured]
    if not metrics:
        named = set(_texts(grid))
        metrics = [c for c in others if rows[c].dtype.is_numeric() and c not in named]
    parameters = [c for c in others if c not in metrics]
    manifest = runs[0].manifest if runs else {}
    return Batch(folder, rows, tuple(parameters), tuple(metrics), grid, manifest)


def _read(results: Path) -> pl.DataFrame:
    try:
        if results.suffix == ".csv":
            return pl.read_csv(results, infer_schema_length=None)
        return pl.read_parquet(results)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecordingError(f"{results}: cannot be read: {error}") from error


def _grid(folder: Path) -> dict[str, Any]:
    file = folder / "grid.json"
    if not file.is_file():
        return {}
    try:
        data = json.loads(file.read_bytes())
    except ValueError as error:
        raise RecordingError(f"{file}: cannot be read: {error}") from error
    return data if isinstance(data, dict) else {"cells": data}


def _texts(value: Any) -> Iterable[str]:
    """Yield all texts and keys in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def _described(rows: pl.DataFrame) -> pl.DataFrame:
    """Return *rows* with all of `DESCRIPTIONS`, those called otherwise renamed, absent ones null."""
    for ours, names in _SAME_AS.items():
        theirs = next((name for name in names if name in rows.columns), None)
        if theirs is not None and theirs != ours:
            rows = rows.rename({theirs: ours})
    missing = [pl.lit(None).alias(name) for name in DESCRIPTIONS if name not in rows.columns]
    rows = rows.with_columns(missing)
    return rows.with_columns(pl.col("status").cast(pl.String).fill_null("completed"))


def _gathered(folder: Path, runs: Sequence[Run]) -> pl.DataFrame:
    """Return a row a run from manifests and summaries, with the scenario keys that differ between runs."""
    scenarios = [
        {"name": run.manifest.get("name"), "agents": _agents(run), **flat(run.scenario)} for run in runs
    ]
    keys = dict.fromkeys(key for scenario in scenarios for key in scenario)
    differing = [
        key
        for key in keys
        if key not in ("seed", "description") and len({str(s.get(key)) for s in scenarios}) > 1
    ]
    rows = []
    for run, scenario in zip(runs, scenarios, strict=True):
        own = {"scenario" if key == "name" else key: scenario.get(key) for key in differing}
        describing = {
            "seed": run.manifest.get("seed"),
            "status": run.status,
            "error": run.summary.get("error"),
            "dir": str(run.dir.relative_to(folder)),
            "wall_s": run.manifest.get("wall_s"),
        }
        rows.append({**own, **describing, **run.metrics})
    return pl.from_dicts(rows, infer_schema_length=None, strict=False)


def _agents(run: Run) -> str:
    agents = run.manifest.get("agents") or {}
    return ", ".join(agents.values() if len(agents) == 1 else (f"{t}={agent}" for t, agent in agents.items()))


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings and lists by their dotted path."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found
