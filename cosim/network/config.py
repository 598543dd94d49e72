"""The ``network:`` section of a scenario as frozen models: what may be written there, checked as far as it goes
without a net.

Globs, ids and places are checked when the network is built, because they need the net.  Channels have a module of
their own, :mod:`cosim.network.channel_config`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cosim.errors import ScenarioError, nearest
from cosim.network.allocation import ALLOCATORS
from cosim.network.association import POLICIES
from cosim.network.channel_config import ChannelConfig
from cosim.network.choice import Choice, choice_reader
from cosim.network.models import NoParams
from cosim.network.queues import DISCIPLINES
from cosim.network.rates import ErrorCurve, ErrorTable, error_curve
from cosim.scenario.base import KeyedError, Section, Whole
from cosim.scenario.spans import (
    DrawnCpu,
    DrawnCycles,
    DrawnFrequency,
    DrawnLength,
    DrawnPower,
    DrawnRate,
    DrawnSize,
    DrawnTime,
    DrawnWork,
    Span,
)
from cosim.scenario.units import Decibel, DurationUs, Frequency, Length, Power, Share, Time, shown


def _known(find: Callable[[str], object]) -> Callable[[str], str]:
    """Return the validator of a name that *find* finds; its ScenarioError becomes the user's message."""

    def validate(name: str) -> str:
        try:
            find(name)
        except ScenarioError as error:
            raise ValueError(str(error)) from None
        return name

    return validate


def _names(value: Any) -> Any:
    """Read one name or a list of names."""
    return [value] if isinstance(value, str) else value


Globs = Annotated[list[str], BeforeValidator(_names), Field(min_length=1)]
AllocatorChoice = Annotated[Choice, BeforeValidator(choice_reader(lambda name: ALLOCATORS.get(name).params))]


