"""Line of sight: probability, buildings against brute force, vehicle bodies, and how seldom segments are tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from network_worlds import Road, build, moved, net, somewhere, v2i
from scipy.special import ndtr

from cosim.network.blockage import Bodies, Buildings
from cosim.network.geo import LOS, NLOS, NLOSV
from cosim.network.los import LOS_LAWS, normal_cdf
from cosim.network.network import Network

SQUARE = [[40.0, 40.0], [60.0, 40.0], [60.0, 60.0], [40.0, 60.0]]


def rectangles(n: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    low, size = rng.uniform(0, 900, (n, 2)), rng.uniform(10, 80, (n, 2))
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    return [l + corners * s for l, s in zip(low, size, strict=True)]


def crosses(a: np.ndarray, b: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Whether segments meet an axis-parallel rectangle, by clipping against its four sides."""
    low, high = box.min(axis=0), box.max(axis=0)
    d = b - a
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.sort(np.stack([(low - a) / d, (high - a) / d]), axis=0)
    flat = d == 0.0
    inside = (a >= low) & (a <= high)
    enter = np.where(flat, np.where(inside, -np.inf, np.inf), t[0]).max(axis=1)
    leave = np.where(flat, np.where(inside, np.inf, -np.inf), t[1]).min(axis=1)
    return np.maximum(enter, 0.0) <= np.minimum(leave, 1.0)


def with_los(model: Any, channel: str = "macro", **more: Any) -> dict[str, Any]:
    return v2i({"pathloss": {"model": channel, "frequency": "5.9 GHz"}, "los": model}, **more)


def channel_of(network: Network) -> Any:
    return network._links.cells[0][2].channel


def test_the_fast_normal_distribution_is_good_to_a_millionth() -> None:
    x = np.linspace(-9.0, 9.0, 20_001)
    assert np.abs(normal_cdf(x) - ndtr(x)).max() < 1e-6


def test_buildings_block_as_brute_force_says() -> None:
    boxes = rectangles(60)
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 1000, (3000, 2)), rng.uniform(0, 1000, (3000, 2))
    expected = np.any([crosses(a, b, box) for box in boxes], axis=0)
    assert np.array_equal(Buildings(boxes).cut(a, b), expected)
    assert 0.2 < expected.mean() < 0.99


def test_a_network_sees_what_brute_force_sees() -> None:
    boxes, vehicles = rectangles(30, 2), somewhere(80, 3)
    pois = {f"rsu_{i}": (100.0 + 170 * i, 480.0) for i in range(6)}
    network = build(with_los("buildings", "tr38901_umi"), net(pois, boxes))
    state = network.step(road := Road().at(0, vehicles))
    assert state.station_xy.shape == (6, 2)
    a, b = np.repeat(road.xy, 6, axis=0), np.tile(state.station_xy, (80, 1))
    expected = np.any([crosses(a, b, box) for box in boxes], axis=0).reshape(80, 6)
    assert np.array_equal(state.los, np.where(expected, NLOS, LOS))


def test_only_what_moved_is_tested_again() -> None:
    network = build(with_los("buildings"), net({"rsu_0": (0.0, 50.0), "rsu_1": (99.0, 9.0)}, [SQUARE]))
    road, vehicles = Road(), {"a": (100.0, 50.0), "b": (100.0, 80.0), "c": (10.0, 10.0)}
    network.step(road.at(0, vehicles))
    walls = channel_of(network)._walls
    assert walls.tested == 6
    network.step(road.at(100_000, vehicles))
    assert walls.tested == 6
    network.step(road.at(200_000, {**vehicles, "b": (100.0, 80.5)}))
    assert walls.tested == 8


def test_recheck_spares_small_moves() -> None:
    section = with_los({"model": "buildings", "recheck": "1 m"})
    network = build(section, net({"rsu_0": (0.0, 50.0)}, [SQUARE]))
    road, place = Road(), {"a": (100.0, 50.0)}
    for k in range(11):
        network.step(road.at(k * 100_000, moved(place, 0.3 * k)))
    assert channel_of(network)._walls.tested == 3


def test_beyond_its_range_a_segment_is_not_tested_and_counts_as_blocked() -> None:
    network = build(with_los({"model": "buildings", "range": "300 m"}), net({"rsu_0": (0.0, 0.0)}))
    state = network.step(Road().at(0, {"near": (200.0, 0.0), "far": (400.0, 0.0)}))
    assert dict(zip(state.ids, state.los[:, 0], strict=True)) == {"near": LOS, "far": NLOS}
    assert channel_of(network)._walls.tested == 1


