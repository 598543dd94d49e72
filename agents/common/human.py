"""``common.human``: orders nothing, so that whoever acts without agents (SUMO, for vehicles) decides."""

from __future__ import annotations

from pathlib import Path

from agents.common.fixed import constant
from cosim.errors import AgentError
from cosim.lockstep import LEAVE_IT, Actions, EpisodeInfo, Observations, RoleSpec


class Human:
    """Answers :data:`~cosim.lockstep.LEAVE_IT` for every row."""

    def __init__(self, weights: Path | None = None) -> None:
        self._roles: dict[str, RoleSpec] = {}

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if a role of the task cannot be left alone."""
        for role in info.roles.values():
            if not role.action.leave_it:
                raise AgentError(f"role '{role.name}' of task '{info.task}' cannot be left to humans")
        self._roles = dict(info.roles)

    def act(self, observations: Observations) -> Actions:
        """One LEAVE_IT a row."""
        return Actions(constant(self._roles[observations.role].action, observations.active, LEAVE_IT))

    def close(self) -> None:
        """Nothing is held."""
