"""Metrics of a run and the coverage map."""

from __future__ import annotations

import numpy as np
import pytest
from network_worlds import Road, build, net, somewhere, v2i

from cosim.errors import ScenarioError
from cosim.network.config import NetworkConfig
from cosim.network.coverage import coverage_map
from cosim.network.metrics import Histogram, NetworkMetrics

TICK = 100_000


def test_percentiles_of_a_histogram_are_those_of_its_samples() -> None:
    samples = np.random.default_rng(0).normal(10.0, 5.0, 20_000)
    histogram = Histogram(-100.0, 0.05, 6000)
    for part in np.split(samples, 10):
        histogram.add(part)
    for q in (5.0, 50.0, 95.0):
        assert histogram.percentile(q) == pytest.approx(np.percentile(samples, q), abs=0.06)
    assert Histogram(0.0, 1.0, 10).percentile(5.0) is None


def test_a_run_is_summed_up() -> None:
    section = v2i(association={"policy": "strongest"})
    section["radios"]["rsu"]["range"] = "200 m"
    network = build(section, net({"rsu_0": (100.0, 0.0), "rsu_1": (900.0, 0.0)}))
    metrics, road = NetworkMetrics(TICK), Road()
    up, down, out, sinr = [], [], [], []
    for k in range(60):
        state = network.step(road.at(k * TICK, {"a": (15.0 * k, 10.0), "b": (100.0, 5.0)}))
        metrics.add(state, network.events())
        up += list(state.of_serving(state.rate_up))
        down += list(state.of_serving(state.rate_down))
        out += list(state.serving < 0)
        sinr += list(10 * np.log10(state.of_serving(state.sinr)[state.serving >= 0]))
    values = metrics.values()
    assert values["mean_rate_up"] == pytest.approx(np.mean(up), rel=1e-9)
    assert values["mean_rate_down"] == pytest.approx(np.mean(down), rel=1e-9)
    assert values["p5_rate_up"] == 0.0
    assert values["outage"] == pytest.approx(np.mean(out))
    assert values["sinr_db_p50"] == pytest.approx(np.percentile(sinr, 50), abs=0.1)
    assert values["handovers"] == 0.0
    assert values["queue_delay"] is None
    assert values["d2d_mean_rate"] is None


def test_the_low_percentile_of_rates_counts_zeroes() -> None:
    network, road, metrics = build(v2i(), net({"rsu_0": (500.0, 500.0)})), Road(), NetworkMetrics(TICK)
    rates = []
    for k in range(30):
        state = network.step(road.at(k * TICK, somewhere(40, k)))
        metrics.add(state, network.events())
        rates += list(state.of_serving(state.rate_down))
    assert metrics.values()["p5_rate_down"] == pytest.approx(np.percentile(rates, 5), rel=0.01)


def test_jobs_and_handovers_are_counted() -> None:
    section = v2i(
        association={"policy": "strongest"},
        wired=[{"ends": ["rsu_*", "rsu_*"], "rate": "1 Gbit/s"}],
        servers=[{"at": "rsu_*", "cpu": "1 GHz"}],
        jobs=[
            {
                "from": "obu",
                "every": "1 s",
                "up": "1 kB",
                "work": "0.2 Gcycle",
                "down": "1 kB",
                "deadline": "0.3 s",
            }
        ],
    )
    network = build(section, net({"rsu_0": (0.0, 0.0), "rsu_1": (400.0, 0.0)}))
    metrics, road = NetworkMetrics(TICK), Road()
    for k in range(100):
        metrics.add(
            network.step(road.at(k * TICK, {"a": (50.0 + 300.0 * (k // 7 % 2), 0.0)})), network.events()
        )
    values = metrics.values()
    assert values["handovers"] == 14
    assert values["ping_pongs"] == 13
    assert values["handovers_per_vehicle_hour"] == pytest.approx(14 * 360)
    assert values["jobs_done"] == pytest.approx(10, abs=6)
    assert values["queue_delay"] is not None
    assert values["job_latency"] is not None
    assert values["job_latency"] >= 0.2 + values["queue_delay"]
    assert values["deadlines_missed"] is not None


def test_the_coverage_map_is_what_a_vehicle_would_measure() -> None:
    channel = {"pathloss": "tr38901_umi", "los": "buildings", "shadowing": "field", "fading": "rayleigh"}
    section = v2i(channel)
    section["radios"]["rsu"].update(range="400 m", height="10 m")
    section["links"][0]["reuse"] = "full"
    world = net(
        {"rsu_0": (0.0, 0.0), "rsu_1": (300.0, 0.0)},
        [[[140, 20], [160, 20], [160, 60], [140, 60]]],
        (0, 0, 300, 100),
    )
    found = coverage_map(NetworkConfig.model_validate(section), world, 1, spacing=25.0)
    assert found.sinr_db.shape == (len(found.y), len(found.x))
    section["channels"]["v2i"]["fading"] = "none"
    network = build(section, world)
    points = {
        f"p{i}": (float(x), float(y)) for i, (x, y) in enumerate((x, y) for y in found.y for x in found.x)
    }
    state = network.step(Road().at(0, points))
    at = [int(i[1:]) for i in state.ids]
    assert np.array_equal(found.serving.ravel()[at], state.serving)
    there = state.serving >= 0
    expected = 10 * np.log10(state.of_serving(state.sinr)[there])
    np.testing.assert_allclose(found.sinr_db.ravel()[at][there], expected, rtol=1e-9)
    assert np.isnan(found.sinr_db.ravel()[at][~there]).all()


def test_a_coverage_map_needs_stations_and_a_spacing() -> None:
    section = v2i()
    with pytest.raises(ScenarioError, match="spacing"):
        coverage_map(NetworkConfig.model_validate(section), net({"rsu_0": (0.0, 0.0)}), 1, spacing=0.0)
    section["links"] = []
    with pytest.raises(ScenarioError, match="links from vehicles to stations"):
        coverage_map(NetworkConfig.model_validate(section), net({"rsu_0": (0.0, 0.0)}), 1)
