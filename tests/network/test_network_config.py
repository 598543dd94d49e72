"""The network's section: examples that build, one line per mistake, and swapping models."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
from network_worlds import Road, build, net, somewhere, v2i

from cosim.errors import ScenarioError
from cosim.network.config import NetworkConfig
from cosim.network.models import PATHLOSS
from cosim.network.network import Network
from cosim.scenario import load_scenario

EXAMPLE = """
tick: 100 ms
channels:
  fs:  {pathloss: {model: free_space_gain, A: 4.11, frequency: 2 GHz, exponent: 2}}
  v2i: {pathloss: {model: tr38901_umi, frequency: 5.9 GHz, h_bs: 10, h_ut: 1.5},
        los: {model: buildings}, shadowing: {model: field}, fading: {model: rayleigh}}
  v2v: {pathloss: {model: tr37885, scene: highway, frequency: 5.9 GHz}, los: {model: prob}}
radios:
  rsu: {attach: {poi: "rsu_*"}, kind: rsu, tx_power: 30 dBm, bandwidth: 20 MHz, range: 500 m}
  bs:  {attach: {xy: [[0, 250]]}, kind: bs, tx_power: 46 dBm, rb: {count: 50, bandwidth: 180 kHz}}
  obu: {attach: {vtype: "cav*", fraction: 0.5}, kind: vehicle, tx_power: 23 dBm}
links:
  - {from: obu, to: rsu, channel: fs, share: equal, reuse: orthogonal}
  - {from: obu, to: bs, channel: v2i}
  - {from: obu, to: obu, mode: d2d, channel: v2v, rb: {count: 50, bandwidth: 180 kHz}, allocator: random,
     sinr_min: 0 dB, half_duplex: true, same_transmitter: shared, noise: {figure: 9 dB},
     interferers: [d2d, cellular_ul], pairs: {range: 60 m}}
association: {policy: a3, hysteresis: 3 dB, time_to_trigger: 256 ms, interruption: 50 ms}
wired: [{ends: ["rsu_*", "rsu_*"], topology: mesh, rate: {uniform: [500 Mbit/s, 900 Mbit/s]}, delay: 1 ms},
        {ends: ["rsu_*", cloud], topology: star, rate: 50 Mbit/s, delay: 20 ms}]
servers: [{at: "rsu_*", cpu: {uniform: [10 GHz, 30 GHz]}, backlog_max: 300e9}, {at: cloud, cpu: 20 GHz, cores: 8}]
jobs: [{from: obu, every: 1 s, up: 2 MB, work: {uniform: [1 Gcycle, 2 Gcycle]}, down: 100 kB, deadline: 2 s}]
"""
POIS = {"rsu_0": (100.0, 30.0), "rsu_1": (500.0, -30.0), "rsu_2": (900.0, 30.0)}


def scenario(folder: Path, network: str) -> Any:
    """A scenario file with that network section, loaded."""
    lines = "\n".join(f"  {line}" for line in network.strip().splitlines())
    file = folder / "case.yaml"
    file.write_text(f"name: case\nduration: 10 s\ntraffic: {{net: urban_rsu}}\nnetwork:\n{lines}\n")
    return load_scenario(str(file))


def section(text: str, folder: Path) -> NetworkConfig:
    loaded: NetworkConfig = scenario(folder, text).parse("network", NetworkConfig)
    return loaded


def test_the_example_of_the_manual_builds_and_runs(tmp_path: Path) -> None:
    network = Network.build(section(EXAMPLE, tmp_path), net(POIS), 1)
    road, vehicles = Road(), somewhere(40, 3)
    for k in range(5):
        state = network.step(road.at(k * 100_000, vehicles))
    assert state.equipped.sum() == pytest.approx(20, abs=8)
    assert set(state.stations) == {*POIS, "bs_0"}
    assert not network.sinr([], [], None, []).size  # type: ignore[arg-type]


def test_a_resolved_section_reads_back_the_same(tmp_path: Path) -> None:
    config = section(EXAMPLE, tmp_path)
    again = NetworkConfig.model_validate(config.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert again == config


MISTAKES = {
    "v2i: {pathloss: macro": (
        "v2i: {pathloss: makro",
        "unknown path loss model 'makro' (did you mean 'macro'?)",
    ),
    "frequency: 2 GHz": ("freqency: 2 GHz", "did you mean 'frequency'"),
    "tx_power: 30 dBm": ("tx_power: 30 dBb", "unknown unit"),
    "bandwidth: 20 MHz": ("bandwidth: -20 MHz", "greater than 0"),
    "range: 500 m": ("rang: 500 m", "did you mean 'range'"),
    "from: obu": ("from: obuu", "no radio is called 'obuu' (did you mean 'obu'?)"),
    "channel: v2i": ("channel: v2x", "no channel is called 'v2x' (did you mean 'v2i'?)"),
    "policy: a3": ("policy: a4", "unknown association policy 'a4'"),
    "shadowing: field": ("shadowing: fields", "unknown shadowing model 'fields' (did you mean 'field'?)"),
    "count: 6": ("count: 0", "at least 1"),
    "fading: none": ("fading: raleigh", "did you mean 'rayleigh'"),
    'poi: "rsu_*"': ('poi: "rsu_*", fraction: 0.5', "vehicle and vtype only"),
    "every: 1 s": ("every: 0 s", "greater than 0"),
    "channel: v2i}]": ("channel: v2i, packet_errors: lte}]", "unknown packet error curve 'lte'"),
    "cpu: 1 GHz": ("cpu: {uniform: [2 GHz, 1 GHz]}", "must rise"),
    "tx_power: 30 dBm, b": ("tx_power: {uniform: 3}, b", "two ends"),
    "down: 0": ("down: -1 kB", "at least 0"),
    "model: friis": ("modle: friis", "model"),
}

SMALL = """
channels:
  v2i: {pathloss: macro, shadowing: field, fading: none}
  fs: {pathloss: {model: friis, frequency: 2 GHz}}
