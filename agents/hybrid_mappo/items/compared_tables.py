"""Tables beside Fig. 6: goals, trained policies, trainings, and what our policies do under other predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.hybrid_mappo.foresight import NONE, PERFECT
from agents.hybrid_mappo.items.contenders import BASE, BOUND, OURS, WITHOUT, ratio
from cosim.plots.intervals import Interval, mean_interval
from cosim.plots.quantities import plus_minus

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Goal:
    """What is asked of ours against one method: 1 - T_ours / T at least ``least``."""

    text: str
    against: str
    least: float


GOALS = (
    Goal("below Random (pass)", BASE, 0.20),
    Goal("below Random (goal)", BASE, 0.25),
    Goal("below without prediction", WITHOUT, 0.04),
    Goal("below Greedy", "greedy", 0.08),
)


def goals(latency: Mapping[str, Any]) -> pl.DataFrame:
    """Return the goals that are set for ours, and how far it is from knowing everything; T (N,) by method."""
    import polars as pl

    rows: list[dict[str, Any]] = []
    ours = latency.get(OURS)
    if ours is None:
        return pl.DataFrame(
            rows, schema=dict.fromkeys(("goal", "at least", "ours [%]", "reached"), pl.String)
        )
    for goal in GOALS:
        if goal.against in latency:
            found = mean_interval(100.0 * (1.0 - ratio(ours, latency[goal.against])))
            least = 100.0 * goal.least
            came = "yes" if found.mean >= least else "no"
            if found.n > 1 and abs(found.mean - least) < found.half:
                came += ", within the CI"
            rows.append(
                {"goal": goal.text, "at least": f"{least:g} %", "ours [%]": _text(found), "reached": came}
            )
    if BOUND in latency:
        bound = latency[BOUND]
        above = mean_interval(100.0 * (ratio(ours, bound) - 1.0))
        rows.append(
            {"goal": f"above the bound {BOUND}", "at least": "–", "ours [%]": _text(above), "reached": "–"}
        )
        if BASE in latency:
            way = mean_interval(100.0 * ratio(latency[BASE] - ours, latency[BASE] - bound))
            text = f"of the way from Random to {BOUND}"
            rows.append({"goal": text, "at least": "–", "ours [%]": _text(way), "reached": "–"})
    return pl.DataFrame(rows)


def _text(found: Interval) -> str:
    return plus_minus(found.mean, found.half)


def policies(episodes: pl.DataFrame) -> pl.DataFrame:
    """Return a row a shipped policy: T_sum and the distance to Random over the tapes."""
    import polars as pl

    tapes = episodes.group_by(["method", "policy", "seed"], maintain_order=True).agg(
        pl.col("task_latency").mean()
    )
    random = tapes.filter(tapes["method"] == BASE)["task_latency"].to_numpy()
    rows = []
    for (_, name), part in tapes.filter(pl.col("policy") != "").group_by(
        ["method", "policy"], maintain_order=True
    ):
        values = part["task_latency"].to_numpy()
        rows.append(
            {
                "policy": str(name),
                "T [s]": _text(mean_interval(values)),
                "against Random [%]": _text(mean_interval(100.0 * (ratio(values, random) - 1.0))),
            }
        )
    return pl.DataFrame(rows, schema=dict.fromkeys(("policy", "T [s]", "against Random [%]"), pl.String))


def trainings(episodes: pl.DataFrame) -> pl.DataFrame:
    """Return a row a trained method: mean and CI over its trainings, each a mean over all tapes and draws."""
    import polars as pl

    random = float(episodes.filter(pl.col("method") == BASE)["task_latency"].to_numpy().mean())
    means = (
        episodes.filter(pl.col("policy") != "")
        .group_by(["method", "policy"], maintain_order=True)
        .agg(pl.col("task_latency").mean())
    )
    rows = []
    for (name,), part in means.group_by(["method"], maintain_order=True):
        values = part["task_latency"].to_numpy()
        rows.append(
            {
                "method": name,
                "trainings": str(len(values)),
                "T [s]": _text(mean_interval(values)),
                "against Random [%]": _text(mean_interval(100.0 * (values / random - 1.0))),
            }
        )
    columns = ("method", "trainings", "T [s]", "against Random [%]")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))


def foreseen(other: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """Return what our policies do when they are told something else than what they learnt with."""
    import polars as pl

    def tapes(frame: pl.DataFrame) -> Any:
        return (
            frame.group_by("seed", maintain_order=True)
            .agg(pl.col("task_latency").mean())["task_latency"]
            .to_numpy()
        )

    random = tapes(episodes.filter(pl.col("method") == BASE))
    rows = []
    for (name,), part in other.group_by(["prediction"], maintain_order=True):
        values = tapes(part)
        rows.append(
            {
                "told": {NONE: "nothing (L)", PERFECT: "the truth"}.get(str(name), str(name)),
                "T [s]": _text(mean_interval(values)),
                "against Random [%]": _text(mean_interval(100.0 * (ratio(values, random) - 1.0))),
            }
        )
    return pl.DataFrame(rows, schema=dict.fromkeys(("told", "T [s]", "against Random [%]"), pl.String))


def latencies(results: pl.DataFrame) -> dict[str, Any]:
    """Return T (N,) of each method over the tapes."""
    return {
        str(name[0]): part["task_latency"].to_numpy()
        for name, part in results.group_by("method", maintain_order=True)
    }
