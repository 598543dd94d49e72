"""The driving task: from the road to observations, from actions to speeds and lanes (TPE-MARL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError
from cosim.lockstep.protocol import LEAVE_IT, Actions, ActionSpec, Observations, RoleSpec
from cosim.tasks.base import Instant, TaskContext
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
from cosim.tasks.driving.options import DrivingOptions
from cosim.tasks.driving.reward import action_reward, environment_reward, lane_distance, position_reward
from cosim.tasks.driving.roster import Members, Roster
from cosim.tasks.driving.zone import Floats

ROLE = "cav"
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
                "driving cannot decide more often than the traffic steps", key="tasks.driving.every"
            )
        self._one_step = context.period_us == context.step_us
        self._discrete = options.actions == "discrete"
        action = (
            ActionSpec(n=ACTIONS, leave_it=True)
            if self._discrete
            else ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0))
        )
        self.roles = {ROLE: RoleSpec(ROLE, OBS_DIM, action, low=-10.0, high=20.0)}
        self.statistics = Statistics(context.step_us / US, options.ttc_cap)
        self.roster = Roster(options, context, self.statistics)
        self._reward = 0.0
        self._masked = self._masked_total = 0
        self._decisions = 0
        self._measured = 0
        self._measured_reward = 0.0
        # The decision before: who acted (None: nobody yet), what they saw and did.
        self._acted: Members | None = None
        self._acted_obs = np.empty((0, OBS_DIM), dtype=np.float32)
        self._accel: Floats = np.empty(0)
        self._lateral: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._distance: Floats = np.empty(0)
        self._own: Floats = np.empty(0)
        self._at: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def watch(self, now: Instant) -> None:
        self.roster.follow(now)

    # -- decisions --

    def settle(self, now: Instant) -> None:
        zone, options, members, acted = self.roster.zone, self.options, self.roster.members, self._acted
        # Where those that acted stand now among the zone's vehicles; -1 if they are gone.
        here: NDArray[np.bool_] | slice = slice(None)
        if acted is None:
            at = np.empty(0, dtype=np.intp)
        elif acted is members:
            at = members.who
        else:
            at = members.cav_positions(acted.keys[acted.who])
            here = at >= 0
        staying = at[here]
        own: Floats = np.zeros(len(at))
        if staying.size:
            accel, lateral, distance = self._accel[here], self._lateral[here], self._distance[here]
            speed = zone.speed[staying]
            keeps = 0.0
            if not self._discrete:
                # A continuous acceleration is graded in units of its largest value, as the actor gives it.
                accel, keeps = accel / options.accel_step, _CONTINUOUS_KEEP
            r_a = action_reward(accel, speed, options.max_speed, keeps_above=keeps)
            r_p = options.kappa * position_reward(zone.s[staying], speed, lateral, distance)
            own[here] = options.reward_weights[0] * r_a + options.reward_weights[1] * r_p
        flow = float(np.add.reduce(zone.speed) / len(zone)) / options.max_speed if len(zone) else 0.0
        collided, completed, own_events = self.roster.take_events()
        self._reward = environment_reward(options.reward_weights, own[here], flow, collided, completed)
        if acted is not None:
            for keys, amount in own_events:
                own[np.isin(acted.keys[acted.who], keys)] += amount
        self._own, self._at = own, at
        if now.measured:
            self._measured += 1
            self._measured_reward += self._reward
        self._decisions += 1

    def observe(self, now: Instant, phase: str) -> Observations:
        zone, options, members = self.roster.zone, self.options, self.roster.members
        who = members.who
        all_features = features(zone)
        obs = observe(zone, all_features, who)
        distance = options.mask_distance if options.mask == "safe" else None
        self._mask = action_mask(zone, who, self.roster.lanes, distance)
        self._obs = obs
        ids, mask = members.ids, self._mask if self._discrete else None
        n = len(ids)
        ended = self._decisions > 1 and (self._decisions - 1) % options.episode == 0
        if self._acted is members:
            own, reward = self._own, np.full(n, self._reward)
            terminated = np.zeros(n, dtype=np.bool_)
        else:
            ids, obs, mask, own, reward, terminated = self._with_those_that_left(members, obs, mask)
        shared: dict[str, NDArray[Any]] = {
            "inflow": self.roster.inflow,
            "zone_ids": members.keys,
            "zone_features": all_features,
            "own_reward": own,
        }
        truncated = ~terminated if ended else np.zeros(len(ids), dtype=np.bool_)
        return Observations(now.t_us, ROLE, ids, obs, mask, shared, reward, terminated, truncated, active=n)

    def _with_those_that_left(
        self, members: Members, obs: NDArray[np.float32], mask: NDArray[np.bool_] | None
    ) -> tuple[
        tuple[str, ...], NDArray[np.float32], NDArray[np.bool_] | None, Floats, Floats, NDArray[np.bool_]
    ]:
        """Return ids, obs, mask, own reward, reward and terminated with a last row for each CAV that left."""
        ids, n = members.ids, len(members.who)
        gone = (self._at < 0).nonzero()[0]
        total = n + len(gone)
        own, reward = np.zeros(total), np.zeros(total)
        # Rewards go to those that acted; a newcomer has none yet.
        stay = (self._at >= 0).nonzero()[0]
        place = members.who.searchsorted(self._at[stay])
        own[place], reward[place] = self._own[stay], self._reward
        own[n:], reward[n:] = self._own[gone], self._reward
        terminated = np.zeros(total, dtype=np.bool_)
        terminated[n:] = True
        if len(gone):
            assert self._acted is not None
            ids = (*ids, *(self._acted.ids[i] for i in gone.tolist()))
            obs = np.concatenate([obs, self._acted_obs[gone]])
            if mask is not None:
                mask = np.concatenate([mask, np.ones((len(gone), ACTIONS), dtype=np.bool_)])
        return ids, obs, mask, own, reward, terminated

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        zone, options, members = self.roster.zone, self.options, self.roster.members
        who = members.who
        n = len(who)
        values = actions.values
        ours = values != LEAVE_IT if self._discrete else np.ones(n, dtype=np.bool_)
        if self._discrete:
            every = np.count_nonzero(ours) == n
            asked = values if every else np.where(ours, values, KEEP)
            allowed = self._mask[np.arange(n), asked]
            # A masked lane change becomes the same acceleration without it.
            executed = asked if np.count_nonzero(allowed) == n else np.where(allowed, asked, asked % 3 + 3)
            accel, lateral = decode(executed, options.accel_step)
            done: NDArray[Any] = executed if every else np.where(ours, executed, LEAVE_IT)
        else:
            accel = np.asarray(options.accel_step * values[:, 0], dtype=np.float64)
            lateral = np.rint(values[:, 1]).astype(np.int64)
            allowed = self._mask[np.arange(n), (lateral + 1) * 3 + 1]
            lateral = np.where(allowed, lateral, 0)
            done = np.where(allowed[:, None], values, np.column_stack([values[:, 0], np.zeros(n)]))
        self._masked = n - int(np.count_nonzero(allowed))
        self._masked_total += self._masked
        if n:
            self._order(now, members.rows[who], ours, accel, lateral)
        self._acted, self._acted_obs = members, self._obs
        self._accel, self._lateral = accel, lateral
        self._distance = lane_distance(zone.lane[who], members.low, members.high)
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
        commanded = self.roster.commanded[slots]
        if np.count_nonzero(ours) < len(ours):
            release = ~ours & commanded
            if release.any():
                commands.release(rows[release], *options.human_modes)
                self.roster.commanded[slots[release]] = False
            rows, slots, commanded = rows[ours], slots[ours], commanded[ours]
            accel, lateral = accel[ours], lateral[ours]
        if np.count_nonzero(commanded) < len(commanded):
            self.roster.take_back(now, rows[~commanded])
            self.roster.commanded[slots] = True
        speed = np.minimum(np.maximum(state.speed[rows] + accel * self._dt, 0.0), options.max_speed)
        if self._one_step:
            commands.speed(rows, speed)
        else:
            commands.ramp(rows, speed, self._dt)
        change = lateral.nonzero()[0]
        if change.size:
            lane = np.minimum(
                np.maximum(state.lane[rows[change]] + lateral[change], 0), self.roster.lanes - 1
            )
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
            float(len(self.roster.zone)),
            float(np.count_nonzero(self.roster.zone.cav)),
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
            "lane_changes": self.statistics.changes,
        }

    def metrics(self) -> dict[str, float | None]:
        return self.statistics.values()
