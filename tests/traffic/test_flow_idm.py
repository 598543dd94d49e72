"""Flow's IDM over commands: the law against the printed values and a scalar version, and what SUMO then drives."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bridge import BACKENDS, FLOW, config, group, rows_of, running, steps
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.assembly import check_agents, plan
from cosim.scenario import load_scenario
from cosim.traffic.commands import Commands
from cosim.traffic.flow_idm import FlowIdm, idm_acceleration, leaders
from cosim.traffic.nets import find_net
from cosim.traffic.state import TrafficState, VehicleType
from cosim.traffic.sumo import Traffic

HUMAN = {"types": {"hdv": {"car_following": "flow_idm", "speed_dev": 0}}}
LONG = {"net": "remote_rsu", "step": "100 ms", **HUMAN}  # arcs of 1500 m
DT = 0.1


def scalar(v: float, lead: float | None, gap: float, v0: float = 20, a: float = 3.5, b: float = 1.5) -> float:
    """Eqs (2) and (3) for one vehicle, term by term."""
    free = 1 - (v / v0) ** 4
    if lead is None:
        return a * free
    wanted = 2.0 + max(0.0, v * 1.0 - v * (lead - v) / (2 * math.sqrt(a * b)))
    return a * (free - (wanted / gap) ** 2)


@pytest.mark.parametrize(("v", "lead", "gap", "acceleration"), [(10, 8, 20, 0.93807), (10, 20, 10, 3.14125)])
def test_the_law_gives_the_values_of_the_specification(
    v: float, lead: float, gap: float, acceleration: float
) -> None:
    found = idm_acceleration(np.array([v]), np.array([lead]), np.array([gap]))
    assert found[0] == pytest.approx(acceleration, abs=5e-6)


SPEED = st.floats(0, 40)


@given(st.lists(st.tuples(SPEED, SPEED, st.floats(0.01, 500)), min_size=1, max_size=20))
def test_the_law_over_arrays_is_the_law_for_each(cases: list[tuple[float, float, float]]) -> None:
    v, lead, gap = np.array(cases).T
    found = idm_acceleration(v, lead, gap)
    assert found == pytest.approx([scalar(*case) for case in cases], rel=1e-12, abs=1e-9)


def test_without_leader_only_the_desired_speed_counts() -> None:
    v = np.array([0.0, 10.0, 20.0, 25.0])
    found = idm_acceleration(v, v, np.full(4, np.inf))
    assert found == pytest.approx([scalar(x, None, 1) for x in v])
    assert found[2] == 0
    assert found[3] < 0


def made_up(rows: list[tuple[int, int, float]]) -> TrafficState:
    n = len(rows)
    edge, lane, s = (np.array([r[k] for r in rows]) for k in range(3)) if n else (np.empty(0),) * 3
    zero = np.zeros(n)
    return TrafficState(
        0,
        tuple(f"v{k}" for k in range(n)),
        np.arange(n, dtype=np.uint64),
        np.arange(n, dtype=np.int32),
        np.zeros((n, 2)),
        zero,
        zero,
        zero,
        zero,
        edge.astype(np.int32),
        lane.astype(np.int32),
        s.astype(float),
        np.zeros(n, dtype=np.int32),
        ("a", "b"),
        (VehicleType("hdv"),),
    )


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.floats(0, 250)), max_size=25, unique=True))
@settings(max_examples=200)
def test_the_leader_is_the_nearest_ahead_on_the_same_lane(rows: list[tuple[int, int, float]]) -> None:
    state = made_up(rows)
    for k, found in enumerate(leaders(state).tolist()):
        ahead = [j for j, r in enumerate(rows) if r[:2] == rows[k][:2] and r[2] > rows[k][2]]
        if ahead:
            assert rows[found][2] == min(rows[j][2] for j in ahead)
            assert rows[found][:2] == rows[k][:2]
        else:
            assert found == -1


def row(traffic: Traffic, vehicle: str) -> int:
    return traffic.state.row(vehicle)


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_free_road_the_speeds_are_the_laws_step_by_step(backend: str) -> None:
    alone = {"name": "alone", "route": "ring_0", "depart_lane": 0, "depart_speed": 10}
    with running(backend, vehicles=alone, **LONG) as traffic:
        traffic.step()
        v = traffic.state.speed[0]
        assert v == 10.0
        for _ in range(150):
            expected = max(v + scalar(v, None, 1) * DT, 0.0)
            v = float(traffic.step().speed[0])
            assert v == pytest.approx(expected, abs=1e-9)
    assert v == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("backend", BACKENDS)
def test_behind_a_leader_the_speeds_are_the_laws_step_by_step(backend: str) -> None:
    """Up to SUMO's safe speed, its own IDM's, which the ordered speed may not exceed and seldom meets."""
    two = [
        {"name": "lead", "route": "ring_0", "depart_lane": 0, "depart": 0},
        {"name": "rear", "route": "ring_0", "depart_lane": 0, "depart": 8},
    ]
    with running(backend, vehicles=two, **LONG) as traffic:
        steps(traffic, 90)
        commands = Commands(traffic.state)
        commands.ramp(rows_of(traffic, "lead.000000"), np.array([6.0]), 30.0)
        traffic.apply(commands)
        braked, capped = False, 0
        for _ in range(300):
            lead, rear = row(traffic, "lead.000000"), row(traffic, "rear.000000")
            state = traffic.state
            v, gap = state.speed[rear], state.s[lead] - 5.0 - state.s[rear]
            expected = max(v + scalar(v, float(state.speed[lead]), gap) * DT, 0.0)
            traffic.step()
            driven = traffic.state.speed[row(traffic, "rear.000000")]
            assert driven <= expected + 1e-9
            capped += driven < expected - 1e-9
            assert driven == pytest.approx(expected, abs=0.02)
            braked |= expected < v - 0.05
        assert braked
        assert capped < 100
        assert traffic.state.speed[row(traffic, "lead.000000")] == pytest.approx(6.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sumos_own_model_keeps_no_second_distance(backend: str) -> None:
    with running(backend, vehicles=group("one", 1), **HUMAN) as traffic:
        traffic.step()
        api = traffic.api.vehicle
        assert api.getMinGap("one.000000") == 0
        assert api.getDecel("one.000000") == 4.5
        assert api.getTau("one.000000") == 1.0
        assert api.getSpeedMode("one.000000") == 25


def test_every_leader_is_sumos_also_across_the_junction_and_nothing_is_ordered_on_it() -> None:
    beyond = junction = 0
    with running("libsumo", inflow={**FLOW, "rate": "1200 veh/h", "cav_share": 0}, **HUMAN) as traffic:
        api = traffic.api.vehicle
        controller = traffic._flow_idm
        assert controller is not None
        for _ in range(400):
            state = traffic.step()
            ordered = {}
            for kind, ids, columns, _ in controller.orders(state, traffic._leader):
                assert kind == "ramp"
                ordered |= dict(zip(ids, columns[0], strict=True))
            for k, vehicle in enumerate(state.ids):
                if state.edges[state.edge[k]].startswith(":"):
                    assert vehicle not in ordered
                    junction += 1
                    continue
                found = api.getLeader(vehicle, 2000.0)
                v = float(state.speed[k])
                if not found or not found[0]:
                    expected = v + scalar(v, None, 1) * DT
                else:
                    gap = found[1] if abs(found[1]) >= 1e-3 else 1e-3
                    expected = v + scalar(v, float(state.speed[state.row(found[0])]), gap) * DT
                    beyond += state.edge[state.row(found[0])] != state.edge[k]
                assert ordered[vehicle] == pytest.approx(max(expected, 0.0), abs=1e-9)
    assert beyond > 20
    assert junction > 100


def test_both_backends_drive_the_same() -> None:
    runs = []
    for backend in BACKENDS:
        with running(backend, inflow={**FLOW, "cav_share": 0, "rate": "900 veh/h"}, **HUMAN) as traffic:
            runs.append(
                [(s.ids, s.xy.tobytes(), s.speed.tobytes()) for s in (traffic.step() for _ in range(300))]
            )
    assert runs[0] == runs[1]
    assert len(runs[0][-1][0]) > 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_a_ramp_of_somebody_elses_the_law_goes_on(backend: str) -> None:
    with running(backend, vehicles=group("one", 1), **HUMAN) as traffic:
        steps(traffic, 10)
        commands = Commands(traffic.state, "driving")
        commands.ramp(rows_of(traffic, "one.000000"), np.array([5.0]), 1.0)
        traffic.apply(commands)
        steps(traffic, 10)
        v = float(traffic.state.speed[0])
        assert v == pytest.approx(5.0)
        for _ in range(10):
            v += scalar(v, None, 1) * DT
            assert traffic.step().speed[0] == pytest.approx(v, abs=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_commanded_vehicle_is_left_alone_until_it_is_released(backend: str) -> None:
    with running(backend, vehicles=[group("one", 1), group("two", 3)], **HUMAN) as traffic:
        steps(traffic, 10)
        commands = Commands(traffic.state, "driving")
        commands.speed(rows_of(traffic, "one.000000"), np.array([4.0]))
        traffic.apply(commands)
        for _ in range(20):
            state = traffic.step()
        assert state.speed[row(traffic, "one.000000")] == 4.0
        assert state.speed[row(traffic, "two.000000")] > 14
        commands = Commands(traffic.state, "driving")
        commands.release(rows_of(traffic, "one.000000"), 25, 1)
        traffic.apply(commands)
        v = 4.0
        for _ in range(10):
            v += scalar(v, None, 1) * DT
            state = traffic.step()
            assert state.speed[row(traffic, "one.000000")] == pytest.approx(v, abs=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_removed_vehicle_is_neither_driven_nor_followed(backend: str) -> None:
    two = [group("front", 1), group("rear", 1, depart=2)]
    with running(backend, vehicles=two, **HUMAN) as traffic:
        steps(traffic, 60)
        commands = Commands(traffic.state)
        commands.remove(rows_of(traffic, "front.000000"))
        traffic.apply(commands)
        assert traffic.step().ids == ("rear.000000",)
        steps(traffic, 10)


def test_types_under_other_models_are_not_ordered() -> None:
    types = ("hdv", "cav")
    section = config(types={"cav": {"car_following": "flow_idm"}}, inflow=FLOW)
    assert FlowIdm.build(config(inflow=FLOW), tuple(VehicleType(t) for t in types), 100_000) is None
    controller = FlowIdm.build(section, tuple(VehicleType(t) for t in types), 100_000)
    assert controller is not None
    with running("libsumo", types={"cav": {"car_following": "flow_idm"}}, inflow=FLOW) as traffic:
        ordered: set[Any] = set()
        for _ in range(300):
            state = traffic.step()
            for _, ids, _, _ in controller.orders(state, traffic._leader):
                ordered |= {state.types[state.type[state.row(i)]].id for i in ids}
    assert ordered == {"cav"}


def test_the_example_for_users_of_flow_is_a_valid_scenario(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "from_flow.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_highway.yaml").write_text(example)
    scenario = load_scenario(tmp_path / "my_highway.yaml")
    plan(scenario)
    check_agents(scenario)
    with Traffic(scenario.traffic, find_net(scenario.traffic.net), 0) as traffic:
        events = steps(traffic, 300)
        assert traffic._flow_idm is not None
    assert sum(e.kind == "departure" for e in events) >= 8


def test_flows_rewards_on_arrays_are_what_the_page_says() -> None:
    """Against sums over vehicles, one by one."""
    v, w, top = np.array([3.0, 0.0, 18.0, 25.0]), 20.0, 23.0
    n = len(v)
    deviation = math.sqrt(sum((x - w) ** 2 for x in v.tolist()))
    peak = math.sqrt(sum(w**2 for _ in range(n)))
    assert max(0, 1 - np.linalg.norm(v - w) / (w * np.sqrt(n))) == pytest.approx(
        max(peak - deviation, 0) / peak
    )
    delay = sum((top - x) / top for x in v.tolist())
    assert max(0, (v / top).mean()) == pytest.approx(max(n - delay, 0) / n)
