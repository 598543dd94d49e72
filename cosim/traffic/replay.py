"""Vehicles that drive as GPS traces say: at every step where the trace was, or along its route with SUMO driving.

Gives the bridge the routes of a :class:`~cosim.traffic.replay_plan.ReplayPlan` and, in mode ``replay``, one order a
step that puts each vehicle at its place; compares where SUMO then has it.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import entity_keys
from cosim.traffic.nets import Net
from cosim.traffic.replay_plan import Places, ReplayPlan, replay_plan
from cosim.traffic.state import TrafficState
from cosim.traffic.traces.matched import load_matched

if TYPE_CHECKING:
    from cosim.scenario import TrafficConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SPEED_SLACK = 0.01  # m/s
_KEEP, _FREE = 1, 2  # SUMO's keepRoute: the nearest place on the route, and exactly there, road or not
METRICS = (
    "replay_vehicles",
    "replay_error_max",
    "replay_error_mean",
    "replay_off_road_share",
    "replay_lost",
)


def replay_ids(traffic: TrafficConfig, net: Net) -> tuple[str, ...]:
    """Return the ids of a scenario's replayed vehicles, in order; errors as :func:`replay_plan`."""
    plan = replay_plan(traffic, net)
    return () if plan is None else tuple(trip.id for trip in plan.trips)


def replay_routes(traffic: TrafficConfig, net: Net) -> dict[str, tuple[str, ...]]:
    """Return the routes of a scenario's replay by name; errors as :func:`replay_plan`."""
    plan = replay_plan(traffic, net)
    return {} if plan is None else plan.routes()


def replay_files(traffic: TrafficConfig) -> tuple[Path, ...]:
    """Return the files that a scenario's replay reads (none without one), for the manifest."""
    return () if traffic.replay is None else load_matched(traffic.replay.traces).files()


def start_replay(traffic: TrafficConfig, net: Net) -> Replay | None:
    """Return the replay of a simulation that begins; errors as :func:`replay_plan`."""
    plan = replay_plan(traffic, net)
    return None if plan is None else Replay(plan)


class Replay:
    """The state of a replay in a running simulation: who is where, and how far SUMO's places are from the traces'."""

    def __init__(self, plan: ReplayPlan) -> None:
        self.plan = plan
        self.ids = tuple(trip.id for trip in plan.trips)
        self._key = entity_keys(self.ids)
        self._begin = np.array([trip.depart_us for trip in plan.trips], np.int64)
        self._end = np.array([trip.end_us for trip in plan.trips], np.int64)
        self._over = np.zeros(len(self.ids), bool)
        self._placed: Ints = np.empty(0, np.int64)
        self._places: Places | None = None
        self._speed = np.full(len(self.ids), np.nan)
        self._seen = np.zeros(len(self.ids), bool)
        self._worst, self._sum, self._n, self._off, self._lost = 0.0, 0.0, 0, 0, 0

    def finished(self, t_us: int, present: Container[str]) -> list[str]:
        """Return who is still *present* though the trace ended before *t_us*; each is named once."""
        ended = np.flatnonzero((self._end < t_us) & ~self._over)
        self._over[ended] = True
        return [self.ids[k] for k in ended.tolist() if self.ids[k] in present]

    def moves(self, t_us: int, *here: Container[str]) -> tuple[list[str], tuple[list[Any], ...]]:
        """Return ids and the columns of SUMO's moveToXY for *t_us*, for the vehicles that are in one of *here*."""
        due = np.flatnonzero((self._begin <= t_us) & (t_us <= self._end))
        alive = [k for k in due.tolist() if any(self.ids[k] in group for group in here)]
        self._lost += int(self._seen[due].sum()) - int(self._seen[alive].sum())
        which = np.array(alive, np.int64)
        self._placed = which
        if not alive:
            self._places = None
            return [], ()
        self._places = places = self.plan.place(which, t_us)
        off = places.off
        self._off += int(off.sum())
        pieces = zip(places.piece.tolist(), off.tolist(), strict=True)
        edges = ["" if away else self.plan.piece_edge[piece] for piece, away in pieces]
        lanes = np.where(off, 0, self.plan.piece_lane[places.piece])
        keep = np.where(off, _FREE, _KEEP)
        x, y = places.xy.T.tolist()
        return [self.ids[k] for k in alive], (
            edges,
            lanes.tolist(),
            x,
            y,
            places.angle.tolist(),
            keep.tolist(),
        )

    def correct(
        self, key: NDArray[np.uint64], speed: Floats, accel: Floats, step: float
    ) -> tuple[list[str], list[float], list[float]]:
        """Put the traces' speeds (m/s) and accelerations (m/s^2) in place of SUMO's, in the arrays given.

        SUMO takes a vehicle that was put on another edge to stand, and none to be faster than its limit.

        Args:
            key: keys (V,) of the vehicles on the road, ascending.
            speed, accel: (V,), changed in place.
            step: traffic step, s.

        Returns:
            Ids, speeds and accelerations of those of whom SUMO thought otherwise.
        """
        if self._places is None or not len(key):
            return [], [], []
        own = self._key[self._placed]
        row = np.minimum(np.searchsorted(key, own), len(key) - 1)
        here = key[row] == own
        row, which, now = row[here], self._placed[here], self._places.speed[here]
        before = self._speed[which]
        change = np.where(np.isnan(before), 0.0, (now - before) / step)
        self._speed[which] = now
        wrong = np.flatnonzero(np.abs(speed[row] - now) > _SPEED_SLACK)
        speed[row], accel[row] = now, change
        return [self.ids[k] for k in which[wrong].tolist()], now[wrong].tolist(), change[wrong].tolist()

    def measure(self, state: TrafficState) -> None:
        """Compare where the vehicles are in *state* with where the last moves put them."""
        if self._places is None or not len(state):
            return
        key = self._key[self._placed]
        row = np.minimum(np.searchsorted(state.key, key), len(state) - 1)
        found = state.key[row] == key
        self._seen[self._placed[found]] = True
        self._lost += int((~found & self._seen[self._placed]).sum())
        error = np.hypot(*(state.xy[row[found]] - self._places.xy[found]).T)
        self._worst = max(self._worst, float(error.max(initial=0.0)))
        self._sum += float(error.sum())
        self._n += len(error)

    def metrics(self) -> dict[str, float | None]:
        """Return ``replay_vehicles`` (entered so far), errors (m), share of places off the road, vehicle steps lost."""
        n = self._n
        values = (
            float(self._seen.sum()),
            self._worst if n else None,
            self._sum / n if n else None,
            self._off / n if n else None,
            float(self._lost),
        )
        return dict(zip(METRICS, values, strict=True))
