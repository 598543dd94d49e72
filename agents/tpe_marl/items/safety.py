"""How safe, fast and successful the shipped TPE policy is on seeds it has never seen, with bounds on collisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agents.tpe_marl.items.cells import HUMAN, LANE_CHANGES, RULE, VARIANT, case, policies
from agents.tpe_marl.items.grid import EVENTS_ONLY, RETURN
from cosim.experiments.papers import Case, Item, Material, Measure, Size, interval_of
from cosim.plots.intervals import Interval
from cosim.plots.quantities import plus_minus

if TYPE_CHECKING:
    import polars as pl

TPE = "tpe_qmix"
PLACES: tuple[tuple[int, int, str], ...] = (
    (350, 100, "uni_noturn"),
    (350, 50, "uni_noturn"),
    (250, 100, "uni_noturn"),
    (250, 50, "uni_noturn"),
    (350, 100, "uni"),
    (350, 50, "uni"),
)
"""Flow (veh/h a lane), CAV share (%), net variant: trained, less traffic, and slower turns."""
SPEED, SUCCESS = Measure("avg_velocity"), Measure("success_rate")
COUNTS = tuple(Measure(f"driving.vehicles_{how}") for how in ("left", "succeeded", "collided", "removed"))
BOUND = 1e-3


def cases() -> Iterator[Case]:
    """Yield, for each place, all-human traffic, the rule-based agent, and the policy."""
    seen: set[tuple[int, str]] = set()
    for flow, share, variant in PLACES:
        labels: dict[str, Any] = {
            "labels": {"variant": variant},
            "variant": {**VARIANT, "traffic.variant": variant},
        }
        if (flow, variant) not in seen:
            yield case(HUMAN, flow, 0, name=f"{HUMAN}-{flow}-{variant}", **labels)
        seen.add((flow, variant))
        for policy in policies(TPE, share)[:1]:
            yield case(TPE, flow, share, policy=policy, name=f"{TPE}-{flow}-{share}-{variant}", **labels)
        yield case(RULE, flow, share, name=f"{RULE}-{flow}-{share}-{variant}", **labels)


def upper_bound(events: int, level: float = 0.95) -> float:
    """Return the one-sided upper bound of a Poisson mean of which *events* were seen: 3.0 for none at 95 %."""
    from scipy.special import gammaincinv

    return float(gammaincinv(events + 1, level))


def tables(material: Material) -> dict[str, pl.DataFrame]:
    """Return what is asked of the policy, a row a place, and the pooled collisions of all."""
    return {"collisions": collisions(material), "asked": asked(material)}


def collisions(material: Material) -> pl.DataFrame:
    """Return vehicles and collided vehicles over all seeds, and the 95 % upper bound a thousand vehicles."""
    import polars as pl

    rows = []
    for one in material.item.cases:
        part = material.results.filter(material.results["case"] == one.name)
        if not len(part):
            continue
        left, _, collided, removed = (int(part[measure.metric].sum()) for measure in COUNTS)
        vehicles = left + collided + removed
        rows.append(
            {
                **{name: str(value) for name, value in one.labels.items()},
                "seeds": len(part),
                "vehicles": vehicles,
                "collided": collided,
                "a thousand": 1000 * collided / max(vehicles, 1),
                "upper 95 % bound": 1000 * upper_bound(collided) / max(vehicles, 1),
            }
        )
    return pl.DataFrame(rows)


def asked(material: Material) -> pl.DataFrame:
    """Return, for each place, whether the policy is safe, beats human drivers, and keeps up with the rules."""
    import polars as pl

    by_name = {one.name: one for one in material.item.cases}
    pooled = {
        (row["flow"], row["share"], row["variant"]): row
        for row in collisions(material).iter_rows(named=True)
        if row["method"] == TPE
    }
    rows = []
    for flow, share, variant in PLACES:
        place = f"{flow}-{share}-{variant}"
        tpe = by_name.get(f"{TPE}-{place}")
        bound = pooled.get((str(flow), str(share), variant))
        if tpe is None or bound is None:
            continue
        human, rule = by_name[f"{HUMAN}-{flow}-{variant}"], by_name[f"{RULE}-{place}"]
        gained = difference(material, tpe, rule, RETURN.metric)
        rows.append(
            {
                "flow": flow,
                "CAVs [%]": share,
                "variant": variant,
                "collided a thousand, bound": bound["upper 95 % bound"],
                "below 1": _below(bound),
                "faster than human": _apart(material, tpe, human, SPEED),
                "more success than human": _apart(material, tpe, human, SUCCESS),
                "return over rule-based": plus_minus(gained.mean, gained.half),
                "at least rule-based": "yes" if gained.low >= 0 else "no" if gained.high < 0 else "not apart",
            }
        )
    return pl.DataFrame(rows)


def difference(material: Material, a: Case, b: Case, metric: str) -> Interval:
    """Return mean and 95 % CI of *metric* of *a* minus that of *b*, seed by seed: both met the same demand."""
    from cosim.plots import mean_interval

    results = material.results
    pair = (
        results.filter(results["case"] == a.name)
        .select("seed", metric)
        .join(results.filter(results["case"] == b.name).select("seed", metric), on="seed", suffix="_b")
    )
    return mean_interval((pair[metric] - pair[f"{metric}_b"]).to_numpy())


def _apart(material: Material, a: Case, b: Case, measure: Measure) -> str:
    ours, theirs = (interval_of(material.results, one, measure.metric) for one in (a, b))
    return "yes" if ours.low > theirs.high else "no" if ours.high < theirs.low else "not apart"


def _below(pooled: dict[str, Any]) -> str:
    if pooled["upper 95 % bound"] < 1000 * BOUND:
        return "yes"
    # Not even a clean record would be enough.
    return "too few vehicles" if upper_bound(0) >= BOUND * pooled["vehicles"] else "no"


SAFETY = Item(
    name="safety",
    description="The shipped TPE policy on unseen seeds: collisions, speed, success, return, beside humans and rules",
    cases=tuple(cases()),
    measures=(SPEED, SUCCESS, RETURN, Measure("collisions_per_hour"), LANE_CHANGES, *COUNTS),
    quick=Size(seeds="900:903", overrides={"duration": "300 s", **EVENTS_ONLY}),
    full=Size(seeds="900:905", overrides={"duration": "2 h", **EVENTS_ONLY}),
    tables=tables,
    note="Full: 5 x 2 h a place, 14,000 vehicles at 350 veh/h a lane and 10,000 at 250. Both vehicles of a collision"
    " count. The bound is one-sided, Poisson, per thousand vehicles that left, collided or were removed. Return:"
    " difference seed by seed. 250 veh/h a lane and variant uni were never trained on.",
)
