"""E episodes of the migration task in step: queues, service order, and what a joint decision costs.

The same code settles one episode in lockstep with SUMO (E = 1) and many on tapes, with elementwise operations only,
so the rewards of both are equal to the bit.  Time is counted in decision slots t = 0, 1, … from the first decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.tasks.migration.latency import Floats, Latency, Prepared, Rules, cloud_work, finish, place, prepare
from cosim.tasks.migration.space import NONE, Ints


@dataclass(frozen=True, slots=True)
class Slot:
    """What is known of one decision slot before anybody decides, for E episodes, V vehicles, M RSUs.

    ==============  ==========  ===========================================================
    ``t``           int         decision slot
    ``xy``          E,V,2       positions, m
    ``speed``       E,V         m/s
    ``duration``    E,V         T_dur, s
    ``serving``     E,V int     serving RSU (-1: in a gap or absent, no task)
    ``ahead``       E,V int     next RSU ahead (-1: none)
    ``input_bits``  E,V         s_r, bit
    ``task_bits``   E,V         s_task, bit
    ``rate``        E,V,M       wireless rate to every RSU, either direction, bit/s
    ``cpu``         E,M         C_m, cycle/s
    ``cpu_cloud``   E           C_cloud, cycle/s
    ``migration``   E,M,M       B_mig, bit/s, infinite on the diagonal
    ``queue``       E,M         L_m(t), cycles
    ``last``        E,V         own T_sum of the slot before, s (0: none)
    ==============  ==========  ===========================================================
    """

    t: int
    xy: Floats
    speed: Floats
    duration: Floats
    serving: Ints
    ahead: Ints
    input_bits: Floats
    task_bits: Floats
    rate: Floats
    cpu: Floats
    cpu_cloud: Floats
    migration: Floats
    queue: Floats
    last: Floats

    @property
    def has_task(self) -> NDArray[np.bool_]:
        """Which vehicles (E, V) have a task this slot."""
        found: NDArray[np.bool_] = self.serving != NONE
        return found

    def as_shared(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name without the leading E, for ``Observations.shared`` (E must be 1)."""
        arrays = {name: getattr(self, name)[0] for name in SLOT_ARRAYS}
        arrays["cpu_cloud"] = arrays["cpu_cloud"].reshape(1)
        return {"t": np.array([self.t], dtype=np.int64), **arrays}

    @classmethod
    def from_shared(cls, shared: Mapping[str, NDArray[Any]]) -> Slot:
        """Return the slot (E = 1) that :meth:`as_shared` wrote, read from ``Observations.shared``."""
        arrays = {name: np.asarray(shared[name])[None] for name in SLOT_ARRAYS}
        arrays["cpu_cloud"] = np.asarray(shared["cpu_cloud"]).reshape(1)
        return cls(t=int(shared["t"][0]), **arrays)


SLOT_ARRAYS = (
    "xy", "speed", "duration", "serving", "ahead", "input_bits", "task_bits", "rate", "cpu", "cpu_cloud",
    "migration", "queue", "last",
)  # fmt: skip
"""Names of the arrays of a :class:`Slot`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a joint decision cost.  All (E, V) but ``queue``; rows without a task are 0 and not ``done``.

    ``latency`` the parts of T_sum (s); ``kept``, ``taken`` and ``latency.cloud_work`` where the work went (cycles);
    ``seen`` and ``seen_target`` the queues that each vehicle met (cycles); ``queue`` (E, M) is L(t+1);
    ``target`` and ``share`` are the decision as executed.
    """

    latency: Latency
    kept: Floats
    taken: Floats
    seen: Floats
    seen_target: Floats
    queue: Floats
    done: NDArray[np.bool_]
    target: Ints
    share: Floats

    @property
    def reward(self) -> Floats:
        """Own rewards -T_sum, (E, V).  Eq. (21)"""
        return -self.latency.total


@lru_cache(maxsize=1024)
def service_order(t: int, vehicles: int) -> tuple[int, ...]:
    """Return the vehicles in the order in which slot t serves them: vehicle i has place (i + t) mod V."""
    return tuple((place - t) % vehicles for place in range(vehicles))


