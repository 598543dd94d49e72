"""Finding the two situations of the paper's Fig. 14 in recorded traffic, from positions, lanes and routes alone.

*In front* (case a): a CAV that will turn right changes to the right in front of human drivers and does not brake for
it, instead of falling in behind them.  *Giving way* (case b): a CAV that goes straight changes to the right, out of
the way of a CAV behind it that will turn right; that one does not brake either and takes the rightmost lane in front
of a human driver.  In both, those human drivers count as *passed* that were ahead of CAV 1 when the situation began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

ZONE = "highway_0"
REACH = 60.0
"""Who is further away, m, does not belong to a situation."""
SPAN_S, BEFORE_S, AFTER_S = 8.0, 3.0, 1.0
"""How long a situation may take, and what is shown before and after it, s."""
BODY = 5.0
BRAKED = 0.5
"""A speed that falls by more than this, m/s, is braking."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Vehicles in the zone at all recorded instants: ``s``, ``speed`` and ``lane`` (T, V), lane -1 where it is not.

    ``t_us`` (T,), ``ids`` (V,), ``cav`` (V,) and ``route`` (V,).
    """

    t_us: NDArray[np.int64]
    ids: tuple[str, ...]
    cav: NDArray[np.bool_]
    route: NDArray[np.str_]
    lane: NDArray[np.int64]
    s: Floats
    speed: Floats


@dataclass(frozen=True, slots=True)
class Situation:
    """One that was found: begin, CAV 1's last change of lanes and end (s), who takes part (CAV 1 first).

    ``passed`` human drivers were ahead at its begin, ``score`` says how well it shows what it is to show.
    """

    begin_s: float
    turn_s: float
    end_s: float
    who: tuple[str, ...]
    passed: int
    score: float


def tracks(vehicles: pl.DataFrame, events: pl.DataFrame) -> Tracks:
    """Return the tracks of a run from its tables ``vehicles`` (a row every traffic step) and ``events``."""
    on = vehicles.filter(vehicles["edge"] == ZONE)
    t_us, row = np.unique(on["t_us"].to_numpy(), return_inverse=True)
    ids, column = np.unique(on["id"].to_numpy().astype(str), return_inverse=True)
    shape = (len(t_us), len(ids))
    lane = np.full(shape, -1)
    s, speed = np.full(shape, np.nan), np.full(shape, np.nan)
    lane[row, column] = on["lane"].to_numpy()
    s[row, column], speed[row, column] = on["s"].to_numpy(), on["speed"].to_numpy()
    cav = np.zeros(len(ids), dtype=np.bool_)
    cav[column] = (on["type"] == "cav").to_numpy()
    left = events.filter(events["kind"] == "departure")
    routes = dict(zip(left["id"].to_list(), left["text"].to_list(), strict=True))
    route = np.array([routes.get(name, "") for name in ids], dtype=np.str_)
    return Tracks(t_us, tuple(ids.tolist()), cav, route, lane, s, speed)


def in_front(seen: Tracks) -> list[Situation]:
    """Return the situations of case (a), one a CAV, the best first: most passed, most behind, fastest."""
    found = []
    for cav in np.flatnonzero(seen.cav & (seen.route == "right")).tolist():
        best = max(_in_front(seen, cav), key=lambda one: one.score, default=None)
        if best is not None:
            found.append(best)
    return sorted(found, key=lambda one: -one.score)


def _in_front(seen: Tracks, cav: int) -> Iterator[Situation]:
    here = np.flatnonzero(seen.lane[:, cav] >= 0)
    if seen.lane[here[-1], cav] != 0:
        return  # it did not get where it wanted to
    changes = _changes(seen, cav)
    for t in _changes(seen, cav, -1):
        begin = max(_at(seen, t, -BEFORE_S), int(here[0]))
        ahead = seen.s[t] - seen.s[t, cav]
        behind = ~seen.cav & (seen.lane[t] == seen.lane[t, cav]) & (ahead <= -BODY) & (ahead >= -REACH)
        humans = np.flatnonzero(behind)[np.argsort(ahead[behind])][-2:]
        speeds = seen.speed[begin : t + 1, cav]
        if not len(humans) or speeds.min() < speeds[0] - BRAKED or seen.lane[begin:t, cav].min() < 1:
            continue
        passed = int((seen.s[begin, humans] > seen.s[begin, cav]).sum())
        calm = sum(begin <= c <= t for c in changes)
        score = (
            100.0 * passed + 20.0 * len(humans) + float(speeds.mean() + ahead[humans[-1]] / 5) - 2.0 * calm
        )
        who = tuple(seen.ids[k] for k in (cav, *humans.tolist()))
        end = min(_at(seen, t, AFTER_S), int(here[-1]))
        yield Situation(_s(seen, begin), _s(seen, t), _s(seen, end), who, passed, score)


def giving_way(seen: Tracks) -> list[Situation]:
    """Return the situations of case (b), one a CAV 1, the best first: most passed, then most speed gained."""
    found: dict[str, Situation] = {}
    for second in np.flatnonzero(seen.cav & (seen.route == "straight")).tolist():
        for t in _changes(seen, second, -1):
            for one in _freed_by(seen, second, t):
                kept = found.get(one.who[0])
                if kept is None or one.score > kept.score:
                    found[one.who[0]] = one
    return sorted(found.values(), key=lambda one: -one.score)


def _freed_by(seen: Tracks, second: int, t: int) -> Iterator[Situation]:
    """Yield what follows when CAV *second* leaves its lane to the right at instant *t*."""
    gap = seen.s[t, second] - seen.s[t]
    same = seen.lane[t] == seen.lane[t - 1, second]
    followers = seen.cav & (seen.route == "right") & same & (gap > 0) & (gap <= REACH)
    for first in np.flatnonzero(followers).tolist():
        last = min(_at(seen, t, SPAN_S), int(np.flatnonzero(seen.lane[:, first] >= 0)[-1]))
        rights = [c for c in _changes(seen, first, -1) if t < c <= last and seen.lane[c, first] == 0]
        if not rights or seen.lane[last, first] != 0:
            continue
        reached = rights[0]
        ahead = seen.s[reached] - seen.s[reached, first]
        behind = ~seen.cav & (seen.lane[reached] == 0) & (ahead <= -BODY) & (ahead >= -REACH)
        speeds = seen.speed[t : reached + 1, first]
        if not behind.any() or speeds.min() < speeds[0] - BRAKED:
            continue
        human = int(np.flatnonzero(behind)[ahead[behind].argmax()])
        passed = int(seen.s[t, human] > seen.s[t, first])
        calm = sum(t <= c <= reached for c in _changes(seen, first) + _changes(seen, second))
        score = 100.0 * passed + float(speeds[-1] - speeds[0] + ahead[human] / 5) - 2.0 * calm
        who = tuple(seen.ids[k] for k in (first, second, human))
        begin, end = max(_at(seen, t, -AFTER_S), 0), min(_at(seen, reached, AFTER_S), last)
        yield Situation(_s(seen, begin), _s(seen, reached), _s(seen, end), who, passed, score)


def _changes(seen: Tracks, vehicle: int, way: int | None = None) -> list[int]:
    """Return the instants right after which the vehicle is in another lane; *way* -1: one to the right."""
    lane = seen.lane[:, vehicle]
    step = np.diff(lane)
    both = (lane[1:] >= 0) & (lane[:-1] >= 0)
    wanted = step != 0 if way is None else step == way
    found: list[int] = (np.flatnonzero(both & wanted) + 1).tolist()
    return found


def _at(seen: Tracks, t: int, later_s: float) -> int:
    """Return the instant *later_s* seconds after instant *t*, or the last one before that."""
    return max(int(seen.t_us.searchsorted(seen.t_us[t] + round(later_s * 1e6), side="right")) - 1, 0)


def _s(seen: Tracks, at: int) -> float:
    return float(seen.t_us[at]) / 1e6


def instants(one: Situation, count: int = 5) -> Sequence[float]:
    """Return evenly spread instants of a situation, s."""
    return [float(t) for t in np.linspace(one.begin_s, one.end_s, count)]
