"""Jobs over radio, wires and processors: closed-form times, migration, overflow, and who leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_worlds import Road, build, net, somewhere, v2i

from cosim.errors import ScenarioError
from cosim.network.config import ServerConfig, WiredConfig
from cosim.network.edge import Edge
from cosim.network.jobs import Job
from cosim.network.network import Network
from cosim.network.wired import Wires

S = 1_000_000
NODES = ["rsu_0", "rsu_1", "cloud"]


def edge(cpu: str = "2 GHz", cloud: str = "10 GHz", **server: Any) -> Edge:
    """Two RSUs with a server each, wired at 100 Mbit/s + 1 ms; the cloud behind 50 Mbit/s + 20 ms."""
    wired = [
        {"ends": ["rsu_0", "rsu_1"], "rate": "100 Mbit/s", "delay": "1 ms"},
        {"ends": ["rsu_*", "cloud"], "topology": "star", "rate": "50 Mbit/s", "delay": "20 ms"},
    ]
    servers = [{"at": "rsu_*", "cpu": cpu, **server}, {"at": "cloud", "cpu": cloud}]
    wires = Wires([WiredConfig.model_validate(w) for w in wired], NODES, 1)
    made = Edge([ServerConfig.model_validate(s) for s in servers], NODES, wires, 1)
    for vehicle in ("a", "b"):
        made.open_bearer(vehicle)
        made.set_bearer(vehicle, "rsu_0", 10_000_000, 20_000_000, 0, 0)
    return made


def done(made: Edge, until: int = 100 * S) -> dict[str, int]:
    made.advance(until)
    return {d.job: d.t_us for d in made.events.done}


def test_a_job_takes_the_sum_of_its_stages() -> None:
    made = edge()
    made.submit(Job("j", "a", bits_up=1_000_000, cycles=1_000_000_000, bits_down=2_000_000), "rsu_0")
    assert done(made) == {"j": 100_000 + 500_000 + 100_000}
    (job,) = made.events.done
    assert (job.uploaded_us, job.computed_us, job.waited_us, job.servers) == (100_000, 600_000, 0, ("rsu_0",))


def test_a_far_server_adds_wires_there_and_back() -> None:
    made = edge()
    made.submit(Job("j", "a", 1_000_000, 1_000_000_000, 2_000_000), "rsu_1")
    there, back = 10_000 + 1_000, 20_000 + 1_000
    assert done(made) == {"j": 100_000 + there + 500_000 + back + 100_000}


def test_serving_names_the_server_where_the_data_came_up() -> None:
    made = edge()
    made.submit(Job("j", "a", 1_000_000, 2_000_000, 0), "serving")
    assert done(made) == {"j": 101_000}
    assert made.events.done[0].servers == ("rsu_0",)


def test_jobs_queue_on_each_other() -> None:
    made = edge()
    for vehicle in ("b", "a"):
        made.submit(Job(f"of_{vehicle}", vehicle, 1_000_000, 1_000_000_000, 0), "rsu_0")
    found = done(made)
    assert sorted(found.values()) == [600_000, 1_100_000]
    waited = {d.job: d.waited_us for d in made.events.done}
    assert sorted(waited.values()) == [0, 500_000]


def test_deadlines_are_judged() -> None:
    made = edge()
    made.submit(Job("early", "a", 1_000, 1_000, 0, deadline_us=S), "rsu_0")
    made.submit(Job("late", "b", 1_000, 5_000_000_000, 0, deadline_us=S), "rsu_0")
    done(made)
    assert {d.job: d.met for d in made.events.done} == {"early": True, "late": False}


def test_what_exceeds_backlog_max_comes_back() -> None:
    made = edge(backlog_max="3 Gcycle")
    first = made.submit(Job("one", "a", 1_000, 2_000_000_000), "rsu_0")
    assert (first.accepted, first.returned) == (2_000_000_000, 0)
    second = made.submit(Job("two", "a", 1_000, 2_000_000_000), "rsu_0")
    assert (second.accepted, second.returned) == (1_000_000_000, 1_000_000_000)
    third = made.submit(Job("three", "a", 1_000, 5), "rsu_0")
    assert (third.accepted, third.returned) == (0, 5)
    assert set(done(made)) == {"one", "two"}
    assert made.submit(Job("four", "a", 1_000, 5), "rsu_0").accepted == 5


def test_overflow_goes_on_to_the_cloud() -> None:
    made = edge(backlog_max="1 Gcycle", overflow="cloud")
    taken = made.submit(Job("j", "a", 4_000_000, 4_000_000_000, 4_000_000), "rsu_0")
    assert taken.returned == 0
    # 0.4 s up; a quarter stays: 0.5 s; three quarters: 60 + 20 ms there, 0.3 s, 60 + 20 ms back.
    # Both results share the downlink of 20 Mbit/s, 50 and 150 ms.
    assert done(made) == {"j": 400_000 + 80_000 + 300_000 + 80_000 + 150_000 + 50_000}
    assert set(made.events.done[0].servers) == {"rsu_0", "cloud"}


def test_a_job_that_finds_its_server_full_is_dropped() -> None:
    made = edge(backlog_max="1 Gcycle")
    made.submit(Job("j", "a", 1_000, 2_000_000_000), "serving")
    assert not done(made)
    assert [(d.job, d.reason) for d in made.events.dropped] == [("j", "full")]


def test_migration_moves_exactly_what_it_removes() -> None:
    made = edge()
    made.submit(Job("j", "a", 1_000_000, 3_000_000_000, 0), "rsu_0")
    made.advance(600_000)
    moved = made.migrate("j", "rsu_0", "rsu_1", 0.25, state_bits=8_000_000)
    assert moved == 500_000_000 * S
    source, target = made.servers["rsu_0"].queue, made.servers["rsu_1"].queue
    assert (source.removed, target.arrived) == (moved, 0)
    # 1.5 of the 2 Gcycle that were left stay: until 1.35 s; the state arrives at 0.681 s and needs 0.25 s.
    assert done(made) == {"j": 1_350_000}
    assert target.arrived == target.completed == moved
    assert source.completed == 2_500_000_000 * S


def test_migrating_all_empties_the_source() -> None:
    made = edge()
    made.submit(Job("j", "a", 1_000_000, 3_000_000_000, 1_000), "rsu_0")
    made.advance(600_000)
    made.migrate("j", "rsu_0", "rsu_1")
    assert not len(made.servers["rsu_0"].queue)
    assert done(made) == {"j": 601_000 + 1_000_000 + 10 + 1_000 + 50}


def test_migration_ordered_early_is_done_on_arrival() -> None:
    made = edge()
    made.submit(Job("j", "a", 1_000_000, 2_000_000_000, 0), "rsu_0")
    assert made.migrate("j", "rsu_0", "rsu_1", 0.5) == 0
    assert done(made) == {"j": 100_000 + 1_000 + 500_000 + 1_000}
    assert [m.cycles for m in made.events.moved] == [1e9]


def test_a_vehicle_that_leaves_takes_its_jobs_along() -> None:
    made = edge()
    made.submit(Job("mine", "a", 1_000, 9_000_000_000), "rsu_0")
    made.submit(Job("other", "b", 1_000, 2_000_000_000), "rsu_0")
    made.advance(S)
    made.leave("a")
    found = done(made)
    assert set(found) == {"other"}
    assert found["other"] <= 2 * S + 200
    assert [(d.job, d.reason) for d in made.events.dropped] == [("mine", "left")]


def test_a_bearer_without_service_waits() -> None:
    made = edge()
    made.set_bearer("a", None, 0, 0, 0, 0)
    made.submit(Job("j", "a", 1_000_000, 0, 0), "rsu_0")
    made.advance(5 * S)
    assert not made.events.done
    made.set_bearer("a", "rsu_1", 10_000_000, 10_000_000, 5 * S, 5 * S + 50_000)
    assert done(made) == {"j": 5 * S + 50_000 + 100_000 + 11_000 + 1_000}


def test_unknown_servers_and_jobs_are_named() -> None:
    made = edge()
    with pytest.raises(ScenarioError, match="did you mean 'cloud'"):
        made.submit(Job("j", "a", 0, 0), "clout")
    with pytest.raises(ValueError, match="no job"):
        made.migrate("nothing", "rsu_0", "rsu_1")
    made.submit(Job("j", "a", 1_000_000, 10), "rsu_0")
    with pytest.raises(ValueError, match="already"):
        made.submit(Job("j", "a", 0, 0), "rsu_0")
    with pytest.raises(ValueError, match="share"):
        made.migrate("j", "rsu_0", "rsu_1", 1.5)
    with pytest.raises(ValueError, match="whole"):
        Job("k", "a", 1.5, 0)  # type: ignore[arg-type]


def test_ways_have_the_fewest_links() -> None:
    nodes = [f"rsu_{i}" for i in range(4)] + ["cloud"]
    chain = WiredConfig.model_validate({"ends": ["rsu_*", "rsu_*"], "topology": "chain", "rate": "1 Gbit/s"})
    star = WiredConfig.model_validate(
        {"ends": ["rsu_0", "cloud"], "rate": {"uniform": ["1 Gbit/s", "2 Gbit/s"]}}
    )
    wires = Wires([chain, star], nodes, 1)
    assert [w.end for w in wires.way("rsu_3", "cloud") or []] == ["rsu_2", "rsu_1", "rsu_0", "cloud"]
    assert wires.way("cloud", "cloud") == []
    assert wires.links["rsu_0", "cloud"].queue.rate == wires.links["cloud", "rsu_0"].queue.rate
    lonely = Wires([star], nodes, 1)
    assert lonely.way("rsu_2", "cloud") is None


jobs = st.lists(
    st.tuples(
        st.integers(0, 3 * S),
        st.sampled_from(["a", "b"]),
        st.integers(0, 3_000_000),
        st.integers(0, 3_000_000_000),
        st.sampled_from(["rsu_0", "rsu_1", "cloud"]),
        st.one_of(
            st.none(), st.tuples(st.integers(0, S), st.sampled_from(["rsu_1", "cloud"]), st.floats(0, 1))
        ),
    ),
    min_size=1,
    max_size=12,
)


def played(script: Any, every: int | None) -> tuple[list[Any], Edge]:
    made = edge()
    orders: list[tuple[int, int, Any]] = []
    for n, (at, vehicle, bits, cycles, server, move) in enumerate(script):
        orders.append(
            (
                at,
                n,
                lambda v=vehicle, b=bits, c=cycles, s=server, n=n: made.submit(
                    Job(f"j{n}", v, b, c, b // 3), s
                ),
            )
        )
        if move is not None:
            orders.append(
                (
                    at + move[0],
                    100 + n,
                    lambda m=move, s=server, n=n: (
                        f"j{n}" in made._flows and made.migrate(f"j{n}", s, m[1], m[2], 1000)
                    ),
                )
            )
    now = 0
    for at, _, order in sorted(orders, key=lambda o: o[:2]):
        while every is not None and now + every < at:
            now += every
            made.advance(now)
        now = at
        made.advance(at)
        order()
    while every is not None and now < 40 * S:
        now += every
        made.advance(now)
    made.advance(200 * S)
    return [(d.job, d.t_us, d.uploaded_us, d.computed_us, d.waited_us) for d in made.events.done], made


@settings(max_examples=40, deadline=None)
@given(script=jobs, every=st.sampled_from([50_000, 100_000, 333_333, 1_000_000]))
def test_results_do_not_depend_on_how_often_the_edge_is_advanced(script: Any, every: int) -> None:
    assert played(script, None)[0] == played(script, every)[0]


@settings(max_examples=40, deadline=None)
@given(script=jobs)
def test_work_is_conserved_over_migrations(script: Any) -> None:
    found, made = played(script, None)
    assert len(found) == len(script)
    asked = sum(cycles for _, _, _, cycles, _, _ in script) * S
    queues = [s.queue for s in made.servers.values()]
    assert sum(q.completed for q in queues) == asked
    assert sum(q.removed for q in queues) == sum(round(m.cycles * S) for m in made.events.moved)
    assert all(s.coming == 0 and not s.queue.backlog for s in made.servers.values())


# --- through the network -----------------------------------------------------------------------------------


def offloading(**jobs: Any) -> dict[str, Any]:
    stream = {"from": "obu", "every": "1 s", "up": "100 kB", "work": "0.1 Gcycle", "down": "10 kB", **jobs}
    return v2i(
        wired=[{"ends": ["rsu_*", "rsu_*"], "rate": "100 Mbit/s", "delay": "1 ms"}],
        servers=[{"at": "rsu_*", "cpu": "10 GHz"}],
        jobs=[stream],
    )


def test_a_stream_offloads_at_its_rate() -> None:
    network, road = build(offloading(), net({"rsu_0": (0.0, 0.0), "rsu_1": (300.0, 0.0)})), Road()
    vehicles = somewhere(30, 1, 300.0)
    for k in range(201):
        network.step(road.at(k * 100_000, vehicles))
    events = network.events()
    assert len(events.done) == pytest.approx(30 * 20, rel=0.1)
    assert len({d.job for d in events.done}) == len(events.done)
    assert all(d.t_us >= d.computed_us >= d.uploaded_us >= d.submitted_us for d in events.done)


def test_a_periodic_stream_keeps_its_period() -> None:
    section = offloading(arrivals="periodic", every="0.25 s")
    network, road = build(section, net({"rsu_0": (0.0, 0.0)})), Road()
    for k in range(101):
        network.step(road.at(k * 100_000, {"a": (10.0, 0.0)}))
    started = np.array(sorted(d.submitted_us for d in network.events().done))
    assert set(np.diff(started)) == {250_000}


def test_another_vehicle_changes_no_vehicles_jobs() -> None:
    found = []
    for n in (10, 14):
        network, road = build(offloading(), net({"rsu_0": (0.0, 0.0)})), Road()
        for k in range(60):
            network.step(road.at(k * 100_000, somewhere(n, 1, 200.0)))
        events = network.events()
        found.append(
            {
                d.job: d.submitted_us
                for d in events.done
                if d.origin in somewhere(10) and d.submitted_us < 3 * S
            }
        )
    assert found[0] == found[1]
    assert len(found[0]) > 10


def test_jobs_can_be_submitted_and_moved_through_the_network() -> None:
    section = offloading()
    del section["jobs"]
    network, road = build(section, net({"rsu_0": (0.0, 0.0), "rsu_1": (300.0, 0.0)})), Road()
    state = network.step(road.at(0, {"a": (10.0, 0.0)}))
    rate = round(float(state.of_serving(state.rate_up)[0]))
    network.submit(Job("j", "a", 1_000_000, 20_000_000_000), "rsu_0")
    with pytest.raises(ValueError, match="not on the road"):
        network.submit(Job("k", "ghost", 1, 1), "rsu_0")
    network.step(road.at(S, {"a": (10.0, 0.0)}))
    uploaded = -(-1_000_000 * S // rate)
    moved = network.migrate("j", "rsu_0", "rsu_1", 0.5)
    assert moved == pytest.approx((20e9 - 10e9 * (1 - uploaded * 1e-6)) / 2)
    assert network.state is not None
    for k in range(11, 40):
        network.step(road.at(k * 100_000, {"a": (10.0, 0.0)}))
    events = network.events()
    assert [d.job for d in events.done] == ["j"]
    assert events.done[0].servers == ("rsu_0", "rsu_1")
    assert [m.cycles for m in events.moved] == [moved]


def test_a_vehicle_that_left_is_dropped_with_its_jobs() -> None:
    section = offloading()
    del section["jobs"]
    network, road = build(section, net({"rsu_0": (0.0, 0.0)})), Road()
    network.step(road.at(0, {"a": (10.0, 0.0), "b": (20.0, 0.0)}))
    network.submit(Job("j", "a", 10**12, 1), "rsu_0")
    network.step(road.at(100_000, {"b": (20.0, 0.0)}))
    assert [(d.job, d.reason) for d in network.events().dropped] == [("j", "left")]


def test_servers_report_their_backlog() -> None:
    section = offloading()
    del section["jobs"]
    network: Network = build(section, net({"rsu_0": (0.0, 0.0)}))
    road = Road()
    network.step(road.at(0, {"a": (10.0, 0.0)}))
    network.submit(Job("j", "a", 0, 30_000_000_000), "rsu_0")
    state = network.step(road.at(S, {"a": (10.0, 0.0)}))
    assert state.servers.names == ("rsu_0",)
    assert state.servers.backlog[0] == pytest.approx(20e9)
    assert state.servers.jobs[0] == 1
