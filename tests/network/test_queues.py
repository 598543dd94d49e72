"""Exact queues: known answers, conservation under anything, and independence of how often they are asked."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.errors import ScenarioError
from cosim.network.queues import Work, WorkQueue

S = 1_000_000


def finish_times(queue: WorkQueue, jobs: list[tuple[int, int]], until: int = 10**9) -> dict[Any, int]:
    done = []
    for n, (at, amount) in enumerate(jobs):
        queue.push(Work(n, amount, number=n), at)
    done += queue.advance(until)
    return {f.work.name: f.t_us for f in done}


def test_a_processor_gives_the_known_times() -> None:
    queue = WorkQueue(2_000_000_000)
    queue.push(Work("a", 3_000_000_000), 0)
    queue.push(Work("b", 1_000_000_000), 500_000)
    assert not queue.advance(1 * S)
    assert queue.backlog == 2_000_000_000 * S
    queue.push(Work("c", 2_000_000_000), 4 * S)
    assert {f.work.name: f.t_us for f in queue.advance(6 * S)} == {
        "a": 1_500_000,
        "b": 2_000_000,
        "c": 5_000_000,
    }


def test_a_finish_is_the_first_whole_microsecond() -> None:
    assert finish_times(WorkQueue(3), [(0, 1), (0, 1), (0, 1)]) == {0: 333_334, 1: 666_667, 2: 1_000_000}


def test_ties_go_by_priority_origin_and_number() -> None:
    queue = WorkQueue(1)
    works = [
        Work("c", 1, priority=1),
        Work("b", 1, origin=2),
        Work("a2", 1, origin=1, number=2),
        Work("a1", 1, origin=1),
    ]
    for work in works:
        queue.push(work, 0)
    assert [f.work.name for f in queue.advance(10 * S)] == ["a1", "a2", "b", "c"]


def test_two_cores_serve_two_jobs_side_by_side() -> None:
    assert finish_times(WorkQueue(10, cores=2), [(0, 10), (0, 20), (0, 10)]) == {0: 1 * S, 1: 2 * S, 2: 2 * S}


def test_processor_sharing_serves_all_at_once() -> None:
    assert finish_times(WorkQueue(10, "ps"), [(0, 10), (0, 20)]) == {0: 2 * S, 1: 3 * S}
    assert finish_times(WorkQueue(10, "ps", cores=2), [(0, 10), (0, 20)]) == {0: 1 * S, 1: 2 * S}


def test_an_urgent_job_interrupts_under_priority() -> None:
    queue = WorkQueue(10, "priority")
    queue.push(Work("slow", 20, priority=5), 0)
    queue.push(Work("urgent", 10, priority=1), 1 * S)
    assert {f.work.name: f.t_us for f in queue.advance(9 * S)} == {"urgent": 2 * S, "slow": 3 * S}


def test_without_a_rate_nothing_moves() -> None:
    queue = WorkQueue(0)
    queue.push(Work("a", 5), 0)
    queue.push(Work("empty", 0, number=1), 0)
    assert not queue.advance(10 * S)
    assert queue.next_finish_us() is None
    queue.set_rate(5, 10 * S)
    assert [f.t_us for f in queue.advance(20 * S)] == [11 * S, 11 * S]


def test_work_of_nothing_waits_its_turn() -> None:
    assert finish_times(WorkQueue(1), [(0, 2), (0, 0)]) == {0: 2 * S, 1: 2 * S}


def test_a_rate_change_splits_the_interval() -> None:
    queue = WorkQueue(10)
    queue.push(Work("a", 30), 0)
    queue.set_rate(5, 1 * S)
    queue.set_rate(20, 3 * S)
    assert [f.t_us for f in queue.advance(9 * S)] == [3_500_000]


def test_removing_takes_exactly_what_remains() -> None:
    queue = WorkQueue(7)
    a, b = Work("a", 10), Work("b", 3, number=1)
    queue.push(a, 0)
    queue.push(b, 0)
    assert queue.remove(a, 500_001) == 10 * S - 7 * 500_001
    assert [f.work.name for f in queue.advance(9 * S)] == ["b"]
    assert queue.arrived == queue.completed + queue.removed
    assert queue.remove(a, 9 * S) == 0


@pytest.mark.parametrize("bad", [{"rate": -1}, {"rate": 1, "cores": 0}])
def test_impossible_servers_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ScenarioError):
        WorkQueue(**bad)


def test_time_does_not_run_backwards() -> None:
    queue = WorkQueue(1)
    queue.advance(10)
    with pytest.raises(ValueError, match="back"):
        queue.advance(9)


actions = st.lists(
    st.tuples(
        st.integers(0, 400_000),
        st.one_of(
            st.tuples(st.just("push"), st.integers(0, 5_000), st.integers(0, 3)),
            st.tuples(st.just("rate"), st.integers(0, 20_000), st.just(0)),
            st.tuples(st.just("remove"), st.integers(0, 30), st.integers(0, 10**9)),
            st.tuples(st.just("look"), st.just(0), st.just(0)),
        ),
    ),
    max_size=40,
)


def play(script: Any, kind: str, cores: int, every: Any = None) -> tuple[list[tuple[Any, int]], WorkQueue]:
    """Run a script of arrivals, rate changes and removals, advancing in between as often as *every* says."""
    queue, works, done, now = WorkQueue(1_000, kind, cores), [], [], 0
    for wait, (verb, a, b) in script:
        goal = now + wait
        while every is not None and now + every < goal:
            now += every
            done += queue.advance(round(now))
        now = goal
        if verb == "push":
            works.append(Work(len(works), a, priority=b, number=len(works)))
            queue.push(works[-1], round(now))
        elif verb == "rate":
            queue.set_rate(a, round(now))
        elif verb == "remove" and works:
            queue.remove(works[a % len(works)], round(now), b)
        else:
            done += queue.advance(round(now))
        assert queue.arrived == queue.completed + queue.removed + queue.head_served + queue.backlog
        assert queue.backlog >= 0
    done += queue.advance(round(now) + 10**10)
    return [(f.work.name, f.t_us) for f in done], queue


@settings(max_examples=150, deadline=None)
@given(script=actions, kind=st.sampled_from(["fifo", "ps", "priority"]), cores=st.integers(1, 3))
def test_no_work_is_lost_or_made(script: Any, kind: str, cores: int) -> None:
    _, queue = play(script, kind, cores)
    assert queue.arrived == queue.completed + queue.removed + queue.head_served + queue.backlog


@settings(max_examples=100, deadline=None)
@given(
    script=actions,
    kind=st.sampled_from(["fifo", "ps", "priority"]),
    cores=st.integers(1, 3),
    every=st.sampled_from([50_000, 100_000, Fraction(1_000_000, 3), 1_000_000, 777]),
)
def test_finish_times_do_not_depend_on_the_calls(script: Any, kind: str, cores: int, every: Any) -> None:
    assert play(script, kind, cores)[0] == play(script, kind, cores, every)[0]


@settings(max_examples=100, deadline=None)
@given(
    jobs=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 4_000)), min_size=1, max_size=25),
    rate=st.integers(1, 50_000),
)
def test_fifo_finishes_follow_the_recursion(jobs: list[tuple[int, int]], rate: int) -> None:
    """F_i = max(a_i, F_(i-1)) + w_i / rate, in exact fractions, rounded up to microseconds."""
    at, arrivals = 0, []
    for wait, amount in jobs:
        at += wait
        arrivals.append((at, amount))
    found = finish_times(WorkQueue(rate), arrivals, 10**12)
    free = Fraction(0)
    for n, (start, amount) in enumerate(arrivals):
        free = max(Fraction(start), free) + Fraction(amount * S, rate)
        assert found[n] == -(-free.numerator // free.denominator)


@settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 4_000)), min_size=1, max_size=15),
    rate=st.integers(100, 50_000),
)
def test_processor_sharing_follows_the_fluid_model(jobs: list[tuple[int, int]], rate: int) -> None:
    at, arrivals = 0, []
    for wait, amount in jobs:
        at += wait
        arrivals.append((at, amount))
    found = finish_times(WorkQueue(rate, "ps"), arrivals, 10**12)
    left, now, ahead, fluid = {}, Fraction(0), list(enumerate(arrivals)), {}
    while left or ahead:
        soonest = min(left.values()) * len(left) * S / rate if left else None
        if ahead and (soonest is None or ahead[0][1][0] < now + soonest):
            n, (start, amount) = ahead.pop(0)
            served = (start - now) * rate / S / len(left) if left else 0
            left = {i: w - served for i, w in left.items()}
            now, left[n] = Fraction(start), Fraction(amount)
            continue
        assert soonest is not None
        served = min(left.values())
        now += soonest
        for i in [i for i, w in left.items() if w == served]:
            fluid[i] = now
            del left[i]
        left = {i: w - served for i, w in left.items()}
    for n, t in fluid.items():
        assert abs(found[n] - t) <= len(jobs) + 1
