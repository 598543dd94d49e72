"""Who serves whom: the A3 event, ping-pong, interruption, and the other policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from network_worlds import Road, build, net, v2i

from cosim.network.association import Association
from cosim.network.config import AssociationConfig

TICK = 100_000
ONE = np.zeros(1, np.int64)


def association(**config: Any) -> Association:
    known = Association(AssociationConfig.model_validate(config))
    known.reserve(4, 3)
    return known


def step(known: Association, t_us: int, rx: list[float], distance: list[float] | None = None) -> Any:
    far = np.array([distance or [0.0] * len(rx)])
    return known.step(t_us, ONE, np.arange(len(rx)), np.array([rx]), far)


def test_a3_waits_for_margin_and_time() -> None:
    """Serving -80 dBm, neighbour -90 dBm and 2 dB more each tick: entry at 0.7 s, handover at 1.0 s."""
    known = association(policy="a3", hysteresis="3 dB", time_to_trigger="256 ms")
    step(known, -TICK, [-80.0, -120.0])
    entered, changed = [], []
    for k in range(12):
        decision = step(known, k * TICK, [-80.0, -90.0 + 2.0 * k])
        if known._since[0, 1] == k * TICK:
            entered.append(k)
        if decision.handover[0]:
            changed.append(k)
    assert entered == [7]
    assert changed == [10]


def test_a3_starts_again_when_the_margin_is_lost() -> None:
    known = association(policy="a3")
    step(known, 0, [-80.0, -120.0])
    found = [
        bool(step(known, k * TICK, [-80.0, -70.0 if k % 3 else -80.0]).handover[0]) for k in range(1, 12)
    ]
    assert not any(found)


def test_of_several_ready_neighbours_a3_takes_the_strongest() -> None:
    known = association(policy="a3", time_to_trigger="0 ms")
    step(known, 0, [-80.0, -120.0, -120.0])
    assert step(known, TICK, [-80.0, -70.0, -60.0]).serving[0] == 2


def test_a_quick_return_is_a_ping_pong() -> None:
    known = association(policy="strongest")
    flags = []
    for t_us, best in ((0, 0), (500_000, 1), (1_400_000, 0), (2_500_000, 1)):
        flags.append(bool(step(known, t_us, [0.0 if i == best else -50.0 for i in range(2)]).ping_pong[0]))
    assert flags == [False, False, True, False]


def test_a_handover_interrupts() -> None:
    known = association(policy="strongest", interruption="150 ms")
    assert step(known, 0, [-50.0, -60.0]).silent_until_us[0] < 0
    decision = step(known, TICK, [-60.0, -50.0])
    assert decision.handover[0]
    assert decision.former[0] == 0
    assert decision.silent_until_us[0] == TICK + 150_000


def test_the_nearest_is_not_the_strongest() -> None:
    rx, distance = [-80.0, -60.0], [10.0, 20.0]
    assert step(association(policy="nearest"), 0, rx, distance).serving[0] == 0
    assert step(association(policy="max_rx"), 0, rx, distance).serving[0] == 1


def test_out_of_reach_there_is_no_service() -> None:
    for policy in ("strongest", "nearest", "a3", "agent"):
        known = association(policy=policy)
        assert step(known, 0, [-np.inf, -np.inf]).serving[0] == -1
        assert step(known, TICK, [-np.inf, -90.0]).serving[0] == 1
        lost = step(known, 2 * TICK, [-np.inf, -np.inf])
        assert lost.serving[0] == -1
        assert not lost.handover[0]


def test_agents_are_obeyed_where_possible() -> None:
    known = association(policy="agent")
    assert step(known, 0, [-80.0, -60.0]).serving[0] == 1
    known.order(ONE, np.array([0]))
    assert step(known, TICK, [-80.0, -60.0]).serving[0] == 0
    known.order(ONE, np.array([1]))
    assert step(known, 2 * TICK, [-80.0, -np.inf]).serving[0] == 0


def test_handovers_are_events_and_silence_the_link() -> None:
    section = v2i(association={"policy": "strongest", "interruption": "50 ms"})
    network, road = build(section, net({"rsu_0": (0.0, 0.0), "rsu_1": (100.0, 0.0)})), Road()
    network.step(road.at(0, {"a": (10.0, 0.0)}))
    state = network.step(road.at(TICK, {"a": (90.0, 0.0)}))
    assert state.handover[0]
    assert state.interrupted[0]
    assert not state.rate_up.any()
    (event,) = network.events().handovers
    assert (event.t_us, event.vehicle, event.source, event.target) == (TICK, "a", "rsu_0", "rsu_1")
    state = network.step(road.at(2 * TICK, {"a": (90.0, 0.0)}))
    assert not state.interrupted[0]
    assert state.of_serving(state.rate_up)[0] > 0
    assert not network.events().handovers


def test_an_agent_associates_through_the_network() -> None:
    network = build(v2i(association={"policy": "agent"}), net({"rsu_0": (0.0, 0.0), "rsu_1": (100.0, 0.0)}))
    road = Road()
    state = network.step(road.at(0, {"a": (10.0, 0.0)}))
    assert state.stations[state.serving[0]] == "rsu_0"
    network.associate(np.array([0]), np.array([state.stations.index("rsu_1")]))
    state = network.step(road.at(TICK, {"a": (10.0, 0.0)}))
    assert state.stations[state.serving[0]] == "rsu_1"


@pytest.mark.parametrize("policy", ["a3", "strongest", "nearest"])
def test_a_new_vehicle_in_an_old_slot_has_no_past(policy: str) -> None:
    network = build(v2i(association={"policy": policy}), net({"rsu_0": (0.0, 0.0), "rsu_1": (900.0, 0.0)}))
    road = Road()
    network.step(road.at(0, {"a": (10.0, 0.0)}))
    state = network.step(road.at(TICK, {"b": (890.0, 0.0)}))
    assert state.stations[state.serving[0]] == "rsu_1"
    assert not state.handover[0]
