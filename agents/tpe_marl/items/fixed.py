"""Items that need no learnt policy: all-human traffic, its variants, and fixed policies.

Their references were measured with another program from the paper's description; they check the road.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agents.tpe_marl.items.cells import FLOWS
from cosim.experiments.papers import Case, Item, Measure, Size, bar_charts

if TYPE_CHECKING:
    from cosim.recording import Run

HOUR = {"duration": "1 h"}
FIVE_MINUTES = {"duration": "300 s"}
QUICK = Size(seeds="0:3", overrides=FIVE_MINUTES)
FULL = Size(seeds="0:5", overrides=HOUR)


def zone_vehicles(run: Run) -> float | None:
    """Return the mean number of vehicles in the zone after the warm-up, from the recorded steps."""
    after_us = round(run.scenario["warmup"] * 1e6)
    steps = run.steps.filter(run.steps["t_us"] > after_us)
    mean = steps["driving_zone_vehicles"].mean()
    return None if mean is None else float(mean)  # type: ignore[arg-type]


SIX = tuple(
    Measure(metric)
    for metric in ("avg_velocity", "min_ttc", "lc_interval", "mean_jerk", "velocity_variance", "success_rate")
)
"""The six measures of Fig. 13, eqs (38) to (42)."""
COLLISIONS, HEADWAY = Measure("collisions_per_hour"), Measure("min_headway")


def _human(variant: str, q: int, overrides: Mapping[str, Any]) -> Case:
    return Case(
        name=f"{variant}-{q}",
        scenario=f"highway_{q}vph_hdv",
        overrides=overrides,
        labels={"variant": variant, "flow": q},
        rank=variant,
    )


_VARIANTS: dict[str, dict[str, Any]] = {
    "uni_noturn": {"traffic.variant": "uni_noturn"},
    "equal": {"traffic.inflow.arrivals": "equal"},
    "bi": {"traffic.variant": "bi"},
}

FIG13_HDV = Item(
    name="fig13_hdv",
    description="Fig. 13, all-human traffic: six measures, collisions and headway at 150, 250, 350 veh/h a lane",
    cases=tuple(_human("uni", q, {}) for q in FLOWS),
    measures=(
        *SIX,
        Measure("min_ttc_capped"),
        Measure("lc_interval_strict"),
        COLLISIONS,
        HEADWAY,
        Measure("zone_vehicles", of=zone_vehicles),
    ),
    quick=QUICK,
    full=FULL,
    published="tpe_marl_hdv_baseline.csv",
    reference="reference",
    draw=bar_charts("flow", x_label="flow [veh/h a lane]"),
    note="Net variant uni, Poisson arrivals. The paper gives no numbers for this column: the reference was measured"
    " with SUMO 1.28, five seeds of one hour (mean, minimum to maximum).",
)

HDV_VARIANTS = Item(
    name="hdv_variants",
    description="All-human traffic on other variants: no turn speeds, equally spaced arrivals, two-way highway",
    cases=tuple(_human(v, q, overrides) for v, overrides in _VARIANTS.items() for q in FLOWS),
    measures=(*SIX, COLLISIONS),
    quick=QUICK,
    full=FULL,
    published="tpe_marl_hdv_baseline.csv",
    reference="reference",
    draw=bar_charts("flow", "variant", x_label="flow [veh/h a lane]"),
    note="uni_noturn and bi are net variants; equal is variant uni with equally spaced arrivals. The reference was"
    " measured with SUMO 1.28.",
)

_POLICIES = {
    "idle": "common.keep_lane",
    "accelerate": "tpe_marl.accelerate",
    "rule_based": "common.rule_based",
    "random": "common.random",
}

FIXED_POLICIES = Item(
    name="fixed_policies",
    description="Policies that need no training, 100 % CAVs: velocity, comfort, success, collisions and return",
    cases=tuple(
        Case(
            name=f"{policy}-{q}",
            scenario=f"highway_{q}vph_cav100",
            overrides={"traffic.variant": "uni_noturn"},
            agents=(f"driving={agent}",),
            labels={"policy": policy, "flow": q},
            rank=str(q),
        )
        for policy, agent in _POLICIES.items()
        for q in FLOWS
    ),
    measures=(
        Measure("avg_velocity"),
        Measure("mean_jerk"),
        Measure("velocity_variance"),
        Measure("success_rate"),
        COLLISIONS,
        Measure("driving.return_per_episode"),
    ),
    quick=QUICK,
    full=FULL,
    published="tpe_marl_fixed_policies.csv",
    reference="reference",
    draw=bar_charts("flow", "policy", x_label="flow [veh/h a lane]"),
    note="Net variant uni_noturn, Poisson arrivals. The reference was measured with SUMO 1.28, one hour a cell; its"
    " rule-based policy follows the same rules in another program. A success of 97 stands for at least 97.",
)
