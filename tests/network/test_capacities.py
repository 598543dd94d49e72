"""Capacities set from outside, work that is nobody's, orders to migrate one after the other, and who is told."""

from __future__ import annotations

import numpy as np
import pytest
from network_worlds import Road, build, net, v2i

from cosim.errors import ScenarioError
from cosim.network import Job, JobDone, JobDropped, Network

S = 1_000_000
PLACES = {"rsu_0": (0.0, 0.0), "rsu_1": (500.0, 0.0)}


def world() -> tuple[Network, Road]:
    """Two RSUs with servers of 10 GHz and a cloud of 20 GHz, wired at 100 Mbit/s; one vehicle at the first RSU."""
    wired = [
        {"ends": ["rsu_0", "rsu_1"], "rate": "100 Mbit/s"},
        {"ends": ["rsu_*", "cloud"], "topology": "star", "rate": "100 Mbit/s"},
    ]
    servers = [{"at": "rsu_*", "cpu": "10 GHz"}, {"at": "cloud", "cpu": "20 GHz"}]
    network, road = build(v2i(wired=wired, servers=servers), net(PLACES)), Road()
    network.step(road.at(0, {"a": (10.0, 0.0)}))
    return network, road


def run(network: Network, road: Road, until_s: int) -> None:
    for k in range(1, until_s + 1):
        network.step(road.at(k * S, {"a": (10.0, 0.0)}))


def test_a_servers_speed_can_change_under_way() -> None:
    network, road = world()
    network.submit(Job("j", "a", 0, 40_000_000_000), "rsu_0")
    run(network, road, 1)
    network.set_server("rsu_0", 30e9)
    run(network, road, 3)
    assert [d.t_us for d in network.events().done] == [2 * S]


def test_a_server_may_be_given_room() -> None:
    network, _ = world()
    network.set_server("rsu_0", 10e9, backlog_max=5e9)
    assert network.submit(Job("j", "a", 0, 8_000_000_000), "rsu_0").returned == 3_000_000_000
    network.set_server("rsu_0", 10e9)
    assert network.submit(Job("k", "a", 0, 8_000_000_000), "rsu_0").returned == 0


def test_each_direction_of_a_wire_has_a_rate_of_its_own() -> None:
    network, road = world()
    network.set_wire("rsu_0", "rsu_1", 50e6)
    network.submit(Job("j", "a", 0, 1_000_000, 0), "rsu_0")
    network.migrate("j", "rsu_0", "rsu_1", state_bits=100_000_000)
    run(network, road, 3)
    (done,) = network.events().done
    assert done.t_us == 2 * S + 100
    with pytest.raises(ScenarioError, match="no wired link leads from 'rsu_0' to 'rsu_9'"):
        network.set_wire("rsu_0", "rsu_9", 1.0)


def test_the_band_of_a_station_scales_its_rates() -> None:
    network, road = world()
    assert network.state is not None
    noise = {"power": "1e-13 W"}
    link = {"from": "obu", "to": "rsu", "channel": "v2i", "noise": noise, "share": "full"}
    network, road = build(v2i(links=[link]), net(PLACES)), Road()
    before = network.step(road.at(0, {"a": (10.0, 0.0)}))
    network.set_band(["rsu_1"], np.array([60e6]))
    after = network.step(road.at(100_000, {"a": (10.0, 0.0)}))
    scale = np.where(np.array(after.stations) == "rsu_1", 3.0, 1.0)
    assert after.rate_up[0] == pytest.approx(before.rate_up[0] * scale)
    assert after.rate_down[0] == pytest.approx(before.rate_down[0] * scale)
    with pytest.raises(ScenarioError, match="no station 'rsu_2'"):
        network.set_band(["rsu_2"], np.array([1.0]))


def test_work_that_is_nobodys_is_served_in_its_turn() -> None:
    network, road = world()
    network.preload("rsu_0", 20e9)
    network.submit(Job("j", "a", 0, 10_000_000_000), "rsu_0")
    assert network.loads(["rsu_1", "rsu_0"]).tolist() == [0.0, 30e9]
    run(network, road, 1)
    assert network.loads(["rsu_0"]).tolist() == [20e9]
    run_on = [d.t_us for d in (_after(network, road, 4)).done]
    assert run_on == [3 * S]
    assert network.loads(["rsu_0"]).tolist() == [0.0]


def _after(network: Network, road: Road, until_s: int):
    for k in range(2, until_s + 1):
        network.step(road.at(k * S, {"a": (10.0, 0.0)}))
    return network.events()


def test_orders_given_early_are_executed_one_after_the_other() -> None:
    network, road = world()
    network.submit(Job("j", "a", 1_000, 40_000_000_000), "rsu_0")
    network.migrate("j", "rsu_0", "rsu_1", 0.5, bits_per_cycle=0.001)
    network.migrate("j", "rsu_0", "cloud", 0.25, state_bits=7)
    run(network, road, 5)
    moved = network.events().moved
    assert [(m.target, m.cycles, m.bits) for m in moved] == [("rsu_1", 20e9, 20_000_000), ("cloud", 5e9, 7)]


@pytest.mark.parametrize("stays", [True, False])
def test_the_result_of_what_is_done_stays_or_goes_along(stays: bool) -> None:
    network, road = world()
    told: list[JobDone | JobDropped] = []
    network.submit(Job("j", "a", 0, 20_000_000_000, bits_down=8_000_000), "rsu_0", told.append)
    run(network, road, 1)
    network.migrate("j", "rsu_0", "cloud", results_stay=stays)
    _after(network, road, 9)
    (done,) = told
    assert isinstance(done, JobDone)
    cloud = [p for p in done.parts if p.server == "cloud"]
    assert [(p.cycles, p.computed_us) for p in cloud] == [(10e9, S + S // 2)]
    assert [(p.cycles, p.computed_us) for p in done.parts if p.server == "rsu_0"] == [(10e9, S)] * stays
    wires = network.edge.wires.links
    bits = wires["cloud", "rsu_0"].queue.completed // S
    assert bits == (4_000_000 if stays else 8_000_000)


def test_who_submits_is_told_of_a_drop() -> None:
    network, road = world()
    told: list[JobDone | JobDropped] = []
    network.submit(Job("j", "a", 0, 20_000_000_000), "rsu_0", told.append)
    network.step(road.at(S, {}))
    assert [(t.reason, t.t_us) for t in told if isinstance(t, JobDropped)] == [("left", S)]
