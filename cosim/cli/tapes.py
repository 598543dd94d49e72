"""``cosim tapes``: the traffic of a scenario recorded without agents, one tape a seed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cosim.cli.options import AsJson, Plugins, Settings


def tapes_command(
    scenario: Annotated[str, typer.Argument(help="Scenario file or name (cosim list scenarios).")],
    seeds: Annotated[str, typer.Option(help="0:200 (0 to 199), 0,3,7 or a number.")],
    out: Annotated[Path, typer.Option(help="Folder; tapes that it holds already are kept.")],
    jobs: Annotated[int | None, typer.Option(help="Processes; default: one a processor.")] = None,
    settings: Settings = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Record mobility tapes of a scenario's agent vehicles, for tasks whose decisions do not change the traffic."""
    from cosim.experiments.axes import parse_seeds
    from cosim.experiments.tapes import record_tapes
    from cosim.registry import load_plugins
    from cosim.scenario import load_scenario

    load_plugins(plugin or ())
    whole = load_scenario(scenario, settings or ())
    with _bar(quiet=as_json) as progress:
        done = record_tapes(whole, parse_seeds(seeds), out, jobs=jobs, progress=progress)
    if as_json:
        print(
            json.dumps(
                {
                    "dir": str(out),
                    "tapes": len(done.files),
                    "new": done.new,
                    "seconds_each": done.seconds,
                    "replaced": {str(seed): lost for seed, lost in done.replaced.items()},
                }
            )
        )
        return
    for seed, lost in done.replaced.items():
        typer.echo(f"seed {seed}: drawn again, because {lost}")
    speed = f", {done.seconds:.2f} s each" if done.new else ""
    typer.echo(f"tapes: {out} ({len(done.files)}, of which {done.new} new{speed})")


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give what shows progress on a terminal, None in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        job: Any = bar.add_task("tapes")
        yield lambda done, total: bar.update(job, completed=done, total=total)
