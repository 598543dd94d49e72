"""The action that a task calls doing nothing: what ``keep_lane`` answers, and others fall back to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import AgentError
from cosim.lockstep import LEAVE_IT, ActionSpec, EpisodeInfo

KEEP_SPEED_KEEP_LANE = 4
"""The driving task's action that changes neither speed nor lane (the specification, section 2)."""


def no_op(info: EpisodeInfo, role: str) -> int:
    """Return the choice that changes nothing.

    It is the task option ``no_op`` (a number, or a mapping from role to number), else driving's keep-lane
    action, else :data:`LEAVE_IT` where the task allows that.  AgentError if the task names none.
    """
    named = info.options.get("no_op")
    if isinstance(named, Mapping):
        named = named.get(role)
    spec = info.roles[role].action
    if named is not None:
        return int(named)
    if info.task == "driving" and spec.n == 9:
        return KEEP_SPEED_KEEP_LANE
    if spec.leave_it:
        return LEAVE_IT
    raise AgentError(
        f"task '{info.task}' names no action of role '{role}' that changes nothing (option no_op)"
    )


def constant(spec: ActionSpec, rows: int, choice: int) -> NDArray[Any]:
    """Return that many rows of one choice, continuous values as near to zero as their bounds allow."""
    values = np.zeros(spec.shape(rows), dtype=spec.dtype)
    if spec.n and not spec.k:
        values[:] = choice
        return values
    if spec.n:
        values[:, 0] = choice
    values[:, -spec.k :] = np.clip(0.0, spec.low, spec.high)
    return values
