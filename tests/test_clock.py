"""Integer time: conversions at the edges, and which periods fit a traffic step."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cosim.clock import US, Rate, to_s, to_us


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_whole_microseconds_survive_a_trip_through_seconds(us: int) -> None:
    assert to_us(to_s(us)) == us


def test_a_tenth_of_a_second_is_exact() -> None:
    assert to_us(0.1) == 100_000
    assert [to_us(k * 0.1) for k in range(1, 1000)] == [k * 100_000 for k in range(1, 1000)]


@pytest.mark.parametrize("seconds", [1e-7, 0.1 + 1e-8, 1.23456789, float("nan"), float("inf"), -float("inf")])
def test_what_is_no_whole_number_of_microseconds_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="whole number of microseconds"):
        to_us(seconds)


def test_a_hundred_thousand_hours_of_tenths_never_drift() -> None:
    step = to_us(0.1)
    assert 10 * 3600 * 100_000 * step == 100_000 * 3600 * US


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_rate_accepts_exactly_whole_multiples_and_whole_divisors(step: int, period: int) -> None:
    fits = Fraction(period, step).denominator == 1 or Fraction(step, period).denominator == 1
    if fits:
        rate = Rate(step, period)
        assert rate.every == 1 or rate.per_step == 1
        assert Fraction(rate.every, rate.per_step) == Fraction(period, step)
    else:
        with pytest.raises(ValueError, match="neither a whole multiple nor a whole divisor"):
            Rate(step, period)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 10_000))
def test_a_slow_component_is_due_at_every_nth_step_and_a_fast_one_at_every_step(
    step_ms: int, factor: int, k: int
) -> None:
    assume(factor > 1)
    step = step_ms * 1000
    slow = Rate(step, step * factor)
    assert slow.due(k * step) == (k % factor == 0)
    fast = Rate(step * factor, step)
    assert fast.due(k * step * factor)
    assert sum(fast.due(t) for t in range(0, step * factor, 1000)) == factor


@pytest.mark.parametrize(("step", "period"), [(0, 1), (1, 0), (-100, 100), (100, -100)])
def test_a_period_must_be_positive(step: int, period: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        Rate(step, period)


def test_a_misfit_is_named_in_milliseconds() -> None:
    with pytest.raises(ValueError, match=r"period 150 ms .* step 100 ms"):
        Rate(100_000, 150_000)
