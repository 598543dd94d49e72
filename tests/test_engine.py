"""The contract of lockstep: order within an instant, rates, sub-instants, warm-up and end, on real SUMO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from cosim.assembly import assemble
from cosim.clock import Rate
from cosim.engine import Engine, Scheduled, interpolate
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep import InlineHost
from cosim.lockstep.protocol import Actions, ActionSpec, EpisodeInfo, Observations, RoleSpec
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved
from cosim.tasks.base import Instant
from cosim.traffic.nets import find_net
from cosim.traffic.state import TrafficState
from cosim.traffic.sumo import Traffic

Calls = list[tuple[Any, ...]]
STEP = 100_000


class Options(BaseModel):
    pass


class Probe:
    """A real task that notes when each of its methods is called and orders its vehicles to a speed."""

    name: ClassVar[str] = "probe"
    Options: ClassVar[type[BaseModel]] = Options
    metric_names: ClassVar[Sequence[str]] = ()
    step_columns: Sequence[str] = ()

    def __init__(self, name: str, calls: Calls, phases: Sequence[str] = ("car",), order: float | None = None):
        self.phases = phases
        self.roles = {phase: RoleSpec(phase, 1, ActionSpec(n=2)) for phase in phases}
        self._name, self._calls, self._order = name, calls, order
        self.seen: list[Instant] = []

    def _note(self, what: str, now: Instant, *more: Any) -> None:
        self._calls.append((now.t_us, self._name, what, *more))

    def watch(self, now: Instant) -> None:
        self._note("watch", now)

    def settle(self, now: Instant) -> None:
        self._note("settle", now)
        self.seen.append(now)

    def observe(self, now: Instant, phase: str) -> Observations:
        self._note("observe", now, phase)
        n = len(now.traffic)
        zero = np.zeros(n)
        return Observations(
            now.t_us,
            phase,
            now.traffic.ids,
            now.traffic.s.astype(np.float32)[:, None],
            None,
            {},
            zero,
            zero > 0,
            zero > 0,
            n,
        )

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        self._note("apply", now, phase)
        assert len(actions.values) == len(now.traffic)
        if self._order is not None:
            now.commands.speed(np.arange(len(now.traffic)), np.full(len(now.traffic), self._order))
        return actions

    def step_values(self) -> Sequence[float]:
        return ()

    def totals(self) -> dict[str, float | int | None]:
        return {}

    def metrics(self) -> dict[str, float | None]:
        return {}


class Ones:
    """An agent that notes its questions."""

    def __init__(self, name: str, calls: Calls) -> None:
        self._name, self._calls = name, calls

    def reset(self, info: EpisodeInfo) -> None:
        pass

    def act(self, observations: Observations) -> Actions:
        self._calls.append((observations.t_us, self._name, "act", observations.role))
        return Actions(np.ones(observations.active, dtype=np.int64))

    def close(self) -> None:
        pass


class Network:
    """A network layer that notes when it is stepped and gives the instant as its state."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def step(self, state: TrafficState) -> int:
        self._calls.append((state.t_us, "network", "step"))
        return state.t_us

    def events(self) -> list[Any]:
        return []


