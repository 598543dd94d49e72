"""Tracks: where some vehicles of a run were, as arrays, recorded from SUMO once.

A task whose decisions never change the traffic can be trained on tracks instead of a running SUMO.  They hold the
numbers of :class:`~cosim.traffic.state.TrafficState` themselves, so :meth:`Tracks.state` gives a task the very
doubles that it would see in lockstep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError
from cosim.traffic.state import TrafficState, VehicleType, entity_key
from cosim.traffic.sumo import Traffic, TrafficEvent

Floats = NDArray[np.float64]
_COLUMNS = ("z", "angle", "speed", "accel", "s")
_INDICES = ("edge", "lane", "type")


class MissingVehicle(ScenarioError):
    """A vehicle that has to be on the road at ``t_us`` is not."""

    def __init__(self, vehicle: str, t_us: int) -> None:
        super().__init__(f"{vehicle} is not on the road at {t_us / US:g} s")
        self.vehicle, self.t_us = vehicle, t_us


@dataclass(frozen=True, eq=False)
class Tracks:
    """The way of V vehicles from instant 0 on, in ascending key order.

    ``step_xy`` (N + 1, V, 2) are front bumpers (m) at every traffic step, row k at k ``step_us``; NaN where a
    vehicle is not on the road.  The other arrays (K + 1, V) have a row every ``period_us`` and hold what
    :class:`~cosim.traffic.state.TrafficState` says of the field of that name; numbers are NaN and indices -1 where
    a vehicle is not on the road.  ``seed`` is the seed of the traffic.
    """

    scenario: str
    seed: int
    step_us: int
    period_us: int
    ids: tuple[str, ...]
    edges: tuple[str, ...]
    types: tuple[VehicleType, ...]
    step_xy: Floats
    z: Floats
    angle: Floats
    speed: Floats
    accel: Floats
    s: Floats
    edge: NDArray[np.int32]
    lane: NDArray[np.int32]
    type: NDArray[np.int32]

    def __len__(self) -> int:
        """Return K + 1, the number of whole states."""
        return len(self.speed)

    @property
    def xy(self) -> Floats:
        """Positions (K + 1, V, 2) at the whole states, m."""
        return self.step_xy[:: self.period_us // self.step_us]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which vehicle (K + 1, V) is on the road at each whole state."""
        return self.lane >= 0

    def positions(self, period: float) -> Floats:
        """Return positions (n, V, 2), m, at the instants 0, *period*, 2 *period* … (s); NaN: not on the road.

        ScenarioError if *period* is not a whole multiple of the traffic step.
        """
        every, rest = divmod(round(period * US), self.step_us)
        if rest or every < 1:
            raise ScenarioError(
                f"positions every {period:g} s: must be a whole multiple of the traffic step,"
                f" {self.step_us / US:g} s"
            )
        return self.step_xy[::every]

    def state(self, k: int) -> TrafficState:
        """Return the road at instant k ``period_us`` as if only these vehicles were on it."""
        here = np.flatnonzero(self.present[k])
        ids = self.ids if len(here) == len(self.ids) else tuple(self.ids[i] for i in here)
        key = np.array([entity_key(name) for name in ids], dtype=np.uint64)
        rows: dict[str, Any] = {name: getattr(self, name)[k, here] for name in (*_COLUMNS, *_INDICES)}
        return TrafficState(
            t_us=k * self.period_us,
            ids=ids,
            key=key,
            slot=here.astype(np.int32),
            xy=self.xy[k, here],
            edges=self.edges,
            types=self.types,
            **rows,
        )


def follow(
    traffic: Traffic, ids: Sequence[str], *, end_us: int, period_us: int, scenario: str, seed: int
) -> tuple[Tracks, list[TrafficEvent]]:
    """Step a *traffic* that stands at 0 until *end_us* and return the tracks of *ids*, and events of these.

    ``period_us`` must be a whole multiple of the traffic step and a divisor of *end_us*.  TrafficError if SUMO dies.
    """
    step_us = traffic.step_us
    order = sorted(ids, key=entity_key)
    keys = np.array([entity_key(name) for name in order], dtype=np.uint64)
    v, steps, states = len(order), end_us // step_us, end_us // period_us
    step_xy = np.full((steps + 1, v, 2), np.nan)
    columns: dict[str, Any] = {name: np.full((states + 1, v), np.nan) for name in _COLUMNS}
    columns |= {name: np.full((states + 1, v), -1, dtype=np.int32) for name in _INDICES}
    events: list[TrafficEvent] = []
    wanted = set(order)
    seen: tuple[str, ...] | None = None
    rows = here = np.empty(0, dtype=np.intp)
    for n in range(1, steps + 1):
        state = traffic.step()
        if state.ids is not seen:
            seen = state.ids
            rows = np.flatnonzero(np.isin(state.key, keys, assume_unique=True))
            here = np.searchsorted(keys, state.key[rows])
        step_xy[n, here] = state.xy[rows]
        if state.t_us % period_us == 0:
            k = state.t_us // period_us
            for name, array in columns.items():
                array[k, here] = getattr(state, name)[rows]
        if traffic.events:
            events += [e for e in traffic.events if e.id in wanted or e.other in wanted]
    tracks = Tracks(
        scenario=scenario,
        seed=seed,
        step_us=step_us,
        period_us=period_us,
        ids=tuple(order),
        edges=traffic.state.edges,
        types=traffic.types,
        step_xy=step_xy,
        **columns,
    )
    return tracks, events
