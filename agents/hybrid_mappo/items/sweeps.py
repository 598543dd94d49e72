"""Figs 7 to 11 of Hybrid-MAPPO: one parameter fixed at several values, all others drawn from their ranges.

Policies play as they were trained, on the default ranges; the paper may have trained at each value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.hybrid_mappo.items.compared import DRAWS, KEPT, LATENCY, TRAFFIC, traffic
from agents.hybrid_mappo.items.compared_tables import latencies
from agents.hybrid_mappo.items.contenders import OURS, TRAINED, by_tape, contenders, evaluate, ratio, stage_of
from cosim.experiments.axes import parse_seeds
from cosim.experiments.papers import Case, Item, Material, Measure, Size, read_published
from cosim.plots.intervals import mean_interval
from cosim.plots.quantities import plus_minus, quantity

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

SCENARIO = "urban_avatar"
ROWS = (*TRAINED, "greedy", "random", "fpm", "npm", "soft", "soft_lstm", "soft_perfect", "seq")
ALL = "all"
"""The value of the rows that hold the means over a sweep."""
VALUES = "values"
"""Name of the setting that says how many of a sweep's values are measured (0: all)."""
REFERENCE = "hybrid_mappo_{}_reference.csv"


@dataclass(frozen=True)
class Sweep:
    """What is fixed: the draw ``name`` at ``values``, in print ``column`` whose unit is ``unit`` in SI."""

    item: str
    title: str
    name: str
    column: str
    unit: float
    values: tuple[int, ...]

    def cases(self) -> tuple[Case, ...]:
        """Return a case a method and value, and one a method for the mean over all values."""
        values = (*map(str, self.values), ALL)
        return tuple(
            Case(f"{name}-{value}", SCENARIO, labels={"method": name, "value": value}, rank=value)
            for value in values
            for name in ROWS
        )


MB, MHZ, MBPS, GHZ = 8e6, 1e6, 1e6, 1e9
SWEEPS = (
    Sweep("fig7", "Fig. 7: task size", "task_bits", "task_size_mb", MB, (50, 100, 150, 200, 250)),
    Sweep("fig8", "Fig. 8: wireless bandwidth", "bandwidth", "bandwidth_mhz", MHZ, (100, 200, 300, 400, 500)),
    Sweep(
        "fig9",
        "Fig. 9: bandwidth between RSUs",
        "migration",
        "migration_rate_mbps",
        MBPS,
        (500, 600, 700, 800, 900),
    ),
    Sweep("fig10", "Fig. 10: processors of RSUs", "cpu", "cpu_ghz", GHZ, (10, 15, 20, 25, 30)),
    Sweep(
        "fig11",
        "Fig. 11: the cloud's processor",
        "cpu_cloud",
        "cloud_cpu_ghz",
        GHZ,
        (50, 60, 70, 80, 90, 100),
    ),
)


def compute(sweep: Sweep) -> Any:
    """Return what measures all methods at a sweep's values."""

    def measured(folder: Path, size: Size, jobs: int | None) -> pl.DataFrame:
        import polars as pl

        seeds, draws = parse_seeds(size.seeds), int(size.overrides[DRAWS])
        stage = stage_of(SCENARIO, seeds, folder.parent, jobs)
        there, missing = contenders(SCENARIO)
        rows = [row for row in there if row.name in ROWS]
        parts = []
        for value in chosen(sweep.values, int(size.overrides[VALUES])):
            stage.fix(**{sweep.name: value * sweep.unit})
            found = evaluate(stage, rows, seeds, draws, kept=folder / KEPT)
            parts.append(found.with_columns(pl.lit(str(value)).alias("value")))
        each = pl.concat(parts)
        whole = each.with_columns(pl.lit(ALL).alias("value"))
        traffic(stage, {name: why for name, why in missing.items() if name in ROWS}).write_parquet(
            folder / TRAFFIC
        )
        return pl.concat([by_tape(each, ["value"]), by_tape(whole, ["value"])]).with_columns(
            pl.format("{}-{}", "method", "value").alias("case"),
            pl.format("{}, tape {}", pl.lit(SCENARIO), "seed").alias("run"),
            pl.col("value").cast(pl.Float64, strict=False).alias(sweep.column),
        )

    return measured


def chosen(values: Sequence[int], count: int) -> Sequence[int]:
    """Return the first, the middle and the last of *values* for count 3; all for 0."""
    if not count or count >= len(values):
        return values
    return [values[round(k * (len(values) - 1) / max(count - 1, 1))] for k in range(count)]


