"""Where RSUs stand, whom they serve, for how long, and whom a vehicle may choose as target.

In an ``urban`` layout every vehicle is served by its nearest RSU and chooses among all others; in a ``remote`` one
RSUs reach only so far, and the choice is whether to migrate to the next RSU ahead.  Functions of arrays with any
leading shape; positions in m in net coordinates, headings in SUMO's degrees (clockwise from north).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NONE = -1
"""No RSU: a vehicle in a gap, or nothing ahead."""
LONGEST = 600.0
"""Cap of T_dur, s."""
SLOWEST = 1.0
"""Speed (m/s) below which a vehicle is taken to move at this speed in T_dur."""
_NEAR_RIGHT_ANGLE = 1e-6


@dataclass(frozen=True)
class Layout:
    """M RSUs and the decision space over them.

    ``ids`` name the RSUs, ``xy`` (M, 2) their places, ``box`` (2, 2) the lower and upper corner of the area:
    positions are scaled by it.  ``reach`` (m; None: everywhere) bounds coverage.  RSUs closer to each other than
    ``facing`` (m) stand at two sides of one road and share one region.  ``remote`` says which decision space.
    """

    ids: tuple[str, ...]
    xy: Floats
    box: Floats
    reach: float | None = None
    remote: bool = False
    facing: float = 100.0

    @property
    def stations(self) -> int:
        """Number of RSUs, M."""
        return len(self.ids)

    @property
    def choices(self) -> int:
        """Number of discrete choices: M targets, or stay (0) and migrate ahead (1)."""
        return 2 if self.remote else len(self.ids)

    @classmethod
    def from_shared(cls, shared: Mapping[str, NDArray[Any]]) -> Layout:
        """Return the layout that ``Observations.shared`` of the task describes; ids are ``rsu_0`` … in order."""
        reach, remote = float(shared["reach"][0]), bool(shared["remote"][0])
        ids = tuple(f"rsu_{m}" for m in range(len(shared["rsu_xy"])))
        xy, box = np.asarray(shared["rsu_xy"]), np.asarray(shared["box"])
        return cls(ids, xy, box, None if np.isinf(reach) else reach, remote)

    def as_shared(self) -> dict[str, NDArray[Any]]:
        """Return the layout as arrays: ``rsu_xy`` (M, 2), ``box`` (2, 2), ``reach`` and ``remote`` (1,)."""
        reach = np.inf if self.reach is None else self.reach
        return {
            "rsu_xy": self.xy,
            "box": self.box,
            "reach": np.array([reach]),
            "remote": np.array([self.remote]),
        }

    @cached_property
    def _bisectors(self) -> tuple[Floats, Floats, Bools]:
        """Normals (M, M, 2) from m to j, their offsets (M, M), and which borders count (M, M)."""
        normal = self.xy[None, :, :] - self.xy[:, None, :]
        middle = (self.xy[None, :, :] + self.xy[:, None, :]) / 2
        offset = (normal * middle).sum(axis=-1)
        apart = np.sqrt((normal * normal).sum(axis=-1)) > self.facing
        return normal, offset, apart


def distances(layout: Layout, xy: Floats) -> Floats:
    """Return the distances (..., M) in m of places ``xy`` (..., 2) to every RSU, at least 1 m."""
    dx = xy[..., 0, None] - layout.xy[:, 0]
    dy = xy[..., 1, None] - layout.xy[:, 1]
    return np.maximum(np.sqrt(dx * dx + dy * dy), 1.0)


def serving_station(layout: Layout, xy: Floats) -> Ints:
    """Return the nearest RSU of places ``xy`` (..., 2), :data:`NONE` where it does not reach."""
    apart = distances(layout, xy)
    nearest: Ints = apart.argmin(axis=-1)
    if layout.reach is None:
        return nearest
    return np.where(apart.min(axis=-1) <= layout.reach, nearest, NONE)


def _direction(heading: Floats) -> tuple[Floats, Floats]:
    angle = np.radians(heading)
    return np.sin(angle), np.cos(angle)


def remaining_distance(layout: Layout, xy: Floats, heading: Floats, serving: Ints) -> Floats:
    """Return how far (m) vehicles can go straight on before they leave their RSU's region, (...).

    A region is where the RSU (or one facing it) is the nearest, within the box and within reach.  Infinite where no
    border lies ahead; 0 where no RSU serves.
    """
    ux, uy = _direction(heading)
    normal, offset, counts = layout._bisectors
    at = np.maximum(serving, 0)
    nx, ny = normal[at, :, 0], normal[at, :, 1]
    x, y = xy[..., 0], xy[..., 1]
    gap = offset[at] - nx * x[..., None] - ny * y[..., None]
    pace = nx * ux[..., None] + ny * uy[..., None]
    ahead = counts[at] & (pace > _NEAR_RIGHT_ANGLE * np.maximum(np.abs(nx) + np.abs(ny), 1.0))
    far = np.where(ahead, np.maximum(gap, 0.0) / np.where(ahead, pace, 1.0), np.inf).min(axis=-1)
    for place, step, axis in ((x, ux, 0), (y, uy, 1)):
        wall = np.where(step > 0, layout.box[1, axis], layout.box[0, axis])
        moves = np.abs(step) > _NEAR_RIGHT_ANGLE
        until = np.where(moves, np.maximum((wall - place) / np.where(moves, step, 1.0), 0.0), np.inf)
        far = np.minimum(far, until)
    if layout.reach is not None:
        dx, dy = x - layout.xy[at, 0], y - layout.xy[at, 1]
        along = dx * ux + dy * uy
        inside = np.maximum(along * along - (dx * dx + dy * dy) + layout.reach * layout.reach, 0.0)
        far = np.minimum(far, np.sqrt(inside) - along)
    return np.where(serving == NONE, 0.0, far)


def has_left(layout: Layout, serving: Ints, xy: Floats) -> Bools:
    """Return whether places ``xy`` (..., 2) lie outside the region of their RSU ``serving`` (...).

    RSUs that face each other share one region (:class:`Layout`), as in T_dur.
    """
    nearest = serving_station(layout, xy)
    _, _, apart = layout._bisectors
    left: Bools = (nearest == NONE) | apart[serving, np.maximum(nearest, 0)]
    return left


def residence_time(remaining: Floats, speed: Floats) -> Floats:
    """Return T_dur (s) = remaining distance / max(speed, 1 m/s), at most 600 s."""
    return np.minimum(remaining / np.maximum(speed, SLOWEST), LONGEST)


def station_ahead(layout: Layout, xy: Floats, heading: Floats, serving: Ints) -> Ints:
    """Return the nearest RSU ahead of each vehicle (...) that does not serve it; :data:`NONE` if there is none."""
    ux, uy = _direction(heading)
    dx = layout.xy[:, 0] - xy[..., 0, None]
    dy = layout.xy[:, 1] - xy[..., 1, None]
    apart = np.sqrt(dx * dx + dy * dy)
    fits = (dx * ux[..., None] + dy * uy[..., None] > 0.0) & (
        np.arange(layout.stations) != serving[..., None]
    )
    apart = np.where(fits, apart, np.inf)
    return np.where(np.isfinite(apart.min(axis=-1)), apart.argmin(axis=-1), NONE)


def action_mask(layout: Layout, serving: Ints, ahead: Ints, own_target: bool = False) -> Bools:
    """Return which choices (..., A) are open.

    Urban: every RSU but the serving one (that too with ``own_target``, the literal reading).  Remote: 0 (stay)
    always, 1 (migrate) where an RSU is ahead.  A vehicle in a gap has no task: only choice 0 is open.
    """
    mask: Bools
    if layout.remote:
        mask = np.ones((*serving.shape, 2), dtype=np.bool_)
        mask[..., 1] = (ahead != NONE) & (serving != NONE)
        return mask
    numbers = np.arange(layout.stations)
    mask = numbers != serving[..., None]
    if own_target:
        mask = np.ones_like(mask)
    if layout.reach is not None:
        mask = np.where(serving[..., None] == NONE, numbers == 0, mask)
    return mask


def decide(
    layout: Layout, choice: Ints, share: Floats, serving: Ints, ahead: Ints, mask: Bools
) -> tuple[Ints, Floats]:
    """Return target RSU and share K as executed, both (...).

    A masked choice, staying (remote) and a vehicle in a gap migrate nothing: target the serving RSU (0 in a gap),
    K = 0.
    """
    index = np.arange(choice.size) * mask.shape[-1] + choice.ravel()
    goes = mask.ravel().take(index).reshape(choice.shape)
    if layout.reach is not None:
        goes = goes & (serving != NONE)
    target = choice
    if layout.remote:
        goes = goes & (choice == 1)
        target = ahead
    return np.where(goes, target, np.maximum(serving, 0)), np.where(goes, share, 0.0)


def vehicle_order(ids: Iterable[str]) -> list[str]:
    """Return vehicle ids in the order in which they are numbered: by name, digits as numbers (``v.9``, ``v.10``)."""
    return sorted(
        ids, key=lambda name: [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in _parts(name)]
    )


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"(\d+)", name) if part]
