"""Queues and service order: the spec's brute force, invariants, and one vehicle's view against the joint result."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.tasks.migration import Rules, Slot, own_latency, service_order, service_place, settle

MB, G = 8e6, 1e9
SWITCHES = ("cloud_part", "empty_part", "own_target", "overflow")


def two_vehicles(t=0, queue=(20, 0, 0), rules=None):
    """Section 9.3: two vehicles at RSU 0 of three."""
    rate = np.broadcast_to(np.array([400, 200, 100]) * MB, (1, 2, 3)).copy()
    migration = np.full((1, 3, 3), 800e6)
    migration[0][np.diag_indices(3)] = np.inf
    slot = Slot(
        t=t, xy=np.zeros((1, 2, 2)), speed=np.zeros((1, 2)), duration=np.full((1, 2), 40.0),
        serving=np.zeros((1, 2), dtype=np.int64), ahead=np.full((1, 2), -1),
        input_bits=np.full((1, 2), 16 * MB), task_bits=np.array([[100.0, 200.0]]) * MB, rate=rate,
        cpu=np.array([[10.0, 20.0, 30.0]]) * G, cpu_cloud=np.array([80 * G]), migration=migration,
        queue=np.array([queue], dtype=np.float64) * G, last=np.zeros((1, 2)),
    )  # fmt: skip
    return rules or Rules(slot=5.0), slot


SHARES = (0.25, 0.5, 0.75, 1.0)
ONE = [(0, 0.0), *((m, k) for m in (1, 2) for k in SHARES)]
JOINT = list(product(ONE, ONE))


def every_joint_decision(slot):
    """Repeat a slot for all 81 joint decisions."""
    n = len(JOINT)
    repeated = {f: np.repeat(getattr(slot, f), n, axis=0) for f in Slot.__slots__ if f != "t"}
    target = np.array([[a[0], b[0]] for a, b in JOINT])
    share = np.array([[a[1], b[1]] for a, b in JOINT])
    return replace(slot, **repeated), target, share


def test_brute_force_of_one_slot():
    rules, slot = two_vehicles()
    outcome = settle(rules, *every_joint_decision(slot))
    totals = outcome.latency.total.sum(axis=1)
    best = int(totals.argmin())
    assert JOINT[best] == ((2, 1.0), (1, 0.75))
    assert totals[best] == pytest.approx(9.871667, abs=5e-7)
    assert outcome.latency.total[best] == pytest.approx([3.706667, 6.165], abs=5e-7)
    assert np.sort(totals)[1] == pytest.approx(10.205, abs=5e-7)
    assert totals.max() == pytest.approx(24.83, abs=5e-7)
    assert JOINT[int(totals.argmax())] == ((0, 0.0), (0, 0.0))
    assert totals.mean() == pytest.approx(15.434424, abs=5e-7)


def test_brute_force_of_two_slots():
    rules, slot = two_vehicles()
    first = settle(rules, *every_joint_decision(slot))
    pairs = []
    for i, queue in enumerate(first.queue):
        _, following = two_vehicles(1)
        second = settle(rules, *every_joint_decision(replace(following, queue=queue[None])))
        for j, total in enumerate(second.latency.total.sum(axis=1)):
            pairs.append((first.latency.total[i].sum() + total, i, j))
    assert len(pairs) == 6561
    total, i, j = min(pairs)
    assert total == pytest.approx(19.368333, abs=5e-7)
    assert JOINT[j] == ((2, 1.0), (1, 0.5))


def play(policy):
    rules, slot = two_vehicles()
    total, queues = 0.0, []
    for t in (0, 1):
        slot = replace(slot, t=t)
        outcome = settle(rules, slot, *policy(rules, slot))
        total += outcome.latency.total.sum()
        queues.append((slot.queue[0] + 0) / G)
        slot = replace(slot, queue=outcome.queue)
    return total, queues


def test_greedy_herds():
    def greedy(rules, slot):
        shares = np.array([0.0, *SHARES])
        total = own_latency(rules, slot, shares)
        best = total.reshape(1, 2, -1).argmin(axis=-1)
        return best // 5, shares[best % 5]

    assert play(greedy)[0] == pytest.approx(20.889167, abs=5e-7)


def test_full_and_no_migration():
    total, _ = play(lambda rules, slot: (np.full((1, 2), 2), np.ones((1, 2))))
    assert total == pytest.approx(27.16, abs=5e-7)
    total, queues = play(lambda rules, slot: (np.zeros((1, 2), dtype=np.int64), np.zeros((1, 2))))
    assert total == pytest.approx(74.66, abs=5e-7)
    assert queues[1][0] == pytest.approx(120.0)


def test_no_migration_leaves_220_gigacycles_after_two_slots():
    rules, slot = two_vehicles()
    nothing = np.zeros((1, 2), dtype=np.int64), np.zeros((1, 2))
    once = settle(rules, slot, *nothing)
    twice = settle(rules, replace(slot, t=1, queue=once.queue), *nothing)
    assert twice.queue[0, 0] / G == pytest.approx(220.0)


def test_a_vehicle_alone_gets_what_it_reckons():
    rules, slot = two_vehicles()
    shares = np.linspace(0, 1, 11)
    expected = own_latency(rules, slot, shares)
    for target, k in product((1, 2), range(11)):
        # Vehicle 0 is served first in slot 0: it meets the queues as they are.
        outcome = settle(rules, slot, np.array([[target, 0]]), np.array([[shares[k], 0.0]]))
        assert outcome.latency.total[0, 0] == expected[0, 0, target, k]


def test_service_order_and_places_are_inverse():
    for t in range(23):
        places = service_place(t, 10)
        assert [places[i] for i in service_order(t, 10)] == list(range(10))
        assert places[3] == (3 + t) % 10


def random_slot(seed, episodes=3, vehicles=5, stations=4, gaps=False):
    rng = np.random.default_rng(seed)
    migration = rng.uniform(5e8, 9e8, (episodes, stations, stations))
    migration = (migration + migration.transpose(0, 2, 1)) / 2
    migration[:, np.arange(stations), np.arange(stations)] = np.inf
    shape = (episodes, vehicles)
    return Slot(
        t=int(rng.integers(0, 40)), xy=rng.uniform(0, 2000, (*shape, 2)), speed=rng.uniform(0, 14, shape),
        duration=rng.uniform(0, 60, shape), serving=rng.integers(-1 if gaps else 0, stations, shape),
        ahead=np.full(shape, -1), input_bits=rng.uniform(12, 20, shape) * MB,
        task_bits=rng.uniform(50, 250, shape) * MB, rate=rng.uniform(5e8, 8e9, (*shape, stations)),
        cpu=rng.uniform(10, 30, (episodes, stations)) * G, cpu_cloud=rng.uniform(50, 100, episodes) * G,
        migration=migration, queue=rng.uniform(0, 300, (episodes, stations)) * G, last=np.zeros(shape),
    )  # fmt: skip


def random_decision(seed, slot):
    rng = np.random.default_rng(seed + 10_000)
    shape = slot.serving.shape
    return rng.integers(0, slot.cpu.shape[1], shape), np.round(rng.uniform(-0.2, 1.2, shape), 1).clip(0, 1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), gaps=st.booleans())
@pytest.mark.parametrize("queue", ["fifo", "snapshot"])
def test_work_is_conserved_and_queues_stay_within_bounds(queue, seed, gaps):
    rules = Rules(queue=queue)
    slot = random_slot(seed, gaps=gaps)
    outcome = settle(rules, slot, *random_decision(seed, slot))
    work = np.where(slot.has_task, slot.task_bits * 62.5, 0.0)
    placed = outcome.kept + outcome.taken + outcome.latency.cloud_work
    assert placed == pytest.approx(work, rel=1e-9, abs=1e-3)
    assert (outcome.queue >= 0).all()
    assert (outcome.queue <= rules.queue_max).all()
    assert (outcome.latency.cloud_work >= 0).all()
    assert (outcome.reward[~slot.has_task] == 0).all()
    if queue == "fifo":
        added = np.zeros_like(slot.queue)
        for e, v in zip(*np.nonzero(slot.has_task), strict=True):
            added[e, slot.serving[e, v]] += outcome.kept[e, v]
            added[e, outcome.target[e, v]] += outcome.taken[e, v]
        expected = np.clip(slot.queue + added - slot.cpu * rules.slot, 0, rules.queue_max)
        assert outcome.queue == pytest.approx(expected, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("rules", [
    Rules(), Rules(queue="snapshot"), Rules(cloud_part="literal"), Rules(empty_part="literal"),
    Rules(own_target="literal"), Rules(overflow="literal"),
])  # fmt: skip
def test_a_batch_of_episodes_equals_each_alone_to_the_bit(rules):
    slot = random_slot(7, episodes=37, vehicles=10, stations=6, gaps=True)
    target, share = random_decision(7, slot)
    together = settle(rules, slot, target, share)
    for e in range(37):
        part = {f: getattr(slot, f)[e : e + 1] for f in Slot.__slots__ if f != "t"}
        alone = settle(rules, replace(slot, **part), target[e : e + 1], share[e : e + 1])
        assert np.array_equal(alone.latency.total[0], together.latency.total[e])
        assert np.array_equal(alone.queue[0], together.queue[e])


def test_a_target_that_serves_means_no_migration():
    slot = random_slot(11)
    stay = np.maximum(slot.serving, 0)
    half = np.full(stay.shape, 0.5)
    fixed = settle(Rules(), slot, stay, half)
    assert np.array_equal(fixed.latency.total, settle(Rules(), slot, stay, half * 0).latency.total)
    literal = settle(Rules(own_target="literal"), slot, stay, half)
    assert not np.array_equal(fixed.latency.total, literal.latency.total)


def plainly(rules, slot, target, share):
    """One episode's slot once more, vehicle by vehicle in plain numbers, as the spec says it in words."""
    vehicles = slot.serving.shape[1]
    queue = slot.queue[0].tolist()
    begin = list(queue)
    totals = [0.0] * vehicles
    for place in range(vehicles):
        i = next(v for v in range(vehicles) if (v + slot.t) % vehicles == place)
        m, mp, k = int(slot.serving[0, i]), int(target[0, i]), float(share[0, i])
        if m < 0:
            continue
        if rules.own_target == "fixed" and mp == m:
            k = 0.0
        found = begin if rules.queue == "snapshot" else list(queue)
        bits, e = float(slot.task_bits[0, i]), rules.cycles_per_bit
        local, moved = (1 - k) * bits * e, k * bits * e
        up = float(slot.input_bits[0, i]) / float(slot.rate[0, i, m])
        here = (found[m] + local) / slot.cpu[0, m]
        there = k * bits / slot.migration[0, m, mp] + (found[mp] + moved) / slot.cpu[0, mp]
        if rules.empty_part == "fixed":
            here, there = here * (local > 0), there * (moved > 0)
        if rules.cloud_part == "fixed":
            left = max(0.0, slot.duration[0, i] - up)
            cloud = min(max(found[m] + local - slot.cpu[0, m] * left, 0.0), local)
        else:
            in_time = up + here <= slot.duration[0, i]
            cloud = 0.0 if in_time else found[m] + local - slot.cpu[0, m] * slot.duration[0, i]
        stays = local - min(max(cloud, 0.0), local)
        if rules.overflow == "fixed":
            room = max(rules.queue_max - found[m], 0.0)
            cloud += max(stays - room, 0.0)
            stays = min(stays, room)
            same = m == mp and rules.queue == "fifo"
            room = max(rules.queue_max - found[mp] - (stays if same else 0.0), 0.0)
            cloud += max(moved - room, 0.0)
            moved_in = min(moved, room)
        else:
            moved_in = moved
        queue[m] += stays
        queue[mp] += moved_in
        back = (1 - k) * bits / slot.rate[0, i, m] + k * bits / slot.rate[0, i, mp]
        totals[i] = (
            up + max(here, there) + cloud / e / rules.backhaul + cloud / slot.cpu_cloud[0]
            + back + cloud / e / rules.cloud_down
        )  # fmt: skip
    after = [
        min(max(q - c * rules.slot, 0.0), rules.queue_max) for q, c in zip(queue, slot.cpu[0], strict=True)
    ]
    return totals, after


@pytest.mark.parametrize(
    "literal", [(), *((name,) for name in SWITCHES), SWITCHES], ids=lambda names: "+".join(names) or "fixed"
)
@pytest.mark.parametrize("queue", ["fifo", "snapshot"])
def test_a_slot_equals_the_rules_in_plain_numbers(queue, literal):
    rules = Rules(queue=queue, **dict.fromkeys(literal, "literal"))
    for seed in range(40):
        slot = random_slot(seed, episodes=1, vehicles=10, gaps=seed % 3 == 0)
        target, share = random_decision(seed, slot)
        totals, after = plainly(rules, slot, target, share)
        outcome = settle(rules, slot, target, share)
        assert outcome.latency.total[0] == pytest.approx(totals, rel=1e-9)
        assert outcome.queue[0] == pytest.approx(after, rel=1e-9, abs=1e-3)
