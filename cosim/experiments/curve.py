"""The learning curve of a training, written as it goes: a CSV line a round, Parquet parts, one table at the end.

``curve.csv`` grows by one whole line a round.  ``curve/part-LEG.parquet`` are cut with the checkpoints, so that the
rows up to a checkpoint can be read back exactly.  Nothing in it depends on the wall clock: two equal trainings write
equal bytes (``timing.csv`` has the wall times).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosim.errors import ScenarioError
from cosim.recording.files import write_atomically

if TYPE_CHECKING:
    import polars as pl

CSV = "curve.csv"
WHOLE = "curve.parquet"
PARTS = "curve"

Value = int | float | None


class Curve:
    """The rows so far, in memory and on disk.  A column that turns up late is empty in the rows before it."""

    def __init__(self, folder: Path, tensorboard: Any = None) -> None:
        self._folder = folder
        self._parts = folder / PARTS
        self._parts.mkdir(parents=True, exist_ok=True)
        self._tensorboard = tensorboard
        self.rows: list[dict[str, Value]] = []
        self.columns: dict[str, type] = {}
        self._cut = 0

    def append(self, row: Mapping[str, Value]) -> None:
        """Add one row, at once on disk."""
        new = [name for name in row if name not in self.columns]
        self._learn(row)
        self.rows.append(dict(row))
        if new:
            self._rewrite()
        else:
            _append(self._folder / CSV, self._line(row))
        if self._tensorboard is not None:
            for name, value in row.items():
                if value is not None and name not in ("round", "leg", "steps"):
                    self._tensorboard.add_scalar(
                        name.replace("eval_", "eval/", 1), value, int(row["steps"] or 0)
                    )

    def cut(self, leg: int) -> int:
        """Write the rows since the last cut as the part of *leg*; return how many rows there are by now."""
        if len(self.rows) > self._cut:
            path = self._parts / f"part-{leg:06d}.parquet"
            _write_parquet(path, self.frame(self._cut))
            self._cut = len(self.rows)
        return len(self.rows)

    def finish(self) -> None:
        """Write the whole curve as one Parquet file."""
        _write_parquet(self._folder / WHOLE, self.frame())

    def frame(self, first: int = 0) -> pl.DataFrame:
        """Return the rows from number *first* on as a frame."""
        import polars as pl

        types: dict[str, Any] = {
            name: pl.Int64 if kind is int else pl.Float64 for name, kind in self.columns.items()
        }
        return pl.DataFrame(self.rows[first:], schema=types, orient="row")

    def go_back(self, rows: int) -> None:
        """Take up the first *rows* rows from the parts and forget, also on disk, what came behind them."""
        import polars as pl

        self.rows, self.columns = [], {}
        for path in sorted(self._parts.glob("part-*.parquet")):
            if len(self.rows) >= rows:
                path.unlink()
                continue
            frame = pl.read_parquet(path)
            for name, kind in frame.schema.items():
                self.columns.setdefault(name, int if kind == pl.Int64 else float)
            self.rows += frame.to_dicts()
        if len(self.rows) != rows:
            raise ScenarioError(
                f"{self._parts}: holds {len(self.rows)} rows of the learning curve, the checkpoint has {rows}"
            )
        self._cut = rows
        (self._folder / WHOLE).unlink(missing_ok=True)
        self._rewrite()

    def _learn(self, row: Mapping[str, Value]) -> None:
        for name, value in row.items():
            if name not in self.columns:
                self.columns[name] = int if isinstance(value, int) else float

    def _rewrite(self) -> None:
        lines = [",".join(self.columns) + "\n", *map(self._line, self.rows)]
        write_atomically(self._folder / CSV, "".join(lines).encode(), sync=False)

    def _line(self, row: Mapping[str, Value]) -> str:
        values = [row.get(name) for name in self.columns]
        return ",".join("" if v is None else repr(v) for v in values) + "\n"


def by_leg(path: Path) -> pl.DataFrame:
    """Return a whole curve (Parquet) with one row a leg: ``round`` and ``steps`` at its end, means of the rest."""
    import polars as pl

    frame = pl.read_parquet(path)
    last = pl.col("round", "steps").last()
    rest = pl.exclude("round", "steps", "leg").cast(pl.Float64).mean()
    return frame.group_by("leg", maintain_order=True).agg(last, rest)


def _append(path: Path, line: str) -> None:
    # One write of the operating system, so a killed writer leaves whole lines.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def _write_parquet(path: Path, frame: pl.DataFrame) -> None:
    from io import BytesIO

    buffer = BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    write_atomically(path, buffer.getvalue(), sync=True)


def tensorboard_writer(folder: Path) -> Any:
    """Return a TensorBoard writer for *folder*; ScenarioError if TensorBoard is not installed."""
    try:
        from tensorboard.summary import Writer  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ScenarioError("--tensorboard needs the package tensorboard: pip install tensorboard") from None
    return Writer(str(folder))
