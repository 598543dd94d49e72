"""The graph attention network of :mod:`agents.tpe_marl.gat` for one instant in NumPy, for acting without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.common.perceptron import Perceptron
from cosim.tasks.driving.observation import ROAD_LENGTH

Floats = NDArray[np.float32]

REACH = 100.0 / ROAD_LENGTH
"""Vehicles this far apart along the road (feature s) still see each other."""
SLOPE = 0.2
"""Of the leaky ReLU before attention is shared out."""


RELATIVE = 12
"""Numbers of :func:`differences`."""
_NEAR = 10.0 / ROAD_LENGTH


def sees(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Return (…,): who of *one* (…, d) sees who of *other*, |ds| <= 100 m and |dlane| <= 1."""
    near = np.abs(one[..., 0] - other[..., 0]) <= REACH
    near &= np.abs(one[..., 1] - other[..., 1]) <= 1
    return np.asarray(near)


def differences(one: Floats, other: Floats) -> Floats:
    """Return (…, 12): how *other* (…, d) lies to *one*, by lane (right, same, left) and ahead or behind.

    For each of the six places two numbers, 0 for who is elsewhere: closeness 1/(1 + |ds| / 10 m), and closeness
    times the difference of speeds.
    """
    ahead, aside, faster = (other[..., column] - one[..., column] for column in range(3))
    close = 1.0 / (1.0 + np.abs(ahead) / np.float32(_NEAR))
    before = np.where(aside == 0, ahead > 0, ahead >= 0)
    # One of the six places, 0 … 5, beyond them for who is two lanes away and for oneself.
    place = np.where((np.abs(aside) > 1) | ((aside == 0) & (ahead == 0)), 6, 2 * aside + 2 + ~before)
    here = (place[..., None] == np.arange(6)) * close[..., None]
    return np.concatenate([here, here * faster[..., None]], axis=-1).astype(np.float32)


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
        between = weights.get(f"{prefix}.between.weight")
        self._between = None if between is None else np.ascontiguousarray(np.asarray(between, np.float32).T)

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
        one, other = features[:, None], features[None]
        heard = values[None]
        if self._between is not None:
            apart = differences(one, other) @ self._between
            heard = heard + apart.reshape(*apart.shape[:2], heads, width)
        # (N, N, heads): row looks at column.
        scores = (values * self._sink).sum(axis=-1)[:, None] + (heard * self._source).sum(axis=-1)
        scores = np.where(scores > 0, scores, np.float32(SLOPE) * scores)
        scores = np.where(sees(one, other)[..., None], scores, -np.inf)
        share = np.exp(scores - scores.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        gathered = (share[..., None] * heard).sum(axis=1).reshape(len(features), -1)
        seen = np.where(gathered > 0, gathered, np.expm1(np.minimum(gathered, 0.0)))  # ELU
        return self._head(np.concatenate([encoded, seen], axis=1)[rows])
