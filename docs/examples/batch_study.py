"""A study from beginning to end: how the share of CAVs changes safety, for two agents.

    python batch_study.py [--seeds 10] [--minutes 10] [--jobs 2] [--out batches/shares]

Called again with the same folder, it runs what is missing.  Writes two figures beside the batch's own tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from cosim import BatchOptions, batch
from cosim.plots import bars, save

SHARES = ["25 %", "50 %", "100 %"]
AGENTS = ["common.rule_based", "common.random"]


def main() -> None:
    """Run the study and say what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10.0, help="measured time of a run")
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("batches/shares"))
    given = parser.parse_args()

    result = batch(
        "highway_350vph",
        BatchOptions(jobs=given.jobs, out=given.out, resume=True),
        seeds=range(given.seeds),
        overrides={"duration": f"{given.minutes} min", "traffic.inflow.cav_share": SHARES},
        agents=AGENTS,
    )
    print(f"{result.status}: {len(result.results)} runs, {result.failed} failed, in {result.dir}")

    means = result.summary.filter(pl.col("metric").is_in(["success_rate", "collisions_per_hour"]))
    print(means.select("agent", "traffic.inflow.cav_share", "metric", "mean", "ci_low", "ci_high", "n"))

    done = result.results.filter(pl.col("status") == "completed")
    for metric in ("success_rate", "collisions_per_hour"):
        figure = bars(
            done,
            metric,
            "traffic.inflow.cav_share",
            group="agent",
            x_label="share of CAVs",
            runs=done["run"].to_list(),
        )
        print(save(figure, result.dir / f"{metric}.png"))


if __name__ == "__main__":
    main()
