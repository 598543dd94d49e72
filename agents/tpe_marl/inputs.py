"""What the networks of driving are shown: each vehicle's input row and the mixers' and critics' state, in NumPy.

Row input: the observation (as it is, or scaled and spelt out by :class:`agents.common.perceptron.Inputs`), the own
last action as a one-hot, and the inflow of the last step (38 + 9 + 8 = 55 numbers).  States are built for all instants
of a window at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.common.perceptron import Inputs
from cosim.tasks.driving.observation import ACTIONS, FEATURES, SPEED_SCALE

INFLOW = 8
NO_ACTION = -1
MAX_SPEED = 20.0
TRAFFIC = INFLOW + 3
"""Numbers of a state that belong to no vehicle: inflow, CAVs, HDVs, mean speed."""

Floats = NDArray[np.float32]

_SPEED, _IS_CAV = 2, 3  # columns of a vehicle's features
_FEATURE_SCALE = np.array([1, 3, 1, 1, 2, 10, 10, 10], dtype=np.float32)
_ONE_HOT = np.eye(ACTIONS + 1, ACTIONS, dtype=np.float32)
"""A row for each action; the last, which is also row -1, for :data:`NO_ACTION`."""


def agent_inputs(
    obs: Floats,
    last_action: NDArray[np.int64],
    inflow: Floats | None,
    prepare: Inputs | None = None,
    rested: Floats | None = None,
) -> Floats:
    """Return input rows (n, d + 9 + 8 + 1).

    Args:
        obs: (n, 38) observations; ``prepare`` turns them into (n, d).
        last_action: (n,) each vehicle's own last action, :data:`NO_ACTION` where it had none.
        inflow: (8,) of the instant or (n, 8) of the rows' instants; None leaves it out of the input.
        rested: (n,) share that has passed of the time for which a lane is kept; None leaves it out.
    """
    width = obs.shape[1] if prepare is None else prepare.size
    more = (0 if inflow is None else INFLOW) + (0 if rested is None else 1)
    out = np.empty((len(obs), width + ACTIONS + more), dtype=np.float32)
    if prepare is None:
        out[:, :width] = obs
    else:
        prepare(obs, out[:, :width])
    out[:, width : width + ACTIONS] = _ONE_HOT.take(last_action, axis=0)
    if inflow is not None:
        out[:, width + ACTIONS : width + ACTIONS + INFLOW] = inflow
    if rested is not None:
        out[:, -1] = rested
    return out


def traffic_state(
    inflow: Floats, zone_features: Floats, instant: NDArray[np.intp], slots: int = 25
) -> Floats:
    """Return (T, 11): inflow, CAVs / slots, HDVs / slots, mean speed / 20 m/s (0 on an empty road).

    Args:
        inflow: (T, 8).
        zone_features: (V, 8) features of all vehicles in the zone, of all instants.
        instant: (V,) the instant, 0 to T - 1, of each of them.
    """
    steps = len(inflow)
    everyone = np.bincount(instant, minlength=steps)
    cavs = np.bincount(instant, weights=zone_features[:, _IS_CAV], minlength=steps)
    speed = np.bincount(instant, weights=zone_features[:, _SPEED], minlength=steps) * SPEED_SCALE
    out = np.empty((steps, TRAFFIC), dtype=np.float32)
    out[:, :INFLOW] = inflow
    out[:, INFLOW] = cavs / slots
    out[:, INFLOW + 1] = (everyone - cavs) / slots
    out[:, INFLOW + 2] = speed / np.maximum(everyone, 1) / MAX_SPEED
    return out


def topology_state(vectors: Floats, traffic: Floats) -> Floats:
    """Return TPE's state (T, 111): topology vectors (T, 100) in network scale, then the traffic (T, 11)."""
    return np.concatenate([vectors, traffic], axis=1)


def slot_state(features: Floats, alive: NDArray[np.bool_], traffic: Floats, scaled: bool = False) -> Floats:
    """Return the plain state (T, 211): own features (T, 25, 8) by slot, zeros where nobody is, then the traffic.

    *scaled* brings lane, target and headways (up to 10) to about 1.
    """
    features = np.where(alive[..., None], features[..., :FEATURES], np.float32(0))
    if scaled:
        features = features / _FEATURE_SCALE
    flat = features.reshape(len(features), features.shape[1] * FEATURES)
    return np.concatenate([flat, traffic], axis=1)


def history(following: NDArray[np.int64], decided: NDArray[np.bool_], length: int) -> NDArray[np.int64]:
    """Return (M, length): the rows of the same vehicle up to each row, oldest first, -1 behind the last.

    ``following`` and ``decided`` (M,) are ``next`` and ``decided`` of :class:`cosim.lockstep.learner.Window`; what lies
    before the window is not known.
    """
    before = np.full(len(following), -1, dtype=np.int64)
    linked = (decided & (following >= 0)).nonzero()[0]
    before[following[linked]] = linked
    back = np.full((len(following), length), -1, dtype=np.int64)
    back[:, 0] = np.arange(len(following))
    for step in range(1, length):
        there = back[:, step - 1] >= 0
        back[there, step] = before[back[there, step - 1]]
    count = (back >= 0).sum(axis=1)
    at = count[:, None] - 1 - np.arange(length)
    return np.where(at >= 0, np.take_along_axis(back, np.maximum(at, 0), axis=1), -1)


def gather_history(rows: NDArray[Any], at: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (m, L, d) the *rows* (M, d) named by *at* (m, L) of :func:`history`, zeros behind, and how many (m,)."""
    there = at >= 0
    taken = np.where(there[..., None], rows[np.maximum(at, 0)], rows.dtype.type(0))
    return taken, there.sum(axis=1)
