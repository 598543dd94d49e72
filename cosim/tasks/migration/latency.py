"""The closed-form latency of a migrated task: equations (1) to (10) of Chen et al., arXiv 2306.14683.

Pure functions over arrays of any shape that broadcast against each other: a scalar, the vehicles of one slot, or
all targets and shares of all vehicles of many episodes.  SI throughout: data in bit, work in CPU cycles, rates in
bit/s and cycle/s, times in s.  What the paper leaves open or contradictory is one switch each in :class:`Rules`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SPEED_OF_LIGHT = 299792458.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Constants of the latency model and how its open points are settled.

    ``cycles_per_bit`` is the paper's e, ``gain`` its A (linear), ``power`` p_v, ``noise`` sigma^2 over the band,
    ``backhaul`` B_mc and ``cloud_down`` R_c, ``queue_max`` L_max and ``slot`` the slot's length (s).

    ``queue``: in ``fifo`` a vehicle sees the work that was added earlier in its slot, in ``snapshot`` all see the
    queues as they were at its begin (literal eq 4).  The other switches are the spec's fixes F1 to F4:
    ``cloud_part`` fixed clips s_c to the vehicle's own local part and counts the time left after the upload;
    ``empty_part`` fixed gives a part of size 0 no processing time; ``own_target`` fixed reads a migration to the
    serving RSU as no migration; ``overflow`` fixed sends to the cloud what a queue has no room for.
    """

    cycles_per_bit: float = 62.5
    gain: float = 4.11
    frequency: float = 2.0e9
    power: float = 0.1
    noise: float = 1e-11
    backhaul: float = 200e6
    cloud_down: float = 200e6
    queue_max: float = 300e9
    slot: float = 20.0
    queue: Literal["fifo", "snapshot"] = "fifo"
    cloud_part: Literal["fixed", "literal"] = "fixed"
    empty_part: Literal["fixed", "literal"] = "fixed"
    own_target: Literal["fixed", "literal"] = "fixed"
    overflow: Literal["fixed", "literal"] = "fixed"


def channel_gain(rules: Rules, distance: ArrayLike) -> Floats:
    """Return h = A (c / (4 pi f D))^2, a plain factor; ``distance`` D in m, any shape, taken as at least 1 m."""
    reach = SPEED_OF_LIGHT / (4.0 * math.pi * rules.frequency)
    ratio = reach / np.maximum(distance, 1.0)
    gain: Floats = rules.gain * (ratio * ratio)
    return gain


def spectral_efficiency(rules: Rules, distance: ArrayLike) -> Floats:
    """Return log2(1 + p_v h / sigma^2) in bit/s/Hz: the part of eqs (1) and (2) that geometry alone decides."""
    efficiency: Floats = np.log2(1.0 + rules.power * channel_gain(rules, distance) / rules.noise)
    return efficiency


def link_rate(rules: Rules, bandwidth: ArrayLike, distance: ArrayLike) -> Floats:
    """Return R = B log2(1 + p_v h / sigma^2) in bit/s.  Eqs (1), (2)

    ``bandwidth`` Hz and ``distance`` m.  Both directions use the vehicle's power, so one rate serves for both.
    """
    return np.asarray(bandwidth) * spectral_efficiency(rules, distance)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What of a decision does not depend on the queues; arrays of one shape (or broadcasting).

    ``local`` and ``migrated`` are the work (cycles) at the serving RSU m and the target m_p, ``up`` T_up,
    ``transfer`` T_mig, ``down`` T_d without the cloud's share (s), ``excess`` the local work less what m can do
    before the vehicle leaves (cycles), ``cpu`` and ``cpu_target`` C_m and C_mp, ``duration`` T_dur.
    """

    local: Floats
    migrated: Floats
    up: Floats
    transfer: Floats
    down: Floats
    excess: Floats
    cpu: Floats
    cpu_target: Floats
    duration: Floats


def prepare(
    rules: Rules,
    share: ArrayLike,
    input_bits: ArrayLike,
    task_bits: ArrayLike,
    rate: ArrayLike,
    rate_target: ArrayLike,
    migration: ArrayLike,
    cpu: ArrayLike,
    cpu_target: ArrayLike,
    duration: ArrayLike,
) -> Prepared:
    """Split tasks by ``share`` K and return the parts that no queue enters.

    ``input_bits`` s_r and ``task_bits`` s_task (bit); ``rate`` and ``rate_target`` the wireless rates to m and m_p,
    ``migration`` B_mig between them (bit/s; infinite from an RSU to itself); ``cpu``, ``cpu_target`` C_m and C_mp
    (cycle/s); ``duration`` T_dur (s).  All broadcast.
    """
    share, task_bits = np.asarray(share, dtype=np.float64), np.asarray(task_bits, dtype=np.float64)
    cpu, duration = np.asarray(cpu, dtype=np.float64), np.asarray(duration, dtype=np.float64)
    moved = share * task_bits  # s_mig
    stays = task_bits - moved
    up: Floats = np.asarray(input_bits / np.asarray(rate))
    transfer = moved / np.asarray(migration)
    down = stays / np.asarray(rate) + moved / np.asarray(rate_target)  # Eq. (3), without the cloud
    local = stays * rules.cycles_per_bit
    excess = local - cpu * np.maximum(0.0, duration - up)
    return Prepared(
        local, moved * rules.cycles_per_bit, up, transfer, down, excess, cpu, np.asarray(cpu_target), duration
    )


def late_work(rules: Rules, what: Prepared, queue: Floats) -> Floats:
    """Return s_c e of eq 6: the work (cycles) that m cannot finish before the vehicle leaves.

    ``queue`` is L_m as the vehicle finds it.  Literal, it can be negative or exceed the vehicle's own part.
    """
    if rules.cloud_part == "fixed":
        return in_own_part(queue + what.excess, what.local)
    in_time = what.up + (queue + what.local) / what.cpu <= what.duration
    if rules.empty_part == "fixed":
        in_time = in_time | ((what.local <= 0.0) & (what.up <= what.duration))
    return np.where(in_time, 0.0, queue + what.local - what.cpu * what.duration)


def in_own_part(late: Floats, local: Floats) -> Floats:
    """Return ``late`` work cut to what the vehicle itself has at m."""
    cut: Floats = np.minimum(np.maximum(late, 0.0), local)
    return cut


def place(
    rules: Rules, what: Prepared, queue: Floats, queue_target: Floats, room_target: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return the work (cycles) that stays at m, that m_p takes, and that the cloud gets.  Eq. (6)

    ``queue`` and ``queue_target`` are L_m and L_mp as the vehicle finds them; ``room_target`` (default L_max -
    L_mp) is what m_p can still take.  The three sum to the task's work (not with literal s_c).
    """
    late = late_work(rules, what, queue)
    fits = what.local - (late if rules.cloud_part == "fixed" else in_own_part(late, what.local))
    kept, taken = fits, what.migrated
    if rules.overflow == "fixed":
        kept = np.minimum(kept, np.maximum(rules.queue_max - queue, 0.0))
        if room_target is None:
            room_target = np.maximum(rules.queue_max - queue_target, 0.0)
        taken = np.minimum(taken, room_target)
    return kept, taken, cloud_work(rules, what, late, fits, kept, taken)


