"""``cosim train``: train an agent on a task of a scenario, into a folder with its curve, checkpoints and policy."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosim.cli.options import AsJson, Plugins, RayAddress, Settings
from cosim.errors import ScenarioError

if TYPE_CHECKING:
    from cosim.experiments.training import TrainOptions, TrainResult

_OFTEN = "may be given often."


def train_command(
    scenario: Annotated[
        str | None, typer.Argument(help="Scenario file or name (cosim list scenarios).")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Task to train, if the scenario has several.")] = None,
    agent: Annotated[
        str | None, typer.Option(help="Agent to train, such as common.dqn (cosim list agents).")
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="RECIPE", help="A recipe that the agent ships, or a .yaml file.")
    ] = "default",
    steps: Annotated[int | None, typer.Option(help="Environment steps of all workers together.")] = None,
    workers: Annotated[int | None, typer.Option(help="Simulations that collect side by side.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training; default: the scenario's.")] = None,
    settings: Settings = None,
    set_collect: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help=f"... while collecting only; {_OFTEN}")
    ] = None,
    set_eval: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help=f"... while evaluating only; {_OFTEN}")
    ] = None,
    set_agent: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help=f"Change the method's configuration; {_OFTEN}"),
    ] = None,
    set_training: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help=f"Change how the training proceeds (window, round, leg …); {_OFTEN}"
        ),
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(help="Steps between greedy evaluations; 0: at the end.")
    ] = None,
    eval_seeds: Annotated[int | None, typer.Option(help="Runs of the scenario an evaluation.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    overlap: Annotated[
        bool | None, typer.Option("--overlap", help="Collect a round while learning from the one before.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where workers run: process, ray or inline.")] = "process",
    ray_address: RayAddress = None,
    device: Annotated[str, typer.Option(help="Where the learner computes: auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder (new or empty); default: runs/train/….")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with a training in its folder.")] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Copy the policy to data/policies in the working folder.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard files too.")] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Train an agent; every update, evaluation and checkpoint goes into a folder."""
    from cosim.experiments.training import TrainOptions, resume_training

    _check_choices(scenario, resume, agent, engine, device)
    asked = _Asked(
        scenario=scenario,
        agent=agent,
        task=task,
        recipe=config,
        seed=seed,
        settings=tuple(settings or ()),
        collect=tuple(set_collect or ()),
        evaluate=tuple(set_eval or ()),
        method=tuple(set_agent or ()),
        training=_training(
            set_training or (),
            workers=workers,
            eval_every=eval_every,
            eval_seeds=eval_seeds,
            checkpoint_every=checkpoint_every,
            overlap=overlap,
        ),
    )
    if resume is not None and asked != _Asked():
        raise ScenarioError("--resume goes on with a training as it was: only --steps may be larger")
    with _progress(quiet=as_json) as progress:
        options = TrainOptions(
            engine=engine,  # type: ignore[arg-type]
            ray_address=ray_address,
            device=device,
            out=out,
            tensorboard=tensorboard,
            plugins=tuple(plugin or ()),
            progress=progress,
            command=tuple(sys.argv),
        )
        result = (
            asked.train(options, steps) if resume is None else resume_training(resume, options, steps=steps)
        )
    _report(result, as_json, install)
    if result.error is not None:
        raise result.error
    if result.status == "interrupted":
        sys.exit(130)


@dataclass(frozen=True)
class _Asked:
    """What is to be learnt, as it was asked for, except for how long; nothing of it may be asked for on --resume."""

    scenario: str | None = None
    agent: str | None = None
    task: str | None = None
    recipe: str = "default"
    seed: int | None = None
    settings: Sequence[str] = ()
    collect: Sequence[str] = ()
    evaluate: Sequence[str] = ()
    method: Sequence[str] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    def train(self, options: TrainOptions, steps: int | None) -> TrainResult:
        """Train anew."""
        from cosim.experiments.training import train

        assert self.scenario is not None
        assert self.agent is not None
        return train(
            self.scenario,
            self.agent,
            options,
            task=self.task,
            recipe=self.recipe,
            seed=self.seed,
            overrides=self.settings,
            collect_settings=self.collect,
            evaluate_settings=self.evaluate,
            agent_settings=self.method,
            **{**self.training, **({} if steps is None else {"steps": steps})},
        )


def _check_choices(
    scenario: str | None, resume: Path | None, agent: str | None, engine: str, device: str
) -> None:
    if (scenario is None) == (resume is None):
        raise ScenarioError("give one of: a SCENARIO with --agent NAME, or --resume DIR")
    if scenario is not None and agent is None:
        raise ScenarioError("say whom to train: --agent NAME, such as common.dqn")
    for option, value, known in (
        ("--engine", engine, ("process", "ray", "inline")),
        ("--device", device, ("auto", "cpu", "cuda")),
    ):
        if value not in known:
            raise ScenarioError(f"{option} {value}: must be one of {', '.join(known)}")


def _training(texts: Sequence[str], **given: Any) -> dict[str, Any]:
    """Return how the training proceeds: options of their own where they were given, and above them KEY=VALUE texts."""
    from cosim.scenario.source import Document, Source, override

    document = Document({}, Source("--set-training"))
    for text in texts:
        document = override(document, text)
    return {name: value for name, value in given.items() if value is not None} | document.data


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """A progress bar on a terminal, nothing in a pipe; evaluations are lines on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    log = logging.getLogger("cosim")
    log.setLevel(logging.INFO)
    if quiet or not sys.stderr.isatty():
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
        yield None
        return
    from rich.logging import RichHandler
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_level=False, show_path=False)],
    )
    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[speed]} {task.fields[words]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        job = bar.add_task("train", total=None, speed="", words="")
        first: list[int] = []

        def advance(steps: int, total: int, words: str) -> None:
            first[:] = first or [steps]
            elapsed = bar.tasks[0].elapsed or 0.0
            speed = f"{(steps - first[0]) / elapsed:.0f} steps/s" if elapsed > 1.0 else ""
            bar.update(job, completed=steps, total=total, speed=speed, words=words)

        yield advance


def _report(result: TrainResult, as_json: bool, install: bool) -> None:
    policy = result.policy
    if policy is not None and install:
        from cosim.experiments.train_files import install as copy_policy
        from cosim.lockstep.weights import read_policy

        policy = copy_policy(policy, read_policy(policy).about["agent"])
    if as_json:
        data = {
            "dir": str(result.dir),
            "status": result.status,
            "steps": result.steps,
            "evaluation": result.evaluation,
            "policy": None if policy is None else str(policy),
            "error": None if result.error is None else str(result.error),
        }
        print(json.dumps(data))
        return
    from rich.console import Console
    from rich.table import Table

    from cosim.plots.quantities import quantity

    table = Table(title=f"{result.status} after {result.steps} steps")
    table.add_column("greedy evaluation")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name, value in result.evaluation.items():
        shown = quantity(name)
        table.add_row(name, "-" if value is None else f"{value * shown.factor:.4g}", shown.unit)
    console = Console()
    if result.evaluation:
        console.print(table)
    console.print(f"training: {result.dir}", soft_wrap=True, highlight=False)
    if policy is not None:
        console.print(f"policy: {policy}", soft_wrap=True, highlight=False)
