"""``common.keep_lane``: the task's action that changes nothing; vehicles keep their speed and lane."""

from __future__ import annotations

from pathlib import Path

from agents.common.fixed import constant, no_op
from cosim.lockstep import Actions, ActionSpec, EpisodeInfo, Observations


class KeepLane:
    """Answers the no-op choice, and zeros for continuous values."""

    def __init__(self, weights: Path | None = None) -> None:
        self._answers: dict[str, tuple[ActionSpec, int]] = {}

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if a role has no action that changes nothing."""
        self._answers = {
            role.name: (role.action, no_op(info, role.name) if role.action.n else 0)
            for role in info.roles.values()
        }

    def act(self, observations: Observations) -> Actions:
        """One no-op a row."""
        spec, choice = self._answers[observations.role]
        return Actions(constant(spec, observations.active, choice))

    def close(self) -> None:
        """Nothing is held."""
