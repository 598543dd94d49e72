"""``tpe_marl.accelerate``: every CAV accelerates and keeps its lane, whatever is around it; a floor for returns.

Driving's reward pays acceleration so well that this policy earns nearly what a good one does (the specification,
section 3), which is why returns are never reported without success and collisions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosim.errors import AgentError
from cosim.lockstep import Actions, EpisodeInfo, Observations

ACCELERATE_KEEP_LANE = 5
"""The driving task's action (the specification, section 2)."""


class Accelerate:
    """Answers action 5 for every row; needs no weights."""

    def __init__(self, weights: Path | None = None) -> None:
        pass

    def reset(self, info: EpisodeInfo) -> None:
        """AgentError if the task does not have driving's nine actions."""
        for role in info.roles.values():
            if role.action.n != 9 or role.action.k:
                raise AgentError(
                    f"tpe_marl.accelerate needs driving's nine actions, role '{role.name}' has others"
                )

    def act(self, observations: Observations) -> Actions:
        """One action a row."""
        return Actions(np.full(observations.active, ACCELERATE_KEEP_LANE))

    def close(self) -> None:
        """Nothing is held."""
