"""Correlated shadowing: autocorrelation of walks and fields, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.network.randomness import Draws
from cosim.network.shadowing import Field, Walk, correlation


def walked(
    metres: float, steps: int, pairs: int = 40_000, d_corr: float = 25.0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit states at the start and after *steps* of *metres* each."""
    walk, slots = Walk(), np.arange(pairs)
    walk.reserve(pairs, 1)
    keys = np.arange(pairs, dtype=np.uint64)[:, None]
    column, one = np.zeros(1, np.int64), np.zeros((1, 1), np.uint64)
    first = walk.advance(slots, column, np.zeros((pairs, 1)), d_corr, Draws(keys, one, 0).z0).copy()
    for step in range(1, steps + 1):
        last = walk.advance(slots, column, np.full((pairs, 1), metres), d_corr, Draws(keys, one, step).z0)
    return first.ravel(), last.ravel()


@pytest.mark.parametrize(("metres", "steps"), [(1.0, 10), (10.0, 1), (5.0, 5), (25.0, 1), (25.0, 2)])
def test_a_walk_correlates_as_gudmundson_says(metres: float, steps: int) -> None:
    first, last = walked(metres, steps)
    assert np.corrcoef(first, last)[0, 1] == pytest.approx(float(correlation(metres * steps, 25.0)), abs=0.02)
    assert last.std() == pytest.approx(1.0, abs=0.02)
    assert first.std() == pytest.approx(1.0, abs=0.02)


def test_the_law_is_the_same_at_short_and_long_ticks() -> None:
    (a0, a1), (b0, b1) = walked(1.4, 10), walked(14.0, 1)
    assert np.corrcoef(a0, a1)[0, 1] == pytest.approx(np.corrcoef(b0, b1)[0, 1], abs=0.02)


def test_who_stands_keeps_the_value() -> None:
    first, last = walked(0.0, 3, pairs=50)
    assert np.array_equal(first, last)


def test_a_slot_taken_over_begins_anew() -> None:
    walk, rows, columns = Walk(), np.arange(3), np.arange(2)
    walk.reserve(3, 2)
    z = np.arange(6.0).reshape(3, 2)
    walk.advance(rows, columns, np.zeros((3, 1)), 10.0, z)
    walk.forget(np.array([1]))
    later = walk.advance(rows, columns, np.zeros((3, 1)), 10.0, z + 100.0)
    assert list(later[1]) == [102.0, 103.0]
    assert list(later[0]) == [0.0, 1.0]


def test_growing_keeps_what_is_there() -> None:
    walk = Walk()
    walk.reserve(2, 2)
    walk.advance(np.arange(2), np.arange(2), np.zeros((2, 1)), 10.0, np.ones((2, 2)))
    walk.reserve(5, 7)
    assert (walk.read(np.array([0, 1]), np.array([1, 0])) == 1.0).all()
    assert np.isnan(walk.read(np.array([4]), np.array([6]))).all()


@pytest.mark.parametrize("distance", [1.0, 5.0, 10.0, 25.0, 50.0])
def test_a_field_correlates_with_distance(distance: float) -> None:
    field = Field(1, "v2i", np.arange(4000, dtype=np.uint64), 25.0)
    rng = np.random.default_rng(0)
    start, angle = rng.uniform(0, 1000, (12, 2)), rng.uniform(0, 2 * np.pi, 12)
    a = field.at(start[:, 0], start[:, 1])
    b = field.at(start[:, 0] + distance * np.cos(angle), start[:, 1] + distance * np.sin(angle))
    found = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert found == pytest.approx(float(correlation(distance, 25.0)), abs=0.01)
    assert a.var() == pytest.approx(1.0, abs=0.02)
    assert a.mean() == pytest.approx(0.0, abs=0.02)


def test_a_field_of_two_movers_correlates_with_the_way_of_both() -> None:
    field = Field(1, "v2v", np.arange(20_000, dtype=np.uint64), 25.0, both=True)
    x = np.array([10.0])
    a = field.at(x, x, x + 40, x)
    b = field.at(x + 6.0, x, x + 40, x - 8.0)
    found = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert found == pytest.approx(float(correlation(14.0, 25.0)), abs=0.02)


def test_a_field_is_a_pure_function_of_place() -> None:
    field = Field(1, "v2i", np.arange(7, dtype=np.uint64), 25.0)
    x, y = np.random.default_rng(2).uniform(-500, 500, (2, 301))
    whole = field.at(x, y)
    assert np.array_equal(field.at(x[40:41], y[40:41])[0], whole[40])
    assert np.array_equal(Field(1, "v2i", np.arange(3, 7, dtype=np.uint64), 25.0).at(x, y), whole[:, 3:])
    single = field.at(x, y, column=np.full(301, 5))
    assert np.array_equal(single, whole[:, 5])


def test_fields_of_different_seeds_and_stations_are_unrelated() -> None:
    x, y = np.random.default_rng(2).uniform(-9000, 9000, (2, 2000))
    a = Field(1, "v2i", np.arange(3, dtype=np.uint64), 25.0).at(x, y)
    b = Field(2, "v2i", np.arange(3, dtype=np.uint64), 25.0).at(x, y)
    assert abs(np.corrcoef(a[:, 0], a[:, 1])[0, 1]) < 0.1
    assert abs(np.corrcoef(a[:, 0], b[:, 0])[0, 1]) < 0.1
