"""Agents that end badly on some seeds; a plugin of the batch tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from cosim.lockstep import Actions, EpisodeInfo, Observations, register_agent

RAISES_AT, DIES_AT = 3, 5
"""Seeds."""


@register_agent("poisoned.keep")
class Poisoned:
    """Keeps speed and lane; raises on one seed, takes its process down on another.

    With POISONED_SLEEP in the environment it takes that long (s) to answer.
    """

    def __init__(self, weights: Path | None = None) -> None:
        self._seed = 0

    def reset(self, info: EpisodeInfo) -> None:
        self._seed = info.seed

    def act(self, observations: Observations) -> Actions:
        time.sleep(float(os.environ.get("POISONED_SLEEP", "0")))
        if observations.t_us >= 1_000_000 and self._seed == RAISES_AT:
            raise ValueError("I was told to")
        if observations.t_us >= 1_000_000 and self._seed == DIES_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return Actions(np.full(observations.active, 4))

    def close(self) -> None:
        pass
