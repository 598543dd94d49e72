"""The network as a whole: order-freeness, determinism, and every number against plain loops."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from network_worlds import Road, build, moved, net, somewhere, v2i

from cosim.network import rates
from cosim.network.geo import Geo
from cosim.network.jobs import Job
from cosim.network.models import PATHLOSS
from cosim.network.network import Network
from cosim.network.state import NetworkState

TICK = 100_000
POIS = {f"rsu_{i}": (150.0 + 170 * i, 480.0 + 40 * (i % 2)) for i in range(5)}
BOXES = [[[200.0, 100.0], [260.0, 100.0], [260.0, 420.0], [200.0, 420.0]]]
RICH = {
    "pathloss": {"model": "tr38901_umi", "h_bs": "10 m", "h_ut": "1.5 m"},
    "los": "prob",
    "shadowing": {"model": "gudmundson", "site_correlation": 0.5},
    "fading": "rayleigh",
}
FAIR = {**RICH, "los": "buildings", "shadowing": {"model": "field", "site_correlation": 0.5}}
V2V = {"pathloss": "tr37885", "los": "prob", "shadowing": "gudmundson", "fading": "rayleigh"}


def whole(channel: Any = RICH, v2v: Any = V2V) -> dict[str, Any]:
    """A section with everything: RSUs, a BS with blocks, D2D links on them, servers and jobs."""
    section = v2i(channel)
    section["channels"]["v2v"] = v2v
    section["radios"]["bs"] = {"attach": {"xy": [[500, 800]]}, "kind": "bs", "rb": {"count": 6}}
    section["links"] += [
        {"from": "obu", "to": "bs", "channel": "v2i"},
        {
            "from": "obu",
            "to": "obu",
            "channel": "v2v",
            "rb": {"count": 6},
            "pairs": {"range": "120 m", "count": 2},
            "interferers": ["d2d", "cellular_ul", "cellular_dl"],
        },
    ]
    section["association"] = {"policy": "a3", "interruption": "50 ms"}
    section["wired"] = [{"ends": ["*", "*"], "rate": "1 Gbit/s", "delay": "1 ms"}]
    section["servers"] = [{"at": "*", "cpu": {"uniform": ["5 GHz", "9 GHz"]}}]
    section["jobs"] = [{"from": "obu", "every": "0.5 s", "up": "20 kB", "work": "1 Gcycle", "down": "5 kB"}]
    return section


def run(
    section: dict[str, Any], vehicles: list[dict[str, Any]], pois: Any = POIS, seed: int = 1
) -> tuple[list[NetworkState], Network]:
    network, road = build(section, net(pois, BOXES), seed), Road()
    return [network.step(road.at(k * TICK, places)) for k, places in enumerate(vehicles)], network


def journey(n: int, ticks: int = 12) -> list[dict[str, Any]]:
    start, rng = somewhere(n, 4), np.random.default_rng(5)
    pace = {i: rng.uniform(-2, 2, 2) for i in start}
    return [
        {i: (x + pace[i][0] * k, y + pace[i][1] * k) for i, (x, y) in start.items()} for k in range(ticks)
    ]


def pairs(state: NetworkState, name: str) -> dict[tuple[str, str], Any]:
    values = getattr(state, name)
    return {(v, s): values[i, j] for i, v in enumerate(state.ids) for j, s in enumerate(state.stations)}


def test_the_same_seed_gives_the_same_bytes() -> None:
    (a, na), (b, nb) = (run(whole(), journey(30)) for _ in range(2))
    for x, y in zip(a, b, strict=True):
        for field in dataclasses.fields(NetworkState):
            one, two = getattr(x, field.name), getattr(y, field.name)
            if isinstance(one, np.ndarray) and one.dtype == float:
                assert np.array_equal(one, two, equal_nan=True)
            else:
                assert np.array_equal(one, two) if isinstance(one, np.ndarray) else str(one) == str(two)
    assert na.events() == nb.events()


def test_another_seed_gives_another_channel() -> None:
    assert (run(whole(), journey(5))[0][0].loss_db != run(whole(), journey(5), seed=2)[0][0].loss_db).any()


def test_the_order_in_which_vehicles_are_given_does_not_touch_a_bit() -> None:
    straight = journey(30)
    shuffled = [dict(sorted(places.items(), reverse=True)) for places in straight]
    (a, na), (b, nb) = run(whole(), straight), run(whole(), shuffled)
    for name in ("loss_db", "los", "rx_dbm", "snr", "sinr", "sinr_up", "rate_up", "rate_down", "serving"):
        assert np.array_equal(getattr(a[-1], name), getattr(b[-1], name)), name
    assert np.array_equal(a[-1].d2d[0].sinr, b[-1].d2d[0].sinr)
    assert na.events() == nb.events()


@pytest.mark.parametrize("channel", [RICH, FAIR, {**RICH, "los": {"model": "prob", "process": "field"}}])
def test_more_vehicles_and_stations_change_no_other_loss(channel: Any) -> None:
    few, many = journey(20), journey(26)
    more = {**POIS, "rsu_extra": (700.0, 300.0), "rsu_too": (20.0, 20.0)}
    small, _ = run(v2i(channel), few)
    large, _ = run(v2i(channel), many, more)
    for a, b in zip(small, large, strict=True):
        for name in ("loss_db", "los", "rx_dbm", "snr"):
            one, two = pairs(a, name), pairs(b, name)
            assert all(two[key] == value for key, value in one.items()), name


def test_a_truck_nearby_changes_no_cars_bits() -> None:
    """A second antenna height must not make the arithmetic of the others another one."""
    channel = {**RICH, "pathloss": "tr38901_umi"}
    network, other = build(v2i(channel), net(POIS)), build(v2i(channel), net(POIS))
    places = somewhere(15)
    a = network.step(Road().at(0, places))
    b = other.step(Road().at(0, {**places, "truck": (500.0, 500.0)}, types={"truck": 2}))
    assert pairs(a, "loss_db").items() <= pairs(b, "loss_db").items()


def test_d2d_draws_do_not_depend_on_who_else_is_there() -> None:
    losses = []
    for n in (12, 17):
        _, network = run(whole(), journey(n, 8))
        group = network.group()
        ids = network.state.ids  # type: ignore[union-attr]
        rows = np.array([ids.index(f"veh{i}") for i in range(12)])
        loss, _ = group.channel.loss_of(rows[:, None], rows[None, :])
        assert np.array_equal(loss, loss.T)
        losses.append(loss[~np.eye(12, dtype=bool)])
    assert np.array_equal(*losses)


@pytest.mark.parametrize("v2v_shadowing", ["field", "none"])
def test_two_policies_meet_the_same_channel_at_the_same_place(v2v_shadowing: str) -> None:
    """With field shadowing and building LOS the channel does not know how a vehicle came where it is."""
    section = whole(
        {**FAIR, "fading": "none"}, {"pathloss": "tr37885", "los": "buildings", "shadowing": v2v_shadowing}
    )
    goal = {**somewhere(10, 7), "veh0": (230.0, 430.0)}
    hasty = [moved(goal, -30.0 * (5 - k), 0.1 * (5 - k)) for k in range(6)]
    dawdling = [moved(goal, 3.0 * (k - 5), -40.0 * (k == 1)) for k in range(6)]
    (a, one), (b, two) = run(section, hasty), run(section, dawdling)
    assert not np.array_equal(a[2].loss_db, b[2].loss_db)
    assert np.array_equal(a[-1].loss_db, b[-1].loss_db)
    assert np.array_equal(a[-1].los, b[-1].los)
    everyone = np.arange(10)
    here, there = (n.group().channel.loss_of(everyone[:, None], everyone[None, :])[0] for n in (one, two))
    assert np.array_equal(here, there)


def test_a_late_vehicle_in_an_old_slot_has_its_own_draws() -> None:
    plain = [{"b": (300.0, 300.0)}] * 4
    after = [{"a": (10.0, 10.0)}, {"a": (10.0, 10.0)}, {"b": (300.0, 300.0)}, {"b": (300.0, 300.0)}]
    channel = {**RICH, "los": "always", "fading": "none", "shadowing": "field"}
    (a, _), (b, _) = run(v2i(channel), plain), run(v2i(channel), after)
    assert np.array_equal(a[3].loss_db, b[3].loss_db)
    walk = {**RICH, "fading": "none"}
    (c, _), (d, _) = run(v2i(walk), plain[:1]), run(v2i(walk), after)
    assert c[0].loss_db.shape == d[2].loss_db.shape
    assert np.array_equal(d[2].loss_db, d[3].loss_db)


# --- numbers against plain loops ---------------------------------------------------------------------------


def loss_of(
    a: Any, b: Any, model: str = "macro", f: float = 2e9, h_a: float = 1.6, h_b: float = 5.0
) -> float:
    geo = Geo(np.array([a[0] - b[0]]), np.array([a[1] - b[1]]), h_a, h_b, f)
    return float(PATHLOSS.get(model)(geo)[0])


def test_rates_are_what_shannon_says() -> None:
    places = somewhere(12)
    (state,), _ = run(v2i(), [places])
    users = np.bincount(state.serving, minlength=5)
    for i, vehicle in enumerate(state.ids):
        for j, station in enumerate(state.stations):
            loss = loss_of(places[vehicle], POIS[station])
            down = rates.watts(30.0 - loss) / rates.noise_power(20e6, 9.0)
            up = rates.watts(23.0 - loss) / rates.noise_power(20e6, 5.0)
            assert state.loss_db[i, j] == pytest.approx(loss, rel=1e-12)
            assert state.rx_dbm[i, j] == pytest.approx(30.0 - loss, rel=1e-12)
            assert state.snr[i, j] == pytest.approx(down, rel=1e-9)
            n = users[j] if state.serving[i] == j else users[j] + 1
            assert state.rate_down[i, j] == pytest.approx(20e6 / n * np.log2(1 + down), rel=1e-9)
            assert state.rate_up[i, j] == pytest.approx(20e6 / n * np.log2(1 + up), rel=1e-9)
        assert state.serving[i] == state.rx_dbm[i].argmax()


def test_full_share_noise_power_and_threshold() -> None:
    section = v2i()
    section["links"][0].update(share="full", noise={"power": "-90 dBm"}, sinr_min="20 dB")
    places = somewhere(12)
    (state,), _ = run(section, [places])
    snr = 10 ** ((state.rx_dbm - -90.0) / 10)
    np.testing.assert_allclose(state.snr, snr, rtol=1e-9)
    np.testing.assert_allclose(
        state.rate_down, np.where(snr < 100.0, 0.0, 20e6 * np.log2(1 + snr)), rtol=1e-9
    )
    assert (state.rate_down == 0).any()


def test_range_ends_service() -> None:
    section = v2i()
    section["radios"]["rsu"]["range"] = "200 m"
    (state,), _ = run(section, [somewhere(60)])
    places = somewhere(60)
    for i, vehicle in enumerate(state.ids):
        distance = np.array([np.hypot(*np.subtract(places[vehicle], POIS[s])) for s in state.stations])
        assert np.array_equal(state.rx_dbm[i] > -np.inf, distance <= 200.0)
        assert (state.rate_up[i][distance > 200.0] == 0.0).all()
        assert (state.serving[i] >= 0) == bool((distance <= 200.0).any())


@pytest.mark.parametrize("share", ["equal", "full"])
def test_full_reuse_interferes_both_ways(share: str) -> None:
    section = v2i()
    section["links"][0].update(reuse="full", share=share)
    places = somewhere(25)
    (state,), _ = run(section, [places])
    gain = 10 ** (-state.loss_db / 10)
    noise_down, noise_up = rates.noise_power(20e6, 9.0), rates.noise_power(20e6, 5.0)
    for v in range(25):
        for m in range(5):
            others = sum(gain[v, o] * 1.0 for o in range(5) if o != m)
            assert state.sinr[v, m] == pytest.approx(gain[v, m] / (noise_down + others), rel=1e-9)
    for v in range(25):
        m, interference = state.serving[v], 0.0
        for cell in set(state.serving) - {m}:
            users = np.flatnonzero(state.serving == cell)
            received = rates.watts(23.0) * gain[users, m].sum()
            interference += received / (len(users) if share == "equal" else 1)
        expected = rates.watts(23.0) * gain[v, m] / (noise_up + interference)
        assert state.sinr_up[v, m] == pytest.approx(expected, rel=1e-9)


def blocks(**more: Any) -> dict[str, Any]:
    """A BS with 6 blocks and D2D links on them, over power laws, no fading."""
    return {
        "channels": {"air": {"pathloss": {"model": "power_law"}}},
        "radios": {
            "bs": {"attach": {"xy": [[500, 500]]}, "kind": "bs", "tx_power": "20 dBm", "rb": {"count": 6}},
            "obu": {"attach": {"vtype": "cav"}, "tx_power": "13 dBm"},
            "phone": {"attach": {"vtype": "car"}, "tx_power": "10 dBm"},
        },
        "links": [
            {"from": "phone", "to": "bs", "channel": "air"},
            {
                "from": "obu",
                "to": "obu",
                "channel": "air",
                "rb": {"count": 6},
                "allocator": "round_robin",
                "pairs": {"range": "200 m"},
                "same_transmitter": "interferes",
                **more,
            },
        ],
    }


def d2d_world(section: dict[str, Any]) -> tuple[NetworkState, Network, dict[str, Any]]:
    places = somewhere(24, 9, 500.0)
    types = {i: (1 if n % 4 == 0 else 0) for n, i in enumerate(places)}
    network = build(section, net())
    return network.step(Road().at(0, places, types)), network, places


def gain4(a: Any, b: Any) -> float:
    return max(np.hypot(a[0] - b[0], a[1] - b[1]), 1.0) ** -4.0


def test_d2d_links_and_cellular_users_meet_on_their_blocks() -> None:
    state, _, places = d2d_world(blocks(interferers=["d2d", "cellular_ul"]))
    links, noise = state.d2d[0], rates.noise_power(180e3, 9.0)
    phones = [i for i in range(len(state.ids)) if state.serving[i] >= 0]
    assert len(phones) == 6
    at = [places[i] for i in state.ids]
    assert len(links.tx) == 18
    for l in range(18):
        interference = noise
        for i in range(18):
            if i != l and links.block[i] == links.block[l] and links.tx[i] != links.rx[l]:
                interference += rates.watts(13.0) * gain4(at[links.tx[i]], at[links.rx[l]])
        # Six phones on six blocks: the k-th in key order sends on block k.
        interference += rates.watts(10.0) * gain4(at[phones[links.block[l]]], at[links.rx[l]])
        expected = rates.watts(13.0) * gain4(at[links.tx[l]], at[links.rx[l]]) / interference
        assert links.sinr[l] == pytest.approx(expected, rel=1e-9)
        assert links.rate[l] == pytest.approx(180e3 * np.log2(1 + expected), rel=1e-9)
    assert not state.equipped[links.tx].any()
    for k, phone in enumerate(phones):
        senders = [links.tx[l] for l in range(18) if links.block[l] == k]
        heard = sum(rates.watts(13.0) * gain4(at[t], (500, 500)) for t in senders)
        expected = rates.watts(10.0) * gain4(at[phone], (500, 500)) / (rates.noise_power(180e3, 5.0) + heard)
        assert state.sinr_up[phone, 0] == pytest.approx(expected, rel=1e-9)
        assert state.rate_up[phone, 0] == pytest.approx(180e3 * np.log2(1 + expected), rel=1e-9)


def test_d2d_on_the_blocks_of_its_own_cell() -> None:
    section = blocks(interferers=["d2d", "cellular_ul", "cellular_dl"])
    section["links"][0]["from"] = "obu"
    del section["radios"]["phone"]
    state, network, places = d2d_world(section)
    at, links = [places[i] for i in state.ids], state.d2d[0]
    users = [i for i in range(len(at)) if state.serving[i] >= 0]
    assert len(users) == 18
    shares = {v: (n % 6, 1 / 3) for n, v in enumerate(users)}
    bs, device = rates.watts(20.0) / 6, rates.watts(13.0)
    for l in range(len(links.tx)):
        k, rx = links.block[l], links.rx[l]
        interference = rates.noise_power(180e3, 9.0) + bs * gain4(at[rx], (500, 500))
        for i in range(len(links.tx)):
            if i != l and links.block[i] == k and links.tx[i] != rx:
                interference += device * gain4(at[links.tx[i]], at[rx])
        for v, (block, duty) in shares.items():
            if block == k and v != rx:
                interference += device * duty * gain4(at[v], at[rx])
        expected = device * gain4(at[links.tx[l]], at[rx]) / interference
        assert links.sinr[l] == pytest.approx(expected, rel=1e-9)
    for v, (k, duty) in shares.items():
        senders = [links.tx[l] for l in range(len(links.tx)) if links.block[l] == k]
        up = rates.noise_power(180e3, 5.0) + sum(device * gain4(at[t], (500, 500)) for t in senders)
        down = rates.noise_power(180e3, 9.0) + sum(device * gain4(at[t], at[v]) for t in senders if t != v)
        sinr_up, sinr = device * gain4(at[v], (500, 500)) / up, bs * gain4(at[v], (500, 500)) / down
        assert state.sinr_up[v, 0] == pytest.approx(sinr_up, rel=1e-9)
        assert state.sinr[v, 0] == pytest.approx(sinr, rel=1e-9)
        assert state.rate_up[v, 0] == pytest.approx(duty * 180e3 * np.log2(1 + sinr_up), rel=1e-9)
        assert state.rate_down[v, 0] == pytest.approx(duty * 180e3 * np.log2(1 + sinr), rel=1e-9)
    asked = network.sinr(links.tx, links.rx, None, links.block)
    np.testing.assert_allclose(asked, links.sinr, rtol=1e-12)
    several = network.sinr(links.tx, links.rx, None, links.block[:, None] == np.arange(6))
    np.testing.assert_allclose(several.sum(axis=1), links.sinr, rtol=1e-9)


def test_a_device_without_the_radio_has_no_d2d_link() -> None:
    state, network, _ = d2d_world(blocks())
    phone = int(np.flatnonzero(state.serving >= 0)[0])
    with pytest.raises(ValueError, match="no radio 'obu'"):
        network.sinr(np.array([phone]), np.array([0]), None, np.array([0]))


def test_few_users_have_several_blocks_and_split_their_power() -> None:
    section = blocks()
    places = {"a": (450.0, 500.0), "b": (500.0, 300.0)}
    state = build(section, net()).step(Road().at(0, places, {"a": 1, "b": 1}))
    for i, vehicle in enumerate(state.ids):
        gain = gain4(places[vehicle], (500, 500))
        up = rates.watts(10.0) / 3 * gain / rates.noise_power(180e3, 5.0)
        down = rates.watts(20.0) / 6 * gain / rates.noise_power(180e3, 9.0)
        assert state.rate_up[i, 0] == pytest.approx(3 * 180e3 * np.log2(1 + up), rel=1e-9)
        assert state.rate_down[i, 0] == pytest.approx(3 * 180e3 * np.log2(1 + down), rel=1e-9)


def test_power_in_each_block_is_not_split() -> None:
    section = blocks()
    section["radios"]["bs"]["rb"]["power"] = "each"
    state = build(section, net()).step(Road().at(0, {"a": (450.0, 500.0)}, {"a": 1}))
    expected = rates.watts(20.0) * gain4((450, 500), (500, 500)) / rates.noise_power(180e3, 9.0)
    assert state.sinr[0, 0] == pytest.approx(expected, rel=1e-9)


def test_d2d_pairs_are_the_nearest_in_range() -> None:
    state, _, places = d2d_world(blocks(pairs={"range": "60 m", "count": 2}))
    devices = [i for n, i in enumerate(somewhere(24, 9, 500.0)) if n % 4]
    found = {(state.ids[t], state.ids[r]) for t, r in zip(state.d2d[0].tx, state.d2d[0].rx, strict=True)}
    expected = set()
    for rx in devices:
        near = sorted((np.hypot(*np.subtract(places[rx], places[tx])), tx) for tx in devices if tx != rx)
        expected |= {(tx, rx) for d, tx in near[:2] if d <= 60.0}
    assert found == expected


# --- places and times --------------------------------------------------------------------------------------


def test_stations_attach_to_junctions_lanes_and_coordinates() -> None:
    section = v2i()
    section["radios"] = {
        "rsu": {"attach": {"junction": "mid*"}},
        "post": {"attach": {"lane": "road_*", "pos": "250 m"}},
        "end": {"attach": {"lane": "road_0", "pos": "-100 m"}, "kind": "bs"},
        "obu": section["radios"]["obu"],
    }
    del section["radios"]["end"]
    section["radios"]["bs"] = {"attach": {"xy": [[7, 8], [9, 10]]}, "kind": "bs"}
    network = build(section, net())
    places = dict(zip(network.stations.ids, map(tuple, network.stations.xy), strict=True))
    assert places == {"middle": (500, 0), "road_0": (250, 0), "bs_0": (7, 8), "bs_1": (9, 10)}


def test_an_rsu_may_ride_on_a_vehicle() -> None:
    section = v2i(RICH)
    section["radios"]["rsu"] = {"attach": {"vehicle": "bus*"}, "kind": "rsu"}
    network, road = build(section, net()), Road()
    places = {"a": (100.0, 0.0), "bus_1": (150.0, 0.0), "bus_2": (400.0, 0.0)}
    state = network.step(road.at(0, places))
    assert set(state.stations) == {"rsu@bus_1", "rsu@bus_2"}
    at = state.stations.index("rsu@bus_1")
    assert state.rate_up[state.ids.index("bus_1"), at] == 0.0
    assert state.serving[state.ids.index("bus_1")] != at
    assert (state.rate_up[state.ids.index("a")] > 0).all()
    for k in range(1, 4):
        state = network.step(road.at(k * TICK, moved(places, 10.0 * k)))
    assert tuple(state.station_xy[at]) == (180.0, 0.0)
    del places["bus_1"]
    state = network.step(road.at(4 * TICK, {**places, "bus_3": (100.0, 50.0)}))
    assert set(state.stations) == {"rsu@bus_2", "rsu@bus_3"}
    assert state.serving[state.ids.index("a")] >= 0


def test_a_fraction_of_vehicles_carries_the_radio_for_good() -> None:
    section = v2i()
    section["radios"]["obu"]["attach"]["fraction"] = 0.3
    (first, *_, last), _ = run(section, journey(400, 3))
    assert first.equipped.mean() == pytest.approx(0.3, abs=0.07)
    assert np.array_equal(first.equipped, last.equipped)
    few, _ = run(section, journey(40, 1))
    kept = dict(zip(first.ids, first.equipped, strict=True))
    assert all(kept[i] == e for i, e in zip(few[0].ids, few[0].equipped, strict=True))
    assert not first.rate_up[~first.equipped].any()
    assert (first.serving[~first.equipped] == -1).all()


def test_types_choose_who_carries_a_radio_and_how_high() -> None:
    section = v2i({"pathloss": "two_ray_ground"})
    section["radios"]["obu"]["attach"]["vtype"] = ["cav", "truck"]
    far = {"cav": (600.0, 500.0), "car": (600.0, 500.0), "truck": (600.0, 500.0)}
    state = build(section, net({"rsu_0": (0.0, 500.0)})).step(
        Road().at(0, far, {"cav": 0, "car": 1, "truck": 2})
    )
    loss = dict(zip(state.ids, state.loss_db[:, 0], strict=True))
    assert loss["cav"] == pytest.approx(loss_of((600, 500), (0, 500), "two_ray_ground", 5.9e9))
    assert loss["truck"] == pytest.approx(loss_of((600, 500), (0, 500), "two_ray_ground", 5.9e9, 3.0))
    assert np.isinf(loss["car"])


def test_nobody_on_the_road_is_no_trouble() -> None:
    network, road = build(whole(), net(POIS)), Road()
    for k, places in enumerate(({}, {"a": (10.0, 10.0)}, {})):
        state = network.step(road.at(k * TICK, places))
        assert len(state) == len(places)
    section = whole()
    section["radios"]["rsu"]["attach"] = {"vehicle": "none*"}
    section["radios"]["rsu"]["kind"] = "rsu"
    del section["links"][1:], section["radios"]["bs"], section["servers"], section["wired"], section["jobs"]
    state = build(section, net()).step(Road().at(0, {"a": (1.0, 1.0)}))
    assert state.rate_up.shape == (1, 0)
    assert state.serving[0] == -1


def test_a_bearer_serves_whole_bits_of_each_tick_and_is_silent_after_a_handover() -> None:
    section = v2i(wired=[{"ends": ["*", "*"], "rate": "1 Gbit/s"}], servers=[{"at": "rsu_*", "cpu": "1 GHz"}])
    section["association"] = {"policy": "strongest", "interruption": "50 ms"}
    network, road, bits = build(section, net(POIS)), Road(), 400_000_000
    section["association"]["interruption"] = "0 ms"
    other = build(section, net(POIS))
    left, uploaded, handovers = bits * 1_000_000, None, 0
    for k in range(60):
        traffic = road.at(k * TICK, {"a": (100.0 + 40.0 * k, 480.0), "b": (400.0, 400.0)})
        state, unbroken = network.step(traffic), other.step(traffic)
        row = state.ids.index("a")
        if k == 0:
            network.submit(Job("j", "a", bits, 0), "rsu_0")
        rate = round(float(unbroken.of_serving(unbroken.rate_up)[row]))
        silent = 50_000 if state.interrupted[row] else 0
        if uploaded is None:
            handovers += bool(state.handover[row])
            if left <= rate * (TICK - silent):
                uploaded = k * TICK + silent - (-left // rate)
            left -= rate * (TICK - silent)
    (job,) = network.events().done
    assert handovers >= 2
    assert job.uploaded_us == uploaded


def test_the_state_is_not_changed_by_later_ticks() -> None:
    network, road, places = build(whole(), net(POIS)), Road(), somewhere(10)
    first = network.step(road.at(0, places))
    kept = copy.deepcopy(first)
    network.step(road.at(TICK, moved(places, 9.0)))
    for name in ("loss_db", "snr", "rate_up", "serving", "station_xy"):
        assert np.array_equal(getattr(first, name), getattr(kept, name))


def test_draws_belong_to_ticks_not_to_calls() -> None:
    section = {**v2i(RICH), "tick": "200 ms"}
    network = build(section, net(POIS))
    road, places = Road(), somewhere(4)
    a = network.step(road.at(2 * TICK, places)).snr
    again = build(section, net(POIS)).step(Road().at(2 * TICK, places)).snr
    later = build(section, net(POIS)).step(Road().at(4 * TICK, places)).snr
    assert np.array_equal(a, again)
    assert not np.array_equal(a, later)


def test_agents_may_order_bandwidth() -> None:
    section = v2i()
    section["links"][0]["share"] = "agent"
    network, road = build(section, net({"rsu_0": (500.0, 500.0)})), Road()
    places = {"a": (480.0, 500.0), "b": (530.0, 500.0), "c": (500.0, 560.0)}
    state = network.step(road.at(0, places))
    assert not state.rate_down.any()
    rows = np.array([state.ids.index(i) for i in "ab"])
    network.order_bandwidth(rows, np.array([2e6, 6e6]))
    state = network.step(road.at(TICK, places))
    efficiency = np.log2(1.0 + state.sinr[:, 0])
    np.testing.assert_allclose(state.rate_down[rows, 0], np.array([2e6, 6e6]) * efficiency[rows])
    assert state.rate_down[state.ids.index("c"), 0] == 0.0
    network.order_bandwidth(rows, np.array([10e6, 30e6]))
    state = network.step(road.at(2 * TICK, places))
    np.testing.assert_allclose(
        state.rate_down[rows, 0], np.array([5e6, 15e6]) * np.log2(1.0 + state.sinr[rows, 0])
    )
    with pytest.raises(ValueError, match="negative"):
        network.order_bandwidth(rows, np.array([-1.0, 1.0]))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ("lte_v2x_mcs7", lambda s: rates.ErrorCurve(2.09, 1.45)(s)),
        ({"snr50": "30 dB", "width": "5 dB"}, lambda s: rates.ErrorCurve(30.0, 5.0)(s)),
        ({"table": [[0, 1], [40, 0.5], [60, 0]]}, lambda s: np.interp(s, [0, 40, 60], [1, 0.5, 0])),
    ],
)
def test_packet_errors_follow_a_curve(curve: Any, expected: Any) -> None:
    section = whole({"pathloss": "macro"}, {"pathloss": "power_law"})
    for link in section["links"][::2]:
        link["packet_errors"] = curve
    (state,), _ = run(section, [somewhere(20)])
    by_rsu = np.array([s >= 0 and state.stations[s] != "bs_0" for s in state.serving])
    found = 10 * np.log10(state.of_serving(state.sinr)[by_rsu])
    np.testing.assert_allclose(state.per[by_rsu], expected(found))
    assert np.isnan(state.per[~by_rsu]).all()
    links = state.d2d[0]
    np.testing.assert_allclose(links.per, expected(10 * np.log10(links.sinr)))


def test_heights_ranges_delays_and_limits_may_be_drawn() -> None:
    section = whole({"pathloss": "two_ray_ground"}, {"pathloss": "power_law"})
    section["radios"]["rsu"].update(height={"uniform": ["5 m", "9 m"]}, range={"uniform": ["300 m", "600 m"]})
    section["radios"]["obu"]["height"] = {"uniform": ["1.5 m", "3 m"]}
    section["wired"][0]["delay"] = {"uniform": ["1 ms", "9 ms"]}
    section["servers"][0]["backlog_max"] = {"uniform": [1e9, 2e9]}
    (state,), network = run(section, [somewhere(30)])
    rsus = [i for i, kind in enumerate(state.station_kind) if kind == "rsu"]
    assert len(set(state.station_range[rsus])) == 5
    assert np.isinf(np.delete(state.station_range, rsus)).all()
    heights = network.stations.height[rsus]
    assert 5.0 <= heights.min() < heights.max() <= 9.0
    carried = network._carriers["obu"].height[:30]
    assert 1.5 <= carried.min() < carried.max() <= 3.0
    assert len({w.delay_us for w in network.edge.wires.links.values()}) > 5
    assert len({s.limit for s in network.edge.servers.values()}) == 6


def test_too_short_distances_are_counted() -> None:
    (state,), network = run(v2i({"pathloss": "tr38901_umi"}), [{"a": (150.0, 481.0), "b": (600.0, 600.0)}])
    assert network.clamped == 1
    assert np.isfinite(state.loss_db).all()
