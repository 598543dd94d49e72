"""Figs 14 to 16: single vehicles from above, and all vehicles in space and time, in runs recorded at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.common.shipped import Shipped
from agents.tpe_marl.items.cells import RULE, case, policies
from agents.tpe_marl.items.grid import RETURN
from agents.tpe_marl.items.situations import Situation, in_front, instants, together, tracks
from cosim.experiments.papers import Case, Item, Material, Measure, Size
from cosim.plots.quantities import Quantity

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

    from cosim.recording import Run

METHOD = "tpe_qmix"
CASES = {"a": (350, 50), "b": (250, 75)}
"""Flow (veh/h a lane) and CAV share (%) of the paper's two cases."""
EVERY_STEP = {"record": {"steps": "10 s", "vehicles": "100 ms"}}
ZONE, LENGTH, LANES = "highway_0", 250.0, 4
FIND = {"a": in_front, "b": together}
NUMBERS = "①②③"
WINDOW_S = 60.0


def cases(*which: str) -> tuple[Case, ...]:
    """Return the runs of the paper's cases: the TPE policy, or the rule-based agent where there is none."""
    found = []
    for name in which:
        flow, share = CASES[name]
        ours: tuple[Shipped | None, ...] = policies(METHOD, share)[:1] or (None,)
        method = METHOD if ours[0] is not None else RULE
        found.append(case(method, flow, share, policy=ours[0], name=name, labels={"case": name}))
    return tuple(found)


def situations(run: Run, name: str) -> list[Situation]:
    """Return the situations of case *name* in a run, the best first."""
    return FIND[name](tracks(run.vehicles, run.events))


def _count(name: str) -> Measure:
    def per_hour(run: Run) -> float | None:
        if run.scenario["name"] != _scenario(name):
            return None
        hours = (float(run.scenario["warmup"]) + float(run.scenario["duration"])) / 3600.0
        return len(situations(run, name)) / hours

    words = {"a": "in front (a)", "b": "together (b)"}[name]
    return Measure(f"situations_{name}", Quantity(f"found: {words}", "1/h"), of=per_hour)


def _scenario(name: str) -> str:
    flow, share = CASES[name]
    return f"highway_{flow}vph_cav{share:03d}"


def best(material: Material, name: str) -> tuple[str, Situation] | None:
    """Return the best situation of case *name* over all runs, and in which run it is."""
    found = [
        (run, one)
        for run in material.results.filter(material.results["case"] == name)["run"]
        for one in situations(material.run(run), name)[:1]
    ]
    return max(found, key=lambda pair: pair[1].score, default=None)


def strips_of(material: Material) -> dict[str, Figure]:
    """Return the bird's-eye strips of the best situation of each case."""
    from cosim.plots import strips

    figures = {}
    for name in CASES:
        found = best(material, name)
        if found is None:
            continue
        run, one = found
        vehicles = material.run(run).vehicles
        labels = dict(zip(one.who, NUMBERS, strict=False))
        at = instants(one)
        figures[f"case_{name}"] = strips(
            vehicles,
            ZONE,
            at,
            length=LENGTH,
            lanes=LANES,
            labelled=labels,
            window_m=_window(vehicles, one),
            title=f"Case ({name}): " + ", ".join(f"{mark} {who}" for who, mark in labels.items()),
            runs=(run,),
        )
    return figures


def _window(vehicles: pl.DataFrame, one: Situation) -> tuple[float, float]:
    """Return the part of the road on which those who take part drive meanwhile, m."""
    during = vehicles.filter(
        (vehicles["edge"] == ZONE)
        & vehicles["id"].is_in(list(one.who))
        & vehicles["t_us"].is_between(round(one.begin_s * 1e6), round(one.end_s * 1e6))
    )["s"].to_numpy()
    return max(float(during.min()) - 25.0, 0.0), min(float(during.max()) + 25.0, LENGTH)


def found_table(material: Material) -> dict[str, pl.DataFrame]:
    """Return the best situation of each run: who, when, and how many were passed."""
    import polars as pl

    rows: list[dict[str, Any]] = []
    for name in CASES:
        for run in material.results.filter(material.results["case"] == name)["run"]:
            here = situations(material.run(run), name)
            row: dict[str, Any] = {
                "case": name,
                "found": len(here),
                "strict": sum(one.strict for one in here),
            }
            row |= {"best from [s]": here[0].begin_s, "to [s]": here[0].end_s} if here else {}
            row |= {"who": " ".join(here[0].who) if here else "", "run": run}
            rows.append(row)
    columns = ("case", "found", "strict", "best from [s]", "to [s]", "who", "run")
    return {"situations": pl.DataFrame([{c: row.get(c) for c in columns} for row in rows])}


def diagrams(name: str) -> Any:
    """Return what draws the space-time diagram around the best situation of case *name*."""

    def draw(material: Material) -> dict[str, Figure]:
        from cosim.plots import space_time

        found = best(material, name)
        run, one = found if found is not None else (material.runs[0], None)
        vehicles = material.run(run).vehicles
        middle = one.turn_s if one is not None else 90.0
        flow, share = CASES[name]
        return {
            "space_time": space_time(
                vehicles,
                ZONE,
                length=LENGTH,
                lanes=LANES,
                window_s=(max(middle - WINDOW_S / 2, 0.0), middle + WINDOW_S / 2),
                changes=True,
                labelled=dict(zip(one.who, NUMBERS, strict=False)) if one is not None else {},
                title=f"Case ({name}): {flow} veh/h a lane, {share} % CAVs",
                runs=(run,),
            )
        }

    return draw


_QUICK = Size(seeds="100:106", overrides={"duration": "600 s", **EVERY_STEP})
_FULL = Size(seeds="100:115", overrides={"duration": "1200 s", **EVERY_STEP})
_NOTE = "Net variant uni_noturn; found by rules on positions, lanes and routes (agents/tpe_marl/items/situations.py)."

FIG14 = Item(
    name="fig14",
    description="Fig. 14: the two situations found in traffic and drawn from above",
    cases=cases("a", "b"),
    measures=(_count("a"), _count("b"), RETURN),
    tables=found_table,
    draw=strips_of,
    note=_NOTE
    + " In (a) a CAV takes the rightmost lane in front of human drivers without braking; strict: it passed one."
    " In (b) two CAVs close to each other change to the right, one of them to the rightmost lane; strict: the other"
    " left a lane in which the first then drove. Human drivers accelerate with up to 3.5 m/s² here and CAVs with 2, so"
    " CAVs seldom pass, and CAVs that change lanes right after they entered need nobody to give way.",
    quick=_QUICK,
    full=_FULL,
)
FIG15, FIG16 = (
    Item(
        name=name,
        description=f"{title}: space-time diagram with lane changes, {flow} veh/h a lane, {share} % CAVs",
        cases=cases(key),
        measures=(_count(key), RETURN),
        draw=diagrams(key),
        note=_NOTE,
        quick=_QUICK,
        full=_FULL,
    )
    for name, title, key, (flow, share) in (
        ("fig15", "Fig. 15", "a", CASES["a"]),
        ("fig16", "Fig. 16", "b", CASES["b"]),
    )
)
