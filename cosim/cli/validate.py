"""``cosim validate``: everything that can be checked of scenarios without simulating."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cosim.cli.options import Plugins, Settings
from cosim.errors import ScenarioError


def validate_command(
    scenarios: Annotated[list[str], typer.Argument(help="Scenario files or names.")],
    settings: Settings = None,
    plugin: Plugins = None,
) -> None:
    """Check scenarios: schema, files, nets, routes, tasks, agents; nothing is simulated."""
    from cosim.assembly import check_agents, plan
    from cosim.registry import load_plugins
    from cosim.scenario import load_scenario

    load_plugins(plugin or ())
    bad = 0
    for name in scenarios:
        try:
            scenario = load_scenario(name, settings or ())
            plan(scenario)
            check_agents(scenario)
        except ScenarioError as error:
            bad += 1
            print(f"error: {error}", file=sys.stderr)
        else:
            print(f"{name}: valid")
    if bad:
        sys.exit(2)
