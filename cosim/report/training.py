"""Reading trainings: the curve that a training wrote as it went, and what it was made with.

A training is a folder with a curve: ``curve.parquet``, ``curve.csv`` or ``curve/part-*.parquet``.  A folder of such
folders is a set of trainings, shown as means over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cosim.errors import RecordingError
from cosim.recording.files import is_locked, read_json

PROGRESS = (
    *("env_steps", "steps", "step", "decisions", "transitions"),
    *("episodes", "episode", "updates", "update", "iteration", "round"),
)
"""Columns that can be a curve's horizontal axis, the best first."""

_CURVES = ("curve.parquet", "curve.csv", "curve/part-*.parquet")
"""Where a curve may be, the most complete first: the whole one is written at the end, the CSV at each round."""

_ABOUT, _SUMMARY, _LOCK = "training.json", "summary.json", "lock"


@dataclass(frozen=True, eq=False, slots=True)
class Training:
    """One training: its ``curve``, what it was made with, how it stands, and its checkpoint files."""

    folder: Path
    curve: pl.DataFrame
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    checkpoints: tuple[Path, ...]

    @property
    def method(self) -> str:
        """The agent that was trained, or else the folder's name."""
        found = self.manifest.get("agent") or self.manifest.get("method")
        return str(found or self.folder.resolve().name)

    @property
    def seed(self) -> Any:
        """Its seed."""
        return self.manifest.get("seed")

    @property
    def label(self) -> str:
        """What figures call it."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.method}{seed} ({self.folder.resolve().name})"


def is_training(folder: Path) -> bool:
    """Whether *folder* holds a training, or at least its curve."""
    return (folder / _ABOUT).is_file() or bool(_curve_files(folder))


def find_trainings(folder: Path) -> list[Training]:
    """Return the training in *folder*, or those in its folders down to two levels, sorted by path."""
    if is_training(folder):
        return [read_training(folder)]
    below = [
        path
        for depth in ("*", "*/*")
        for path in sorted(folder.glob(depth))
        if path.is_dir() and is_training(path)
    ]
    return [read_training(path) for path in sorted(below)]


def read_training(folder: Path) -> Training:
    """Read a training.  RecordingError if a file of it cannot be read."""
    manifest = read_json(folder / _ABOUT) if (folder / _ABOUT).is_file() else {}
    if (folder / _SUMMARY).is_file():
        summary = read_json(folder / _SUMMARY)
    elif manifest:
        summary = {"status": "running" if is_locked(folder / _LOCK) else "killed"}
    else:
        summary = {"status": "unknown"}
    checkpoints = sorted(path for path in folder.rglob("*.safetensors"))
    return Training(folder, _read(_curve_files(folder)), manifest, summary, tuple(checkpoints))


def _curve_files(folder: Path) -> list[Path]:
    return next((found for pattern in _CURVES if (found := sorted(folder.glob(pattern)))), [])


def _read(files: Sequence[Path]) -> pl.DataFrame:
    if not files:
        return pl.DataFrame()
    try:
        frames = [
            pl.read_csv(file, infer_schema_length=None) if file.suffix == ".csv" else pl.read_parquet(file)
            for file in files
        ]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecordingError(f"{files[0]}: cannot be read: {error}") from error
    return pl.concat(frames, how="diagonal_relaxed")


def axis_of(curve: pl.DataFrame) -> str | None:
    """Return the column along which *curve* progresses; None if there is none."""
    return next((name for name in PROGRESS if name in curve.columns), None)
