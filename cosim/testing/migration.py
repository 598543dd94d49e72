"""Questions of the migration task, made without SUMO: what ``check_agent(…, task="migration")`` asks.

Ten vehicle numbers on a straight urban road (or a ring with gaps): some come, some leave, once all have left.  The
arrays fit together as the task's do: observations, masks and shared arrays are those of one slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep import ActionSpec, Observations, RoleSpec
from cosim.randomness import entity_keys
from cosim.tasks.migration import (
    Layout,
    MigrationOptions,
    Outcome,
    Slot,
    action_mask,
    decide,
    distances,
    draw_parameters,
    draw_tasks,
    link_rate,
    observation_length,
    observe,
    remaining_distance,
    residence_time,
    serving_station,
    settle,
    station_ahead,
)
from cosim.tasks.migration.observation import LIMIT

SLOT_US = 20_000_000
_EAST, _WEST = 90.0, 270.0
Floats = NDArray[np.float64]


def migration_layout(options: MigrationOptions) -> Layout:
    """Return six RSUs along a road of 2490 m, or four on a ring of 6 km, as ``options.space`` says."""
    if options.space == "urban":
        xy = np.array([[x, y] for y in (20.0, -20.0) for x in (415.0, 1245.0, 2075.0)])
        box = np.array([[0.0, -200.0], [2490.0, 200.0]])
        return Layout(tuple(f"rsu_{m}" for m in range(6)), xy, box, options.reach)
    sites: Floats = np.arange(4, dtype=np.float64) * 1500.0 + 750.0
    xy = _on_ring(sites, 970.0)
    box = np.array([[-1000.0, -1000.0], [1000.0, 1000.0]])
    return Layout(tuple(f"rsu_{m}" for m in range(4)), xy, box, options.reach or 500.0, remote=True)


def migration_role(options: MigrationOptions) -> RoleSpec:
    """Return the task's role under *options* on :func:`migration_layout`."""
    layout = migration_layout(options)
    length = observation_length(options.observation, layout.stations, options.vehicles)
    return RoleSpec("vehicle", length, ActionSpec(n=layout.choices, low=(0.0,), high=(1.0,)), -LIMIT, LIMIT)


def migration_questions(options: MigrationOptions, steps: int, seed: int) -> list[Observations]:
    """Return *steps* questions, a slot apart, about at most ``options.vehicles`` vehicles that come and go."""
    rng = np.random.default_rng(seed)
    layout, rules, v = migration_layout(options), options.rules(SLOT_US / 1e6), options.vehicles
    ids = [f"vehicle_{i}" for i in range(v)]
    enters, leaves = _stays(rng, v, steps)
    road = _Road(rng, v, options)
    slot: Slot | None = None
    outcome: Outcome | None = None
    before: list[int] = []
    seen = np.empty((v, migration_role(options).obs_dim), dtype=np.float32)
    masks = np.zeros((v, layout.choices), dtype=np.bool_)
    asked = []
    for t in range(steps):
        here = [i for i in range(v) if enters[i] <= t < leaves[i]]
        gone = [i for i in before if i not in here]
        rows = here + gone
        slot = road.slot(t, here, layout, options, seed, slot, outcome)
        mask = action_mask(layout, slot.serving, slot.ahead)[0]
        seen[here], masks[here] = (
            observe(options.observation, layout, rules, slot)[0, here],
            mask[here],
        )
        reward = np.zeros(v) if outcome is None else outcome.reward[0]
        asked.append(
            _frozen(
                Observations(
                    t_us=(t + 1) * SLOT_US,
                    role="vehicle",
                    ids=tuple(ids[i] for i in rows),
                    obs=seen[rows],
                    mask=masks[rows],
                    shared={
                        **slot.as_shared(),
                        **layout.as_shared(),
                        "vehicle": np.array(here, dtype=np.int64),
                        "history": road.history(t, options.history),
                        "own_reward": reward[rows],
                    },
                    reward=reward[rows],
                    terminated=np.arange(len(rows)) >= len(here),
                    truncated=np.full(len(rows), t == steps - 1) & (np.arange(len(rows)) < len(here)),
                    active=len(here),
                )
            )
        )
        choice = rng.integers(0, layout.choices, (1, v))
        target, share = decide(
            layout, choice, rng.uniform(0, 1, (1, v)), slot.serving, slot.ahead, mask[None]
        )
        outcome = settle(rules, slot, target, share)
        before = here
    return asked


