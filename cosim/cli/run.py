"""``cosim run``: one scenario, one seed, one run directory."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim.cli.options import AsJson, Plugins, Settings
from cosim.errors import ScenarioError

if TYPE_CHECKING:
    from cosim.runner import RunResult
    from cosim.traffic.gui import GuiOptions


def run_command(
    scenario: Annotated[
        str | None, typer.Argument(help="Scenario file or name (cosim list scenarios).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of this run; default: the scenario's.")] = None,
    duration: Annotated[str | None, typer.Option(help="Measured time, such as '180 s' or '1 h'.")] = None,
    settings: Settings = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            "--agent",
            metavar="[TASK=]NAME[:WEIGHTS]",
            help="Who decides; also TASK=cmd:'python my_agent.py'.",
        ),
    ] = None,
    gui: Annotated[bool, typer.Option("--gui", help="Open sumo-gui.")] = False,
    gui_delay: Annotated[str, typer.Option(help="Pause of sumo-gui after each step.")] = "100 ms",
    gui_quit: Annotated[bool, typer.Option("--gui-quit", help="Close sumo-gui at the end.")] = False,
    gui_follow: Annotated[
        str | None, typer.Option(metavar="ID", help="Vehicle that sumo-gui's view follows.")
    ] = None,
    screenshot: Annotated[
        Path | None, typer.Option(help="PNG of sumo-gui's view at the end of the run (opens sumo-gui).")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="libsumo or traci; default: the scenario's.")] = None,
    inline: Annotated[
        bool, typer.Option("--inline", help="Agents in this process instead of their own.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Run directory (new or empty); default: runs/NAME/sSEED-UTC.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run in its directory.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Repeat a recorded run from its actions, without agents.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Run a scenario and write a run directory."""
    from cosim import runner

    _one_of(scenario, resume, replay)
    if backend not in (None, "libsumo", "traci"):
        raise ScenarioError(f"--backend {backend}: must be libsumo or traci")
    overrides = [*(settings or ()), *([f"duration={duration}"] if duration else ())]
    if (resume or replay) and (overrides or seed is not None):
        raise ScenarioError(
            "--resume and --replay repeat a run as it was: --set, --seed and --duration do not apply"
        )
    if (gui or screenshot) and backend == "libsumo":
        raise ScenarioError("--backend libsumo has no window: leave it out with --gui")
    window = gui_options(gui or screenshot is not None, gui_delay, gui_quit, screenshot, gui_follow)
    with runner.terminable(), progress_bar(quiet=as_json) as progress:
        options = runner.RunOptions(
            agents=tuple(agent or ()),
            inline=inline,
            backend=backend,
            gui=window,
            out=out,
            plugins=tuple(plugin or ()),
            progress=progress,
            command=tuple(sys.argv),
        )
        if resume is not None:
            result = runner.resume(resume, options)
        elif replay is not None:
            result = runner.replay(replay, options)
        else:
            assert scenario is not None
            result = runner.run(scenario, options, seed=seed, overrides=overrides)
    finish_run(result, as_json)


def _one_of(scenario: str | None, resume: Path | None, replay: Path | None) -> None:
    given = [x for x in (scenario, resume, replay) if x is not None]
    if len(given) != 1:
        raise ScenarioError("give one of: a SCENARIO, --resume DIR, --replay DIR")


def finish_run(result: RunResult, as_json: bool) -> None:
    """Print a run's result, wait for its window, and end with its error or exit code if it did not complete."""
    from cosim import runner

    _report(result, as_json)
    if result.window is not None:
        print("sumo-gui stays open: close its window, or press Ctrl-C", file=sys.stderr)
        runner.wait_for_window(result)
    if result.error is not None:
        raise result.error
    if result.status == "interrupted":
        sys.exit(130)


def gui_options(
    wanted: bool, delay: str, quit_at_end: bool, screenshot: Path | None, follow: str | None = None
) -> GuiOptions | None:
    """Return what ``--gui`` and its companions ask for, None for no window."""
    if not wanted:
        return None
    from cosim.scenario.units import TIME
    from cosim.traffic.gui import GuiOptions

    try:
        pause = TIME.read(delay)
    except ValueError as error:
        raise ScenarioError(f"--gui-delay {delay}: {error}") from None
    if pause < 0:
        raise ScenarioError(f"--gui-delay {delay}: must not be negative")
    return GuiOptions(delay_s=pause, quit_at_end=quit_at_end, screenshot=screenshot, follow=follow)


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, nothing in a pipe; what agents and the run log goes to standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:  # how a run failed is said once, by main()
        handler.addFilter(lambda record: record.name != "cosim.run" or record.levelno < logging.ERROR)
    logging.getLogger("cosim").setLevel(logging.INFO)
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[at]}"),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task(
            "run", total=None, at="", speed=""
        )  # how long it will be is known at the first step
        shown = 0

        def advance(t_us: int, end_us: int) -> None:
            nonlocal shown
            if t_us - shown >= 1_000_000 or t_us >= end_us:
                shown = t_us
                elapsed = bar.tasks[0].elapsed or 0.0
                speed = f"{t_us / 1e6 / elapsed:.0f} x real time" if elapsed > 0.5 else ""
                at = f"{t_us / 1e6:.0f} of {end_us / 1e6:.0f} s"
                bar.update(job, completed=t_us / 1e6, total=end_us / 1e6, at=at, speed=speed)

        yield advance


def _report(result: RunResult, as_json: bool) -> None:
    if as_json:
        data = {
            "dir": str(result.dir),
            "status": result.status,
            "metrics": result.metrics,
            "tasks": result.tasks,
            "error": None if result.error is None else str(result.error),
        }
        print(json.dumps(data))
        return
    from rich.console import Console
    from rich.table import Table

    from cosim.plots.quantities import quantity

    who = ", ".join(f"{task} by {values.get('agent')}" for task, values in result.tasks.items())
    table = Table(title=f"{result.status}{': ' if who else ''}{who}")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name, value in result.metrics.items():
        shown = quantity(name)
        table.add_row(name, "-" if value is None else f"{value * shown.factor:.4g}", shown.unit)
    console = Console()
    console.print(table)
    console.print(f"run directory: {result.dir}", soft_wrap=True, highlight=False)
