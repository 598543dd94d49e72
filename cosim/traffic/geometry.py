"""What a built net looks like: lanes, junctions, sites and buildings, read once from the XML.

Reads a ``.net.xml`` (plain or gzipped) and its additional files with the standard library's parser and gives
one frozen :class:`NetGeometry`.  Nothing here starts SUMO, so the network layer, the plots and the tests can
ask for positions without a simulation.  Geo-referenced nets also convert between metres and degrees with
pyproj and the PROJ string that netconvert wrote into the net.
"""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.errors import ScenarioError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane: index 0 is the rightmost; ``shape`` is its drawn centre line, (n, 2), m.

    ``length`` (m) is what SUMO drives and may differ from the drawn length.  ``allow`` and ``disallow`` are
    SUMO's vehicle classes as written in the net (both empty: everybody).
    """

    id: str
    edge: str
    index: int
    length: float
    speed: float
    width: float
    shape: Floats
    allow: tuple[str, ...] = ()
    disallow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """One direction of a road; ``function`` is ``normal`` or SUMO's word (``internal`` inside a junction)."""

    id: str
    function: str
    from_node: str
    to_node: str
    lanes: tuple[Lane, ...]

    @property
    def length(self) -> float:
        """Driven length, m."""
        return self.lanes[0].length

    @property
    def speed(self) -> float:
        """Speed limit of the rightmost lane, m/s."""
        return self.lanes[0].speed


@dataclass(frozen=True, slots=True)
class Connection:
    """A lane-level connection between two normal edges; ``via`` is the internal lane, ``tl`` its signal."""

    from_edge: str
    from_lane: int
    to_edge: str
    to_lane: int
    via: str
    direction: str
    state: str
    tl: str


@dataclass(frozen=True, slots=True)
class Junction:
    """A junction: centre (m), outline (n, 2), and SUMO's type such as ``priority`` or ``traffic_light``."""

    id: str
    type: str
    x: float
    y: float
    shape: Floats