def gains(material: Material) -> pl.DataFrame:
    """Return, for each value, how far ours is below every other method, %."""
    import polars as pl

    rows = []
    for (value,), part in material.results.group_by(["value"], maintain_order=True):
        row = {"value": str(value)}
        for (name,), there in part.group_by(["method"], maintain_order=True):
            if name != OURS and there["latency_gap"].is_not_null().all():
                found = mean_interval(100.0 * there["latency_gap"].to_numpy())
                row[f"below {name} [%]"] = plus_minus(found.mean, found.half)
        rows.append(row)
    return pl.DataFrame(rows) if len(rows[0]) > 1 else pl.DataFrame()


def trends(material: Material, sweep: Sweep) -> pl.DataFrame:
    """Return, for each method, the change of T from the least value to the largest, paired on tapes."""
    import polars as pl

    ordered = material.results.filter(pl.col(sweep.column).is_not_null()).sort(
        sweep.column, maintain_order=True
    )
    values = ordered[sweep.column].unique().sort()
    first, last = (latencies(ordered.filter(ordered[sweep.column] == v)) for v in (values[0], values[-1]))
    rows = []
    for name in first:
        found = mean_interval(100.0 * (ratio(last[name], first[name]) - 1.0))
        rows.append(
            {
                "method": name,
                f"T at {values[0]:g} [s]": f"{first[name].mean():.2f}",
                f"T at {values[-1]:g} [s]": f"{last[name].mean():.2f}",
                "change [%]": plus_minus(found.mean, found.half),
            }
        )
    return pl.DataFrame(rows)


def against_reference(material: Material) -> pl.DataFrame:
    """Return our means beside those of the specification's analytic model, which has other traffic."""
    import polars as pl

    known = read_published(replace(material.item, published=REFERENCE.format(material.item.name)))
    rows = []
    for case in material.item.cases:
        value = known.get((case.name, LATENCY.metric))
        ours = material.results.filter(material.results["case"] == case.name)["task_latency"]
        if value is not None and len(ours):
            mean = float(ours.to_numpy().mean())
            about = {"method": str(case.labels["method"]), "value": str(case.labels["value"])}
            rows.append({**about, "ours [s]": mean, "analytic [s]": value.value, "ratio": mean / value.value})
    return pl.DataFrame(rows)


def _tables(sweep: Sweep) -> Any:
    def made(material: Material) -> dict[str, pl.DataFrame]:
        import polars as pl

        found = {
            "gains": gains(material),
            "trends": trends(material, sweep),
            "reference": against_reference(material),
            "traffic": pl.read_parquet(material.dir / TRAFFIC),
        }
        return {name: frame for name, frame in found.items() if len(frame)}

    return made


def _draw(sweep: Sweep) -> Any:
    def drawn(material: Material) -> dict[str, Figure]:
        import polars as pl

        from cosim.plots import learning_curve_panels

        there = material.results.filter(material.results[sweep.column].is_not_null())
        seeds = there["seed"].to_list()
        figures = {}
        for measure in material.item.measures:
            shown = there.filter(there[measure.metric].is_not_null())
            if len(shown):
                figures[measure.metric] = learning_curve_panels(
                    shown.with_columns(pl.lit(f"tapes {min(seeds)} to {max(seeds)}").alias("panel")),
                    sweep.column,
                    measure.metric,
                    "panel",
                    "method",
                    groups=ROWS,
                    title=f"{sweep.item}: {measure.quantity.label} over {quantity(sweep.column).label}",
                    runs=[f"{SCENARIO}, tapes {min(seeds)} to {max(seeds)}"],
                )
        return figures

    return drawn


def _item(sweep: Sweep) -> Item:
    return Item(
        name=sweep.item,
        description=f"{sweep.title} fixed at {sweep.values[0]} to {sweep.values[-1]}"
        f" {quantity(sweep.column).unit}: mean task latency of all methods",
        cases=sweep.cases(),
        measures=(LATENCY, Measure("latency_gap")),
        quick=Size(seeds="3000:3004", overrides={DRAWS: 1, VALUES: 3}),
        full=Size(seeds="3000:3048", overrides={DRAWS: 1, VALUES: 0}),
        published=f"hybrid_mappo_{sweep.item}.csv" if sweep.item != "fig9" else "",
        claims="hybrid_mappo_sweep_claims.csv",
        compute=compute(sweep),
        tables=_tables(sweep),
        draw=_draw(sweep),
        note="A seed is a fresh tape, its value the mean over draws and shipped policies; value 'all': the mean over"
        " the sweep, to which the paper's gain over no prediction is compared. Policies were trained on the default"
        " ranges, not at these values, as the paper's may have been, so they are tried outside of what they know best.",
    )


ITEMS = tuple(_item(sweep) for sweep in SWEEPS)
