"""What the central critic sees in training beside the vehicles' own inputs: queues, processors, who brings what where.

Nothing of it reaches an actor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.tasks.migration import Rules, Slot, service_place
from cosim.tasks.migration.observation import SCALES

Floats = NDArray[np.float32]
_TASKS = 250 * 8e6


def state_length(width: int, vehicles: int, stations: int) -> int:
    """Return the length S of the state for V vehicles with inputs of that width and M RSUs."""
    return vehicles * width + 4 * stations + vehicles + 2


def central_state(inputs: Floats, rules: Rules, slot: Slot, slots: int) -> Floats:
    """Return the state (E, S): all inputs (E, V, d), L, C, C_cloud, vehicles and task sum by RSU, t mod V, t / T."""
    episodes, vehicles = slot.serving.shape
    stations = slot.queue.shape[1]
    here = slot.serving[..., None] == np.arange(stations)
    brought = (here * slot.task_bits[..., None]).sum(axis=1)
    first = service_place(slot.t, vehicles)[0] == np.arange(vehicles)
    parts = (
        inputs.reshape(episodes, -1),
        slot.queue / rules.queue_max,
        slot.cpu / SCALES["cpu"],
        here.sum(axis=1) / vehicles,
        brought / (_TASKS * 3.0),
        slot.cpu_cloud[:, None] / 100e9,
        np.broadcast_to(first, (episodes, vehicles)),
        np.full((episodes, 1), slot.t / slots),
    )
    return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts], axis=1)
