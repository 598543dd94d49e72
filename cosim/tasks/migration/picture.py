"""What the window of a run shows of the migration task: who is served where, moves work where to, and RSU loads."""

from __future__ import annotations

import numpy as np

from cosim.randomness import entity_keys
from cosim.tasks.base import Picture
from cosim.tasks.migration.models import Decision
from cosim.tasks.migration.space import NONE, Floats, Layout
from cosim.traffic.state import TrafficState


def picture(
    layout: Layout, state: TrafficState, decision: Decision | None, loads: Floats, load_max: float
) -> Picture:
    """Return lines from agent vehicles to their serving RSU and to their target, and the load of each RSU.

    Args:
        layout: the RSUs.
        state: the road now, on which those who decided may have driven on or left.
        decision: the last one (None: none yet, no lines).
        loads: queues (M,) now, cycles.
        load_max: the longest queue, cycles.
    """
    shares = (loads / load_max).tolist()
    levels = {name: (share, f"{share:.0%}") for name, share in zip(layout.ids, shares, strict=True)}
    if decision is None or not len(state):
        empty = np.empty((0, 4))
        return Picture({"avatar": empty, "pre_migration": empty}, levels)
    keys = entity_keys(decision.vehicles)
    rows = np.minimum(np.searchsorted(state.key, keys), len(state) - 1)
    here = state.key[rows] == keys
    serving, moves = decision.slot.serving[0], decision.share[0] > 0.0
    links = {}
    for kind, wanted, station in (
        ("avatar", serving != NONE, serving),
        ("pre_migration", moves & (serving != NONE), decision.target[0]),
    ):
        shown = here & wanted
        links[kind] = np.hstack([state.xy[rows[shown]], layout.xy[station[shown]]])
    return Picture(links, levels)