class AttachConfig(Section):
    """Where radios are: one of ``poi``, ``xy``, ``junction``, ``lane`` with ``pos``, ``vehicle``, ``vtype``.

    All but ``xy`` are names or globs.  ``fraction`` of the matching vehicles carry the radio, each by its own
    draw.
    """

    poi: Globs | None = None
    xy: Annotated[list[tuple[Length, Length]], Field(min_length=1)] | None = None
    junction: Globs | None = None
    lane: Globs | None = None
    pos: Length | None = None
    vehicle: Globs | None = None
    vtype: Globs | None = None
    fraction: Share | None = None

    @property
    def on_vehicles(self) -> bool:
        """Whether the radio rides on vehicles."""
        return self.vehicle is not None or self.vtype is not None

    @model_validator(mode="after")
    def _one_place(self) -> AttachConfig:
        places = ("poi", "xy", "junction", "lane", "vehicle", "vtype")
        given = [name for name in places if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(given) if given else "nothing"
            raise ValueError(f"takes one of {', '.join(places)}, not {what}")
        if self.fraction is not None and not self.on_vehicles:
            raise KeyedError("fraction", "applies to vehicle and vtype only")
        if self.pos is not None and self.lane is None:
            raise KeyedError("pos", "applies to lane only")
        return self


class RbConfig(Section):
    """Resource blocks: how many, and their width in Hz.

    ``power``: a station splits its power over the blocks, or sends it in each.
    """

    count: Annotated[Whole, Field(ge=1)]
    bandwidth: Annotated[Frequency, Field(gt=0)] = 180e3
    power: Literal["split", "each"] = "split"


class NoiseConfig(Section):
    """Noise at a receiver: a ``figure`` in dB over thermal noise, or an absolute ``power`` in W a band or block."""

    figure: Decibel | None = None
    power: Annotated[Power, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> NoiseConfig:
        if (self.figure is None) == (self.power is None):
            raise ValueError("takes either figure or power")
        return self


class RadioConfig(Section):
    """A kind of radio and where it is.

    ``bandwidth`` (Hz) or ``rb`` is what a station has to share out; ``range`` (m) ends its service; ``height`` (m)
    defaults to 25 for a BS, 5 for an RSU, 1.6 on cars and 3.0 on vehicles of 2.5 m and more.
    """

    attach: AttachConfig
    kind: Literal["rsu", "bs", "vehicle"] | None = None
    tx_power: DrawnPower | None = None
    bandwidth: DrawnFrequency | None = None
    rb: RbConfig | None = None
    range: DrawnLength | None = None
    height: DrawnLength | None = None
    noise: NoiseConfig | None = None

    @property
    def is_station(self) -> bool:
        """Whether vehicles are served by it."""
        return self.role != "vehicle"

    @property
    def role(self) -> Literal["rsu", "bs", "vehicle"]:
        """Its kind: as given, else a vehicle's where it rides on vehicles, else an RSU."""
        return self.kind or ("vehicle" if self.attach.on_vehicles else "rsu")

    @model_validator(mode="after")
    def _kind_fits(self) -> RadioConfig:
        if self.kind == "vehicle" and not self.attach.on_vehicles:
            raise KeyedError(
                "kind", "a vehicle's radio is attached to vehicle or vtype, or else is an rsu or bs"
            )
        if self.bandwidth is not None and self.rb is not None:
            raise KeyedError("bandwidth", "follows from rb; give one of the two")
        return self


class PairsConfig(Section):
    """Which vehicles have D2D links: each receives from its ``count`` nearest within ``range`` (m)."""

    range: Annotated[Length, Field(gt=0)] = 40.0
    count: Annotated[Whole, Field(ge=1)] = 1


class PacketErrorConfig(Section):
    """A packet error curve: PER = Q((SINR - ``snr50``) / ``width``) in dB, or a ``table`` of [SINR dB, PER] rows."""

    snr50: Decibel | None = None
    width: Annotated[Decibel, Field(gt=0)] | None = None
    table: Annotated[list[tuple[Decibel, Share]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> PacketErrorConfig:
        if (self.table is None) == (self.snr50 is None or self.width is None):
            raise ValueError("takes snr50 and width, or a table")
        if self.table is not None and any(b[0] <= a[0] for a, b in pairwise(self.table)):
            raise KeyedError("table", "must be in rising order of SINR")
        return self


def _curve(value: Any) -> Any:
    return _known(error_curve)(value) if isinstance(value, str) else PacketErrorConfig.model_validate(value)


PacketErrors = Annotated[str | PacketErrorConfig, BeforeValidator(_curve)]
"""A curve of :data:`cosim.network.rates.ERROR_CURVES` by name, or one of the user's own."""


class LinkConfig(Section):
    """Radios that talk to each other over a channel.

    From vehicles to stations: ``share`` (``agent``: bandwidths that agents order) and ``reuse``.  Among vehicles
    (``mode: d2d``): ``rb``, ``allocator``, ``pairs``, ``half_duplex``, ``same_transmitter``, ``interferers``.
    """

    source: str = Field(alias="from")
    to: str
    channel: str
    mode: Literal["cellular", "d2d"] | None = None
    share: Literal["equal", "full", "agent"] = "equal"
    reuse: Literal["orthogonal", "full"] = "orthogonal"
    rb: RbConfig | None = None
    allocator: AllocatorChoice = Choice("random", NoParams(), NoParams())
    pairs: PairsConfig | None = None
    sinr_min: Decibel | None = None
    packet_errors: PacketErrors | None = None
    half_duplex: bool = False
    same_transmitter: Literal["interferes", "once", "shared"] = "shared"
    split_power: bool = True
    noise: NoiseConfig | None = None
    interferers: tuple[Literal["d2d", "cellular_ul", "cellular_dl"], ...] = ("d2d",)

    def error_law(self) -> ErrorCurve | ErrorTable | None:
        """Return the packet error rate over SINR in dB, None if none is asked for."""
        given = self.packet_errors
        if given is None or isinstance(given, str):
            return None if given is None else error_curve(given)
        if given.table is not None:
            snr, per = zip(*given.table, strict=True)
            return ErrorTable(snr, per)
        assert given.snr50 is not None
        assert given.width is not None
        return ErrorCurve(given.snr50, given.width)


class AssociationConfig(Section):
    """Who serves a vehicle, and what a handover costs (defaults: TS 38.331 5.5.4.4, 3 dB, 256 ms).

    ``ping_pong`` is the time within which a return to the former station counts as one.
    """

    policy: Annotated[str, AfterValidator(_known(POLICIES.get))] = "strongest"
    hysteresis: Decibel = 3.0
    offset: Decibel = 0.0
    time_to_trigger: DurationUs = 256_000
    interruption: DurationUs = 0
    ping_pong: DurationUs = 1_000_000


class WiredConfig(Section):
    """Wired links between two sets of nodes (stations by glob, or a named node such as ``cloud``).

    ``mesh`` links every node of the first set with every one of the second, ``star`` every node of the first with
    the one of the second, ``chain`` neighbours in the order of their ids (numbers in ids count as numbers).  Both
    directions have the ``rate`` each.
    """

    ends: tuple[Globs, Globs]
    topology: Literal["chain", "star", "mesh"] = "mesh"
    rate: DrawnRate
    delay: DrawnTime = Span(0.0, 0.0)


class ServerConfig(Section):
    """Edge servers at nodes.

    Work beyond ``backlog_max`` cycles comes back to whoever submitted it, or goes on to the server ``overflow``.
    """

    at: Globs
    cpu: DrawnCpu
    cores: Annotated[Whole, Field(ge=1)] = 1
    discipline: Annotated[str, AfterValidator(_known(DISCIPLINES.get))] = "fifo"
    backlog_max: DrawnWork | None = None
    overflow: str | None = None


class JobsConfig(Section):
    """A stream of jobs that every vehicle with the radio ``from`` offloads.

    ``every`` is the mean time between a vehicle's jobs; ``to`` names a server, or ``serving`` for the one at the
    serving station.
    """

    source: str = Field(alias="from")
    every: Annotated[Time, Field(gt=0)]
    arrivals: Literal["poisson", "periodic"] = "poisson"
    up: DrawnSize
    work: DrawnCycles
    down: DrawnSize
    deadline: Annotated[DurationUs, Field(gt=0)] | None = None
    to: str = "serving"


class NetworkConfig(Section):
    """The whole section.  ``tick`` is a whole multiple or divisor of the traffic step (default: that step)."""

    tick: Annotated[DurationUs, Field(gt=0)] | None = None
    channels: dict[str, ChannelConfig] = Field(default_factory=dict)
    radios: dict[str, RadioConfig] = Field(default_factory=dict)
    links: list[LinkConfig] = Field(default_factory=list)
    association: AssociationConfig = AssociationConfig()
    wired: list[WiredConfig] = Field(default_factory=list)
    servers: list[ServerConfig] = Field(default_factory=list)
    jobs: list[JobsConfig] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_exist(self) -> NetworkConfig:
        for i, link in enumerate(self.links):
            for key, name in (("from", link.source), ("to", link.to)):
                if name not in self.radios:
                    raise KeyedError(
                        f"links.{i}.{key}", f"no radio is called {shown(name)}{_near(name, self.radios)}"
                    )
            if link.channel not in self.channels:
                hint = _near(link.channel, self.channels)
                raise KeyedError(f"links.{i}.channel", f"no channel is called {shown(link.channel)}{hint}")
            self._link_fits(i, link)
        for i, jobs in enumerate(self.jobs):
            if jobs.source not in self.radios:
                hint = _near(jobs.source, self.radios)
                raise KeyedError(f"jobs.{i}.from", f"no radio is called {shown(jobs.source)}{hint}")
        return self

    def _link_fits(self, i: int, link: LinkConfig) -> None:
        source, to = self.radios[link.source], self.radios[link.to]
        if source.is_station:
            raise KeyedError(
                f"links.{i}.from", "must be a radio on vehicles; a link works in both directions"
            )
        if self.is_d2d(link):
            if to.is_station:
                raise KeyedError(f"links.{i}.to", "must be a radio on vehicles in d2d mode")
            if link.to != link.source:
                raise KeyedError(f"links.{i}.to", "must be the same radio as from in d2d mode")
            if link.rb is None:
                raise KeyedError(f"links.{i}", "needs the key rb: D2D links use resource blocks")
        elif link.share == "agent" and (link.rb or to.rb):
            raise KeyedError(
                f"links.{i}.share", "agents order bandwidth, which a band of resource blocks has not"
            )
        elif not to.is_station:
            raise KeyedError(f"links.{i}.to", "must be a station, unless the mode is d2d")

    def is_d2d(self, link: LinkConfig) -> bool:
        """Whether a link is among vehicles."""
        return link.mode == "d2d" or (link.mode is None and not self.radios[link.to].is_station)


def _near(name: str, known: Any) -> str:
    return nearest(name, known) or f"; known: {', '.join(known) or 'none'}"
