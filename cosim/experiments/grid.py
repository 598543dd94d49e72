"""Grids: which runs a batch is made of, all of it checked before the first of them starts.

A grid is a list of groups; the runs of a group differ in their seed only.  Groups come from scenarios times
settings times agents, from the command line or from a grid file (``docs/experiments.md``), or are made in Python.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cosim.assembly import agents_of, check_agents, plan
from cosim.errors import ScenarioError
from cosim.experiments.axes import (
    Setting,
    Shown,
    agent_variants,
    axes_of_texts,
    axes_of_values,
    parse_seeds,
)
from cosim.lockstep.registry import AGENTS, AgentSpec, check_spec, find_weights, parse_agent_option
from cosim.recording import sha256_file
from cosim.registry import plugins as loaded_plugins
from cosim.scenario import Scenario, Section, find_scenario, load_scenario, scenario_from_resolved
from cosim.scenario.messages import validate
from cosim.scenario.source import Source, label, read_yaml
from cosim.tasks import tasks

Record = Literal["full", "none"]
"""What the runs of a batch write beside their summary: all that the scenario records, or events only."""

Overrides = Sequence[str] | Mapping[str, Any]
"""``key=a,b,c`` texts, or a mapping from keys to a value or a list of values."""

_ONLY_GRIDS = ("scenarios", "seeds", "set", "agents")
_RECORD_NONE = ("record.steps=off", "record.vehicles=off", "record.links=off", "record.commands=false")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class GridFile(Section):
    """What a grid file may say."""

    name: str | None = None
    description: str = ""
    scenarios: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    seeds: Annotated[list[Any], BeforeValidator(_listed)] | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    agents: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list)
    record: Record | None = None


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


def read_grid(
    what: str | Path | Scenario | Sequence[str | Path | Scenario],
    *,
    seeds: str | int | Sequence[int | str] | None = None,
    overrides: Overrides = (),
    agents: Sequence[str] = (),
    record: Record | None = None,
) -> Grid:
    """Return the grid that scenarios and grid files span with seeds, settings and agents.

    Args:
        what: scenarios (names, files, or loaded ones) and grid files, one or several.
        seeds: ``"0:10"`` (0 to 9), ``"0,3,7"``, a number or a list; default: what a grid file says, else the
            scenario's own seed.
        overrides: settings; several values of a key make it an axis.  They replace a grid file's of that key.
        agents: ``[TASK=]NAME[:WEIGHTS]``; several for one task make an axis.  They replace a grid file's.
        record: ``full``, ``none``; default: what a grid file says, else ``full``.

    Raises:
        ScenarioError: anything of it cannot be run as written; the message says which and where.
    """
    given = [what] if isinstance(what, str | Path | Scenario) else list(what)
    if not given:
        raise ScenarioError("give at least one scenario or grid file")
    axes = axes_of_values(overrides) if isinstance(overrides, Mapping) else axes_of_texts(overrides)
    parts = list(_studies(given))
    groups: list[Group] = []
    for part in parts:
        whole = replace(
            part,
            seeds=part.seeds if seeds is None else parse_seeds(seeds),
            axes={**part.axes, **axes},
            agents=tuple(agents) or part.agents,
            agents_place="" if agents else part.agents_place,
            record=record or part.record,
        )
        groups += _groups(whole)
    names = list(dict.fromkeys(p.name for p in parts if p.name))
    name = names[0] if len(names) == 1 and all(p.name for p in parts) else _common_name(groups)
    return Grid.of(name, groups)


def checked_group(
    scenario: Scenario,
    agents: Sequence[AgentSpec] = (),
    *,
    seeds: Sequence[int] | None = None,
    parameters: Mapping[str, Shown] | None = None,
) -> Group:
    """Return a group of runs of *scenario*; ScenarioError if it cannot be run as written.

    *agents* replace the scenario's own; *parameters* default to its name.
    """
    return _group(scenario, _hash(plan(scenario).net.net_file), agents, seeds, parameters or {})


@dataclass(frozen=True)
class _Study:
    """What one grid file says, or the scenarios that were given beside grid files."""

    name: str
    scenarios: tuple[tuple[str | Path | Scenario, str], ...]
    """Each with its place in a grid file, or an empty text."""
    axes: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    agents: tuple[str, ...] = ()
    agents_place: str = ""
    seeds: tuple[int, ...] | None = None
    record: Record | None = None


def _studies(given: Sequence[str | Path | Scenario]) -> Iterator[_Study]:
    plain: list[tuple[str | Path | Scenario, str]] = []
    for entry in given:
        path = None if isinstance(entry, Scenario) else find_scenario(entry)
        if path is None or not _is_grid(path):
            plain.append((entry, ""))
        else:
            yield _read_study(path)
    if plain:
        yield _Study("", tuple(plain))


def _is_grid(path: Path) -> bool:
    return any(key in read_yaml(path).data for key in _ONLY_GRIDS)


def _read_study(path: Path) -> _Study:
    document = read_yaml(path)
    source = document.source
    file = validate(GridFile, document.data, source)
    places = {
        (key, k): f"{source.place(('set', key, *([] if k is None else [k])))}: set"
        for key, value in file.set.items()
        for k in (None, *range(len(value) if isinstance(value, list) else 1))
    }
    seeds = None
    if file.seeds is not None:
        seeds = parse_seeds(file.seeds, f"{source.place(('seeds',))}: seeds")
    return _Study(
        name=file.name or path.stem,
        scenarios=tuple(
            (_beside(path, name, source, k), source.place(("scenarios", k)))
            for k, name in enumerate(file.scenarios)
        ),
        axes=axes_of_values(file.set, places),
        agents=tuple(file.agents),
        agents_place=source.place(("agents",)) if file.agents else "",
        seeds=seeds,
        record=file.record,
    )


def _beside(path: Path, name: str, source: Source, number: int) -> Path:
    """Return the file of a scenario that a grid file names: beside it, or wherever scenarios are."""
    for suffix in ("", ".yaml"):
        if (candidate := path.parent / (name + suffix)).is_file():
            return candidate
    try:
        return find_scenario(name)
    except ScenarioError as error:
        raise source.error(("scenarios", number), str(error)) from None


def _groups(study: _Study) -> Iterator[Group]:
    axes = list(study.axes.values())
    columns = _scenario_columns(study)
    variants = _placed(study.agents_place, agent_variants, study.agents)
    for (entry, _), column in zip(study.scenarios, columns, strict=True):
        for settings in itertools.product(*axes):
            scenario = _with_settings(entry, settings)
            if study.record == "none":
                scenario = scenario.with_overrides(_RECORD_NONE)
            net = _hash(plan(scenario).net.net_file)
            for variant in variants:
                group = _placed(study.agents_place, _group, scenario, net, variant, study.seeds, {})
                shown = {s.key: s.shown for s in settings}
                parameters = {"scenario": column or scenario.name, **group.parameters, **shown}
                yield replace(group, parameters=parameters)


def _scenario_columns(study: _Study) -> list[str]:
    """Return what the column ``scenario`` says of each; empty: the scenario's name, which is then distinct."""
    texts = [label(Path(e)) if not isinstance(e, Scenario) else e.name for e, _ in study.scenarios]
    stems = [Path(text).stem if text.endswith(".yaml") else text for text in texts]
    twice = next((t for t in texts if texts.count(t) > 1), None)
    if twice is not None:
        raise ScenarioError(f"scenario '{twice}' is given twice")
    return texts if len(set(stems)) < len(stems) else [""] * len(texts)


def _with_settings(entry: str | Path | Scenario, settings: Sequence[Setting]) -> Scenario:
    texts = [s.override for s in settings]
    places = [s.place for s in settings]
    if isinstance(entry, Scenario):
        return entry.with_overrides(texts, places)
    return load_scenario(entry, texts, places)


def _group(
    scenario: Scenario,
    net: Mapping[str, str],
    agents: Sequence[AgentSpec],
    seeds: Sequence[int] | None,
    parameters: Mapping[str, Shown],
) -> Group:
    specs = agents_of(scenario, agents)
    hashes = dict(net)
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


def _placed(place: str, call: Any, *arguments: Any) -> Any:
    """Call, and put *place* before the message of a ScenarioError."""
    try:
        return call(*arguments)
    except ScenarioError as error:
        if not place:
            raise
        raise ScenarioError(f"{place}: agents: {str(error).removeprefix('--agent ')}") from None


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


def _common_name(groups: Sequence[Group]) -> str:
    names = list(dict.fromkeys(g.scenario.name for g in groups))
    return names[0] if len(names) == 1 else "batch"


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
