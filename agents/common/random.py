"""``common.random``: every allowed choice equally likely, continuous values uniform within their bounds.

A draw is keyed by seed, task, role, instant and entity, so what an entity does depends on no other row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosim.errors import AgentError
from cosim.lockstep import Actions, EpisodeInfo, Observations
from cosim.randomness import entity_keys, philox, stream_key, uniforms


class Random:
    """Draws each row's action by key."""

    def __init__(self, weights: Path | None = None) -> None:
        self._info: EpisodeInfo | None = None

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if a role has a continuous value without bounds."""
        for role in info.roles.values():
            if not np.isfinite([*role.action.low, *role.action.high]).all():
                raise AgentError(f"role '{role.name}' of task '{info.task}' has values without bounds")
        self._info = info

    def act(self, observations: Observations) -> Actions:
        """One draw a row, within mask and bounds."""
        assert self._info is not None, "reset comes first"
        info, n = self._info, observations.active
        spec = info.roles[observations.role].action
        keys = entity_keys(observations.ids)[:n]
        stream = stream_key(info.seed, f"random/{info.task}/{observations.role}", observations.t_us)
        columns = [np.zeros(n)] * 0
        if spec.n:
            mask = np.ones((n, spec.n), dtype=bool) if observations.mask is None else observations.mask[:n]
            columns.append(allowed_choice(mask, _draws(keys, 0, stream)))
        for i, (low, high) in enumerate(zip(spec.low, spec.high, strict=True)):
            columns.append(low + (high - low) * _draws(keys, 1 + i, stream))
        if not spec.k:
            return Actions(columns[0].astype(np.int64))
        return Actions(np.stack(columns, axis=1))

    def close(self) -> None:
        """Nothing is held."""


def allowed_choice(mask: NDArray[np.bool_], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each row the choice that uniform *u* falls on among those its mask (n, A) allows.

    A row that allows nothing gets choice 0.
    """
    below = np.floor(u * mask.sum(axis=1))
    # The choice whose number of allowed ones before it, itself included, first exceeds `below`.
    chosen: NDArray[np.intp] = np.argmax(np.cumsum(mask, axis=1) > below[:, None], axis=1)
    return chosen.astype(np.float64)


def _draws(keys: NDArray[np.uint64], column: int, stream: int) -> NDArray[np.float64]:
    return uniforms(philox(keys, np.array(column, dtype=np.uint64), stream)[0])
