"""Which rows of a run's tables a report looks at, and what it calls the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from cosim.recording import Run

_ENTRIES = 200_000
"""Samples of a table that are looked at for a distribution; evenly spaced ones of a longer table."""


def run_label(run: Run) -> str:
    """Return what figures call a run: its name, seed and folder."""
    return f"{run.manifest.get('name', '?')}, seed {run.manifest.get('seed', '?')} ({run.dir.resolve().name})"


def warmup_s(run: Run) -> float:
    """Return the run's warm-up, s."""
    return float(run.scenario.get("warmup") or 0.0)


def measured(run: Run, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows after the warm-up; all rows of a run that ended within it."""
    after = frame.filter(pl.col("t_us") > warmup_s(run) * 1e6)
    return after if len(after) else frame


def thinned(frame: pl.DataFrame) -> pl.DataFrame:
    """Return evenly spaced rows of a very long table."""
    return frame.gather_every(max(1, len(frame) // _ENTRIES))
