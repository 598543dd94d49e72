"""Vehicles that drive as traces say: exactly and with the same bytes on both backends, or along the route."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bridge import BACKENDS
from traces_world import NET, ROUTES, SAMPLE, matched, needs_real_material, real_roads

from cosim.errors import ScenarioError
from cosim.experiments.tapes import agent_vehicles
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved
from cosim.traffic.commands import Commands
from cosim.traffic.nets import find_net, load_geometry
from cosim.traffic.replay import METRICS, replay_ids
from cosim.traffic.replay_plan import replay_plan
from cosim.traffic.sumo import Traffic
from cosim.traffic.traces.cleaning import Rules, convert
from cosim.traffic.traces.matched import MatchedTraces, match_to


@pytest.fixture(scope="module")
def traces(tmp_path_factory) -> MatchedTraces:
    return matched(tmp_path_factory.mktemp("traces"))


def scenario(found: MatchedTraces | Path, net: str = NET, step: float = 1.0, **replay) -> Scenario:
    folder = found.folder if isinstance(found, MatchedTraces) else found
    traffic = {
        "net": net,
        "step": step,
        "types": {"taxi": {"like": "passenger"}},
        "replay": {"traces": str(folder), "type": "taxi", **replay},
    }
    return scenario_from_resolved({"name": "replayed", "duration": 10, "traffic": traffic})


def drive(made: Scenario, backend: str = "libsumo", until: int = 480):
    """Run and return the states, the events and the metrics of the replay."""
    config = made.traffic
    states, events = [], []
    with Traffic(config, find_net(config.net), 0, backend=backend) as traffic:
        for _ in range(round(until / config.step)):
            states.append(traffic.step())
            events += traffic.events
        metrics = traffic.replay.metrics() if traffic.replay else None
    return states, events, metrics


def fix_places(traces: MatchedTraces, trip: int) -> tuple[np.ndarray, np.ndarray]:
    """Times since the first trip's begin (s) and places on the road (n, 2) of one trip's fixes."""
    from cosim.traffic.traces.paths import path_along

    rows = traces.fixes.filter(pl.col("trip") == trip)
    since = (rows["time"] - traces.trips["begin"].min()).dt.total_seconds().to_numpy()
    path = path_along(load_geometry(find_net(NET)), traces.trips["edges"][trip].to_list())
    return since, path.points(rows["s"].to_numpy())


def test_every_fix_is_passed_at_its_time_and_place(traces):
    states, events, metrics = drive(scenario(traces))
    for trip, name in enumerate(("trace.a.0", "trace.b.0")):
        times, places = fix_places(traces, trip)
        for t, place in zip(times[1:], places[1:], strict=True):  # at 0 s there is no state yet
            state = states[int(t) - 1]
            assert np.hypot(*(state.xy[state.row(name)] - place)) < 0.1
    kinds = [(e.kind, e.id) for e in events]
    assert kinds == [
        ("departure", "trace.a.0"),
        ("departure", "trace.b.0"),
        ("arrival", "trace.a.0"),
        ("arrival", "trace.b.0"),
    ]
    assert tuple(metrics) == METRICS
    assert metrics["replay_vehicles"] == 2
    assert metrics["replay_lost"] == 0
    assert metrics["replay_error_max"] < 2.1
    assert metrics["replay_error_mean"] < 0.1


def test_vehicles_are_there_from_the_first_fix_to_the_last_and_at_no_other_time(traces):
    states, _, _ = drive(scenario(traces))
    for trip, name in enumerate(("trace.a.0", "trace.b.0")):
        times, _ = fix_places(traces, trip)
        there = [s.t_us / 1e6 for s in states if s.row(name) >= 0]
        assert there == list(np.arange(max(times[0], 1), times[-1] + 1))


@pytest.mark.parametrize("step", [1.0, 0.5])
@pytest.mark.parametrize("mode", ["replay", "routes"])
def test_both_backends_give_the_same_bytes(traces, mode, step):
    ours, other = (drive(scenario(traces, mode=mode, step=step), backend, until=150) for backend in BACKENDS)
    for a, b in zip(ours[0], other[0], strict=True):
        assert a.ids == b.ids
        for name in ("xy", "speed", "accel", "angle", "edge", "lane", "s"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
    assert ours[1:] == other[1:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_speed_acceleration_and_heading_are_those_of_the_trace_also_at_junctions(traces, backend):
    states, _, _ = drive(scenario(traces), backend, until=120)
    rows = [(s, s.row("trace.a.0")) for s in states]
    speed = np.array([s.speed[k] for s, k in rows])
    assert np.abs(speed - 8.0).max() < 0.6  # 8 m/s, rounded fixes every 240 m
    moved = np.diff([s.xy[k] for s, k in rows], axis=0)
    assert np.abs(np.hypot(*moved.T) - speed[1:])[: len(moved)].max() < 0.6
    accel = np.array([s.accel[k] for s, k in rows])
    np.testing.assert_allclose(accel[1:], np.diff(speed), atol=1e-9)
    angle = np.array([s.angle[k] for s, k in rows[:60]])
    assert np.abs(angle - 88.0).max() < 3.0  # Binhe Avenue leads a little north of east


def test_who_follows_a_replayed_vehicle_does_not_brake_for_a_standstill_that_is_none(traces):
    with Traffic(scenario(traces).traffic, find_net(NET), 0) as traffic:
        for _ in range(60):
            traffic.step()
            assert traffic.api.vehicle.getSpeed("trace.a.0") == pytest.approx(8.0, abs=0.6)


def test_in_mode_routes_sumo_drives_the_matched_edges(traces):
    states, events, metrics = drive(scenario(traces, mode="routes"))
    assert metrics is None
    edges = states[0].edges
    for name, driven in ROUTES.items():
        rows = [(s, s.row(f"trace.{name}.0")) for s in states]
        seen = dict.fromkeys(edges[s.edge[k]] for s, k in rows if k >= 0)
        normal = [edge for edge in seen if not edge.startswith(":")]
        assert normal == list(driven[: len(normal)])
        assert len(normal) >= 3
    assert [e.text for e in events if e.kind == "departure"] == ["replay:trace.a.0", "replay:trace.b.0"]


def test_a_simulation_may_begin_in_the_middle_of_a_trace(traces):
    states, _, metrics = drive(scenario(traces, begin="08:01:30"), until=60)
    whole, _, _ = drive(scenario(traces), until=160)
    for k in range(2, 40):
        late, full = states[k], whole[k + 90]
        for name in ("trace.a.0", "trace.b.0"):
            assert np.allclose(late.xy[late.row(name)], full.xy[full.row(name)], atol=1e-6)
    assert metrics["replay_error_max"] < 2.1


def test_traces_may_all_start_with_the_simulation(traces):
    plan = replay_plan(scenario(traces, align="start").traffic, find_net(NET))
    assert [trip.depart_us for trip in plan.trips] == [0, 0]
    assert [t.depart_us for t in replay_plan(scenario(traces).traffic, find_net(NET)).trips] == [
        0,
        60_000_000,
    ]


def test_some_traces_can_be_chosen(traces):
    net = find_net(NET)
    assert replay_ids(scenario(traces, vehicles=["b"], name="cab").traffic, net) == ("cab.b.0",)
    assert replay_ids(scenario(traces, cover=100).traffic, net) == ("trace.a.0",)
    assert replay_ids(scenario(traces, count=1).traffic, net) == ("trace.a.0",)


@pytest.mark.parametrize(
    ("replay", "words"),
    [
        ({"vehicles": ["c"]}, "traffic.replay.vehicles: no trip of a vehicle 'c'"),
        ({"begin": "09:59:00"}, "traffic.replay.begin: no trip ends after 09:59:00"),
        (
            {"begin": "2014-99-22 09:59:00"},
            "traffic.replay.begin: '2014-99-22 09:59:00' is not a time of day",
        ),
        ({"cover": 5000}, "traffic.replay.cover: no trip is on the road from the start until 5000 s"),
        ({"count": 9}, "traffic.replay.count: only 2 trips are there"),
        ({"traces": "no_such"}, "traffic.replay.traces: no matched traces 'no_such': `cosim trace match"),
    ],
)
def test_a_replay_that_does_not_fit_names_its_key(traces, replay, words):
    from cosim.assembly import plan

    with pytest.raises(ScenarioError) as caught:
        plan(scenario(traces, **replay))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("replay", "words"),
    [
        ({"mode": "fly"}, "traffic.replay.mode"),
        ({"begin": "8 o'clock"}, "traffic.replay.begin: .*is not a time of day"),
        ({"type": "tram"}, "traffic.replay.type: unknown vehicle type 'tram'"),
        ({"off_road": "3 s"}, "traffic.replay.off_road: .*is a time, not a length"),
        ({"treces": "x"}, "traffic.replay.treces: unknown key .did you mean 'traces'"),
    ],
)
def test_a_misspelt_replay_section_names_its_key(traces, replay, words):
    with pytest.raises(ScenarioError, match=words):
        scenario(traces, **replay)


def test_traces_matched_to_another_build_of_the_net_are_refused(traces, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(traces.folder, folder)
    meta = folder / "matched.json"
    meta.write_text(meta.read_text().replace(find_net(NET).sha256(), "0" * 64))
    with pytest.raises(ScenarioError, match="matched to an older build of this net") as caught:
        replay_plan(scenario(folder).traffic, find_net(NET))
    assert caught.value.key == "traffic.replay.traces"


def test_far_fixes_are_replayed_off_the_road_exactly(traces, tmp_path):
    folder = tmp_path / "aside"
    shutil.copytree(traces.folder, folder)
    fixes = pl.read_csv(folder / "fixes.csv")
    aside = (pl.col("trip") == 0) & pl.int_range(pl.len()).is_between(3, 4)
    fixes = fixes.with_columns(
        pl.when(aside).then(pl.col("y") - 80).otherwise("y").alias("y"),
        pl.when(aside).then(80.0).otherwise("residual").alias("residual"),
    )
    fixes.write_csv(folder / "fixes.csv")
    for backend in BACKENDS:
        states, _, metrics = drive(scenario(folder, vehicles=["a"]), backend, until=200)
        x, y = fixes.select("x", "y").row(3)
        state = states[89]  # the fix of 90 s
        assert np.allclose(state.xy[0], (x, y), atol=1e-6)
        assert len(state) == 1
        assert metrics["replay_lost"] == 0
        assert 0.3 < metrics["replay_off_road_share"] < 0.7


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_trace_that_stands_at_the_end_of_its_road_stays_until_it_is_over(traces, tmp_path, backend):
    folder = tmp_path / "end"
    shutil.copytree(traces.folder, folder)
    fixes = pl.read_csv(folder / "fixes.csv")
    rank = pl.col("trip").cum_count(reverse=True).over("trip")
    at_end = (pl.col("trip") == 0) & (rank <= 3)
    fixes.with_columns(pl.when(at_end).then(1e6).otherwise("s").alias("s")).write_csv(folder / "fixes.csv")
    states, events, metrics = drive(scenario(folder, vehicles=["a"]), backend)
    end_s = int(fix_places(traces, 0)[0][-1])
    assert [(e.kind, e.t_us // 10**6) for e in events] == [("departure", 1), ("arrival", end_s + 1)]
    assert metrics["replay_lost"] == 0
    assert states[end_s - 1].speed[0] == 0


def test_a_replayed_vehicle_that_a_task_removes_stays_away(traces):
    config = scenario(traces).traffic
    with Traffic(config, find_net(NET), 0) as traffic:
        for _ in range(20):
            state = traffic.step()
        orders = Commands(state)
        orders.remove(np.array([state.row("trace.a.0")]))
        traffic.apply(orders)
        for _ in range(60):
            state = traffic.step()
            assert state.row("trace.a.0") < 0
        assert state.row("trace.b.0") >= 0


def test_replayed_vehicles_move_among_others_that_see_them(traces):
    data = scenario(traces).resolved()
    data["traffic"]["inflow"] = [
        {
            "name": "other",
            "edge": "binhe_e0",
            "rate": "1200 veh/h",
            "per": "edge",
            "routes": {"binhe_east": 1},
        }
    ]
    states, events, metrics = drive(scenario_from_resolved(data), until=200)
    alone, _, _ = drive(scenario(traces), until=200)
    for mixed, single in zip(states, alone, strict=True):
        for name in single.ids:
            assert (mixed.xy[mixed.row(name)] == single.xy[single.row(name)]).all()
    assert metrics["replay_lost"] == 0
    assert sum(e.kind == "departure" for e in events) > 20


def test_reading_some_vehicles_only_changes_nothing_of_a_replay(traces):
    config = scenario(traces).traffic
    whole, _, _ = drive(scenario(traces), until=120)
    with Traffic(config, find_net(NET), 0, only=["trace.a.0"]) as traffic:
        for full in whole:
            state = traffic.step()
            here, there = state.row("trace.a.0"), full.row("trace.a.0")
            assert (state.xy[here] == full.xy[there]).all()
            assert state.speed[here] == full.speed[there]
        assert traffic.replay.metrics()["replay_lost"] == 0


def test_the_shipped_scenario_selects_ten_taxis_for_the_whole_run():
    for name in ("shenzhen_replay", "shenzhen_avatar"):
        shipped = load_scenario(name)
        plan = replay_plan(shipped.traffic, find_net(shipped.traffic.net))
        assert len(plan.trips) == 10
        assert all(trip.begin_us <= 0 for trip in plan.trips)
        assert min(trip.end_us for trip in plan.trips) >= shipped.warmup_us + shipped.duration_us
        assert all(trip.id.startswith("taxi.synthetic-") for trip in plan.trips)
        assert agent_vehicles(shipped, find_net(shipped.traffic.net)) == tuple(
            trip.id for trip in plan.trips
        )  # whose tape can be recorded


@needs_real_material
def test_the_real_sample_is_replayed_for_1218_steps_and_never_lost(tmp_path):
    net = real_roads()
    folder = tmp_path / "matched"
    match_to(convert(SAMPLE, rules=Rules(gap=600.0)), net, folder)
    made = scenario(folder, net=str(net.folder))
    states, _, metrics = drive(made, until=1230)
    assert sum(len(state) for state in states) == 1218
    assert metrics["replay_lost"] == 0
    assert metrics["replay_error_max"] <= 2.1
    for a, b in zip(states, drive(made, "traci", until=300)[0], strict=False):
        assert a.xy.tobytes() == b.xy.tobytes()
