"""Where radios are: stations at places of the net or on vehicles, and the radios that vehicles carry.

Reads the ``radios`` of the configuration, the net's geometry and the traffic; gives arrays in key order.  Globs that
match nothing and names given twice are found here, when the network is built.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from cosim.errors import ScenarioError, nearest
from cosim.network.config import RadioConfig
from cosim.network.correlated import Ends, Floats, Index
from cosim.network.randomness import uniform_of, uniforms_of
from cosim.network.rates import watts
from cosim.scenario.spans import Span
from cosim.traffic.geometry import Lane, NetGeometry
from cosim.traffic.state import TrafficState, entity_key

log = logging.getLogger(__name__)

DEFAULT_POWER_DBM = {"rsu": 30.0, "bs": 46.0, "vehicle": 23.0}
"""RSU and vehicle: TR 37.885 and TS 36.101 power class 3; BS: TR 36.814."""
DEFAULT_HEIGHT = {"rsu": 5.0, "bs": 25.0}
CAR_HEIGHT, TRUCK_HEIGHT, TRUCK_FROM = 1.6, 3.0, 2.5
"""Antenna heights of TR 37.885 in m; a body of TRUCK_FROM and more counts as a truck."""
DEFAULT_FIGURE_DB = {"rsu": 5.0, "bs": 5.0, "vehicle": 9.0}
DEFAULT_BANDWIDTH = 20e6


_Row = tuple[str, float, float, int]
"""A station: id, x, y, index of its radio."""


@dataclass(frozen=True, slots=True)
class StationSet:
    """The stations that are there at an instant, M rows in key order.

    ``ids``; ``key``; ``slot`` (row of state kept for each); ``xy`` (M, 2) m; ``height`` m; ``power`` W;
    ``bandwidth`` Hz; ``range`` m; ``radio`` index into the configuration's radios; ``host`` slot of the vehicle that
    carries it, -1 for none.
    """

    ids: tuple[str, ...]
    key: NDArray[np.uint64]
    slot: Index
    xy: Floats
    height: Floats
    power: Floats
    bandwidth: Floats
    range: Floats
    radio: Index
    host: Index

    def __len__(self) -> int:
        return len(self.ids)


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether *name* fits one of the globs."""
    return any(fnmatchcase(name, glob) for glob in globs)


def choose(names: Sequence[str], globs: Sequence[str], what: str, key: str) -> list[str]:
    """Return the names that fit the globs, in their order; ScenarioError for a glob that fits none."""
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            hint = nearest(glob.replace("*", ""), names)
            hint = hint or (f"; there are {', '.join(list(names)[:8])}" if names else "; there are none")
            raise ScenarioError(f"no {what} matches '{glob}'{hint}", key=key)
    return [name for name in names if matches(name, globs)]