class _Road:
    """Vehicles that drive to and fro on the road, or round the ring, at speeds of their own."""

    def __init__(self, rng: np.random.Generator, vehicles: int, options: MigrationOptions) -> None:
        self._ring = options.space == "remote"
        self._start = rng.uniform(0.0, 6000.0 if self._ring else 4980.0, vehicles)
        self._speed = rng.uniform(25.0, 33.0, vehicles) if self._ring else rng.uniform(5.0, 14.0, vehicles)
        self._keys = entity_keys([f"vehicle_{i}" for i in range(vehicles)])

    def _at(self, t: int) -> tuple[Floats, Floats]:
        way = self._start + t * SLOT_US / 1e6 * self._speed
        if self._ring:
            return _on_ring(way, 955.0), (-np.degrees(way / 955.0)) % 360.0
        way = way % 4980.0
        east = way < 2490.0
        xy = np.stack([np.where(east, way, 4980.0 - way), np.where(east, -3.0, 3.0)], axis=-1)
        return xy, np.where(east, _EAST, _WEST)

    def history(self, t: int, count: int) -> Floats:
        """Positions (V, count, 2) at the slots before t."""
        return np.stack([self._at(k)[0] for k in range(t - count, t)], axis=1)

    def slot(
        self,
        t: int,
        here: Sequence[int],
        layout: Layout,
        options: MigrationOptions,
        seed: int,
        before: Slot | None,
        outcome: Outcome | None,
    ) -> Slot:
        """The slot t with the queues and latencies that *outcome* left."""
        xy, heading = (part[None] for part in self._at(t))
        there = np.isin(np.arange(len(self._keys)), here)
        serving = np.where(there, serving_station(layout, xy), -1)
        inputs, tasks = draw_tasks(options.ranges(), [seed], [0], np.array([t]), self._keys[None])
        known = draw_parameters(options.ranges(), [seed], [0], layout.ids)
        slot = Slot(
            t=t,
            xy=xy,
            speed=self._speed[None],
            duration=residence_time(remaining_distance(layout, xy, heading, serving), self._speed[None]),
            serving=serving,
            ahead=station_ahead(layout, xy, heading, serving),
            input_bits=inputs[:, 0],
            task_bits=tasks[:, 0],
            rate=link_rate(options.rules(20.0), known.bandwidth[:, None, :], distances(layout, xy)),
            cpu=known.cpu,
            cpu_cloud=known.cpu_cloud,
            migration=known.migration,
            queue=known.queue,
            last=np.zeros((1, len(self._keys))),
        )
        if before is None or outcome is None:
            return slot
        return replace(slot, queue=outcome.queue, last=outcome.latency.total)


def _stays(rng: np.random.Generator, vehicles: int, steps: int) -> tuple[list[int], list[int]]:
    """Return when each vehicle comes and leaves: half of them before the middle, when nobody is there."""
    middle = steps // 2
    enters, leaves = [], []
    for i in range(vehicles):
        first, last = (1, middle) if i < vehicles // 2 else (middle + 1, steps)
        enters.append(int(rng.integers(first, max(first + 1, (first + last) // 2))))
        leaves.append(last if i % 2 else int(rng.integers(enters[-1] + 1, last + 2)))
    leaves = [min(leave, middle) if i < vehicles // 2 else leave for i, leave in enumerate(leaves)]
    return enters, leaves


def _on_ring(way: Floats, radius: float) -> Floats:
    angle = way / 955.0
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _frozen(asked: Observations) -> Observations:
    arrays: Mapping[str, Any] = asked.shared
    for array in (asked.obs, asked.mask, asked.reward, asked.terminated, asked.truncated, *arrays.values()):
        if array is not None:
            array.flags.writeable = False
    return asked
