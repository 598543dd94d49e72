"""Grids: which runs a batch is made of, as data that can be written down and read back.

A grid is a list of groups; the runs of a group differ in their seed only.  :mod:`cosim.experiments.grid_file` makes
grids of what users write; a group made in Python comes from :func:`checked_group`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cosim.assembly import agents_of, check_agents, plan
from cosim.errors import ScenarioError
from cosim.experiments.axes import Shown
from cosim.lockstep.registry import AGENTS, AgentSpec, check_spec, find_weights, parse_agent_option
from cosim.recording import sha256_file
from cosim.registry import plugins as loaded_plugins
from cosim.scenario import Scenario, scenario_from_resolved
from cosim.tasks import tasks

GRID_JSON = "grid.json"
"""The file that makes a folder a batch."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only.

    ``parameters`` are the columns that tell it from other groups, ``agents`` who serves each task
    (``TASK=NAME:WEIGHTS``), ``hashes`` the SHA-256 of net and weights by path.
    """

    parameters: Mapping[str, Shown]
    scenario: Scenario
    agents: tuple[str, ...]
    seeds: tuple[int, ...]
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of a grid; ``name`` is the name of its directory."""

    name: str
    group: Group
    seed: int


@dataclass(frozen=True)
class Grid:
    """All runs of a batch, in order.

    ``plugins`` are the modules that register what the runs use, ``folder`` the working folder in which names
    (nets, weights) were found.
    """

    name: str
    groups: tuple[Group, ...]
    plugins: tuple[str, ...] = ()
    folder: str = field(default_factory=lambda: str(Path.cwd()))

    @classmethod
    def of(cls, name: str, groups: Sequence[Group]) -> Grid:
        """Return the grid of *groups*; ScenarioError if two runs are the same, or workers could not do one."""
        grid = cls(name, tuple(groups), _plugins_for(groups))
        assert grid.cells is not None  # which also looks for equal runs
        return grid

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The runs in order; ScenarioError if two of them are the same run."""
        cells: dict[str, Cell] = {}
        for group in self.groups:
            stem, content = _stem(group), _content(group)
            for seed in group.seeds:
                digest = hashlib.sha256(f"{content} {seed}".encode()).hexdigest()[:8]
                cell = Cell(f"{stem}-s{seed}-{digest}", group, seed)
                if cell.name in cells:
                    raise ScenarioError(
                        f"two runs of the grid are the same: {_in_words(cells[cell.name].group)} and"
                        f" {_in_words(group)}, seed {seed}"
                    )
                cells[cell.name] = cell
        return tuple(cells.values())

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of all groups' parameters, in order of appearance."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group.parameters))

    def to_data(self) -> dict[str, Any]:
        """Return the grid as JSON data; :func:`grid_from_data` gives it back."""
        groups = [
            {
                "parameters": dict(g.parameters),
                "seeds": list(g.seeds),
                "agents": list(g.agents),
                "hashes": dict(g.hashes),
                "scenario": g.scenario.resolved(),
            }
            for g in self.groups
        ]
        return {
            "name": self.name,
            "folder": self.folder,
            "plugins": list(self.plugins),
            "parameters": list(self.parameters),
            "groups": groups,
        }


def grid_from_data(data: Mapping[str, Any], origin: str) -> Grid:
    """Return the grid of ``Grid.to_data``; *origin* names the file in messages."""
    groups = tuple(
        Group(
            parameters=g["parameters"],
            scenario=scenario_from_resolved(g["scenario"], origin),
            agents=tuple(g["agents"]),
            seeds=tuple(g["seeds"]),
            hashes=g["hashes"],
        )
        for g in data["groups"]
    )
    return Grid(data["name"], groups, tuple(data["plugins"]), data["folder"])


def _stem(group: Group) -> str:
    agents = str(group.parameters.get("agent", ""))
    return "-".join(re.sub(r"[^\w.]+", "-", t).strip("-.")[:40] for t in (group.scenario.name, agents) if t)


def _content(group: Group) -> str:
    """Return all that decides a run's results, beside its seed, as text."""
    scenario = {k: v for k, v in group.scenario.resolved().items() if k not in ("seed", "description")}
    whole = [scenario, sorted(group.agents), sorted(group.hashes.values())]
    return json.dumps(whole, sort_keys=True)


def _in_words(group: Group) -> str:
    return ", ".join(f"{name}={value}" for name, value in group.parameters.items())


def checked_group(
    scenario: Scenario,
    agents: Sequence[AgentSpec] = (),
    *,
    seeds: Sequence[int] | None = None,
    parameters: Mapping[str, Shown] | None = None,
    net_file: Path | None = None,
) -> Group:
    """Return a group of runs of *scenario*; ScenarioError if it cannot be run as written.

    *agents* replace the scenario's own; *parameters* default to its name, and get a column ``agent``.  *net_file* is
    the file of its net, if the scenario itself has been checked already.
    """
    hashes = _hash(net_file or plan(scenario).net.net_file)
    specs = agents_of(scenario, agents)
    check_agents(scenario, specs)
    for spec in specs.values():
        check_spec(spec)
        if spec.weights is not None:
            hashes |= _hash(find_weights(spec.weights, spec.label))
        elif spec.name is not None and getattr(AGENTS.get(spec.name), "needs_weights", False):
            raise ScenarioError(f"agent '{spec.name}' needs trained weights: {spec.name}:FILE.safetensors")
    labels = {task: spec.option for task, spec in specs.items()}
    one = len(labels) == 1
    agent = next(iter(labels.values())) if one else " ".join(f"{t}={text}" for t, text in labels.items())
    return Group(
        parameters={**(parameters or {"scenario": scenario.name}), **({"agent": agent} if labels else {})},
        scenario=scenario,
        agents=tuple(f"{task}={text}" for task, text in labels.items()),
        seeds=tuple(seeds) if seeds is not None else (scenario.seed,),
        hashes=hashes,
    )


def _hash(path: Path) -> dict[str, str]:
    status = path.stat()
    return {str(path): _hashed(str(path), status.st_mtime_ns, status.st_size)}


_known_hashes: dict[tuple[str, int, int], str] = {}


def _hashed(path: str, mtime_ns: int, size: int) -> str:
    key = (path, mtime_ns, size)
    if key not in _known_hashes:
        _known_hashes[key] = sha256_file(path)
    return _known_hashes[key]


def changed_files(grid: Grid) -> list[str]:
    """Return the nets and weights of *grid* that are gone or no longer what they were."""
    files = {path: digest for group in grid.groups for path, digest in group.hashes.items()}
    return [p for p, digest in files.items() if not Path(p).is_file() or _hash(Path(p))[p] != digest]


def _plugins_for(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return the modules that a new process has to import to know the groups' agents and tasks."""
    found = list(loaded_plugins())
    agents = {spec.name for g in groups for spec in map(parse_agent_option, g.agents) if spec.name}
    modules = {(f"agent '{name}'", AGENTS.registered_in(name)) for name in agents}
    modules |= {(f"task '{name}'", tasks.registered_in(name)) for g in groups for name in g.scenario.tasks}
    for what, module in sorted((what, module) for what, module in modules if module):
        if module == "__main__":
            raise ScenarioError(
                f"{what} is registered in the script itself, where worker processes cannot find it:"
                " move it to a module, and import that"
            )
        if module not in found:
            found.append(module)
    return tuple(found)
