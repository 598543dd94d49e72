"""The whole scenario as frozen models: what a scenario file may say, and the methods of a loaded scenario."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from cosim.clock import Rate, to_us
from cosim.errors import ScenarioError
from cosim.scenario.base import KeyedError, Section, Whole
from cosim.scenario.messages import validate
from cosim.scenario.source import Document, KeyPath, Source, override, without_nulls
from cosim.scenario.traffic import TrafficConfig
from cosim.scenario.units import WholeTime, shown
from cosim.scenario.vehicles import BARE

M = TypeVar("M", bound=BaseModel)

_SCENARIO_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_AGENT_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def _period_or_off(value: Any) -> Any:
    return 0.0 if value == "off" or value is False else value


RecordPeriod = Annotated[WholeTime, BeforeValidator(_period_or_off), Field(ge=0)]
"""Seconds between two rows, 0 (written ``off``) for none."""


class RecordConfig(Section):
    """What a run writes down, and how often; events are always written."""

    steps: RecordPeriod = 1.0
    vehicles: RecordPeriod = 1.0
    links: RecordPeriod = 1.0
    commands: bool = True

    @property
    def steps_us(self) -> int | None:
        """Microseconds between two rows of ``steps/``, None if off."""
        return to_us(self.steps) or None

    @property
    def vehicles_us(self) -> int | None:
        """Microseconds between two samples of ``vehicles/``, None if off."""
        return to_us(self.vehicles) or None

    @property
    def links_us(self) -> int | None:
        """Microseconds between two samples of ``links/``, None if off."""
        return to_us(self.links) or None


class TaskConfig(Section):
    """A task: how often it decides and who decides; all other keys are the task's own ``options``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    every: Annotated[WholeTime, Field(gt=0)]
    agent: str
    weights: str | None = None
    deadline: Annotated[WholeTime, Field(gt=0)] = 10.0

    @property
    def every_us(self) -> int:
        """The decision period in whole microseconds."""
        return to_us(self.every)

    @property
    def deadline_us(self) -> int:
        """How long an answer may take, in whole microseconds of wall time."""
        return to_us(self.deadline)

    @property
    def options(self) -> dict[str, Any]:
        """The task's own keys as plain data; ``Scenario.parse`` validates them."""
        return dict(self.model_extra or {})

    @field_validator("agent", mode="after")
    @classmethod
    def _name_only(cls, value: str) -> str:
        if _AGENT_NAME.fullmatch(value):
            return value
        if value.startswith("cmd:") or " " in value or "/" in value:
            raise ValueError(
                f"{shown(value)} is a command; a scenario only names agents (give commands on the"
                " command line: --agent TASK=cmd:'…')"
            )
        raise ValueError(f"{shown(value)} is not an agent's name, such as 'common.rule_based'")


class Scenario(Section):
    """A validated scenario: SI numbers, defaults filled in, raw where a task or the network reads on.

    ``network`` and each task's options stay plain data until ``parse`` gives them to the model of who knows
    them.  The places of all keys travel along (also through ``model_copy`` and pickling), so that an error
    found late still names file, line and key.
    """

    name: str
    description: str = ""
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 0
    warmup: Annotated[WholeTime, Field(ge=0)] = 0.0
    duration: Annotated[WholeTime, Field(gt=0)]
    traffic: TrafficConfig
    network: dict[str, Any] | None = None
    tasks: dict[str, TaskConfig] = Field(default_factory=dict)
    record: RecordConfig = RecordConfig()

    _source: Source = PrivateAttr(default_factory=lambda: Source("scenario"))

    @property
    def warmup_us(self) -> int:
        """Simulated but unmeasured time before the run proper, in whole microseconds."""
        return to_us(self.warmup)

    @property
    def duration_us(self) -> int:
        """Measured time after the warm-up, in whole microseconds."""
        return to_us(self.duration)

    @property
    def step_us(self) -> int:
        """The traffic step in whole microseconds."""
        return self.traffic.step_us

    @field_validator("name")
    @classmethod
    def _usable_as_folder(cls, value: str) -> str:
        if not _SCENARIO_NAME.fullmatch(value):
            raise ValueError(
                f"{shown(value)} must hold letters, digits, '_', '-' and '.' only (runs are named after it)"
            )
        return value

    @field_validator("description")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return " ".join(value.split())

    @model_validator(mode="after")
    def _times_agree(self) -> Scenario:
        step = f"the traffic step of {self.step_us / 1000:g} ms"
        for key, value in (("warmup", self.warmup), ("duration", self.duration)):
            if to_us(value) % self.step_us:
                raise KeyedError(key, f"{value:g} s is not a whole multiple of {step}")
        periods = {f"tasks.{name}.every": task.every for name, task in self.tasks.items()}
        periods |= {f"record.{key}": getattr(self.record, key) for key in ("steps", "vehicles", "links")}
        for key, period in periods.items():
            if period:
                try:
                    Rate(self.step_us, to_us(period))
                except ValueError as error:
                    raise KeyedError(key, str(error)) from None
        return self

    def parse(self, path: str, model: type[M]) -> M:
        """Return the raw section at the dotted *path* (``network``, ``tasks.driving``) as *model*.

        Of a task, only its ``options`` are passed, not the keys that every task has (every, agent, weights,
        deadline).  An absent section is read as an empty one.  ScenarioError with file, line and key
        if it does not fit.
        """
        keys: KeyPath = tuple(path.split("."))
        section: Any = self.resolved()
        for key in keys:
            section = section.get(key, {}) if isinstance(section, dict) else {}
        common: set[str] = set()
        if keys[0] == "tasks" and len(keys) == 2:
            common = set(TaskConfig.model_fields)
            section = {k: v for k, v in section.items() if k not in common}
        return validate(model, section, self._source, keys, also_known=common)

    def error(self, path: str, message: str) -> ScenarioError:
        """Build the ScenarioError that says *message* about the key at the dotted *path*, with its place."""
        return self._source.error(tuple(int(p) if p.isdigit() else p for p in path.split(".")), message)

    def locate_error(self, error: ScenarioError) -> ScenarioError:
        """Return *error* with the place of its ``key`` (dotted), or *error* itself if it names none."""
        key = getattr(error, "key", None)
        return self.error(str(key), str(error)) if key else error

    def resolved(self) -> dict[str, Any]:
        """Return the scenario as plain JSON data in SI units, all defaults filled in.

        ``scenario_from_resolved`` gives an equal scenario back.
        """
        data = self.model_dump(mode="json", exclude_none=True)
        for vehicle_type in data["traffic"]["types"].values():
            vehicle_type["like"] = (
                BARE  # what is absent here was left to SUMO, and stays so when this is read back
            )
        return data

    def with_overrides(self, overrides: Sequence[str], places: Sequence[str] = ()) -> Scenario:
        """Return the scenario with ``key.path=value`` texts applied, as ``--set`` does.

        *places* say where they were written, if not after ``--set``.
        """
        document = Document(self.resolved(), self._source)
        for text, place in zip_longest(overrides, places, fillvalue=""):
            document = override(document, text, place)
        return build(document)


def build(document: Document) -> Scenario:
    """Return the scenario that *document* describes; ScenarioError with place and key if it is none."""
    scenario = validate(Scenario, without_nulls(document.data), document.source)
    scenario._source = document.source
    return scenario


def scenario_from_resolved(data: dict[str, Any], origin: str = "") -> Scenario:
    """Return the scenario of plain *data* (``Scenario.resolved``, a manifest, or a mapping made in Python).

    *origin* stands where messages would name a file.
    """
    return build(Document(data, Source(origin or f"scenario '{data.get('name', '?')}'")))
