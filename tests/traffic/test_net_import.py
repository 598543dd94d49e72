"""Nets made from maps: OSM and OSMnx GraphML, small ones by hand and a real one if it is there."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path

import libsumo
import numpy as np
import pytest
import shapely
import sumolib

from cosim.errors import ScenarioError
from cosim.traffic.graphml import read_graphml
from cosim.traffic.net_build import check_net
from cosim.traffic.net_import import import_net, projection_for
from cosim.traffic.nets import find_net, load_geometry

OSM = Path(__file__).parent / "crossroads.osm.xml"
UTM_50 = "+proj=utm +zone=50 +datum=WGS84 +units=m +no_defs"

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "shenzhen"
needs_real_map = pytest.mark.skipif(
    not (REAL / "futian_west_osmnx.graphml").is_file(),
    reason="the real map of western Futian is not beside this checkout (../shared/data/shenzhen)",
)


def loads_in_libsumo(net) -> bool:
    files = ",".join(map(str, net.additional_files))
    try:
        libsumo.start(
            [
                "sumo",
                "-n",
                str(net.net_file),
                *(["-a", files] if files else []),
                "--no-warnings",
                "--no-step-log",
            ]
        )
        libsumo.simulationStep()
        return libsumo.simulation.getTime() > 0
    finally:
        libsumo.close()


# --- OSM ---


@pytest.fixture(scope="module")
def crossroads(tmp_path_factory):
    return import_net(OSM, "crossroads", tmp_path_factory.mktemp("osm") / "crossroads", utm_zone=50).net


def by_way(net) -> dict[str, list]:
    """Return the edges of each OSM way, forward ones under ``'100'`` and opposite ones under ``'-100'``."""
    ways: dict[str, list] = {}
    for edge in load_geometry(net).edges.values():
        ways.setdefault(edge.id.partition("#")[0], []).append(edge)
    return ways


def test_an_imported_net_has_the_shape_of_a_shipped_one(crossroads):
    names = {file.name for file in crossroads.folder.iterdir()}
    assert names == {
        "net.yaml",
        "crossroads.osm.xml",
        "crossroads.net.xml",
        "crossroads.sumocfg",
        "buildings.add.xml",
        "gui.settings.xml",
    }
    assert crossroads.entries
    assert check_net(crossroads.folder) == []
    assert loads_in_libsumo(crossroads)


def test_an_osm_one_way_street_leads_one_way_only(crossroads):
    ways = by_way(crossroads)
    assert "100" in ways
    assert "-100" not in ways
    assert {"101", "-101"} <= set(ways)


def test_osm_lanes_and_speed_limits_are_kept(crossroads):
    avenue = by_way(crossroads)["100"]
    assert {len(edge.lanes) for edge in avenue} == {3}
    assert {edge.speed for edge in avenue} == {16.67}


def test_osm_footpaths_are_left_out_and_bends_are_kept(crossroads):
    ways = by_way(crossroads)
    assert set(ways) == {"100", "101", "-101"}
    geometry = load_geometry(crossroads)
    bend = shapely.Point(geometry.to_xy(114.0503, 22.5310))
    lanes = shapely.MultiLineString([edge.lanes[0].shape for edge in ways["101"]])
    assert lanes.distance(bend) < 3.5


def test_osm_signals_and_buildings_are_kept(crossroads):
    geometry = load_geometry(crossroads)
    assert geometry.junctions["2"].type == "traffic_light"
    (building,) = geometry.buildings()
    corners = geometry.to_xy([114.0505, 114.0510, 114.0510, 114.0505], [22.5302, 22.5302, 22.5306, 22.5306])
    assert shapely.Polygon(building.shape).symmetric_difference(shapely.Polygon(corners)).area < 1.0


def test_imported_nets_are_geo_referenced_with_a_proj_string(crossroads):
    geometry = load_geometry(crossroads)
    assert geometry.projection == UTM_50
    node = geometry.junctions["2"]
    np.testing.assert_allclose(geometry.to_lonlat(node.x, node.y), [114.0500, 22.5300], atol=1e-6)


def test_a_gzipped_extract_gives_the_same_net(crossroads, tmp_path):
    packed = tmp_path / "crossroads.osm.gz"
    packed.write_bytes(gzip.compress(OSM.read_bytes()))
    net = import_net(packed, "crossroads", tmp_path / "out", utm_zone=50).net
    assert net.sha256() == crossroads.sha256()


# --- GraphML by hand ---

NODES = {
    "a": (114.0400, 22.5300),
    "b": (114.0410, 22.5300),
    "c": (114.0420, 22.5300),
    "d": (114.0410, 22.5310),
}
AGAINST = "LINESTRING (114.041 22.53, 114.0412 22.5305, 114.041 22.531)"  # drawn from b to d
ASIDE = "LINESTRING (114.041 22.53, 114.0406 22.5305, 114.041 22.531)"
LOOP = "LINESTRING (114.042 22.53, 114.0425 22.5305, 114.0425 22.53, 114.042 22.53)"
TWO_WAY = {"highway": "residential", "oneway": "False", "lanes": "2"}
EDGES = [  # source, target, key, attributes
    ("a", "b", 0, {"highway": "primary", "oneway": "True", "lanes": "3", "maxspeed": "['60', '80']"}),
    ("b", "c", 0, {"highway": "['secondary', 'primary']", "oneway": "True", "lanes": "['4', '3']"}),
    ("b", "d", 0, {**TWO_WAY, "maxspeed": "20 mph"}),
    ("d", "b", 0, {**TWO_WAY, "reversed": "True", "geometry": AGAINST}),
    ("b", "d", 1, {"highway": "service", "oneway": "False", "geometry": ASIDE}),
    ("c", "c", 0, {"highway": "living_street", "oneway": "True", "geometry": LOOP}),
    ("c", "d", 0, {"highway": "footway", "oneway": "False"}),
    ("c", "d", 1, {"highway": "['steps', 'path']", "oneway": "False"}),
    ("c", "a", 0, {"highway": "tertiary", "oneway": "True", "access": "no"}),
    ("c", "b", 0, {"highway": "motorway_link", "oneway": "True", "maxspeed": "signals"}),
]


def graphml_text(crs: str = "epsg:4326") -> str:
    names = ["x", "y", "highway", "oneway", "lanes", "maxspeed", "reversed", "geometry", "access", "crs"]
    keys = "".join(f'<key id="{name}" for="all" attr.name="{name}" attr.type="string"/>' for name in names)
    nodes = "".join(
        f'<node id="{node}"><data key="x">{x}</data><data key="y">{y}</data>'
        + ('<data key="highway">traffic_signals</data>' if node == "b" else "")
        + "</node>"
        for node, (x, y) in NODES.items()
    )
    edges = "".join(
        f'<edge source="{u}" target="{v}" id="{k}">'
        + "".join(f'<data key="{key}">{value}</data>' for key, value in values.items())
        + "</edge>"
        for u, v, k, values in EDGES
    )
    return (
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        f'{keys}<graph edgedefault="directed"><data key="crs">{crs}</data>{nodes}{edges}</graph></graphml>'
    )


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.graphml"
    file.write_text(graphml_text())
    return file


def test_graphml_footpaths_and_closed_roads_are_left_out(small):
    graph = read_graphml(small)
    assert [road.id for road in graph.roads] == ["a_b", "b_c", "b_d", "d_b", "b_d.1", "c_c", "c_b"]
    assert graph.left_out == {"footway": 1, "steps + path": 1, "access=no": 1}


def test_graphml_lanes_are_those_of_one_direction(small):
    lanes = {road.id: road.lanes for road in read_graphml(small).roads}
    assert lanes["a_b"] == 3  # a one-way street has all its lanes
    assert lanes["b_c"] == 3  # the fewest of merged ways
    assert lanes["b_d"] == lanes["d_b"] == 1  # two lanes of a two-way street are one each way
    assert (lanes["b_d.1"], lanes["c_b"]) == (1, 1)  # by road class


def test_graphml_speed_limits_are_read_with_units_and_lists(small):
    speeds = {road.id: road.speed * 3.6 for road in read_graphml(small).roads}
    assert speeds["a_b"] == pytest.approx(70)
    assert speeds["b_d"] == pytest.approx(32.18688)
    assert speeds["c_b"] == pytest.approx(60)  # "signals" is no number: by road class
    assert speeds["b_c"] == pytest.approx(60)  # the highest of the merged classes


def test_graphml_lines_run_from_source_to_target(small):
    for road in read_graphml(small).roads:
        np.testing.assert_allclose(road.line[0], NODES[road.start], atol=1e-12)
        np.testing.assert_allclose(road.line[-1], NODES[road.end], atol=1e-12)


def test_a_projected_graph_is_brought_back_to_degrees(tmp_path):
    file = tmp_path / "web.graphml"
    file.write_text(graphml_text("epsg:4490"))  # China's own degrees: the same within a metre
    for node, place in read_graphml(file).nodes.items():
        np.testing.assert_allclose(place, NODES[node], atol=1e-5)


def test_a_small_graph_becomes_a_net_with_loops_and_parallel_roads(small, tmp_path):
    done = import_net(small, "small", tmp_path / "net", utm_zone=50)
    geometry = load_geometry(done.net)
    assert {"a_b", "b_c", "b_d", "d_b", "b_d.1", "c_c.a", "c_c.b"} <= set(geometry.edges)
    assert geometry.junctions["b"].type == "traffic_light"
    assert len(geometry.edges["a_b"].lanes) == 3
    assert done.filled_in["lanes"] == 3
    assert loads_in_libsumo(done.net)
    assert check_net(done.net.folder) == []


# --- projection and refusals ---


def test_the_default_projection_is_the_utm_zone_of_the_middle():
    assert projection_for(114.05, 22.53) == UTM_50
    assert projection_for(113.99, 22.53) == UTM_50.replace("50", "49")
    assert projection_for(113.99, 22.53, utm_zone=50) == UTM_50
    assert projection_for(151.2, -33.9) == "+proj=utm +zone=56 +south +datum=WGS84 +units=m +no_defs"
    assert projection_for(8.0, 50.0, proj="+proj=tmerc +lon_0=8") == "+proj=tmerc +lon_0=8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proj": "EPSG:32650"}, "libsumo cannot load nets with an EPSG code"),
        ({"proj": "+proj=nonsense"}, re.escape("does not understand '+proj=nonsense'")),
        ({"utm_zone": 61}, "should be 1 to 60, not 61"),
        ({"utm_zone": 50, "proj": UTM_50}, "either --proj or --utm-zone"),
    ],
)
def test_a_wrong_projection_is_refused_and_leaves_no_folder(options, message, tmp_path):
    with pytest.raises(ScenarioError, match=message):
        import_net(OSM, "x", tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ScenarioError, match="is not empty"):
        import_net(OSM, "x", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("map.osm.pbf", "", "cannot import this kind of file; known: .osm"),
        ("map.osm", "<osm/>", "no OSM node"),
        ("map.osm", "<osm>", "not well-formed XML"),
        ("map.graphml", "<osm/>", "not GraphML"),
        ("map.graphml", graphml_text("epsg:99999"), "unknown coordinate reference system 'epsg:99999'"),
    ],
)
def test_an_unreadable_map_is_refused_with_a_reason(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError, match=message):
        import_net(tmp_path / name, "x", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_missing_map_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere\.osm: no such file"):
        import_net(tmp_path / "nowhere.osm", "x", tmp_path / "x")


# --- the real map of western Futian ---


@pytest.fixture(scope="module")
def futian(tmp_path_factory):
    out = tmp_path_factory.mktemp("futian") / "futian_west"
    return import_net(REAL / "futian_west_osmnx.graphml", "futian_west", out, utm_zone=50).net


@pytest.fixture(scope="module")
def source():
    return read_graphml(REAL / "futian_west_osmnx.graphml")


@needs_real_map
def test_real_roads_keep_their_lengths(futian, source):
    """Each edge's own line against OSMnx's length (great circle, m); joined crossings move ends slightly."""
    net = sumolib.net.readNet(str(futian.net_file))
    kept = {edge.getID(): edge for edge in net.getEdges()}
    pairs = np.array(
        [
            (shapely.LineString(np.array(kept[road.id].getRawShape())[:, :2]).length, road.length)
            for road in source.roads
            if road.id in kept
        ]
    )
    assert len(pairs) > 0.88 * len(source.roads)  # the rest lies inside joined crossings
    assert (np.abs(pairs[:, 0] - pairs[:, 1]) < 5 + 0.02 * pairs[:, 1]).all()
    assert pairs[:, 0].sum() == pytest.approx(pairs[:, 1].sum(), rel=0.001)


@needs_real_map
def test_real_roads_are_still_where_they_were(futian, source):
    geometry = load_geometry(futian)
    surface = [shapely.LineString(lane.shape).buffer(lane.width / 2) for lane in geometry.lanes()]
    surface += [shapely.Polygon(j.shape) for j in geometry.junctions.values() if len(j.shape) > 2]
    tree = shapely.STRtree(surface)
    off_road = 0
    for road in source.roads:
        line = shapely.segmentize(shapely.LineString(geometry.to_xy(*road.line.T)), 10)
        points = shapely.points(shapely.get_coordinates(line))
        _, distance = tree.query_nearest(points, return_distance=True, all_matches=False)
        off_road += bool(distance.max() > 3)
    assert off_road < 0.005 * len(source.roads)  # isolated scraps are dropped


@needs_real_map
def test_real_one_way_streets_lead_one_way_and_lanes_are_kept(futian, source):
    edges = load_geometry(futian).edges
    roads = {road.id: road for road in source.roads}
    for road in source.roads:
        if road.id in edges:
            assert len(edges[road.id].lanes) == road.lanes
            assert edges[road.id].speed == pytest.approx(road.speed, abs=0.01)
    # read from the file itself: streets whose opposite direction it does not hold
    text = (REAL / "futian_west_osmnx.graphml").read_text()
    directed = set(re.findall(r'<edge source="(\d+)" target="(\d+)"', text))
    one_way = {(u, v) for u, v in directed if (v, u) not in directed}
    assert sum(f"{u}_{v}" in edges for u, v in one_way) > 800
    assert not [(u, v) for u, v in one_way if f"{v}_{u}" in edges]
    assert set(edges) <= set(roads) | {f"{road}.{half}" for road in roads for half in "ab"}


@needs_real_map
def test_gps_fixes_of_a_taxi_lie_within_25_m_of_a_road(futian):
    geometry = load_geometry(futian)
    with (REAL / "taxi_1_sample.csv").open() as stream:
        fixes = np.array([(float(row["lon"]), float(row["lat"])) for row in csv.DictReader(stream)])
    assert len(fixes) == 14
    roads = shapely.union_all([shapely.LineString(lane.shape) for lane in geometry.lanes()])
    distance = shapely.distance(shapely.points(geometry.to_xy(*fixes.T)), roads)
    assert distance.max() < 25


@needs_real_map
def test_the_real_net_loads_in_libsumo(futian):
    assert load_geometry(futian).projection == UTM_50
    assert loads_in_libsumo(futian)
    assert find_net(futian.folder) == futian
