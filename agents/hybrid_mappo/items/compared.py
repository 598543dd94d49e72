"""Fig. 6 of Hybrid-MAPPO: mean task latency of all methods on fresh traffic, and the same on the remote layout.

All methods play the same fresh tapes and draws; a tape is one value, the mean over draws and, for trained methods,
over all shipped policies.  One seed is also run in lockstep with SUMO, which must give what its tape gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from agents.common.shipped import Shipped
from agents.hybrid_mappo.foresight import NONE
from agents.hybrid_mappo.items.compared_tables import foreseen, goals, latencies, policies, trainings
from agents.hybrid_mappo.items.contenders import (
    BASE,
    OURS,
    PAPER,
    TRAINED,
    Contender,
    Stage,
    by_tape,
    contenders,
    evaluate,
    methods,
    stage_of,
)
from cosim.errors import AgentError
from cosim.experiments.axes import parse_seeds
from cosim.experiments.batches import BatchOptions, batch
from cosim.experiments.papers import Case, Item, Material, Measure, Size
from cosim.experiments.reproduction import grid_of

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

DRAWS = "draws"
"""Name of the setting that says how many draws of parameters and tasks each tape is played with."""
EPISODES, LOCKSTEP, TRAFFIC, TOLD = "episodes.parquet", "lockstep.parquet", "traffic.parquet", "told.parquet"
KEPT = "evaluated"
"""Folder of what was evaluated, so that a call after another only adds what is new."""
CHECKED = (BASE, "greedy", "soft_lstm", "soft_ar", *TRAINED)
"""Methods that are also run in lockstep, where they are there."""
CROWDED = 4.2
"""Below this clustering prediction is worth little (spec, E1)."""


def cases(scenario: str) -> tuple[Case, ...]:
    """Return a case a method."""
    return tuple(Case(name, scenario, labels={"method": name}, rank="all") for name in methods(scenario))


# -- measuring --


def compute(scenario: str) -> Any:
    """Return what measures all methods on a scenario's fresh tapes."""

    def measured(folder: Path, size: Size, jobs: int | None) -> pl.DataFrame:
        seeds = parse_seeds(size.seeds)
        stage = stage_of(scenario, seeds, folder.parent, jobs)
        rows, missing = contenders(scenario)
        draws = int(size.overrides[DRAWS])
        kept = folder / KEPT
        found = evaluate(stage, rows, seeds, draws, kept=kept)
        found.write_parquet(folder / EPISODES)
        traffic(stage, missing).write_parquet(folder / TRAFFIC)
        told(stage, rows, seeds, draws, kept).write_parquet(folder / TOLD)
        checked(scenario, stage, rows, seeds[0], folder, jobs).write_parquet(folder / LOCKSTEP)
        return as_results(by_tape(found), scenario)

    return measured


def as_results(found: pl.DataFrame, scenario: str) -> pl.DataFrame:
    """Add the columns that results have: ``case`` and ``run``."""
    import polars as pl

    return found.with_columns(
        pl.col("method").alias("case"),
        pl.format("{}, tape {}", pl.lit(scenario), "seed").alias("run"),
    )


def traffic(stage: Stage, missing: Mapping[str, str]) -> pl.DataFrame:
    """Return what is known of the tapes, and who is left out."""
    import polars as pl

    rows = [
        ("tapes", f"{len(stage.tapes)}"),
        ("most vehicles at one RSU, mean over slots", f"{stage.crowding():.2f}"),
        ("vehicle slots with a task", f"{100 * stage.covered():.1f} %"),
        *((f"left out: {name}", why) for name, why in missing.items()),
    ]
    if stage.crowding() < CROWDED and not stage.batch.layout.remote:
        rows.append(
            ("warning", f"clustering below {CROWDED}: vehicles this spread out leave little to predict")
        )
    return pl.DataFrame(rows, schema=["what", "is"], orient="row")


