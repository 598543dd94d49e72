"""Learning windows as the recurrent team methods hold them: a row for each vehicle and instant, by slot.

Rows of an instant stand in the order of their slots, so that a grid of instants and slots has them in the order of
``grid[alive]``, as :class:`agents.tpe_marl.qmix.TeamBatch` wants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.common.gaps import guarded
from agents.common.window_memory import Draw, Held
from agents.tpe_marl.inputs import NO_ACTION, Floats, traffic_state
from agents.tpe_marl.recurrent_actor import NEVER, InputRows, changes_lane, dwelling
from cosim.lockstep.learner import Window
from cosim.tasks.driving.observation import FEATURES

ROWS = ("inputs", "allowed", "action", "slot", "entered", "features")
INSTANTS = ("reward", "changes", "traffic")


@dataclass(frozen=True, slots=True)
class TeamRows:
    """What :func:`team_rows` gives; ``order`` (R,) says which row of the window each row is, ``instant`` (R,) when.

    ============  ================  ===================================================
    ``inputs``    (R, d) float32    input row of the agent network
    ``allowed``   (R, 9) bool       actions allowed
    ``action``    (R,) int8         action taken
    ``slot``      (R,) int8         its slot
    ``entered``   (R,) bool         it was not there an instant before
    ``features``  (R, 8) float32    what the plain state holds of it
    ``reward``    (T + 1,) float32  team reward of each decision; 0 where nobody decided
    ``changes``   (T + 1,) float32  share of the vehicles that decided to change lane
    ``traffic``   (T + 1, 11)       what the state holds of no vehicle
    ============  ================  ===================================================
    """

    order: NDArray[np.int64]
    instant: NDArray[np.int64]
    held: Held


@dataclass(frozen=True, slots=True)
class BySlot:
    """The active rows of a window by instant and slot.

    ``order`` (R,) their rows in the window, ``instant`` (R,), ``slot`` (R,), ``first`` (T + 2,) where instants begin.
    """

    order: NDArray[np.int64]
    instant: NDArray[np.int64]
    slot: NDArray[np.int8]
    first: NDArray[np.int64]


def by_slot(window: Window, slots: int) -> BySlot:
    """Return where the rows of a window stand; AgentError if there are ever more vehicles than *slots*."""
    slot, whole = window.slots(slots), window.instants()
    there = (slot >= 0).nonzero()[0]
    order = there[np.lexsort((slot[there], whole[there]))]
    instant = whole[order]
    first = np.searchsorted(instant, np.arange(len(window.t_us) + 1))
    return BySlot(order, instant, slot[order].astype(np.int8), first)


def window_inflow(window: Window) -> Floats:
    """Return the inflow (T + 1, 8)."""
    return window.shared["inflow"].values.reshape(len(window.t_us), -1).astype(np.float32)


def window_traffic(window: Window, slots: int) -> Floats:
    """Return what a state holds of no vehicle, (T + 1, 11)."""
    zone = window.shared["zone_features"]
    at = np.repeat(np.arange(len(window.t_us)), np.diff(zone.first))
    return traffic_state(window_inflow(window), zone.values, at, slots)


def team_reward(window: Window) -> Floats:
    """Return the team's reward (T + 1,) of each decision; 0 where nobody decided."""
    settled = window.decided & (window.next >= 0)
    reward = np.zeros(len(window.t_us), dtype=np.float32)
    reward[window.instants()[settled]] = window.reward[settled]
    return reward


def own_reward(window: Window) -> Floats:
    """Return the own part (M,) of the reward of each row's decision; 0 where nothing was decided."""
    own = window.shared["own_reward"].values
    return np.where(window.next >= 0, own[window.next], 0.0).astype(np.float32)


def window_guard(window: Window) -> NDArray[np.bool_]:
    """Return what :func:`agents.common.gaps.guarded` allows each row, (M, 9)."""
    zone, instant = window.shared["zone_features"], window.instants()
    count = np.diff(zone.first)
    padded = np.full(
        (len(count), max(int(count.max(initial=0)), 1), zone.values.shape[1]), np.nan, dtype=np.float32
    )
    at = np.repeat(np.arange(len(count)), count)
    padded[at, np.arange(len(at)) - zone.first[at]] = zone.values
    return guarded(window.obs, padded[instant])


def since_change(
    window: Window, settled: NDArray[np.bool_], changing: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return (M,) decisions of each row's vehicle since its last change of lane in this window."""
    since = np.full(len(window), NEVER)
    for begin, end in zip(window.first[:-1].tolist(), window.first[1:].tolist(), strict=True):
        at = begin + settled[begin:end].nonzero()[0]
        since[window.next[at]] = np.where(changing[at], 1, since[at] + 1)
    return since


def team_rows(window: Window, inputs: InputRows, slots: int, guard: bool = False) -> TeamRows:
    """Return the rows of a driving window; AgentError if there are ever more vehicles than *slots*.

    *guard*: what the guard forbids is not allowed either, as when the window was driven.
    """
    where, whole = by_slot(window, slots), window.instants()
    order, instants = where.order, len(window.t_us)
    settled = window.decided & (window.next >= 0)
    last = np.full(len(window), NO_ACTION)
    last[window.next[settled]] = window.values[settled]
    new = np.ones(len(window), dtype=np.bool_)
    new[window.next[settled]] = False
    changing = settled & changes_lane(window.values)
    count = np.bincount(whole[settled], minlength=instants)
    changes = np.bincount(whole[changing], minlength=instants) / np.maximum(count, 1)
    mask = np.ones((len(window), 9), dtype=np.bool_) if window.mask is None else window.mask
    if guard:
        mask = mask & window_guard(window)
    since = None
    if inputs.dwell:
        since = since_change(window, settled, changing)
        mask = mask & dwelling(since, inputs.dwell)
        since = since[order]
    rows: dict[str, NDArray[Any]] = {
        "inputs": inputs(window.obs[order], last[order], window_inflow(window)[where.instant], since),
        "allowed": mask[order],
        "action": window.values[order].astype(np.int8),
        "slot": where.slot,
        "entered": new[order],
        "features": window.obs[order, :FEATURES],
    }
    of_instants: dict[str, NDArray[Any]] = {
        "reward": team_reward(window),
        "changes": changes.astype(np.float32),
        "traffic": window_traffic(window, slots),
    }
    return TeamRows(order, where.instant, Held(where.first, rows, of_instants))


def grid(draw: Draw, marked: NDArray[np.bool_], slots: int) -> NDArray[np.bool_]:
    """Return (count, length, slots): True where a row that is *marked* (R,) has its slot."""
    out = np.zeros((draw.count * draw.length, slots), dtype=np.bool_)
    out[draw.cell, draw.rows["slot"]] = marked
    return out.reshape(draw.count, draw.length, slots)


def slot_features(draw: Draw, slots: int) -> Floats:
    """Return (count * length, slots, 8), zeros in empty slots."""
    out = np.zeros((draw.count * draw.length, slots, FEATURES), dtype=np.float32)
    out[draw.cell, draw.rows["slot"]] = draw.rows["features"]
    return out


def flat_traffic(draw: Draw) -> Floats:
    """Return (count * length, 11)."""
    traffic: Floats = draw.instants["traffic"].reshape(draw.count * draw.length, -1)
    return traffic
