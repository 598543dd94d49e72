"""The ``traffic`` section: net, step, backend, what drives on the road, and what SUMO itself may write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PlainSerializer, PlainValidator, field_validator, model_validator

from cosim.clock import to_us
from cosim.errors import nearest
from cosim.scenario.base import KeyedError, Section, Whole
from cosim.scenario.replay import ReplayConfig
from cosim.scenario.sumo_options import check_option
from cosim.scenario.units import LENGTH, SPEED, Number, Share, Time, VehicleRate, WholeTime, shown
from cosim.scenario.vehicles import VehicleTypeConfig, with_built_in_types

_SHARE_SLACK = 1e-6
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def _depart_lane(value: Any) -> str | int:
    if value in ("random", "best"):
        return str(value)
    lane = int(value) if isinstance(value, str) and value.isdigit() else value
    if isinstance(lane, bool) or not isinstance(lane, int) or lane < 0:
        raise ValueError(f"{shown(value)} is neither 'random' nor 'best' nor a lane index (0 = rightmost)")
    return lane


def _depart_speed(value: Any) -> str | float:
    if value == "max":
        return "max"
    speed = SPEED.read(value)
    if speed < 0:
        raise ValueError(f"must be at least 0, not {shown(value)}")
    return speed


def _depart_pos(value: Any) -> str | float:
    return "base" if value == "base" else LENGTH.read(value)


def _route(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list | tuple) and value and all(isinstance(e, str) for e in value):
        return tuple(value)
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"must be the name of a route or a list of edges, not {shown(value)}")


def _plain_route(value: str | tuple[str, ...]) -> str | list[str]:
    return value if isinstance(value, str) else list(value)


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} must start with a letter and hold letters, digits, '_' and '-' only")
    return value


DepartLane = Annotated[str | int, PlainValidator(_depart_lane)]
"""``random`` (drawn by key among all lanes), ``best`` (SUMO chooses) or an index, 0 = rightmost."""
DepartSpeed = Annotated[str | float, PlainValidator(_depart_speed)]
"""``max`` or m/s."""
DepartPos = Annotated[str | float, PlainValidator(_depart_pos)]
"""``base`` (the vehicle just inside its edge) or m from the edge's start."""
RouteRef = Annotated[str | tuple[str, ...], PlainValidator(_route), PlainSerializer(_plain_route)]
"""A route's name or its edges."""


class InflowConfig(Section):
    """Vehicles that keep arriving at one edge; ids are ``NAME.000000``, ``NAME.000001`` …"""

    name: str = "veh"
    edge: str | None = None
    rate: Annotated[VehicleRate, Field(ge=0)]
    per: Literal["lane", "edge"] = "lane"
    arrivals: Literal["poisson", "equal", "bernoulli"] = "poisson"
    cav_share: Share = 0.0
    hdv_type: str = "hdv"
    cav_type: str = "cav"
    routes: Annotated[dict[str, Share], Field(min_length=1)]
    depart_lane: DepartLane = "random"
    depart_speed: DepartSpeed = 10.0
    depart_pos: DepartPos = "base"
    begin: Annotated[WholeTime, Field(ge=0)] = 0.0
    end: Annotated[WholeTime, Field(gt=0)] | None = None

    _check_name = field_validator("name")(_name)

    @field_validator("routes")
    @classmethod
    def _shares_sum_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        total = sum(value.values())
        if abs(total - 1.0) > _SHARE_SLACK:
            raise ValueError(f"the shares sum to {total:g}, not to 1")
        return value

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> InflowConfig:
        if self.end is not None and self.end <= self.begin:
            raise KeyedError("end", f"{self.end:g} s is not after begin, {self.begin:g} s")
        return self


class TimeDraw(Section):
    """A time, or the distribution that it is drawn from: ``{uniform: [a, b]}``, ``{normal: [mean, sd]}``."""

    value: Time | None = None
    uniform: tuple[Time, Time] | None = None
    normal: tuple[Time, Time] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, data: Any) -> Any:
        if isinstance(data, list | tuple):
            raise ValueError(
                "must be a time, {uniform: [from, to]} or {normal: [mean, deviation]}, not a list"
            )
        return data if isinstance(data, dict | TimeDraw) else {"value": data}

    @model_validator(mode="after")
    def _one_of_three(self) -> TimeDraw:
        if sum(x is not None for x in (self.value, self.uniform, self.normal)) != 1:
            raise ValueError("must be one of: a time, {uniform: [from, to]}, {normal: [mean, deviation]}")
        if self.uniform and self.uniform[0] > self.uniform[1]:
            raise KeyedError("uniform", f"{self.uniform[0]:g} s is after {self.uniform[1]:g} s")
        if self.normal and self.normal[1] < 0:
            raise KeyedError("normal", f"a standard deviation cannot be {self.normal[1]:g} s")
        return self

    def at(self, u: Iterable[float]) -> NDArray[np.float64]:
        """Return the times (n,) in s that the caller's uniform numbers *u* (n,), inside (0, 1), stand for."""
        shares = np.asarray(list(u), dtype=np.float64)
        if self.uniform is not None:
            return self.uniform[0] + shares * (self.uniform[1] - self.uniform[0])
        if self.normal is not None:
            standard = NormalDist()
            return self.normal[0] + self.normal[1] * np.array([standard.inv_cdf(x) for x in shares.tolist()])
        return np.full(shares.shape, self.value)


