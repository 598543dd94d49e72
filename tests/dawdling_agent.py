"""A plug-in for the tests of whole runs: an agent with a memory that stops answering while a file exists.

``HOLD`` names the file.  From 15 s on the agent waits for it to go, after it has written its process number into
``HOLD.reached``: so a test meets a run at a known instant, as long as it needs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from cosim.lockstep import Actions, EpisodeInfo, Observations, register_agent

FROM_US = 15_000_000


@register_agent("test.dawdle")
class Dawdle:
    """Chooses by what it has counted so far, so that a resumed run needs its memory."""

    def __init__(self, weights: Path | None = None) -> None:
        self.count = 0

    def reset(self, info: EpisodeInfo) -> None:
        self.count = info.seed

    def act(self, observations: Observations) -> Actions:
        hold = os.environ.get("HOLD")
        if hold and observations.t_us >= FROM_US and Path(hold).exists():
            Path(f"{hold}.reached").write_text(str(os.getpid()))
            ends = time.monotonic() + 60
            while Path(hold).exists() and time.monotonic() < ends:
                time.sleep(0.02)
        rows = observations.active
        self.count += 1 + rows
        notes = {"count": np.full(rows, self.count), "q": np.outer(np.arange(rows), [0.5, -1.0]) + self.count}
        return Actions((self.count + np.arange(rows)) % 3 + 3 * (self.count % 7 == 0), notes)

    def close(self) -> None:
        pass
