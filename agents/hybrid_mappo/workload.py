"""Predicted load of RSUs: the load of now plus zeta for every other vehicle that is predicted to come (eq 18)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.tasks.migration.space import NONE, Layout, serving_station

Floats = NDArray[np.float64]

ZETA = 10e9
"""Work that a predicted vehicle is expected to bring, cycles [A: best of 8 to 37.5 Gcycle]."""


def predicted_station(xy: Floats, rsu_xy: Floats, reach: float | None = None) -> NDArray[np.int64]:
    """Return (...) the RSU that will serve each place, ``NONE`` (-1) in a gap or where the place is not known.

    The rule is the task's own (the nearest RSU, so the driving side decides between two that face each other).

    Args:
        xy: places (..., 2), m; NaN where not known.
        rsu_xy: sites (M, 2), m.
        reach: how far an RSU reaches, m; None: everywhere.
    """
    layout = Layout(ids=("",) * len(rsu_xy), xy=rsu_xy, box=np.zeros((2, 2)), reach=reach)
    return np.where(np.isfinite(xy).all(axis=-1), serving_station(layout, xy), NONE)


def predicted_counts(station: NDArray[np.int64], stations: int) -> Floats:
    """Return z (..., V, M): for each vehicle, how many of the others are predicted at each RSU.

    A vehicle does not count itself: it knows what it is about to bring.

    Args:
        station: RSU predicted for each vehicle (..., V), -1 for none.
        stations: M.
    """
    at = (station[..., None] == np.arange(stations)).astype(np.float64)
    others: Floats = at.sum(axis=-2, keepdims=True) - at
    return others


def predicted_load(load: Floats, counts: Floats, zeta: float = ZETA) -> Floats:
    """Return L_pre (..., V, M) in cycles, what each vehicle expects of the RSUs.

    Args:
        load: L (..., M) now, cycles.
        counts: z (..., V, M) of :func:`predicted_counts`.
        zeta: cycles a vehicle.
    """
    return load[..., None, :] + zeta * counts  # Eq. (18)
