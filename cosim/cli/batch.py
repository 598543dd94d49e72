"""``cosim batch``: a grid of runs, several at a time, into one folder with tables of what came out."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cosim.cli.options import AsJson, Jobs, Plugins, RayAddress, check_engine
from cosim.errors import ScenarioError

if TYPE_CHECKING:
    import polars as pl

    from cosim.experiments import BatchResult
    from cosim.experiments.batches import Progress

_MOST_GROUPS = 24
_COLUMN = 21


def batch_command(
    grid: Annotated[
        list[str] | None,
        typer.Argument(metavar="GRID_OR_SCENARIO…", help="Scenarios (names, files), grid files."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="0:10 (0 to 9), 0,3,7 or a number; default: the scenario's seed.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=A,B,C", help="Values of a key; write \\, for a comma. May be given often."
        ),
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option("--agent", metavar="[TASK=]NAME[:WEIGHTS]", help="Who decides; several are compared."),
    ] = None,
    jobs: Jobs = None,
    engine: Annotated[str, typer.Option(help="process or ray.")] = "process",
    ray_address: RayAddress = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder (new or empty); default: batches/NAME-UTC.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Run what is missing in --out (or in the folder named as grid).")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="With --resume: run what failed again, too.")
    ] = False,
    record: Annotated[
        str | None, typer.Option(help="full: all that the scenario records; none: events and the summary.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Run scenarios times seeds times settings times agents; exit code 1 if a run failed."""
    from cosim.experiments import BatchOptions, batch

    what = list(grid or ())
    if resume and out is None:
        out, what = _batch_among(what)
    check_engine(engine, ray_address)
    if record not in (None, "full", "none"):
        raise ScenarioError(f"--record {record}: must be full or none")
    if retry and not resume:
        raise ScenarioError("--retry goes with --resume")
    with progress_bar(quiet=as_json) as progress:
        options = BatchOptions(
            jobs=jobs,
            engine=cast(Any, engine),
            ray_address=ray_address,
            out=out,
            resume=resume,
            retry=retry,
            plugins=tuple(plugin or ()),
            progress=progress,
            command=tuple(sys.argv),
        )
        result = batch(
            what,
            options,
            seeds=seeds,
            overrides=settings or (),
            agents=agent or (),
            record=cast(Any, record),
        )
    _report(result, as_json)
    if result.status == "interrupted":
        sys.exit(130)
    if result.failed:
        sys.exit(1)


def _batch_among(what: Sequence[str]) -> tuple[Path, list[str]]:
    """Take the folder of a batch out of what was named."""
    folders = [w for w in what if (Path(w) / "grid.json").is_file()]
    if len(folders) != 1:
        raise ScenarioError("--resume: say which batch, with --out DIR or by naming its folder")
    return Path(folders[0]), [w for w in what if w != folders[0]]


@contextmanager
def progress_bar(*, quiet: bool, title: str = "") -> Iterator[Callable[[Progress], None] | None]:
    """Give what shows progress on a terminal (None in a pipe); failures and warnings go to standard error."""
    if quiet or not sys.stderr.isatty():
        _log_to_stderr()
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn(
            f"{title} {{task.fields[done]}} of {{task.total:.0f}} runs{{task.fields[failed]}}".strip()
        ),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        _log_to_stderr()
        job: Any = None

        def advance(now: Progress) -> None:
            nonlocal job
            failed = f", {now.failed} failed" if now.failed else ""
            if job is None:
                job = bar.add_task(
                    "batch", total=now.runs, completed=now.finished, done=now.finished, failed=failed
                )
            bar.update(job, completed=now.finished + now.under_way, done=now.finished, failed=failed)

        yield advance


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("cosim").setLevel(logging.INFO)


def _report(result: BatchResult, as_json: bool) -> None:
    failed = result.results.filter(result.results["status"] == "failed")
    if as_json:
        data = {
            "dir": str(result.dir),
            "status": result.status,
            "runs": len(result.grid.cells),
            "completed": len(result.results) - len(failed),
            "failed": len(failed),
            "missing": result.missing,
            "errors": failed.select("run", "error").to_dicts(),
            "summary": result.summary.to_dicts(),
        }
        print(json.dumps(data))
        return
    from rich.console import Console

    console = Console(highlight=False)
    print_summary(console, result)
    counts = [f"{len(result.results) - len(failed)} of {len(result.grid.cells)} runs completed"]
    counts += [f"{len(failed)} failed"] if len(failed) else []
    counts += [f"{result.missing} missing (cosim batch --resume {result.dir})"] if result.missing else []
    console.print(", ".join(counts), soft_wrap=True)
    for run, error in failed.select("run", "error").rows()[:_MOST_GROUPS]:
        console.print(f"  {run}: {error}", soft_wrap=True, markup=False)
    console.print(f"batch: {result.dir}", soft_wrap=True, markup=False)


def print_summary(console: Any, result: BatchResult) -> None:
    """Print each group's means with the half-widths of their 95 % CIs, as many groups beside each other as fit."""
    from rich.table import Table

    from cosim.experiments.results import metric_columns
    from cosim.plots.quantities import quantity

    summary, parameters = result.summary, result.grid.parameters
    if summary.is_empty():
        return
    metrics = metric_columns(result.results, parameters)
    groups = summary.partition_by(parameters, maintain_order=True) if parameters else [summary]
    varying = [p for p in parameters if summary[p].n_unique() > 1]
    fixed = [f"{p}={groups[0][p][0]}" for p in parameters if p not in varying]
    console.print("mean ± half-width of its 95 % CI; " + ", ".join(fixed), soft_wrap=True, markup=False)
    beside = max(1, (console.width - 36) // _COLUMN)
    for start in range(0, min(len(groups), _MOST_GROUPS), beside):
        table = Table()
        table.add_column("metric", overflow="fold")
        table.add_column("unit")
        shown = groups[start : start + beside]
        for group in shown:
            head = [f"{p.rpartition('.')[2]} {group[p][0]}" for p in varying]
            table.add_column("\n".join([*head, f"n = {group['runs'][0]}"]), justify="right")
        for k, name in enumerate(metrics):
            unit = quantity(name)
            table.add_row(name, unit.unit, *(_cell(group, k, unit.factor) for group in shown))
        console.print(table)
    if len(groups) > _MOST_GROUPS:
        console.print(f"… and {len(groups) - _MOST_GROUPS} more groups in summary.csv")


def _cell(group: pl.DataFrame, k: int, factor: float) -> str:
    from cosim.plots.quantities import number

    mean, low, high = group["mean"][k], group["ci_low"][k], group["ci_high"][k]
    if mean is None:
        return "–"
    half = "" if low is None else f" ± {number((high - low) / 2, factor)}"
    return f"{number(mean, factor)}{half}"