@lru_cache(maxsize=1024)
def service_place(t: int, vehicles: int) -> Ints:
    """Return each vehicle's place (V,) in the service order of slot t: (i + t) mod V."""
    places: Ints = (np.arange(vehicles) + t) % vehicles
    places.flags.writeable = False
    return places


def settle(rules: Rules, slot: Slot, target: Ints, share: Floats) -> Outcome:
    """Return what a joint decision costs and the queues after the slot.

    ``target`` (E, V) RSU numbers and ``share`` (E, V) K in [0, 1], as :func:`cosim.tasks.migration.space.decide`
    gives them.  L(t+1) = clip(L(t) + added - C dt, 0, L_max).
    """
    if rules.own_target == "fixed":
        share = np.where(target == slot.serving, 0.0, share)  # F3
    done, at, at_target, what = _prepare_all(rules, slot, target, share)
    queue = slot.queue.copy()
    loop = _serve_in_order if rules.queue == "fifo" else _serve_at_once
    seen, seen_target, kept, taken, cloud = loop(rules, slot.t, what, queue.reshape(-1), at, at_target)
    latency = finish(rules, what, seen, seen_target, cloud, slot.cpu_cloud[:, None])
    if done is not None:
        zero = np.zeros_like(latency.total)
        parts = (latency.total, latency.up, latency.processing, latency.cloud, latency.down)
        total, up, processing, to_cloud, down = (np.where(done, part, zero) for part in parts)
        latency = Latency(total, up, processing, to_cloud, down, latency.cloud_work)
    after = np.minimum(np.maximum(queue - slot.cpu * rules.slot, 0.0), rules.queue_max)
    everybody = np.ones(target.shape, dtype=np.bool_) if done is None else done
    return Outcome(latency, kept, taken, seen, seen_target, after, everybody, target, share)


_All = tuple[NDArray[np.bool_] | None, Ints, Ints, Prepared]


def _prepare_all(rules: Rules, slot: Slot, target: Ints, share: Floats) -> _All:
    """Gather what each vehicle's own and target RSU offer; queue positions (E, V) in the flat (E * M) queues."""
    episodes, stations = slot.queue.shape
    serving, input_bits, task_bits, done = slot.serving, slot.input_bits, slot.task_bits, None
    if serving.min(initial=0) < 0:
        done = slot.has_task
        serving = np.maximum(serving, 0)
        # No task is a task of no size: it adds nothing to any queue.
        input_bits, task_bits = np.where(done, input_bits, 0.0), np.where(done, task_bits, 0.0)
    first = np.arange(episodes)[:, None] * stations
    at, at_target = first + serving, first + target
    row = np.arange(serving.size).reshape(serving.shape) * stations
    rates = slot.rate.reshape(-1)
    what = prepare(
        rules,
        share,
        input_bits,
        task_bits,
        rates.take(row + serving),
        rates.take(row + target),
        slot.migration.reshape(-1).take(at * stations + target),
        slot.cpu.reshape(-1).take(at),
        slot.cpu.reshape(-1).take(at_target),
        slot.duration,
    )
    return done, at, at_target, what


_Served = tuple[Floats, Floats, Floats, Floats, Floats]


def _serve_in_order(
    rules: Rules, t: int, what: Prepared, queue: Floats, at: Ints, at_target: Ints
) -> _Served:
    """Serve vehicle after vehicle, each seeing the work before it: a loop of V steps over all episodes at once.

    ``queue`` (E * M,) is raised in place.
    """
    if (rules.cloud_part, rules.overflow, rules.own_target) == ("fixed", "fixed", "fixed"):
        return _serve_fast(rules, t, what, queue, at, at_target)
    shape = at.shape
    seen, seen_target, kept, taken, cloud = (np.empty(shape) for _ in range(5))
    for i in service_order(t, shape[1]):
        here, there = at[:, i], at_target[:, i]
        found, found_target = queue.take(here), queue.take(there)
        one = _column(what, i)
        # Literally both parts may meet at one RSU: the second finds the room that the first left.
        kept_now, _, _ = place(rules, one, found, found_target)
        queue[here] = found + kept_now
        room = np.maximum(rules.queue_max - queue.take(there), 0.0)
        stays, moves, away = place(rules, one, found, found_target, room)
        queue[there] = queue.take(there) + moves
        seen[:, i], seen_target[:, i] = found, found_target
        kept[:, i], taken[:, i], cloud[:, i] = stays, moves, away
    return seen, seen_target, kept, taken, cloud


