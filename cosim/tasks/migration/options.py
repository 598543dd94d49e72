"""What a scenario may set of the migration task, with the paper's and the spec's values as defaults."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from cosim.errors import ScenarioError
from cosim.scenario.base import KeyedError
from cosim.scenario.spans import Span, span_reader
from cosim.scenario.units import (
    CPU_RATE,
    CYCLES,
    DATA_RATE,
    DATA_SIZE,
    FREQUENCY,
    Cycles,
    CyclesPerBit,
    DataRate,
    Frequency,
    Length,
    Number,
    Power,
    Quantity,
)
from cosim.tasks.migration.draws import Range, Ranges
from cosim.tasks.migration.latency import Rules
from cosim.tasks.migration.observation import ObservationSet
from cosim.tasks.migration.space import Layout, vehicle_order
from cosim.traffic.geometry import NetGeometry

HISTORY = 12
"""Past positions that the trajectory predictor reads (section 3 of the spec)."""


def _range(quantity: Quantity, above: bool = True) -> BeforeValidator:
    """Read a number, ``[low, high]`` or ``{uniform: [low, high]}``."""
    read = span_reader(quantity, above=above)
    return BeforeValidator(lambda v: read({"uniform": list(v)} if isinstance(v, list | tuple) else v))


_dump = PlainSerializer(Span.dump)
BandwidthRange = Annotated[Span, _range(FREQUENCY), _dump]
RateRange = Annotated[Span, _range(DATA_RATE), _dump]
CpuRange = Annotated[Span, _range(CPU_RATE), _dump]
SizeRange = Annotated[Span, _range(DATA_SIZE), _dump]
LoadRange = Annotated[Span, _range(CYCLES, above=False), _dump]

_PAPER = Ranges()


def _span(ends: Range) -> Span:
    return Span(*ends)


class MigrationOptions(BaseModel):
    """Options of ``tasks.migration`` (the specification, sections 1 to 7).

    A range is a number (fixed), ``[low, high]`` or ``{uniform: [low, high]}``: drawn by key, once an episode for
    each RSU or pair of RSUs, or for each vehicle and slot.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: Literal["urban", "remote"] = Field(
        "urban",
        description="urban: any other RSU is a target; remote: stay, or migrate to the next RSU ahead",
    )
    model: str = Field(
        "paper", description="latency model: paper (closed form) or queues (through the network layer)"
    )
    cloud: str = Field("cloud", description="the cloud's node in the network, with model: queues")
    stations: str = Field("*", description="which of the net's RSU sites take part, as a glob")
    reach: Length | None = Field(
        None, gt=0, description="radius of an RSU; default: everywhere if urban, the sites' range if remote"
    )
    vehicles: int = Field(10, ge=1, description="most agent vehicles, V")
    types: tuple[str, ...] | None = Field(
        None, description="types of the agent vehicles; default: every cav type"
    )
    history: int = Field(HISTORY, ge=1, description="past slots in shared['history']")
    episode: int = Field(41, ge=1, description="decision slots of a learning window")
    draw: int = Field(0, ge=0, description="number of the draw of parameters and tasks on this seed")
    observation: ObservationSet = Field(
        "extended", description="paper 9, extended 19, pilot 47, own_latency 59"
    )
    reward: Literal["own", "team"] = Field("own", description="own: -T_sum; team: the mean over the vehicles")
    zeta: Cycles = Field(10e9, ge=0, description="work that eq 18 adds for each predicted vehicle")

    bandwidth: BandwidthRange = Field(_span(_PAPER.bandwidth), description="wireless bandwidth B of each RSU")
    migration_rate: RateRange = Field(_span(_PAPER.migration), description="B_mig of each pair of RSUs")
    cpu: CpuRange = Field(_span(_PAPER.cpu), description="C of each RSU")
    cloud_cpu: CpuRange = Field(_span(_PAPER.cpu_cloud), description="C_cloud")
    initial_load: LoadRange = Field(_span(_PAPER.queue), description="L(0) of each RSU")
    input_size: SizeRange = Field(_span(_PAPER.input_bits), description="s_r of each vehicle and slot")
    task_size: SizeRange = Field(_span(_PAPER.task_bits), description="s_task of each vehicle and slot")

    work: CyclesPerBit = Field(62.5, gt=0, description="e, 0.5 Gcycle/MB")
    gain: Number = Field(4.11, gt=0, description="A, a plain factor")
    frequency: Frequency = Field(2.0e9, gt=0)
    power: Power = Field(0.1, gt=0, description="p_v")
    noise: Power = Field(1e-11, gt=0, description="sigma^2 over the band")
    backhaul_rate: DataRate = Field(200e6, gt=0, description="B_mc, RSU to cloud")
    cloud_down_rate: DataRate = Field(200e6, gt=0, description="R_c, cloud to vehicle")
    load_max: Cycles = Field(300e9, gt=0, description="L_max of each RSU")

    queue: Literal["fifo", "snapshot"] = "fifo"
    cloud_part: Literal["fixed", "literal"] = Field("fixed", description="fix F1 of eq 6")
    empty_part: Literal["fixed", "literal"] = Field("fixed", description="fix F2 of eq 5")
    own_target: Literal["fixed", "literal"] = Field(
        "fixed", description="fix F3: the serving RSU is no target"
    )
    overflow: Literal["fixed", "literal"] = Field(
        "fixed", description="fix F4: work without room goes to the cloud"
    )

    @model_validator(mode="after")
    def _fits(self) -> MigrationOptions:
        if self.initial_load.high > self.load_max:
            raise KeyedError("initial_load", f"must be at most load_max, {self.load_max:g} cycles")
        return self

    def rules(self, slot: float) -> Rules:
        """Return the latency model's constants and switches; ``slot`` is the period of decisions, s."""
        return Rules(
            cycles_per_bit=self.work,
            gain=self.gain,
            frequency=self.frequency,
            power=self.power,
            noise=self.noise,
            backhaul=self.backhaul_rate,
            cloud_down=self.cloud_down_rate,
            queue_max=self.load_max,
            slot=slot,
            queue=self.queue,
            cloud_part=self.cloud_part,
            empty_part=self.empty_part,
            own_target=self.own_target,
            overflow=self.overflow,
        )

    def ranges(self) -> Ranges:
        """Return the ranges of the draws."""
        spans: dict[str, Any] = {
            "bandwidth": self.bandwidth,
            "migration": self.migration_rate,
            "cpu": self.cpu,
            "cpu_cloud": self.cloud_cpu,
            "queue": self.initial_load,
            "input_bits": self.input_size,
            "task_bits": self.task_size,
        }
        return Ranges(**{name: (span.low, span.high) for name, span in spans.items()})

    def layout(self, geometry: NetGeometry) -> Layout:
        """Return the RSUs of a net as these options choose them; ScenarioError if there are too few."""
        sites = {p.id: p for p in geometry.stations() if fnmatchcase(p.id, self.stations)}
        if len(sites) < 2:
            known = ", ".join(p.id for p in geometry.stations()) or "none"
            raise ScenarioError(
                f"migration needs two RSU sites, '{self.stations}' names {len(sites)}; the net has {known}",
                key="tasks.migration.stations",
            )
        ids = vehicle_order(sites)
        reach = self.reach
        if reach is None and self.space == "remote":
            try:
                reach = min(float(sites[name].params["range"]) for name in ids)
            except (KeyError, ValueError):
                raise ScenarioError(
                    "the RSU sites of this net have no range: give one, for example reach: 500 m",
                    key="tasks.migration.reach",
                ) from None
        x0, y0, x1, y1 = geometry.boundary
        return Layout(
            ids=tuple(ids),
            xy=np.array([[sites[name].x, sites[name].y] for name in ids]),
            box=np.array([[x0, y0], [x1, y1]], dtype=np.float64),
            reach=reach,
            remote=self.space == "remote",
        )
