"""What the network layer costs, against plain NumPy written for the same sum, in one run.

    python benchmarks/network.py [--rounds 30]

The plain expression is what one would write in a notebook: path loss, shadowing from one global generator, Shannon
rates up and down, nothing else.  Both take turns within a round, so that a machine whose speed drifts slows both;
printed are the best processor time of each and the median ratio within a round.  All runs in one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.network import Network, NetworkConfig, Work, WorkQueue
from cosim.network.blockage import Buildings
from cosim.network.geo import Geo
from cosim.network.interference import sinr_links
from cosim.network.jobs import Job
from cosim.network.pathloss import power_law
from cosim.traffic.geometry import NetGeometry
from cosim.traffic.state import TrafficState, VehicleType, entity_key

Floats = NDArray[np.float64]
SIZE = 2000.0
MACRO: dict[str, Any] = {"pathloss": "macro", "shadowing": "gudmundson"}
FIELD: dict[str, Any] = {"pathloss": "macro", "shadowing": "field"}
UMI: dict[str, Any] = {
    "pathloss": {"model": "tr38901_umi", "h_bs": 10, "h_ut": 1.5},
    "los": "prob",
    "shadowing": "gudmundson",
    "fading": "rayleigh",
}


def empty_net() -> NetGeometry:
    """A plane without roads."""
    return NetGeometry({}, {}, {}, (), (), (), (0.0, 0.0, SIZE, SIZE), (0.0, 0.0), None)


def traffic(n: int) -> Callable[[int], TrafficState]:
    """Return vehicles that drive straight at up to 20 m/s, by tick of 100 ms."""
    rng = np.random.default_rng(6)
    ids = tuple(sorted((f"veh{i}" for i in range(n)), key=entity_key))
    start, pace = rng.uniform(0, SIZE, (n, 2)), rng.uniform(-2, 2, (n, 2))
    zeros, whole = np.zeros(n), np.zeros(n, np.int32)
    first = TrafficState(
        t_us=0,
        ids=ids,
        key=np.array([entity_key(i) for i in ids], np.uint64),
        slot=rng.permutation(n).astype(np.int32),
        xy=start,
        z=zeros,
        angle=zeros,
        speed=zeros,
        accel=zeros,
        edge=whole,
        lane=whole,
        s=zeros,
        type=whole,
        edges=("e",),
        types=(VehicleType("car"),),
    )
    return lambda k: replace(first, t_us=k * 100_000, xy=start + pace * k)


def places(m: int) -> Floats:
    """Return station positions, (m, 2)."""
    return np.random.default_rng(5).uniform(0, SIZE, (m, 2))


def network(channel: dict[str, Any], m: int) -> Network:
    """Return m stations and a radio on every vehicle."""
    section = {
        "channels": {"v2i": channel},
        "radios": {
            "rsu": {"attach": {"xy": places(m).tolist()}, "tx_power": "30 dBm", "bandwidth": "20 MHz"},
            "obu": {"attach": {"vtype": "*"}, "tx_power": "23 dBm"},
        },
        "links": [{"from": "obu", "to": "rsu", "channel": "v2i"}],
    }
    return Network.build(NetworkConfig.model_validate(section), empty_net(), 1)


def plain(v: int, m: int) -> Callable[[Floats], Any]:
    """Return path loss + correlated shadowing + Shannon both ways with one global generator, as one writes it."""
    rng, stations = np.random.default_rng(0), places(m)
    u, rho = rng.standard_normal((v, m)), 0.97

    def step(xy: Floats) -> Any:
        nonlocal u
        d = np.hypot(xy[:, None, 0] - stations[:, 0], xy[:, None, 1] - stations[:, 1])
        u = rho * u + np.sqrt(1.0 - rho * rho) * rng.standard_normal((v, m))
        loss = 15.3 + 37.6 * np.log10(np.maximum(d, 1.0)) + 8.0 * u
        down = 10.0 ** ((30.0 - loss + 92.0) / 10.0)
        up = 10.0 ** ((23.0 - loss + 96.0) / 10.0)
        return 20e6 * np.log2(1.0 + down), 20e6 * np.log2(1.0 + up)

    return step


def plain_umi(v: int, m: int) -> Callable[[Floats], Any]:
    """Return UMi by state with Rayleigh fading, likewise."""
    rng, stations = np.random.default_rng(0), places(m)
    u, g = rng.standard_normal((2, v, m))

    def step(xy: Floats) -> Any:
        nonlocal u, g
        d = np.maximum(np.hypot(xy[:, None, 0] - stations[:, 0], xy[:, None, 1] - stations[:, 1]), 10.0)
        d3 = np.hypot(d, 8.5)
        u = 0.97 * u + 0.24 * rng.standard_normal((v, m))
        g = 0.97 * g + 0.24 * rng.standard_normal((v, m))
        p = np.where(d <= 18.0, 1.0, 18.0 / d + np.exp(-d / 36.0) * (1.0 - 18.0 / d))
        far = 32.4 + 40 * np.log10(d3) + 20 * np.log10(5.9) - 9.5 * np.log10(354.0**2 + 8.5**2)
        los = np.where(d <= 354.0, 32.4 + 21 * np.log10(d3) + 20 * np.log10(5.9), far)
        nlos = np.maximum(los, 35.3 * np.log10(d3) + 22.4 + 21.3 * np.log10(5.9))
        blocked = 0.5 * (1.0 + np.tanh(0.8 * g)) > p
        loss = np.where(blocked, nlos, los) + np.where(blocked, 7.82, 4.0) * u
        fade = rng.exponential(size=(v, m))
        down = fade * 10.0 ** ((30.0 - loss + 92.0) / 10.0)
        up = fade * 10.0 ** ((23.0 - loss + 96.0) / 10.0)
        return 20e6 * np.log2(1.0 + down), 20e6 * np.log2(1.0 + up)

    return step


def timed(call: Callable[[], Any]) -> float:
    """Return the processor seconds that a call takes: what other programs take meanwhile does not count."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def matrix(v: int, m: int, channel: dict[str, Any], other: Callable[[Floats], Any], rounds: int) -> str:
    """Compare a tick's links (all that the plain expression does), the whole tick, and the plain expression."""
    net, at = network(channel, m), traffic(v)
    cell = net._links.cells[0][2]
    inner = cell.evaluate
    spent: list[float] = []

    def evaluate(*args: Any) -> Any:
        start = time.thread_time()
        air = inner(*args)
        spent.append(time.thread_time() - start)
        return air

    cell.evaluate = evaluate  # type: ignore[method-assign]
    share = cell.share

    def shared(*args: Any) -> None:
        spent[-1] += timed(lambda: share(*args))

    cell.share = shared  # type: ignore[method-assign]
    whole, reference = [], []
    for k in range(rounds + 3):
        state = at(k)
        whole.append(timed(lambda: net.step(state)))  # noqa: B023
        reference.append(timed(lambda: other(state.xy)))  # noqa: B023
    links, whole, reference = spent[3:], whole[3:], reference[3:]
    ratio = statistics.median(a / b for a, b in zip(links, reference, strict=True))
    pairs = v * m
    return (
        f"links {min(links) * 1e3:8.3f} ms {min(links) / pairs * 1e9:6.1f} ns/pair"
        f" | whole tick {min(whole) * 1e3:8.3f} ms"
        f" | plain {min(reference) * 1e3:8.3f} ms {min(reference) / pairs * 1e9:6.1f} ns/pair"
        f" | links/plain {ratio:5.2f}"
    )


