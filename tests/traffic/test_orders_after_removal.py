"""Two tasks may order one vehicle at one instant: what comes after its removal is for the others only."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.assembly import assemble
from cosim.scenario import load_scenario
from cosim.traffic.commands import Commands


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_orders_to_a_vehicle_removed_at_the_same_instant_are_dropped(backend: str) -> None:
    assembly = assemble(load_scenario("highway_350vph", ["tasks=null"]), backend=backend)
    try:
        traffic = assembly.traffic
        while len(traffic.step()) < 3:
            pass
        state = traffic.state
        commands = Commands(state)
        everybody = np.arange(len(state))
        commands.remove(everybody[:1])
        commands.speed(everybody, np.full(len(state), 7.0))
        commands.modes(everybody, 0, 0)
        commands.colour(everybody, np.zeros((len(state), 4), dtype=np.uint8))
        commands.remove(everybody[:1])
        traffic.apply(commands)
        after = traffic.step()
        assert state.ids[0] not in after.ids
        assert set(state.ids[1:]) <= set(after.ids)
        assert all(after.speed[after.row(name)] == 7.0 for name in state.ids[1:])
    finally:
        assembly.close()
