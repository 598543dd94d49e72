"""Keyed draws: known answers, order-freeness, distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cosim.network.randomness import Draws, ordered, uniform_of, uniforms_of
from cosim.randomness import philox, stream_key
from cosim.traffic.state import entity_key

ALL_ONES = 2**64 - 1


def u64(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def words(a: int, b: int, key: int) -> list[int]:
    return [int(w[0]) for w in philox(u64(a), u64(b), key)]


def test_philox_gives_its_published_answers() -> None:
    assert words(0, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert words(ALL_ONES, ALL_ONES, ALL_ONES) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_an_entitys_key_is_the_hash_of_its_id() -> None:
    assert entity_key("veh0") == 6647841333721619670
    assert entity_key("rsu_0") == 1919433235302451280


def test_a_pairs_draw_is_the_known_one() -> None:
    a, b = u64(entity_key("veh0")), u64(entity_key("rsu_0"))
    draws = Draws(a, b, stream_key(1, "v2i", 0))
    assert words(int(a[0]), int(b[0]), stream_key(1, "v2i", 0)) == [
        2649593626,
        2094962278,
        2832158545,
        3643317359,
    ]
    z = [float(v[0]) for v in (draws.z0, draws.z1, draws.z2, draws.z3)]
    assert z == pytest.approx([-0.979991468, 0.075445641, 0.528374381, -0.744063223], abs=1e-9)
    assert float(Draws(a, b, stream_key(1, "v2i", 1)).z0[0]) == pytest.approx(0.691118016, abs=1e-9)


def test_a_draw_depends_on_its_pair_alone() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2**63, 40, dtype=np.uint64), rng.integers(0, 2**63, 9, dtype=np.uint64)
    stream = stream_key(3, "x", 7)
    whole = Draws(a[:, None], b, stream)
    for i, j in ((0, 0), (17, 3), (39, 8)):
        single = Draws(a[i : i + 1], b[j : j + 1], stream)
        assert whole.z0[i, j] == single.z0[0]
        assert whole.z3[i, j] == single.z3[0]
        assert whole.uniform(2)[i, j] == single.uniform(2)[0]
    backwards = Draws(a[::-1, None], b[::2], stream)
    assert np.array_equal(backwards.z1[::-1], whole.z1[:, ::2])


def test_normals_are_standard_normal_and_independent() -> None:
    draws = Draws(np.arange(400, dtype=np.uint64)[:, None], np.arange(500, dtype=np.uint64), 99)
    z = np.stack([d.ravel() for d in (draws.z0, draws.z1, draws.z2, draws.z3)])
    assert np.abs(np.corrcoef(z) - np.eye(4)).max() < 0.01
    for row in z:
        assert stats.kstest(row, "norm").pvalue > 1e-3


def test_vehicle_pairs_draw_the_same_both_ways() -> None:
    a, b = u64(5, 900), u64(700, 2)
    there, back = Draws(*ordered(a, b), 4).z0, Draws(*ordered(b, a), 4).z0
    assert np.array_equal(there, back)


def test_parameters_are_drawn_once_an_entity_and_pair() -> None:
    assert uniform_of(1, "wired.rate", "rsu_0", "rsu_1") == uniform_of(1, "wired.rate", "rsu_1", "rsu_0")
    assert uniform_of(1, "wired.rate", "rsu_0", "rsu_1") != uniform_of(1, "wired.rate", "rsu_0", "rsu_2")
    assert uniform_of(1, "cpu", "rsu_0") != uniform_of(2, "cpu", "rsu_0")
    many = uniforms_of(1, "x", np.arange(10_000, dtype=np.uint64))
    assert 0.0 < many.min() < many.max() < 1.0
    assert many.mean() == pytest.approx(0.5, abs=0.01)
