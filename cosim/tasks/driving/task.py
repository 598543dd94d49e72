"""The driving task: from the road to observations, from actions to speeds and lanes (TPE-MARL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.lockstep.protocol import LEAVE_IT, Actions, ActionSpec, Observations, RoleSpec
from cosim.tasks.base import Instant, TaskContext, TaskEvent
from cosim.tasks.driving.metrics import METRICS, Statistics
from cosim.tasks.driving.observation import (
    ACTIONS,
    KEEP,
    OBS_DIM,
    action_mask,
    decode,
    describe_continuous,
    describe_discrete,
    features,
    observe,
)
from cosim.tasks.driving.options import LEFT, RIGHT, STRAIGHT, DrivingOptions
from cosim.tasks.driving.reward import action_reward, environment_reward, lane_distance, position_reward
from cosim.tasks.driving.zone import Floats, Zone, neighbours
from cosim.traffic.nets import load_geometry
from cosim.traffic.state import TrafficState

ROLE = "cav"
_CODES = {"right": RIGHT, "straight": STRAIGHT, "left": LEFT}
_FULL_SPEED_MODE = 31
"""SUMO's default: what a vehicle gets back when it leaves the zone."""
_CONTINUOUS_KEEP = 0.5
"""Continuous accelerations above minus this count as keeping speed in r_a."""


