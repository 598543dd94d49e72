"""Read an OSMnx GraphML road graph and write it as SUMO's plain XML.

Every drivable directed edge of the graph becomes one SUMO edge from the same node to the same node, with its
drawn line, lanes, speed limit and name; footpaths and the like are left out.  What the graph does not say is
filled in by road class from :data:`ROAD_CLASSES`.  Coordinates stay in degrees; netconvert projects them.
"""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from cosim.errors import ScenarioError

Floats = NDArray[np.float64]
_ToDegrees = Callable[[Floats], Floats]

# OSM road class: (lanes a direction, speed limit in km/h, right of way) where the graph is silent; urban.
ROAD_CLASSES: dict[str, tuple[int, float, int]] = {
    "motorway": (3, 100, 14),
    "motorway_link": (1, 60, 13),
    "trunk": (3, 80, 12),
    "trunk_link": (1, 50, 11),
    "primary": (3, 60, 10),
    "primary_link": (1, 40, 9),
    "secondary": (2, 50, 8),
    "secondary_link": (1, 40, 7),
    "tertiary": (2, 40, 6),
    "tertiary_link": (1, 30, 5),
    "unclassified": (1, 40, 4),
    "residential": (1, 30, 3),
    "living_street": (1, 15, 2),
    "busway": (1, 40, 2),
    "road": (1, 30, 2),
    "service": (1, 20, 1),
}
_MPH = 1.609344


@dataclass(frozen=True, slots=True)
class Road:
    """One directed edge: ``line`` (n, 2) in degrees runs from ``start`` to ``end``; ``speed`` in m/s."""

    id: str
    start: str
    end: str
    road_class: str
    lanes: int
    speed: float
    oneway: bool
    line: Floats
    name: str = ""
    length: float = 0.0  # as the graph gives it, m


@dataclass(frozen=True)
class RoadGraph:
    """A drivable road graph: node id to (lon, lat), roads, and what was left out or filled in."""

    nodes: dict[str, tuple[float, float]]
    signals: frozenset[str]
    roads: tuple[Road, ...]
    left_out: Counter[str] = field(default_factory=Counter)
    filled_in: Counter[str] = field(default_factory=Counter)


def read_graphml(file: Path) -> RoadGraph:
    """Read an OSMnx GraphML *file*.

    Raises:
        ScenarioError: not GraphML, or nodes without coordinates.
    """
    try:
        root = ET.parse(file).getroot()
    except ET.ParseError as error:
        raise ScenarioError(f"{file}: not well-formed XML ({error})") from None
    space = root.tag.removesuffix("graphml")
    graph = root.find(f"{space}graph")
    if not root.tag.endswith("graphml") or graph is None:
        raise ScenarioError(f"{file}: not GraphML (its first element is <{root.tag}>)")
    keys = {key.attrib["id"]: key.attrib["attr.name"] for key in root.iter(f"{space}key")}

    def data(item: ET.Element) -> dict[str, str]:
        return {keys[d.attrib["key"]]: d.text or "" for d in item.findall(f"{space}data")}

    to_degrees = _to_degrees(data(graph).get("crs", "epsg:4326"), file)
    nodes: dict[str, tuple[float, float]] = {}
    signals: set[str] = set()
    for item in graph.findall(f"{space}node"):
        values = data(item)
        if "x" not in values or "y" not in values:
            raise ScenarioError(f"{file}: node {item.attrib['id']} has no x and y; was it saved by OSMnx?")
        lon, lat = to_degrees(np.array([[float(values["x"]), float(values["y"])]]))[0]
        nodes[item.attrib["id"]] = (float(lon), float(lat))
        if values.get("highway") == "traffic_signals":
            signals.add(item.attrib["id"])
    rows = [
        (item.attrib["source"], item.attrib["target"], data(item)) for item in graph.findall(f"{space}edge")
    ]
    return _drivable(nodes, signals, rows, to_degrees)


def _to_degrees(crs: str, file: Path) -> _ToDegrees:
    """Return a function from (n, 2) graph coordinates to degrees: OSMnx may have projected the graph."""
    try:
        change = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    except pyproj.exceptions.CRSError:
        raise ScenarioError(f"{file}: unknown coordinate reference system '{crs[:60]}'") from None
    if crs.lower() == "epsg:4326":
        return lambda points: points
    return lambda points: np.column_stack(change.transform(points[:, 0], points[:, 1]))


def _drivable(
    nodes: dict[str, tuple[float, float]],
    signals: set[str],
    rows: list[tuple[str, str, dict[str, str]]],
    to_degrees: _ToDegrees,
) -> RoadGraph:
    roads: list[Road] = []
    left_out: Counter[str] = Counter()
    filled_in: Counter[str] = Counter()
    parallel: Counter[tuple[str, str]] = Counter()
    for start, end, values in rows:
        road_class = _road_class(values.get("highway", ""))
        if road_class is None or values.get("access") == "no":
            kind = " + ".join(_members(values.get("highway", ""))) or "no class"
            left_out[kind if road_class is None else "access=no"] += 1
            continue
        k = parallel[start, end]
        parallel[start, end] += 1
        oneway = values.get("oneway", "False").lower() in ("true", "yes", "1", "-1")
        lanes, speed = _lanes(values.get("lanes", ""), oneway), _speed(values.get("maxspeed", ""))
        filled_in.update({"lanes": lanes is None, "maxspeed": speed is None})
        line = _line(values.get("geometry", ""), nodes[start], nodes[end], to_degrees)
        default_lanes, default_speed, _ = ROAD_CLASSES[road_class]
        roads.append(
            Road(
                id=f"{start}_{end}" + (f".{k}" if k else ""),
                start=start,
                end=end,
                road_class=road_class,
                lanes=lanes or default_lanes,
                speed=(speed or default_speed) / 3.6,
                oneway=oneway,
                line=line,
                name=" / ".join(_members(values.get("name", ""))),
                length=float(values.get("length", "0")),
            )
        )
    used = {node for road in roads for node in (road.start, road.end)}
    kept = {node: place for node, place in nodes.items() if node in used}
    return RoadGraph(kept, frozenset(signals & used), tuple(roads), left_out, filled_in)


