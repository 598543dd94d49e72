"""Opening the host of an agent, whichever kind it is to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cosim.lockstep.inline import InlineHost
from cosim.lockstep.process import ProcessHost
from cosim.lockstep.protocol import AgentHost
from cosim.lockstep.registry import AgentSpec, check_spec, create_agent
from cosim.registry import load_plugins
from cosim.registry import plugins as loaded_plugins


def open_host(
    spec: AgentSpec,
    task: str,
    *,
    inline: bool = False,
    plugins: Sequence[str] = (),
    deadline_s: float = 10.0,
    log: Path | None = None,
) -> AgentHost:
    """Return a host for the agent of *spec*, serving *task*.

    Args:
        inline: run a named agent in this process; a command always gets a process of its own.
        plugins: ``--plugin`` modules, loaded here and in the agent's process, besides those loaded before.
        deadline_s: longest time for an answer, of agents in processes.
        log: file for what an agent process prints.

    Raises ScenarioError if there is no such agent, weights or program.
    """
    load_plugins(plugins)
    check_spec(spec)
    if inline and spec.name is not None:
        return InlineHost(create_agent(spec.name, spec.weights), spec.label, task)
    return ProcessHost(spec, task, plugins=loaded_plugins(), deadline_s=deadline_s, log=log)