class DrivingTask:
    """Lane and speed of every CAV in the zone; one role, one phase.

    ``shared`` of its observations: ``inflow`` (8,) type + 1 and target + 1 of the vehicle that entered each lane in
    the last step (0, 0: none), ``zone_ids`` (N,) uint64 keys and ``zone_features`` (N, 8) of all vehicles in the zone,
    ``own_reward`` (n,): each CAV's own part of the reward before: w1 r_a + w2 r_p of its decision, w4 if it collided,
    w5 if it completed.
    """

    name: ClassVar[str] = "driving"
    Options: ClassVar[type[DrivingOptions]] = DrivingOptions
    metric_names: ClassVar[Sequence[str]] = METRICS
    phases: Sequence[str] = (ROLE,)
    step_columns: Sequence[str] = ("reward", "zone_vehicles", "zone_cavs", "masked")

    def __init__(self, options: DrivingOptions, context: TaskContext) -> None:
        self.options = options
        self._context = context
        self._dt = context.period_us / US
        if context.period_us < context.step_us:
            raise ScenarioError(
                "tasks.driving.every: driving cannot decide more often than the traffic steps"
            )
        self._one_step = context.period_us == context.step_us
        action = (
            ActionSpec(n=ACTIONS, leave_it=True)
            if options.actions == "discrete"
            else ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0))
        )
        self.roles = {ROLE: RoleSpec(ROLE, OBS_DIM, action, low=-10.0, high=20.0)}
        self._read_net()
        self._is_cav = np.array([t.cav for t in context.types])
        self._lengths = np.array([t.length for t in context.types])
        self._cav_modes = np.array([context.type_modes[t.id] for t in context.types])
        self.statistics = Statistics(context.step_us / US, options.ttc_cap)
        self._target: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._low: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._high: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._done: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._commanded: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._slot_rows(64)
        self._edge_index = -2
        self._edges: tuple[str, ...] = ()
        self._tie_ids: tuple[str, ...] | None = None
        self._tie = np.empty(0, dtype=np.int64)
        self._no_orders()
        self._reward = 0.0
        self._masked = self._masked_total = 0
        self._decisions = 0
        self._measured = 0
        self._measured_reward = 0.0
        self._collided_now = self._completed_now = 0
        self._own_events: list[tuple[NDArray[np.uint64], float]] = []
        self._zone_keys = np.empty(0, dtype=np.uint64)
        self._zone_slots = np.empty(0, dtype=np.int32)

    # -- set-up --

    def _read_net(self) -> None:
        context, options = self._context, self.options
        edges = load_geometry(context.net).edges
        zone = options.zone or (context.net.zone[0] if context.net.zone else "")
        if zone not in edges:
            raise ScenarioError(
                f"tasks.driving.zone: net '{context.net.name}' has no edge '{zone}'{nearest(zone, edges)}"
            )
        self._zone_edge = zone
        self._lanes = len(edges[zone].lanes)
        self._length = edges[zone].length
        self._route_targets: dict[str, tuple[int, int, int]] = {}
        for route, lanes in options.targets.items():
            if not lanes or not all(0 <= lane < self._lanes for lane in lanes):
                raise ScenarioError(
                    f"tasks.driving.targets.{route}: edge '{zone}' has lanes 0 to {self._lanes - 1}, got {list(lanes)}"
                )
            self._route_targets[route] = (_CODES.get(route, STRAIGHT), min(lanes), max(lanes))
        for route in context.routes:
            if route not in self._route_targets:
                raise ScenarioError(
                    f"tasks.driving.targets: no target lanes for route '{route}'"
                    f"{nearest(route, self._route_targets)}; say targets: {{{route}: [LANE, …]}}"
                )

    def _slot_rows(self, slots: int) -> None:
        """Make room for that many slots of per-vehicle memory."""

        def grown(old: NDArray[Any]) -> NDArray[Any]:
            new = np.zeros(slots, dtype=old.dtype)
            new[: len(old)] = old
            return new

        self._target = grown(self._target)
        self._low = grown(self._low)
        self._high = grown(self._high)
        self._done = grown(self._done)
        self._commanded = grown(self._commanded)
        self._row_of_slot = np.full(slots, -1, dtype=np.intp)

    def _no_orders(self) -> None:
        self._acted_keys = np.empty(0, dtype=np.uint64)
        self._acted_slots = np.empty(0, dtype=np.int32)
        self._acted_ids: tuple[str, ...] = ()
        self._last_obs = np.empty((0, OBS_DIM), dtype=np.float32)
        self._last_mask: NDArray[np.bool_] | None = None
        self._accel: Floats = np.empty(0)
        self._lateral: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._distance: Floats = np.empty(0)
        self._own: Floats = np.empty(0)

    # -- every traffic step --

    def watch(self, now: Instant) -> None:
        state = now.traffic
        self._inflow = np.zeros(8)
        if state.edges is not self._edges:
            self._edges = state.edges
            self._edge_index = state.edges.index(self._zone_edge)
        if state.slot.size and state.slot.max() >= len(self._target):
            self._slot_rows(2 * int(state.slot.max()) + 2)
            self.statistics.reserve(len(self._target))
        gone = self._events(now) if now.events else None
        rows = (state.edge == self._edge_index).nonzero()[0]
        if gone is not None:
            rows = rows[~np.isin(rows, gone)]
        self._follow_zone(now, rows)
        if self.options.max_cavs is not None or self.options.remove_slow is not None:
            rows = self._remove_surplus(now, rows)
        self.zone = self._make_zone(state, rows)
        slots = state.slot[rows]
        self._zone_keys, self._zone_slots = state.key[rows], slots
        self._row_of_slot[slots] = np.arange(len(rows))
        self.statistics.update(self.zone, slots, self._lengths[state.type[rows]], now.t_us / US, now.measured)
        self._completions(slots)

    def _events(self, now: Instant) -> NDArray[np.intp] | None:
        """Read departures and collisions; order collided vehicles off the road and return their rows."""
        state = now.traffic
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
        self._collided_now += len(rows)
        self._own_events.append((state.key[rows], self.options.reward_weights[3]))
        self.statistics.end_early(state.slot[rows], now.measured, collided=True)
        now.commands.remove(rows)
        self._drop_from_zone(state.key[rows])
        return rows

    def _arrive(self, state: TrafficState, row: int, route: str, edge: str) -> None:
        slot = state.slot[row]
        code, low, high = self._route_targets.get(route, (STRAIGHT, 0, self._lanes - 1))
        self._target[slot], self._low[slot], self._high[slot] = code, low, high
        self._done[slot] = False
        cav = self._is_cav[state.type[row]]
        self._commanded[slot] = cav
        if edge == self._zone_edge:
            lane = 2 * int(state.lane[row])
            self._inflow[lane : lane + 2] = int(cav) + 1, code + 1

    def _follow_zone(self, now: Instant, rows: NDArray[np.intp]) -> None:
        """Close the books of vehicles that left the zone, open them for those that came in."""
        state = now.traffic
        keys = state.key[rows]
        before = self._zone_keys
        if len(before) == len(keys) and (before == keys).all():
            return
        left = ~np.isin(before, keys)
        if left.any():
            slots = self._zone_slots[left]
            lane = self.statistics.last_lane(slots)
            self.statistics.leave(
                slots, (lane >= self._low[slots]) & (lane <= self._high[slots]), now.measured
            )
            self._hand_back(now, before[left], slots)
        new = ~np.isin(keys, before)
        if new.any():
            self.statistics.forget(state.slot[rows[new]])

    def _hand_back(self, now: Instant, keys: NDArray[np.uint64], slots: NDArray[np.int32]) -> None:
        """CAVs that left the zone are SUMO's again."""
        state = now.traffic
        at = np.searchsorted(state.key, keys).clip(max=max(len(state) - 1, 0))
        there = state.key[at] == keys if len(state) else np.zeros(len(keys), dtype=bool)
        there &= self._commanded[slots]
        if there.any():
            rows = at[there]
            for kind in np.unique(state.type[rows]):
                now.commands.release(
                    rows[state.type[rows] == kind], _FULL_SPEED_MODE, int(self._cav_modes[kind, 1])
                )
            self._commanded[slots[there]] = False

    def _remove_surplus(self, now: Instant, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Keep the number of CAVs under the cap, and crawling ones off the road while it is crowded."""
        state, options = now.traffic, self.options
        cavs = rows[self._is_cav[state.type[rows]]]
        out = np.zeros(len(cavs), dtype=bool)
        if options.max_cavs is not None and len(cavs) > options.max_cavs:
            newcomers = ~np.isin(state.key[cavs], self._zone_keys)
            surplus = np.flatnonzero(newcomers)[: len(cavs) - options.max_cavs]
            out[surplus] = True
        if options.remove_slow is not None and len(cavs) > options.remove_slow_above:
            out |= state.speed[cavs] < options.remove_slow
        if not out.any():
            return rows
        gone = cavs[out]
        now.commands.remove(gone)
        self.statistics.end_early(state.slot[gone], now.measured, collided=False)
        now.records.extend(
            TaskEvent(now.t_us, "removal", state.ids[r], value=float(state.speed[r])) for r in gone.tolist()
        )
        self._drop_from_zone(state.key[gone])
        return rows[~np.isin(rows, gone)]

    def _drop_from_zone(self, keys: NDArray[np.uint64]) -> None:
        keep = ~np.isin(self._zone_keys, keys)
        self._zone_keys, self._zone_slots = self._zone_keys[keep], self._zone_slots[keep]

    def _make_zone(self, state: TrafficState, rows: NDArray[np.intp]) -> Zone:
        if state.ids is not self._tie_ids:
            self._tie_ids = state.ids
            order = sorted(range(len(state)), key=state.ids.__getitem__)
            self._tie = np.empty(len(state), dtype=np.int64)
            self._tie[order] = np.arange(len(state))
        s, lane = state.s[rows], state.lane[rows]
        return Zone(
            rows=rows,
            s=s,
            lane=lane,
            speed=state.speed[rows],
            cav=self._is_cav[state.type[rows]],
            target=self._target[state.slot[rows]],
            near=neighbours(s, lane, self._tie[rows], self._lanes),
        )

    def _completions(self, slots: NDArray[np.int32]) -> None:
        """Count vehicles that are in a target lane near the end, each once."""
        zone = self.zone
        late = (zone.s >= self._length - self.options.complete_at).nonzero()[0]
        if not late.size:
            return
        slots, lane = slots[late], zone.lane[late]
        now_done = (lane >= self._low[slots]) & (lane <= self._high[slots]) & ~self._done[slots]
        if now_done.any():
            self._completed_now += int(np.count_nonzero(now_done))
            self._own_events.append((self._zone_keys[late[now_done]], self.options.reward_weights[4]))
            self._done[slots[now_done]] = True

    # -- decisions --

    def settle(self, now: Instant) -> None:
        zone, options = self.zone, self.options
        row = self._zone_rows(self._acted_keys, self._acted_slots)
        here = row >= 0
        at = row[here]
        speed = zone.speed[at]
        own = np.zeros(len(row))
        if here.any():
            keeps = _CONTINUOUS_KEEP if options.actions == "continuous" else 0.0
            # A continuous acceleration is graded in units of its largest value, as the actor gives it.
            accel = self._accel[here] / (options.accel_step if keeps else 1.0)
            r_a = action_reward(accel, speed, options.max_speed, keeps_above=keeps)
            r_p = options.kappa * position_reward(
                zone.s[at], speed, self._lateral[here], self._distance[here]
            )
            own[here] = options.reward_weights[0] * r_a + options.reward_weights[1] * r_p
        else:
            r_a = r_p = np.empty(0)
        flow = float(zone.speed.sum() / len(zone)) / options.max_speed if len(zone) else 0.0
        self._reward = environment_reward(
            options.reward_weights, r_a, r_p, flow, self._collided_now, self._completed_now
        )
        for keys, amount in self._own_events:
            own[np.isin(self._acted_keys, keys)] += amount
        self._own_events = []
        self._own, self._here = own, here
        if now.measured:
            self._measured += 1
            self._measured_reward += self._reward
        self._collided_now = self._completed_now = 0
        self._decisions += 1

    def _zone_rows(self, keys: NDArray[np.uint64], slots: NDArray[np.int32]) -> NDArray[np.intp]:
        """Return the zone rows of vehicles that acted before, -1 for those that are gone."""
        if not len(self._zone_keys) or not len(keys):
            return np.full(len(keys), -1, dtype=np.intp)
        row = self._row_of_slot[slots]
        row = np.where((row >= 0) & (row < len(self._zone_keys)), row, 0)
        return np.where(self._zone_keys[row] == keys, row, -1)

    def observe(self, now: Instant, phase: str) -> Observations:
        zone, options = self.zone, self.options
        all_features = features(zone)
        who = zone.cav.nonzero()[0]
        obs = observe(zone, all_features, who)
        discrete = options.actions == "discrete"
        distance = options.mask_distance if options.mask == "safe" else None
        self._mask = action_mask(zone, who, self._lanes, distance)
        ids = [now.traffic.ids[r] for r in zone.rows[who].tolist()]
        n = len(ids)
        gone = (~self._here).nonzero()[0]
        acted = self._acted_position(self._zone_keys[who])
        own = np.zeros(n + len(gone))
        own[:n] = np.where(acted >= 0, self._own[acted] if len(self._own) else 0.0, 0.0)
        own[n:] = self._own[gone]
        reward = np.full(n + len(gone), self._reward)
        reward[:n][acted < 0] = 0.0
        mask = self._mask if discrete else None
        if len(gone):
            ids += [self._acted_ids[i] for i in gone.tolist()]
            obs_all = np.concatenate([obs, self._last_obs[gone]])
            mask = (
                None
                if mask is None
                else np.concatenate([mask, np.ones((len(gone), ACTIONS), dtype=np.bool_)])
            )
        else:
            obs_all = obs
        terminated = np.zeros(n + len(gone), dtype=np.bool_)
        terminated[n:] = True
        truncated = np.full(
            n + len(gone), self._decisions > 1 and (self._decisions - 1) % options.episode == 0
        )
        truncated[n:] = False
        self._who, self._obs, self._ids = who, obs, tuple(ids[:n])
        shared: dict[str, NDArray[Any]] = {
            "inflow": self._inflow,
            "zone_ids": self._zone_keys,
            "zone_features": all_features,
            "own_reward": own,
        }
        return Observations(
            now.t_us, ROLE, tuple(ids), obs_all, mask, shared, reward, terminated, truncated, active=n
        )

    def _acted_position(self, keys: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return where each key stands among those that acted before, -1 if it did not."""
        if not len(self._acted_keys):
            return np.full(len(keys), -1, dtype=np.intp)
        at = np.minimum(self._acted_keys.searchsorted(keys), len(self._acted_keys) - 1)
        return np.where(self._acted_keys[at] == keys, at, -1)

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        zone, options, who = self.zone, self.options, self._who
        n = len(who)
        values = actions.values
        if options.actions == "discrete":
            choice = values.astype(np.int64)
            asked = np.where(choice == LEAVE_IT, KEEP, choice)
            allowed = self._mask[np.arange(n), asked]
            # A masked lane change becomes the same acceleration without it.
            executed = np.where(allowed, asked, asked % 3 + 3)
            accel, lateral = decode(executed, options.accel_step)
            ours = choice != LEAVE_IT
            done: NDArray[Any] = np.where(ours, executed, LEAVE_IT)
        else:
            accel = np.asarray(options.accel_step * values[:, 0], dtype=np.float64)
            lateral = np.rint(values[:, 1]).astype(np.int64)
            allowed = self._mask[np.arange(n), (lateral + 1) * 3 + 1]
            lateral = np.where(allowed, lateral, 0)
            ours = np.ones(n, dtype=bool)
            done = np.where(allowed[:, None], values, np.column_stack([values[:, 0], np.zeros(n)]))
        self._masked = n - int(np.count_nonzero(allowed))
        self._masked_total += self._masked
        if n:
            self._order(now, zone.rows[who], ours, accel, lateral)
        lane = zone.lane[who]
        slots = self._zone_slots[who]
        self._acted_keys, self._acted_slots = self._zone_keys[who], slots
        self._acted_ids, self._last_obs = self._ids, self._obs
        self._accel, self._lateral = accel, lateral
        self._distance = lane_distance(lane, self._low[slots], self._high[slots])
        return Actions(done, actions.notes)

    def _order(
        self,
        now: Instant,
        rows: NDArray[np.intp],
        ours: NDArray[np.bool_],
        accel: NDArray[np.float64],
        lateral: NDArray[np.int64],
    ) -> None:
        state, commands, options = now.traffic, now.commands, self.options
        slots = state.slot[rows]
        commanded = self._commanded[slots]
        if not ours.all():
            release = ~ours & commanded
            if release.any():
                commands.release(rows[release], *options.human_modes)
                self._commanded[slots[release]] = False
            rows, slots, commanded = rows[ours], slots[ours], commanded[ours]
            accel, lateral = accel[ours], lateral[ours]
        if not commanded.all():
            back = ~commanded
            for kind in np.unique(state.type[rows[back]]):
                chosen = rows[back & (state.type[rows] == kind)]
                commands.modes(chosen, *(int(m) for m in self._cav_modes[kind]))
            self._commanded[slots] = True
        speed = np.minimum(np.maximum(state.speed[rows] + accel * self._dt, 0.0), options.max_speed)
        if self._one_step:
            commands.speed(rows, speed)
        else:
            commands.ramp(rows, speed, self._dt)
        change = lateral.nonzero()[0]
        if change.size:
            lane = np.minimum(np.maximum(state.lane[rows[change]] + lateral[change], 0), self._lanes - 1)
            commands.lane(rows[change], lane, self._context.step_us / US)

    # -- what is reported --

    def describe(self, actions: Actions) -> Sequence[str]:
        """Return each action in words, for the window of a run."""
        if self.options.actions == "discrete":
            return describe_discrete(actions.values)
        return describe_continuous(actions.values, self.options.accel_step)

    def step_values(self) -> Sequence[float]:
        return (
            self._reward,
            float(len(self.zone)),
            float(np.count_nonzero(self.zone.cav)),
            float(self._masked),
        )

    def totals(self) -> dict[str, float | int | None]:
        per_episode = (
            self._measured_reward / self._measured * self.options.episode if self._measured else None
        )
        return {
            "decisions": self._decisions,
            "masked_actions": self._masked_total,
            "return_per_episode": per_episode,
            "vehicles_left": self.statistics.left,
            "vehicles_succeeded": self.statistics.left_well,
            "vehicles_collided": self.statistics.collided,
            "vehicles_removed": self.statistics.removed,
        }

    def metrics(self) -> dict[str, float | None]:
        return self.statistics.values()
