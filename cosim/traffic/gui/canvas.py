"""What is drawn in sumo-gui beside SUMO's own picture: stations, coverage discs, links, gauges and texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.traffic.geometry import NetGeometry
from cosim.traffic.gui.view import FAR, NEAR, POI_TEXT, VIEW, WINDOW_SIZE, view_settings_text
from cosim.traffic.nets import Net, load_geometry

Floats = NDArray[np.float64]
Colour = tuple[int, int, int, int]
"""Red, green, blue and opacity, 0 to 255."""
Place = tuple[float, float]
"""x and y, m."""
Box = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax, m."""

_FAR_BELOW = 2.9
"""Pixels a metre below which a car in true size is shorter than ``FAR`` draws it."""

STATION_COLOURS: dict[str, Colour] = {"rsu": (209, 50, 31, 255), "bs": (126, 63, 178, 255)}
_OTHER_STATION: Colour = (32, 120, 96, 255)
LINK_COLOURS: dict[str, Colour] = {
    "serving": (209, 50, 31, 160),
    "d2d": (230, 140, 0, 200),
    "avatar": (209, 50, 31, 200),
    "pre_migration": (0, 114, 178, 220),
    "nearest": (0, 158, 115, 230),
    "farthest": (213, 94, 0, 230),
}
_LEVEL_COLOUR: Colour = (230, 140, 0, 230)
_GAUGE_COLOUR: Colour = (60, 66, 72, 255)
_NO_COLOUR: Colour = (0, 0, 0, 0)
_CORNERS = 72
_DISC_OPACITY, _EDGE_OPACITY = 20, 130
_LINE_M = 0.3
_MARGIN = 0.04
_GAUGE = 0.04
"""Height of a station's gauge as a share of the width of the view shown first."""
# SUMO draws shapes of negative layers beneath the road; buildings lie on -1, vehicles are drawn above 100.
_DISC_LAYER, _LINK_LAYER, _STATION_LAYER = -10, 90, 200


@dataclass(frozen=True, slots=True)
class StationMark:
    """A station to be drawn: place (m), ``kind`` such as rsu or bs, radius of its coverage (m, 0: no disc)."""

    id: str
    x: float
    y: float
    kind: str = "rsu"
    range_m: float = 0.0


def station_marks(geometry: NetGeometry) -> tuple[StationMark, ...]:
    """Return a net's own stations: POIs of type rsu or bs, their disc from the parameter ``range`` (m)."""
    return tuple(
        StationMark(poi.id, poi.x, poi.y, poi.type, float(poi.params.get("range", 0.0)))
        for poi in geometry.stations()
    )


def view_box(net: Net, stations: Sequence[StationMark] = ()) -> Box:
    """Return what to show at first, m.

    It is the whole net, or the net's zone where that is but a small part of it, with the stations' discs unless
    they would make the roads small.
    """
    geometry = load_geometry(net)
    low, high = np.array(geometry.boundary[:2]), np.array(geometry.boundary[2:])
    lanes = [lane.shape for edge in net.zone if edge in geometry.edges for lane in geometry.edges[edge].lanes]
    if lanes:
        points = np.concatenate(lanes)
        zone = points.min(axis=0), points.max(axis=0)
        if max(high - low) > 2 * max(zone[1] - zone[0]):
            low, high = zone
    if stations:
        sites = np.array([(m.x, m.y) for m in stations])
        reach = np.array([m.range_m if np.isfinite(m.range_m) else 0.0 for m in stations])[:, None]
        wide_low = np.minimum(low, (sites - reach).min(axis=0))
        wide_high = np.maximum(high, (sites + reach).max(axis=0))
        if max(wide_high - wide_low) <= 1.5 * max(high - low):
            low, high = wide_low, wide_high
    margin = _MARGIN * float(max(high - low))
    low, high = low - margin, high + margin
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


@dataclass(slots=True)
class _Links:
    """The segments of one kind as they stand in the window."""

    segments: Floats
    colour: Colour


