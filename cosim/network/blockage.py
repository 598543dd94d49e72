"""What stands between two antennas: buildings of the net and bodies of other vehicles.

Buildings are found with an STRtree (bounding boxes) and prepared polygons, by shapely.  A pair is tested again only
after an end has moved, so that standing vehicles cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from cosim.network.shadowing import grown

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


def obstacle_loss(
    walls: NDArray[np.int64], inside: Floats, per_wall: float = 9.0, per_metre: float = 0.4
) -> Floats:
    """Return per_wall dB for each wall cut plus per_metre dB for each metre inside (the model in Veins)."""
    return per_wall * walls + per_metre * inside


class Buildings:
    """Building outlines that can be asked which segments they block.

    ``outlines`` are (n, 2) arrays in m; those with fewer than three distinct corners are left out.
    """

    def __init__(self, outlines: Sequence[Floats]) -> None:
        shapes = [shapely.make_valid(shapely.Polygon(o)) for o in outlines if len(np.unique(o, axis=0)) >= 3]
        self.shapes: NDArray[np.object_] = np.array(shapes, dtype=object)
        shapely.prepare(self.shapes)
        self._tree = shapely.STRtree(shapes)
        low, high = shapely.bounds(self.shapes).reshape(-1, 2, 2).swapaxes(0, 1)
        self._centre = 0.5 * (low + high)
        # A hair more than half the box, so that rounding never drops a building that is touched.
        self._half = 0.5 * (high - low) + 1e-6

    def __len__(self) -> int:
        return len(self.shapes)

    def _near(self, a: Floats, b: Floats, segments: NDArray[np.object_]) -> tuple[Index, Index]:
        """Return pairs (segment, building) where the segment's line meets the building's bounding box.

        The tree compares boxes with boxes; most boxes that a long oblique segment spans are not on its way.
        """
        row, shape = self._tree.query(segments)
        along, offset, half = (b - a)[row], self._centre[shape] - a[row], self._half[shape]
        off_line = np.abs(along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0])
        reach = np.abs(along[:, 1]) * half[:, 0] + np.abs(along[:, 0]) * half[:, 1]
        on_way = off_line <= reach
        return row[on_way], shape[on_way]

    def cut(self, a: Floats, b: Floats) -> NDArray[np.bool_]:
        """Return whether each segment from ``a`` to ``b``, (n, 2) m, meets a building."""
        blocked = np.zeros(len(a), np.bool_)
        if len(self.shapes) and len(a):
            segments = shapely.linestrings(np.stack([a, b], axis=1))
            row, shape = self._near(a, b, segments)
            # Prepared polygons go first: shapely uses the first argument's index.
            blocked[row[shapely.intersects(self.shapes[shape], segments[row])]] = True
        return blocked

    def thickness(self, a: Floats, b: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Return the number of walls that each segment cuts and the metres it runs inside, both (n,)."""
        walls, inside = np.zeros(len(a), np.int64), np.zeros(len(a))
        if len(self.shapes) and len(a):
            segments = shapely.linestrings(np.stack([a, b], axis=1))
            row, shape = self._near(a, b, segments)
            meets = shapely.intersects(self.shapes[shape], segments[row])
            row, shape = row[meets], shape[meets]
            part = shapely.intersection(segments[row], self.shapes[shape])
            np.add.at(inside, row, shapely.length(part))
            cuts = shapely.intersection(segments[row], shapely.boundary(self.shapes[shape]))
            np.add.at(walls, row, shapely.get_num_geometries(cuts))
        return walls, inside


@dataclass(frozen=True, slots=True)
class Bodies:
    """Vehicle bodies at one instant: rectangles, (V,) shapely polygons, and roof heights (V,) in m."""

    shapes: NDArray[np.object_]
    roofs: Floats

    @classmethod
    def of(cls, xy: Floats, angle: Floats, length: Floats, width: Floats, height: Floats) -> Bodies:
        """Return bodies from front bumpers ``xy`` (V, 2), headings (degrees clockwise from north) and sizes."""
        heading = np.radians(angle)
        along = np.stack([np.sin(heading), np.cos(heading)], axis=1)
        across = np.stack([along[:, 1], -along[:, 0]], axis=1) * (0.5 * width)[:, None]
        rear = xy - along * length[:, None]
        corners = np.stack([xy + across, xy - across, rear - across, rear + across], axis=1)
        return cls(np.asarray(shapely.polygons(corners), dtype=object), height)

    def highest(self, a: Floats, b: Floats, own: Sequence[Index]) -> Floats:
        """Return the highest roof on each segment from ``a`` to ``b``, (n, 2) m; nan where there is none.

        ``own`` holds arrays (n,) of body numbers that do not count (the ends' own vehicles; -1 for none).
        """
        roof = np.full(len(a), np.nan)
        if len(self.shapes) and len(a):
            segments = shapely.linestrings(np.stack([a, b], axis=1))
            row, body = shapely.STRtree(self.shapes).query(segments, predicate="intersects")
            foreign = np.ones(len(row), np.bool_)
            for ends in own:
                foreign &= ends[row] != body
            np.fmax.at(roof, row[foreign], self.roofs[body[foreign]])
        return roof


class WallMemory:
    """Remembers what buildings do to pairs of slots until an end moves.

    ``value`` (rows, columns) is nan where unknown; else 1 or 0 (blocked or not), or a loss in dB.
    """

    __slots__ = ("_anchor", "tested", "value")

    def __init__(self) -> None:
        self.value: Floats = np.full((0, 0), np.nan)
        self._anchor: Floats = np.full((0, 2), np.nan)
        self.tested = 0
        """Segments tested so far."""

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for at least that many slots."""
        self.value = grown(self.value, (rows, columns), np.nan)
        self._anchor = grown(self._anchor, (rows, 2), np.nan)

    def moved(self, rows: Index, xy: Floats, recheck: float) -> Index:
        """Forget the pairs of those ``rows`` (slots) that are further than *recheck* from where they were tested.

        Returns the slots forgotten.  A slot that another vehicle took over has jumped, or is forgotten by
        :meth:`forget`.
        """
        offset = xy - self._anchor[rows]
        # "Not within" rather than "beyond": a slot without an anchor (nan) counts as moved.
        far = ~((offset * offset).sum(axis=1) <= recheck * recheck)
        gone: Index = rows[far]
        self._anchor[gone] = xy[far]
        self.value[gone] = np.nan
        return gone

    def forget(self, rows: Index | None = None, columns: Index | None = None) -> None:
        """Forget all pairs of these slots."""
        if rows is not None:
            self.value[rows] = np.nan
            self._anchor[rows] = np.nan
        if columns is not None:
            self.value[:, columns] = np.nan
