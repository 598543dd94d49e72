"""How fast a GPS file of the size of the public Shenzhen release is read and cleaned: 664 taxis, 1 155 654 rows.

    python benchmarks/traces.py [--rows 1155654] [--rounds 3]

The rows are made up: random walks with the columns and the rounding of the release, and 300 duplicates.  Printed are
the wall and the processor time of ``cosim trace convert``'s work (reading, judging, cleaning, writing Parquet).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from cosim.traffic.traces.cleaning import convert
from cosim.traffic.traces.tables import write_fixes

_TAXIS, _DUPLICATES, _DAY_S = 664, 300, 86400


def write_rows(path: Path, rows: int) -> None:
    """Write a made-up file of *rows* rows."""
    each = -(-(rows - _DUPLICATES) // _TAXIS)
    random = np.random.default_rng(0)
    gaps = random.choice([30.0, 45.0, 60.0, 90.0], size=(_TAXIS, each))
    seconds = np.cumsum(gaps * (_DAY_S - 1) / gaps.sum(axis=1, keepdims=True), axis=1)
    walk = np.cumsum(random.normal(0, 4e-4, (_TAXIS, each, 2)), axis=1)
    lon, lat = np.clip(114.05 + walk[..., 0], 113.8, 114.6), np.clip(22.6 + walk[..., 1], 22.45, 22.85)
    day = np.datetime64("2014-10-22T00:00:00", "us")
    frame = pl.DataFrame(
        {
            "id": np.repeat(np.arange(1, _TAXIS + 1), each),
            "lon": np.round(lon.ravel(), 4).astype(np.float32).astype(np.float64).round(6),
            "lat": np.round(lat.ravel(), 4).astype(np.float32).astype(np.float64).round(6),
            "time": day + (seconds.ravel() * 1e6).astype("timedelta64[us]"),
            "speed": random.integers(0, 80, _TAXIS * each).astype(np.float64),
        }
    ).head(rows - _DUPLICATES)
    frame = pl.concat([frame, frame.sample(_DUPLICATES, seed=0)])
    frame.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_155_654)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "taxis.csv"
        write_rows(file, asked.rows)
        print(f"{asked.rows} rows, {file.stat().st_size / 1e6:.1f} MB")
        for n in range(asked.rounds):
            wall, busy = time.perf_counter(), time.process_time()
            fixes = convert(file)
            write_fixes(fixes, Path(folder) / f"{n}.parquet")
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
            print(
                f"{wall:.1f} s wall, {busy:.1f} s processor; {fixes.report.kept} kept, {fixes.report.dropped}"
            )


if __name__ == "__main__":
    main()
