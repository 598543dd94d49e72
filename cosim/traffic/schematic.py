"""Turn a table of road axes and crossings into SUMO's plain XML.

A schematic net is drawn by hand as a few named axes in degrees, with what controls each place where two of
them meet (``sumo_networks/shenzhen_futian/roads.yaml`` is the example).  This module cuts the axes at their
crossings and writes nodes and edges in degrees, for netconvert to project, and the RSU sites along one axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from ruamel.yaml import YAML
from shapely.ops import substring

from cosim.errors import ScenarioError, nearest

_Nodes = dict[str, tuple[float, float, str]]  # node id: x, y in projected metres, SUMO's node type
_Stops = dict[str, list[tuple[float, str]]]  # axis id: its nodes in order, as (distance along it, node id)
_Controls = dict[tuple[str, str], str]  # two axes that cross: SUMO's node type there

_CONTROLS = {"signal": "traffic_light", "priority": "priority"}


@dataclass(frozen=True, slots=True)
class _Axis:
    """One road: its line in projected metres and the letters of its two directions, forward first."""

    id: str
    spec: dict[str, Any]
    line: Any  # shapely LineString
    letters: tuple[str, str]
    ends: tuple[str, str]


def write_plain_xml(table: Path, name: str, out: Path) -> list[Path]:
    """Write ``NAME.nod.xml``, ``.edg.xml``, ``.con.xml`` and ``rsu.add.xml`` into *out* from a YAML *table*.

    Edges are called ``AXIS_eK``, ``AXIS_wK`` (or ``n``, ``s``), K counting blocks from the west or south;
    nodes ``AXIS_AXIS`` at crossings and ``AXIS_west_end`` (…) at the ends.

    Raises:
        ScenarioError: the table names an unknown axis, class or control, lists a crossing of axes that do not
            meet, or leaves out one that do.
    """
    data = YAML(typ="safe").load(table)
    proj = pyproj.Proj(data["projection"])
    axes = {key: _axis(key, spec, proj, data, table) for key, spec in data["axes"].items()}
    controls = _controls(data["crossings"], axes, table)
    nodes, stops = _nodes(axes, controls, table)
    files = {
        f"{name}.nod.xml": _nodes_xml(nodes, proj),
        f"{name}.edg.xml": _edges_xml(axes, stops, data["classes"], proj),
        f"{name}.con.xml": _connections_xml(axes, controls, stops, data["classes"]),
        "rsu.add.xml": _stations_xml(data["stations"], axes, proj),
    }
    for file, text in files.items():
        (out / file).write_text(text, encoding="utf-8")
    return [out / file for file in files]


def _axis(key: str, spec: dict[str, Any], proj: Any, data: dict[str, Any], table: Path) -> _Axis:
    if spec["class"] not in data["classes"]:
        hint = nearest(spec["class"], data["classes"])
        raise ScenarioError(f"{table}: axis '{key}' has the unknown class '{spec['class']}'{hint}")
    points = np.array(spec["points"], np.float64)
    x, y = proj(points[:, 0], points[:, 1])
    span = points[-1] - points[0]
    eastward = span[0] > abs(span[1])
    if not eastward and span[1] <= 0:
        raise ScenarioError(f"{table}: axis '{key}' should run from west to east or from south to north")
    letters, ends = (("e", "w"), ("west", "east")) if eastward else (("n", "s"), ("south", "north"))
    return _Axis(key, spec, shapely.LineString(np.column_stack([x, y])), letters, ends)


def _controls(crossings: dict[str, Any], axes: dict[str, _Axis], table: Path) -> _Controls:
    controls: _Controls = {}
    for control, rows in crossings.items():
        if control not in _CONTROLS:
            raise ScenarioError(f"{table}: unknown control '{control}'{nearest(control, _CONTROLS)}")
        for first, others in rows.items():
            for second in others:
                for axis in (first, second):
                    if axis not in axes:
                        raise ScenarioError(
                            f"{table}: crossing of unknown axis '{axis}'{nearest(axis, axes)}"
                        )
                controls[first, second] = _CONTROLS[control]
    return controls


def _nodes(axes: dict[str, _Axis], controls: _Controls, table: Path) -> tuple[_Nodes, _Stops]:
    """Cut the axes at their crossings; axes not ``between`` two others also get a node at each end."""
    nodes: _Nodes = {}
    stops: _Stops = {key: [] for key in axes}
    for (first, second), control in controls.items():
        meeting = axes[first].line.intersection(axes[second].line)
        if meeting.geom_type != "Point":
            raise ScenarioError(f"{table}: axes '{first}' and '{second}' do not meet in one point")
        node = f"{first}_{second}"
        nodes[node] = (meeting.x, meeting.y, control)
        for key in (first, second):
            stops[key].append((axes[key].line.project(meeting), node))
    for key, axis in axes.items():
        stops[key].sort()
        if "between" in axis.spec:
            outer = [_crossing(key, other, controls) for other in axis.spec["between"]]
            if [stops[key][0][1], stops[key][-1][1]] != outer:
                others = " and ".join(axis.spec["between"])
                raise ScenarioError(f"{table}: the outermost crossings of axis '{key}' are not {others}")
            continue
        start, end = (f"{key}_{end}_end" for end in axis.ends)
        stops[key] = [(0.0, start), *stops[key], (axis.line.length, end)]
        nodes[start] = (*axis.line.coords[0], "priority")
        nodes[end] = (*axis.line.coords[-1], "priority")
    _all_listed(axes, controls, stops, table)
    return nodes, stops


def _crossing(one: str, other: str, controls: _Controls) -> str:
    return f"{one}_{other}" if (one, other) in controls else f"{other}_{one}"


def _all_listed(axes: dict[str, _Axis], controls: _Controls, stops: _Stops, table: Path) -> None:
    """Refuse two axes that meet within both their stretches without being listed as a crossing."""
    stretches = {key: substring(axis.line, stops[key][0][0], stops[key][-1][0]) for key, axis in axes.items()}
    keys = list(axes)
    for i, first in enumerate(keys):
        for second in keys[i + 1 :]:
            listed = (first, second) in controls or (second, first) in controls
            if not listed and stretches[first].intersects(stretches[second]):
                raise ScenarioError(f"{table}: axes '{first}' and '{second}' meet, but no crossing is listed")


def _degrees(proj: Any, xy: NDArray[np.float64]) -> list[str]:
    """Format projected points (n, 2) as ``lon,lat`` with 1e-7 degrees (1 cm)."""
    lon, lat = proj(xy[:, 0], xy[:, 1], inverse=True)
    return [f"{a:.7f},{b:.7f}" for a, b in zip(lon, lat, strict=True)]


def _nodes_xml(nodes: _Nodes, proj: Any) -> str:
    xy = np.array([(x, y) for x, y, _ in nodes.values()])
    rows = []
    for (node, (_, _, kind)), place in zip(nodes.items(), _degrees(proj, xy), strict=True):
        x, y = place.split(",")
        rows.append(f'    <node id="{node}" x="{x}" y="{y}" type="{kind}"/>')
    return _document("nodes", rows)


def _edges_xml(axes: dict[str, _Axis], stops: _Stops, classes: dict[str, Any], proj: Any) -> str:
    rows = []
    for key, axis in axes.items():
        kind = classes[axis.spec["class"]]
        road = (
            f'numLanes="{kind["lanes"]}" speed="{kind["speed"]}" priority="{kind["priority"]}" '
            f"name={quoteattr(axis.spec['name'])} type={quoteattr(axis.spec['class'])}"
        )
        for k, ((start, one), (end, other)) in enumerate(pairwise(stops[key])):
            piece = np.array(substring(axis.line, start, end).coords)
            shape = _degrees(proj, piece)
            for letter, ends, points in (
                (axis.letters[0], (one, other), shape),
                (axis.letters[1], (other, one), shape[::-1]),
            ):
                bent = f' shape="{" ".join(points)}"' if len(points) > 2 else ""
                rows.append(
                    f'    <edge id="{key}_{letter}{k}" from="{ends[0]}" to="{ends[1]}" {road}{bent}/>'
                )
    return _document("edges", rows)


# Heading after a left and a right turn, by the letter of the heading before.
_LEFT = {"e": "n", "n": "w", "w": "s", "s": "e"}
_RIGHT = {after: before for before, after in _LEFT.items()}


def _connections_xml(
    axes: dict[str, _Axis], controls: _Controls, stops: _Stops, classes: dict[str, Any]
) -> str:
    """Give roads of three lanes and more a left-turn lane of their own at signals with four arms.

    netconvert then adds protected left-turn phases.  All other connections are left to its rules.
    """
    rows = []
    for (first, second), control in controls.items():
        arms = {**_arms(axes[first], stops[first], second), **_arms(axes[second], stops[second], first)}
        if control != "traffic_light" or len(arms) < 4:
            continue
        for heading, (axis, arriving, leaving) in arms.items():
            last = _lanes(axis, classes) - 1
            if last < 2:
                continue
            left_axis, _, left = arms[_LEFT[heading]]
            ways = [(arms[_RIGHT[heading]][2], 0, 0), *((leaving, lane, lane) for lane in range(last))]
            for to, lane, to_lane in [*ways, (left, last, _lanes(left_axis, classes) - 1)]:
                rows.append(
                    f'    <connection from="{arriving}" to="{to}" fromLane="{lane}" toLane="{to_lane}"/>'
                )
    return _document("connections", rows)


def _lanes(axis: _Axis, classes: dict[str, Any]) -> int:
    return int(classes[axis.spec["class"]]["lanes"])


def _arms(axis: _Axis, stops: list[tuple[float, str]], other: str) -> dict[str, tuple[_Axis, str, str]]:
    """Return, for each heading, the edges that arrive at and leave the crossing with *other* straight on."""
    k = next(i for i, (_, node) in enumerate(stops) if node in (f"{axis.id}_{other}", f"{other}_{axis.id}"))
    if k in (0, len(stops) - 1):
        return {}
    onward, back = axis.letters
    return {
        onward: (axis, f"{axis.id}_{onward}{k - 1}", f"{axis.id}_{onward}{k}"),
        back: (axis, f"{axis.id}_{back}{k}", f"{axis.id}_{back}{k - 1}"),
    }


def _stations_xml(spec: dict[str, Any], axes: dict[str, _Axis], proj: Any) -> str:
    """Place stations ``rsu_0 …`` along an axis: all on one side first, in the order of the table."""
    line = axes[spec["axis"]].line
    start = line.project(shapely.Point(proj(*spec["start"])))
    rows: list[str] = []
    for aside in spec["aside"]:
        for along in spec["along"]:
            at = line.interpolate(start + along)
            ahead = line.interpolate(start + along + 1.0)
            x, y = at.x - aside * (ahead.y - at.y), at.y + aside * (ahead.x - at.x)
            lon, lat = _degrees(proj, np.array([[x, y]]))[0].split(",")
            rows.append(
                f'    <poi id="rsu_{len(rows)}" type="rsu" lon="{lon}" lat="{lat}" color="230,60,40" '
                f'layer="10">\n'
                f'        <param key="range" value="{spec["range"]}"/>\n    </poi>'
            )
    return _document("additional", rows)


def _document(root: str, rows: list[str]) -> str:
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    note = "<!-- Written by cosim.traffic.schematic; edit the table instead. -->\n"
    return f"{head}{note}<{root}>\n" + "\n".join(rows) + f"\n</{root}>\n"
