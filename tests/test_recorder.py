"""What is recorded against what an independent listener saw of the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cosim.assembly import assemble, plan
from cosim.engine import Engine, Scheduled
from cosim.lockstep import InlineHost
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.recorder import RunRecorder
from cosim.recording import Run, RunWriter, load_run
from cosim.scenario import Scenario, load_scenario
from cosim.tasks import Instant
from cosim.traffic.commands import Commands

SETTINGS = ["warmup=0", "duration=25 s", "traffic.inflow.rate=1800 veh/h"]


class Noting:
    """Chooses at random, also what is masked, and notes numbers and words."""

    def reset(self, info: EpisodeInfo) -> None:
        self.rng = np.random.default_rng(info.seed)

    def act(self, observations: Observations) -> Actions:
        n = observations.active
        values = self.rng.integers(-1, 9, n)
        notes = {
            "twice": 2.0 * values,
            "pair": np.column_stack([values, values]),
            "word": np.array(["a"] * n),
        }
        return Actions(values, notes)

    def close(self) -> None:
        pass


class Listener(RunRecorder):
    """Records, and keeps what it was told."""

    def __init__(self, writer: RunWriter, scenario: Scenario, tasks: tuple[Scheduled, ...]) -> None:
        super().__init__(writer, scenario.record, tasks)
        self.instants: list[Instant] = []
        self.answers: list[tuple[int, Observations, Actions, Actions]] = []

    def actions(
        self, t_us: int, task: str, phase: str, asked: Observations, answered: Actions, done: Actions
    ) -> None:
        self.answers.append((t_us, asked, answered, done))
        super().actions(t_us, task, phase, asked, answered, done)

    def instant(self, now: Instant) -> None:
        self.instants.append(now)
        super().instant(now)


def listened(folder: Path, *settings: str) -> tuple[Run, Listener]:
    scenario = load_scenario("highway_350vph", [*SETTINGS, *settings])
    ready = plan(scenario)
    writer = RunWriter.create(folder, name="test", seed=0, manifest={"scenario": scenario.resolved()})
    listener = Listener(writer, scenario, ready.tasks)
    assembly = assemble(ready, recorder=listener)
    try:
        host = InlineHost(Noting(), "test.noting", "driving")
        host.reset(ready.infos["driving"])
        assembly.engine.run({"driving": host})
    finally:
        assembly.close()
        writer.finish("completed", assembly.metrics(), {})
    return load_run(folder), listener


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Listener]:
    return listened(tmp_path_factory.mktemp("recorder") / "run")


def test_a_row_of_steps_counts_and_averages_the_vehicles_of_its_instant(both: tuple[Run, Listener]) -> None:
    run, listener = both
    rows = run.steps.rows(named=True)
    states = {now.t_us: now.traffic for now in listener.instants}
    assert [row["t_us"] for row in rows] == list(range(1_000_000, 25_000_001, 1_000_000))
    for row in rows:
        state = states[row["t_us"]]
        assert row["n_vehicles"] == len(state)
        assert row["n_cav"] == sum(state.types[k].cav for k in state.type)
        if len(state):
            assert row["mean_speed"] == pytest.approx(np.mean(state.speed))
        else:
            assert row["mean_speed"] is None
        assert row["driving_zone_vehicles"] == (state.edge == state.edges.index("highway_0")).sum() or any(
            e.kind == "collision" for now in listener.instants if now.t_us == row["t_us"] for e in now.events
        )
    assert rows[0]["mean_speed"] is None


def test_vehicles_hold_the_state_of_every_second_bit_by_bit(both: tuple[Run, Listener]) -> None:
    run, listener = both
    expected = []
    for now in listener.instants:
        s = now.traffic
        if now.t_us % 1_000_000 == 0:
            for k, vehicle in enumerate(s.ids):
                place = (s.edges[s.edge[k]], int(s.lane[k]), s.s[k], s.xy[k, 0], s.xy[k, 1])
                expected.append((now.t_us, vehicle, s.types[s.type[k]].id, *place, s.speed[k], s.accel[k]))
    assert run.vehicles.rows() == expected
    assert len(expected) > 50


def test_events_are_those_of_road_and_tasks_in_order(both: tuple[Run, Listener]) -> None:
    run, listener = both
    expected: list[Any] = []
    for now in listener.instants:
        expected += [(now.t_us, e.kind, e.id, e.other, e.where, e.text) for e in now.events]
        expected += [(now.t_us, r.kind, r.id, r.other, "", r.text) for r in now.records]
    found = run.events.select("t_us", "kind", "id", "other", "place", "text").rows()
    assert [tuple(v or "" for v in row) for row in found] == [tuple(v or "" for v in row) for row in expected]
    assert {kind for _, kind, *_ in expected} >= {"departure", "collision"}


def test_actions_are_the_agents_own_and_tell_which_the_mask_overruled(both: tuple[Run, Listener]) -> None:
    run, listener = both
    expected = [
        (t_us, "driving", "cav", vehicle, [float(value)], bool(value != done))
        for t_us, asked, answered, executed in listener.answers
        for vehicle, value, done in zip(asked.ids, answered.values, executed.values, strict=False)
    ]
    assert run.actions.rows() == expected
    masked = [row[-1] for row in expected]
    assert 0 < sum(masked) < len(masked)
    for (_, asked, answered, executed), _ in zip(listener.answers, range(50), strict=False):
        n = asked.active
        chosen = answered.values[:n]
        assert asked.mask is not None
        allowed = asked.mask[np.arange(n), np.where(chosen < 0, 4, chosen)]
        assert ((executed.values == chosen) == allowed).all()


def test_notes_in_numbers_are_kept_and_words_are_for_the_window_only(both: tuple[Run, Listener]) -> None:
    run, listener = both
    notes = run.tables["notes"]
    assert set(notes["name"]) == {"twice", "pair"}
    expected = [
        (t_us, vehicle, [2.0 * value])
        for t_us, asked, answered, _ in listener.answers
        for vehicle, value in zip(asked.ids, answered.values, strict=False)
    ]
    assert notes.filter(pl.col("name") == "twice").select("t_us", "id", "value").rows() == expected
    assert set(notes.filter(pl.col("name") == "pair")["value"].list.len()) == {2}


def test_commands_are_all_that_was_ordered(both: tuple[Run, Listener]) -> None:
    run, listener = both
    expected = [
        (now.t_us, source, kind, vehicle)
        for now in listener.instants
        for kind, ids, _, source in now.commands.orders
        for vehicle in ids
    ]
    assert run.commands.select("t_us", "source", "kind", "id").rows() == expected
    assert set(run.commands["source"]) == {"driving"}
    speeds = [
        (now.t_us, vehicle, value)
        for now in listener.instants
        for kind, ids, columns, _ in now.commands.orders
        if kind == "speed"
        for vehicle, value in zip(ids, columns[0], strict=True)
    ]
    recorded = run.commands.filter(pl.col("kind") == "speed").select("t_us", "id", "a").rows()
    assert recorded == speeds
    assert {"speed", "lane", "modes", "remove"} <= set(run.commands["kind"])


def test_every_kind_of_order_has_its_numbers_and_words_in_a_row(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", name="test", seed=0, manifest={})
    scenario = load_scenario("highway_350vph", [*SETTINGS, "tasks=null"])
    recorder = RunRecorder(writer, scenario.record, ())
    assembly = assemble(scenario)
    try:
        traffic = assembly.traffic
        while len(traffic.step()) < 2:
            pass
        state = traffic.state
        commands = Commands(state, "user")
        two = np.array([0, 1])
        commands.speed(two, np.array([1.5, 2.5]))
        commands.ramp(two, np.array([3.0, 4.0]), 0.5)
        commands.acceleration(two, np.array([-1.0, 1.0]), 0.2)
        commands.lane(two, np.array([3, 0], dtype=np.int32), 0.1)
        commands.modes(two, 31, 1621)
        commands.colour(two, np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.uint8))
        commands.route(two, [("highway_0", "end_0"), ("highway_0", "end_1")])
        commands.move_to(
            two,
            ["highway_0"] * 2,
            np.array([1, 2], dtype=np.int32),
            np.array([[10.0, 20.0], [30.0, 40.0]]),
            np.array([90.0, 91.5]),
        )
        commands.note(two, "why", ["so", "thus"])
        commands.remove(two)
        recorder.instant(Instant(state.t_us, state, None, (), commands, True))
    finally:
        assembly.close()
        writer.finish("completed", {}, {})
    second = load_run(tmp_path / "run").commands.filter(pl.col("id") == state.ids[1])
    assert second.select("kind", "a", "b", "text").rows() == [
        ("speed", 2.5, None, ""),
        ("ramp", 4.0, 0.5, ""),
        ("acceleration", 1.0, 0.2, ""),
        ("lane", 0.0, 0.1, ""),
        ("modes", 31.0, 1621.0, ""),
        ("colour", 5.0, 6.0, "7 8"),
        ("route", None, None, "highway_0 end_1"),
        ("move_to", 2.0, 30.0, "highway_0 40 91.5 1"),
        ("note", None, None, "why thus"),
        ("remove", None, None, ""),
    ]


def test_what_is_switched_off_is_not_written(tmp_path: Path) -> None:
    off = ("record.steps=off", "record.vehicles=off", "record.links=off", "record.commands=false")
    run, _ = listened(tmp_path / "run", "duration=12 s", *off)
    assert sorted(p.name for p in run.dir.iterdir() if p.is_dir()) == ["events"]
    assert len(run.events) > 3
    assert run.actions.is_empty()


def test_tables_are_cut_every_ten_seconds(both: tuple[Run, Listener]) -> None:
    run, _ = both
    parts = sorted((run.dir / "vehicles").glob("part-*.parquet"))
    spans = [(f["t_us"].min(), f["t_us"].max()) for f in map(pl.read_parquet, parts)]
    assert [last for _, last in spans] == [10_000_000, 20_000_000, 25_000_000]


def test_samples_between_two_steps_are_of_their_own_instant(tmp_path: Path) -> None:
    run, _ = listened(tmp_path / "run", "duration=8 s", "record.vehicles=50 ms", "tasks.driving.every=200 ms")
    vehicles = run.vehicles
    assert set(vehicles["t_us"] % 50_000) == {0}
    whole = vehicles.filter(pl.col("t_us") % 100_000 == 0)
    half = vehicles.filter(pl.col("t_us") % 100_000 == 50_000)
    assert len(half) > 50
    # Half way between the two steps about it, wherever the vehicle was there before.
    for t_us, vehicle, x in half.select("t_us", "id", "x").rows()[::7]:
        ends = whole.filter(
            (pl.col("id") == vehicle) & pl.col("t_us").is_between(t_us - 50_000, t_us + 50_000)
        )
        if len(ends) == 2:
            assert x == pytest.approx(ends["x"].mean())


def test_the_engine_needs_no_recorder() -> None:
    assembly = assemble(load_scenario("highway_350vph", [*SETTINGS, "tasks=null"]))
    try:
        assert isinstance(assembly.engine, Engine)
        assembly.engine.run({})
        assert assembly.traffic.state.t_us == 25_000_000
    finally:
        assembly.close()