def cloud_work(
    rules: Rules, what: Prepared, late: Floats, fits: Floats, kept: Floats, taken: Floats
) -> Floats:
    """Return the cloud's work (cycles): all that neither RSU keeps, or literally s_c e and what had no room."""
    refused = what.migrated - taken
    if rules.cloud_part == "fixed":
        return (what.local - kept) + refused
    return late + (fits - kept) + refused


@dataclass(frozen=True, slots=True)
class Latency:
    """The parts of T_sum (s), and the cloud's work (cycles); all of one shape.

    ``total`` = ``up`` + ``processing`` + ``cloud`` + ``down``.  Eq. (9)
    """

    total: Floats
    up: Floats
    processing: Floats
    cloud: Floats
    down: Floats
    cloud_work: Floats


def finish(
    rules: Rules,
    what: Prepared,
    queue: Floats,
    queue_target: Floats,
    cloud_work: Floats,
    cpu_cloud: ArrayLike,
) -> Latency:
    """Return the latency of prepared tasks that found the queues ``queue`` and ``queue_target`` (cycles).

    ``cloud_work`` (cycles) is what :func:`place` gave to the cloud, ``cpu_cloud`` C_cloud (cycle/s).
    """
    here = (queue + what.local) / what.cpu  # Eq. (4)
    there = what.transfer + (queue_target + what.migrated) / what.cpu_target  # Eq. (5)
    if rules.empty_part == "fixed":
        here = np.where(what.local > 0.0, here, 0.0)
        there = np.where(what.migrated > 0.0, there, 0.0)
    processing = np.maximum(here, there)  # Eq. (8)
    cloud_bits = cloud_work / rules.cycles_per_bit
    cloud = cloud_bits / rules.backhaul + cloud_work / np.asarray(cpu_cloud)  # Eq. (7)
    down = what.down + cloud_bits / rules.cloud_down  # Eq. (3)
    total = what.up + processing + cloud + down  # Eq. (9)
    return Latency(total, what.up, processing, cloud, down, cloud_work)


def task_latency(
    rules: Rules,
    share: ArrayLike,
    *,
    input_bits: ArrayLike,
    task_bits: ArrayLike,
    rate: ArrayLike,
    rate_target: ArrayLike,
    migration: ArrayLike,
    cpu: ArrayLike,
    cpu_target: ArrayLike,
    cpu_cloud: ArrayLike,
    duration: ArrayLike,
    queue: ArrayLike,
    queue_target: ArrayLike,
) -> Latency:
    """Return the latency of tasks that meet known queues: eqs (3) to (9) in one call.

    Arguments as :func:`prepare` and :func:`finish`; all broadcast.
    """
    what = prepare(
        rules, share, input_bits, task_bits, rate, rate_target, migration, cpu, cpu_target, duration
    )
    found, found_target = np.asarray(queue, dtype=np.float64), np.asarray(queue_target, dtype=np.float64)
    _, _, cloud = place(rules, what, found, found_target)
    return finish(rules, what, found, found_target, cloud, cpu_cloud)


def equal_finish(
    task_bits: ArrayLike,
    cycles_per_bit: float,
    migration: ArrayLike,
    cpu: ArrayLike,
    cpu_target: ArrayLike,
    queue: ArrayLike,
    queue_target: ArrayLike,
) -> Floats:
    """Return the share K* in [0, 1] at which both parts end processing at once (the minimum of T_pro).

    K* = ((L_m + w) / C_m - L_mp / C_mp) / (w / C_m + s / B_mig + w / C_mp) with w = s_task e (spec, section 9.2).
    """
    bits = np.asarray(task_bits, dtype=np.float64)
    work = bits * cycles_per_bit
    lead = (np.asarray(queue) + work) / np.asarray(cpu) - np.asarray(queue_target) / np.asarray(cpu_target)
    slope = work / np.asarray(cpu) + bits / np.asarray(migration) + work / np.asarray(cpu_target)
    share: Floats = np.clip(lead / slope, 0.0, 1.0)
    return share
