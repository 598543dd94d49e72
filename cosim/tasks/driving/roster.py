"""Who is in the coordinating zone: targets, arrivals, departures, collisions and removals, followed step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.tasks.base import Instant, TaskContext, TaskEvent
from cosim.tasks.driving.metrics import Statistics
from cosim.tasks.driving.options import LEFT, RIGHT, STRAIGHT, DrivingOptions
from cosim.tasks.driving.zone import Floats, Neighbours, Zone
from cosim.traffic.nets import load_geometry
from cosim.traffic.state import TrafficState

_CODES = {"right": RIGHT, "straight": STRAIGHT, "left": LEFT}
_FULL_SPEED_MODE = 31
"""SUMO's default: what a vehicle gets back when it leaves the zone."""

Keys = NDArray[np.uint64]
Slots = NDArray[np.int32]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The zone's N vehicles, in key order: all that stays as long as nobody enters or leaves or changes lane.

    ``rows`` are rows of the traffic state.  ``who`` holds the positions (n,) of the CAVs among the N, ``ids`` their
    ids, ``low`` and ``high`` (n,) their target lanes.
    """

    rows: Rows
    keys: Keys
    slots: Slots
    cav: NDArray[np.bool_]
    target: NDArray[np.int8]
    lengths: Floats
    tie: NDArray[np.int64]
    who: Rows
    ids: tuple[str, ...]
    low: NDArray[np.int32]
    high: NDArray[np.int32]

    def cav_positions(self, keys: Keys) -> Rows:
        """Return where each of *keys* stands among the N, -1 for those that are not there."""
        return _positions(keys, self.keys)


def _positions(keys: Keys, among: Keys) -> Rows:
    """Return where each of *keys* stands in *among*, which ascends; -1 for those that are not there."""
    if not len(among):
        return np.full(len(keys), -1, dtype=np.intp)
    at = np.minimum(among.searchsorted(keys), len(among) - 1)
    return np.where(among[at] == keys, at, -1)


class Roster:
    """The zone's bookkeeping.  After :meth:`follow`, ``members`` and ``zone`` are those of the instant.

    ``collided`` and ``completed`` count since they were last taken, ``own_events`` lists (keys, reward) of them.
    """

    def __init__(self, options: DrivingOptions, context: TaskContext, statistics: Statistics) -> None:
        self._options = options
        self._statistics = statistics
        self._read_net(options, context)
        self._is_cav = np.array([t.cav for t in context.types])
        self._lengths = np.array([t.length for t in context.types])
        self._cav_modes = np.array([context.type_modes[t.id] for t in context.types])
        self._target: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._low: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._high: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._done: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.commanded: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._reserve(64)
        self._edge_index = -2
        self._edges: tuple[str, ...] = ()
        self._ids: tuple[str, ...] | None = None
        self._edge: NDArray[np.int32] | None = None
        self._tie = np.empty(0, dtype=np.int64)
        self._keys = np.empty(0, dtype=np.uint64)
        self._slots = np.empty(0, dtype=np.int32)
        self.collided = self.completed = 0
        self.own_events: list[tuple[Keys, float]] = []
        self.inflow = _NO_INFLOW
        self._neighbours = Neighbours()
        self.members: Members
        self.zone: Zone

    def _read_net(self, options: DrivingOptions, context: TaskContext) -> None:
        edges = load_geometry(context.net).edges
        zone = options.zone or (context.net.zone[0] if context.net.zone else "")
        if zone not in edges:
            raise ScenarioError(
                f"net '{context.net.name}' has no edge '{zone}'{nearest(zone, edges)}",
                key="tasks.driving.zone",
            )
        self._zone_edge = zone
        self.lanes = len(edges[zone].lanes)
        self._late = edges[zone].length - options.complete_at
        self._route_targets: dict[str, tuple[int, int, int]] = {}
        for route, lanes in options.targets.items():
            if not lanes or not all(0 <= lane < self.lanes for lane in lanes):
                raise ScenarioError(
                    f"edge '{zone}' has lanes 0 to {self.lanes - 1}, got {list(lanes)}",
                    key=f"tasks.driving.targets.{route}",
                )
            self._route_targets[route] = (_CODES.get(route, STRAIGHT), min(lanes), max(lanes))
        for route in context.routes:
            if route not in self._route_targets:
                raise ScenarioError(
                    f"no target lanes for route '{route}'{nearest(route, self._route_targets)};"
                    f" say targets: {{{route}: [LANE, …]}}",
                    key="tasks.driving.targets",
                )

    def _reserve(self, slots: int) -> None:
        """Make room for that many slots of per-vehicle memory."""

        def grown(old: NDArray[Any]) -> NDArray[Any]:
            new = np.zeros(slots, dtype=old.dtype)
            new[: len(old)] = old
            return new

        self._target = grown(self._target)
        self._low = grown(self._low)
        self._high = grown(self._high)
        self._done = grown(self._done)
        self.commanded = grown(self.commanded)
        self._statistics.reserve(slots)

    # -- one traffic step --

    def follow(self, now: Instant) -> None:
        """See the road of *now*: who came, went, collided; order collided and surplus vehicles off the road."""
        state = now.traffic
        self.inflow = _NO_INFLOW
        gone = self._events(now) if now.events else None
        if gone is not None or state.ids is not self._ids or state.edge is not self._edge:
            self._update_members(now, gone)
        if self._options.remove_slow is not None:
            self._remove_slow(now)
        members = self.members
        s, lane = state.s[members.rows], state.lane[members.rows]
        self.zone = Zone(
            rows=members.rows,
            s=s,
            lane=lane,
            speed=state.speed[members.rows],
            cav=members.cav,
            target=members.target,
            near=self._neighbours(s, lane, members.tie),
        )
        self._statistics.update(self.zone, members.slots, members.lengths, now.t_us / US, now.measured)
        self._completions()

    def _events(self, now: Instant) -> Rows | None:
        """Read departures and collisions; order collided vehicles off the road and return their rows."""
        state = now.traffic
        if state.slot.size and state.slot.max() >= len(self._target):
            self._reserve(2 * int(state.slot.max()) + 2)
        gone: list[int] = []
        for event in now.events:
            if event.kind == "departure":
                row = state.row(event.id)
                if row >= 0:
                    self._arrive(state, row, event.text, event.where)
            elif event.kind == "collision" and event.where.rpartition("_")[0] == self._zone_edge:
                for vehicle in (event.id, event.other):
                    row = state.row(vehicle)
                    if row >= 0 and row not in gone:
                        gone.append(row)
        if not gone:
            return None
        rows = np.array(gone)
        self.collided += len(rows)
        self.own_events.append((state.key[rows], self._options.reward_weights[3]))
        self._statistics.end_early(state.slot[rows], now.measured, collided=True)
        now.commands.remove(rows)
        self._drop(state.key[rows])
        return rows

    def _arrive(self, state: TrafficState, row: int, route: str, edge: str) -> None:
        slot = state.slot[row]
        code, low, high = self._route_targets.get(route, (STRAIGHT, 0, self.lanes - 1))
        self._target[slot], self._low[slot], self._high[slot] = code, low, high
        self._done[slot] = False
        cav = self._is_cav[state.type[row]]
        self.commanded[slot] = cav
        if edge == self._zone_edge:
            lane = 2 * int(state.lane[row])
            if self.inflow is _NO_INFLOW:
                self.inflow = np.zeros(8)
            self.inflow[lane : lane + 2] = int(cav) + 1, code + 1

    def _update_members(self, now: Instant, gone: Rows | None) -> None:
        state = now.traffic
        if state.edges is not self._edges:
            self._edges = state.edges
            self._edge_index = state.edges.index(self._zone_edge)
        rows = (state.edge == self._edge_index).nonzero()[0]
        if gone is not None:
            rows = rows[~np.isin(rows, gone)]
        elif state.ids is self._ids and np.array_equal(rows, self.members.rows):
            self._edge = state.edge  # somebody changed lane, or is on the junction
            return
        self._follow_keys(now, rows)
        if self._options.max_cavs is not None:
            rows = self._remove_surplus(now, rows, self._options.max_cavs)
        self._set_members(state, rows)
        # Vehicles that were ordered off the road are still in this state, so the next one is looked at anew.
        self._ids, self._edge = (state.ids, state.edge) if gone is None else (None, None)

    def _set_members(self, state: TrafficState, rows: Rows) -> None:
        if state.ids is not self._ids or not len(self._tie):
            # Of two vehicles at the same place the larger id counts as ahead.
            order = sorted(range(len(state)), key=state.ids.__getitem__)
            self._tie = np.empty(len(state), dtype=np.int64)
            self._tie[order] = np.arange(len(state))
        slots = state.slot[rows]
        cav = self._is_cav[state.type[rows]]
        who = cav.nonzero()[0]
        self._keys, self._slots = state.key[rows], slots
        self.members = Members(
            rows=rows,
            keys=self._keys,
            slots=slots,
            cav=cav,
            target=self._target[slots],
            lengths=self._lengths[state.type[rows]],
            tie=self._tie[rows],
            who=who,
            ids=tuple([state.ids[r] for r in rows[who].tolist()]),
            low=self._low[slots[who]],
            high=self._high[slots[who]],
        )

    def _follow_keys(self, now: Instant, rows: Rows) -> None:
        """Close the books of vehicles that left the zone, open them for those that came in."""
        state = now.traffic
        keys, before = state.key[rows], self._keys
        if len(before) == len(keys) and (before == keys).all():
            return
        left = _positions(before, keys) < 0
        if left.any():
            slots = self._slots[left]
            lane = self._statistics.last_lane(slots)
            well = (lane >= self._low[slots]) & (lane <= self._high[slots])
            self._statistics.leave(slots, well, now.measured)
            self._hand_back(now, before[left], slots)
        new = _positions(keys, before) < 0
        if new.any():
            self._statistics.forget(state.slot[rows[new]])

    def _hand_back(self, now: Instant, keys: Keys, slots: Slots) -> None:
        """CAVs that left the zone are SUMO's again."""
        state = now.traffic
        if not len(state):
            return
        at = np.minimum(state.key.searchsorted(keys), len(state) - 1)
        there = (state.key[at] == keys) & self.commanded[slots]
        if there.any():
            self._each_type(
                state,
                at[there],
                lambda rows, kind: now.commands.release(
                    rows, _FULL_SPEED_MODE, int(self._cav_modes[kind, 1])
                ),
            )
            self.commanded[slots[there]] = False

    def take_back(self, now: Instant, rows: Rows) -> None:
        """Give CAVs that SUMO drove (an agent had left them to it) the modes of commanded vehicles again."""
        self._each_type(
            now.traffic,
            rows,
            lambda chosen, kind: now.commands.modes(
                chosen, int(self._cav_modes[kind, 0]), int(self._cav_modes[kind, 1])
            ),
        )

    @staticmethod
    def _each_type(state: TrafficState, rows: Rows, order: Any) -> None:
        for kind in np.unique(state.type[rows]):
            order(rows[state.type[rows] == kind], kind)

    # -- removals --

    def _remove_surplus(self, now: Instant, rows: Rows, most: int) -> Rows:
        """Keep the number of CAVs under the cap: newcomers beyond it are taken off the road."""
        state = now.traffic
        cavs = rows[self._is_cav[state.type[rows]]]
        if len(cavs) <= most:
            return rows
        newcomers = cavs[~np.isin(state.key[cavs], self._keys)]
        gone = newcomers[: len(cavs) - most]
        self._remove(now, gone)
        return rows[~np.isin(rows, gone)]

    def _remove_slow(self, now: Instant) -> None:
        """Take crawling CAVs off the road while it is crowded."""
        members, state, options = self.members, now.traffic, self._options
        assert options.remove_slow is not None
        cavs = members.rows[members.who]
        if len(cavs) <= options.remove_slow_above:
            return
        gone = cavs[state.speed[cavs] < options.remove_slow]
        if gone.size:
            self._remove(now, gone)
            self._set_members(state, members.rows[~np.isin(members.rows, gone)])
            self._ids = self._edge = None

    def _remove(self, now: Instant, gone: Rows) -> None:
        if not gone.size:
            return
        state = now.traffic
        now.commands.remove(gone)
        self._statistics.end_early(state.slot[gone], now.measured, collided=False)
        now.records.extend(
            TaskEvent(now.t_us, "removal", state.ids[r], value=float(state.speed[r])) for r in gone.tolist()
        )
        self._drop(state.key[gone])

    def _drop(self, keys: Keys) -> None:
        keep = ~np.isin(self._keys, keys)
        self._keys, self._slots = self._keys[keep], self._slots[keep]

    def _completions(self) -> None:
        """Count vehicles that are in a target lane near the end, each once."""
        zone = self.zone
        late = (zone.s >= self._late).nonzero()[0]
        if not late.size:
            return
        slots, lane = self.members.slots[late], zone.lane[late]
        done = (lane >= self._low[slots]) & (lane <= self._high[slots]) & ~self._done[slots]
        if done.any():
            self.completed += int(np.count_nonzero(done))
            self.own_events.append((self.members.keys[late[done]], self._options.reward_weights[4]))
            self._done[slots[done]] = True

    def take_events(self) -> tuple[int, int, Sequence[tuple[Keys, float]]]:
        """Return collided, completed and whose they were since last taken, and begin to count anew."""
        taken = self.collided, self.completed, self.own_events
        self.collided = self.completed = 0
        self.own_events = []
        return taken


_NO_INFLOW = np.zeros(8)
_NO_INFLOW.setflags(write=False)
