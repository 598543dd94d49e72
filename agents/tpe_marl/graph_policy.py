"""The graph attention network of :mod:`agents.tpe_marl.gat` for one instant in NumPy, for acting without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.common.perceptron import Perceptron
from cosim.tasks.driving.observation import ROAD_LENGTH

Floats = NDArray[np.float32]
Array = TypeVar("Array", bound=Any)

REACH = 100.0 / ROAD_LENGTH
"""Vehicles this far apart along the road (feature s) still see each other."""
SLOPE = 0.2
"""Of the leaky ReLU before attention is shared out."""


def linked(features: Array) -> Array:
    """Return (…, N, N) bool: who sees whom, |ds| <= 100 m and |dlane| <= 1, oneself too; arrays or tensors."""
    s, lane = features[..., 0], features[..., 1]
    near: Array = abs(s[..., :, None] - s[..., None, :]) <= REACH
    near &= abs(lane[..., :, None] - lane[..., None, :]) <= 1
    return near


class GraphPolicy:
    """Encoder, one layer of graph attention, head.  ``weights`` as ``module_arrays`` gives them."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], prefix: str) -> None:
        self._encode = Perceptron(weights, f"{prefix}.encoder.layers")
        self._head = Perceptron(weights, f"{prefix}.head.layers")
        try:
            project = np.asarray(weights[f"{prefix}.project.weight"], dtype=np.float32)
            self._source = np.asarray(weights[f"{prefix}.source"], dtype=np.float32)
            self._sink = np.asarray(weights[f"{prefix}.sink"], dtype=np.float32)
        except KeyError as error:
            raise ValueError(f"no weights {error} for the graph attention") from None
        self._project = np.ascontiguousarray(project.T)

    @property
    def inputs(self) -> int:
        """Width of a vehicle's features."""
        return self._encode.inputs

    def __call__(self, features: Floats, rows: NDArray[np.intp]) -> Floats:
        """Return values (n, A) of the actions of vehicles *rows* (n,) among all vehicles (N, 8) of the zone."""
        if not len(rows):
            return self._head(np.empty((0, 2 * self._project.shape[0]), dtype=np.float32))
        encoded = np.maximum(self._encode(features), 0.0)
        heads, width = self._source.shape
        values = (encoded @ self._project).reshape(-1, heads, width)
        to_others = (values * self._source).sum(axis=-1)
        from_others = (values * self._sink).sum(axis=-1)
        scores = from_others[:, None, :] + to_others[None, :, :]  # (N, N, heads): row looks at column
        scores = np.where(scores > 0, scores, np.float32(SLOPE) * scores)
        scores = np.where(linked(features)[..., None], scores, -np.inf)
        share = np.exp(scores - scores.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        gathered = np.einsum("ijh,jhw->ihw", share, values).reshape(len(features), -1)
        seen = np.where(gathered > 0, gathered, np.expm1(np.minimum(gathered, 0.0)))  # ELU
        return self._head(np.concatenate([encoded, seen], axis=1)[rows])
