"""The bridge's states and events against what SUMO itself writes: fcd, tripinfo and collision outputs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from bridge import BACKENDS, FLOW, PRECISE, config, group, rows_of, running, steps

from cosim.traffic.commands import Commands
from cosim.traffic.demand import Demand
from cosim.traffic.state import TrafficState, entity_key
from cosim.traffic.sumo import Traffic

ARRAYS = ("key", "slot", "xy", "z", "angle", "speed", "accel", "edge", "lane", "s", "type")


def as_bytes(state: TrafficState) -> dict[str, bytes]:
    return {name: getattr(state, name).tobytes() for name in ARRAYS}


def frames(file: Path) -> dict[int, dict[str, dict[str, str]]]:
    """SUMO's fcd output by our instants: its frame at time t shows the road after the step that began at t."""
    root = ET.parse(file).getroot()
    return {
        round(float(step.attrib["time"]) * 1e6) + 100_000: {
            v.attrib["id"]: dict(v.attrib) for v in step.iter("vehicle")
        }
        for step in root.iter("timestep")
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_state_is_what_sumo_writes_into_its_fcd_output(backend: str, tmp_path: Path) -> None:
    states = []
    with running(backend, work=tmp_path, inflow=FLOW, outputs={"fcd": True}, sumo=PRECISE) as traffic:
        for _ in range(400):
            states.append(traffic.step())
    fcd = frames(tmp_path / "fcd.xml")
    seen = 0
    for state in states:
        frame = fcd[state.t_us]
        assert set(frame) == set(state.ids)
        rows = [frame[i] for i in state.ids]
        for name, attribute in (
            ("speed", "speed"),
            ("accel", "acceleration"),
            ("angle", "angle"),
            ("s", "pos"),
        ):
            theirs = np.array([float(r[attribute]) for r in rows])
            np.testing.assert_allclose(getattr(state, name), theirs, rtol=0, atol=2e-9)
        theirs = np.array([[float(r["x"]), float(r["y"])] for r in rows]).reshape(-1, 2)
        np.testing.assert_allclose(state.xy, theirs, rtol=0, atol=2e-9)
        lanes = [f"{state.edges[e]}_{k}" for e, k in zip(state.edge, state.lane, strict=True)]
        assert lanes == [r["lane"] for r in rows]
        assert [state.types[k].id for k in state.type] == [r["type"] for r in rows]
        seen += len(rows)
    assert seen > 1200
    assert {e for s in states for e in s.edge} > {states[0].edges.index("highway_0")}  # junctions too


@pytest.mark.parametrize("backend", BACKENDS)
def test_departures_and_arrivals_are_those_of_tripinfo(backend: str, tmp_path: Path) -> None:
    outputs = {"tripinfo": True}
    with running(backend, work=tmp_path, inflow=FLOW, outputs=outputs, sumo=PRECISE) as traffic:
        events = steps(traffic, 600)
    trips = {t.attrib["id"]: t.attrib for t in ET.parse(tmp_path / "tripinfo.xml").getroot().iter("tripinfo")}
    departed = {e.id: e for e in events if e.kind == "departure"}
    arrived = {e.id: e for e in events if e.kind == "arrival"}
    assert set(arrived) == set(trips)
    assert len(arrived) > 10
    for vehicle, trip in trips.items():
        # SUMO names the beginning of a step, cosim its end.
        assert departed[vehicle].t_us == round(float(trip["depart"]) * 1e6) + 100_000
        assert arrived[vehicle].t_us == round(float(trip["arrival"]) * 1e6) + 100_000
        assert departed[vehicle].where == "highway_0"
        branch = {"left": "end_0", "straight": "end_1", "right": "end_2"}[departed[vehicle].text]
        assert trip["arrivalLane"].rpartition("_")[0] == branch
    assert Counter(e.kind for e in events)["departure"] == len(departed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_in_key_order_and_a_slot_is_kept_for_life_and_reused_only_after(backend: str) -> None:
    held: dict[str, int] = {}
    owner: dict[int, str] = {}
    reused = 0
    with running(backend, inflow={**FLOW, "rate": "700 veh/h"}) as traffic:
        before = traffic.state
        for _ in range(500):
            state = traffic.step()
            assert set(state.ids) == set(traffic.api.vehicle.getIDList())
            assert (np.diff(state.key.astype(object)) > 0).all()
            assert state.key.tolist() == [entity_key(i) for i in state.ids]
            assert len(set(state.slot.tolist())) == len(state)
            assert not len(state) or state.slot.max() < traffic.slots
            # The same tuple while nobody enters or leaves, another one as soon as somebody does.
            assert (state.ids is before.ids) == (set(state.ids) == set(before.ids))
            for vehicle, slot in zip(state.ids, state.slot.tolist(), strict=True):
                assert held.setdefault(vehicle, slot) == slot
                if owner.get(slot) not in (None, vehicle):
                    assert owner[slot] not in state.ids
                    reused += 1
                owner[slot] = vehicle
            before = state
        assert traffic.slots < 35 < len(held)  # about as few as vehicles at once
    assert reused > 10


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_state_cannot_be_changed_and_later_steps_leave_it_alone(backend: str) -> None:
    with running(backend, inflow=FLOW) as traffic:
        steps(traffic, 200)
        kept = traffic.state
        copy = {name: getattr(kept, name).copy() for name in ARRAYS}
        assert len(kept) > 3
        for name in ARRAYS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(kept, name)[...] = 0
        steps(traffic, 50)
        assert all((getattr(kept, name) == copy[name]).all() for name in ARRAYS)
    with pytest.raises(AttributeError):
        kept.t_us = 0  # type: ignore[misc]
    assert {f.name for f in fields(kept)} == {*ARRAYS, "t_us", "ids", "edges", "types"}


def driven(traffic: Traffic, n: int) -> list[tuple[dict[str, bytes], tuple[str, ...], list[str]]]:
    """Drive every CAV by a fixed rule and return all that can be seen."""
    seen = []
    for k in range(n):
        state = traffic.step()
        seen.append((as_bytes(state), state.ids, [repr(e) for e in traffic.events]))
        cavs = np.flatnonzero((state.type == 1) & (state.edge == state.edges.index("highway_0")))
        commands = Commands(state, "test")
        commands.speed(cavs, 12 + 6 * np.sin(0.05 * k + state.s[cavs] / 30))
        if k % 10 == 0:
            commands.lane(cavs, (state.lane[cavs] + k // 10) % 4, 0.1)
        if k % 97 == 96 and len(cavs):
            commands.remove(cavs[:1])
        traffic.apply(commands)
    return seen


def test_the_same_commands_give_the_same_bytes_on_both_backends_and_twice_in_one_process() -> None:
    runs = []
    for backend in ("libsumo", "traci", "libsumo"):
        with running(backend, seed=5, inflow=FLOW) as traffic:
            runs.append(driven(traffic, 400))
            edges = traffic.state.edges
    assert runs[0] == runs[1] == runs[2]
    assert "highway_0" in edges
    with running("libsumo", seed=6, inflow=FLOW) as traffic:
        assert driven(traffic, 400) != runs[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_policy_does_changes_no_departure(backend: str) -> None:
    def departures(traffic: Traffic, *, brake: bool) -> list[tuple[int, str, str, str]]:
        found = []
        for _ in range(400):
            state = traffic.step()
            found += [(e.t_us, e.id, e.text, e.where) for e in traffic.events if e.kind == "departure"]
            commands = Commands(state)
            if brake:
                commands.speed(np.flatnonzero(state.s > 100), np.full((state.s > 100).sum(), 6.0))
            traffic.apply(commands)
        return found

    with running(backend, inflow=FLOW) as traffic:
        free = departures(traffic, brake=False)
    with running(backend, inflow=FLOW) as traffic:
        braked = departures(traffic, brake=True)
    assert free == braked
    assert len(free) > 10


# -- collisions --


def crash(traffic: Traffic) -> list[tuple[int, str, frozenset[str]]]:
    """Stop the first of two vehicles in a lane dead and drive the second into it."""
    found = []
    for k in range(120):
        state = traffic.step()
        found += [
            (e.t_us, e.where, frozenset((e.id, e.other))) for e in traffic.events if e.kind == "collision"
        ]
        commands = Commands(state)
        if k == 40:
            front, rear = rows_of(traffic, "front.000000", "rear.000000")
            commands.modes(np.array([front, rear]), 0, 0)
            commands.speed(np.array([front, rear]), np.array([0.0, 15.0]))
        traffic.apply(commands)
    return found


TWO = [group("front", 1, depart=0), group("rear", 1, depart=2)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_collision_is_one_event_while_sumo_repeats_it_every_step(backend: str, tmp_path: Path) -> None:
    with running(backend, work=tmp_path, vehicles=TWO, outputs={"collisions": True}) as traffic:
        found = crash(traffic)
    written = list(ET.parse(tmp_path / "collisions.xml").getroot().iter("collision"))
    first = written[0].attrib
    pair = frozenset(("front.000000", "rear.000000"))
    assert found == [(round(float(first["time"]) * 1e6) + 100_000, "highway_0_1", pair)]
    assert frozenset((first["collider"], first["victim"])) == pair


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_vehicle_that_sumo_removes_after_a_collision_leaves_the_state(backend: str) -> None:
    with running(backend, vehicles=TWO, sumo={"collision_action": "remove"}) as traffic:
        assert len(crash(traffic)) == 1
        assert traffic.state.ids == ()
        assert not traffic.api.vehicle.getIDList()


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_of_a_pair_may_be_removed_by_command_and_the_run_goes_on(backend: str) -> None:
    with running(backend, vehicles=[*TWO, group("later", 2, depart=13)]) as traffic:
        removed = False
        for k in range(200):
            state = traffic.step()
            commands = Commands(state)
            if k == 40:
                rows = rows_of(traffic, "front.000000", "rear.000000")
                commands.modes(rows, 0, 0)
                commands.speed(rows, np.array([0.0, 15.0]))
            for e in traffic.events:
                if e.kind == "collision":
                    commands.remove(rows_of(traffic, e.id, e.other))
                    removed = True
            traffic.apply(commands)
            if removed and k < 120:
                assert {e.kind for e in traffic.events} <= {"collision", "departure", "removal"}
        assert removed
        assert traffic.state.ids == ("later.000000",)


# -- teleports --


def jam(traffic: Traffic, n: int, stop: str) -> list[tuple[str, str]]:
    """Let the first of each lane crawl along the short end of the road and *stop* stand on the highway.

    SUMO takes a vehicle that has stood for ``time_to_teleport`` off the road and puts it onto the next edge, or, if
    there is no room there until it would have reached its destination, nowhere.
    """
    kinds = []
    for k in range(n):
        state = traffic.step()
        kinds += [(e.kind, e.id) for e in traffic.events]
        assert set(state.ids) == set(traffic.api.vehicle.getIDList())
        assert len(set(state.slot.tolist())) == len(state)
        end, highway = state.edges.index("end_1"), state.edges.index("highway_0")
        first = np.array([i.endswith(".000000") for i in state.ids], dtype=bool)
        crawl = np.flatnonzero(first & (state.edge == end) & (state.s > 14))
        commands = Commands(state)
        commands.modes(crawl, 0, 0)
        commands.speed(crawl, np.full(len(crawl), 0.11))
        row = state.row(stop)
        if k > 100 and row >= 0 and state.edge[row] == highway:
            commands.modes(np.array([row]), 0, 0)
            commands.speed(np.array([row]), np.array([0.0]))
        traffic.apply(commands)
    return [(kind, vehicle) for kind, vehicle in kinds if vehicle == stop]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_standing_vehicle_is_teleported_out_of_the_state_and_into_it_again(backend: str) -> None:
    alone = group("alone", 1, count=2, depart=[0, 9])
    with running(backend, vehicles=alone, sumo={"time_to_teleport": "2 s"}) as traffic:
        story = jam(traffic, 300, "alone.000001")
    assert [kind for kind, _ in story] == ["departure", "teleport", "teleport_end", "arrival"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_vehicle_that_is_not_put_back_after_a_teleport_has_arrived(backend: str) -> None:
    walls = [group(f"wall{k}", k, count=5, depart=[0, 1.5, 3, 4.5, 6]) for k in range(4)]
    with running(backend, vehicles=walls, sumo={"time_to_teleport": "1 s"}) as traffic:
        story = jam(traffic, 380, "wall1.000004")
        assert "wall1.000004" not in traffic.state.ids
    assert [kind for kind, _ in story] == ["departure", "teleport", "arrival"]


# -- blocked entries --


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_entry_that_finds_no_room_waits_and_is_one_event(backend: str) -> None:
    stopped = group("first", 2, depart_speed=0)
    crowd = group("crowd", 2, count=4, depart=[1, 2, 3, 4], depart_speed=0)
    with running(backend, vehicles=[stopped, crowd]) as traffic:
        traffic.step()
        commands = Commands(traffic.state)
        commands.speed(rows_of(traffic, "first.000000"), np.array([0.0]))
        traffic.apply(commands)
        events = steps(traffic, 100)
        blocked = [e for e in events if e.kind == "blocked"]
        assert [e.id for e in blocked] == [f"crowd.{k:06d}" for k in range(4)]
        assert [e.t_us for e in blocked] == [1_000_000, 2_000_000, 3_000_000, 4_000_000]
        assert {e.where for e in blocked} == {"highway_0"}
        assert not [e for e in events if e.kind == "departure"]
        assert traffic.state.ids == ("first.000000",)
        commands = Commands(traffic.state)
        commands.release(rows_of(traffic, "first.000000"))
        traffic.apply(commands)
        events = steps(traffic, 250)
        assert [e.id for e in events if e.kind == "departure"] == [f"crowd.{k:06d}" for k in range(4)]
        assert not [e for e in events if e.kind == "blocked"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("speed", [0.0, 20.0, 22.9, "max"])
def test_nobody_is_lost_at_the_entry_however_fast_they_come(backend: str, speed: float | str) -> None:
    """SUMO ends at a departure speed above what a vehicle may drive, and drops one with too many lanes to cross."""
    with running(backend, inflow={**FLOW, "depart_speed": speed, "end": "60 s"}) as traffic:
        events = steps(traffic, 1200)
    due = [d.id for d in Demand(config(inflow={**FLOW, "end": "60 s"}), traffic.net, 0).until(10**12)]
    assert len(due) > 15
    assert sorted(e.id for e in events if e.kind == "departure") == due
    assert sorted(e.id for e in events if e.kind == "arrival") == due


def test_laps_of_a_closed_route_are_driven_one_after_another() -> None:
    lap = {"name": "lap", "route": "ring_0", "repeat": 2, "type": "passenger", "depart_speed": "max"}
    types = {"passenger": {"speed_factor": 3.0, "speed_dev": 0, "max_speed": 200, "accel": 20, "decel": 20}}
    with running(net="remote_rsu", vehicles=lap, types=types, step="1 s") as traffic:
        edges: list[str] = []
        events = []
        while not any(e.kind == "arrival" for e in events):
            state = traffic.step()
            events += traffic.events
            if len(state):
                edge = state.edges[state.edge[0]]
                if not edge.startswith(":") and edges[-1:] != [edge]:
                    edges.append(edge)
    assert edges == ["arc_0", "arc_1", "arc_2", "arc_3"] * 2
