"""Keyed draws of the migration task: an episode's bandwidths, processors and queues, and each slot's tasks.

Every draw depends on (seed, draw number, slot, entity) alone: it is the same for every policy, in lockstep and on
tapes, alone or in a batch of any width, and adding a vehicle or an RSU changes no other draw.  ``draw`` numbers
independent draws on one traffic seed, so one mobility tape serves many episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import entity_key, entity_keys, packed_words, philox, stream_key, uniforms

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ranges:
    """The two ends of each uniform draw, SI; equal ends are a constant.

    ``bandwidth`` B_m (Hz) of each RSU, ``migration`` B_mig (bit/s) of each pair of RSUs, ``cpu`` C_m and
    ``cpu_cloud`` (cycle/s), ``queue`` L_m(0) (cycles), ``input_bits`` s_r and ``task_bits`` s_task (bit) of each
    vehicle and slot (spec, section 7).
    """

    bandwidth: Range = (200e6, 600e6)
    migration: Range = (500e6, 900e6)
    cpu: Range = (10e9, 30e9)
    cpu_cloud: Range = (50e9, 100e9)
    queue: Range = (0.0, 100e9)
    input_bits: Range = (12 * 8e6, 20 * 8e6)
    task_bits: Range = (50 * 8e6, 250 * 8e6)


@dataclass(frozen=True, slots=True)
class Parameters:
    """An episode's constants for E episodes and M RSUs.

    ``bandwidth``, ``cpu`` and ``queue`` (E, M); ``migration`` (E, M, M), symmetric, infinite on the diagonal;
    ``cpu_cloud`` (E,).  Hz, cycle/s, cycles, bit/s.
    """

    bandwidth: Floats
    cpu: Floats
    queue: Floats
    migration: Floats
    cpu_cloud: Floats


_KEY = stream_key(0, "migration", 0)
"""One Philox key for all; seed, purpose and draw number are in the counter, so that a batch is one call."""
_CLOUD = entity_key("migration|cloud")


def _streams(seeds: Sequence[int], domain: str, draws: Sequence[int]) -> Keys:
    pairs = zip(seeds, draws, strict=True)
    return np.array([stream_key(seed, f"migration/{domain}", draw) for seed, draw in pairs], dtype=np.uint64)


def _between(ends: Range, u: Floats) -> Floats:
    low, high = ends
    return low + u * (high - low)


@lru_cache(maxsize=64)
def _pair_keys(stations: tuple[str, ...]) -> tuple[Keys, NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.triu_indices(len(stations), 1)
    names = ["|".join(sorted((stations[i], stations[j]))) for i, j in zip(first, second, strict=True)]
    return np.array([entity_key(name) for name in names], dtype=np.uint64), first, second


def draw_parameters(
    ranges: Ranges, seeds: Sequence[int], draws: Sequence[int], stations: Sequence[str]
) -> Parameters:
    """Return the constants of E episodes, one for each of ``seeds`` and ``draws`` (E,), at RSUs ``stations``."""
    episodes, count = len(seeds), len(stations)
    stream = _streams(seeds, "episode", draws)[:, None]
    word = philox(entity_keys(stations)[None, :], stream, _KEY)
    keys, first, second = _pair_keys(tuple(stations))
    migration = np.full((episodes, count, count), np.inf)
    if len(keys):
        pair = _between(ranges.migration, uniforms(philox(keys[None, :], stream, _KEY)[0]))
        migration[:, first, second] = pair
        migration[:, second, first] = pair
    cloud = philox(np.array([_CLOUD], dtype=np.uint64)[None, :], stream, _KEY)[0][:, 0]
    return Parameters(
        bandwidth=_between(ranges.bandwidth, uniforms(word[0])),
        cpu=_between(ranges.cpu, uniforms(word[1])),
        queue=_between(ranges.queue, uniforms(word[2])),
        migration=migration,
        cpu_cloud=_between(ranges.cpu_cloud, uniforms(cloud)),
    )


def draw_tasks(
    ranges: Ranges, seeds: Sequence[int], draws: Sequence[int], slots: NDArray[np.int64], vehicles: Keys
) -> tuple[Floats, Floats]:
    """Return s_r and s_task in bit, each (E, T, V), of the decision slots ``slots`` (T,), counted from 0.

    ``vehicles`` (E, V) are entity keys (:func:`cosim.randomness.entity_keys`) of each episode's vehicles.
    """
    stream = _streams(seeds, "task", draws)[:, None, None] + slots.astype(np.uint64)[None, :, None]
    first, _ = packed_words(vehicles[:, None, :], stream, _KEY)
    return (
        _between(ranges.input_bits, _uniforms(first >> np.uint64(32))),
        _between(ranges.task_bits, _uniforms(first & np.uint64(0xFFFFFFFF))),
    )


def _uniforms(words: Keys) -> Floats:
    """Return 32-bit words, one in each element, as uniforms strictly between 0 and 1."""
    u: Floats = np.multiply(words.view(np.int64), 2.0**-32)
    u += 2.0**-33
    return u
