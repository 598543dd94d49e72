"""The coverage map: the SINR that a vehicle would have anywhere over the net's plane.

Reads the network's section and the net's geometry; gives arrays that a plot can draw.  Path loss, buildings and field
shadowing count; what needs a moving vehicle (walks, fading, other vehicles' bodies) does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cosim.errors import ScenarioError
from cosim.network.cellular import Cell
from cosim.network.channel_config import ChannelConfig
from cosim.network.choice import Choice
from cosim.network.config import LinkConfig, NetworkConfig
from cosim.network.correlated import Ends
from cosim.network.links import make_channel
from cosim.network.los import WallParams
from cosim.network.models import NoParams
from cosim.network.rates import decibel, watts
from cosim.network.stations import CAR_HEIGHT, DEFAULT_POWER_DBM, Stations
from cosim.traffic.geometry import NetGeometry

Floats = NDArray[np.float64]

_CHUNK = 4096
_NONE = Choice("none", NoParams(), NoParams())


@dataclass(frozen=True)
class CoverageMap:
    """Downlink SINR over the plane: ``x`` (nx,), ``y`` (ny,) m; ``sinr_db`` (ny, nx), nan where no station reaches;
    ``serving`` (ny, nx) station numbers, -1 for none; ``stations`` ids and ``station_xy`` (M, 2) m."""

    x: Floats
    y: Floats
    sinr_db: Floats
    serving: NDArray[np.int64]
    stations: tuple[str, ...]
    station_xy: Floats


def coverage_map(
    config: NetworkConfig, geometry: NetGeometry, seed: int, spacing: float = 10.0, margin: float = 50.0
) -> CoverageMap:
    """Return the coverage map of a scenario's fixed stations.

    Args:
        config: the scenario's network section.
        geometry: the net.
        seed: of the run; field shadowing depends on it.
        spacing: of the points, m.
        margin: around the net and its stations, m.

    ScenarioError if there is no cellular link or the spacing is not positive.
    """
    cellular = [link for link in config.links if not config.is_d2d(link)]
    if not cellular:
        raise ScenarioError("a coverage map needs links from vehicles to stations", key="network.links")
    if spacing <= 0.0:
        raise ScenarioError(f"the spacing of a coverage map must be positive, not {spacing:g} m")
    stations = Stations(config.radios, geometry, seed)
    fixed = stations.fixed
    xmin, ymin, xmax, ymax = geometry.boundary
    corners = np.concatenate([fixed.xy, [[xmin, ymin], [xmax, ymax]]])
    (left, low), (right, high) = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    x, y = np.arange(left, right + spacing, spacing), np.arange(low, high + spacing, spacing)
    points = np.stack([v.ravel() for v in np.meshgrid(x, y)], axis=1)
    best, sinr = np.full(len(points), -np.inf), np.full(len(points), np.nan)
    serving = np.full(len(points), -1, np.int64)
    for link in cellular:
        columns = np.flatnonzero(fixed.radio == stations.names.index(link.to))
        if not len(columns):
            continue
        cell = _still(config, link, geometry, seed)
        for start in range(0, len(points), _CHUNK):
            here = slice(start, start + _CHUNK)
            rx, quality = _at(cell, config, link, points[here], start, stations, columns)
            at = np.arange(len(rx)), rx.argmax(axis=1)
            better = rx[at] > best[here]
            best[here] = np.where(better, rx[at], best[here])
            sinr[here] = np.where(better, decibel(np.maximum(quality[at], 1e-30)), sinr[here])
            serving[here] = np.where(better, columns[at[1]], serving[here])
    shape = len(y), len(x)
    return CoverageMap(x, y, sinr.reshape(shape), serving.reshape(shape), fixed.ids, fixed.xy)


def _still(config: NetworkConfig, link: LinkConfig, geometry: NetGeometry, seed: int) -> Cell:
    """Return the cell of a link kind as a vehicle that stands would see it."""
    channel = config.channels[link.channel]
    changes: dict[str, Choice] = {"fading": _NONE}
    if channel.shadowing.model == "gudmundson":
        changes["shadowing"] = _NONE
    if channel.los.model == "buildings+vehicles":
        assert isinstance(channel.los.low, WallParams)
        changes["los"] = replace(channel.los, model="buildings")
    elif channel.los.model == "prob":
        changes["los"] = Choice("always", NoParams(), NoParams())
    still: ChannelConfig = channel.model_copy(update=changes)
    plain = config.model_copy(update={"channels": {**config.channels, link.channel: still}})
    return Cell(
        link, make_channel(plain, link, geometry, seed, 1), config.radios[link.source], config.radios[link.to]
    )


def _at(
    cell: Cell,
    config: NetworkConfig,
    link: LinkConfig,
    points: Floats,
    first: int,
    stations: Stations,
    columns: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Return received power (dBm) and SINR (linear) of some points and a cell's stations, both (n, m)."""
    n, fixed, none = len(points), stations.fixed, np.empty(0, np.int64)
    radio = config.radios[link.source]
    slots = np.arange(n)
    a = Ends(
        key=(np.arange(n) + first).astype(np.uint64),
        x=np.ascontiguousarray(points[:, 0]),
        y=np.ascontiguousarray(points[:, 1]),
        h=np.full(n, CAR_HEIGHT if radio.height is None else radio.height.low),
        slot=slots,
        shift=np.zeros((n, 2)),
        body=np.full(n, -1, np.int64),
        new=slots,
    )
    b = Ends(
        key=fixed.key[columns],
        x=np.ascontiguousarray(fixed.xy[columns, 0]),
        y=np.ascontiguousarray(fixed.xy[columns, 1]),
        h=fixed.height[columns],
        slot=np.arange(len(columns)),
        shift=np.zeros((len(columns), 2)),
        body=np.full(len(columns), -1, np.int64),
        new=none,
    )
    cell.channel.begin(0, a, b, n, None)
    power = radio.tx_power.low if radio.tx_power is not None else watts(DEFAULT_POWER_DBM["vehicle"])
    air = cell.evaluate(a, b, np.full(n, power), fixed, columns, False)
    return air.rx_dbm, air.sinr