def _members(text: str) -> list[str]:
    """Return the values of an attribute that OSMnx may have merged: ``['60', '80']`` is a list as text."""
    if text.startswith("["):
        return [str(value) for value in ast.literal_eval(text)]
    return [text] if text else []


def _road_class(text: str) -> str | None:
    """Return the highest drivable class of an edge, or None for a footpath and the like."""
    known = [value for value in _members(text) if value in ROAD_CLASSES]
    return max(known, key=lambda value: ROAD_CLASSES[value][2]) if known else None


def _lanes(text: str, oneway: bool) -> int | None:
    """Return the lanes of one direction; OSM counts both directions of a two-way street together.

    Where ways with different numbers were merged, the smallest holds along all of the edge.
    """
    counts = [int(value) for value in _members(text) if value.isdigit() and int(value) > 0]
    if not counts:
        return None
    return min(counts) if oneway else max(1, (min(counts) + 1) // 2)


def _speed(text: str) -> float | None:
    """Return the speed limit in km/h, the mean of merged values (as OSMnx takes it); None if not a number."""
    speeds = []
    for value in _members(text):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(mph|km/h|kmh|kph)?\s*", value)
        if match and float(match[1]) > 0:
            speeds.append(float(match[1]) * (_MPH if match[2] == "mph" else 1.0))
    return sum(speeds) / len(speeds) if speeds else None


def _line(wkt: str, start: tuple[float, float], end: tuple[float, float], to_degrees: _ToDegrees) -> Floats:
    """Return the drawn line from start to end; a line that was stored backwards is turned round."""
    if not wkt:
        return np.array([start, end])
    points: Floats = np.asarray(to_degrees(shapely.get_coordinates(shapely.from_wkt(wkt))))
    ends = points[[0, -1]]
    if np.abs(ends - [start, end]).sum() > np.abs(ends[::-1] - [start, end]).sum():
        points = points[::-1]
    return points


def write_plain_xml(graph: RoadGraph, name: str, out: Path) -> list[Path]:
    """Write ``NAME.nod.xml`` and ``NAME.edg.xml`` into *out*, in degrees (1e-7, 1 cm)."""
    nodes = [
        f'    <node id={quoteattr(node)} x="{lon:.7f}" y="{lat:.7f}" '
        f'type="{"traffic_light" if node in graph.signals else "priority"}"/>'
        for node, (lon, lat) in graph.nodes.items()
    ]
    edges = []
    for road in graph.roads:
        if road.start == road.end:
            nodes.append(_halfway_node(road))
            edges += [_edge_xml(half) for half in _halves(road)]
        else:
            edges.append(_edge_xml(road))
    files = {f"{name}.nod.xml": ("nodes", nodes), f"{name}.edg.xml": ("edges", edges)}
    for file, (root, rows) in files.items():
        text = '<?xml version="1.0" encoding="UTF-8"?>\n' + f"<{root}>\n" + "\n".join(rows) + f"\n</{root}>\n"
        (out / file).write_text(text, encoding="utf-8")
    return [out / file for file in files]


def _edge_xml(road: Road) -> str:
    shape = " ".join(f"{lon:.7f},{lat:.7f}" for lon, lat in road.line)
    name = f" name={quoteattr(road.name)}" if road.name else ""
    return (
        f"    <edge id={quoteattr(road.id)} from={quoteattr(road.start)} to={quoteattr(road.end)} "
        f'numLanes="{road.lanes}" speed="{road.speed:.2f}" priority="{ROAD_CLASSES[road.road_class][2]}" '
        f'spreadType="{"center" if road.oneway else "right"}" type="highway.{road.road_class}"{name} '
        f'shape="{shape}"/>'
    )


def _halfway_node(road: Road) -> str:
    lon, lat = road.line[len(road.line) // 2]
    return f'    <node id={quoteattr(road.id + "_half")} x="{lon:.7f}" y="{lat:.7f}" type="priority"/>'


def _halves(road: Road) -> tuple[Road, Road]:
    """Cut a road that returns to its own node in two: netconvert drops edges from a node to itself."""
    middle = len(road.line) // 2
    half = f"{road.id}_half"
    common = (road.road_class, road.lanes, road.speed, road.oneway)
    return (
        Road(f"{road.id}.a", road.start, half, *common, road.line[: middle + 1], road.name),
        Road(f"{road.id}.b", half, road.end, *common, road.line[middle:], road.name),
    )
