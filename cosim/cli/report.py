"""``cosim report``: figures and one HTML page of a run, a batch or a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report_command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Directory of a run, a batch or a training, or a folder of these."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report (new, empty, or an earlier report); default: DIR/report."),
    ] = None,
) -> None:
    """Write figures (PNG and SVG) and one self-contained HTML page, and print the page's path."""
    from cosim.report import write_report

    typer.echo(write_report(folder, out))