class Canvas:
    """Draws over one sumo-gui; ``api`` is its TraCI connection (:attr:`cosim.traffic.sumo.Traffic.api`).

    ``box`` is what the view showed first, m.
    """

    def __init__(self, api: Any) -> None:
        self.api = api
        self.stations: dict[str, StationMark] = {}
        self._links: dict[str, _Links] = {}
        self._levels: dict[str, tuple[float, str]] = {}
        self._schemes = False
        self.box: Box = (0.0, 0.0, 0.0, 0.0)

    def show(self, box: Box, settings: Path | None = None) -> None:
        """Bring *box* into view; with view *settings* that have our two schemes, follow the zoom from then on."""
        self.api.gui.setBoundary(VIEW, *box)
        self.box = box
        text = settings.read_text(encoding="utf-8") if settings else view_settings_text()
        self._schemes = all(f'name="{name}"' in text for name in (NEAR, FAR))
        self.follow_zoom()

    def follow_zoom(self) -> None:
        """Draw vehicles large in an overview and in true size from near; a scheme of the user's own is left."""
        if not self._schemes:
            return
        (left, _), (right, _) = self.api.gui.getBoundary(VIEW)
        wanted = FAR if WINDOW_SIZE[0] < _FAR_BELOW * (right - left) else NEAR
        if self.api.gui.getSchema(VIEW) == (NEAR if wanted == FAR else FAR):
            self.api.gui.setSchema(VIEW, wanted)

    def follow(self, vehicle: str) -> None:
        """Let the view follow a vehicle, as *Start Tracking* in its menu does."""
        self.api.gui.trackVehicle(VIEW, vehicle)

    def chosen(self, vehicles: Sequence[str]) -> list[str]:
        """Return which of these vehicles the user has selected, or the view follows."""
        tracked = self.api.gui.getTrackedVehicle(VIEW)
        return [name for name in vehicles if name == tracked or self.api.gui.isSelected(name)]

    def draw_stations(self, stations: Sequence[StationMark]) -> None:
        """Show exactly these stations: a mark each, and a disc where ``range_m`` is positive and finite.

        May be called again with stations that moved, came or went; a POI of that id that the net already has is
        used.
        """
        wanted = {mark.id: mark for mark in stations}
        if wanted == self.stations:
            return
        poi = self.api.poi
        for name in self.stations.keys() - wanted.keys():
            poi.remove(name)
            self._draw_disc(self.stations[name], None)
        there = set(poi.getIDList())
        for mark in wanted.values():
            before = self.stations.get(mark.id)
            if before == mark:
                continue
            if mark.id in there:
                poi.setPosition(mark.id, mark.x, mark.y)
            else:
                poi.add(mark.id, mark.x, mark.y, _station_colour(mark), mark.kind, _STATION_LAYER)
            self._draw_disc(before, mark)
        self.stations = wanted

    def draw_links(
        self, kind: str, segments: Floats, colour: Colour | None = None, width: float = _LINE_M
    ) -> None:
        """Show exactly *segments* as the links of that *kind*, such as serving or d2d.

        Args:
            kind: links of other kinds stay as they are.
            segments: (n, 4) x1, y1, x2, y2 in m; rows with NaN are left out.
            colour: by default that of ``LINK_COLOURS``.
            width: m.
        """
        paint = colour or LINK_COLOURS.get(kind, _OTHER_STATION)
        new = np.asarray(segments, dtype=np.float64).reshape(-1, 4)
        new = new[~np.isnan(new).any(axis=1)]
        drawn = self._links.get(kind)
        old = np.empty((0, 4)) if drawn is None else drawn.segments
        if drawn is not None and drawn.colour != paint:
            for k in range(len(old)):
                self.api.polygon.setColor(f"link.{kind}.{k}", paint)
        both = min(len(old), len(new))
        moved = np.flatnonzero((old[:both] != new[:both]).any(axis=1))
        for k, (x1, y1, x2, y2) in zip(moved.tolist(), new[moved].tolist(), strict=True):
            self.api.polygon.setShape(f"link.{kind}.{k}", ((x1, y1), (x2, y2)))
        for k, (x1, y1, x2, y2) in enumerate(new[both:].tolist(), both):
            ends = ((x1, y1), (x2, y2))
            self.api.polygon.add(
                f"link.{kind}.{k}", ends, paint, False, f"link.{kind}", _LINK_LAYER, lineWidth=width
            )
        for k in range(both, len(old)):
            self.api.polygon.remove(f"link.{kind}.{k}")
        self._links[kind] = _Links(new, paint)

    def draw_levels(self, levels: Mapping[str, tuple[float, str]]) -> None:
        """Show a gauge with a text beside each of these drawn stations, filled from 0 to 1; others have none.

        Gauges stand on the side of their station that is away from the middle of the view shown first.
        """
        polygon, poi = self.api.polygon, self.api.poi
        known = {name: shown for name, shown in levels.items() if name in self.stations}
        for name in self._levels.keys() - known.keys():
            polygon.remove(f"{name}.level")
            polygon.remove(f"{name}.gauge")
            poi.remove(f"{name}.load")
        for name, (level, text) in known.items():
            if self._levels.get(name) == (level, text):
                continue
            filled, full, label = self._gauge(self.stations[name], min(max(level, 0.0), 1.0))
            if name in self._levels:
                polygon.setShape(f"{name}.level", filled)
            else:
                polygon.add(f"{name}.level", filled, _LEVEL_COLOUR, True, "level", _LINK_LAYER)
                polygon.add(f"{name}.gauge", [*full, full[0]], _GAUGE_COLOUR, False, "level", _LINK_LAYER + 1)
                poi.add(f"{name}.load", *label, _NO_COLOUR, "level", _LINK_LAYER + 1)
            poi.setParameter(f"{name}.load", POI_TEXT, text)
        self._levels = known

    def _gauge(self, mark: StationMark, level: float) -> tuple[list[Place], list[Place], Place]:
        """Return the corners of a station's gauge as far as it is filled, those of all of it, and its text's place."""
        xmin, ymin, xmax, ymax = self.box
        size = _GAUGE * max(xmax - xmin, 2 * (ymax - ymin))  # the view is about twice as wide as high
        up = size if mark.y >= (ymin + ymax) / 2 else -size
        low, left, right = mark.y + up / 2, mark.x - size / 6, mark.x + size / 6

        def bar(share: float) -> list[Place]:
            high = low + share * up
            return [(left, low), (right, low), (right, high), (left, high)]

        # SUMO does not draw a shape without area.
        return bar(max(level, 1e-3)), bar(1.0), (mark.x, low + up + (0.2 if up > 0 else -0.4) * size)

    def write(self, thing: str, texts: Iterable[tuple[str, str]]) -> None:
        """Give a vehicle, or a station that is drawn, parameters that sumo-gui's parameter window shows."""
        domain = self.api.poi if thing in self.stations else self.api.vehicle
        for key, text in texts:
            domain.setParameter(thing, key, text)

    def screenshot(self, file: Path) -> None:
        """Have the view saved as a picture; sumo-gui does so when its next step is done."""
        self.api.gui.screenshot(VIEW, str(file.resolve()))

    def _draw_disc(self, before: StationMark | None, mark: StationMark | None) -> None:
        """Add, move or remove the disc of a station that was *before* and is now *mark*."""
        polygon = self.api.polygon
        had = before is not None and 0.0 < before.range_m < np.inf
        has = mark is not None and 0.0 < mark.range_m < np.inf
        if before is not None and had and not has:
            polygon.remove(f"coverage.{before.id}")
            polygon.remove(f"coverage.{before.id}.edge")
        if mark is None or not has:
            return
        inside, edge = f"coverage.{mark.id}", f"coverage.{mark.id}.edge"
        turn = np.linspace(0.0, 2.0 * np.pi, _CORNERS + 1)
        ring = np.column_stack([mark.x + mark.range_m * np.cos(turn), mark.y + mark.range_m * np.sin(turn)])
        shape = [(x, y) for x, y in ring.tolist()]
        if had:
            polygon.setShape(inside, shape)
            polygon.setShape(edge, shape)
            return
        rgb = _station_colour(mark)[:3]
        polygon.add(inside, shape, (*rgb, _DISC_OPACITY), True, "coverage", _DISC_LAYER)
        polygon.add(edge, shape, (*rgb, _EDGE_OPACITY), False, "coverage", _DISC_LAYER + 1, lineWidth=_LINE_M)


def _station_colour(mark: StationMark) -> Colour:
    return STATION_COLOURS.get(mark.kind, _OTHER_STATION)
