"""Grids as users write them: scenarios, settings, agents and seeds on the command line, in Python or in a grid file.

:func:`read_grid` multiplies them and checks every cell, so that a mistake is named, with file and line where it has
one, before anything runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cosim.assembly import plan
from cosim.errors import ScenarioError
from cosim.experiments.axes import Setting, agent_variants, axes_of_texts, axes_of_values, parse_seeds
from cosim.experiments.grid import GRID_JSON, Grid, Group, checked_group
from cosim.scenario import Scenario, Section, find_scenario, load_scenario
from cosim.scenario.messages import validate
from cosim.scenario.source import Source, label, read_yaml

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


@dataclass(frozen=True)
class _Study:
    """What one grid file says, or the scenarios that were given beside grid files."""

    name: str
    scenarios: tuple[str | Path | Scenario, ...]
    axes: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    agents: tuple[str, ...] = ()
    agents_place: str = ""
    seeds: tuple[int, ...] | None = None
    record: Record | None = None


def _studies(given: Sequence[str | Path | Scenario]) -> Iterator[_Study]:
    plain: list[str | Path | Scenario] = []
    for entry in given:
        if not isinstance(entry, Scenario) and (Path(entry) / GRID_JSON).is_file():
            raise ScenarioError(f"{entry} is a batch; to go on with it: --resume")
        path = None if isinstance(entry, Scenario) else find_scenario(entry)
        if path is None or not _is_grid(path):
            plain.append(entry)
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
        scenarios=tuple(_beside(path, name, source, k) for k, name in enumerate(file.scenarios)),
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
    columns = _scenario_columns(study)
    with _placed(study.agents_place):
        variants = agent_variants(study.agents)
    for entry, column in zip(study.scenarios, columns, strict=True):
        for settings in itertools.product(*study.axes.values()):
            scenario = _with_settings(entry, settings)
            if study.record == "none":
                scenario = scenario.with_overrides(_RECORD_NONE)
            net_file = plan(scenario).net.net_file
            for variant in variants:
                with _placed(study.agents_place):
                    group = checked_group(scenario, variant, seeds=study.seeds, net_file=net_file)
                shown = {s.key: s.shown for s in settings}
                parameters = {**group.parameters, "scenario": column or scenario.name, **shown}
                yield replace(group, parameters=parameters)


def _scenario_columns(study: _Study) -> list[str]:
    """Return what the column ``scenario`` says of each; empty: the scenario's name, which is then distinct."""
    texts = [label(Path(e)) if not isinstance(e, Scenario) else e.name for e in study.scenarios]
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


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Put *place*, if there is one, before the message of a ScenarioError."""
    try:
        yield
    except ScenarioError as error:
        if not place:
            raise
        raise ScenarioError(f"{place}: agents: {str(error).removeprefix('--agent ')}") from None


def _common_name(groups: Sequence[Group]) -> str:
    names = list(dict.fromkeys(g.scenario.name for g in groups))
    return names[0] if len(names) == 1 else "batch"