class Recorder:
    """Notes what it is told."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.instants: list[Instant] = []

    def actions(
        self, t_us: int, task: str, phase: str, asked: Observations, answered: Actions, done: Actions
    ) -> None:
        self.calls.append((t_us, task, "recorded", phase))

    def instant(self, now: Instant) -> None:
        self.calls.append((now.t_us, "recorder", "instant"))
        self.instants.append(now)


FLOW = {"rate": "1500 veh/h", "routes": {"left": 0.25, "straight": 0.5, "right": 0.25}, "cav_share": 0.5}


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    whole = {"name": "engine", "duration": 1, "traffic": {"net": "highway_trifurcation", "inflow": FLOW}}
    config = scenario_from_resolved(whole).traffic
    with Traffic(config, find_net("highway_trifurcation"), 0) as found:
        yield found


def run(traffic: Traffic, tasks: dict[str, tuple[Probe, int]], calls: Calls, **options: Any) -> Engine:
    scheduled = [Scheduled(name, task, Rate(STEP, period)) for name, (task, period) in tasks.items()]
    options = {"warmup_us": 0, "duration_us": 10 * STEP, **options}
    engine = Engine(traffic, scheduled, **options)
    hosts = {}
    for name, (task, period) in tasks.items():
        hosts[name] = InlineHost(Ones(name, calls), "test.ones", name)
        hosts[name].reset(EpisodeInfo("engine", name, 0, 0, period, task.roles))
    engine.run(hosts)
    return engine


def test_an_instant_is_network_then_each_task_then_its_orders_then_the_record(traffic: Traffic) -> None:
    calls: Calls = []
    a, b = Probe("a", calls, ("seller", "buyer")), Probe("b", calls)
    run(
        traffic,
        {"a": (a, STEP), "b": (b, STEP)},
        calls,
        network=Network(calls),
        network_rate=Rate(STEP, STEP),
        recorder=Recorder(calls),
        duration_us=3 * STEP,
    )
    whole = [
        ("network", "step"),
        *(("a", "watch"), ("a", "settle")),
        *(
            ("a", "observe", "seller"),
            ("a", "act", "seller"),
            ("a", "apply", "seller"),
            ("a", "recorded", "seller"),
        ),
        *(
            ("a", "observe", "buyer"),
            ("a", "act", "buyer"),
            ("a", "apply", "buyer"),
            ("a", "recorded", "buyer"),
        ),
        *(("b", "watch"), ("b", "settle")),
        *(("b", "observe", "car"), ("b", "act", "car"), ("b", "apply", "car"), ("b", "recorded", "car")),
        ("recorder", "instant"),
    ]
    end = [
        ("network", "step"),
        *(("a", "watch"), ("a", "settle"), ("b", "watch"), ("b", "settle")),
        ("recorder", "instant"),
    ]
    expected = [(t * STEP, *call) for t in (1, 2) for call in whole] + [(3 * STEP, *call) for call in end]
    assert calls == expected


def test_components_of_three_rates_act_exactly_when_they_are_due(traffic: Traffic) -> None:
    calls: Calls = []
    tasks = {
        name: (Probe(name, calls), period)
        for name, period in {"fast": 20_000, "step": STEP, "slow": 3 * STEP}.items()
    }
    run(
        traffic,
        tasks,
        calls,
        network=Network(calls),
        network_rate=Rate(STEP, 50_000),
        duration_us=6 * STEP,
        recorder=Recorder(calls),
    )
    end = 6 * STEP

    def times(who: str, what: str) -> list[int]:
        return [c[0] for c in calls if c[1:3] == (who, what)]

    assert times("fast", "act") == list(range(20_000, end, 20_000))
    assert times("fast", "settle") == list(range(20_000, end + 1, 20_000))
    assert times("step", "act") == list(range(STEP, end, STEP))
    assert times("slow", "act") == [3 * STEP]
    assert times("slow", "settle") == [3 * STEP, 6 * STEP]
    assert times("network", "step") == list(range(50_000, end + 1, 50_000))
    for name in tasks:
        assert times(name, "watch") == list(range(STEP, end + 1, STEP))
    instants = sorted({*range(20_000, end + 1, 20_000), *range(50_000, end + 1, 50_000)})
    assert times("recorder", "instant") == instants
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)


def test_a_slow_task_is_settled_at_the_end_even_if_it_is_not_due_then(traffic: Traffic) -> None:
    calls: Calls = []
    run(traffic, {"slow": (Probe("slow", calls), 3 * STEP)}, calls, duration_us=5 * STEP)
    assert [c[0] for c in calls if c[2] == "settle"] == [3 * STEP, 5 * STEP]
    assert [c[0] for c in calls if c[2] == "act"] == [3 * STEP]
    assert calls[-1] == (5 * STEP, "slow", "settle")


def test_warm_up_is_simulated_but_not_measured_and_the_end_is_exact(traffic: Traffic) -> None:
    calls: Calls = []
    probe = Probe("p", calls)
    done: list[int] = []
    run(
        traffic,
        {"p": (probe, 50_000)},
        calls,
        warmup_us=4 * STEP,
        duration_us=3 * STEP,
        progress=done.append,
    )
    measured = {now.t_us: now.measured for now in probe.seen}
    assert measured == {t: t > 4 * STEP for t in range(50_000, 7 * STEP + 1, 50_000)}
    assert done == [t * STEP for t in range(1, 8)]
    assert traffic.state.t_us == 7 * STEP


def test_between_two_steps_the_newer_vehicles_stand_on_the_straight_line(traffic: Traffic) -> None:
    calls: Calls = []
    probe = Probe("p", calls)
    run(traffic, {"p": (probe, 20_000)}, calls, duration_us=150 * STEP)
    states = {now.t_us: now.traffic for now in probe.seen}
    checked = 0
    for t in range(STEP, 150 * STEP, STEP):
        before, after = states[t], states[t + STEP]
        for k in range(1, 5):
            between = states[t + k * 20_000]
            assert between.ids is after.ids
            assert (between.speed == after.speed).all()
            for vehicle in set(before.ids) & set(after.ids):
                i, j = before.row(vehicle), after.row(vehicle)
                line = before.xy[i] + k / 5 * (after.xy[j] - before.xy[i])
                np.testing.assert_allclose(between.xy[j], line, atol=1e-9)
                same = (before.edge[i], before.lane[i]) == (after.edge[j], after.lane[j])
                along = before.s[i] + k / 5 * (after.s[j] - before.s[i]) if same else after.s[j]
                assert between.s[j] == pytest.approx(along, abs=1e-9)
                checked += 1
            for vehicle in set(after.ids) - set(before.ids):
                j = after.row(vehicle)
                assert (between.xy[j] == after.xy[j]).all()
                assert between.s[j] == after.s[j]
    assert checked > 1000
    for array in (between.xy, between.z, between.s):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_events_are_told_once_at_the_whole_step(traffic: Traffic) -> None:
    calls: Calls = []
    probe = Probe("p", calls)
    run(traffic, {"p": (probe, 20_000)}, calls, duration_us=100 * STEP)
    departures = [(now.t_us, e.id) for now in probe.seen for e in now.events if e.kind == "departure"]
    assert len(departures) == len(set(departures)) > 5
    assert {t % STEP for t, _ in departures} == {0}


def test_orders_between_two_steps_hold_from_the_newer_state_on(traffic: Traffic) -> None:
    calls: Calls = []
    recorder = Recorder(calls)
    run(
        traffic,
        {"p": (Probe("p", calls, order=3.0), 20_000)},
        calls,
        duration_us=80 * STEP,
        recorder=recorder,
    )
    by_time = {now.t_us: now for now in recorder.instants}
    driven = 0
    for t in range(2 * STEP, 80 * STEP, STEP):
        ordered = (
            set(by_time[t - 20_000].commands.orders[0][1]) if by_time[t - 20_000].commands.orders else set()
        )
        state = by_time[t].traffic
        for vehicle in ordered & set(state.ids):
            row = by_time[t + STEP].traffic.row(vehicle) if t + STEP in by_time else -1
            if (
                row >= 0
                and by_time[t + STEP].traffic.edges[by_time[t + STEP].traffic.edge[row]] == "highway_0"
            ):
                driven += by_time[t + STEP].traffic.speed[row] <= 10.0
    assert driven > 100
    assert all(order[3] == "p" for now in recorder.instants for order in now.commands.orders)


def test_without_end_the_loop_goes_on_and_can_be_left(traffic: Traffic) -> None:
    calls: Calls = []
    engine = Engine(
        traffic, [Scheduled("p", Probe("p", calls), Rate(STEP, STEP))], warmup_us=0, duration_us=None
    )
    loop = engine.decisions()
    question = next(loop)
    for _ in range(50):
        question = loop.send(Actions(np.ones(question.observations.active)))
    assert engine.t_us == question.observations.t_us == 51 * STEP
    loop.close()
    assert engine.end_us is None


def test_without_tasks_the_traffic_runs_alone(traffic: Traffic) -> None:
    Engine(traffic, [], warmup_us=STEP, duration_us=20 * STEP).run({})
    assert traffic.state.t_us == 21 * STEP


def test_an_agents_failure_passes_through_and_leaves_the_traffic_usable(traffic: Traffic) -> None:
    class Fails(Ones):
        def act(self, observations: Observations) -> Actions:
            if observations.t_us == 3 * STEP:
                raise RuntimeError("no idea")
            return super().act(observations)

    calls: Calls = []
    probe = Probe("p", calls)
    host = InlineHost(Fails("p", calls), "test.fails", "p")
    host.reset(EpisodeInfo("engine", "p", 0, 0, STEP, probe.roles))
    engine = Engine(traffic, [Scheduled("p", probe, Rate(STEP, STEP))], warmup_us=0, duration_us=STEP * 9)
    with pytest.raises(AgentError, match=r"failed at t = 0\.3 s: RuntimeError: no idea"):
        engine.run({"p": host})
    assert traffic.step().t_us == 4 * STEP


# -- rates at load --


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("tasks.driving.every=150 ms", "tasks.driving.every"),
        ("tasks.driving.every=30 ms", "tasks.driving.every"),
        ("record.vehicles=250 ms", "record.vehicles"),
        ("record.steps=70 ms", "record.steps"),
        ("warmup=250 ms", "warmup"),
        ("duration=1.05 s", "duration"),
        ("traffic.step=0.5 ms", "traffic.step"),
    ],
)
def test_a_rate_that_does_not_fit_the_step_is_refused_at_load(setting: str, key: str) -> None:
    with pytest.raises(ScenarioError, match=rf"^--set {setting}: {key}: ") as caught:
        load_scenario("highway_350vph", [setting])
    assert "\n" not in str(caught.value)


def test_driving_faster_than_the_traffic_steps_is_refused_by_the_task() -> None:
    with pytest.raises(ScenarioError, match="driving cannot decide more often than the traffic steps"):
        assemble(load_scenario("highway_350vph", ["tasks.driving.every=20 ms"]))


def test_what_is_recorded_faster_than_the_step_is_asked_for_between_the_steps() -> None:
    calls: Calls = []
    settings = ["warmup=0", "duration=500 ms", "record.vehicles=20 ms", "record.steps=50 ms", "tasks=null"]
    recorder = Recorder(calls)
    assembly = assemble(load_scenario("highway_350vph", settings), recorder=recorder)
    try:
        assembly.engine.run({})
    finally:
        assembly.close()
    times = [now.t_us for now in recorder.instants]
    assert times == sorted({*range(20_000, 500_001, 20_000), *range(50_000, 500_001, 50_000)})


# -- interpolation on made-up states --


def made_up(t_us: int, rows: dict[int, tuple[float, int, int]]) -> TrafficState:
    """Vehicles by key: position along the lane (also x), edge, lane."""
    keys = sorted(rows)
    s = np.array([rows[k][0] for k in keys], dtype=float)
    n = len(keys)
    ints = np.array([[rows[k][1], rows[k][2]] for k in keys], dtype=np.int32).reshape(n, 2)
    return TrafficState(
        t_us,
        tuple(f"v{k}" for k in keys),
        np.array(keys, dtype=np.uint64),
        np.arange(n, dtype=np.int32),
        np.column_stack([s, np.zeros(n)]),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        ints[:, 0],
        ints[:, 1],
        s,
        np.zeros(n, dtype=np.int32),
        ("a", "b"),
        (),
    )


VEHICLES = st.dictionaries(
    st.integers(0, 12),
    st.tuples(st.floats(0, 100, allow_nan=False), st.integers(0, 1), st.integers(0, 2)),
    max_size=9,
)


@given(VEHICLES, VEHICLES, st.integers(0, 100_000))
@settings(max_examples=200)
def test_interpolation_equals_a_loop_over_vehicles(
    old: dict[int, tuple[float, int, int]], new: dict[int, tuple[float, int, int]], offset: int
) -> None:
    before, after = made_up(0, old), made_up(STEP, new)
    between = interpolate(before, after, offset)
    assert between.t_us == offset
    for row, key in enumerate(sorted(new)):
        s, edge, lane = new[key]
        x = s
        if key in old:
            s0, edge0, lane0 = old[key]
            x = s0 + offset / STEP * (s - s0)
            s = x if (edge0, lane0) == (edge, lane) and s0 <= s else s
        assert between.xy[row, 0] == pytest.approx(x, abs=1e-9)
        assert between.s[row] == pytest.approx(s, abs=1e-9)


@given(VEHICLES, st.integers(0, 100_000))
def test_the_short_way_for_an_unchanged_set_gives_the_same(
    rows: dict[int, tuple[float, int, int]], offset: int
) -> None:
    before = made_up(0, rows)
    moved = made_up(STEP, {k: (s + 3, e, (lane + k) % 3) for k, (s, e, lane) in rows.items()})
    short = interpolate(before, replace(moved, ids=before.ids), offset)
    long = interpolate(before, moved, offset)
    assert (short.xy == long.xy).all()
    assert (short.s == long.s).all()


def test_the_resolved_scenario_keeps_the_rates() -> None:
    scenario: Scenario = load_scenario("highway_350vph", ["tasks.driving.every=200 ms"])
    again = scenario_from_resolved(scenario.resolved())
    assert again.tasks["driving"].every_us == 200_000
