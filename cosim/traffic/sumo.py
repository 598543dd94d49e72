"""The traffic bridge: one class that drives a real SUMO, over libsumo or TraCI, and reads it once a step.

It reads the traffic part of a scenario and a net; each :meth:`Traffic.step` gives a
:class:`~cosim.traffic.state.TrafficState` and the events since the step before.  Demand is drawn by cosim
(:mod:`cosim.traffic.demand`) and handed to SUMO vehicle by vehicle, so that two policies on one seed meet the
same vehicles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import Interrupted, TrafficError
from cosim.traffic import files
from cosim.traffic.backend import Backend, LibsumoBackend, TraciBackend
from cosim.traffic.commands import Commands, Order
from cosim.traffic.demand import Demand, Departure
from cosim.traffic.flow_idm import LOOK_AHEAD, FlowIdm, Leader
from cosim.traffic.gui import GuiOptions, LeftWindow, gui_arguments
from cosim.traffic.nets import Net
from cosim.traffic.ordering import each, insert, order
from cosim.traffic.programs import in_one_line
from cosim.traffic.roster import Roster, frozen
from cosim.traffic.state import TrafficState, VehicleType

if TYPE_CHECKING:
    from cosim.scenario import TrafficConfig
    from cosim.traffic.replay import Replay

_CollisionPair = frozenset[str]


@dataclass(frozen=True, slots=True)
class TrafficEvent:
    """Something that happened on the road in the step that led to ``t_us``.

    ``kind`` is departure, blocked (an entry that has to wait), arrival (at the end of the route), removal (by SUMO,
    after a collision), collision, teleport or teleport_end; ``other`` is the second vehicle of a collision, ``where``
    an edge or lane, ``value`` a position along it (m), ``text`` the route of a departure or SUMO's word for the kind
    of collision.
    """

    t_us: int
    kind: str
    id: str
    other: str = ""
    where: str = ""
    value: float = float("nan")
    text: str = ""


class Traffic:
    """A running SUMO.

    ``config`` is the scenario's traffic section, ``work`` a folder for SUMO's own outputs and log (None: no
    outputs, log in a temporary folder), ``only`` the ids of the vehicles that states hold (None: all), for recordings
    that need no others; what SUMO does is the same.  Raises TrafficError if SUMO does not start.  Close it, or use it
    as a context manager; a second libsumo simulation in one process is a TrafficError.
    """

    def __init__(
        self,
        config: TrafficConfig,
        net: Net,
        seed: int,
        *,
        backend: str | None = None,
        gui: GuiOptions | None = None,
        work: Path | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self.net = net
        self._only = only
        self.step_us = config.step_us
        self.types: tuple[VehicleType, ...] = files.vehicle_types(config)
        self._type_index = {t.id: k for k, t in enumerate(self.types)}
        self._modes = files.modes(config)
        self._scratch = tempfile.TemporaryDirectory(prefix="cosim-")
        scratch = Path(self._scratch.name)
        arguments = files.sumo_arguments(config, net, seed, scratch, work)
        self._edges: list[str] = []
        self._lane_table: dict[str, tuple[int, int]] = {"": (-1, -1)}
        self.demand = Demand(config, net, seed)
        self._next_departure_us = self.demand.next_us
        self.replay: Replay | None = None
        if config.replay is not None and config.replay.mode == "replay":
            from cosim.traffic.replay import start_replay

            self.replay = start_replay(config, net)
            if only is not None and self.replay is not None:
                self._only = {*only, *self.replay.ids}  # who is placed at every step must be known
        self.backend: Backend
        try:
            if gui is not None or (backend or config.backend) == "traci":
                log = (work or scratch) / "sumo.out"
                if gui is not None:
                    arguments += gui_arguments(gui, net, scratch)
                self.backend = TraciBackend(arguments, gui=gui is not None, log=log)
            else:
                self.backend = LibsumoBackend(arguments, self)
        except BaseException:
            self._scratch.cleanup()
            raise
        self._open = True
        self.events: list[TrafficEvent] = []
        self._roster = Roster()
        self._waiting: dict[str, Departure] = {}
        self._away: set[str] = set()  # being teleported
        self._collided: set[_CollisionPair] = set()
        self._removed_since_read = False
        self._last_lanes: Sequence[str] = []
        try:
            self._index_lanes()
            self._flow_idm = FlowIdm.build(config, self.types, self.step_us)
            self.state = self._read(0)
        except BaseException:
            self.close()
            raise

    # -- life --

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End SUMO, so that its own outputs are complete; never raises, may be called again."""
        if self._open:
            self._open = False
            self.backend.close()
            self._scratch.cleanup()

    def leave_window(self) -> LeftWindow:
        """End the simulation but leave sumo-gui's window, with the last step in it, to the user."""
        assert isinstance(self.backend, TraciBackend)
        self._open = False
        window = LeftWindow(self.backend.leave())
        self._scratch.cleanup()
        return window

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn failures of :attr:`api` into TrafficError, or Interrupted if the user closed the window."""
        try:
            yield
        except (*self.backend.fatal, *self.backend.error) as why:
            raise self._died(why, self.state.t_us) from why

    @property
    def api(self) -> Any:
        """The libsumo module or traci connection, for what the bridge does not offer."""
        return self.backend.api

    @property
    def slots(self) -> int:
        """One more than the largest slot in use so far."""
        return self._roster.slots

    # -- the step --

    def step(self) -> TrafficState:
        """Advance one traffic step and return the road after it; TrafficError if SUMO died."""
        t_us = self.state.t_us + self.step_us
        backend = self.backend
        self.events = []
        try:
            if self._next_departure_us <= t_us:
                self._insert(t_us)
                self._next_departure_us = self.demand.next_us
            if self.replay is not None:
                self._place(t_us, self.replay)
            if self._flow_idm is not None:
                self._carry_out(self._flow_idm.orders(self.state, self._leader))
            backend.step()
            self._follow(t_us)
            self.state = state = self._read(t_us)
            if self.replay is not None:
                self.replay.measure(state)
        except (*backend.fatal, *backend.error) as why:
            raise self._died(why, t_us) from why
        return state

    def apply(self, commands: Commands) -> None:
        """Order everything in *commands* of SUMO, in the order given; TrafficError if SUMO died."""
        if commands.orders:
            if self._flow_idm is not None:
                self._flow_idm.give_way(commands.orders, self.state.t_us)
            try:
                self._carry_out(commands.orders)
            except (*self.backend.fatal, *self.backend.error) as why:
                raise self._died(why, self.state.t_us) from why

    def _died(self, why: BaseException, t_us: int) -> TrafficError | Interrupted:
        backend, words = self.backend, in_one_line(why)
        if isinstance(why, backend.fatal):
            if isinstance(backend, TraciBackend) and backend.gui and backend.window_closed():
                return Interrupted(f"sumo-gui's window was closed at {t_us / US:g} s")
            words = backend.last_words() or words
        return TrafficError(f"SUMO failed at {t_us / US:g} s: {words or type(why).__name__}")

    def _insert(self, t_us: int) -> None:
        for d in self.demand.until(t_us):
            insert(self.api.vehicle, d, *self._modes[d.type])
            self._waiting[d.id] = d

    def _place(self, t_us: int, replay: Replay) -> None:
        """Take off the road whose traces are over, and put the others where theirs are at *t_us*."""
        done = replay.finished(t_us, self._roster)
        if done:
            self._remove(done)
            self.events += [TrafficEvent(t_us, "arrival", vehicle) for vehicle in done]
        ids, columns = replay.moves(t_us, self._roster, self._waiting)
        # Also those that wait to enter: SUMO then lets them in at that place at once.
        each(self.api.vehicle.moveToXY, ids, *columns)

    def _follow(self, t_us: int) -> None:
        """Take note of who entered, left, collided or was teleported in the last step."""
        backend, events = self.backend, self.events
        changed = False
        departed = backend.departed()
        for vehicle in departed:
            d = self._waiting.pop(vehicle, None)
            if self._only is None or vehicle in self._only:
                self._enter(vehicle, d.type if d else self.api.vehicle.getTypeID(vehicle))
                changed = True
            where = d.edge if d else self.api.vehicle.getRoadID(vehicle)
            route = d.route if d else self.api.vehicle.getRouteID(vehicle)
            events.append(TrafficEvent(t_us, "departure", vehicle, where=where, text=route))
        if self._waiting:
            for vehicle, d in self._waiting.items():
                if not d.reported:
                    d.reported = True
                    events.append(TrafficEvent(t_us, "blocked", vehicle, where=d.edge))
        collisions = backend.collisions()
        arrived = backend.arrived()
        if arrived:
            crashed = {vehicle for c in collisions for vehicle in (c.collider, c.victim)}
            for vehicle in arrived:
                if self._leave(vehicle):
                    kind = "removal" if vehicle in crashed else "arrival"
                    events.append(TrafficEvent(t_us, kind, vehicle))
                    changed = True
        for vehicle in backend.teleports():
            if self._leave(vehicle):
                self._away.add(vehicle)
                events.append(TrafficEvent(t_us, "teleport", vehicle))
                changed = True
        if self._away:
            changed |= self._come_back(t_us, arrived)
        if collisions or self._collided:
            self._collide(t_us, collisions)
        if changed:
            self._set_changed()

    def _come_back(self, t_us: int, arrived: Sequence[str]) -> bool:
        """Take in vehicles whose teleport ended, or led to the end of their route; say whether one is back."""
        back = False
        for vehicle in self.backend.teleported():
            if vehicle in self._away:
                self._away.discard(vehicle)
                self._enter(vehicle, self.api.vehicle.getTypeID(vehicle))
                self.events.append(TrafficEvent(t_us, "teleport_end", vehicle))
                back = True
        for vehicle in arrived:
            if vehicle in self._away:
                self._away.discard(vehicle)
                self.events.append(TrafficEvent(t_us, "arrival", vehicle))
        return back

    def _collide(self, t_us: int, collisions: Sequence[Any]) -> None:
        """Report each pair once for as long as SUMO goes on reporting it, whichever it calls the collider."""
        now: set[_CollisionPair] = set()
        for c in collisions:
            pair = frozenset((c.collider, c.victim))
            if pair not in self._collided and pair not in now:
                self.events.append(
                    TrafficEvent(
                        t_us, "collision", c.collider, c.victim, where=c.lane, value=c.pos, text=c.type
                    )
                )
            now.add(pair)
        self._collided = now

    # -- the set of vehicles --

    def _enter(self, vehicle: str, type_id: str) -> None:
        self._roster.enter(vehicle, self._type_index.get(type_id, 0))
        self.backend.watch(vehicle)

    def _leave(self, vehicle: str) -> bool:
        self._waiting.pop(vehicle, None)
        return self._roster.leave(vehicle)

    def _set_changed(self) -> None:
        self._roster.settle()
        self._last_lanes = []

    # -- reading --

    def _index_lanes(self) -> None:
        lane = self.api.lane
        edges: dict[str, int] = {}
        for lane_id in lane.getIDList():
            edge_id, _, index = lane_id.rpartition("_")
            edge = edges.setdefault(edge_id, len(edges))
            self._lane_table[lane_id] = (edge, int(index))
        self._edges = list(edges)
        self._edge_tuple = tuple(edges)

    def _read(self, t_us: int) -> TrafficState:
        self._removed_since_read = False
        roster = self._roster
        ids = roster.ids
        if ids:
            values, xyz, lanes = self.backend.read(ids)
            if self.replay is not None:
                # So that those who follow do not brake for a vehicle that SUMO wrongly takes to stand.
                told = self.replay.correct(roster.key, values[1], values[2], self.step_us / US)
                each(self.api.vehicle.setPreviousSpeed, *told)
            if lanes != self._last_lanes:
                table = self._lane_table
                pairs = np.array([table[name] for name in lanes], dtype=np.int32).T
                self._edge, self._lane = frozen(pairs[0]), frozen(pairs[1])
                self._last_lanes = lanes
            values.setflags(write=False)
            xyz.setflags(write=False)
        else:
            values, xyz = _NOTHING, _NOWHERE
            self._edge = self._lane = _NO_ROWS
        return TrafficState(
            t_us,
            ids,
            roster.key,
            roster.slot,
            xyz[:, :2],
            xyz[:, 2],
            values[0],
            values[1],
            values[2],
            self._edge,
            self._lane,
            values[3],
            roster.type,
            self._edge_tuple,
            self.types,
        )

    def _leader(self, vehicle: str) -> Leader | None:
        """Ask SUMO for one vehicle's leader and the gap to it (m), also beyond a junction."""
        if vehicle not in self._roster:  # removed since the state was read
            return None
        found = self.api.vehicle.getLeader(vehicle, LOOK_AHEAD)
        return found if found and found[0] else None

    # -- ordering --

    def _carry_out(self, orders: Sequence[Order]) -> None:
        vehicle = self.api.vehicle
        for kind, ids, columns, _ in orders:
            if self._removed_since_read:  # by another task, perhaps: the rest is for those still there
                ids, columns = self._still_here(ids, columns)
            if kind == "remove":
                self._remove(ids)
                self._removed_since_read = True
            else:
                order(vehicle, kind, ids, columns)

    def _still_here(self, ids: list[str], columns: tuple[Any, ...]) -> tuple[list[str], tuple[Any, ...]]:
        """Return an order without the vehicles that have been removed."""
        keep = [row for row, vehicle in enumerate(ids) if vehicle in self._roster]
        if len(keep) == len(ids):
            return ids, columns
        return [ids[row] for row in keep], tuple([column[row] for row in keep] for column in columns)

    def _remove(self, ids: list[str]) -> None:
        for vehicle in ids:
            if self._leave(vehicle):
                # A subscription to a vehicle that SUMO has dropped makes the next libsumo step raise.
                self.backend.unwatch(vehicle)
                self.api.vehicle.remove(vehicle)
        self._set_changed()


_NOTHING: NDArray[np.float64] = np.empty((4, 0))
_NOWHERE: NDArray[np.float64] = np.empty((0, 3))
_NO_ROWS: NDArray[np.int32] = np.empty(0, dtype=np.int32)