def test_polygons_of_other_types_do_not_block() -> None:
    network = build(
        with_los({"model": "buildings", "buildings": "tower*"}), net({"rsu_0": (0.0, 50.0)}, [SQUARE])
    )
    assert network.step(Road().at(0, {"a": (100.0, 50.0)})).los[0, 0] == LOS


def test_obstacles_cost_by_wall_and_metre() -> None:
    walls, inside = Buildings([np.array(SQUARE)]).thickness(
        np.array([[0.0, 50.0]]), np.array([[100.0, 50.0]])
    )
    assert (int(walls[0]), float(inside[0])) == (2, 20.0)
    clear = build(with_los("always"), net({"rsu_0": (0.0, 50.0)})).step(Road().at(0, {"a": (100.0, 50.0)}))
    section = with_los({"model": "buildings", "obstacle_loss": True})
    through = build(section, net({"rsu_0": (0.0, 50.0)}, [SQUARE])).step(Road().at(0, {"a": (100.0, 50.0)}))
    assert through.loss_db[0, 0] - clear.loss_db[0, 0] == pytest.approx(26.0)


def test_a_body_blocks_who_is_behind_it() -> None:
    bodies = Bodies.of(
        np.array([[50.0, 0.0]]), np.array([90.0]), np.array([10.0]), np.array([2.0]), np.array([3.0])
    )
    start = np.array([[0.0, 0.0], [0.0, 5.0], [45.0, -9.0], [52.0, -9.0]])
    end = np.array([[100.0, 0.0], [100.0, 5.0], [45.0, 9.0], [52.0, 9.0]])
    nobody = np.full(4, -1)
    roofs = bodies.highest(start, end, (nobody, nobody))
    assert roofs[0] == 3.0
    assert roofs[2] == 3.0
    assert np.isnan(roofs[[1, 3]]).all()
    own = bodies.highest(start, end, (np.zeros(4, np.int64), nobody))
    assert np.isnan(own).all()


def test_a_truck_in_between_makes_a_link_nlosv() -> None:
    section = with_los("buildings+vehicles", "tr37885")
    section["radios"]["rsu"]["height"] = "2 m"
    world, road = net({"rsu_0": (0.0, 0.0)}), {"a": (100.0, 0.0), "truck": (60.0, 0.0), "b": (100.0, 20.0)}
    state = build(section, world).step(Road().at(0, road, types={"truck": 2}))
    los = dict(zip(state.ids, state.los[:, 0], strict=True))
    assert los == {"a": NLOSV, "truck": LOS, "b": LOS}
    free = build(section, world).step(Road().at(0, {"a": (100.0, 0.0)}))
    row = state.ids.index("a")
    assert state.loss_db[row, 0] > free.loss_db[0, 0] + 0.5


def test_probability_gives_the_share_that_the_law_says() -> None:
    section = with_los("prob", "tr38901_umi")
    pois = {f"rsu_{i}": (float(i), 0.0) for i in range(40)}
    vehicles = {f"veh{i}": (120.0 + 0.01 * i, 60.0) for i in range(400)}
    state = build(section, net(pois)).step(traffic := Road().at(0, vehicles))
    distance = np.hypot(*(traffic.xy[:, None] - state.station_xy).transpose(2, 0, 1))
    expected = LOS_LAWS["tr38901_umi"](distance).mean()
    assert (state.los == LOS).mean() == pytest.approx(expected, abs=0.02)
    assert set(np.unique(state.los)) == {LOS, NLOS}


def test_tr37885_without_sight_is_behind_vehicles() -> None:
    state = build(with_los("prob", "tr37885"), net({"rsu_0": (0.0, 0.0)})).step(Road().at(0, somewhere(300)))
    assert set(np.unique(state.los)) == {LOS, NLOSV}


def test_sight_changes_rarely_on_a_short_way() -> None:
    section = with_los("prob", "tr38901_umi")
    pois = {f"rsu_{i}": (float(i), 0.0) for i in range(20)}
    network, road, vehicles = build(section, net(pois)), Road(), somewhere(200, 5)
    first = network.step(road.at(0, vehicles)).los
    after_metre = network.step(road.at(100_000, moved(vehicles, 1.0))).los
    for k in range(2, 22):
        later = network.step(road.at(k * 100_000, moved(vehicles, 20.0 * k))).los
    assert (first != after_metre).mean() < 0.1
    assert (first != later).mean() > (first != after_metre).mean()
