"""Allocators of resource blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from network_worlds import Road, build, net, somewhere

from cosim.errors import ScenarioError
from cosim.network.allocation import allocator
from cosim.network.network import Network


def d2d(allocator: Any, blocks: int = 6, **more: Any) -> dict[str, Any]:
    link = {
        "from": "obu",
        "to": "obu",
        "channel": "v2v",
        "rb": {"count": blocks},
        "allocator": allocator,
        "pairs": {"range": "100 m", "count": 1},
        **more,
    }
    return {
        "channels": {"v2v": {"pathloss": {"model": "power_law"}}},
        "radios": {"obu": {"attach": {"vtype": "*"}, "tx_power": "13 dBm"}},
        "links": [link],
    }


def run(section: dict[str, Any], ticks: int = 20, n: int = 60) -> tuple[Network, list[Any]]:
    network, road, vehicles = build(section, net()), Road(), somewhere(n, 1, 400.0)
    return network, [network.step(road.at(k * 100_000, vehicles)).d2d[0] for k in range(ticks)]


@pytest.mark.parametrize("name", ["random", "round_robin", "greedy", "sps"])
def test_every_link_gets_a_block(name: str) -> None:
    _, states = run(d2d(name))
    for state in states:
        assert len(state.tx) > 30
        assert state.block.min() >= 0
        assert state.block.max() < 6


def test_random_uses_all_blocks_equally_and_anew_each_tick() -> None:
    _, states = run(d2d("random"))
    count = np.bincount(np.concatenate([s.block for s in states]), minlength=6)
    assert count.min() > 0.7 * count.mean()
    assert (states[0].block != states[1].block).any()


def test_round_robin_deals_evenly() -> None:
    _, states = run(d2d("round_robin"))
    count = np.bincount(states[0].block, minlength=6)
    assert count.max() - count.min() <= 1
    assert np.array_equal(states[1].block, (states[0].block + 1) % 6)


def test_greedy_beats_random() -> None:
    means = {}
    for name in ("greedy", "random"):
        _, states = run(d2d(name))
        means[name] = np.mean([np.log2(1 + s.sinr).mean() for s in states])
    assert means["greedy"] > means["random"] * 1.1


def test_sps_keeps_a_block_for_its_counter() -> None:
    _, states = run(d2d({"model": "sps", "keep": 0.0}), ticks=60)
    blocks = np.array([s.block for s in states])
    for link in range(blocks.shape[1]):
        changes = np.flatnonzero(np.diff(blocks[:, link])) + 1
        assert (np.diff(changes) >= 6).all()
    assert (blocks != blocks[0]).any()


def test_sps_that_always_keeps_never_changes() -> None:
    _, states = run(d2d({"model": "sps", "keep": 1.0}), ticks=40)
    assert all(np.array_equal(s.block, states[0].block) for s in states)


def test_sps_avoids_what_it_hears() -> None:
    _, states = run(d2d({"model": "sps", "keep": 0.0}), ticks=80)
    early, late = (np.mean([np.log2(1 + s.sinr).mean() for s in part]) for part in (states[:5], states[-20:]))
    assert late > early


def test_agents_say_who_sends_where() -> None:
    section = d2d("agent")
    network, road, vehicles = (
        build(section, net()),
        Road(),
        {"a": (0.0, 0.0), "b": (20.0, 0.0), "c": (50.0, 0.0)},
    )
    state = network.step(road.at(0, vehicles))
    rows = {name: state.ids.index(name) for name in vehicles}
    network.order_blocks(np.array([rows["a"], rows["c"]]), np.array([rows["b"], rows["b"]]), np.array([2, 4]))
    state = network.step(road.at(100_000, vehicles))
    links = state.d2d[0]
    found = {
        (state.ids[t], state.ids[r]): int(b) for t, r, b in zip(links.tx, links.rx, links.block, strict=True)
    }
    assert found == {("a", "b"): 2, ("c", "b"): 4}
    del vehicles["c"]
    assert len(network.step(road.at(200_000, vehicles)).d2d[0].tx) == 1
    with pytest.raises(ScenarioError, match="outside"):
        network.order_blocks(np.array([0]), np.array([1]), np.array([6]))


def test_an_allocator_from_outside() -> None:
    @allocator("test_always_three")
    def test_always_three(request: Any, params: Any) -> Any:
        return np.full(len(request.tx), 3)

    _, states = run(d2d("test_always_three"), ticks=1)
    assert set(states[0].block) == {3}


def test_an_allocators_wrong_answer_is_named() -> None:
    @allocator("test_wrong")
    def test_wrong(request: Any, params: Any) -> Any:
        return np.full(len(request.tx), 99)

    with pytest.raises(ScenarioError, match="test_wrong"):
        run(d2d("test_wrong"), ticks=1)


@pytest.mark.parametrize("name", ["random", "sps"])
def test_one_more_vehicle_far_away_moves_no_draw(name: str) -> None:
    section, vehicles = d2d(name), somewhere(40, 2, 300.0)
    found = []
    for extra in ({}, {"far": (5000.0, 5000.0)}):
        network, road = build(section, net()), Road()
        for k in range(3):
            state = network.step(road.at(k * 100_000, {**vehicles, **extra}))
        links = state.d2d[0]
        found.append(
            {
                (state.ids[t], state.ids[r]): int(b)
                for t, r, b in zip(links.tx, links.rx, links.block, strict=True)
            }
        )
    assert found[0] == found[1]
