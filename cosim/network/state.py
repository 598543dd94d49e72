"""The air and the servers at one instant: what the network layer gives each tick, as frozen arrays.

Rows are the vehicles of the :class:`~cosim.traffic.state.TrafficState` of the same instant, columns the stations in
key order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class D2dState:
    """The L device-to-device links of one link kind at an instant, in (tx key, rx key) order.

    ``name`` of the link kind; ``tx, rx`` (L,) vehicle rows; ``block`` (L,) resource block, -1 for none; ``sinr`` (L,)
    linear; ``rate`` (L,) bit/s; ``distance`` (L,) m; ``per`` (L,) packet error rate (nan where no curve is given).
    """

    name: str
    tx: Index
    rx: Index
    block: Index
    sinr: Floats
    rate: Floats
    distance: Floats
    per: Floats


@dataclass(frozen=True, slots=True)
class ServerState:
    """Servers at an instant: ``backlog`` (S,) cycles still to do, ``jobs`` (S,) waiting or under way."""

    names: tuple[str, ...]
    backlog: Floats
    jobs: Index


@dataclass(frozen=True, slots=True)
class NetworkState:
    """All radio links at ``t_us``: V vehicles and M stations.

    ==============  ==========  =========================================================================
    field           shape       meaning
    ==============  ==========  =========================================================================
    ids             V str       the traffic state's ids (the same tuple)
    stations        M str       station ids, in key order
    station_xy      M,2         m
    station_kind    M str       rsu or bs
    station_range   M           m, inf without a limit
    loss_db         V,M         path loss, blockage and shadowing, dB; inf where the two have no link
    los             V,M u8      0 LOS, 1 blocked by vehicles, 2 blocked by buildings (or no link)
    rx_dbm          V,M         received power of the downlink, without fading; -inf out of range
    snr             V,M         downlink signal to noise, linear, fading included
    sinr            V,M         downlink signal to noise and interference, linear
    sinr_up         V,M         uplink likewise
    rate_up         V,M         bit/s to a station at its present sharing; what one more would get elsewhere
    rate_down       V,M         bit/s from it
    per             V           packet error rate of the downlink, nan without a curve or a station
    equipped        V bool      carries a radio that stations serve
    serving         V i8        column of the serving station, -1 for none
    former          V i8        column of the station before a handover in this tick, -1 for none
    handover        V bool      a handover took place in this tick
    ping_pong       V bool      and it was a return
    interrupted     V bool      still without service after a handover (its rates are 0)
    ==============  ==========  =========================================================================
    """

    t_us: int
    ids: tuple[str, ...]
    stations: tuple[str, ...]
    station_xy: Floats
    station_kind: tuple[str, ...]
    station_range: Floats
    loss_db: Floats
    los: NDArray[np.uint8]
    rx_dbm: Floats
    snr: Floats
    sinr: Floats
    sinr_up: Floats
    rate_up: Floats
    rate_down: Floats
    per: Floats
    equipped: NDArray[np.bool_]
    serving: Index
    former: Index
    handover: NDArray[np.bool_]
    ping_pong: NDArray[np.bool_]
    interrupted: NDArray[np.bool_]
    d2d: tuple[D2dState, ...]
    servers: ServerState

    def __len__(self) -> int:
        return len(self.ids)

    def of_serving(self, values: Floats, none: float = 0.0) -> Floats:
        """Return the entry of a (V, M) array at each vehicle's serving station, (V,); *none* where it has none."""
        if not len(self.stations):
            return np.full(len(self), none)
        own = values[np.arange(len(self)), np.maximum(self.serving, 0)]
        return np.where(self.serving >= 0, own, none)