def _serve_fast(rules: Rules, t: int, what: Prepared, queue: Floats, at: Ints, at_target: Ints) -> _Served:
    """Serve in order with all fixes: :func:`place`, with the least work inside the loop.

    No queue exceeds L_max here, and the two parts of a task never meet at one RSU.
    """
    order = list(service_order(t, at.shape[1]))
    here, there = at.T[order], at_target.T[order]
    # Rows in service order, one vehicle of all episodes each: (V, E).
    local, migrated, excess = (part.T[order] for part in (what.local, what.migrated, what.excess))
    seen, seen_target, kept, taken = (np.empty(here.shape) for _ in range(4))
    most, zero = rules.queue_max, 0.0
    for i in range(len(order)):
        found = queue.take(here[i], out=seen[i])
        late = np.minimum(np.maximum(found + excess[i], zero), local[i])
        stays = np.minimum(local[i] - late, most - found, out=kept[i])
        queue[here[i]] = found + stays
        found = queue.take(there[i], out=seen_target[i])
        moves = np.minimum(migrated[i], most - found, out=taken[i])
        queue[there[i]] = found + moves
    back = np.argsort(order)
    met, met_target, stay, move = (part[back].T for part in (seen, seen_target, kept, taken))
    nothing = np.zeros(())
    return met, met_target, stay, move, cloud_work(rules, what, nothing, nothing, stay, move)


def _column(what: Prepared, i: int) -> Prepared:
    return Prepared(*(getattr(what, name)[:, i] for name in Prepared.__slots__))


def _serve_at_once(rules: Rules, t: int, what: Prepared, queue: Floats, at: Ints, at_target: Ints) -> _Served:
    """Serve all vehicles by the queues at the slot's begin; their work is then added in order."""
    seen, seen_target = queue.take(at), queue.take(at_target)
    kept, taken, cloud = place(rules, what, seen, seen_target)
    for i in service_order(t, at.shape[1]):
        queue[at[:, i]] += kept[:, i]
        queue[at_target[:, i]] += taken[:, i]
    return seen, seen_target, kept, taken, cloud


def own_latency(rules: Rules, slot: Slot, shares: Floats, loads: Floats | None = None) -> Floats:
    """Return the T_sum (E, V, M, n) that each vehicle expects of every target RSU and share, alone in the slot.

    ``shares`` (n,) are the values of K to try; ``loads`` the queues to reckon with, (E, M) for all or (E, V, M) for
    each vehicle (default L(t)).  Infinite for the serving RSU as target and 0 < K (with fix F3), and for vehicles
    without a task.
    """
    episodes, vehicles, stations = slot.rate.shape
    loads = slot.queue if loads is None else loads
    if loads.ndim == 2:
        loads = np.broadcast_to(loads[:, None, :], slot.rate.shape)
    serving = np.maximum(slot.serving, 0)[..., None]  # (E, V, 1)
    rows = np.broadcast_to(np.arange(episodes)[:, None, None], serving.shape)
    rate = np.take_along_axis(slot.rate, serving, axis=-1)
    load = np.take_along_axis(loads, serving, axis=-1)
    what = prepare(
        rules,
        shares,
        slot.input_bits[..., None, None],
        slot.task_bits[..., None, None],
        rate[..., None],
        slot.rate[..., None],
        slot.migration[rows[..., 0], serving[..., 0]][..., None],
        slot.cpu[rows, serving][..., None],
        slot.cpu[:, None, :, None],
        slot.duration[..., None, None],
    )
    own, others = load[..., None], loads[..., None]
    _, _, cloud = place(rules, what, own, others)
    total = finish(rules, what, own, others, cloud, slot.cpu_cloud[:, None, None, None]).total
    total = np.broadcast_to(total, (episodes, vehicles, stations, len(shares))).copy()
    if rules.own_target == "fixed":
        itself = np.arange(stations) == serving
        total[itself[..., None] & (shares > 0.0)] = np.inf
    total[~slot.has_task] = np.inf
    return total
