"""Whom the topology set of each CAV names, for windows that draw it."""

from __future__ import annotations

from agents.tpe_marl.topology import Ints, SimHash, topology
from cosim.lockstep.protocol import Observations

_HASH = SimHash.random(0)  # who is near does not depend on its planes


def partners(observations: Observations) -> dict[str, Ints]:
    """Return the rows (n,) of the CAVs whose observations lie nearest to and farthest from each one's; -1: none."""
    member = topology(observations.obs[: observations.active], _HASH).member
    return {"nearest": member[:, 0], "farthest": member[:, 1]}
