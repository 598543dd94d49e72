"""Fig. 13: every method in every cell of flow and CAV share, beside all-human traffic and the rule-based agent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agents.tpe_marl.items.cells import (
    FLOWS,
    HUMAN,
    LANE_CHANGES,
    METHODS,
    RULE,
    SHARES,
    case,
    policies,
)
from agents.tpe_marl.items.fixed import COLLISIONS, HEADWAY, SIX
from cosim.experiments.papers import Case, Item, Material, Measure, Size, interval_of
from cosim.plots.quantities import plus_minus

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

RETURN = Measure("driving.return_per_episode")
EVENTS_ONLY = {"record": {"steps": "10 s"}}
"""What runs of hours record: their summaries and events are all that is read."""


def cases() -> Iterator[Case]:
    """Yield the cells of all methods that have a policy; of several seeds the first drives."""
    for flow in FLOWS:
        yield case(HUMAN, flow, 0)
        for share in SHARES:
            yield case(RULE, flow, share)
            for method in METHODS:
                for policy in policies(method, share)[:1]:
                    yield case(method, flow, share, policy=policy)


def overview(material: Material) -> dict[str, pl.DataFrame]:
    """Return one row a cell and method: all measures, mean ± half-width of the 95 % CI."""
    import polars as pl

    rows = []
    for one in material.item.cases:
        row = {"flow": str(one.labels["flow"]), "share": str(one.labels["share"])}
        row["method"] = str(one.labels["method"])
        for measure in material.item.measures:
            shown = measure.quantity
            ours = interval_of(material.results, one, measure.metric, shown.factor)
            row[shown.axis] = plus_minus(ours.mean, ours.half) if ours.n else "–"
        rows.append(row)
    return {"overview": pl.DataFrame(rows)}


def figures(material: Material) -> dict[str, Figure]:
    """Return a figure a measure: panels of flow, CAV share along them."""
    from cosim.plots import dot_panels

    return {
        measure.metric.replace(".", "-"): dot_panels(
            material.results,
            measure.metric,
            "share",
            "method",
            "flow",
            base=HUMAN,
            groups=(*METHODS, RULE),
            x_label="CAVs [%]",
            panel_label="{} veh/h a lane",
            title=f"{material.item.name}: {measure.quantity.label}",
            runs=material.runs,
        )
        for measure in material.item.measures
    }


FIG13 = Item(
    name="fig13",
    description="Fig. 13: six measures, collisions and headway of all methods in 3 flows x 4 CAV shares",
    cases=tuple(cases()),
    measures=(*SIX, COLLISIONS, HEADWAY, RETURN, LANE_CHANGES),
    quick=Size(seeds="100:103", overrides={"duration": "120 s", **EVENTS_ONLY}),
    full=Size(seeds="100:105", overrides={"duration": "1 h", **EVENTS_ONLY}),
    claims="tpe_marl_fig13_claims.csv",
    tables=overview,
    draw=figures,
    note="Net variant uni_noturn, Poisson arrivals, greedy policies; full: 5 h (1000 episodes) a cell. Policies are"
    " trained at 350 veh/h a lane only: those for 100 % CAVs drive at 75 and 100 %, those for 50 % at 25 and 50 %, so"
    " all other cells are generalisation, where the paper trained in each. The paper prints no numbers: what it says"
    " in words is checked under claims.",
)
