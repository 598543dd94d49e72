"""The agent vehicles of a run in lockstep: who they are, in which order they are numbered, and where they were.

At the first decision the vehicles on the road are numbered by name (``space.vehicle_order``); later ones take the
numbers that are left, as they come.  A number is never given twice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import entity_keys
from cosim.tasks.migration.space import Floats, Ints, vehicle_order
from cosim.traffic.state import TrafficState


class Fleet:
    """At most V agent vehicles.

    Args:
        vehicles: V.
        history: H, how many slots back their places are remembered.
        agent_types: which of the traffic state's types (T,) are agents.

    After :meth:`see`: ``rows`` (V,) their rows in the state (-1: not on the road), ``xy`` (V, 2) m, ``speed`` m/s and
    ``heading`` degrees (V,), those of absent vehicles as last seen; ``history`` (V, H, 2) m, the places at the slots
    before, oldest first, a vehicle's first place standing in for the time before it.
    """

    def __init__(self, vehicles: int, history: int, agent_types: NDArray[np.bool_]) -> None:
        self._agent_types = agent_types
        self._numbered = False
        self.ids: list[str] = []
        self.rows: Ints = np.full(vehicles, -1, dtype=np.int64)
        self.xy: Floats = np.zeros((vehicles, 2))
        self.speed: Floats = np.zeros(vehicles)
        self.heading: Floats = np.zeros(vehicles)
        self.history: Floats = np.zeros((vehicles, history, 2))
        self.keys: NDArray[np.uint64] = np.zeros(vehicles, dtype=np.uint64)
        """Entity keys (V,), 0 for numbers not given."""
        self._gone = np.zeros(vehicles, dtype=np.bool_)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which vehicles (V,) are on the road."""
        found: NDArray[np.bool_] = self.rows >= 0
        return found

    def see(self, state: TrafficState, deciding: bool) -> None:
        """Take in the road at a slot; ``deciding`` says whether decisions have begun."""
        before = self.present
        self.history = np.concatenate([self.history[:, 1:], self.xy[:, None]], axis=1)
        agents = np.flatnonzero(self._agent_types[state.type])
        newcomers = agents[~np.isin(state.key[agents], self.keys)]
        self._find(state)
        self._gone |= before & ~self.present
        if not self._numbered:
            self._forget_gone(state)
        self._admit(state, newcomers)
        if deciding and not self._numbered:
            self._number(vehicle_order(self.ids))
            self._find(state)
        here = self.present
        rows = self.rows[here]
        # New arrays: those of earlier slots may be held by agents.
        self.xy, self.speed, self.heading = self.xy.copy(), self.speed.copy(), self.heading.copy()
        self.xy[here], self.speed[here] = state.xy[rows], state.speed[rows]
        self.heading[here] = state.angle[rows]
        new = here & np.isin(self.keys, state.key[newcomers])
        self.history[new] = self.xy[new, None]

    def _find(self, state: TrafficState) -> None:
        if not len(state):
            self.rows = np.full(len(self.rows), -1, dtype=np.int64)
            return
        at = np.minimum(np.searchsorted(state.key, self.keys), len(state) - 1)
        known = np.arange(len(self.keys)) < len(self.ids)
        self.rows = np.where(known & (state.key[at] == self.keys) & ~self._gone, at, -1).astype(np.int64)

    def _admit(self, state: TrafficState, newcomers: NDArray[np.intp]) -> None:
        names = vehicle_order(state.ids[i] for i in newcomers.tolist())
        names = names[: len(self.rows) - len(self.ids)]
        if names:
            first = len(self.ids)
            self.ids += names
            self.keys[first : len(self.ids)] = entity_keys(names)
            self._find(state)

    def _forget_gone(self, state: TrafficState) -> None:
        """Before decisions begin, who left makes room for others."""
        if self._gone.any():
            self._number([name for name, gone in zip(self.ids, self._gone, strict=False) if not gone])
            self._numbered = False
            self._find(state)

    def _number(self, ids: list[str]) -> None:
        """Number the vehicles anew in the order of ``ids``, which are some of those known."""
        order = [self.ids.index(name) for name in ids]
        rest = [i for i in range(len(self.rows)) if i not in order]
        index = np.array([*order, *rest], dtype=np.intp)
        self.ids = ids
        for name in ("xy", "speed", "heading", "history"):
            setattr(self, name, getattr(self, name)[index])
        self.keys = np.zeros_like(self.keys)
        self.keys[: len(ids)] = entity_keys(ids)
        self._gone[:] = False
        self._numbered = True
