"""How much faster a batch is with two jobs than with one: eight runs of about half a minute, agents inline.

    python benchmarks/batch.py [--seconds 2400] [--runs 8] [--jobs 2] [--engine process|ray]

Prints wall times, their ratio, and whether the results are the same bytes.  The target is a ratio of 1.8 on two
processors that nobody else uses.  On a busy machine the ratio says little; CPU time a run (which others hardly change)
and the share of time in which every job had a run (which they do not change) then say what it would be.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cosim import BatchOptions, batch


@dataclass(frozen=True)
class Measured:
    """Wall time of a batch (s), mean wall and CPU time of its runs (s), busy share of its jobs, its results."""

    took: float
    run_s: float
    cpu_s: float
    busy: float
    results: bytes

    def __str__(self) -> str:
        return f"{self.took:.1f} s; a run {self.run_s:.1f} s, {self.cpu_s:.1f} s of CPU time; jobs busy {self.busy:.1%}"


def cpu_of_workers() -> float:
    """Return the CPU time (s) of all worker processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(folder: Path, jobs: int, engine: Literal["process", "ray"], seconds: int, runs: int) -> Measured:
    """Run the batch once."""
    began, cpu = time.perf_counter(), cpu_of_workers()
    result = batch(
        "highway_350vph",
        BatchOptions(jobs=jobs, engine=engine, out=folder),
        seeds=range(runs),
        overrides={"duration": f"{seconds} s"},
    )
    took = time.perf_counter() - began
    assert not result.failed, result.results["error"]
    walls = result.results["wall_s"].to_list()
    return Measured(
        took=took,
        run_s=sum(walls) / runs,
        cpu_s=(cpu_of_workers() - cpu) / runs,
        busy=sum(walls) / (jobs * took),
        results=result.results.drop("wall_s").write_csv().encode(),
    )


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
        one = measured(Path(folder) / "one", 1, "process", given.seconds, given.runs)
        print(f"1 job: {one}")
        many = measured(Path(folder) / "many", given.jobs, given.engine, given.seconds, given.runs)
        print(f"{given.jobs} jobs ({given.engine}): {many}")
    print(f"ratio: {one.took / many.took:.2f}; the same results: {one.results == many.results}")
    if given.engine == "process":
        alone = given.jobs * many.busy / one.busy * one.cpu_s / many.cpu_s
        print(f"ratio on processors of its own, from CPU time and busy jobs: {alone:.2f}")
    print(f"load average after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