def d2d(blocks: int, rounds: int, n: int = 2000) -> str:
    """Compare SINR by groups with the dense L x L computation."""
    rng = np.random.default_rng(0)
    tx_xy = rng.uniform(0, 1000, (n, 2))
    xy = np.concatenate([tx_xy, tx_xy + rng.uniform(-20, 20, (n, 2))])
    x, y = xy.T.copy()
    tx, rx, power, alloc = np.arange(n), np.arange(n, 2 * n), np.full(n, 0.02), rng.integers(0, blocks, n)

    def gains(i: Any, j: Any, _: Any) -> Floats:
        loss = power_law(Geo(x[i] - x[j], y[i] - y[j], 1.5, 1.5, 5.9e9, d_min=1.0))
        loss *= -np.log(10.0) / 10.0
        return np.exp(loss, out=loss)

    def dense() -> Floats:
        d = np.hypot(x[tx, None] - x[None, rx], y[tx, None] - y[None, rx])
        gain = np.maximum(d, 1.0) ** -4.0
        same = alloc[:, None] == alloc[None, :]
        np.fill_diagonal(same, False)
        return power * np.diag(gain) / (1e-15 + (power[:, None] * gain * same).sum(axis=0))

    def grouped() -> Floats:
        return sinr_links(tx, rx, power, alloc, 1e-15, gains)

    assert np.allclose(grouped(), dense(), rtol=1e-9)
    a, b = zip(*((timed(grouped), timed(dense)) for _ in range(rounds)), strict=True)
    ratio = statistics.median(y / x for x, y in zip(a, b, strict=True))
    return f"grouped {min(a) * 1e3:7.2f} ms | dense {min(b) * 1e3:7.2f} ms | {ratio:5.1f} x faster"


