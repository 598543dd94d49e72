"""Predictors by name or file, and the files of weights in which they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.hybrid_mappo.predictor.linear import LinearAr, constant_velocity, persistence
from agents.hybrid_mappo.predictor.lstm import Frame, Lstm
from cosim.errors import ScenarioError, nearest
from cosim.lockstep.weights import read_policy, to_bytes
from cosim.resources import locate

Floats = NDArray[np.float64]

Predictor = Callable[[Floats], Floats]
"""Takes histories (..., 12, 2) in m, oldest first (NaN: not there yet); returns the next positions (..., 2), m."""

FOLDER = "data/policies/hybrid_mappo"
LSTM, AR = "hybrid_mappo.lstm", "hybrid_mappo.ar"
"""What files of weights are called in themselves."""
SIMPLE: dict[str, Predictor] = {"persistence": persistence, "constant_velocity": constant_velocity}
"""Predictors that need no weights."""


def load(name: str | Path) -> Predictor:
    """Return a predictor: ``persistence``, ``constant_velocity``, or weights by path or shipped name.

    ScenarioError if there is no such thing, or the file holds something else.
    """
    if str(name) in SIMPLE:
        return SIMPLE[str(name)]
    path = locate(str(name), FOLDER, ("", ".safetensors"))
    if path is None:
        hint = nearest(str(name), SIMPLE) or ""
        raise ScenarioError(f"predictor '{name}': no file of this name, here or below {FOLDER}{hint}")
    policy = read_policy(path)
    if policy.about["agent"] == AR:
        return LinearAr.from_arrays(policy.arrays)
    if policy.about["agent"] != LSTM:
        raise ScenarioError(
            f"{path}: holds weights of '{policy.about['agent']}', which predicts no positions"
        )
    return Lstm(policy.arrays, Frame.described(policy.about["frame"]))


def lstm_bytes(weights: Mapping[str, NDArray[Any]], frame: Frame, about: Mapping[str, Any]) -> bytes:
    """Return a predictor as a safetensors file with weights in half precision (1.6 MB for two LSTM of 256)."""
    half = {name: np.asarray(array, dtype=np.float16) for name, array in weights.items()}
    return to_bytes(half, {**about, "agent": LSTM, "frame": frame.describe()})


def ar_bytes(predictor: LinearAr, about: Mapping[str, Any]) -> bytes:
    """Return a linear predictor as a safetensors file."""
    return to_bytes(predictor.arrays(), {**about, "agent": AR})
