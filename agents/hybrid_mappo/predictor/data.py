"""Positions made into windows for trajectory prediction: twelve past positions of one vehicle and the next.

Reads positions of several vehicles at equal intervals; gives windows, their normalisation to a box, and a split into
training and test by group (a tape, or a vehicle), never by window: neighbouring windows share eleven positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cosim.errors import ScenarioError
from cosim.randomness import entity_keys, philox, stream_key, uniforms
from cosim.tasks.migration.tape import MobilityTape

Floats = NDArray[np.float64]

PAST = 12
"""Past positions of a window [G]."""
TRAIN_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel rectangle that positions are normalised over: ``low`` and ``high`` (2,), m."""

    low: Floats
    high: Floats

    @classmethod
    def of(cls, low: Sequence[float] | Floats, high: Sequence[float] | Floats) -> Box:
        """Return a box; ScenarioError if a corner is not finite or the corners are the wrong way round."""
        a, b = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        if a.shape != (2,) or b.shape != (2,) or not np.isfinite([a, b]).all() or (a > b).any():
            raise ScenarioError(
                f"box {a.tolist()} to {b.tolist()}: needs two finite corners (x, y), low first"
            )
        return cls(a, b)

    @classmethod
    def around(cls, positions: Floats) -> Box:
        """Return the smallest box around positions (…, 2); NaN are left out, ScenarioError if nothing is left."""
        flat = positions.reshape(-1, 2)
        flat = flat[np.isfinite(flat).all(axis=1)]
        if not len(flat):
            raise ScenarioError("no position to put a box around")
        return cls(flat.min(axis=0), flat.max(axis=0))

    @property
    def span(self) -> Floats:
        """(2,) width and height, m; an axis without extent counts as 1 m, so that dividing by it is safe."""
        size = self.high - self.low
        return np.where(size > 0.0, size, 1.0)

    def normalise(self, xy: Floats) -> Floats:
        """Return positions (…, 2) in m as shares of the box, 0 to 1 inside it."""
        return (xy - self.low) / self.span

    def denormalise(self, shares: Floats) -> Floats:
        """Return shares (…, 2) of the box as positions, m."""
        return shares * self.span + self.low


@dataclass(frozen=True, slots=True)
class Windows:
    """``past`` (n, 12, 2) and ``future`` (n, 2) in m, oldest first; ``groups`` (n,) says what they are split by."""

    past: Floats
    future: Floats
    groups: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.past)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Windows:
        """Return some of the windows."""
        return Windows(self.past[chosen], self.future[chosen], self.groups[chosen])


def cut_windows(
    xy: Floats, groups: Sequence[str], *, step_s: float, period_s: float, every_s: float | None = None
) -> Windows:
    """Return windows of positions at *period_s*, ordered by vehicle and time.

    A window with a gap in it (NaN) is left out, so none reaches from one stay of a vehicle into the next, and none
    from one vehicle into another.

    Args:
        xy: positions (S, N, 2) of N vehicles every *step_s* seconds, m; NaN where a vehicle is not there.
        groups: what each vehicle is split by: its tape, or itself.
        step_s: s between rows of *xy*.
        period_s: s between the positions of a window.
        every_s: s from the beginning of one window to that of the next, None: *period_s*.  Less gives windows at
            several phases of the traffic lights.

    Raises:
        ScenarioError: a time is no whole multiple of *step_s*.
        ValueError: *xy* is not of N vehicles.
    """
    if xy.ndim != 3 or xy.shape[1:] != (len(groups), 2):
        raise ValueError(f"positions {xy.shape} of {len(groups)} vehicles; must be (S, N, 2)")
    stride, every = (_rows(t, step_s) for t in (period_s, period_s if every_s is None else every_s))
    if len(xy) <= PAST * stride:
        return Windows(np.empty((0, PAST, 2)), np.empty((0, 2)), np.empty(0, dtype=np.str_))
    # (windows, N, 2, reach) -> (N, windows, 13, 2)
    reach = np.lib.stride_tricks.sliding_window_view(xy, PAST * stride + 1, axis=0)[::every, ..., ::stride]
    whole = reach.transpose(1, 0, 3, 2)
    there = np.isfinite(whole).all(axis=(2, 3))
    kept = whole[there]
    return Windows(kept[:, :PAST], kept[:, PAST], np.repeat(np.array(groups), there.sum(axis=1)))


def tape_windows(tapes: Sequence[MobilityTape], period_s: float, every_s: float | None = None) -> Windows:
    """Return the windows of mobility tapes, split by tape (scenario and seed); arguments as :func:`cut_windows`.

    At a tape's slot and with *every_s* None these are the windows of its slots.
    """
    return joined(
        [
            cut_windows(
                tape.track,
                [f"{tape.scenario} {tape.seed}"] * len(tape.vehicles),
                step_s=tape.track_step,
                period_s=period_s,
                every_s=every_s,
            )
            for tape in tapes
        ]
    )


def joined(parts: Sequence[Windows]) -> Windows:
    """Return several sets of windows as one."""
    return Windows(
        np.concatenate([part.past for part in parts]),
        np.concatenate([part.future for part in parts]),
        np.concatenate([part.groups for part in parts]),
    )


def _rows(time_s: float, step_s: float) -> int:
    rows = round(time_s / step_s)
    if rows < 1 or abs(rows * step_s - time_s) > 1e-9 * max(time_s, step_s):
        raise ScenarioError(
            f"windows at {time_s:g} s from positions every {step_s:g} s: must be a whole multiple"
        )
    return rows


def in_training(
    groups: Sequence[str] | NDArray[np.str_], seed: int, share: float = TRAIN_SHARE
) -> NDArray[np.bool_]:
    """Return (n,) which groups are for training.

    A group's side depends on (seed, group) alone: more tapes move none of those before to the other side.
    """
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    keys = entity_keys([str(name) for name in names])
    words = philox(keys, np.zeros_like(keys), stream_key(seed, "predictor-split", 0))
    chosen = np.zeros(len(names), dtype=np.bool_)
    chosen[uniforms(words[0]) < share] = True
    return chosen[inverse]


def split(windows: Windows, seed: int, share: float = TRAIN_SHARE) -> tuple[Windows, Windows]:
    """Return windows for training and for testing, split by group."""
    train = in_training(windows.groups, seed, share)
    return windows.where(train), windows.where(~train)


def filled(history: Floats) -> Floats:
    """Return histories (…, 12, 2) with unknown positions (NaN) before the first known one set to it.

    A vehicle that has just appeared counts as having stood there.  Gaps later on keep NaN.
    """
    known = np.isfinite(history).all(axis=-1)
    first = np.argmax(known, axis=-1)
    before = (np.arange(history.shape[-2]) < first[..., None]) & known.any(axis=-1, keepdims=True)
    earliest = np.take_along_axis(history, first[..., None, None], axis=-2)
    return np.where(before[..., None], earliest, history)
