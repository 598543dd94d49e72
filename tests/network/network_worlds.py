"""Small nets, traffic states and networks made by hand for the tests of the network layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cosim.network.config import NetworkConfig
from cosim.network.network import Network
from cosim.traffic.geometry import Edge, Junction, Lane, NetGeometry, Poi, Polygon
from cosim.traffic.state import TrafficState, VehicleType, entity_key

TYPES = (
    VehicleType("cav", cav=True),
    VehicleType("car"),
    VehicleType("truck", length=12.0, width=2.5, height=3.5),
)


def net(
    pois: Mapping[str, tuple[float, float]] | None = None,
    buildings: Sequence[ArrayLike] = (),
    boundary: tuple[float, float, float, float] = (0.0, 0.0, 1000.0, 1000.0),
) -> NetGeometry:
    """A net with one straight lane ``road_0`` from (0, 0) to (1000, 0) and a junction ``middle`` at (500, 0)."""
    lane = Lane("road_0", "road", 0, 1000.0, 20.0, 3.2, np.array([[0.0, 0.0], [1000.0, 0.0]]))
    middle = Junction("middle", "priority", 500.0, 0.0, np.zeros((0, 2)))
    return NetGeometry(
        edges={"road": Edge("road", "normal", "a", "b", (lane,))},
        internal={},
        junctions={"middle": middle},
        connections=(),
        pois=tuple(Poi(i, "rsu", x, y) for i, (x, y) in (pois or {}).items()),
        polygons=tuple(Polygon(f"b{i}", "building", np.asarray(b, float)) for i, b in enumerate(buildings)),
        boundary=boundary,
        offset=(0.0, 0.0),
        projection=None,
    )


class Road:
    """Gives traffic states of named vehicles, with slots as the bridge gives them."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._ids: tuple[str, ...] = ()

    def at(
        self,
        t_us: int,
        vehicles: Mapping[str, tuple[float, float]],
        types: Mapping[str, int] | None = None,
        angle: float = 90.0,
    ) -> TrafficState:
        """Vehicles at their places; whoever is missing has left."""
        for gone in set(self._slots) - set(vehicles):
            del self._slots[gone]
        for name in vehicles:
            if name not in self._slots:
                self._slots[name] = next(i for i in range(len(vehicles) + 1) if i not in self._slots.values())
        ids = tuple(sorted(vehicles, key=entity_key))
        if ids == self._ids:
            ids = self._ids
        self._ids = ids
        n = len(ids)
        zeros, whole = np.zeros(n), np.zeros(n, np.int32)
        return TrafficState(
            t_us=t_us,
            ids=ids,
            key=np.array([entity_key(i) for i in ids], np.uint64),
            slot=np.array([self._slots[i] for i in ids], np.int32),
            xy=np.array([vehicles[i] for i in ids], float).reshape(-1, 2),
            z=zeros,
            angle=np.full(n, angle),
            speed=zeros,
            accel=zeros,
            edge=whole,
            lane=whole,
            s=zeros,
            type=np.array([(types or {}).get(i, 0) for i in ids], np.int32),
            edges=("road",),
            types=TYPES,
        )


MACRO = {"pathloss": {"model": "macro", "frequency": "2 GHz"}}


def v2i(channel: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A section with RSUs at POIs ``rsu_*`` and the radio ``obu`` on all vehicles."""
    section: dict[str, Any] = {
        "channels": {"v2i": dict(channel or MACRO)},
        "radios": {
            "rsu": {"attach": {"poi": "rsu_*"}, "tx_power": "30 dBm", "bandwidth": "20 MHz"},
            "obu": {"attach": {"vtype": "*"}, "tx_power": "23 dBm"},
        },
        "links": [{"from": "obu", "to": "rsu", "channel": "v2i"}],
    }
    return {**section, **more}


def build(section: Mapping[str, Any], geometry: NetGeometry, seed: int = 1) -> Network:
    """The network of a section."""
    return Network.build(NetworkConfig.model_validate(section), geometry, seed)


def somewhere(n: int, seed: int = 0, size: float = 1000.0) -> dict[str, tuple[float, float]]:
    """Vehicles ``veh0`` … at random places."""
    places = np.random.default_rng(seed).uniform(0.0, size, (n, 2))
    return {f"veh{i}": (float(x), float(y)) for i, (x, y) in enumerate(places)}


def moved(
    vehicles: Mapping[str, tuple[float, float]], dx: float, dy: float = 0.0
) -> dict[str, tuple[float, float]]:
    """The same vehicles further on."""
    return {i: (x + dx, y + dy) for i, (x, y) in vehicles.items()}
