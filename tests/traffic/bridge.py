"""A running SUMO for the tests of the bridge: small scenarios, both backends, always closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cosim.scenario import TrafficConfig, scenario_from_resolved
from cosim.traffic.nets import find_net
from cosim.traffic.sumo import Traffic, TrafficEvent

BACKENDS = ("libsumo", "traci")
FLOW = {"rate": "350 veh/h", "routes": {"left": 0.25, "straight": 0.5, "right": 0.25}, "cav_share": 0.5}
PRECISE = {"options": {"precision": 9, "fcd-output.acceleration": True}}


def config(**traffic: Any) -> TrafficConfig:
    """A traffic section on the highway unless it says otherwise."""
    whole = {"net": "highway_trifurcation", **traffic}
    return scenario_from_resolved({"name": "bridge", "duration": 10, "traffic": whole}).traffic


@contextmanager
def running(
    backend: str = "libsumo", *, seed: int = 0, work: Path | None = None, **traffic: Any
) -> Iterator[Traffic]:
    """A :class:`Traffic` that is closed at the end of the block."""
    section = config(**traffic)
    with Traffic(section, find_net(section.net, section.variant), seed, backend=backend, work=work) as found:
        yield found


def steps(traffic: Traffic, n: int) -> list[TrafficEvent]:
    """Take *n* steps and return the events of all of them."""
    events: list[TrafficEvent] = []
    for _ in range(n):
        traffic.step()
        events += traffic.events
    return events


def rows_of(traffic: Traffic, *ids: str) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Row numbers of vehicles in the present state."""
    return np.array([traffic.state.row(i) for i in ids], dtype=np.intp)


def group(name: str, lane: int, **more: Any) -> dict[str, Any]:
    """One vehicle (or more) straight on from the beginning of the highway."""
    return {"name": name, "route": "straight", "depart_lane": lane, **more}