radios:
  rsu: {attach: {poi: "rsu_*"}, tx_power: 30 dBm, bandwidth: 20 MHz, range: 500 m}
  bs: {attach: {xy: [[0, 0]]}, rb: {count: 6}}
  obu: {attach: {vtype: "*"}}
links: [{from: obu, to: rsu, channel: v2i}]
association: {policy: a3}
servers: [{at: "rsu_*", cpu: 1 GHz}]
jobs: [{from: obu, every: 1 s, up: 1 MB, work: 1e9, down: 0}]
"""


@pytest.mark.parametrize("right", sorted(MISTAKES))
def test_a_mistake_is_one_line_with_place_and_remedy(right: str, tmp_path: Path) -> None:
    wrong, message = MISTAKES[right]
    assert right in SMALL
    text = SMALL.replace(right, wrong, 1)
    with pytest.raises(ScenarioError) as caught:
        section(text, tmp_path)
    line = 5 + text.strip()[: text.strip().index(wrong)].count("\n")
    said = str(caught.value)
    assert "\n" not in said
    assert f"case.yaml:{line}" in said
    assert message in said


def wrong(change: Any, geometry: Any = None) -> ScenarioError:
    """The error that building gives after *change* was made to a good section."""
    data = copy.deepcopy(v2i())
    change(data)
    with pytest.raises(ScenarioError) as caught:
        build(data, geometry or net(POIS))
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_glob_that_matches_nothing_is_named() -> None:
    error = wrong(lambda d: d["radios"]["rsu"]["attach"].update(poi="rsx_*"))
    assert error.key == "network.radios.rsu.attach.poi"
    assert "no POI of the net matches 'rsx_*' (did you mean 'rsu_" in str(error)
    error = wrong(lambda d: d["radios"]["rsu"].update(attach={"junction": "center"}))
    assert "no junction" in str(error)
    error = wrong(lambda d: d["radios"]["rsu"].update(attach={"lane": "road_7"}))
    assert "no lane matches 'road_7' (did you mean 'road_0'?)" in str(error)
    error = wrong(lambda d: d.update(servers=[{"at": "rsu_7", "cpu": 1e9}]))
    assert error.key == "network.servers.0.at"
    assert "did you mean" in str(error)


def test_overlapping_ids_are_named() -> None:
    error = wrong(lambda d: d["radios"].update(more={"attach": {"poi": "rsu_1"}}))
    assert "station 'rsu_1' is there twice: as rsu and as more" in str(error)
    assert error.key == "network.radios.more.attach"


def test_a_place_beyond_its_lane_is_refused() -> None:
    error = wrong(lambda d: d["radios"]["rsu"].update(attach={"lane": "road_0", "pos": "2 km"}))
    assert "1000 m long" in str(error)


def test_a_station_far_outside_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    data = v2i()
    data["radios"]["rsu"]["attach"] = {"xy": [[50_000.0, 0.0], [500.0, 20.0]]}
    with caplog.at_level(logging.WARNING):
        network = build(data, net(POIS))
    assert len(network.warnings) == 1
    assert "'rsu_0'" in network.warnings[0]
    assert "outside the net" in caplog.text


def test_links_that_do_not_fit_are_refused() -> None:
    assert "linked already" in str(wrong(lambda d: d["links"].append(dict(d["links"][0]))))
    bad = {"from": "obu", "to": "obu", "channel": "v2i", "rb": {"count": 6}, "interferers": ["cellular_ul"]}
    error = wrong(lambda d: d["links"].append(bad))
    assert error.key == "network.links.1.interferers"
    low = {"pathloss": "tr38901_umi"}
    error = wrong(lambda d: (d["channels"].update(v2i=low), d["radios"]["obu"].update(height="0.75 m")))
    assert "higher than 1 m" in str(error)


def test_jobs_need_a_server_they_can_reach_by_name() -> None:
    jobs = [{"from": "obu", "every": 1, "up": 1, "work": 1, "down": 1}]
    assert "no servers" in str(wrong(lambda d: d.update(jobs=jobs)))
    named = [{**jobs[0], "to": "rsu_9"}]
    error = wrong(lambda d: d.update(jobs=named, servers=[{"at": "rsu_*", "cpu": 1e9}]))
    assert error.key == "network.jobs.0.to"


def test_wires_are_checked() -> None:
    server = {"at": "cloud", "cpu": 1e9}
    wire = {"ends": ["rsu_*", "cloud"], "rate": 1e6}
    assert "no wired link leads to" in str(wrong(lambda d: d.update(servers=[server])))
    assert "no server is at" in str(wrong(lambda d: d.update(wired=[wire])))
    assert "wired twice" in str(wrong(lambda d: d.update(wired=[wire, wire], servers=[server])))
    star = {"ends": ["rsu_*", "rsu_*"], "topology": "star", "rate": 1e6}
    assert "one node at its centre" in str(wrong(lambda d: d.update(wired=[star])))


def test_a_tick_must_fit_the_traffic_step() -> None:
    error = wrong(lambda d: d.update(tick="70 ms"))
    assert error.key == "network.tick"


def test_parameters_are_drawn_an_entity() -> None:
    data = v2i()
    data["radios"]["rsu"]["bandwidth"] = {"uniform": ["200 MHz", "600 MHz"]}
    data["channels"]["v2i"] = {"pathloss": {"model": "power_law", "exponent": {"uniform": [3, 4]}}}
    first, again, other = (build(data, net(POIS), seed).stations for seed in (1, 1, 2))
    assert list(first.bandwidth) == list(again.bandwidth)
    assert list(first.bandwidth) != list(other.bandwidth)
    assert len(set(first.bandwidth)) == 3
    assert first.bandwidth.min() >= 200e6
    assert first.bandwidth.max() <= 600e6
    loss = [build(data, net(POIS), s).step(Road().at(0, {"a": (0.0, 0.0)})).loss_db for s in (1, 2)]
    assert (loss[0] != loss[1]).all()


@pytest.mark.parametrize("name", sorted(PATHLOSS.names()))
def test_a_path_loss_is_swapped_by_one_line(name: str) -> None:
    if name.startswith("test_"):
        pytest.skip("made by another test")
    state = build(v2i({"pathloss": name}), net(POIS)).step(Road().at(0, somewhere(20)))
    assert ((state.loss_db > 0) & (state.loss_db < 250)).all()


@pytest.mark.parametrize("los", ["always", "never", "prob", "buildings", "buildings+vehicles"])
@pytest.mark.parametrize("shadowing", ["none", "gudmundson", "field"])
@pytest.mark.parametrize("fading", ["none", "rayleigh", "rician", "nakagami"])
def test_all_parts_of_a_channel_combine(los: str, shadowing: str, fading: str) -> None:
    channel = {"pathloss": "tr37885", "los": los, "shadowing": shadowing, "fading": fading}
    network, road = build(v2i(channel), net(POIS, [[[50, 10], [90, 10], [90, 25], [50, 25]]])), Road()
    for k in range(3):
        state = network.step(road.at(k * 100_000, somewhere(12, k)))
    for values in (state.loss_db, state.snr, state.rate_up, state.rate_down):
        assert (values > 0).all()
