"""The migration task in lockstep with SUMO: each slot every agent vehicle picks a target RSU and a share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError
from cosim.lockstep.protocol import Actions, ActionSpec, Observations, RoleSpec
from cosim.tasks.base import Instant, Picture, TaskContext, TaskEvent
from cosim.tasks.migration.draws import draw_tasks
from cosim.tasks.migration.episode import Slot
from cosim.tasks.migration.fleet import Fleet
from cosim.tasks.migration.metrics import CROWDED, METRICS, Statistics, crowding
from cosim.tasks.migration.models import Decision, ModelSetup, Settled, make_model
from cosim.tasks.migration.observation import LIMIT, observation_length, observe
from cosim.tasks.migration.options import MigrationOptions
from cosim.tasks.migration.picture import picture
from cosim.tasks.migration.recording import tape_of
from cosim.tasks.migration.space import (
    Bools,
    Floats,
    Ints,
    action_mask,
    decide,
    remaining_distance,
    residence_time,
    serving_station,
    station_ahead,
)
from cosim.tasks.migration.tape import tape_bytes
from cosim.traffic.nets import load_geometry
from cosim.traffic.tracks import Tracks

ROLE = "vehicle"
_log = logging.getLogger(__name__)


class MigrationTask:
    """Target RSU and share of every agent vehicle's task; one role, one phase.

    Decisions begin at the end of the warm-up (slot t = 0); the slots before it fill the history.  An action is
    (choice, K): urban, the number of the target RSU; remote, 0 to stay and 1 to migrate to the next RSU ahead.  Rows
    are the agent vehicles on the road in the order of their numbers; one in a coverage gap has no task, only choice
    0 and reward 0.  A masked choice migrates nothing.

    ``shared`` of its observations: the arrays of :class:`~cosim.tasks.migration.episode.Slot` by name (without the
    leading axis, over all V numbers, absent vehicles with ``serving`` -1; ``queue`` is L(t)), ``t`` (1,),
    ``vehicle`` (active,) the number of each row asked, ``history`` (V, H, 2) m positions at the slots before this,
    oldest first, ``rsu_xy`` (M, 2) m, ``box`` (2, 2) m that scales positions, ``reach`` (1,) m and ``remote`` (1,)
    of the layout, ``own_reward`` (n,) each row's own -T_sum.
    """

    name: ClassVar[str] = "migration"
    Options: ClassVar[type[MigrationOptions]] = MigrationOptions
    metric_names: ClassVar[Sequence[str]] = METRICS
    phases: Sequence[str] = (ROLE,)
    step_columns: Sequence[str] = ("reward", "latency", "load", "clustering", "masked")

    def __init__(self, options: MigrationOptions, context: TaskContext) -> None:
        if context.period_us < context.step_us:
            raise ScenarioError(
                "migration cannot decide more often than the traffic steps", key="tasks.migration.every"
            )
        self.options = options
        self._context = context
        self.layout = options.layout(load_geometry(context.net))
        self.rules = options.rules(context.period_us / US)
        self._model = make_model(ModelSetup(options, context, self.layout, self.rules))
        stations, vehicles = self.layout.stations, options.vehicles
        action = ActionSpec(n=self.layout.choices, low=(0.0,), high=(1.0,))
        self.roles = {
            ROLE: RoleSpec(
                ROLE, observation_length(options.observation, stations, vehicles), action, -LIMIT, LIMIT
            )
        }
        self.fleet = Fleet(vehicles, options.history, _agent_types(options, context))
        self.statistics = Statistics(self.rules)
        # The first decision is at the first slot that is not before the end of the warm-up.
        slots = max(1, -(-context.warmup_us // context.period_us))
        self._begin_us = slots * context.period_us
        self._last: Floats = np.zeros(vehicles)
        self._own: Floats = np.zeros(vehicles)
        self._slot: Slot | None = None
        self._mask: Bools = np.empty((vehicles, action.n), dtype=np.bool_)
        # Who was asked at the decision before, with what they saw.
        self._asked: Ints = np.empty(0, dtype=np.int64)
        self._seen: NDArray[np.float32] = np.empty((0, self.roles[ROLE].obs_dim), dtype=np.float32)
        self._asked_mask: Bools = np.empty((0, action.n), dtype=np.bool_)
        # The slot that was decided last, whose tasks of earlier slots may still be under way.
        self._decided: Slot | None = None
        self._known: Bools = np.zeros(vehicles, dtype=np.bool_)
        self._told: list[float] = []
        self._masked = self._masked_total = 0
        self._decisions = self._migrations = 0
        self._return = 0.0
        self._warned = False
        self._decision: Decision | None = None
        self._level: Floats = self._model.parameters.queue[0]
        self.step_columns = (*self.step_columns, *(f"load_{name}" for name in self.layout.ids))

    def watch(self, now: Instant) -> None:
        self._model.watch(now)
        if now.t_us > self._begin_us:
            self._level = self._model.level(now)

    # -- decisions --

    def settle(self, now: Instant) -> None:
        settled = self._model.settle(now)
        self._own, self._known = np.zeros_like(self._last), np.zeros_like(self._known)
        self._told = []
        for found in settled:
            done, total = found.outcome.done[0], found.outcome.latency.total[0]
            self._own[done] -= total[done]
            self._known |= done
            self._told += total[done].tolist()
            if now.measured:
                self.statistics.add_tasks(found.slot, found.outcome, found.unfinished)
            self._tell(now, found)
        decided, self._decided = self._decided, None
        if decided is None:
            return
        self._last = settled[-1].outcome.latency.total[0]
        if now.measured:
            self.statistics.add_slot(decided, len(self._asked))
            tasks = int(np.count_nonzero(decided.has_task))
            self._return += float(self._own[self._known].sum()) / tasks if tasks else 0.0

    def _tell(self, now: Instant, settled: Settled) -> None:
        """Record what was migrated."""
        slot, outcome = settled.slot, settled.outcome
        moved = np.flatnonzero((outcome.share[0] > 0.0) & outcome.done[0])
        self._migrations += len(moved)
        stations = self.layout.ids
        for v in moved.tolist():
            now.records.append(
                TaskEvent(
                    now.t_us,
                    "migration",
                    self.fleet.ids[v],
                    place=stations[slot.serving[0, v]],
                    station=stations[outcome.target[0, v]],
                    value=float(outcome.share[0, v]),
                    text=f"latency {outcome.latency.total[0, v]:.6g} s",
                )
            )

    def observe(self, now: Instant, phase: str) -> Observations:
        deciding = now.t_us >= self._begin_us
        fleet, before = self.fleet, self._asked
        fleet.see(now.traffic, deciding)
        here = np.flatnonzero(fleet.present) if deciding else np.empty(0, dtype=np.int64)
        gone = before[~fleet.present[before]]
        slot = self._slot = self._slot_now(now)
        self._mask = action_mask(self.layout, slot.serving, slot.ahead, self.rules.own_target == "literal")[0]
        obs = observe(self.options.observation, self.layout, self.rules, slot)[0, here]
        left = np.isin(before, gone)
        rows = np.concatenate([here, gone])
        own = self._own[rows]
        reward = own
        if self.options.reward == "team":
            mean = float(self._own[self._known].mean()) if self._known.any() else 0.0
            reward = np.where(np.isin(rows, before), mean, 0.0)
        terminated = np.arange(len(rows)) >= len(here)
        shared = self._shared(slot, here, own)
        asked = Observations(
            t_us=now.t_us,
            role=ROLE,
            ids=tuple(fleet.ids[v] for v in rows.tolist()),
            obs=np.concatenate([obs, self._seen[left]]),
            mask=np.concatenate([self._mask[here], self._asked_mask[left]]),
            shared=shared,
            reward=reward,
            terminated=terminated,
            truncated=~terminated & (slot.t > 0 and slot.t % self.options.episode == 0),
            active=len(here),
        )
        self._asked, self._seen, self._asked_mask = here, obs, self._mask[here]
        return asked

    def _slot_now(self, now: Instant) -> Slot:
        """Return what is known of the slot that begins now."""
        fleet, layout, model = self.fleet, self.layout, self._model
        t = (now.t_us - self._begin_us) // self._context.period_us
        xy, heading = fleet.xy[None], fleet.heading[None]
        serving = np.where(fleet.present, serving_station(layout, xy), -1)
        inputs, tasks = draw_tasks(
            self.options.ranges(), [self._context.seed], [self.options.draw], np.array([t]), fleet.keys[None]
        )
        known = model.parameters
        return Slot(
            t=t,
            xy=xy,
            speed=fleet.speed[None],
            duration=residence_time(remaining_distance(layout, xy, heading, serving), fleet.speed[None]),
            serving=serving,
            ahead=station_ahead(layout, xy, heading, serving),
            input_bits=inputs[:, 0],
            task_bits=tasks[:, 0],
            rate=model.rates(now, fleet.xy, fleet.rows),
            cpu=known.cpu,
            cpu_cloud=known.cpu_cloud,
            migration=known.migration,
            queue=model.loads(now),
            last=self._last[None],
        )

    def _shared(self, slot: Slot, here: Ints, own: Floats) -> dict[str, NDArray[Any]]:
        return {
            **slot.as_shared(),
            "vehicle": here,
            "history": self.fleet.history,
            **self.layout.as_shared(),
            "own_reward": own,
        }

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        slot, who = self._slot, self._asked
        assert slot is not None, "observe comes first"
        self._masked = 0
        if now.t_us < self._begin_us:
            return actions
        values = actions.values
        allowed = self._mask[who, values[:, 0].astype(np.int64)]
        nothing = np.stack([self._mask[who].argmax(axis=1), np.zeros(len(who))], axis=1)
        executed = np.where(allowed[:, None], values, nothing)
        choice, share = np.zeros((1, len(self._mask)), dtype=np.int64), np.zeros((1, len(self._mask)))
        choice[0, who], share[0, who] = executed[:, 0].astype(np.int64), executed[:, 1]
        target, share = decide(self.layout, choice, share, slot.serving, slot.ahead, self._mask[None])
        self._masked = len(who) - int(np.count_nonzero(allowed))
        self._masked_total += self._masked
        self._decisions += 1
        ids = tuple(self.fleet.ids) + ("",) * (len(self._mask) - len(self.fleet.ids))
        self._decision = Decision(slot, target, share, ids, self.fleet.rows)
        self._model.start(now, self._decision)
        self._decided = slot
        self._level = self._model.level(now)
        moves = np.flatnonzero((share[0] > 0.0) & slot.has_task[0])
        names = [self.layout.ids[m] for m in target[0, moves].tolist()]
        now.commands.migrate(self.fleet.rows[moves], names, share[0, moves])
        return Actions(executed, actions.notes)

    # -- what is reported --

    def describe(self, actions: Actions) -> Sequence[str]:
        """Return each action in words, for the window of a run."""
        if self.layout.remote:
            return [f"ahead {k:.0%}" if choice else "stay" for choice, k in actions.values.tolist()]
        ids = self.layout.ids
        return [f"{ids[int(m)]} {k:.0%}" if k > 0 else "stay" for m, k in actions.values.tolist()]

    def picture(self, now: Instant) -> Picture:
        """Return what the window of a run shows."""
        return picture(self.layout, now.traffic, self._decision, self._level, self.rules.queue_max)

    def tape(self, tracks: Tracks) -> bytes:
        """Return the mobility tape of recorded tracks, as the bytes of its file."""
        return tape_bytes(tape_of(tracks, self.layout, first_us=self._begin_us, history=self.options.history))

    def step_values(self) -> Sequence[float]:
        return (*self._slot_values(), *self._level.tolist())

    def _slot_values(self) -> tuple[float, ...]:
        slot = self._slot
        if slot is None or not self._told:
            load = float("nan") if slot is None else float(slot.queue.mean())
            return (float("nan"), float("nan"), load, float("nan"), float(self._masked))
        latency = float(np.mean(self._told))
        return (-latency, latency, float(slot.queue.mean()), crowding(slot), float(self._masked))

    def totals(self) -> dict[str, float | int | None]:
        slots = self.statistics.slots
        return {
            "decisions": self._decisions,
            "tasks": self.statistics.tasks,
            "migrations": self._migrations,
            "masked_actions": self._masked_total,
            "return_per_episode": self._return / slots * self.options.episode if slots else None,
        }

    def metrics(self) -> dict[str, float | None]:
        found = self.statistics.clustering
        whole = self.statistics.slots >= self.options.episode
        if found is not None and found < CROWDED and whole and not self.layout.remote and not self._warned:
            self._warned = True
            _log.warning(
                "clustering is %.2f, below %.1f: vehicles this spread out leave little to predict",
                found,
                CROWDED,
            )
        whole_run = deepcopy(self.statistics)
        for waiting in self._model.unfinished():
            whole_run.add_tasks(waiting.slot, waiting.outcome, waiting.unfinished)
        return whole_run.values()


def _agent_types(options: MigrationOptions, context: TaskContext) -> NDArray[np.bool_]:
    """Return which vehicle types (T,) are agents; ScenarioError for a type that the scenario does not have."""
    known = [kind.id for kind in context.types]
    for name in options.types or ():
        if name not in known:
            raise ScenarioError(
                f"unknown vehicle type '{name}'; the scenario has {', '.join(known)}",
                key="tasks.migration.types",
            )
    if options.types is None:
        return np.array([kind.cav for kind in context.types], dtype=np.bool_)
    return np.array([name in options.types for name in known], dtype=np.bool_)
