"""Agents by name, and how a user says which agent serves which task.

Names come from the entry-point group ``cosim.agents`` and from :func:`register_agent` in a ``--plugin``
module.  What stands behind a name is a class or function, called with the path of the trained weights or with
None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cosim.errors import ScenarioError
from cosim.lockstep.protocol import Agent
from cosim.registry import Registry
from cosim.resources import locate

AgentFactory = Callable[[Path | None], Agent]
"""Called with the path of the weights, or None.

A factory with the attribute ``needs_weights = True`` is never called with None.
"""

AGENTS: Registry[AgentFactory] = Registry("cosim.agents", "agent")

register_agent = AGENTS.register
"""``@register_agent("mine.name")`` above a class or function makes it an agent that can be named."""

_OPTION = re.compile(r"(?:(?P<task>[A-Za-z_][\w-]*)=)?(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """Which agent serves which task: a registered ``name`` with or without ``weights``, or a ``command``.

    ``task`` None means the only task there is.
    """

    task: str | None = None
    name: str | None = None
    weights: str | None = None
    command: str | None = None

    @property
    def label(self) -> str:
        """What the agent is called in messages and manifests: its name, or its command."""
        return self.name or f"cmd:{self.command}"

    @property
    def option(self) -> str:
        """``NAME[:WEIGHTS]`` or ``cmd:COMMAND``, as ``--agent TASK=…`` takes it."""
        return self.label if self.weights is None else f"{self.label}:{self.weights}"


def parse_agent_option(text: str) -> AgentSpec:
    """Read ``[TASK=]NAME[:WEIGHTS]`` or ``[TASK=]cmd:COMMAND``; ScenarioError if it is neither.

    >>> parse_agent_option("driving=tpe_marl.tpe_qmix:w.safetensors")
    AgentSpec(task='driving', name='tpe_marl.tpe_qmix', weights='w.safetensors', command=None)
    """
    match = _OPTION.fullmatch(text.strip())
    assert match is not None  # the pattern takes any text
    task, rest = match["task"], match["rest"].strip()
    kind, colon, tail = rest.partition(":")
    tail = tail.strip()
    if kind == "cmd":
        if not tail:
            raise ScenarioError(
                f"--agent {text}: a command must follow cmd:, such as cmd:'python my_agent.py'"
            )
        return AgentSpec(task=task, command=tail)
    if not kind or "=" in kind or any(c.isspace() for c in kind) or (colon and not tail):
        raise ScenarioError(f"--agent {text}: expected [TASK=]NAME[:WEIGHTS] or [TASK=]cmd:COMMAND")
    return AgentSpec(task=task, name=kind, weights=tail or None)


def find_weights(weights: str | Path, label: str) -> Path:
    """Return the file of trained weights: a path, or a name under ``data/policies``.

    ScenarioError if there is no such file; *label* names the agent in it.
    """
    found = locate(weights, "data/policies", ("", ".safetensors"))
    if found is None or not found.is_file():
        raise ScenarioError(f"agent '{label}': no weights at '{weights}', here or under data/policies")
    return found


def check_spec(spec: AgentSpec) -> None:
    """Raise ScenarioError if the named agent or its weights do not exist; imports no agent."""
    if spec.name is not None and spec.name not in AGENTS:
        AGENTS.get(spec.name)
    if spec.weights is not None:
        find_weights(spec.weights, spec.label)


def create_agent(name: str, weights: str | Path | None = None) -> Agent:
    """Return a new agent of that name.

    ScenarioError if the name is unknown, its module cannot be imported, the weights are missing, or the
    agent has none and needs some.
    """
    factory = AGENTS.get(name)
    path = None if weights is None else find_weights(weights, name)
    if path is None and getattr(factory, "needs_weights", False):
        raise ScenarioError(
            f"agent '{name}' needs trained weights: name them as {name}:FILE.safetensors, or train some"
        )
    return factory(path)
