"""Tapes are recorded once, alike however many processes do it, resumed, and drawn again where a vehicle is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosim.clock import US
from cosim.errors import RecordingError, ScenarioError
from cosim.experiments.tapes import agent_vehicles, draw_seed, record_tapes, tapes_of
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved
from cosim.tasks.migration import load_tape
from cosim.traffic.nets import find_net
from cosim.traffic.sumo import Traffic
from cosim.traffic.tracks import follow

TASK = {"every": 2, "agent": "common.random", "space": "remote", "vehicles": 3}


def ring(*, latest: float = 4.0, task: Any = {}, **more: Any) -> Scenario:  # noqa: B006
    """Three agent vehicles that enter the ring until *latest*, and must be there from 16 s on."""
    group = {"name": "a", "route": "ring_0", "type": "avatar", "count": 3, "depart_speed": 25}
    data: dict[str, Any] = {
        "name": "ring",
        "warmup": 40,
        "duration": 4,
        "traffic": {
            "net": "remote_rsu",
            "step": 1,
            "types": {"avatar": {"like": "passenger", "cav": True}},
            "vehicles": [group | {"depart": {"each": {"uniform": [0, latest]}}}],
        },
    }
    data["traffic"].update(more)
    data["tasks"] = {"migration": TASK | task}
    return scenario_from_resolved(data, "ring")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_what_is_missing_is_recorded_and_what_is_there_is_kept(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = record_tapes(ring(), (5, 6, 7), tmp_path, jobs=1, progress=lambda *now: seen.append(now))
    assert [file.name for file in first.files] == ["s5.npz", "s6.npz", "s7.npz"]
    assert (first.new, first.replaced) == (3, {})
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    before = contents(tmp_path)
    (tmp_path / "s6.npz").unlink()
    (tmp_path / "s7.npz").write_bytes(b"kept")
    again = record_tapes(ring(), (5, 6, 7), tmp_path, jobs=1)
    assert again.new == 1
    assert contents(tmp_path) == before | {"s7.npz": b"kept"}


def test_tapes_are_the_same_whatever_the_number_of_processes(tmp_path: Path) -> None:
    for jobs in (1, 2):
        record_tapes(ring(), range(4), tmp_path / str(jobs), jobs=jobs)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len({*contents(tmp_path / "1").values()}) == 5


def test_a_process_that_cannot_record_says_why_as_this_process_would(tmp_path: Path) -> None:
    said = []
    for jobs in (1, 2):
        with pytest.raises(ScenarioError) as error:
            record_tapes(ring(latest=1e4), (0, 1), tmp_path / str(jobs), jobs=jobs)
        said.append(str(error.value).replace("seed 1", "seed 0"))
    assert said[0] == said[1]


def test_a_folder_of_another_scenario_is_refused(tmp_path: Path) -> None:
    record_tapes(ring(), (0,), tmp_path / "t", jobs=1)
    for other in (ring(latest=3.0), ring(task={"every": 1}), ring(task={"stations": "rsu_[012]"})):
        with pytest.raises(ScenarioError, match="holds tapes of scenario 'ring' with other traffic"):
            record_tapes(other, (1,), tmp_path / "t", jobs=1)
    assert record_tapes(ring(task={"agent": "hybrid_mappo.npm"}), (0,), tmp_path / "t").new == 0
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecordingError, match="not empty"):
        record_tapes(ring(), (0,), tmp_path, jobs=1)
    about = json.loads((tmp_path / "t" / "tapes.json").read_text())
    assert scenario_from_resolved(about["scenario"]) == ring()


def test_a_draw_that_lacks_a_vehicle_is_replaced_by_the_next_keyed_seed(tmp_path: Path) -> None:
    late = ring(latest=30.0)
    done = record_tapes(late, range(6), tmp_path, jobs=1)
    assert done.replaced
    for seed in range(6):
        tape = load_tape(tmp_path / f"s{seed}.npz")
        assert (tape.seed == seed) == (seed not in done.replaced)
        if seed in done.replaced:
            assert tape.seed in [draw_seed(seed, k) for k in range(1, 8)]
            # What stands on the tape is the run of the seed that it names.
            data, lost = tapes_of(late).record(tape.seed)
            assert (data, lost) == ((tmp_path / f"s{seed}.npz").read_bytes(), "")
    assert all("has not entered by 16 s" in lost for lost in done.replaced.values())
    assert len({draw_seed(s, k) for s in range(100) for k in range(8)}) == 800


def test_vehicles_that_reach_the_end_of_their_route_are_named_with_the_key(tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text(
        "warmup: 120 s\nduration: 4 s\ntraffic:\n  net: remote_rsu\n  step: 1 s\n"
        "  vehicles:\n    - {name: a, route: [arc_0], type: cav, depart_speed: 25}\n"
        "tasks:\n  migration: {every: 2 s, agent: common.random, space: remote}\n"
    )
    with pytest.raises(
        ScenarioError, match=r"short\.yaml:6: traffic\.vehicles: .*a\.000000 reached the end of its"
    ):
        tapes_of(load_scenario(file)).record(0)


def test_a_scenario_that_gives_no_tapes_is_refused_with_the_key() -> None:
    with pytest.raises(ScenarioError, match=r"highway\.yaml:\d+: traffic\.inflow\.cav_share.*fixed set"):
        agent_vehicles(load_scenario("highway_350vph"), find_net("highway_trifurcation"))
    with pytest.raises(
        ScenarioError,
        match=r"highway_350vph\.yaml:\d+: tasks: one task must be .* of this scenario.s tasks: none",
    ):
        tapes_of(load_scenario("highway_350vph"))
    with pytest.raises(ScenarioError, match="no group of a CAV type"):
        tapes_of(ring(vehicles=[{"name": "a", "route": "ring_0", "type": "hdv"}]))
    with pytest.raises(ScenarioError, match=r"needs 12 slots of 4 s before it .*see warmup"):
        tapes_of(ring(task={"every": 4})).record(0)
    with pytest.raises(ScenarioError, match=r"warmup: is not a whole number of slots of 3 s"):
        tapes_of(ring(task={"every": 3}))


@pytest.mark.parametrize(("name", "speeds"), [("urban_avatar", (8.0, 12.5)), ("remote_avatar", (25.0, 33.0))])
def test_the_shipped_avatar_scenarios_keep_their_ten_vehicles_at_plausible_speeds(
    name: str, speeds: tuple[float, float]
) -> None:
    scenario = load_scenario(name)
    ids = agent_vehicles(scenario, find_net(scenario.traffic.net))
    with Traffic(scenario.traffic, find_net(scenario.traffic.net), 11) as traffic:
        tracks, events = follow(traffic, ids, end_us=1380 * US, period_us=20 * US, scenario=name, seed=11)
    assert len(tracks.ids) == 10
    assert tracks.present[16:].all()  # from 320 s on, twelve slots before the first decision
    assert {event.kind for event in events} <= {"departure", "blocked"}
    assert speeds[0] < tracks.speed[16:].mean() < speeds[1]
    tape = tapes_of(scenario).task.tape(tracks)
    assert len(tape) < 200_000
