"""The paper's grid of flows and CAV shares, its methods, and which of their policies are shipped.

A policy is shipped if it lies in ``data/policies/tpe_marl`` as ``METHOD-SCENARIO-sSEED.safetensors``.  Items name the
policies that are there when they are asked for, so a method without one is left out of tables and figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agents.common.shipped import Shipped
from agents.common.shipped import shipped as shipped_of
from cosim.experiments.papers import Case, Measure
from cosim.lockstep.learner import trainable
from cosim.plots.quantities import Quantity

if TYPE_CHECKING:
    from cosim.recording import Run

FLOWS = (150, 250, 350)
"""veh/h a lane."""
SHARES = (25, 50, 75, 100)
"""CAVs among all vehicles, %."""
VARIANT = {"traffic.variant": "uni_noturn"}
"""The net variant on which the policies are trained and compared."""
TRAINED_FLOW = 350
TRAINED_SHARES = {25: 50, 50: 50, 75: 100, 100: 100}
"""At which CAV share the policy was trained that drives at a share."""
PLAIN_SHARE = 50
"""The CAV share of the scenarios whose names say none, %."""
LONG = 200_000
"""Steps from which on a method learns by its recipe ``long``, if it has one."""

HUMAN, RULE = "human", "rule_based"
METHODS = ("tpe_qmix", "qmix", "mappo", "maddpg", "gat_madqn")
"""The paper's five, in its order of merit."""


def shipped() -> tuple[Shipped, ...]:
    """Return all shipped policies, in order of method, scenario and seed."""
    return shipped_of("tpe_marl")


def scenario(flow: int, share: int) -> str:
    """Return the name of the shipped scenario of a cell; share 0 is all-human traffic."""
    return f"highway_{flow}vph_" + (f"cav{share:03d}" if share else "hdv")


def policies(method: str, share: int) -> tuple[Shipped, ...]:
    """Return the shipped policies of a method for a CAV share, by seed."""
    trained = [scenario(TRAINED_FLOW, TRAINED_SHARES[share])]
    if TRAINED_SHARES[share] == PLAIN_SHARE:
        trained.append(f"highway_{TRAINED_FLOW}vph")
    return tuple(p for p in shipped() if p.method == method and p.scenario in trained)


def recipe(method: str, steps: int) -> str:
    """Return the name of the recipe by which a method learns for so many steps."""
    return "long" if steps >= LONG and "long" in trainable(f"tpe_marl.{method}").recipes else "default"


def overrides(method: str, variant: Mapping[str, Any] = VARIANT) -> dict[str, Any]:
    """Return the scenario settings of a method's runs."""
    return {**variant, **({"tasks.driving.actions": "continuous"} if method == "maddpg" else {})}


def case(
    method: str,
    flow: int,
    share: int,
    *,
    policy: Shipped | None = None,
    name: str = "",
    variant: Mapping[str, Any] = VARIANT,
    labels: Mapping[str, Any] | None = None,
) -> Case:
    """Return the case of a method in a cell: human (share 0), rule_based, or a shipped *policy*."""
    agents = {HUMAN: (), RULE: ("driving=common.rule_based",)}.get(method)
    if agents is None:
        assert policy is not None
        agents = (f"driving={policy.agent}",)
    return Case(
        name=name or f"{method}-{flow}-{share:03d}",
        scenario=scenario(flow, share),
        overrides=overrides(method, variant),
        agents=agents,
        labels={"method": method, "flow": flow, "share": share, **(labels or {})},
        rank=f"{flow}-{share}",
    )


def lane_changes_per_vehicle(run: Run) -> float | None:
    """Return lane changes in the zone a vehicle that left it, collided in it or was removed from it."""
    totals = run.summary["tasks"]["driving"]
    vehicles = sum(int(totals[f"vehicles_{how}"]) for how in ("left", "collided", "removed"))
    return totals["lane_changes"] / vehicles if vehicles else None


LANE_CHANGES = Measure(
    "lane_changes_per_vehicle", Quantity("lane changes a vehicle"), of=lane_changes_per_vehicle
)
