"""Measures of a trajectory prediction: those of Table II, and how often it names the right RSU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.hybrid_mappo.predictor.data import Box
from agents.hybrid_mappo.workload import predicted_station

Floats = NDArray[np.float64]


def table2(true: Floats, predicted: Floats) -> dict[str, float]:
    """Return mse, mae, r2 and medae of predictions (n, 2), each the mean over both coordinates.

    Coordinates are shares of the box.  r2 is 1 - MSE / variance, NaN for a coordinate that never changes;
    ``r2_x`` and ``r2_y`` are its two parts, ``r2_pooled`` is 1 - sum of both MSE / sum of both variances.
    """
    error = predicted - true
    squared = (error**2).mean(axis=0)
    spread = true.var(axis=0)
    r2 = np.where(spread > 0.0, 1.0 - squared / np.where(spread > 0.0, spread, 1.0), np.nan)
    return {
        "mse": float(squared.mean()),
        "mae": float(np.abs(error).mean()),
        "r2": float(r2.mean()),
        "medae": float(np.median(np.abs(error), axis=0).mean()),
        "r2_pooled": float(1.0 - squared.sum() / spread.sum()),
        "r2_x": float(r2[0]),
        "r2_y": float(r2[1]),
    }


def scores(
    true: Floats, predicted: Floats, box: Box, rsu_xy: Floats, reach: float | None = None
) -> dict[str, float]:
    """Return :func:`table2`, ``rmse_m`` (distance, m) and ``rsu_hit_rate`` of positions (n, 2) in m.

    ``rsu_hit_rate`` is the share of positions whose RSU (the task's rule) is predicted right.
    """
    found = table2(box.normalise(true), box.normalise(predicted))
    found["rmse_m"] = float(np.sqrt(((predicted - true) ** 2).sum(axis=1).mean()))
    right = predicted_station(predicted, rsu_xy, reach) == predicted_station(true, rsu_xy, reach)
    found["rsu_hit_rate"] = float(right.mean())
    return found
