"""On real SUMO: the network leaves the traffic alone, and the same seed gives the same air."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from cosim.assembly import assemble
from cosim.scenario import load_scenario

SHORT = ["warmup=0", "duration=12 s"]


class Watcher:
    """A recorder that hashes what vehicles do and what the air is like."""

    def __init__(self) -> None:
        self.traffic, self.air = hashlib.sha256(), hashlib.sha256()
        self.vehicles = 0

    def actions(self, *_: Any) -> None:
        """No agents, no answers."""

    def instant(self, now: Any) -> None:
        """Hash positions and speeds, losses and rates."""
        self.vehicles = max(self.vehicles, len(now.traffic))
        for values in (now.traffic.key, now.traffic.xy, now.traffic.speed):
            self.traffic.update(values.tobytes())
        for values in (now.network.loss_db, now.network.rate_up, now.network.serving):
            self.air.update(values.tobytes())


def run(*changes: str) -> tuple[str, str]:
    watcher = Watcher()
    assembly = assemble(load_scenario("urban_rsu", [*SHORT, *changes]), recorder=watcher)  # type: ignore[arg-type]
    try:
        assembly.engine.run({})
    finally:
        assembly.close()
    assert watcher.vehicles >= 3
    return watcher.traffic.hexdigest(), watcher.air.hexdigest()


@pytest.fixture(scope="module")
def usual() -> tuple[str, str]:
    return run()


def test_the_same_seed_gives_the_same_air(usual: tuple[str, str]) -> None:
    assert run() == usual


@pytest.mark.parametrize(
    "change",
    [
        "network.channels.v2i.pathloss={model: tr37885, scene: urban}",
        "network.channels.v2i.los=prob",
        "network.channels.v2i.shadowing=gudmundson",
        "network.channels.v2i.fading=none",
    ],
)
def test_another_channel_model_leaves_every_trajectory_as_it_was(usual: tuple[str, str], change: str) -> None:
    traffic, air = run(change)
    assert traffic == usual[0]
    assert air != usual[1]
