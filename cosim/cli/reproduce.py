"""``cosim reproduce``: a paper's tables and figures, with published values beside ours and a verdict a row."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cosim.cli.options import AsJson, Jobs, Plugins, RayAddress, check_engine
from cosim.errors import ScenarioError

if TYPE_CHECKING:
    from cosim.experiments.reproduction import Reproduced


def reproduce_command(
    paper: Annotated[str, typer.Argument(help="Key of a paper (cosim list papers).")],
    item: Annotated[str | None, typer.Argument(help="A table or figure; default: all of them.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Minutes (default); rows are indicative.")] = False,
    full: Annotated[bool, typer.Option("--full", help="As much as the paper did.")] = False,
    jobs: Jobs = None,
    engine: Annotated[str, typer.Option(help="process or ray.")] = "process",
    ray_address: RayAddress = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder above the items' folders; default: reproduced/PAPER.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run what failed again, too.")] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Reproduce a table or figure of a paper; called again, goes on where it stopped."""
    from rich.console import Console

    from cosim.cli.batch import progress_bar
    from cosim.experiments import BatchOptions
    from cosim.experiments.reproduction import reproduce

    if quick and full:
        raise ScenarioError("--quick or --full, not both")
    check_engine(engine, ray_address)
    console = Console(highlight=False)
    with progress_bar(quiet=as_json, title=f"{paper} {item or ''}".strip()) as progress:
        options = BatchOptions(
            jobs=jobs,
            engine=cast(Any, engine),
            ray_address=ray_address,
            out=out,
            retry=retry,
            plugins=tuple(plugin or ()),
            progress=progress,
            command=tuple(sys.argv),
        )
        done = None if as_json else (lambda one: _print(console, one))
        found = reproduce(paper, item, options, full=full, done=done)
    if as_json:
        print(json.dumps({"paper": paper, "items": [_as_data(one) for one in found]}))
    if any(one.status == "interrupted" for one in found):
        sys.exit(130)
    if any(one.failed for one in found):
        sys.exit(1)


def _print(console: Any, made: Reproduced) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cosim.experiments.reproduction import MOST_ROWS, frame_texts, table_rows, title_of

    head, *rows = table_rows(made)
    numbers = (made.item.reference, "ours", "n")
    table = Table(title=title_of(made), title_justify="left")
    for name in head:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    before = ""
    for row in rows:
        if before and row[0] != before:
            table.add_section()
        # Units stand in brackets, which rich would read as markup.
        table.add_row(*(escape(text) for text in (row[0] if row[0] != before else "", *row[1:])))
        before = row[0]
    console.print(table)
    for name, frame in made.more.items():
        if len(frame) <= MOST_ROWS:
            texts, body = frame_texts(frame)
            further = Table(title=name.replace("_", " "), title_justify="left")
            for text in texts:
                further.add_column(text, overflow="fold")
            for row in body:
                further.add_row(*map(escape, row))
            console.print(further)
    note = f"ours: mean ± half-width of its 95 % CI over n seeds. {made.item.note}".strip()
    console.print(note, soft_wrap=True, markup=False)
    if made.batch is not None and (made.failed or made.batch.missing):
        console.print(f"{made.failed} runs failed, {made.batch.missing} are missing: see results.csv")
    for figure in made.figures:
        console.print(f"figure: {figure}", soft_wrap=True, markup=False)
    console.print(f"folder: {made.dir}", soft_wrap=True, markup=False)


def _as_data(made: Reproduced) -> dict[str, Any]:
    return {
        "item": made.item.name,
        "size": "quick" if made.quick else "full",
        "dir": str(made.dir),
        "status": made.status,
        "failed": made.failed,
        "missing": 0 if made.batch is None else made.batch.missing,
        "figures": [str(figure) for figure in made.figures],
        "rows": made.table.to_dicts(),
        "tables": {name: frame.to_dicts() for name, frame in made.more.items()},
    }
