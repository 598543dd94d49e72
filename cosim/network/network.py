"""The network layer as one object: built from a scenario's section and a net, stepped in lockstep with SUMO.

:class:`Network` reads a :class:`~cosim.traffic.state.TrafficState` each tick and gives a
:class:`~cosim.network.state.NetworkState`; it never talks to SUMO.  Agents act through :meth:`Network.associate`,
:meth:`Network.order_blocks`, :meth:`Network.submit` and :meth:`Network.migrate`, and may ask for
:meth:`Network.sinr` at the present instant.  The rates of a tick hold until the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US, Rate
from cosim.errors import ScenarioError
from cosim.network.association import Association, Decision
from cosim.network.blockage import Bodies
from cosim.network.cells import CellNow, packet_error_rates, share, whole
from cosim.network.cellular import Air
from cosim.network.config import NetworkConfig
from cosim.network.correlated import Floats, Index
from cosim.network.d2d import D2dGroup
from cosim.network.edge import Edge
from cosim.network.jobs import SERVING, Handover, Job, NetworkEvents, Report, Submission
from cosim.network.links import make_links
from cosim.network.offload import Offload, RadioNow
from cosim.network.state import D2dState, NetworkState, ServerState
from cosim.network.stations import (
    Stations,
    StationSet,
    Tracks,
    VehicleRadio,
    station_ends,
    vehicle_ends,
)
from cosim.network.underlay import Underlay
from cosim.network.wired import Wires, named_nodes
from cosim.traffic.geometry import NetGeometry
from cosim.traffic.state import TrafficState


class Network:
    """Stations, radios, channels, wires and servers of a scenario.

    Args:
        config: the scenario's ``network`` section.
        geometry: the net's POIs, polygons, junctions and lanes.
        seed: of the run.
        step_us: the traffic step.

    ScenarioError, whose ``key`` names the entry, where the section does not fit the net.
    """

    def __init__(
        self, config: NetworkConfig, geometry: NetGeometry, seed: int, step_us: int = 100_000
    ) -> None:
        self.config, self.seed = config, seed
        self.tick_us = config.tick or step_us
        try:
            self.rate = Rate(step_us, self.tick_us)
        except ValueError as error:
            raise ScenarioError(str(error), key="network.tick") from None
        self._stations = Stations(config.radios, geometry, seed)
        self._carriers = {
            name: VehicleRadio(name, radio, seed)
            for name, radio in config.radios.items()
            if radio.attach.on_vehicles
        }
        self._tracks = Tracks()
        self._association = Association(config.association)
        self._links = make_links(config, geometry, seed, self.tick_us)
        fixed = self._stations.fixed.ids
        nodes = [*fixed, *named_nodes(config.wired, config.servers, fixed)]
        self.edge = Edge(config.servers, nodes, Wires(config.wired, nodes, seed), seed)
        self._offload = Offload(self.edge, config.jobs, seed, self.tick_us)
        self._traffic: TrafficState | None = None
        self._now: StationSet = self._stations.fixed
        self.state: NetworkState | None = None
        """The state at the last tick."""

    @classmethod
    def build(
        cls,
        config: NetworkConfig | Mapping[str, Any],
        geometry: NetGeometry,
        seed: int,
        step_us: int = 100_000,
    ) -> Network:
        """Return the network of a scenario; *config* may also be the section as plain data."""
        known = config if isinstance(config, NetworkConfig) else NetworkConfig.model_validate(config)
        return cls(known, geometry, seed, step_us)

    # --- a tick -----------------------------------------------------------------------------------------

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the section but not wrong, such as a station outside the net."""
        return tuple(self._stations.warnings)

    @property
    def clamped(self) -> int:
        """Pairs so far that were closer than their path loss model allows, and were taken at its least distance."""
        channels = [c.channel for _, _, c in self._links.cells] + [g.channel for g, _ in self._links.groups]
        return sum(channel.clamped for channel in channels)

    @property
    def stations(self) -> StationSet:
        """The stations that are there now, in key order."""
        return self._now

    def step(self, traffic: TrafficState) -> NetworkState:
        """Advance to the instant of *traffic* and return the network's state there."""
        t_us = traffic.t_us
        self.edge.advance(t_us)
        new, shift = self._tracks.update(traffic)
        for carrier in self._carriers.values():
            carrier.update(traffic, new, self._tracks.slots)
        self._now, new_stations = self._stations.at(traffic, self._carriers)
        self._traffic, self._new, self._shift = traffic, new, shift
        bodies = _bodies(traffic) if self._links.bodies else None
        cells = [self._evaluate(n, bodies, new_stations) for n in range(len(self._links.cells))]
        air, equipped = whole(cells, (len(traffic), len(self._now)), self._association.needs_distance)
        decision = self._associate(t_us, air, new_stations)
        share(cells, len(self._now), decision.serving)
        d2d = self._device_links(cells, bodies)
        for now in cells:
            if now.air is not air:
                air.put((now.rows, now.columns), now.air)
        own = np.arange(len(traffic)), decision.serving
        rates = (air.rate_up[own], air.rate_down[own]) if len(self._now) else None
        interrupted = decision.silent_until_us > t_us
        air.rate_up[interrupted] = 0.0
        air.rate_down[interrupted] = 0.0
        per = packet_error_rates(cells, air, decision.serving)
        self.state = self._snapshot(air, equipped, decision, interrupted, d2d, per)
        self._report_handovers(self.state)
        self._offload.tick(RadioNow(traffic, self._now.ids, decision, rates), self._carriers)
        return self.state

    def _evaluate(self, n: int, bodies: Bodies | None, new: Index) -> CellNow:
        """Evaluate cell number *n*, also for D2D vehicles on its blocks that it does not serve."""
        traffic = self._traffic
        assert traffic is not None
        source, to, cell = self._links.cells[n]
        carrier = self._carriers[source]
        member = carrier.has[traffic.slot]
        heard = member.copy()
        for group, on in self._links.groups:
            if on == n:
                heard |= self._carriers[group.link.source].has[traffic.slot]
        rows = np.flatnonzero(heard)
        columns = np.flatnonzero(self._now.radio == self._stations.names.index(to))
        a = vehicle_ends(traffic, rows, carrier.height, self._shift, self._new)
        b = station_ends(self._now, columns, traffic, self._shift, new)
        cell.channel.begin(traffic.t_us, a, b, self._tracks.slots, bodies)
        power = carrier.power[a.slot]
        air = cell.evaluate(a, b, power, self._now, columns, self._association.needs_distance)
        member = member[rows]
        if not member.all():
            air.hide(~member)
        return CellNow(cell, rows, columns, member, air)

    def _associate(self, t_us: int, air: Air, new_stations: Index) -> Decision:
        assert self._traffic is not None
        slot = self._traffic.slot.astype(np.int64)
        columns = self._now.slot
        self._association.reserve(self._tracks.slots, int(columns.max(initial=-1)) + 1)
        self._association.forget(slot[self._new])
        self._association.forget_stations(new_stations)
        distance = air.rx_dbm if air.distance is None else air.distance
        return self._association.step(t_us, slot, columns, air.rx_dbm, distance)

    def _device_links(self, cells: list[CellNow], bodies: Bodies | None) -> tuple[D2dState, ...]:
        """Evaluate D2D links, and the served links of cells that have resource blocks."""
        up: dict[int, Floats] = {}
        down: dict[int, Floats] = {}
        result = []
        for group, n in self._links.groups:
            now = None if n is None else cells[n]
            self._begin_group(group, now, bodies)
            if n is None or now is None or now.schedule is None:
                result.append(group.step())
                continue
            underlay = Underlay(group, now.cell, now.rows, now.schedule)
            group.foreign = underlay.on_d2d
            result.append(group.step())
            for heard, total in ((underlay.on_stations(), up), (underlay.on_users(), down)):
                if heard is not None:
                    total[n] = total[n] + heard if n in total else heard
        for n, now in enumerate(cells):
            if now.schedule is not None:
                now.cell.refine(now.air, now.schedule, up.get(n), down.get(n))
        return tuple(result)

    def _begin_group(self, group: D2dGroup, now: CellNow | None, bodies: Bodies | None) -> None:
        traffic, carrier = self._traffic, self._carriers[group.link.source]
        assert traffic is not None
        has = carrier.has[traffic.slot]
        wanted = has.copy()
        if now is not None:
            wanted[now.rows] = True
        rows = np.flatnonzero(wanted)
        ends = vehicle_ends(traffic, rows, carrier.height, self._shift, self._new)
        group.channel.begin(traffic.t_us, ends, ends, self._tracks.slots, bodies)
        power = carrier.power[ends.slot]
        group.begin(traffic.t_us, rows, has[rows], ends, power, self._tracks.slots)

    def _snapshot(
        self,
        air: Air,
        equipped: NDArray[np.bool_],
        decision: Decision,
        interrupted: NDArray[np.bool_],
        d2d: tuple[D2dState, ...],
        per: Floats,
    ) -> NetworkState:
        assert self._traffic is not None
        stations, servers = self._now, self.edge.servers
        roles = [radio.role for radio in self.config.radios.values()]
        return NetworkState(
            t_us=self._traffic.t_us,
            ids=self._traffic.ids,
            stations=stations.ids,
            station_xy=stations.xy,
            station_kind=tuple(roles[r] for r in stations.radio),
            station_range=stations.range,
            loss_db=air.loss_db,
            los=air.los,
            rx_dbm=air.rx_dbm,
            snr=air.snr,
            sinr=air.sinr,
            sinr_up=air.sinr_up,
            rate_up=air.rate_up,
            rate_down=air.rate_down,
            per=per,
            equipped=equipped,
            serving=decision.serving,
            former=decision.former,
            handover=decision.handover,
            ping_pong=decision.ping_pong,
            interrupted=interrupted,
            d2d=d2d,
            servers=ServerState(
                tuple(servers),
                np.array([s.queue.backlog / 1e6 for s in servers.values()]),
                np.array([len(s.queue) for s in servers.values()], np.int64),
            ),
        )

    def _report_handovers(self, state: NetworkState) -> None:
        rows = np.flatnonzero(state.handover)
        if len(rows):
            source, target = state.former[rows].tolist(), state.serving[rows].tolist()
            self.edge.events.handovers += [
                Handover(state.t_us, state.ids[v], state.stations[a], state.stations[b], ping_pong)
                for v, a, b, ping_pong in zip(
                    rows.tolist(), source, target, state.ping_pong[rows].tolist(), strict=True
                )
            ]

    # --- agents -----------------------------------------------------------------------------------------

    def associate(self, rows: NDArray[Any], columns: NDArray[Any]) -> None:
        """Order which stations (columns, -1 to leave it) serve vehicles (rows) from the next tick on.

        Only the association policy ``agent`` obeys; a station out of reach is not taken.
        """
        assert self._traffic is not None
        slot_of = np.append(self._now.slot, -1)
        slots = self._traffic.slot[np.asarray(rows)].astype(np.int64)
        self._association.order(slots, slot_of[np.asarray(columns)])

    def order_bandwidth(self, rows: NDArray[Any], bandwidth: NDArray[Any]) -> None:
        """Set the bandwidth (Hz) of vehicles (rows) from the next tick on, where links have ``share: agent``.

        It stays until ordered anew; a station that has less gives all the same part of it.  ValueError if a
        bandwidth is negative or not finite.
        """
        assert self._traffic is not None
        wanted = np.asarray(bandwidth, np.float64)
        if not (np.isfinite(wanted) & (wanted >= 0.0)).all():
            raise ValueError("a bandwidth must be finite and not negative")
        slots = self._traffic.slot[np.asarray(rows)].astype(np.int64)
        for _, _, cell in self._links.cells:
            cell.order(slots, wanted)

    def group(self, name: str | None = None) -> D2dGroup:
        """Return the D2D links called *name* (``obu-obu``); without a name, the only ones there are."""
        groups = {group.name: group for group, _ in self._links.groups}
        if name is None and len(groups) == 1:
            return next(iter(groups.values()))
        if name is None or name not in groups:
            names = ", ".join(groups) or "none"
            raise ScenarioError(f"which D2D links are meant? There are: {names}", key="network.links")
        return groups[name]

    def order_blocks(
        self, tx: NDArray[Any], rx: NDArray[Any], block: NDArray[Any], name: str | None = None
    ) -> None:
        """Set the D2D links (vehicle rows, (L,)) and their blocks (-1: silent) from the next tick on."""
        self.group(name).order(tx, rx, block)

    def sinr(
        self,
        tx: NDArray[Any],
        rx: NDArray[Any],
        power: Floats | None,
        alloc: NDArray[Any],
        name: str | None = None,
    ) -> Floats:
        """Return the SINR (linear) that D2D links would have at the present instant.

        Args:
            tx, rx: (L,) vehicle rows.
            power: (L,) W; None takes the radios' own.
            alloc: int (L,), one block each (-1: silent), or bool (L, K), several.
            name: of the link kind, if there are several.

        Returns:
            (L,) or (L, K); 0 where a link is not allocated.
        """
        return self.group(name).sinr(tx, rx, power, alloc)

    def submit(self, job: Job, server: str = SERVING, report: Report | None = None) -> Submission:
        """Send a job off now; see :meth:`cosim.network.edge.Edge.submit`.

        ``report`` is called once, with the job's :class:`JobDone` or :class:`JobDropped`, when it ends.  ValueError
        if its origin is not a vehicle on the road.
        """
        self._offload.give_bearer(job)
        return self.edge.submit(job, server, report=report)

    def migrate(
        self,
        job: str,
        source: str,
        target: str,
        share: float = 1.0,
        state_bits: int = 0,
        bits_per_cycle: float = 0.0,
        results_stay: bool = False,
    ) -> float:
        """Move a share of a job's remaining work now and return the cycles.

        See :meth:`cosim.network.edge.Edge.migrate` and :class:`cosim.network.servers.Move`.
        """
        name = job.id if isinstance(job, Job) else job
        moved = self.edge.migrate(name, source, target, share, state_bits, bits_per_cycle, results_stay)
        return moved / US

    def loads(self, servers: Sequence[str]) -> Floats:
        """Return the cycles (n,) that servers have before them: waiting, under way, or on the way to them."""
        known = self.edge.servers
        return np.array([known[name].load(self.edge.now_us) for name in servers], np.float64) / US

    # --- capacities, for whoever draws them elsewhere ---------------------------------------------------

    def set_band(self, stations: Sequence[str], bandwidth: NDArray[Any]) -> None:
        """Set the bandwidth (Hz, (n,)) of stations at fixed places, from the next tick on.

        ScenarioError for a station that there is not.
        """
        self._stations.set_band(dict(zip(stations, np.asarray(bandwidth, np.float64).tolist(), strict=True)))
        self._now = self._stations.fixed if self._traffic is None else self._now

    def set_server(self, name: str, cpu: float, backlog_max: float | None = None) -> None:
        """Set a server's cycle/s a core, and the cycles that it takes at most, from now on.

        ScenarioError for a server that there is not.
        """
        server = self.edge.server(name)
        self.edge.set_rate(server.queue, round(cpu))
        server.limit = None if backlog_max is None else int(backlog_max)

    def set_wire(self, start: str, end: str, rate: float) -> None:
        """Set the rate (bit/s) of one direction of a wired link from now on; ScenarioError if there is none."""
        wire = self.edge.wires.links.get((start, end))
        if wire is None:
            raise ScenarioError(f"no wired link leads from '{start}' to '{end}'", key="network.wired")
        self.edge.set_rate(wire.queue, round(rate))

    def preload(self, server: str, cycles: float) -> None:
        """Give a server work now that belongs to nobody."""
        self.edge.preload(server, round(cycles))

    def events(self) -> NetworkEvents:
        """Return what happened since the last call."""
        events, self.edge.events = self.edge.events, NetworkEvents()
        return events


def _bodies(traffic: TrafficState) -> Bodies:
    """Return the bodies of all vehicles."""
    size = np.array([(t.length, t.width, t.height) for t in traffic.types], np.float64).reshape(-1, 3)
    length, width, height = size[traffic.type].T
    return Bodies.of(traffic.xy, traffic.angle, length, width, height)
