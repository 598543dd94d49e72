"""``cosim list``: the names that scenarios and the command line may use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cosim.cli.options import Plugins


class Kind(StrEnum):
    """What can be listed."""

    scenarios = "scenarios"
    nets = "nets"
    tasks = "tasks"
    agents = "agents"
    channels = "channels"
    metrics = "metrics"
    papers = "papers"


def list_command(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    plugin: Plugins = None,
) -> None:
    """List scenarios, nets, tasks, agents, channels, metrics or papers."""
    from rich.console import Console

    from cosim.registry import load_plugins

    load_plugins(plugin or ())
    console = Console(highlight=False)
    rows = _rows(kind)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        console.print(f"{name:{width}}  {text}".rstrip(), soft_wrap=True, markup=False)


def _rows(kind: Kind) -> list[tuple[str, str]]:
    if kind is Kind.scenarios:
        from cosim.scenario import list_scenarios

        return list_scenarios()
    if kind is Kind.nets:
        from cosim.traffic.nets import find_net, list_nets

        found = [find_net(name) for name in list_nets()]
        return [
            (n.name, n.description + (f" Variants: {', '.join(n.variants)}." if n.variants else ""))
            for n in found
        ]
    if kind is Kind.tasks:
        from cosim.tasks import tasks

        return [(name, _first_line(tasks.get(name))) for name in tasks.names()]
    if kind is Kind.agents:
        from cosim.lockstep.registry import AGENTS

        return [(name, AGENTS.origin(name)) for name in AGENTS.names()]
    if kind is Kind.metrics:
        from cosim.network.metrics import NetworkMetrics
        from cosim.tasks import tasks
        from cosim.traffic.replay import METRICS as of_replay

        of_tasks = [(metric, name) for name in tasks.names() for metric in tasks.get(name).metric_names]
        of_network = [(metric, "network") for metric in NetworkMetrics(1).values()]
        return of_tasks + of_network + [(metric, "replayed traces") for metric in of_replay]
    if kind is Kind.channels:
        return _channel_models()
    from cosim.experiments.papers import PAPERS

    rows = []
    for paper in map(PAPERS.get, PAPERS.names()):
        rows.append((paper.key, paper.title))
        rows += [(f"{paper.key} {item.name}", item.description) for item in paper.items]
    return rows


def _channel_models() -> list[tuple[str, str]]:
    from cosim.network.allocation import ALLOCATORS
    from cosim.network.association import POLICIES
    from cosim.network.channel_config import SHADOWING
    from cosim.network.fading import FADING
    from cosim.network.los import LOS_MODELS
    from cosim.network.models import PATHLOSS
    from cosim.network.queues import DISCIPLINES

    registries = {
        "path loss": PATHLOSS.names(),
        "line of sight": LOS_MODELS.names(),
        "shadowing": tuple(SHADOWING),
        "fading": FADING.names(),
        "allocator": ALLOCATORS.names(),
        "association": POLICIES.names(),
        "queue discipline": DISCIPLINES.names(),
    }
    return [(name, kind) for kind, names in registries.items() for name in names]


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0] if thing.__doc__ else ""
