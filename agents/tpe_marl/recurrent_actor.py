"""What recurrent methods of driving remember of every vehicle while they act: GRU state and last own action.

Both are empty when a vehicle enters and when a learning window ends, as in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.common.perceptron import Inputs
from agents.common.recurrent_policy import RecurrentPolicy
from agents.common.trained import fitting
from agents.tpe_marl.inputs import INFLOW, NO_ACTION, Floats, agent_inputs
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.protocol import EpisodeInfo, Observations, RoleSpec
from cosim.randomness import entity_keys
from cosim.tasks.driving.observation import ACTIONS, OBS_DIM


def driving_role(info: EpisodeInfo, name: str) -> RoleSpec:
    """Return the one role of a driving task with nine choices; ScenarioError if the task is another."""
    role = next(iter(info.roles.values()))
    if len(info.roles) != 1 or role.obs_dim != OBS_DIM or role.action.n != ACTIONS or role.action.k:
        raise ScenarioError(
            f"{name} drives: one role with {OBS_DIM} observations and {ACTIONS} choices (driving, actions: discrete);"
            f" task '{info.task}' has others"
        )
    return role


NEVER = 1 << 20
"""Decisions since the last change of lane of a vehicle that has made none."""


_CHANGES_LANE = np.arange(ACTIONS) // 3 != 1


def changes_lane(action: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which of the nine actions change lane."""
    return np.asarray(_CHANGES_LANE.take(action))


def dwelling(since: NDArray[np.int64], dwell: int) -> NDArray[np.bool_]:
    """Return (n, 9): no change of lane while the last one is fewer than *dwell* decisions ago."""
    return np.asarray((since >= dwell)[:, None] | ~_CHANGES_LANE)


class InputRows:
    """How a method's input rows are made: observation, spelt out, last own action, and perhaps the inflow."""

    def __init__(
        self,
        name: str,
        one_hot: tuple[tuple[int, int], ...],
        inflow: bool,
        cross: tuple[tuple[int, int, int, int], ...] = (),
        divide: tuple[tuple[int, float], ...] = (),
        dwell: int = 0,
    ) -> None:
        try:
            self.prepare = Inputs(OBS_DIM, divide, one_hot, cross)
        except ValueError as error:
            raise ScenarioError(f"{name}: {error}") from None
        self.inflow, self.dwell = inflow, dwell
        self._rested = (np.arange(dwell + 1) / np.float32(max(dwell, 1))).astype(np.float32)
        self.size = self.prepare.size + ACTIONS + (INFLOW if inflow else 0) + (1 if dwell else 0)

    def __call__(
        self,
        obs: Floats,
        last_action: NDArray[np.int64],
        inflow: Floats | None,
        since: NDArray[np.int64] | None = None,
    ) -> Floats:
        """Return (n, size); ``inflow`` as for :func:`agents.tpe_marl.inputs.agent_inputs`.

        ``since`` (n,): decisions since the last change of lane, wanted where there is a ``dwell``; then the last input
        is the share of it that has passed.
        """
        rested = None if since is None or not self.dwell else self._rested.take(since, mode="clip")
        return agent_inputs(obs, last_action, inflow if self.inflow else None, self.prepare, rested)


class Remembering:
    """A recurrent network and what it remembers of each vehicle."""

    def __init__(self, name: str, rows: InputRows) -> None:
        self._name, self._rows = name, rows
        self._net: RecurrentPolicy | None = None
        # Of the vehicles asked last, in their order.
        self._ids: tuple[str, ...] = ()
        self._keys: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._memory: Floats = np.empty((0, 0), dtype=np.float32)
        self._last: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._since: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def load(self, weights: Mapping[str, NDArray[Any]], prefix: str) -> None:
        """Use these weights; AgentError if they are for other inputs."""
        net = fitting(RecurrentPolicy, weights, prefix, self._rows.size, self._name)
        if self._memory.shape[1] != net.hidden:
            self._memory = np.zeros((len(self._ids), net.hidden), dtype=np.float32)
        self._net = net

    def clear(self) -> None:
        """Forget all vehicles."""
        self._follow(())

    def _follow(self, ids: tuple[str, ...]) -> None:
        """Bring what is remembered into the order of *ids*; who was not asked last begins with nothing."""
        row = {name: k for k, name in enumerate(self._ids)}
        at = np.array([row.get(name, -1) for name in ids], dtype=np.intp)
        nothing = np.zeros((1, self._memory.shape[1]), dtype=np.float32)
        self._memory = np.concatenate([self._memory, nothing])[at]
        self._last = np.append(self._last, NO_ACTION)[at]
        self._since = np.append(self._since, NEVER)[at]
        self._ids, self._keys = ids, entity_keys(ids)

    def scores(self, observations: Observations) -> tuple[NDArray[np.uint64], Floats]:
        """Return the keys (n,) of the vehicles asked and the network's output (n, A), and remember."""
        if self._net is None:
            raise AgentError(f"{self._name}: was asked before it had weights")
        n = observations.active
        if np.count_nonzero(observations.truncated[:n]):
            self.clear()
        ids = observations.ids[:n]
        if ids != self._ids:
            self._follow(ids)
        inflow = observations.shared["inflow"] if self._rows.inflow else None
        rows = self._rows(observations.obs[:n], self._last, inflow, self._since)
        scores, self._memory = self._net(rows, self._memory)
        return self._keys, scores

    def acted(self, choice: NDArray[np.int64]) -> None:
        """Remember what the vehicles of the last :meth:`scores` do."""
        self._last = choice
        self._since = np.where(changes_lane(choice), 1, self._since + 1)

    def allowed(self) -> NDArray[np.bool_]:
        """Return (n, 9): a vehicle that has just changed lane stays in it for the dwell."""
        return dwelling(self._since, self._rows.dwell)