def on_lane(lane: Lane, pos: float) -> tuple[float, float]:
    """Return the point at *pos* (m driven from its begin, negative from its end) on a lane."""
    steps = np.hypot(*np.diff(lane.shape, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = (pos if pos >= 0.0 else lane.length + pos) / lane.length * along[-1]
    return float(np.interp(at, along, lane.shape[:, 0])), float(np.interp(at, along, lane.shape[:, 1]))


def _places(name: str, radio: RadioConfig, net: NetGeometry) -> list[tuple[str, float, float]]:
    """Return (id, x, y) of every place that a station radio is attached to."""
    attach, key = radio.attach, f"network.radios.{name}.attach"
    if attach.poi is not None:
        pois = {p.id: (p.x, p.y) for p in net.pois}
        return [(i, *pois[i]) for i in choose(list(pois), attach.poi, "POI of the net", f"{key}.poi")]
    if attach.junction is not None:
        found = choose(list(net.junctions), attach.junction, "junction of the net", f"{key}.junction")
        return [(i, net.junctions[i].x, net.junctions[i].y) for i in found]
    if attach.lane is not None:
        lanes = {lane.id: lane for lane in net.lanes()}
        return [
            _lane_place(lanes[i], attach.pos or 0.0, key)
            for i in choose(list(lanes), attach.lane, "lane", f"{key}.lane")
        ]
    assert attach.xy is not None
    return [(f"{name}_{i}", x, y) for i, (x, y) in enumerate(attach.xy)]


def _lane_place(lane: Lane, pos: float, key: str) -> tuple[str, float, float]:
    if not -lane.length <= pos <= lane.length:
        raise ScenarioError(
            f"lane '{lane.id}' is {lane.length:g} m long, so there is no {pos:g} m", key=f"{key}.pos"
        )
    return lane.id, *on_lane(lane, pos)


class Stations:
    """All stations of a scenario: those at fixed places, made once, and those on vehicles, who come and go.

    A station's id is that of its POI, junction or lane; ``NAME_i`` for coordinates; ``NAME@VEHICLE`` on a vehicle.
    """

    def __init__(self, radios: dict[str, RadioConfig], net: NetGeometry, seed: int) -> None:
        self.names = tuple(radios)
        self._radios, self._seed = radios, seed
        self.warnings: list[str] = []
        """What is odd but not wrong, a sentence each."""
        self._drawn: dict[str, tuple[float, float, float, float]] = {}
        self._rows: list[_Row] = []
        given: dict[str, str] = {}
        for r, (name, radio) in enumerate(radios.items()):
            if not radio.is_station or radio.attach.on_vehicles:
                continue
            for station, x, y in _places(name, radio, net):
                if station in given:
                    raise ScenarioError(
                        f"station '{station}' is there twice: as {given[station]} and as {name}",
                        key=f"network.radios.{name}.attach",
                    )
                given[station] = name
                self._rows.append((station, x, y, r))
                self._warn_outside(station, x, y, net)
        # In key order from the start, so that slot numbers of stations are column numbers.
        self._rows.sort(key=lambda row: entity_key(row[0]))
        self._fixed = self._assemble(
            self._rows, np.full(len(self._rows), -1, np.int64), np.arange(len(self._rows))
        )
        self._mobile = [
            (r, n) for r, n in enumerate(self.names) if radios[n].is_station and radios[n].attach.on_vehicles
        ]
        self._slots: dict[str, int] = {}
        self._free: list[int] = []

    @property
    def fixed(self) -> StationSet:
        """The stations at fixed places."""
        return self._fixed

    def set_band(self, bandwidth: Mapping[str, float]) -> None:
        """Set bandwidths (Hz) of stations at fixed places; ScenarioError for one that there is not."""
        for station, hertz in bandwidth.items():
            if station not in self._fixed.ids:
                hint = nearest(station, self._fixed.ids)
                raise ScenarioError(f"there is no station '{station}'{hint}", key="network.radios")
            power, _, height, reach = self._drawn[station]
            self._drawn[station] = power, hertz, height, reach
        wanted = [self._drawn[station][1] for station in self._fixed.ids]
        self._fixed = replace(self._fixed, bandwidth=np.array(wanted, np.float64))

    def _warn_outside(self, station: str, x: float, y: float, net: NetGeometry) -> None:
        xmin, ymin, xmax, ymax = net.boundary
        if not (xmin <= x <= xmax and ymin <= y <= ymax):
            beyond = np.hypot(max(xmin - x, 0.0, x - xmax), max(ymin - y, 0.0, y - ymax))
            size = max(xmax - xmin, ymax - ymin)
            if beyond > max(100.0, 0.1 * size):
                text = f"station '{station}' at ({x:g}, {y:g}) lies {beyond:.0f} m outside the net"
                self.warnings.append(text)
                log.warning(text)

    def _assemble(self, rows: list[_Row], host: Index, slot: Index) -> StationSet:
        keys = np.array([entity_key(row[0]) for row in rows], np.uint64)
        order = np.argsort(keys, kind="stable")
        rows = [rows[i] for i in order]
        if len(np.unique(keys)) < len(keys):
            raise ScenarioError("two stations have the same key; rename one", key="network.radios")
        drawn = np.array([self._numbers(row) for row in rows], np.float64).reshape(-1, 4)
        return StationSet(
            ids=tuple(row[0] for row in rows),
            key=keys[order],
            slot=slot[order],
            xy=np.array([row[1:3] for row in rows], np.float64).reshape(-1, 2),
            power=drawn[:, 0],
            bandwidth=drawn[:, 1],
            height=drawn[:, 2],
            range=drawn[:, 3],
            radio=np.array([row[3] for row in rows], np.int64),
            host=host[order],
        )

    def _numbers(self, row: _Row) -> tuple[float, float, float, float]:
        """Return transmit power (W), bandwidth (Hz), height and range (m) of a station, drawn once."""
        station, name = row[0], self.names[row[3]]
        if station in self._drawn:
            return self._drawn[station]
        radio = self._radios[name]

        def number(key: str, span: Span | None, default: float) -> float:
            if span is None:
                return default
            return span.at(lambda: uniform_of(self._seed, f"radios.{name}.{key}", station))

        band = DEFAULT_BANDWIDTH if radio.rb is None else radio.rb.count * radio.rb.bandwidth
        self._drawn[station] = (
            number("tx_power", radio.tx_power, watts(DEFAULT_POWER_DBM[radio.role])),
            number("bandwidth", radio.bandwidth, band),
            number("height", radio.height, DEFAULT_HEIGHT[radio.role]),
            number("range", radio.range, np.inf),
        )
        return self._drawn[station]

    def at(self, state: TrafficState, carriers: dict[str, VehicleRadio]) -> tuple[StationSet, Index]:
        """Return the stations there at this instant and the slots that a new station has taken over."""
        none = np.empty(0, np.int64)
        if not self._mobile:
            return self._fixed, none
        rows, hosts = list(self._rows), [-1] * len(self._rows)
        for r, name in self._mobile:
            for v in np.flatnonzero(carriers[name].has[state.slot]):
                x, y = state.xy[v]
                rows.append((f"{name}@{state.ids[v]}", float(x), float(y), r))
                hosts.append(int(state.slot[v]))
        slots, new = self._slots_of([row[0] for row in rows[len(self._rows) :]])
        slot = np.concatenate([np.arange(len(self._rows)), np.array(slots, np.int64)])
        return self._assemble(rows, np.array(hosts, np.int64), slot), np.array(new, np.int64)

    def _slots_of(self, ids: list[str]) -> tuple[list[int], list[int]]:
        """Give every station on a vehicle a slot for as long as it is there; return also the slots newly taken."""
        for gone in set(self._slots) - set(ids):
            self._free.append(self._slots.pop(gone))
        self._free.sort(reverse=True)
        new = []
        for station in ids:
            if station not in self._slots:
                slot = self._free.pop() if self._free else len(self._rows) + len(self._slots)
                self._slots[station] = slot
                new.append(slot)
        return [self._slots[station] for station in ids], new


class VehicleRadio:
    """Which vehicles carry a radio, and what it sends with; rows are vehicle slots.

    ``has`` (S,); ``power`` (S,) W; ``height`` (S,) m, by the vehicle's type unless the radio says it.
    """

    def __init__(self, name: str, radio: RadioConfig, seed: int) -> None:
        self.name, self.radio, self._seed = name, radio, seed
        self.has = np.zeros(0, np.bool_)
        self.power = np.zeros(0)
        self.height = np.zeros(0)

    def update(self, state: TrafficState, new: Index, slots: int) -> None:
        """Look at the vehicles in rows ``new``."""
        if slots > len(self.has):
            size = max(slots, 2 * len(self.has))
            self.has, self.power = np.resize(self.has, size), np.resize(self.power, size)
            self.height = np.resize(self.height, size)
        if not len(new):
            return
        attach, slot = self.radio.attach, state.slot[new]
        if attach.vtype is not None:
            fits = np.array([matches(t.id, attach.vtype) for t in state.types], np.bool_)[state.type[new]]
        else:
            fits = np.array([matches(state.ids[v], attach.vehicle or ()) for v in new], np.bool_)
        keys = state.key[new]
        if attach.fraction is not None:
            fits &= uniforms_of(self._seed, f"radios.{self.name}.fraction", keys) < attach.fraction
        self.has[slot] = fits
        usual = watts(DEFAULT_POWER_DBM["vehicle"])
        self.power[slot] = self._number("tx_power", self.radio.tx_power, keys, usual)
        tall = np.array([t.height >= TRUCK_FROM for t in state.types], np.bool_)[state.type[new]]
        by_type = np.where(tall, TRUCK_HEIGHT, CAR_HEIGHT)
        self.height[slot] = self._number("height", self.radio.height, keys, by_type)

    def _number(
        self, key: str, span: Span | None, keys: NDArray[np.uint64], default: Floats | float
    ) -> Floats | float:
        if span is None or span.low == span.high:
            return default if span is None else span.low
        u = uniforms_of(self._seed, f"radios.{self.name}.{key}", keys)
        return span.low + u * (span.high - span.low)


class Tracks:
    """Follows vehicles by slot from tick to tick: who is new, and how far each has moved."""

    def __init__(self) -> None:
        self._key = np.zeros(0, np.uint64)
        self._there = np.zeros(0, np.bool_)
        self._xy = np.zeros((0, 2))
        self.slots = 0
        """Slots in use so far."""

    def update(self, state: TrafficState) -> tuple[Index, Floats]:
        """Return the rows of vehicles not seen in the last tick, and what all moved since it, (V, 2) m."""
        slot = state.slot.astype(np.int64)
        self.slots = max(self.slots, int(slot.max(initial=-1)) + 1)
        if self.slots > len(self._key):
            have, size = len(self._key), max(self.slots, 2 * len(self._key))
            self._key = np.resize(self._key, size)
            self._there = np.concatenate([self._there, np.zeros(size - have, np.bool_)])
            self._xy = np.concatenate([self._xy, np.zeros((size - have, 2))])
        new = ~self._there[slot] | (self._key[slot] != state.key)
        if new.any() and (state.key[1:] == state.key[:-1]).any():
            twin = int(np.flatnonzero(state.key[1:] == state.key[:-1])[0])
            raise ValueError(f"vehicles '{state.ids[twin]}' and '{state.ids[twin + 1]}' have the same key")
        shift = state.xy - self._xy[slot]
        shift[new] = 0.0
        self._there[:] = False
        self._there[slot] = True
        self._key[slot] = state.key
        self._xy[slot] = state.xy
        return np.flatnonzero(new), shift


def vehicle_ends(state: TrafficState, rows: Index, heights: Floats, shift: Floats, new: Index) -> Ends:
    """Return some vehicles as ends of links; ``new`` are rows of the traffic state, ``heights`` go by slot."""
    slot = state.slot.astype(np.int64)
    xy = state.xy[rows]
    return Ends(
        key=state.key[rows],
        x=np.ascontiguousarray(xy[:, 0]),
        y=np.ascontiguousarray(xy[:, 1]),
        h=heights[slot[rows]],
        slot=slot[rows],
        shift=shift[rows],
        body=rows,
        new=slot[new],
    )


def station_ends(
    stations: StationSet, columns: Index, state: TrafficState, shift: Floats, new: Index
) -> Ends:
    """Return some stations as ends of links; ``new`` are station slots taken over."""
    host = stations.host[columns]
    body = np.full(len(columns), -1, np.int64)
    moved = np.zeros((len(columns), 2))
    if (host >= 0).any():
        row_of = np.full(int(state.slot.max(initial=-1)) + 2, -1, np.int64)
        row_of[state.slot] = np.arange(len(state))
        body = np.where(host >= 0, row_of[host], -1)
        moved[host >= 0] = shift[body[host >= 0]]
    xy = stations.xy[columns]
    return Ends(
        key=stations.key[columns],
        x=np.ascontiguousarray(xy[:, 0]),
        y=np.ascontiguousarray(xy[:, 1]),
        h=stations.height[columns],
        slot=stations.slot[columns],
        shift=moved,
        body=body,
        new=new,
    )