def sight(rounds: int) -> str:
    """Time building line of sight, moving and standing."""
    rng = np.random.default_rng(1)
    corner, size = rng.uniform(0, SIZE, (200, 2)), rng.uniform(15, 60, (200, 2))
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    outlines = [c + square * s for c, s in zip(corner, size, strict=True)]
    buildings, n = Buildings(outlines), 2000
    a = rng.uniform(0, SIZE, (n, 2))
    b = a + rng.uniform(-300, 300, (n, 2))
    best = min(timed(lambda: buildings.cut(a, b)) for _ in range(rounds))
    net, at = network({"pathloss": "macro", "los": "buildings"}, 6), traffic(300)
    net._links.cells[0][2].channel._buildings = buildings
    moving = min(timed(lambda: net.step(at(k))) for k in range(rounds))  # noqa: B023
    still = min(timed(lambda: net.step(at(rounds - 1))) for _ in range(rounds))
    tick = f"tick of 300 x 6: all moving {moving * 1e3:6.2f} ms, standing {still * 1e3:6.2f} ms"
    return f"{best / n * 1e6:5.2f} us/segment | {tick}"


def fifo(rounds: int, n: int = 20_000) -> str:
    """Time a FIFO processor at 90 % load, and a job through radio, wire and processor."""

    def run() -> None:
        queue = WorkQueue(1_000_000_000)
        for i in range(n):
            queue.push(Work(i, 900_000 + i % 7), i * 1000)
        assert len(queue.advance(10**9)) == n

    best = min(timed(run) for _ in range(max(3, rounds // 10)))
    return (
        f"{best / n * 1e6:5.2f} us/task | whole job (up, wire, CPU, wire, down) {whole_job() * 1e6:5.1f} us"
    )


def whole_job(n: int = 3000) -> float:
    """Return the seconds that one job costs on its way over another station's server."""
    section = {
        "channels": {"v2i": {"pathloss": "macro"}},
        "radios": {"rsu": {"attach": {"xy": [[0, 0], [900, 0]]}}, "obu": {"attach": {"vtype": "*"}}},
        "links": [{"from": "obu", "to": "rsu", "channel": "v2i"}],
        "wired": [{"ends": ["rsu_*", "rsu_*"], "rate": "10 Gbit/s", "delay": "1 ms"}],
        "servers": [{"at": "rsu_*", "cpu": "100 GHz"}],
    }
    net = Network.build(NetworkConfig.model_validate(section), empty_net(), 1)
    state = traffic(20)
    net.step(state(0))

    def run() -> None:
        for i in range(n):
            net.submit(Job(f"j{i}", f"veh{i % 20}", 1000, 1_000_000, 1000), "rsu_0")
            net.edge.advance(net.edge.now_us + 1000)
        net.edge.advance(10**9)

    spent = timed(run)
    assert len(net.events().done) == n
    return spent / n


def main() -> None:
    """Print every case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    print("V x M      channel")
    for v, m in ((100, 6), (1000, 50), (5000, 200)):
        n = max(5, rounds // 4) if v * m > 10**5 else rounds
        print(f"{v:5d}x{m:<3d}  macro, walk      {matrix(v, m, MACRO, plain(v, m), n)}")
        print(f"{v:5d}x{m:<3d}  UMi, LOS, fading {matrix(v, m, UMI, plain_umi(v, m), n)}")
        if v * m < 10**5:
            print(f"{v:5d}x{m:<3d}  macro, field     {matrix(v, m, FIELD, plain(v, m), n)}")
    for blocks in (6, 50):
        print(f"D2D SINR, 2000 links on {blocks:2d} blocks: {d2d(blocks, rounds)}")
    print(f"building LOS: {sight(rounds)}")
    print(f"FIFO: {fifo(rounds)}")


if __name__ == "__main__":
    main()
