"""Demand drawn by key: what a policy or a CAV share may not change, and the statistics of what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cosim.assembly import plan
from cosim.errors import ScenarioError
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved
from cosim.traffic.demand import NEVER, Demand, Departure
from cosim.traffic.nets import find_net

HIGHWAY = find_net("highway_trifurcation")
SHARES = {"left": 0.25, "straight": 0.5, "right": 0.25}


def scenario(traffic: dict[str, Any], **more: Any) -> Scenario:
    return scenario_from_resolved(
        {"name": "demand", "duration": 10, "traffic": {"net": "highway_trifurcation", **traffic}, **more}
    )


def inflow(**changes: Any) -> dict[str, Any]:
    return {"rate": "350 veh/h", "routes": SHARES, "cav_share": 0.5, **changes}


PEDESTRIANS_FIRST = """<net version="1.20">
  <location netOffset="0,0" convBoundary="0,0,100,0" origBoundary="0,0,100,0" projParameter="!"/>
  <edge id="street" from="a" to="b"><lane id="street_0" index="0" {first} speed="10" length="100" shape="0,0 100,0"/>
    <lane id="street_1" index="1" disallow="pedestrian" speed="10" length="100" shape="0,3 100,3"/>
    <lane id="street_2" index="2" speed="10" length="100" shape="0,6 100,6"/></edge>
  <junction id="a" type="dead_end" x="0" y="0" incLanes="" intLanes="" shape="0,0"/>
  <junction id="b" type="dead_end" x="100" y="0" incLanes="street_0" intLanes="" shape="100,0"/>