@dataclass(frozen=True, slots=True)
class Poi:
    """A point of interest of an additional file; stations are POIs of type ``rsu`` (or ``bs``)."""

    id: str
    type: str
    x: float
    y: float
    color: str = ""
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Polygon:
    """A polygon of an additional file; type ``building…`` blocks the line of sight. ``shape`` (n, 2), m."""

    id: str
    type: str
    shape: Floats
    color: str = ""
    fill: bool = False
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NetGeometry:
    """A net's geometry in net coordinates (m).

    ``boundary`` is (xmin, ymin, xmax, ymax); ``offset`` is what netconvert added to projected coordinates;
    ``projection`` is the PROJ string, or None for a net that is not geo-referenced.
    """

    edges: Mapping[str, Edge]
    internal: Mapping[str, Edge]
    junctions: Mapping[str, Junction]
    connections: tuple[Connection, ...]
    pois: tuple[Poi, ...]
    polygons: tuple[Polygon, ...]
    boundary: tuple[float, float, float, float]
    offset: tuple[float, float]
    projection: str | None
    onward: Mapping[str, str] = field(default_factory=dict)
    """Internal lanes that another internal lane follows (a turn with a waiting place): lane id to lane id."""

    def inner_lanes(self, connection: Connection) -> tuple[Lane, ...]:
        """Return the internal lanes along *connection*, in driving order (none in a net without them)."""
        found: list[Lane] = []
        lane_id = connection.via
        while lane_id:
            edge_id, _, index = lane_id.rpartition("_")
            edge = self.internal.get(edge_id)
            if edge is None:
                break
            found.append(edge.lanes[int(index)])
            lane_id = self.onward.get(lane_id, "")
        return tuple(found)

    def successors(self, edge: str) -> tuple[str, ...]:
        """Return the edges that can be driven to directly from *edge*, in the order of the net file."""
        return tuple(dict.fromkeys(c.to_edge for c in self.connections if c.from_edge == edge))

    def entries(self) -> tuple[str, ...]:
        """Return the normal edges that no edge leads to, except by turning round: where traffic can enter."""
        reached = {c.to_edge for c in self.connections if c.direction != "t"}
        return tuple(e for e in self.edges if e not in reached)

    def lanes(self) -> Iterator[Lane]:
        """Yield the lanes of all normal edges."""
        for edge in self.edges.values():
            yield from edge.lanes

    def stations(self) -> tuple[Poi, ...]:
        """Return the POIs of type ``rsu`` or ``bs``, in the order of their file."""
        return tuple(p for p in self.pois if p.type in ("rsu", "bs"))

    def buildings(self) -> tuple[Polygon, ...]:
        """Return the polygons whose type starts with ``building``."""
        return tuple(p for p in self.polygons if p.type.startswith("building"))

    def to_xy(self, lon: ArrayLike, lat: ArrayLike) -> Floats:
        """Convert WGS-84 degrees to net coordinates: two arrays of shape (...) give (..., 2), m.

        Raises:
            ScenarioError: the net is not geo-referenced.
        """
        x, y = self._proj()(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        return np.stack([np.asarray(x) + self.offset[0], np.asarray(y) + self.offset[1]], axis=-1)

    def to_lonlat(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Convert net coordinates (m) to WGS-84 degrees: two arrays of shape (...) give (..., 2) lon, lat.

        Raises:
            ScenarioError: the net is not geo-referenced.
        """
        px = np.asarray(x, np.float64) - self.offset[0]
        py = np.asarray(y, np.float64) - self.offset[1]
        lon, lat = self._proj()(px, py, inverse=True)
        return np.stack([np.asarray(lon), np.asarray(lat)], axis=-1)

    def _proj(self) -> Any:
        if self.projection is None:
            raise ScenarioError("this net is not geo-referenced, so it has no longitude and latitude")
        return _proj(self.projection)


@lru_cache(maxsize=16)
def _proj(projection: str) -> Any:
    import pyproj  # 0.1 s, and most nets are not geo-referenced

    return pyproj.Proj(projection)


def read_geometry(net_file: Path, additional: tuple[Path, ...] = ()) -> NetGeometry:
    """Read *net_file* and the POIs and polygons of *additional*; cached until one of the files changes.

    Raises:
        ScenarioError: a file is missing or is not SUMO XML.
    """
    files = (net_file, *additional)
    for file in files:
        if not file.is_file():
            raise ScenarioError(f"{file}: no such file")
    return _read(files, tuple(f.stat().st_mtime_ns for f in files))


@lru_cache(maxsize=16)
def _read(files: tuple[Path, ...], _stamps: tuple[int, ...]) -> NetGeometry:
    edges: dict[str, Edge] = {}
    internal: dict[str, Edge] = {}
    junctions: dict[str, Junction] = {}
    connections: list[Connection] = []
    onward: dict[str, str] = {}
    boundary, offset, projection = (0.0, 0.0, 0.0, 0.0), (0.0, 0.0), None
    root = _parse(files[0])
    if root.tag != "net":
        raise ScenarioError(f"{files[0]}: not a SUMO net (its first element is <{root.tag}>, not <net>)")
    for item in root:
        if item.tag == "edge":
            edge = _edge(item)
            (edges if edge.function == "normal" else internal)[edge.id] = edge
        elif item.tag == "junction" and item.get("type") != "internal":
            junctions[item.attrib["id"]] = _junction(item)
        elif item.tag == "connection" and not item.attrib["from"].startswith(":"):
            connections.append(_connection(item))
        elif item.tag == "connection" and "via" in item.attrib:
            onward[f"{item.attrib['from']}_{item.attrib['fromLane']}"] = item.attrib["via"]
        elif item.tag == "location":
            xmin, ymin, xmax, ymax = _numbers(item.attrib["convBoundary"])
            boundary = (xmin, ymin, xmax, ymax)
            dx, dy = _numbers(item.attrib["netOffset"])
            offset = (dx, dy)
            projection = None if item.get("projParameter", "!") == "!" else item.attrib["projParameter"]
    bare = NetGeometry(
        edges, internal, junctions, tuple(connections), (), (), boundary, offset, projection, onward
    )
    pois: list[Poi] = []
    polygons: list[Polygon] = []
    for file in files[1:]:
        for item in _parse(file):
            if item.tag == "poi":
                pois.append(_poi(item, bare, file))
            elif item.tag == "poly":
                polygons.append(_polygon(item, bare))
    return replace(bare, pois=tuple(pois), polygons=tuple(polygons))


def _parse(file: Path) -> ET.Element:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            return ET.parse(stream).getroot()
    except (ET.ParseError, gzip.BadGzipFile) as error:
        raise ScenarioError(f"{file}: not well-formed XML ({error})") from None


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def shape_of(text: str) -> Floats:
    """Turn SUMO's ``x,y x,y …`` (or ``x,y,z …``) into an (n, 2) array; an empty text gives shape (0, 2)."""
    points = [_numbers(point)[:2] for point in text.split()]
    return np.array(points, np.float64).reshape(-1, 2)


def _edge(item: ET.Element) -> Edge:
    edge_id = item.attrib["id"]
    lanes = tuple(
        Lane(
            id=lane.attrib["id"],
            edge=edge_id,
            index=int(lane.attrib["index"]),
            length=float(lane.attrib["length"]),
            speed=float(lane.attrib["speed"]),
            width=float(lane.get("width", "3.2")),  # SUMO's default lane width
            shape=shape_of(lane.attrib["shape"]),
            allow=tuple(lane.get("allow", "").split()),
            disallow=tuple(lane.get("disallow", "").split()),
        )
        for lane in item.iter("lane")
    )
    function = item.get("function", "normal")
    return Edge(edge_id, function, item.get("from", ""), item.get("to", ""), lanes)


def _junction(item: ET.Element) -> Junction:
    return Junction(
        id=item.attrib["id"],
        type=item.attrib["type"],
        x=float(item.attrib["x"]),
        y=float(item.attrib["y"]),
        shape=shape_of(item.get("shape", "")),
    )


def _connection(item: ET.Element) -> Connection:
    return Connection(
        from_edge=item.attrib["from"],
        from_lane=int(item.attrib["fromLane"]),
        to_edge=item.attrib["to"],
        to_lane=int(item.attrib["toLane"]),
        via=item.get("via", ""),
        direction=item.get("dir", ""),
        state=item.get("state", ""),
        tl=item.get("tl", ""),
    )


def _params(item: ET.Element) -> dict[str, str]:
    return {p.attrib["key"]: p.attrib["value"] for p in item.iter("param")}


def _poi(item: ET.Element, net: NetGeometry, file: Path) -> Poi:
    if "lon" in item.attrib:
        x, y = net.to_xy(float(item.attrib["lon"]), float(item.attrib["lat"]))
    elif "lane" in item.attrib:
        x, y = _on_lane(item, net, file)
    else:
        x, y = float(item.attrib["x"]), float(item.attrib["y"])
    return Poi(
        item.attrib["id"], item.get("type", ""), float(x), float(y), item.get("color", ""), _params(item)
    )


def _on_lane(item: ET.Element, net: NetGeometry, file: Path) -> tuple[float, float]:
    """Place a POI that is given by lane, pos and posLat (positive to the left, as in SUMO)."""
    lane_id = item.attrib["lane"]
    edge = net.edges.get(lane_id.rpartition("_")[0])
    lane = next((lane for lane in edge.lanes if lane.id == lane_id), None) if edge else None
    if lane is None:
        raise ScenarioError(f"{file}: POI '{item.attrib['id']}' is on lane '{lane_id}', which the net lacks")
    steps = np.diff(lane.shape, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    along = float(item.get("pos", "0")) * lengths.sum() / lane.length
    k = min(int(np.searchsorted(np.cumsum(lengths), along)), len(lengths) - 1)
    unit = steps[k] / lengths[k]
    point = lane.shape[k] + unit * (along - lengths[:k].sum())
    side = float(item.get("posLat", "0"))
    return float(point[0] - side * unit[1]), float(point[1] + side * unit[0])


def _polygon(item: ET.Element, net: NetGeometry) -> Polygon:
    shape = shape_of(item.attrib["shape"])
    if item.get("geo", "").lower() in ("true", "1"):
        shape = net.to_xy(shape[:, 0], shape[:, 1])
    fill = item.get("fill", "").lower() in ("true", "1")
    return Polygon(item.attrib["id"], item.get("type", ""), shape, item.get("color", ""), fill, _params(item))
