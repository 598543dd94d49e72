"""Figs 9 and 11: trainings, their curves and where they end; those of policies that are shipped, or new ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.tpe_marl.items.cells import (
    FLOWS,
    METHODS,
    SHARES,
    TRAINED_FLOW,
    TRAINED_SHARES,
    overrides,
    policies,
    recipe,
    scenario,
)
from cosim.errors import AgentError
from cosim.experiments.axes import parse_seeds
from cosim.experiments.papers import Case, Item, Material, Measure, Size
from cosim.plots.quantities import Quantity

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

EVAL, STEPS = "eval_", "steps"
LAST = 0.2
"""The part of a training whose evaluations count as its end."""
COMMON = ("--workers", "1", "--overlap", "--eval-every", "20000")
SETS = ("nearest_farthest", "two_and_two", "all")
"""The paper's topology sets (a), (b) and (c)."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training: the case that it belongs to, and what ``cosim train`` is told."""

    case: str
    method: str
    flow: int
    share: int
    seed: int
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder of this training."""
        return f"{self.case}-s{self.seed}"

    def command(self, folder: Path, steps: int) -> list[str]:
        """Return the command that makes it, or goes on with it, in *folder*."""
        cosim = [sys.executable, "-m", "cosim", "train"]
        if (folder / "training.json").is_file():
            return [*cosim, "--resume", str(folder)]
        settings = [f"{key}={value}" for key, value in overrides(self.method).items()]
        return [
            *(*cosim, scenario(self.flow, self.share), "--agent", f"tpe_marl.{self.method}"),
            *("--steps", str(steps), "--seed", str(self.seed), "--out", str(folder), *COMMON),
            *("--config", recipe(self.method, steps)),
            *(word for text in settings for word in ("--set", text)),
            *(word for text in self.settings for word in ("--set-agent", text)),
        ]


def train_all(trainings: Sequence[Training], folder: Path, steps: int, jobs: int | None) -> dict[str, Path]:
    """Make those trainings that are not complete, several at a time; return the curve of each by its name.

    Called again, it goes on with what was stopped.  AgentError with the last words of one that fails.
    """
    home = folder / "trainings"
    home.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs or 1) as pool:
        made = [pool.submit(_train, one, home / one.name, steps) for one in trainings]
        try:
            return {one.name: future.result() for one, future in zip(trainings, made, strict=True)}
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _train(one: Training, folder: Path, steps: int) -> Path:
    curve = folder / "curve.parquet"
    if curve.is_file():
        return curve
    done = subprocess.run(one.command(folder, steps), capture_output=True, text=True, check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or [str(done.returncode)]
        raise AgentError(f"the training in {folder} failed: {words[0]}")
    return curve


def read_curve(path: Path) -> pl.DataFrame:
    """Return a curve: CSV as shipped, or Parquet as a training leaves it."""
    import polars as pl

    return pl.read_csv(path, infer_schema_length=None) if path.suffix == ".csv" else pl.read_parquet(path)


def ended(curve: pl.DataFrame) -> dict[str, float | None]:
    """Return where a training ended: means of the evaluations of its last fifth, and the slope of their return.

    ``return_per_episode``, ``success_rate``, ``vehicles_collided`` (an evaluation), ``slope`` (of the return, in
    100,000 steps) and ``steps``.
    """
    import numpy as np
    import polars as pl

    known = curve.filter(pl.col(f"{EVAL}return_per_episode").is_not_null())
    steps = float(known[STEPS].cast(float).to_numpy().max()) if len(known) else 0.0
    last = known.filter(pl.col(STEPS) > (1 - LAST) * steps)
    names = ("return_per_episode", "success_rate", "vehicles_collided")
    found: dict[str, float | None] = {"trained_steps": steps}
    for name in names:
        values = last[EVAL + name].drop_nulls().to_numpy()
        found[name] = float(values.mean()) if len(values) else None
    x, y = last[STEPS].cast(float).to_numpy() / 1e5, last[f"{EVAL}return_per_episode"].to_numpy()
    found["slope"] = float(np.polyfit(x, y, 1)[0]) if len(x) > 2 else None
    return found


def results_of(
    curves: Iterable[tuple[Training, Path]], labels: Mapping[str, Mapping[str, Any]], folder: Path
) -> pl.DataFrame:
    """Return a row a training, and write all curves, one behind the other, to ``curves.parquet``."""
    import polars as pl

    rows, lines = [], []
    for one, path in curves:
        curve = read_curve(path)
        about = {
            "case": one.case,
            **labels[one.case],
            "seed": one.seed,
            "run": path.stem.removesuffix(".curve"),
        }
        if path.name == "curve.parquet":
            about["run"] = one.name
        rows.append({**about, **ended(curve)})
        kept = curve.select(STEPS, pl.col(f"^{EVAL}.*$").cast(pl.Float64))
        lines.append(kept.with_columns(*(pl.lit(value).alias(name) for name, value in about.items())))
    if not rows:
        return pl.DataFrame(schema={"case": pl.String, "seed": pl.Int64, "run": pl.String})
    pl.concat(lines, how="diagonal").write_parquet(folder / "curves.parquet")
    return pl.DataFrame(rows, infer_schema_length=None)


# -- Fig. 11 --


def _cases() -> tuple[Case, ...]:
    return tuple(
        Case(
            f"{method}-{flow}-{share:03d}",
            scenario(flow, share),
            labels={"method": method, "flow": flow, "share": share},
            rank=f"{flow}-{share}",
        )
        for flow in FLOWS
        for share in SHARES
        for method in METHODS
    )


def _labels(cases: Sequence[Case]) -> dict[str, Mapping[str, Any]]:
    return {case.name: case.labels for case in cases}


def compute_curves(folder: Path, size: Size, jobs: int | None) -> pl.DataFrame:
    """Return where trainings ended: of all cells, or (no steps given) of the policies that are shipped."""
    steps = int(size.overrides["steps"])
    cells = [(m, flow, share) for flow in FLOWS for share in SHARES for m in METHODS]
    if steps:
        seeds = parse_seeds(size.seeds, "item 'fig11'")
        wanted = [Training(f"{m}-{q}-{p:03d}", m, q, p, seed) for seed in seeds for m, q, p in cells]
        made = train_all(wanted, folder, steps, jobs)
        curves = [(one, made[one.name]) for one in wanted]
    else:
        curves = [
            (Training(f"{m}-{q}-{p:03d}", m, q, p, policy.seed), path)
            for m, q, p in cells
            if q == TRAINED_FLOW and p == TRAINED_SHARES[p]
            for policy in policies(m, p)
            if (path := policy.file(".curve.csv")) is not None
        ]
    return results_of(curves, _labels(_cases()), folder)


def draw_curves(material: Material) -> dict[str, Figure]:
    """Return return and success over the steps, a panel a cell."""
    import polars as pl

    from cosim.plots import learning_curve_panels

    curves = pl.read_parquet(material.dir / "curves.parquet").with_columns(
        pl.format("{} veh/h a lane, {} % CAVs", "flow", "share").alias("cell")
    )
    return {
        name: learning_curve_panels(
            curves,
            STEPS,
            EVAL + name,
            "cell",
            "method",
            columns=len(SHARES),
            groups=METHODS,
            smooth=3,
            clip=0.1,
            title=f"fig11: {words}, mean of three evaluations",
            runs=material.runs,
        )
        for name, words in (("return_per_episode", "return of r_env"), ("success_rate", "success"))
    }


_MEASURES = (
    Measure("return_per_episode", Quantity("return per episode at the end")),
    Measure("success_rate", Quantity("success at the end", "%", 100.0)),
    Measure("vehicles_collided", Quantity("collided vehicles an evaluation")),
    Measure("slope", Quantity("slope of the return", "per 100,000 steps")),
    Measure("trained_steps", Quantity("steps", "1000", 1e-3)),
)

FIG11 = Item(
    name="fig11",
    description="Fig. 11: training curves of five methods in 3 flows x 4 CAV shares",
    cases=_cases(),
    measures=_MEASURES,
    quick=Size(seeds=1, overrides={"steps": 0}),
    full=Size(seeds="1:4", overrides={"steps": 900_000}),
    claims="tpe_marl_fig11_claims.csv",
    compute=compute_curves,
    draw=draw_curves,
    note="Greedy evaluations of r_env at kappa 1 without intrinsic rewards, of the last fifth of a training. Quick: the"
    " curves of the shipped policies. Full: 5,000 episodes in each of the 12 cells, three seeds, --jobs trainings at a"
    " time; called again it goes on.",
)


# -- Fig. 9 --


def _set_cases() -> tuple[Case, ...]:
    return tuple(
        Case(f"{kind}-{flow}", scenario(flow, 100), labels={"set": kind, "flow": flow}, rank=str(flow))
        for flow in FLOWS
        for kind in SETS
    )


def compute_sets(folder: Path, size: Size, jobs: int | None) -> pl.DataFrame:
    """Return where trainings of TPE with each topology set ended."""
    flows: Sequence[int] = size.overrides["flows"]
    wanted = [
        Training(f"{kind}-{flow}", "tpe_qmix", flow, 100, seed, (f"topology_set={kind}",))
        for flow in flows
        for seed in parse_seeds(size.seeds, "item 'fig9'")
        for kind in SETS
    ]
    made = train_all(wanted, folder, int(size.overrides["steps"]), jobs)
    return results_of([(one, made[one.name]) for one in wanted], _labels(_set_cases()), folder)


def draw_sets(material: Material) -> dict[str, Figure]:
    """Return the sets of one CAV on the road (the paper's Fig. 8), returns at the end, and the curves."""
    import polars as pl

    from agents.tpe_marl.items.drawings import topology_sets
    from cosim.plots import bars, learning_curve_panels

    curves = pl.read_parquet(material.dir / "curves.parquet").with_columns(
        pl.format("{} veh/h a lane", "flow").alias("cell")
    )
    curves = curves.filter(pl.col(f"{EVAL}return_per_episode").is_not_null())
    return {
        "sets": topology_sets(SETS),
        "return": bars(
            material.results,
            "return_per_episode",
            "flow",
            group="set",
            x_label="flow [veh/h a lane]",
            title="fig9: return at the end of training",
            runs=material.runs,
        ),
        "curves": learning_curve_panels(
            curves,
            STEPS,
            f"{EVAL}return_per_episode",
            "cell",
            "set",
            groups=SETS,
            title="fig9: return by topology set",
            runs=material.runs,
        ),
    }


FIG9 = Item(
    name="fig9",
    description="Fig. 9: TPE with the topology sets (a), (b) and (c) at 100 % CAVs: return at the end of training",
    cases=_set_cases(),
    measures=_MEASURES,
    quick=Size(seeds="1", overrides={"steps": 40_000, "flows": [350]}),
    full=Size(seeds="1:4", overrides={"steps": 900_000, "flows": list(FLOWS)}),
    claims="tpe_marl_fig9_claims.csv",
    compute=compute_sets,
    draw=draw_sets,
    note="Sets: (a) nearest and farthest, (b) two nearest and two farthest, (c) all others. Quick: one short training a"
    " set at 350 veh/h a lane. Full: 5,000 episodes, three flows, three seeds.",
)