def told(
    stage: Stage, rows: Sequence[Contender], seeds: Sequence[int], draws: int, kept: Path
) -> pl.DataFrame:
    """Return evaluations of our policies under other predictions than their own, with ``prediction``."""
    import polars as pl

    ours = [row for row in rows if row.name == OURS]
    others = [row.prediction for row in rows if row.rule == "soft"]
    parts = [
        evaluate(stage, ours, seeds, draws, told=prediction, kept=kept).with_columns(
            prediction=pl.lit(prediction)
        )
        for prediction in others
        if ours
    ]
    schema = {"method": pl.String, "policy": pl.String, "seed": pl.Int64, "draw": pl.Int64}
    empty = pl.DataFrame(schema={**schema, "task_latency": pl.Float64, "prediction": pl.String})
    return pl.concat(parts) if parts else empty


def checked(
    scenario: str, stage: Stage, rows: Sequence[Contender], seed: int, folder: Path, jobs: int | None
) -> pl.DataFrame:
    """Return mean T_sum of the first tape, on the tape and in lockstep with SUMO on its seed."""
    import polars as pl

    runs = {
        row.name: _Run(row, row.policies[0] if row.policies else None) for row in rows if row.name in CHECKED
    }
    once = Size(seeds=stage.tapes[0].seed, overrides={"record": {"steps": "60 s"}})
    lockstep = Item(
        name="lockstep",
        description="",
        cases=tuple(Case(name, scenario, agents=(run.agent,)) for name, run in runs.items()),
        measures=(Measure("task_latency"),),
        quick=once,
        full=once,
    )
    with TemporaryDirectory(dir=folder) as out:
        made = batch(grid_of(lockstep, once), BatchOptions(out=Path(out) / "lockstep", jobs=jobs))
    if made.status == "interrupted":
        raise KeyboardInterrupt
    ran = made.results
    failed = ran.filter(pl.col("status") != "completed")
    if len(failed):
        raise AgentError(f"in lockstep with SUMO {failed['case'][0]} failed: {failed['error'][0]}")
    sumo = dict(zip(ran["case"], ran["task_latency"], strict=True))
    alone = Stage(stage.tapes[:1], stage.options)
    found = []
    for name, run in runs.items():
        tape = summed(alone.play(run.contender, 1, run.policy)[0, 0])
        found.append((name, seed, tape, sumo[name], abs(tape - sumo[name])))
    return pl.DataFrame(found, schema=["method", "seed", "tape", "lockstep", "difference"], orient="row")


def summed(episode: Any) -> float:
    """Return the mean of T_sum (T, V), added up as a run does, slot by slot, so that both are equal to the bit."""
    slots = [slot[slot == slot] for slot in episode]  # NaN: no task
    return sum((float(slot.sum()) for slot in slots), 0.0) / sum(map(len, slots))


@dataclass(frozen=True)
class _Run:
    contender: Contender
    policy: Shipped | None

    @property
    def agent(self) -> str:
        """The option ``--agent`` that lets it decide."""
        if self.policy is not None:
            return f"migration={PAPER}.{self.policy.method}:{self.policy.weights}"
        weights = self.contender.prediction
        return f"migration={PAPER}.{self.contender.rule}" + (f":{PAPER}/{weights}" if weights != NONE else "")


# -- tables --


def tables(material: Material) -> dict[str, pl.DataFrame]:
    """Return goals, trained policies, other predictions, the check in lockstep, and what is known of the traffic."""
    import polars as pl

    read = {name: pl.read_parquet(material.dir / name) for name in (EPISODES, LOCKSTEP, TRAFFIC, TOLD)}
    latency = latencies(material.results)
    lockstep = read[LOCKSTEP].with_columns(
        pl.when(pl.col("difference") == 0.0).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("equal")
    )
    exact = [pl.col(c).map_elements(repr, return_dtype=pl.String) for c in ("tape", "lockstep")]
    found = {
        "goals": goals(latency),
        "policies": policies(read[EPISODES]),
        "trainings": trainings(read[EPISODES]),
        "told": foreseen(read[TOLD], read[EPISODES]),
        "lockstep": lockstep.with_columns(*exact),
        "traffic": read[TRAFFIC],
    }
    return {name: frame for name, frame in found.items() if len(frame)}


