"""What vehicles reckon the queues to be when they decide: L(t), or L_pre = L(t) + zeta z (eq 18).

z counts, for each RSU, the vehicles that are predicted to be served by it in the slot, from their twelve positions at
the slots before.  Perfect prediction counts those that are; it is what a predictor could gain at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.hybrid_mappo.predictor import Predictor, load
from agents.hybrid_mappo.workload import ZETA, predicted_counts, predicted_load, predicted_station
from cosim.tasks.migration import Layout, Slot

Floats = NDArray[np.float64]

NONE, PERFECT = "none", "perfect"


@dataclass(frozen=True)
class Foresight:
    """A way to foresee: ``predictor`` None with ``perfect`` False foresees nothing."""

    predictor: Predictor | None = None
    perfect: bool = False
    zeta: float = ZETA

    @classmethod
    def named(cls, name: str, zeta: float = ZETA) -> Foresight:
        """Return it by name: none, perfect, or a predictor's name or file; ScenarioError if there is none."""
        if name in (NONE, PERFECT):
            return cls(perfect=name == PERFECT, zeta=zeta)
        return cls(predictor=load(name), zeta=zeta)

    def counts(self, layout: Layout, slot: Slot, history: Floats) -> Floats | None:
        """Return z (E, V, M) for histories (E, V, 12, 2) in m; None where nothing is foreseen."""
        if self.perfect:
            return predicted_counts(slot.serving, layout.stations)
        if self.predictor is None:
            return None
        return predicted_counts(
            predicted_station(self.predictor(history), layout.xy, layout.reach), layout.stations
        )

    def loads(self, slot: Slot, counts: Floats | None) -> Floats:
        """Return the queues to reckon with: L (E, M), or L_pre (E, V, M), in cycles.  Eq. (18)"""
        return slot.queue if counts is None else predicted_load(slot.queue, counts, self.zeta)
