"""How much faster a batch is with two jobs than with one: eight runs of about half a minute, agents inline.

    python benchmarks/batch.py [--seconds 2400] [--runs 8] [--jobs 2] [--engine process|ray]

Prints wall times, their ratio, and whether the results are the same bytes.  The target is 1.8 on two quiet
processors; the load average is printed because a busy machine cannot show it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from cosim import BatchOptions, batch


def measured(folder: Path, jobs: int, engine: str, seconds: int, runs: int) -> tuple[float, bytes, float]:
    """Run the batch and return wall time (s), its results without wall times, and the mean run's wall time (s)."""
    began = time.perf_counter()
    result = batch(
        "highway_350vph",
        BatchOptions(jobs=jobs, engine=engine, out=folder),
        seeds=range(runs),
        overrides={"duration": f"{seconds} s"},
    )
    took = time.perf_counter() - began
    assert not result.failed, result.results["error"]
    return took, result.results.drop("wall_s").write_csv().encode(), float(result.results["wall_s"].mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=2400, help="simulated seconds a run")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--engine", choices=("process", "ray"), default="process")
    given = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.2f}, processors: {os.cpu_count()}")
    with tempfile.TemporaryDirectory() as folder:
        one, one_bytes, each = measured(Path(folder) / "one", 1, "process", given.seconds, given.runs)
        print(f"1 job: {one:.1f} s for {given.runs} runs of {each:.1f} s")
        many, many_bytes, each = measured(
            Path(folder) / "many", given.jobs, given.engine, given.seconds, given.runs
        )
        print(f"{given.jobs} jobs ({given.engine}): {many:.1f} s, runs of {each:.1f} s")
    print(f"ratio: {one / many:.2f}; the same results: {one_bytes == many_bytes}")


if __name__ == "__main__":
    main()
