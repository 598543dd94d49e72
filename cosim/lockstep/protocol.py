"""What flows between a task and the agent that decides for it: observations, actions, and the Agent protocol.

Everything is arrays with one row per deciding entity (a vehicle, a station, a server), so that an agent makes
one batched forward pass a decision.  Nothing here knows SUMO or a learning library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cosim.errors import AgentError

LEAVE_IT = -1
"""The discrete action that orders nothing: whoever acts without agents (SUMO, for vehicles) decides."""


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """What one row of :class:`Actions` may hold.

    ``n`` choices numbered from 0 (0: no discrete part) and ``k`` continuous values between ``low`` and
    ``high`` (k-tuples).  ``Actions.values`` is then

    - (rows,) int64 if there is only a choice,
    - (rows, k) float64 if there are only continuous values,
    - (rows, 1 + k) float64 if there are both, the choice in column 0.

    With ``leave_it`` the choice :data:`LEAVE_IT` is allowed too.
    """

    n: int = 0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    leave_it: bool = False

    @property
    def k(self) -> int:
        """Number of continuous values in a row."""
        return len(self.low)

    def shape(self, rows: int) -> tuple[int, ...]:
        """Shape of ``Actions.values`` for that many rows."""
        width = self.k + (1 if self.n else 0)
        return (rows,) if self.n and not self.k else (rows, width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of ``Actions.values``."""
        return np.dtype(np.float64 if self.k else np.int64)


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One role of a task: the length of its observation row and its actions."""

    name: str
    obs_dim: int
    action: ActionSpec
    low: float = -np.inf
    """Lower bound of every observation entry."""
    high: float = np.inf
    """Upper bound of every observation entry."""


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """What an agent is told before it decides for the first time, and again when an episode begins anew."""

    scenario: str
    task: str
    seed: int
    episode: int
    period_us: int
    roles: Mapping[str, RoleSpec]
    options: Mapping[str, Any] = field(default_factory=dict)
    """The task's options as plain JSON values (the scenario's, defaults filled in)."""


@dataclass(frozen=True, slots=True)
class Observations:
    """All rows of one role at one instant.

    The first ``active`` rows are asked for an action.  The rows behind them are entities that left since the
    decision before: they are reported once, with ``terminated`` set and their last observation, and are never
    asked.  ``reward`` belongs to the decision before (0 for a row that was not there then).

    ============  =====================  ===================================================
    ``obs``       (n, d) float32         observation
    ``mask``      (n, A) bool or None    allowed discrete choices
    ``shared``    name -> array          what concerns all rows together
    ``reward``    (n,) float64           reward of the decision before
    ``terminated``  (n,) bool            the entity left
    ``truncated``   (n,) bool            the learning window ended; the entity may go on
    ============  =====================  ===================================================
    """

    t_us: int
    role: str
    ids: tuple[str, ...]
    obs: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    shared: Mapping[str, NDArray[Any]]
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    active: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Actions:
    """One answer: a row for each of the first ``active`` rows asked, in that order.

    ``values`` is shaped as :class:`ActionSpec` says.  ``notes`` (name -> array with a row per action) reach
    only the recorder and the GUI.
    """

    values: NDArray[Any]
    notes: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@runtime_checkable
class Agent(Protocol):
    """A decider.  One instance serves one task, all roles and phases of it."""

    def reset(self, info: EpisodeInfo) -> None:
        """Forget everything about earlier episodes; seed every random generator from ``info.seed``."""

    def act(self, observations: Observations) -> Actions:
        """Answer the first ``observations.active`` rows; called also when there are none (n may be 0)."""

    def close(self) -> None:
        """Release what the agent holds; called once."""


@runtime_checkable
class AgentHost(Protocol):
    """Where an agent runs.  The engine speaks to hosts only; every failure is an AgentError."""

    name: str

    def reset(self, info: EpisodeInfo) -> None:
        """Hand the episode to the agent."""

    def act(self, observations: Observations) -> Actions:
        """Ask for one answer, check it, and return it with masked choices left as the agent gave them."""

    def close(self) -> None:
        """End the agent; never raises."""


def check_actions(actions: Actions, spec: ActionSpec, rows: int, who: str) -> Actions:
    """Return *actions* in the spec's dtype, or raise AgentError saying what is wrong with them.

    Checked: the shape, no NaN or infinity, whole choices within range, a row of each note per action.  A
    masked but well-formed choice passes here: the task executes it as its no-op and counts it.
    """
    if not isinstance(actions, Actions):
        raise AgentError(f"{who}: answered {type(actions).__name__}, expected cosim.lockstep.Actions")
    try:
        values = np.asarray(actions.values)
    except ValueError as error:
        raise AgentError(f"{who}: answered values that are no array: {error}") from error
    if values.shape != spec.shape(rows):
        raise AgentError(f"{who}: answered an array of shape {values.shape}, expected {spec.shape(rows)}")
    if values.dtype.kind not in "iuf":
        raise AgentError(f"{who}: answered values of type {values.dtype}, expected numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise AgentError(f"{who}: answered NaN or infinity")
    if spec.n:
        choice = values if not spec.k else values[:, 0]
        lowest = LEAVE_IT if spec.leave_it else 0
        if rows and (choice.min() < lowest or choice.max() >= spec.n):
            raise AgentError(f"{who}: answered a choice outside {lowest}..{spec.n - 1}: {choice.tolist()}")
        if values.dtype.kind == "f" and (choice != np.floor(choice)).any():
            raise AgentError(f"{who}: answered a choice that is not a whole number: {choice.tolist()}")
    if spec.k:
        part = values[:, -spec.k :]
        if rows and ((part < spec.low).any() or (part > spec.high).any()):
            raise AgentError(f"{who}: answered a value outside {list(spec.low)}..{list(spec.high)}")
    for name, note in actions.notes.items():
        if np.shape(note)[:1] != (rows,):
            raise AgentError(
                f"{who}: note '{name}' has shape {np.shape(note)}, expected a row for each of {rows}"
            )
    return Actions(values.astype(spec.dtype, copy=False), actions.notes)