class DepartConfig(Section):
    """When a group's vehicles depart: ``group`` (drawn once) + ``each`` (drawn per vehicle), or ``at``."""

    group: TimeDraw = TimeDraw(value=0.0)
    each: TimeDraw = TimeDraw(value=0.0)
    at: tuple[Annotated[Time, Field(ge=0)], ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, data: Any) -> Any:
        if isinstance(data, list | tuple):
            return {"at": data}
        return data if isinstance(data, dict | DepartConfig) else {"group": data}


class VehicleGroupConfig(Section):
    """``count`` explicit vehicles on one route; ids are ``NAME.000000``, ``NAME.000001`` …"""

    name: str
    route: RouteRef
    repeat: Annotated[Whole, Field(ge=1)] = 1
    type: str = "hdv"
    count: Annotated[Whole, Field(ge=1)] = 1
    depart: DepartConfig = DepartConfig()
    depart_lane: DepartLane = "best"
    depart_speed: DepartSpeed = 10.0
    depart_pos: DepartPos = "base"

    _check_name = field_validator("name")(_name)

    def departure_times(self, u_group: Iterable[float], u_each: Iterable[float]) -> NDArray[np.float64]:
        """Return the departure times (count,) in s for keyed uniform numbers: one, and one a vehicle."""
        if self.depart.at is not None:
            return np.array(self.depart.at, dtype=np.float64)
        return self.depart.group.at(u_group) + self.depart.each.at(u_each)

    @model_validator(mode="after")
    def _one_time_each(self) -> VehicleGroupConfig:
        times = self.depart.at
        if times is not None and len(times) != self.count:
            raise KeyedError("depart", f"lists {len(times)} times for {self.count} vehicles (count)")
        return self


class SumoConfig(Section):
    """Options of SUMO itself; a negative ``time_to_teleport`` (the default) means never."""

    time_to_teleport: Time = -1.0
    collision_action: Literal["warn", "teleport", "remove", "none"] = "warn"
    collision_check_junctions: bool = True
    collision_mingap_factor: Number = 0.0
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _only_harmless(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            try:
                check_option(name)
            except ValueError as error:
                raise KeyedError((name,), str(error)) from None
        return value


class OutputsConfig(Section):
    """SUMO's own output files, written into the run directory."""

    fcd: bool = False
    tripinfo: bool = False
    ssm: bool = False
    collisions: bool = False
    summary: bool = False
    statistics: bool = False
    lanechange: bool = False
    vehroute: bool = False
    emission: bool = False
    queue: bool = False
    netstate: bool = False


class TrafficConfig(Section):
    """The road: net, step, inflows, explicit vehicles, types."""

    net: str
    variant: str | None = None
    step: Annotated[WholeTime, Field(gt=0)] = 0.1
    backend: Literal["libsumo", "traci"] = "libsumo"
    inflow: tuple[InflowConfig, ...] = ()
    vehicles: tuple[VehicleGroupConfig, ...] = ()
    types: dict[str, VehicleTypeConfig] = Field(default_factory=dict, validate_default=True)
    routes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    sumo: SumoConfig = SumoConfig()
    outputs: OutputsConfig = OutputsConfig()
    replay: ReplayConfig | None = None

    @property
    def step_us(self) -> int:
        """The traffic step in whole microseconds."""
        return to_us(self.step)

    @field_validator("inflow", "vehicles", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        if not isinstance(value, dict | list | tuple):
            raise ValueError(f"must be a mapping or a list of mappings, not {shown(value)}")
        return [value] if isinstance(value, dict) else value

    @field_validator("types", mode="before")
    @classmethod
    def _built_in(cls, value: Any) -> Any:
        return with_built_in_types(value)

    @field_validator("step")
    @classmethod
    def _whole_milliseconds(cls, value: float) -> float:
        if to_us(value) % 1000:
            raise ValueError(f"{value:g} s is not a whole number of milliseconds, SUMO's finest step")
        return value

    @model_validator(mode="after")
    def _names_agree(self) -> TrafficConfig:
        seen: dict[str, str] = {}
        sections: tuple[tuple[str, tuple[InflowConfig | VehicleGroupConfig, ...]], ...] = (
            ("inflow", self.inflow),
            ("vehicles", self.vehicles),
        )
        for section, entries in sections:
            for k, entry in enumerate(entries):
                at = f"{section}.{k}.name"
                if entry.name in seen:
                    raise KeyedError(
                        at, f"'{entry.name}' is used by {seen[entry.name]} too; give each its own name"
                    )
                seen[entry.name] = at.removesuffix(".name")
        if self.replay is not None:
            if self.replay.name in seen:
                raise KeyedError(
                    "replay.name", f"'{self.replay.name}' is used by {seen[self.replay.name]} too"
                )
            self._check_type("replay.type", self.replay.type)
        for k, inflow in enumerate(self.inflow):
            self._check_type(f"inflow.{k}.hdv_type", inflow.hdv_type, cav=False)
            self._check_type(f"inflow.{k}.cav_type", inflow.cav_type, cav=True)
            if inflow.arrivals == "bernoulli" and inflow.rate * self.step > 1:
                raise KeyedError(
                    f"inflow.{k}.rate",
                    f"{inflow.rate:g} veh/s is more than one vehicle in a step of {self.step:g} s",
                )
        for k, group in enumerate(self.vehicles):
            self._check_type(f"vehicles.{k}.type", group.type)
        return self

    def _check_type(self, key: str, name: str, cav: bool | None = None) -> None:
        if name not in self.types:
            raise KeyedError(key, f"unknown vehicle type '{name}'{nearest(name, self.types)}")
        if cav is not None and self.types[name].cav != cav:
            raise KeyedError(key, f"'{name}' is {'not ' if cav else ''}a CAV type (its key cav)")
