"""From the tracks of a recorded run to the mobility tape of the migration task.

Everything is computed from the doubles of the traffic state by the functions that the task itself uses, element by
element, so that a tape tells what the task sees in lockstep, to the bit.
"""

from __future__ import annotations

import numpy as np

from cosim.clock import US
from cosim.errors import ScenarioError
from cosim.tasks.migration.space import (
    Layout,
    remaining_distance,
    serving_station,
    station_ahead,
    vehicle_order,
)
from cosim.tasks.migration.tape import MobilityTape
from cosim.traffic.tracks import MissingVehicle, Tracks


def tape_of(tracks: Tracks, layout: Layout, *, first_us: int, history: int) -> MobilityTape:
    """Return the tape of *tracks* whose first decision is at ``first_us``; the last one is a slot before their end.

    The slot is the tracks' period.  The positions for predictors begin with the history, at every traffic step, and
    reach to the end of the last slot.

    Raises:
        ScenarioError: the tracks are too short.
        MissingVehicle: one is not on the road at a slot from the history's begin to the end.
    """
    period_us = tracks.period_us
    start_us = first_us - history * period_us
    start, rest = divmod(start_us, period_us)
    if rest or start < 0 or first_us // period_us >= len(tracks) - 1:
        raise ScenarioError(
            f"a tape whose first decision is at {first_us / US:g} s needs {history} slots of {period_us / US:g} s"
            f" before it and one after it, within {(len(tracks) - 1) * period_us / US:g} s: see warmup and duration"
        )
    ids = vehicle_order(tracks.ids)
    order = np.array([tracks.ids.index(name) for name in ids])
    gone = ~tracks.present[start:]
    if gone.any():
        k, v = (int(index[0]) for index in np.nonzero(gone))
        raise MissingVehicle(tracks.ids[v], (start + k) * period_us)
    xy, heading = tracks.xy[start:-1, order], tracks.angle[start:-1, order]
    serving = serving_station(layout, xy)
    return MobilityTape(
        layout=layout,
        vehicles=tuple(ids),
        seed=tracks.seed,
        xy=np.ascontiguousarray(xy),
        speed=tracks.speed[start:-1, order],
        remaining=remaining_distance(layout, xy, heading, serving),
        serving=serving,
        ahead=station_ahead(layout, xy, heading, serving),
        track=tracks.step_xy[start_us // tracks.step_us :, order],
        track_step=tracks.step_us / US,
        slot=period_us / US,
        start=start_us / US,
        history=history,
        scenario=tracks.scenario,
    )