</net>
"""


def departures(traffic: dict[str, Any], seed: int = 0, until: float = 3600.0) -> list[Departure]:
    config = scenario(traffic).traffic
    return Demand(config, find_net(config.net), seed).until(int(until * 1e6))


def but_type(d: Departure) -> tuple[Any, ...]:
    return d.t_us, d.id, d.route, d.edge, d.lane, d.position, d.speed, d.speed_factor


@pytest.mark.parametrize("arrivals", ["poisson", "bernoulli"])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_another_cav_share_keeps_every_arrival_route_lane_and_speed_factor(
    arrivals: str, share: float
) -> None:
    half = departures({"inflow": inflow(arrivals=arrivals)})
    other = departures({"inflow": inflow(arrivals=arrivals, cav_share=share)})
    assert [but_type(d) for d in half] == [but_type(d) for d in other]
    assert {d.type for d in other} == ({"hdv", "cav"} if 0 < share < 1 else {"cav" if share else "hdv"})


def test_a_larger_cav_share_only_turns_some_hdvs_into_cavs() -> None:
    few = departures({"inflow": inflow(cav_share=0.25)})
    many = departures({"inflow": inflow(cav_share=0.75)})
    changed = {(a.type, b.type) for a, b in zip(few, many, strict=True) if a.type != b.type}
    assert changed == {("hdv", "cav")}


def test_a_second_inflow_changes_nothing_of_the_first() -> None:
    alone = departures({"inflow": inflow(name="a")})
    both = departures({"inflow": [inflow(name="a"), inflow(name="b", rate="100 veh/h", per="edge")]})
    assert [but_type(d) for d in both if d.id.startswith("a.")] == [but_type(d) for d in alone]
    assert sum(d.id.startswith("b.") for d in both) == pytest.approx(100, abs=40)
    assert [d.t_us for d in both] == sorted(d.t_us for d in both)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = (departures({"inflow": inflow()}, until=t) for t in (600, 3600))
    assert 100 < len(short) < len(long)
    assert long[: len(short)] == short


def test_seeds_differ_in_everything_that_is_drawn() -> None:
    a, b = (departures({"inflow": inflow()}, seed) for seed in (0, 1))
    shared = list(zip(a, b, strict=False))
    assert not any(x.t_us == y.t_us for x, y in shared)
    for field in ("type", "route", "lane"):
        same = np.mean([getattr(x, field) == getattr(y, field) for x, y in shared])
        assert 0.15 < same < 0.65
    assert not any(x.speed_factor == y.speed_factor for x, y in shared)


def test_poisson_gaps_are_exponential_with_the_rate_of_all_lanes() -> None:
    rate = 4 * 350 / 3600
    t = np.array([d.t_us for d in departures({"inflow": inflow()}, until=20 * 3600)]) / 1e6
    gaps = np.diff(t, prepend=0.0)
    n = len(gaps)
    expected = rate * 20 * 3600
    assert abs(n - expected) < 4 * np.sqrt(expected)
    # Kolmogorov-Smirnov against the exponential law; 1.95 / sqrt(n) has probability 1e-3.
    x = np.sort(gaps)
    cdf = 1 - np.exp(-rate * x)
    ranks = np.arange(n)
    assert max(np.abs(cdf - ranks / n).max(), np.abs(cdf - (ranks + 1) / n).max()) < 1.95 / np.sqrt(n)
    # Counts in disjoint minutes: variance equals mean.
    counts = np.histogram(t, bins=np.arange(0, 20 * 3600 + 1, 60))[0]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / len(counts)))
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 4 / np.sqrt(n)


def test_shares_of_routes_types_and_lanes_are_drawn_and_independent() -> None:
    found = departures({"inflow": inflow(cav_share=0.3)}, until=20 * 3600)
    n = len(found)

    def near(share: float, count: int, of: int) -> bool:
        return abs(count - share * of) < 4 * np.sqrt(of * share * (1 - share))

    for route, share in SHARES.items():
        assert near(share, sum(d.route == route for d in found), n)
    assert near(0.3, sum(d.type == "cav" for d in found), n)
    for lane in "0123":
        here = [d for d in found if d.lane == lane]
        assert near(0.25, len(here), n)
        assert near(0.3, sum(d.type == "cav" for d in here), len(here))
        assert near(0.5, sum(d.route == "straight" for d in here), len(here))
    left_cavs = sum(d.route == "left" and d.type == "cav" for d in found)
    assert near(0.25 * 0.3, left_cavs, n)


def test_speed_factors_are_normal_with_the_types_deviation_and_stay_in_sumos_bounds() -> None:
    found = np.array([d.speed_factor for d in departures({"inflow": inflow()}, until=20 * 3600)])
    n = len(found)
    assert abs(found.mean() - 1) < 4 * 0.1 / np.sqrt(n)
    assert found.std() == pytest.approx(0.1, rel=4 / np.sqrt(2 * n))
    wide = {"types": {"hdv": {"speed_dev": 2.0}}, "inflow": inflow(cav_share=0)}
    factors = [d.speed_factor for d in departures(wide)]
    assert min(factors) == 0.2
    assert max(factors) == 2.0
    flat = {"types": {"hdv": {"speed_dev": 0, "speed_factor": 1.1}}, "inflow": inflow(cav_share=0)}
    assert {d.speed_factor for d in departures(flat)} == {1.1}


def test_equal_arrivals_are_spaced_class_by_class_from_one_second_on() -> None:
    found = departures({"inflow": inflow(arrivals="equal", rate="360 veh/h", per="edge", cav_share=0.5)})
    for kind in ("hdv", "cav"):
        for route, share in SHARES.items():
            t = [d.t_us / 1e6 for d in found if (d.type, d.route) == (kind, route)]
            period = 1 / (0.1 * 0.5 * share)
            assert t == pytest.approx([1 + k * period for k in range(len(t))], abs=2e-6)
            assert len(t) == int(np.ceil((3600 - 1) / period))


def test_bernoulli_arrivals_fall_on_steps_at_most_one_each_at_the_rate() -> None:
    found = departures({"inflow": inflow(arrivals="bernoulli")}, until=20 * 3600)
    t = [d.t_us for d in found]
    assert all(us % 100_000 == 0 for us in t)
    assert len(set(t)) == len(t)
    p = 4 * 350 / 3600 * 0.1
    n = 20 * 36000
    assert abs(len(t) - n * p) < 4 * np.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("arrivals", ["poisson", "equal", "bernoulli"])
def test_begin_and_end_bound_the_arrivals(arrivals: str) -> None:
    found = departures({"inflow": inflow(arrivals=arrivals, begin="100 s", end="200 s")})
    t = [d.t_us / 1e6 for d in found]
    assert min(t) >= 100
    assert max(t) < 200
    assert 20 < len(t) < 60


def test_a_rate_of_nothing_brings_nobody() -> None:
    config = scenario({"inflow": inflow(rate=0)}).traffic
    demand = Demand(config, HIGHWAY, 0)
    assert demand.next_us == NEVER
    assert demand.until(10**15) == []


def test_ids_are_never_used_twice_and_count_up() -> None:
    found = departures(
        {
            "inflow": [inflow(name="a"), inflow(name="b")],
            "vehicles": {"name": "c", "route": "left", "count": 9},
        }
    )
    ids = [d.id for d in found]
    assert len(set(ids)) == len(ids)
    assert [i for i in ids if i.startswith("a.")][:3] == ["a.000000", "a.000001", "a.000002"]


def test_departures_are_handed_out_once_and_not_before_they_are_due() -> None:
    whole = departures({"inflow": inflow()})
    demand = Demand(scenario({"inflow": inflow()}).traffic, HIGHWAY, 0)
    pieces = []
    for t_us in range(0, 3_600_000_001, 100_000):
        assert demand.next_us > t_us - 100_000
        for d in demand.until(t_us):
            assert t_us - 100_000 < d.t_us <= t_us
            pieces.append(d)
    assert pieces == whole


def test_a_fixed_departure_lane_speed_and_position_are_passed_on() -> None:
    found = departures({"inflow": inflow(depart_lane=2, depart_speed="max", depart_pos="50 m")}, until=60)
    assert {(d.lane, d.speed, d.position) for d in found} == {("2", "max", "50.0")}


@pytest.mark.parametrize("first", ['allow="pedestrian"', 'disallow="passenger"', 'disallow="all"'])
def test_nobody_is_sent_onto_a_lane_that_is_closed_to_cars(first: str, tmp_path: Any) -> None:
    net = tmp_path / "walk.net.xml"
    net.write_text(PEDESTRIANS_FIRST.format(first=first))
    road = {"net": str(net), "routes": {"on": ["street"]}}
    flow = {"rate": "360 veh/h", "routes": {"on": 1}, "edge": "street"}
    found = departures({**road, "inflow": flow})
    assert {d.lane for d in found} == {"1", "2"}
    assert len(found) == pytest.approx(2 * 360, abs=4 * np.sqrt(720))
    with pytest.raises(ScenarioError, match=r"lane 0 of edge 'street' is closed .* open: 1, 2"):
        plan(scenario({**road, "inflow": flow | {"depart_lane": 0}}))


def test_nobody_enters_faster_than_they_may_drive() -> None:
    found = departures({"inflow": inflow(depart_speed=21, cav_share=0), "types": {"hdv": {"max_speed": 22}}})
    for d in found:
        assert float(d.speed) == pytest.approx(min(21.0, 23 * d.speed_factor))
    assert 0.05 < np.mean([float(d.speed) < 21 for d in found]) < 0.6
    slow = departures({"inflow": inflow(depart_speed=21, cav_share=0)})  # the type's largest speed is 20 m/s
    assert max(float(d.speed) for d in slow) == 20.0


# -- explicit vehicles --


def test_a_group_departs_at_its_listed_times_on_its_route() -> None:
    group = {"name": "bus", "route": "left", "count": 3, "depart": [5, "1 min", 7.25], "depart_lane": 3}
    found = departures({"vehicles": group})
    assert [(d.id, d.t_us, d.lane) for d in found] == [
        ("bus.000000", 5_000_000, "3"),
        ("bus.000002", 7_250_000, "3"),
        ("bus.000001", 60_000_000, "3"),
    ]
    assert {d.route for d in found} == {"group:bus"}


def test_a_groups_common_start_is_drawn_once_and_scatter_vehicle_by_vehicle() -> None:
    depart = {"group": {"uniform": [0, "150 s"]}, "each": {"normal": [0, "15 s"]}}
    common = []
    for seed in range(300):
        group = {"name": "g", "route": "left", "count": 40, "depart": depart}
        found = departures({"vehicles": group}, seed)
        assert len(found) == 40
        assert min(d.t_us for d in found) >= 0
        common.append(np.median([d.t_us for d in found]) / 1e6)
    assert np.std([d.t_us / 1e6 for d in found if d.t_us]) == pytest.approx(15, rel=0.5)
    assert np.mean(common) == pytest.approx(75, abs=4 * 150 / np.sqrt(12 * 300))
    assert min(common) < 20
    assert max(common) > 130


def test_more_vehicles_in_a_group_change_nothing_of_the_first_ones() -> None:
    depart = {"group": {"uniform": [0, 150]}, "each": {"uniform": [0, 15]}}
    few, many = (
        departures({"vehicles": {"name": "g", "route": "left", "count": n, "depart": depart}})
        for n in (5, 50)
    )
    kept = {d.id: but_type(d) for d in many}
    assert all(kept[d.id] == but_type(d) for d in few)


# -- messages --

BAD = {
    "edge: highway_1": "has no edge 'highway_1' (did you mean 'highway_0'?)",
    "edge: end_0": "traffic.inflow.routes.left: route 'left' begins at 'highway_0', not at 'end_0'",
    "depart_lane: 4": "traffic.inflow.depart_lane: edge 'highway_0' has lanes 0 to 3",
    "routes: {lfet: 1}": "traffic.inflow.routes.lfet: there is no route 'lfet' (did you mean 'left'?)",
    "arrivals: bernoulli\n    rate: 10 veh/s": "traffic.inflow.rate: ",
}


@pytest.mark.parametrize(("bad", "message"), BAD.items())
def test_what_does_not_fit_the_net_is_named_with_file_line_and_key(
    bad: str, message: str, tmp_path: Any
) -> None:
    from cosim.scenario import load_scenario

    file = tmp_path / "bad.yaml"
    key = bad.split(":")[0]
    rest = "\n".join(
        f"    {k}: {v}"
        for k, v in {"rate": "350 veh/h", "routes": "{left: 1}"}.items()
        if k != key and f"{k}:" not in bad
    )
    file.write_text(f"duration: 10 s\ntraffic:\n  net: highway_trifurcation\n  inflow:\n    {bad}\n{rest}\n")
    with pytest.raises(ScenarioError) as caught:
        plan(load_scenario(file))
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{file}:")
    line = int(text.removeprefix(f"{file}:").split(":")[0])
    wanted = text.split(": ")[1].rpartition(".")[2]
    assert f"{wanted}:" in file.read_text().splitlines()[line - 1]
    assert "\n" not in text


GROUP = {"name": "g", "route": "left"}


@pytest.mark.parametrize(
    ("traffic", "key", "message"),
    [
        ({"vehicles": GROUP | {"route": "lefty"}}, "traffic.vehicles.0.route", "did you mean 'left'?"),
        (
            {"vehicles": GROUP | {"route": ["highway_0", "end_9"]}},
            "traffic.vehicles.0.route",
            "has no edge 'end_9'",
        ),
        ({"vehicles": GROUP | {"depart_lane": 7}}, "traffic.vehicles.0.depart_lane", "has lanes 0 to 3"),
        (
            {"vehicles": GROUP | {"repeat": 2}},
            "traffic.vehicles.0.repeat",
            "'end_0' does not lead to 'highway_0'",
        ),
        (
            {"vehicles": GROUP | {"route": ["end_0", "highway_0"]}},
            "traffic.vehicles.0.route",
            "'end_0' does not lead to 'highway_0'",
        ),
        (
            {"routes": {"x": ["highway_0", "end_9"]}, "inflow": inflow(routes={"x": 1})},
            "traffic.routes.x",
            "has no edge 'end_9'",
        ),
        (
            {"routes": {"x": ["end_0", "end_1"]}, "inflow": inflow()},
            "traffic.routes.x",
            "'end_0' does not lead to 'end_1'",
        ),
        (
            {"inflow": [inflow(name="a"), inflow(name="b", depart_lane=9)]},
            "traffic.inflow.1.depart_lane",
            "has lanes 0 to 3",
        ),
    ],
)
def test_routes_and_lanes_that_cannot_be_driven_are_refused_before_sumo_starts(
    traffic: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan(scenario(traffic))
    assert message in str(caught.value)
    assert key.removesuffix(".0").replace(".0.", ".") in str(caught.value).replace(".0.", ".")


def test_avatar_vehicles_set_out_in_two_groups_that_are_drawn_apart() -> None:
    """7 and 3 vehicles; a start uniform in 0 to 150 s a group, and a normal deviation of 15 s each."""
    config = load_scenario("urban_avatar").traffic.model_copy(update={"inflow": ()})
    net = find_net("urban_rsu")
    starts: dict[str, list[float]] = {"eastbound": [], "westbound": []}
    inside: list[float] = []
    for seed in range(400):
        departures = Demand(config, net, seed).until(10**9)
        for name, count in (("eastbound", 7), ("westbound", 3)):
            times = np.array([d.t_us for d in departures if d.id.startswith(name)]) / 1e6
            assert len(times) == count
            starts[name].append(times.mean())
            if times.min() > 0:  # a departure before 0 is one at 0
                inside.append(times.var(ddof=1))
    for name, count in (("eastbound", 7), ("westbound", 3)):
        assert np.mean(starts[name]) == pytest.approx(75.0, abs=8.0)
        assert np.std(starts[name]) == pytest.approx((150.0**2 / 12 + 15.0**2 / count) ** 0.5, rel=0.08)
    assert np.mean(inside) == pytest.approx(225.0, rel=0.1)
    together = np.corrcoef(starts["eastbound"], starts["westbound"])[0, 1]
    assert abs(together) < 0.15  # the groups' starts are drawn apart
