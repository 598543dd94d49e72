"""What a role of a task observes and does, as Gymnasium spaces: of one row, or of a fixed number of slots."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from cosim.lockstep.protocol import ActionSpec, RoleSpec


def observation_space(role: RoleSpec) -> spaces.Dict:
    """Return ``{observation: Box(d), action_mask: MultiBinary(A)}``; no mask where there is no choice."""
    parts: dict[str, spaces.Space[Any]] = {"observation": _observations(role, (role.obs_dim,))}
    if role.action.n:
        parts["action_mask"] = spaces.MultiBinary(role.action.n)
    return spaces.Dict(parts)


def action_space(spec: ActionSpec) -> spaces.Space[Any]:
    """Return ``Discrete(n)``, ``Box(k)``, or for a choice with continuous values ``Tuple(Discrete, Box)``."""
    if not spec.k:
        return spaces.Discrete(spec.n)
    if not spec.n:
        return _values(spec, ())
    return Hybrid((spaces.Discrete(spec.n), _values(spec, ())))


class Hybrid(spaces.Tuple):  # type: ignore[type-arg]  # generic for mypy alone
    """``Tuple(Discrete, Box)`` that also samples under the mask of the choice alone, as observations hold it.

    Gymnasium's Tuple wants a mask for each part, and a Box takes none; PettingZoo's tests hand over
    ``observation["action_mask"]``.
    """

    def sample(self, mask: Any = None, probability: Any = None) -> tuple[Any, ...]:
        """Return a random action; ``mask`` (n,) int8 of the choice, or a tuple as Gymnasium takes it."""
        if isinstance(mask, np.ndarray):
            mask = (mask, None)
        # Gymnasium 1.0 knows no probability.
        return super().sample(mask, **({} if probability is None else {"probability": probability}))


def slots_observation_space(role: RoleSpec, slots: int) -> spaces.Dict:
    """Return ``{observation: Box(slots, d), alive: MultiBinary(slots)}`` and ``action_mask`` (slots, A)."""
    parts: dict[str, spaces.Space[Any]] = {
        "observation": _observations(role, (slots, role.obs_dim)),
        "alive": spaces.MultiBinary(slots),
    }
    if role.action.n:
        parts["action_mask"] = spaces.MultiBinary((slots, role.action.n))
    return spaces.Dict(parts)


def slots_action_space(spec: ActionSpec, slots: int) -> spaces.Space[Any]:
    """Return ``MultiDiscrete([n] * slots)``, ``Box(slots, k)``, or a Tuple of both."""
    if not spec.k:
        return spaces.MultiDiscrete([spec.n] * slots)
    if not spec.n:
        return _values(spec, (slots,))
    return spaces.Tuple((spaces.MultiDiscrete([spec.n] * slots), _values(spec, (slots,))))


def _observations(role: RoleSpec, shape: tuple[int, ...]) -> spaces.Box:
    # An empty slot holds zeros, so zero must be within the bounds.
    low, high = (role.low, role.high) if len(shape) == 1 else (min(role.low, 0.0), max(role.high, 0.0))
    return spaces.Box(low, high, shape, np.float32)


def _values(spec: ActionSpec, leading: tuple[int, ...]) -> spaces.Box:
    """Return the box of the continuous values, its float32 bounds rounded inwards: all it holds is allowed."""
    shape = (*leading, spec.k)
    low, high = np.asarray(spec.low, dtype=np.float32), np.asarray(spec.high, dtype=np.float32)
    low = np.where(low < np.asarray(spec.low), np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > np.asarray(spec.high), np.nextafter(high, np.float32(-np.inf)), high)
    return spaces.Box(_spread(low, shape), _spread(high, shape), shape, np.float32)


def _spread(bound: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.broadcast_to(bound, shape).astype(np.float32)
