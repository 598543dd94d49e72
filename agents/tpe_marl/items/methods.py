"""Plain QMIX against TPE in one cell, over independent trainings: does topology help?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agents.tpe_marl.items.cells import (
    LANE_CHANGES,
    RULE,
    SHARES,
    TRAINED_FLOW,
    TRAINED_SHARES,
    case,
    policies,
)
from agents.tpe_marl.items.fixed import COLLISIONS, HEADWAY, SIX
from agents.tpe_marl.items.grid import EVENTS_ONLY, RETURN
from cosim.experiments.papers import Case, Item, Material, Size
from cosim.plots.quantities import plus_minus

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

PAIR = ("tpe_qmix", "qmix")
SHARE = max(SHARES)


def cases() -> Iterator[Case]:
    """Yield every shipped policy of both methods, and the rule-based agent."""
    for method in PAIR:
        for policy in policies(method, TRAINED_SHARES[SHARE]):
            labels = {"trained": f"s{policy.seed}"}
            yield case(
                method, TRAINED_FLOW, SHARE, policy=policy, name=f"{method}-s{policy.seed}", labels=labels
            )
    yield case(RULE, TRAINED_FLOW, SHARE, name=RULE, labels={"trained": "rules"})


def by_training(material: Material) -> pl.DataFrame:
    """Return a row a trained policy: its means over all runs, ``method`` and ``trained``."""
    import polars as pl

    metrics = [measure.metric for measure in material.item.measures]
    return material.results.group_by(["method", "trained"], maintain_order=True).agg(pl.col(metrics).mean())


def compared(material: Material) -> dict[str, pl.DataFrame]:
    """Return means over trainings with their 95 % CIs, and the difference with Welch's interval."""
    import polars as pl

    from cosim.plots import mean_interval

    trained = by_training(material)
    rows = []
    for measure in material.item.measures:
        shown = measure.quantity
        values = {m: trained.filter(trained["method"] == m)[measure.metric].to_list() for m in PAIR}
        found = {m: mean_interval([None if v is None else v * shown.factor for v in values[m]]) for m in PAIR}
        tpe, qmix = (found[m] for m in PAIR)
        ours, theirs = ([v * shown.factor for v in values[m] if v is not None] for m in PAIR)
        half = welch(ours, theirs)
        gap = tpe.mean - qmix.mean
        rows.append(
            {
                "measure": shown.axis,
                "trainings": f"{tpe.n} and {qmix.n}",
                "TPE": plus_minus(tpe.mean, tpe.half),
                "QMIX": plus_minus(qmix.mean, qmix.half),
                "TPE - QMIX": plus_minus(gap, half),
                "apart": "yes" if abs(gap) > half else "no",
            }
        )
    return {"methods": pl.DataFrame(rows)}


def welch(a: list[float], b: list[float], level: float = 0.95) -> float:
    """Return the half-width of Welch's interval for the difference of two means; NaN with fewer than two values."""
    import numpy as np
    from scipy.special import stdtrit

    if min(len(a), len(b)) < 2:
        return float("nan")
    parts = [float(np.var(x, ddof=1)) / len(x) for x in (a, b)]
    total = sum(parts)
    if not total:
        return 0.0
    freedom = total**2 / sum(p**2 / (len(x) - 1) for p, x in zip(parts, (a, b), strict=True))
    return float(stdtrit(freedom, 0.5 + level / 2) * total**0.5)


def figures(material: Material) -> dict[str, Figure]:
    """Return a bar chart a measure, a bar a trained policy."""
    from cosim.plots import bars

    return {
        measure.metric.replace(".", "-"): bars(
            material.results,
            measure.metric,
            "trained",
            group="method",
            x_label="seed of the training",
            title=f"methods: {measure.quantity.label}",
            runs=material.runs,
        )
        for measure in material.item.measures
    }


METHODS_ITEM = Item(
    name="methods",
    description="TPE against plain QMIX at 350 veh/h a lane, 100 % CAVs: all shipped trainings of both",
    cases=tuple(cases()),
    measures=(*SIX, COLLISIONS, HEADWAY, RETURN, LANE_CHANGES),
    quick=Size(seeds="900:903", overrides={"duration": "300 s", **EVENTS_ONLY}),
    full=Size(seeds="900:905", overrides={"duration": "1 h", **EVENTS_ONLY}),
    tables=compared,
    draw=figures,
    note="The table `methods` compares trainings: one value a trained policy, its mean over all runs; CIs over the"
    " trainings (Student), of the difference by Welch. The rows above it have CIs over the runs of one policy.",
)
