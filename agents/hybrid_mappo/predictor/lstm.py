"""The coverage-aware LSTM predictor at work, in NumPy: the next position from twelve past ones (Fig. 2, section V).

Reads the weights that :mod:`agents.hybrid_mappo.predictor.training` writes; torch is not needed.  A batch of any
size costs little more than its matrix products, so all vehicles of many tapes are asked at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.hybrid_mappo.predictor.data import PAST, Box, filled
from cosim.errors import ScenarioError, nearest

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

NET = "net"
"""Prefix of the network's weights in a file."""
POSITION, DISPLACEMENT = "position", "displacement"
TARGETS = (POSITION, DISPLACEMENT)
_ROWS = 128
"""Rows of one pass, so that the gates stay in the cache."""


@dataclass(frozen=True)
class Frame:
    """How positions reach the network and come back.

    ``position`` [G]: in and out are shares of ``box``, the output is never negative (ReLU).  ``displacement``
    [A: easier to learn, and lanes weigh as much as the length of the road]: the network sees (position - ``mean``) /
    ``spread`` and the displacement since the position before / ``step``, and returns the next displacement /
    ``step``.  All (2,), m; displacements at first positions are 0.
    """

    target: str
    box: Box
    mean: Floats
    spread: Floats
    step: Floats

    @classmethod
    def of(cls, target: str, box: Box, past: Floats, future: Floats) -> Frame:
        """Return the frame that fits training windows (n, 12, 2) and (n, 2) in m."""
        if target not in TARGETS:
            raise ScenarioError(f"target '{target}'{nearest(target, TARGETS) or ''}: {' or '.join(TARGETS)}")
        last = past[:, -1]
        spread, step = last.std(axis=0), np.sqrt(((future - last) ** 2).mean(axis=0))
        return cls(target, box, last.mean(axis=0), *(np.where(v > 0.0, v, 1.0) for v in (spread, step)))

    @property
    def inputs(self) -> int:
        """Width of the network's input."""
        return 2 if self.target == POSITION else 4

    def shown(self, history: Floats) -> Singles:
        """Return what the network is shown (n, 12, inputs) of histories (n, 12, 2)."""
        if self.target == POSITION:
            return self.box.normalise(history).astype(np.float32)
        moved = np.diff(history, axis=-2, prepend=history[..., :1, :]) / self.step
        return np.concatenate([(history - self.mean) / self.spread, moved], axis=-1).astype(np.float32)

    def wanted(self, past: Floats, future: Floats) -> Singles:
        """Return what the network is to say (n, 2)."""
        if self.target == POSITION:
            return self.box.normalise(future).astype(np.float32)
        return ((future - past[:, -1]) / self.step).astype(np.float32)

    def meant(self, history: Floats, said: Singles) -> Floats:
        """Return the positions (n, 2) in m that the network's output (n, 2) stands for."""
        if self.target == POSITION:
            return self.box.denormalise(np.maximum(said, 0.0).astype(np.float64))
        return history[:, -1] + said * self.step

    def describe(self) -> dict[str, Any]:
        """Return the frame as plain JSON."""
        numbers = {"low": self.box.low, "high": self.box.high, "mean": self.mean}
        numbers |= {"spread": self.spread, "step": self.step}
        return {"target": self.target, **{name: array.tolist() for name, array in numbers.items()}}

    @classmethod
    def described(cls, about: Mapping[str, Any]) -> Frame:
        """Return what :meth:`describe` gave."""
        mean, spread, step = (np.array(about[name]) for name in ("mean", "spread", "step"))
        return cls(about["target"], Box.of(about["low"], about["high"]), mean, spread, step)


class Lstm:
    """LSTM, LSTM, dense layer; ``weights`` as :class:`agents.hybrid_mappo.predictor.net.PredictorNet` names them."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], frame: Frame) -> None:
        self.frame = frame
        self._layers = [_Layer(weights, f"{NET}.{name}") for name in ("first", "second")]
        self._dense = _single(weights, f"{NET}.dense.weight").T.copy()
        self._bias = _single(weights, f"{NET}.dense.bias")

    @property
    def hidden(self) -> int:
        """Width of the LSTM."""
        return len(self._dense)

    def __call__(self, history: Floats) -> Floats:
        """Return the next positions (..., 2), m."""
        rows = filled(np.asarray(history, dtype=np.float64)).reshape(-1, PAST, 2)
        parts = [self._predict(rows[k : k + _ROWS]) for k in range(0, len(rows), _ROWS)]
        return np.concatenate([np.empty((0, 2)), *parts]).reshape(*np.shape(history)[:-2], 2)

    def _predict(self, history: Floats) -> Floats:
        sequence = self.frame.shown(history).transpose(1, 0, 2)
        for layer in self._layers:
            sequence = layer(sequence)
        return self.frame.meant(history, sequence[-1] @ self._dense + self._bias)


class _Layer:
    """One LSTM over a whole sequence (T, n, in), started from zeros; gates in torch's order: i, f, g, o."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], name: str) -> None:
        self._input = _single(weights, f"{name}.weight_ih_l0").T.copy()
        self._memory = _single(weights, f"{name}.weight_hh_l0").T.copy()
        self._bias = _single(weights, f"{name}.bias_ih_l0") + _single(weights, f"{name}.bias_hh_l0")
        # sigmoid(x) = (1 + tanh(x / 2)) / 2 cannot overflow, so all gates are one tanh.
        h = len(self._memory)
        self._half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], dtype=np.float32), h)
        for array in (self._input, self._memory, self._bias):
            array *= self._half

    def __call__(self, sequence: Singles) -> Singles:
        steps, n, _ = sequence.shape
        h = len(self._memory)
        gates = sequence.reshape(steps * n, -1) @ self._input
        gates += self._bias
        gates = gates.reshape(steps, n, 4 * h)
        out = np.zeros((steps, n, h), dtype=np.float32)
        cell = np.zeros((n, h), dtype=np.float32)
        for t in range(steps):
            gate = gates[t]
            if t:
                gate += out[t - 1] @ self._memory
            np.tanh(gate, out=gate)
            i, f, g, o = (gate[:, k * h : (k + 1) * h] for k in range(4))
            cell *= 0.5 * f + 0.5
            cell += (0.5 * i + 0.5) * g
            np.multiply(0.5 * o + 0.5, np.tanh(cell), out=out[t])
        return out


def _single(weights: Mapping[str, NDArray[Any]], name: str) -> Singles:
    if name not in weights:
        raise ScenarioError(f"no predictor weights '{name}' among {', '.join(sorted(weights)) or 'nothing'}")
    return np.array(weights[name], dtype=np.float32)
