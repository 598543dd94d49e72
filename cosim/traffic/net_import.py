"""Make a net folder from a map: an OSM extract or an OSMnx GraphML file.

Writes the same shape of folder as the shipped nets (``net.yaml``, source, ``.net.xml``, ``.sumocfg``, view
settings), so that ``traffic.net`` takes it by name or path and ``cosim net build`` rebuilds it.  Lanes,
speed limits, one-way streets and geometry are kept; an OSM extract's buildings become polygons that block the
line of sight.  The net is geo-referenced with a PROJ string: nets with an EPSG code load over TraCI but fail
in libsumo 1.28.
"""

from __future__ import annotations

import gzip
import math
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyproj
from ruamel.yaml import YAML

from cosim.errors import ScenarioError
from cosim.traffic import graphml
from cosim.traffic.net_build import BUILDINGS, build_net
from cosim.traffic.nets import NET_YAML, Net, find_net, load_geometry

_OSM_SUFFIXES = (".osm", ".osm.xml", ".osm.gz", ".osm.xml.gz")

# What SUMO's documentation recommends for OSM; the second type map has urban speed limits.
_OSM_OPTIONS: dict[str, Any] = {
    "type-files": [
        "$SUMO_HOME/data/typemap/osmNetconvert.typ.xml",
        "$SUMO_HOME/data/typemap/osmNetconvertUrbanDe.typ.xml",
    ],
    "geometry.remove": True,
    "ramps.guess": True,
    "junctions.join": True,
    "tls.guess-signals": True,
    "tls.discard-simple": True,
    "tls.join": True,
    "keep-edges.by-vclass": "passenger",
    "remove-edges.isolated": True,
    "output.street-names": True,
}
_GRAPHML_OPTIONS: dict[str, Any] = {
    "junctions.join": True,  # the nodes of one large crossing become one junction
    "remove-edges.isolated": True,
    "tls.join": True,
    "output.street-names": True,
}


@dataclass(frozen=True)
class Imported:
    """An imported net and what happened on the way, as counts by reason."""

    net: Net
    left_out: Mapping[str, int] = field(default_factory=dict)
    filled_in: Mapping[str, int] = field(default_factory=dict)


