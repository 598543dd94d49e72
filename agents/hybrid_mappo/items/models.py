"""How far both latency models differ: the same vehicles, draws and policies, T_sum by equations and by the network.

The paper has equations only, so nothing was published to compare with.  Each policy runs in ``urban_avatar`` and in
``urban_avatar_queues`` on the same seeds; the table gives the difference run by run, and both orders of policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from agents.hybrid_mappo.hybrid_mappo import HybridMappo
from cosim.experiments.papers import Case, Item, Material, Measure, Size, bar_charts
from cosim.plots.intervals import mean_interval
from cosim.plots.quantities import number, plus_minus
from cosim.resources import locate

if TYPE_CHECKING:
    import polars as pl

PAPER, QUEUES = "paper", "queues"
SCENARIOS = {PAPER: "urban_avatar", QUEUES: "urban_avatar_queues"}
RULES = ("random", "greedy", "npm", "fpm", "soft", "seq")
TRAINED = "hybrid_mappo"


def _cases() -> Iterator[Case]:
    """Yield every policy in both models: the rules, and the trained one where it is shipped."""
    shipped = locate(HybridMappo.shipped, "data/policies", (".safetensors",)) is not None
    for model, scenario in SCENARIOS.items():
        for method in (*RULES, TRAINED) if shipped else RULES:
            yield Case(
                name=f"{model}-{method}",
                scenario=scenario,
                agents=(f"migration=hybrid_mappo.{method}",),
                labels={"method": method, "model": model},
                rank=model,
            )


def compared(material: Material) -> Mapping[str, pl.DataFrame]:
    """Return T_sum of each policy in both models, the difference run by run with its 95 % CI, and the ranks."""
    import polars as pl

    kept = material.results.filter(pl.col("task_latency").is_not_null())
    pairs = (
        kept.filter(model=PAPER)
        .select("method", "seed", PAPER=pl.col("task_latency"))
        .join(
            kept.filter(model=QUEUES).select("method", "seed", QUEUES=pl.col("task_latency")),
            ["method", "seed"],
        )
        .sort("method", "seed")
    )
    methods = pairs["method"].unique(maintain_order=True).to_list()
    values = {m: pairs.filter(method=m).select("PAPER", "QUEUES").to_numpy() for m in methods}
    mean = np.array([values[m].mean(axis=0) for m in methods]).reshape(-1, 2)
    rank = mean.argsort(axis=0).argsort(axis=0) + 1
    base = methods.index("random") if "random" in methods else None
    rows = []
    for i in sorted(range(len(methods)), key=lambda k: mean[k, 0]):
        both = values[methods[i]]
        ours = [mean_interval(both[:, k]) for k in (0, 1)]
        gap = mean_interval(100.0 * (both[:, 1] / both[:, 0] - 1.0))
        against = ["" if base is None else number(100.0 * (mean[i, k] / mean[base, k] - 1.0)) for k in (0, 1)]
        rows.append(
            {
                "method": methods[i],
                "seeds": len(both),
                "paper, s": plus_minus(ours[0].mean, ours[0].half),
                "queues, s": plus_minus(ours[1].mean, ours[1].half),
                "difference, %": plus_minus(gap.mean, gap.half),
                "paper against random, %": against[0],
                "queues against random, %": against[1],
                "rank paper": int(rank[i, 0]),
                "rank queues": int(rank[i, 1]),
            }
        )
    return {"models_compared": pl.DataFrame(rows)}


MODELS = Item(
    name="models",
    description="both latency models on the same runs: T_sum by equations (1) to (9), and through the network layer",
    cases=tuple(_cases()),
    measures=tuple(
        Measure(metric)
        for metric in (
            "task_latency",
            "upload_time",
            "processing_time",
            "cloud_time",
            "download_time",
            "cloud_share",
            "migrated_share",
            "unfinished",
        )
    ),
    quick=Size(seeds="3000:3002"),
    full=Size(seeds="3000:3010"),
    draw=bar_charts("method", "model", x_label="policy"),
    tables=compared,
    note="Nothing was published: the paper has equations only. A task that is not finished when the run ends counts"
    " with the time that it had waited (`unfinished` is their share), only in the network.",
)

ITEMS = (MODELS,)