# -- figures --


def draw(material: Material) -> dict[str, Figure]:
    """Return latencies and gaps as bars, and the curves of the trainings whose policies are shipped."""
    from cosim.plots import bars, learning_curves

    item, results = material.item, material.results
    seeds = results["seed"].to_list()
    shown = [f"{item.cases[0].scenario}, tapes {min(seeds)} to {max(seeds)}"]
    figures = {}
    for measure in item.measures:
        there = results.filter(results[measure.metric].is_not_null())
        if not len(there):
            continue
        published = {
            (case, ""): value.value / measure.quantity.factor
            for (case, metric), value in material.published.items()
            if metric == measure.metric and value.source != "reference"
        }
        figures[measure.metric] = bars(
            there,
            measure.metric,
            "method",
            published=published,
            title=f"{item.name}: {measure.quantity.label}",
            runs=shown,
        )
    curves = training_curves(item.cases[0].scenario)
    if len(curves):
        figures["training"] = learning_curves(
            curves,
            "steps",
            "eval_vs_random",
            group="method",
            title=f"{item.name}: evaluations while training, on 24 tapes of their own",
            runs=tuple(curves["run"].unique(maintain_order=True)),
        )
    return figures


def training_curves(scenario: str) -> pl.DataFrame:
    """Return the evaluations of all shipped trainings: ``method``, ``seed``, ``run``, ``steps``, ``eval_vs_random``."""
    import polars as pl

    parts = []
    for row in contenders(scenario)[0]:
        for policy in row.policies:
            path = policy.file(".curve.csv")
            if path is None:
                continue
            curve = pl.read_csv(path, infer_schema_length=None)
            if "eval_vs_random" in curve.columns:
                kept = curve.select("steps", pl.col("eval_vs_random").cast(pl.Float64)).drop_nulls()
                about = {"method": row.name, "seed": policy.seed, "run": policy.name}
                parts.append(kept.with_columns(*(pl.lit(v).alias(k) for k, v in about.items())))
    return pl.concat(parts) if parts else pl.DataFrame()


# -- items --

LATENCY, VS_RANDOM = Measure("task_latency"), Measure("vs_random")
_NOTE = (
    "A seed is a fresh tape, its value the mean over draws, and over all shipped policies of a trained method."
    " Ratios are of means over all tapes, their CIs by the delta method with methods paired on tapes. soft_lstm,"
    " soft_ar: the rule with predicted positions; soft_perfect and seq know what nobody can: bounds."
)

FIG6 = Item(
    name="fig6",
    description="Fig. 6: mean task latency of all methods, and how far the others are from Hybrid-MAPPO",
    cases=cases("urban_avatar"),
    measures=(LATENCY, Measure("latency_gap"), Measure("reward_gap"), VS_RANDOM),
    quick=Size(seeds="3000:3006", overrides={DRAWS: 2}),
    full=Size(seeds="3000:3048", overrides={DRAWS: 6}),
    published="hybrid_mappo_fig6.csv",
    reference="paper (latency: reference model)",
    claims="hybrid_mappo_fig6_claims.csv",
    compute=compute("urban_avatar"),
    tables=tables,
    draw=draw,
    note=_NOTE
    + " The paper's percentages stand under both readings, 1 - T_ours / T and T / T_ours - 1, as it does not"
    " say which it means; those against Random follow from the first. It prints no latencies: those are of the"
    " specification's reference model (48 other tapes, 6 draws).",
)

REMOTE = Item(
    name="remote",
    description="The remote layout, which the paper describes and does not evaluate: stay, or migrate to the next RSU",
    cases=cases("remote_avatar"),
    measures=(LATENCY, VS_RANDOM),
    quick=Size(seeds="3000:3006", overrides={DRAWS: 2}),
    full=Size(seeds="3000:3048", overrides={DRAWS: 6}),
    published="hybrid_mappo_remote.csv",
    reference="reference model",
    compute=compute("remote_avatar"),
    tables=tables,
    draw=draw,
    note=_NOTE + " Slots in a gap between RSUs have no task and are left out of means.",
)
