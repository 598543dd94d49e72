"""Finding the two situations of the paper's Fig. 14 in recorded traffic, from positions, lanes and routes alone.

*In front* (case a): a CAV that will turn right takes the rightmost lane in front of human drivers from lanes on its
right, and does not brake for it, instead of falling in behind them.  *Together* (case b): of two CAVs close to each
other one that goes straight changes to the right and one that will turn right takes the rightmost lane, within a few
seconds and without braking.  It is *strict* if the one that goes straight left a lane in which the other then drove
close to it: it gave way.  In both, those human drivers count as *passed* that were ahead of CAV 1 when the situation
began; (a) is strict if any was.
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
REACH = 80.0
"""Who is further away, m, does not belong to a situation."""
SPAN_S, BEFORE_S, AFTER_S = 5.0, 3.0, 1.0
"""How long a situation may take, and what is shown before and after it, s."""
CLOSE = 25.0
"""Whom a vehicle would have been in the way of: who is in the lane that it left, this near, m."""
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

    ``passed`` human drivers were ahead at its begin, ``strict`` is as the module says, ``score`` says how well it shows
    what it is to show.
    """

    begin_s: float
    turn_s: float
    end_s: float
    who: tuple[str, ...]
    passed: int
    strict: bool
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
    rights = [t for t in _changes(seen, cav, -1) if seen.lane[t, cav] == 0]
    if not rights or seen.lane[here[-1], cav] != 0:
        return  # it did not get where it wanted to
    turn = rights[-1]
    begin = max(_at(seen, turn, -BEFORE_S), int(here[0]))
    humans = _left_behind(seen, cav, begin, turn)
    if seen.lane[begin, cav] == 0 or not humans or _braked(seen, cav, begin, turn):
        return
    passed = sum(bool(seen.s[begin, k] > seen.s[begin, cav]) for k in humans)
    calm = sum(begin <= t <= turn for t in _changes(seen, cav))
    gap = float(seen.s[turn, cav] - seen.s[turn, humans[-1]])
    score = 100.0 * passed + 20.0 * len(humans) + float(seen.speed[begin : turn + 1, cav].mean()) - gap / 5
    who = tuple(seen.ids[k] for k in (cav, *humans))
    end = min(_at(seen, turn, AFTER_S), int(here[-1]))
    yield Situation(
        _s(seen, begin), _s(seen, turn), _s(seen, end), who, passed, passed > 0, score - 2.0 * calm
    )


def _left_behind(seen: Tracks, cav: int, begin: int, turn: int) -> list[int]:
    """Return up to two human drivers, the farther first, from lanes on the CAV's right, in whose front it is at last.

    Those that were ahead at first go before the others; at least one is in the rightmost lane at last, or was ahead.
    """
    behind = seen.s[turn, cav] - seen.s[turn]
    on_right = (seen.lane[begin] >= 0) & (seen.lane[begin] < seen.lane[begin, cav])
    fits = np.flatnonzero(~seen.cav & on_right & (behind >= BODY) & (behind <= REACH))
    ahead = seen.s[begin, fits] > seen.s[begin, cav]
    if not (ahead | (seen.lane[turn, fits] == 0)).any():
        return []
    chosen = fits[np.lexsort((behind[fits], ~ahead))][:2]
    return sorted(chosen.tolist(), key=lambda k: -float(behind[k]))


def _braked(seen: Tracks, vehicle: int, begin: int, end: int) -> bool:
    speeds = seen.speed[begin : end + 1, vehicle]
    return bool(speeds.min() < speeds[0] - BRAKED)


def together(seen: Tracks) -> list[Situation]:
    """Return the situations of case (b), one a CAV 1, the best first: strict, most passed, a human driver near."""
    found: dict[str, Situation] = {}
    turns = {
        first: rights[-1]
        for first in np.flatnonzero(seen.cav & (seen.route == "right")).tolist()
        if (rights := [t for t in _changes(seen, first, -1) if seen.lane[t, first] == 0])
    }
    for second in np.flatnonzero(seen.cav & (seen.route == "straight")).tolist():
        for t in _changes(seen, second, -1):
            for first, turn in turns.items():
                one = _both(seen, first, turn, second, t)
                kept = found.get(seen.ids[first])
                if one is not None and (kept is None or one.score > kept.score):
                    found[seen.ids[first]] = one
    return sorted(found.values(), key=lambda one: -one.score)


def _both(seen: Tracks, first: int, turn: int, second: int, t: int) -> Situation | None:
    """Return the situation in which CAV *second* moves over at *t* and CAV *first* arrives on the right at *turn*."""
    begin, end = min(t, turn), max(t, turn)
    apart = (seen.t_us[end] - seen.t_us[begin]) / 1e6
    both = slice(begin, end + 1)
    gaps = np.abs(seen.s[both, first] - seen.s[both, second])
    if apart > SPAN_S or not (gaps <= REACH).all() or _braked(seen, first, begin, end):
        return None
    lane = int(seen.lane[t - 1, second])
    strict = t < turn and bool(((seen.lane[both, first] == lane) & (gaps <= CLOSE)).any())
    human = _left_behind(seen, first, begin, turn)[-1:] if turn > begin else []
    passed = sum(bool(seen.s[begin, k] > seen.s[begin, first]) for k in human)
    if not human:
        away = np.where(seen.cav | (seen.lane[end] < 0), np.inf, np.abs(seen.s[end] - seen.s[end, first]))
        human = [int(away.argmin())] if len(away) and away.min() <= REACH else []
    calm = sum(begin <= c <= end for c in _changes(seen, first) + _changes(seen, second))
    who = tuple(seen.ids[k] for k in (first, second, *human))
    here = np.flatnonzero((seen.lane[:, first] >= 0) & (seen.lane[:, second] >= 0))
    shown = max(_at(seen, begin, -AFTER_S), int(here[0])), min(_at(seen, end, BEFORE_S), int(here[-1]))
    score = 200.0 * strict + 100.0 * passed + 50.0 * len(human) - float(gaps.min()) / 5 - 2.0 * calm
    return Situation(_s(seen, shown[0]), _s(seen, turn), _s(seen, shown[1]), who, passed, strict, score)


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
