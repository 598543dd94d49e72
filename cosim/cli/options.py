"""Options that several commands share, with the same name and the same help everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from cosim.errors import ScenarioError

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a scenario key; may be given often."),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="MODULE", help="Python module or file that registers more names."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, no table.")]
Jobs = Annotated[int | None, typer.Option(help="Runs at a time; default: one a processor.")]
RayAddress = Annotated[
    str | None, typer.Option(help="HOST:PORT, ray://HOST:PORT or auto; default: a local cluster.")
]


def check_engine(engine: str, ray_address: str | None, known: tuple[str, ...] = ("process", "ray")) -> None:
    """Raise ScenarioError if the engine is unknown, or an address is given without Ray."""
    if engine not in known:
        raise ScenarioError(f"--engine {engine}: must be {' or '.join(known)}")
    if ray_address is not None and engine != "ray":
        raise ScenarioError("--ray-address goes with --engine ray")
