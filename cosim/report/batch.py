"""Reading a batch, or any folder of runs: one row a run, and which columns are parameters and which metrics.

A batch has ``results.parquet`` (or ``results.csv``) and ``grid.json``, which names the parameters.  For a folder that
was filled run by run (``runs/NAME``), or a batch that was killed before its first table, the rows are gathered from
the run directories: their parameters are then the keys of the resolved scenario in which the runs differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cosim.errors import RecordingError
from cosim.recording import Run, load_run
from cosim.recording.files import read_json

RESULTS = ("results.parquet", "results.csv")
GRID = "grid.json"
DESCRIPTIONS = ("run", "seed", "status", "error", "wall_s")
"""Columns of `Batch.rows` that are always there and are neither parameter nor metric."""

_DEPTH = 3  # folders below the batch in which runs are looked for


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """A set of runs: ``rows`` has a row a run, with `DESCRIPTIONS`, the ``parameters`` and the ``metrics``.

    ``manifest`` is what all runs were made with, in the words of a run's manifest; ``missing`` is how many runs of
    the grid have no row yet.
    """

    folder: Path
    rows: pl.DataFrame
    parameters: tuple[str, ...]
    metrics: tuple[str, ...]
    manifest: Mapping[str, Any]
    missing: int = 0
    has_grid: bool = False

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
    grid = read_json(folder / GRID) if (folder / GRID).is_file() else {}
    results = next((folder / name for name in RESULTS if (folder / name).is_file()), None)
    if results is None or not grid:
        runs = find_runs(folder)
        manifest: Mapping[str, Any] = runs[0].manifest if runs else {}
    else:
        runs, manifest = [], _manifest(grid)
    if results is not None:
        rows = _read(results)
    elif runs:
        rows = _gathered(folder, runs)
    else:
        raise RecordingError(f"{folder}: has neither results.parquet, nor results.csv, nor runs")
    rows = _described(rows)
    others = [c for c in rows.columns if c not in DESCRIPTIONS]
    measured = {metric for run in runs for metric in run.metrics}
    named = grid.get("parameters") if results is not None else None
    if named is None and measured:
        named = [c for c in others if c not in measured]
    elif named is None:
        named = [c for c in others if not rows[c].dtype.is_numeric()]
    parameters = tuple(c for c in others if c in named)
    metrics = tuple(c for c in others if c not in named and rows[c].dtype.is_numeric())
    planned = sum(len(group.get("seeds", ())) for group in grid.get("groups", ()))
    return Batch(folder, rows, parameters, metrics, manifest, max(planned - len(rows), 0), bool(grid))


def _manifest(grid: Mapping[str, Any]) -> dict[str, Any]:
    hashes: dict[str, Any] = {}
    for group in grid.get("groups", ()):
        hashes |= group.get("hashes", {})
    about = {"name": grid.get("name"), "created": grid.get("created"), "hashes": hashes}
    return {**about, **grid.get("environment", {})}


def _read(results: Path) -> pl.DataFrame:
    try:
        if results.suffix == ".csv":
            return pl.read_csv(results, infer_schema_length=None)
        return pl.read_parquet(results)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecordingError(f"{results}: cannot be read: {error}") from error


def _described(rows: pl.DataFrame) -> pl.DataFrame:
    """Return *rows* with all of `DESCRIPTIONS`, absent ones null."""
    rows = rows.with_columns(pl.lit(None).alias(name) for name in DESCRIPTIONS if name not in rows.columns)
    return rows.with_columns(pl.col("status").cast(pl.String).fill_null("unknown"))


def _gathered(folder: Path, runs: Sequence[Run]) -> pl.DataFrame:
    """Return a row a run from manifests and summaries, with the scenario keys that differ between runs."""
    scenarios = [
        {"name": run.manifest.get("name"), "agent": _agents(run), **flat(run.scenario)} for run in runs
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
            "run": str(run.dir.relative_to(folder)),
            "seed": run.manifest.get("seed"),
            "status": run.status,
            "error": run.summary.get("error"),
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
