"""Experience on recorded tapes: E episodes of T slots of V vehicles, dense, as the learners take it.

It stands where :class:`cosim.lockstep.learner.Window` stands in trainings with SUMO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rollout:
    """What was seen and done.

    ===========  ======================  =====================================================
    ``inputs``   (E, T, V, d) float32    the actors' input
    ``state``    (E, T, S) float32       the central critic's input
    ``allowed``  (E, T, V, M) bool       targets that could be taken
    ``present``  (E, T, V) bool          the vehicle had a task and decided
    ``target``   (E, T, V) int64         RSU taken
    ``share``    (E, T, V) float32       share K, strictly between 0 and 1
    ``moves``    (E, T, V) bool          the share had an effect
    ``reward``   (E, T, V) float64       -T_sum in seconds, 0 where absent
    ===========  ======================  =====================================================
    """

    inputs: NDArray[np.float32]
    state: NDArray[np.float32]
    allowed: NDArray[np.bool_]
    present: NDArray[np.bool_]
    target: NDArray[np.int64]
    share: NDArray[np.float32]
    moves: NDArray[np.bool_]
    reward: NDArray[np.float64]

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Where a decision was made; what the training counts rows by."""
        return self.present

    @property
    def steps(self) -> int:
        """Environment steps: slots of all episodes."""
        return int(self.present.shape[0] * self.present.shape[1])

    @staticmethod
    def joined(rollouts: Sequence[Rollout]) -> Rollout:
        """Return several as one, episodes behind each other."""
        if len(rollouts) == 1:
            return rollouts[0]
        parts = {f.name: np.concatenate([getattr(r, f.name) for r in rollouts]) for f in fields(Rollout)}
        return Rollout(**parts)