def import_net(
    file: str | Path,
    name: str,
    out: str | Path,
    *,
    proj: str | None = None,
    utm_zone: int | None = None,
    guess_signals: bool = False,
) -> Imported:
    """Make the net *name* in the new or empty folder *out* from a map *file*.

    Args:
        file: ``.osm``, ``.osm.xml`` (or ``.gz``), or ``.graphml`` as OSMnx saves it.
        name: the net's name; its files are called after it.
        out: the net's folder.
        proj: PROJ string of the projection; default UTM of the zone that the map's middle lies in.
        utm_zone: force this UTM zone, 1 to 60 (Futian straddles zones 49 and 50: force 50).
        guess_signals: let netconvert put signals at large crossings where the map has none.

    Raises:
        ScenarioError: unknown kind of file, unreadable map, bad projection, *out* is not empty.
    """
    path, folder = Path(file).expanduser(), Path(out).expanduser()
    if not path.is_file():
        raise ScenarioError(f"{path}: no such file")
    if folder.exists() and any(folder.iterdir()):
        raise ScenarioError(f"{folder} is not empty: choose another --out")
    if path.name.endswith(_OSM_SUFFIXES):
        make = _from_osm
    elif path.suffix == ".graphml":
        make = _from_graphml
    else:
        kinds = ", ".join((*_OSM_SUFFIXES, ".graphml"))
        raise ScenarioError(f"{path}: cannot import this kind of file; known: {kinds}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        spec, left_out, filled_in = make(path, name, folder, proj, utm_zone)
        if guess_signals:
            spec["build"]["tls.guess"] = True
        _write_spec(folder, spec)
        build_net(folder)
        entries = load_geometry(find_net(folder)).entries()
        _write_spec(folder, {**spec, "entries": list(entries)})
    except ScenarioError:
        shutil.rmtree(folder)
        raise
    return Imported(find_net(folder), left_out, filled_in)


def projection_for(lon: float, lat: float, proj: str | None = None, utm_zone: int | None = None) -> str:
    """Return the PROJ string for a net around (lon, lat): *proj*, or UTM in *utm_zone* or the natural zone.

    Raises:
        ScenarioError: both given, a zone outside 1 to 60, an EPSG code, or a string that PROJ does not know.
    """
    if proj is not None and utm_zone is not None:
        raise ScenarioError("give either --proj or --utm-zone, not both")
    if proj is not None:
        if not proj.lstrip().startswith("+proj="):
            raise ScenarioError(
                f"--proj should be a PROJ string such as '{utm(50)}', not '{proj}': libsumo cannot load "
                "nets with an EPSG code"
            )
        try:
            pyproj.Proj(proj)
        except pyproj.exceptions.CRSError:
            raise ScenarioError(f"--proj: PROJ does not understand '{proj}'") from None
        return proj
    zone = utm_zone if utm_zone is not None else math.floor((lon + 180.0) / 6.0) % 60 + 1
    if not 1 <= zone <= 60:
        raise ScenarioError(f"--utm-zone should be 1 to 60, not {zone}")
    return utm(zone, lat < 0)


def utm(zone: int, south: bool = False) -> str:
    """Return the PROJ string of a UTM zone on WGS-84."""
    return f"+proj=utm +zone={zone}{' +south' if south else ''} +datum=WGS84 +units=m +no_defs"


_Made = tuple[dict[str, Any], Mapping[str, int], Mapping[str, int]]


def _from_graphml(file: Path, name: str, folder: Path, proj: str | None, zone: int | None) -> _Made:
    graph = graphml.read_graphml(file)
    if not graph.roads:
        raise ScenarioError(f"{file}: no drivable road in this graph")
    graphml.write_plain_xml(graph, name, folder)
    lons, lats = zip(*graph.nodes.values(), strict=True)
    projection = projection_for((min(lons) + max(lons)) / 2, (min(lats) + max(lats)) / 2, proj, zone)
    inputs = {"node-files": [f"{name}.nod.xml"], "edge-files": [f"{name}.edg.xml"]}
    spec = _spec(name, file, {**inputs, "proj": projection, **_GRAPHML_OPTIONS})
    return spec, graph.left_out, graph.filled_in


def _from_osm(file: Path, name: str, folder: Path, proj: str | None, zone: int | None) -> _Made:
    (lon, lat), has_buildings = _scan_osm(file)
    source = name + next(s for s in sorted(_OSM_SUFFIXES, key=len, reverse=True) if file.name.endswith(s))
    shutil.copyfile(file, folder / source)
    build = {"osm-files": [source], "proj": projection_for(lon, lat, proj, zone), **_OSM_OPTIONS}
    spec = _spec(name, file, build)
    if has_buildings:
        spec["buildings"] = source
        spec["additional"] = [BUILDINGS]
    return spec, {}, {}


def _scan_osm(file: Path) -> tuple[tuple[float, float], bool]:
    """Return the middle (lon, lat) of an OSM file's nodes and whether it has buildings."""
    lons, lats = [math.inf, -math.inf], [math.inf, -math.inf]
    buildings = False
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            for _, item in ET.iterparse(stream):
                if item.tag == "node":
                    lon, lat = float(item.attrib["lon"]), float(item.attrib["lat"])
                    lons = [min(lons[0], lon), max(lons[1], lon)]
                    lats = [min(lats[0], lat), max(lats[1], lat)]
                buildings |= item.tag == "tag" and item.get("k") == "building"
                if item.tag in ("node", "way", "relation"):
                    item.clear()
    except (ET.ParseError, gzip.BadGzipFile) as error:
        raise ScenarioError(f"{file}: not well-formed XML ({error})") from None
    if lons[0] > lons[1]:
        raise ScenarioError(f"{file}: no OSM node in this file")
    return ((lons[0] + lons[1]) / 2, (lats[0] + lats[1]) / 2), buildings


def _spec(name: str, file: Path, build: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Imported from {file.name} by `cosim net import`.",
        "source": f"{file.name}; map data keep their licence (OpenStreetMap: ODbL, name its contributors).",
        "build": build,
    }


def _write_spec(folder: Path, spec: dict[str, Any]) -> None:
    yaml = YAML()
    yaml.width = 110
    yaml.default_flow_style = None
    with (folder / NET_YAML).open("w", encoding="utf-8") as stream:
        yaml.dump(spec, stream)
