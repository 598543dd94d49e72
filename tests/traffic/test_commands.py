"""What is ordered of vehicles, and what SUMO then does: every kind of order on both backends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bridge import BACKENDS, group, rows_of, running, steps

from cosim.assembly import assemble
from cosim.errors import TrafficError
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.scenario import load_scenario
from cosim.traffic.commands import Commands
from cosim.traffic.state import TrafficState
from cosim.traffic.sumo import Traffic

ONE, TWO = "one.000000", "two.000000"
FREE = {"types": {"hdv": {"speed_dev": 0}}}


@pytest.fixture(params=BACKENDS)
def traffic(request: pytest.FixtureRequest) -> Iterator[Traffic]:
    """Two vehicles side by side in lanes 1 and 2, 3 s on their way; without speed or lane-change checks."""
    with running(request.param, vehicles=[group("one", 1), group("two", 2)], **FREE) as found:
        steps(found, 30)
        order(found, "modes", 0, 0, vehicles=(ONE, TWO))
        yield found


def order(traffic: Traffic, kind: str, *values: Any, vehicles: tuple[str, ...] = (ONE,)) -> None:
    commands = Commands(traffic.state, "test")
    getattr(commands, kind)(rows_of(traffic, *vehicles), *values)
    traffic.apply(commands)


def one(state: TrafficState, vehicle: str = ONE) -> int:
    return state.row(vehicle)


def test_a_commanded_speed_is_reached_in_the_next_step_and_held(traffic: Traffic) -> None:
    order(traffic, "speed", np.array([7.25, 3.5]), vehicles=(ONE, TWO))
    for _ in range(20):
        state = traffic.step()
        assert state.speed[one(state)] == 7.25
        assert state.speed[one(state, TWO)] == 3.5


def test_a_ramp_is_even_and_ends_on_time(traffic: Traffic) -> None:
    before = traffic.state.speed[one(traffic.state)]
    order(traffic, "ramp", np.array([5.0]), 1.0)
    speeds = [s.speed[one(s)] for s in (traffic.step() for _ in range(10))]
    np.testing.assert_allclose(speeds, before + (5 - before) * np.arange(1, 11) / 10, atol=1e-9)


def test_an_acceleration_holds_for_its_duration(traffic: Traffic) -> None:
    order(traffic, "speed", np.array([8.0]))
    traffic.step()
    order(traffic, "acceleration", np.array([1.5]), 0.5)
    speeds = [s.speed[one(s)] for s in (traffic.step() for _ in range(5))]
    np.testing.assert_allclose(speeds, 8 + 0.15 * np.arange(1, 6), atol=1e-9)
    state = traffic.state
    assert state.accel[one(state)] == pytest.approx(1.5)


def test_a_lane_change_is_done_in_one_step_even_into_somebody(traffic: Traffic) -> None:
    order(traffic, "lane", np.array([0], dtype=np.int32), 0.1)
    state = traffic.step()
    assert state.lane[one(state)] == 0
    assert state.lane[one(state, TWO)] == 2
    order(traffic, "lane", np.array([1], dtype=np.int32), 0.1)
    order(traffic, "lane", np.array([1], dtype=np.int32), 0.1, vehicles=(TWO,))
    state = traffic.step()
    assert state.lane[one(state)] == state.lane[one(state, TWO)] == 1
    assert [(e.kind, e.text) for e in traffic.events] == [("collision", "side")]


def test_modes_are_sumos_bit_sets_and_release_hands_the_vehicle_back(traffic: Traffic) -> None:
    api = traffic.api.vehicle
    order(traffic, "modes", 25, 1)
    assert (api.getSpeedMode(ONE), api.getLaneChangeMode(ONE)) == (25, 1)
    assert (api.getSpeedMode(TWO), api.getLaneChangeMode(TWO)) == (0, 0)
    order(traffic, "speed", np.array([2.0]))
    steps(traffic, 40)
    order(traffic, "release", 31, 1621)
    assert (api.getSpeedMode(ONE), api.getLaneChangeMode(ONE)) == (31, 1621)
    speeds = [s.speed[one(s)] for s in (traffic.step() for _ in range(30))]
    assert (np.diff(speeds) > 0).all()
    assert speeds[-1] > 8


def test_a_new_route_is_driven(traffic: Traffic) -> None:
    commands = Commands(traffic.state)
    commands.route(rows_of(traffic, ONE), [("highway_0", "end_2")])
    traffic.apply(commands)
    edges = set()
    while one(traffic.state) >= 0:
        edges.add(traffic.state.edges[traffic.state.edge[one(traffic.state)]])
        traffic.step()
    assert {"highway_0", "end_2"} <= edges
    assert "end_1" not in edges


def test_a_vehicle_can_be_put_somewhere_else_and_keeps_its_slot(traffic: Traffic) -> None:
    slot = traffic.state.slot[one(traffic.state)]
    commands = Commands(traffic.state)
    row = rows_of(traffic, ONE)
    there = traffic.api.simulation.convert2D("highway_0", 200.0, 3)
    commands.move_to(row, ["highway_0"], np.array([3], dtype=np.int32), np.array([there]), np.array([90.0]))
    commands.speed(row, np.array([0.0]))
    traffic.apply(commands)
    state = traffic.step()
    row_now = one(state)
    np.testing.assert_allclose(state.xy[row_now], there, atol=0.3)
    assert (state.lane[row_now], state.slot[row_now]) == (3, slot)
    assert state.s[row_now] == pytest.approx(200, abs=0.5)
    assert len(state) == 2


def test_colours_and_notes_reach_sumo(traffic: Traffic) -> None:
    order(
        traffic,
        "colour",
        np.array([[1, 2, 3, 4], [250, 0, 9, 255]], dtype=np.uint8),
        vehicles=(ONE, TWO),
    )
    order(traffic, "note", "action", ["keep", "left"], vehicles=(TWO, ONE))
    traffic.step()
    assert tuple(traffic.api.vehicle.getColor(ONE)) == (1, 2, 3, 4)
    assert tuple(traffic.api.vehicle.getColor(TWO)) == (250, 0, 9, 255)
    assert traffic.api.vehicle.getParameter(ONE, "action") == "left"


def test_a_removed_vehicle_is_in_no_later_state_and_its_slot_is_free_again(traffic: Traffic) -> None:
    slot = traffic.state.slot[one(traffic.state)]
    order(traffic, "remove")
    for _ in range(5):
        state = traffic.step()
        assert state.ids == (TWO,)
        assert not [e for e in traffic.events if e.id == ONE]
    assert ONE not in traffic.api.vehicle.getIDList()
    traffic.api.vehicle.add("new", "group:one", typeID="hdv")
    state = traffic.step()
    assert state.slot[one(state, "new")] == slot


def test_an_order_on_the_state_before_a_removal_is_for_those_still_there(traffic: Traffic) -> None:
    old = traffic.state
    order(traffic, "remove")
    late = Commands(old)
    late.speed(np.array([0, 1]), np.array([4.0, 4.0]))
    late.remove(np.array([one(old)]))
    traffic.apply(late)
    state = traffic.step()
    assert state.ids == (TWO,)
    assert state.speed[0] == 4.0


def test_orders_are_carried_out_in_the_order_given(traffic: Traffic) -> None:
    commands = Commands(traffic.state)
    rows = rows_of(traffic, ONE)
    commands.speed(rows, np.array([3.0]))
    commands.speed(rows, np.array([6.0]))
    traffic.apply(commands)
    assert traffic.step().speed[one(traffic.state)] == 6.0


def test_what_sumo_refuses_is_a_traffic_error_in_one_line_with_its_reason(traffic: Traffic) -> None:
    commands = Commands(traffic.state)
    commands.route(rows_of(traffic, ONE), [("end_1", "nowhere")])
    with pytest.raises(TrafficError, match=r"SUMO failed at 3 s: .*nowhere") as caught:
        traffic.apply(commands)
    assert "\n" not in str(caught.value)


def test_nothing_is_ordered_of_nobody() -> None:
    with running("libsumo") as traffic:
        commands = Commands(traffic.step(), "me")
        none = np.empty(0, dtype=np.intp)
        commands.speed(none, np.empty(0))
        commands.lane(none, np.empty(0, dtype=np.int32), 0.1)
        commands.modes(none, 0, 0)
        commands.release(none)
        commands.remove(none)
        commands.colour(none, np.empty((0, 4), dtype=np.uint8))
        assert len(commands) == 0
        assert commands.orders == []


def test_an_order_names_its_vehicles_and_who_gave_it() -> None:
    with running("libsumo", vehicles=[group("one", 1), group("two", 2)]) as traffic:
        traffic.step()
        commands = Commands(traffic.state, "driving")
        commands.speed(rows_of(traffic, TWO), np.array([1.0]))
        commands.source = "somebody"
        commands.remove(rows_of(traffic, ONE))
        assert commands.orders == [
            ("speed", [TWO], ([1.0],), "driving"),
            ("remove", [ONE], (), "somebody"),
        ]


# -- what the driving task orders --


class Always:
    """An agent that chooses the same action for everybody."""

    def __init__(self, action: int) -> None:
        self.action = action

    def reset(self, info: EpisodeInfo) -> None:
        pass

    def act(self, observations: Observations) -> Actions:
        return Actions(np.full(observations.active, self.action))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_cavs_drive_unchecked_in_the_zone_clipped_by_the_task_and_are_sumos_again_behind_it(
    backend: str,
) -> None:
    """Speed mode 0 ignores every limit, so that the task itself must not order more than 20 m/s or less than 0."""
    settings = ["warmup=0", "duration=40", "traffic.inflow.cav_share=1", "traffic.inflow.rate=150 veh/h"]
    assembly = assemble(load_scenario("highway_350vph", settings), backend=backend)
    agent = Always(5)  # keep the lane, accelerate
    top, modes_behind, modes_inside = 0.0, set(), set()
    try:
        traffic = assembly.traffic
        loop = assembly.engine.decisions()
        question = next(loop)
        try:
            while True:
                state = traffic.state
                inside = state.edge == state.edges.index("highway_0")
                top = max(top, float(state.speed[inside].max(initial=0.0)))
                assert (state.speed >= 0).all()
                api = traffic.api.vehicle
                modes_inside |= {api.getSpeedMode(i) for i, z in zip(state.ids, inside, strict=True) if z}
                for i, z in zip(state.ids, inside, strict=True):
                    if not z and state.edges[state.edge[state.row(i)]].startswith("end"):
                        modes_behind.add(api.getSpeedMode(i))
                question = loop.send(agent.act(question.observations))
        except StopIteration:
            pass
    finally:
        assembly.close()
    assert top == 20.0
    assert modes_inside == {0}
    assert modes_behind == {31}


def test_braking_for_ever_stands_still_and_never_goes_backwards() -> None:
    settings = ["warmup=0", "duration=25", "traffic.inflow.cav_share=1"]
    assembly = assemble(load_scenario("highway_150vph", settings))
    agent = Always(3)  # keep the lane, brake
    speeds = []
    try:
        loop = assembly.engine.decisions()
        question = next(loop)
        try:
            while True:
                speeds += assembly.traffic.state.speed.tolist()
                question = loop.send(agent.act(question.observations))
        except StopIteration:
            pass
    finally:
        assembly.close()
    assert min(speeds) == 0.0
    assert 10.0 in speeds
