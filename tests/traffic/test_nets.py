"""The shipped nets: what they hold, that they are what their sources give, how they are found and read."""

from __future__ import annotations

import itertools
import math
import subprocess
from pathlib import Path

import libsumo
import numpy as np
import pyproj
import pytest
import shapely
import sumolib
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.errors import ScenarioError
from cosim.traffic.net_build import check_net, strip_comments
from cosim.traffic.nets import find_net, list_nets, load_geometry
from cosim.traffic.programs import sumo_binary

NETS = ("highway_trifurcation", "remote_rsu", "shenzhen_futian", "urban_rsu")
VARIANTS = [
    ("highway_trifurcation", "uni"),
    ("highway_trifurcation", "uni_noturn"),
    ("highway_trifurcation", "bi"),
    *((name, None) for name in NETS[1:]),
]
UTM_50 = "+proj=utm +zone=50 +datum=WGS84 +units=m +no_defs"


@pytest.fixture
def sumo():
    """Start libsumo with extra arguments; whatever happens it is closed."""

    def start(net, *arguments: str):
        files = ",".join(map(str, net.additional_files))
        extra = ["-a", files] if files else []
        command = ["sumo", "-n", str(net.net_file), *extra, "--no-step-log", "--no-warnings", *arguments]
        libsumo.start(command)
        return libsumo

    yield start
    libsumo.close()


def drive(sumo, route: tuple[str, ...], until: float) -> float:
    """Drive one car along *route* and return how far it came, m; it must arrive before *until* seconds."""
    sumo.route.add("r", route)
    sumo.vehicle.add("car", "r", departSpeed="max")
    distance = 0.0
    while sumo.simulation.getTime() < until:
        sumo.simulationStep()
        if "car" in sumo.simulation.getArrivedIDList():
            return distance
        if "car" in sumo.vehicle.getIDList():
            distance = sumo.vehicle.getDistance("car")
    raise AssertionError(f"the car did not arrive within {until} s; it came {distance:.0f} m")


# --- every net ---


def test_all_four_nets_are_listed():
    assert set(NETS) <= set(list_nets())


@pytest.mark.parametrize("name", NETS)
def test_committed_files_are_what_the_source_gives(name, monkeypatch):
    monkeypatch.delenv("SUMO_HOME", raising=False)
    assert check_net(name) == []


@pytest.mark.parametrize("name", NETS)
def test_a_net_folder_holds_source_settings_and_readme(name):
    folder = find_net(name).folder
    for file in ("net.yaml", "gui.settings.xml", "README.md"):
        assert (folder / file).is_file(), file
    assert list(folder.glob("*.nod.xml"))
    assert list(folder.glob("*.edg.xml"))


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_built_nets_carry_no_date_version_or_path(name, variant):
    text = find_net(name, variant).net_file.read_text()
    assert "<!--" not in text
    assert "generated on" not in text


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_configurations_open_in_sumo_without_a_warning(name, variant):
    net = find_net(name, variant)
    done = subprocess.run(
        [sumo_binary("sumo"), "-c", str(net.sumocfg), "--end", "10", "--no-step-log", "-X", "never"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "Warning" in line and "SUMO_HOME" not in line] == []


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_geometry_agrees_with_sumolib(name, variant):
    net = find_net(name, variant)
    ours, theirs = load_geometry(net), sumolib.net.readNet(str(net.net_file))
    assert set(ours.edges) == {edge.getID() for edge in theirs.getEdges(withInternal=False)}
    for edge in theirs.getEdges(withInternal=False):
        mine = ours.edges[edge.getID()]
        assert (mine.from_node, mine.to_node) == (edge.getFromNode().getID(), edge.getToNode().getID())
        assert ours.successors(edge.getID()) == tuple(dict.fromkeys(o.getID() for o in edge.getOutgoing()))
        for lane in edge.getLanes():
            same = mine.lanes[lane.getIndex()]
            assert (same.id, same.length, same.speed) == (lane.getID(), lane.getLength(), lane.getSpeed())
            np.testing.assert_array_equal(same.shape, np.array(lane.getShape())[:, :2])
    fringe = {edge.getID() for edge in theirs.getEdges() if edge.is_fringe(edge.getIncoming())}
    assert set(ours.entries()) == fringe


@pytest.mark.parametrize("name", NETS)
def test_stations_and_buildings_lie_where_sumo_puts_them(name, sumo):
    net = find_net(name)
    geometry = load_geometry(net)
    live = sumo(net)
    assert set(live.poi.getIDList()) == {poi.id for poi in geometry.pois}
    for poi in geometry.pois:
        assert live.poi.getPosition(poi.id) == pytest.approx((poi.x, poi.y), abs=0.01)
        assert live.poi.getType(poi.id) == poi.type
        assert live.poi.getParameter(poi.id, "range") == poi.params["range"]
    assert set(live.polygon.getIDList()) == {polygon.id for polygon in geometry.polygons}


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_named_routes_can_be_driven_and_entries_exist(name, variant):
    net = find_net(name, variant)
    geometry = load_geometry(net)
    assert net.routes
    assert set(net.entries) <= set(geometry.edges)
    for key, route in net.routes.items():
        for here, there in itertools.pairwise(route):
            assert there in geometry.successors(here), f"{key}: {here} does not lead to {there}"
        if key.startswith(("circuit", "ring", "loop")):
            assert route[0] in geometry.successors(route[-1]), f"{key} is not closed"


@pytest.mark.parametrize("name", ["highway_trifurcation", "urban_rsu", "shenzhen_futian"])
def test_entries_are_the_edges_that_nothing_leads_to(name):
    net = find_net(name)
    assert set(net.entries) == set(load_geometry(net).entries())


@pytest.mark.parametrize("name", NETS)
def test_stations_stand_beside_the_road_and_outside_buildings(name):
    geometry = load_geometry(find_net(name))
    roads = shapely.union_all(
        [shapely.LineString(lane.shape).buffer(lane.width / 2) for lane in geometry.lanes()]
    )
    houses = shapely.union_all([shapely.Polygon(building.shape) for building in geometry.buildings()])
    assert geometry.stations()
    for station in geometry.stations():
        place = shapely.Point(station.x, station.y)
        assert not place.within(roads), station.id
        assert not place.within(houses), station.id
    assert not roads.intersects(houses)


# --- highway_trifurcation ---


@pytest.mark.parametrize("variant", ["uni", "uni_noturn", "bi"])
def test_highway_has_250_m_of_four_lanes_and_three_branches(variant):
    net = sumolib.net.readNet(str(find_net("highway_trifurcation", variant).net_file))
    places = {node.getID(): node.getCoord() for node in net.getNodes()}
    assert places == {
        "edge_0": (0, 0),
        "edge_1": (250, 0),
        "tail_0": (250, 20),
        "tail_1": (270, 0),
        "tail_2": (250, -20),
    }
    road = net.getEdge("highway_0")
    assert (road.getLaneNumber(), road.getLength(), road.getSpeed()) == (4, 250.0, 23.0)
    for branch in ("end_0", "end_1", "end_2"):
        edge = net.getEdge(branch)
        assert (edge.getLaneNumber(), edge.getLength(), edge.getSpeed()) == (4, 20.0, 23.0)
    links = {
        (c.getFromLane().getIndex(), c.getTo().getID(), c.getToLane().getIndex())
        for connections in road.getOutgoing().values()
        for c in connections
    }
    assert links == {(i, f"end_{k}", i) for i in range(4) for k in range(3)}


def test_highway_is_drawn_to_233_m_but_driven_to_250_m():
    for lane in load_geometry(find_net("highway_trifurcation")).edges["highway_0"].lanes:
        assert (lane.shape[0, 0], lane.shape[-1, 0]) == (0.0, 233.2)
        assert lane.length == 250.0


def turn_speeds(variant: str) -> dict[str, list[float]]:
    net = sumolib.net.readNet(str(find_net("highway_trifurcation", variant).net_file), withInternal=True)
    speeds = {"end_0": [0.0] * 4, "end_1": [0.0] * 4, "end_2": [0.0] * 4}
    for branch, connections in net.getEdge("highway_0").getOutgoing().items():
        for c in connections:
            speeds[branch.getID()][c.getFromLane().getIndex()] = net.getLane(c.getViaLaneID()).getSpeed()
    return speeds


def test_turns_are_slow_in_uni():
    assert turn_speeds("uni") == {
        "end_0": [12.38, 11.49, 10.54, 9.51],
        "end_1": [23.0] * 4,
        "end_2": [6.51, 8.00, 9.26, 10.36],
    }


def test_turns_are_not_slowed_in_uni_noturn():
    assert set(itertools.chain(*turn_speeds("uni_noturn").values())) == {23.0}


def test_bi_adds_four_opposite_edges_and_makes_all_twelve_links_yield():
    uni, bi = (load_geometry(find_net("highway_trifurcation", v)) for v in ("uni", "bi"))
    assert set(bi.edges) - set(uni.edges) == {"-highway_0", "-end_0", "-end_1", "-end_2"}
    assert {c.state for c in bi.connections if c.from_edge == "highway_0"} == {"m"}
    assert "M" in {c.state for c in uni.connections if c.from_edge == "highway_0"}


@pytest.mark.parametrize("variant", ["uni", "uni_noturn", "bi"])
def test_sumo_sees_twelve_links_and_250_m(variant, sumo):
    live = sumo(find_net("highway_trifurcation", variant))
    links = [link[0] for i in range(4) for link in live.lane.getLinks(f"highway_0_{i}")]
    assert sorted(links) == sorted(f"end_{k}_{i}" for i in range(4) for k in range(3))
    assert {live.lane.getLength(f"highway_0_{i}") for i in range(4)} == {250.0}
    assert {live.lane.getMaxSpeed(f"highway_0_{i}") for i in range(4)} == {23.0}


# --- urban_rsu and remote_rsu ---


def test_urban_road_is_2490_m_with_two_lanes_a_direction_and_signals_at_830_and_1660():
    geometry = load_geometry(find_net("urban_rsu"))
    signals = {(j.x, j.y) for j in geometry.junctions.values() if j.type == "traffic_light"}
    assert signals == {(830.0, 0.0), (1660.0, 0.0)}
    main = [geometry.edges[f"{way}_{k}"] for way in ("east", "west") for k in range(3)]
    assert {len(edge.lanes) for edge in main} == {2}
    assert {edge.speed for edge in geometry.edges.values()} == {13.89}
    assert geometry.edges["east_0"].lanes[0].shape[0, 0] == 0.0
    assert geometry.edges["east_2"].lanes[0].shape[-1, 0] == 2490.0
    ends = {(j.x, j.y) for j in geometry.junctions.values() if j.id.startswith(("north", "south"))}
    assert ends == {(x, y) for x in (830.0, 1660.0) for y in (200.0, -200.0)}


def test_urban_stations_stand_three_on_either_side():
    stations = load_geometry(find_net("urban_rsu")).stations()
    assert [s.id for s in stations] == [f"rsu_{k}" for k in range(6)]
    assert [(s.x, s.y) for s in stations] == [(x, y) for y in (20, -20) for x in (415, 1245, 2075)]


def test_urban_buildings_stand_along_all_blocks_on_both_sides():
    buildings = load_geometry(find_net("urban_rsu")).buildings()
    assert {b.type for b in buildings} == {"building"}
    blocks = {(int(b.shape[:-1, 0].mean() // 830), int(np.sign(b.shape[:-1, 1].mean()))) for b in buildings}
    assert blocks == {(k, side) for k in range(3) for side in (-1, 1)}
    assert all(float(b.params["height"]) > 0 for b in buildings)


def test_a_vehicle_turns_round_at_both_ends_of_the_urban_road(sumo):
    net = find_net("urban_rsu")
    assert drive(sumo(net), net.routes["circuit_east"] * 2, 1500.0) == pytest.approx(4 * 2490, rel=0.01)


def test_cars_on_both_lanes_can_turn_round():
    geometry = load_geometry(find_net("urban_rsu"))
    for end in (("east_2", "west_2"), ("west_0", "east_0")):
        lanes = {c.from_lane for c in geometry.connections if (c.from_edge, c.to_edge) == end}
        assert lanes == {0, 1}


def test_three_laps_of_the_remote_ring_are_18_km(sumo):
    net = find_net("remote_rsu")
    driven = drive(sumo(net), net.routes["ring_0"] * 3, 1000.0)
    assert driven == pytest.approx(18_000, abs=60)  # the car leaves the road on its last metres


def test_two_thirds_of_the_remote_ring_are_covered_with_gaps_between():
    geometry = load_geometry(find_net("remote_rsu"))
    ring = shapely.LineString(np.concatenate([geometry.edges[f"arc_{k}"].lanes[0].shape for k in range(4)]))
    discs = [shapely.Point(s.x, s.y).buffer(float(s.params["range"]), 64) for s in geometry.stations()]
    assert len(discs) == 4
    covered = ring.intersection(shapely.union_all(discs)).length / ring.length
    assert covered == pytest.approx(0.67, abs=0.01)
    for k, station in enumerate(geometry.stations()):
        along = math.atan2(station.y, station.x) % (2 * math.pi) / (2 * math.pi) * 6000
        assert along == pytest.approx(750 + 1500 * k, abs=1)


# --- shenzhen_futian ---


def test_futian_is_called_a_schematic_wherever_it_is_named():
    net = find_net("shenzhen_futian")
    assert net.schematic
    assert "chematic" in net.description
    assert "chematic" in (net.folder / "README.md").read_text()
    assert "chematic" in (net.folder / "roads.yaml").read_text()


@pytest.mark.parametrize(
    ("lon", "lat", "east", "north"),
    [(114.0439, 22.5312, 195922.353, 2494632.902), (114.0681, 22.5323, 198415.617, 2494705.691)],
)
def test_futian_projection_gives_the_golden_utm_values(lon, lat, east, north):
    geometry = load_geometry(find_net("shenzhen_futian"))
    assert geometry.projection == UTM_50
    np.testing.assert_allclose(geometry.to_xy(lon, lat) - geometry.offset, [east, north], atol=0.0015)
    epsg = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32650", always_xy=True)
    np.testing.assert_allclose(epsg.transform(lon, lat), [east, north], atol=0.0015)


CORNERS = [(lon, lat) for lon in (114.0439, 114.0681) for lat in (22.5213, 22.5423)]


def test_futian_box_lies_inside_the_net_and_has_its_size():
    geometry = load_geometry(find_net("shenzhen_futian"))
    corners = geometry.to_xy(*np.array(CORNERS).T)
    xmin, ymin, xmax, ymax = geometry.boundary
    assert (corners > [xmin, ymin]).all()
    assert (corners < [xmax, ymax]).all()
    south_west, north_west, south_east, _ = corners
    scale = 1.00073  # of UTM 50 here, so far from its meridian
    assert np.hypot(*(south_east - south_west)) / scale == pytest.approx(2489.7, abs=1.5)
    assert np.hypot(*(north_west - south_west)) / scale == pytest.approx(2325.5, abs=1.5)


def test_sumo_sumolib_and_cosim_convert_the_box_corners_alike(sumo):
    net = find_net("shenzhen_futian")
    geometry, other = load_geometry(net), sumolib.net.readNet(str(net.net_file))
    live = sumo(net)
    for lon, lat in CORNERS:
        ours = geometry.to_xy(lon, lat)
        assert live.simulation.convertGeo(lon, lat, fromGeo=True) == pytest.approx(tuple(ours), abs=0.005)
        assert other.convertLonLat2XY(lon, lat) == pytest.approx(tuple(ours), abs=0.005)
        assert live.simulation.convertGeo(*ours) == pytest.approx((lon, lat), abs=1e-7)


@given(
    lon=st.lists(st.floats(114.03, 114.08), min_size=1, max_size=5),
    lat=st.floats(22.51, 22.55),
)
@settings(max_examples=50, deadline=None)
def test_degrees_to_metres_and_back_is_the_identity(lon, lat):
    geometry = load_geometry(find_net("shenzhen_futian"))
    there = geometry.to_xy(lon, np.full(len(lon), lat))
    assert there.shape == (len(lon), 2)
    back = geometry.to_lonlat(there[:, 0], there[:, 1])
    np.testing.assert_allclose(back, np.column_stack([lon, np.full(len(lon), lat)]), atol=1e-9)


def test_futian_stations_stand_20_m_off_the_axis_of_binhe_avenue():
    geometry = load_geometry(find_net("shenzhen_futian"))
    start, end = geometry.to_xy([114.0439, 114.0681], [22.5312, 22.5323])
    along = (end - start) / np.hypot(*(end - start))
    left = np.array([-along[1], along[0]])
    places = [np.array([s.x, s.y]) - start for s in geometry.stations()]
    np.testing.assert_allclose([p @ along for p in places], [415, 1245, 2075] * 2, atol=0.5)
    np.testing.assert_allclose([p @ left for p in places], [20] * 3 + [-20] * 3, atol=0.1)


def test_futian_has_signals_where_arterial_roads_cross_and_plausible_lanes_and_speeds():
    geometry = load_geometry(find_net("shenzhen_futian"))
    arterial = {
        "binhe",
        "shennan",
        "fuqiang",
        "fuhua",
        "xinzhou",
        "yitian",
        "jintian",
        "caitian",
        "huanggang",
    }
    crossings = [j for j in geometry.junctions.values() if set(j.id.split("_")) <= arterial]
    assert len(crossings) == 20
    assert {j.type for j in crossings} == {"traffic_light"}
    assert {len(edge.lanes) for edge in geometry.edges.values()} == {2, 3, 4}
    assert {edge.speed for edge in geometry.edges.values()} == {11.11, 13.89, 16.67}


def test_a_vehicle_drives_the_futian_loop(sumo):
    net = find_net("shenzhen_futian")
    geometry = load_geometry(net)
    expected = sum(geometry.edges[edge].length for edge in net.routes["loop_clockwise"])
    assert drive(sumo(net), net.routes["loop_clockwise"], 1500.0) == pytest.approx(expected, rel=0.06)


# --- finding and reading ---


def test_a_mistyped_net_gets_the_nearest_name():
    with pytest.raises(ScenarioError, match=r"no net 'urban_rsus' \(did you mean 'urban_rsu'\?\)"):
        find_net("urban_rsus")


def test_a_mistyped_variant_gets_the_nearest_name():
    with pytest.raises(ScenarioError, match=r"no variant 'unii' \(did you mean 'uni'\?\); variants: uni, "):
        find_net("highway_trifurcation", "unii")
    with pytest.raises(ScenarioError, match="it has no variants"):
        find_net("urban_rsu", "uni")


def test_the_default_variant_is_uni():
    net = find_net("highway_trifurcation")
    assert net.variant == "uni"
    assert net == find_net("highway_trifurcation", "uni")
    assert net.sha256() != find_net("highway_trifurcation", "bi").sha256()


def test_a_net_is_found_by_folder_and_as_a_plain_net_file():
    named = find_net("urban_rsu")
    assert find_net(named.folder) == named
    plain = find_net(named.net_file)
    assert (plain.name, plain.net_file) == ("urban_rsu", named.net_file)
    assert set(plain.entries) == set(named.entries)
    assert plain.sha256() == named.sha256()


def test_a_net_in_the_working_folder_comes_before_the_shipped_one(tmp_path, monkeypatch):
    folder = tmp_path / "sumo_networks" / "urban_rsu"
    folder.mkdir(parents=True)
    (folder / "net.yaml").write_text("description: mine\n")
    (folder / "urban_rsu.net.xml").write_text("<net/>")
    monkeypatch.chdir(tmp_path)
    assert find_net("urban_rsu").description == "mine"


def test_a_net_that_is_not_built_says_how_to_build_it(tmp_path):
    (tmp_path / "net.yaml").write_text("description: bare\n")
    with pytest.raises(ScenarioError, match="is not built: run `cosim net build"):
        find_net(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routs: {}", r"unknown key 'routs' \(did you mean 'routes'\?\)"),
        ("entries: highway_0", "'entries' should be a list, not 'highway_0'"),
        ("a: [", r"net\.yaml:\d+: not valid YAML"),
        ("default: x\nvariants: {y: {}}", "'default' names 'x'"),
        ("just text", "should be a mapping"),
    ],
)
def test_a_wrong_net_yaml_is_named_with_its_key(tmp_path, text, message):
    (tmp_path / "net.yaml").write_text(text)
    with pytest.raises(ScenarioError, match=message):
        find_net(tmp_path)


def test_a_file_that_is_not_a_net_is_refused(tmp_path):
    file = tmp_path / "x.net.xml"
    file.write_text("<routes/>")
    with pytest.raises(ScenarioError, match=r"not a SUMO net \(its first element is <routes>"):
        find_net(file)


def test_degrees_are_refused_on_a_net_that_is_not_geo_referenced():
    with pytest.raises(ScenarioError, match="not geo-referenced"):
        load_geometry(find_net("urban_rsu")).to_xy(114.0, 22.5)


def test_geometry_is_read_once_and_again_after_the_file_changed(tmp_path):
    file = tmp_path / "copy.net.xml"
    file.write_bytes(find_net("remote_rsu").net_file.read_bytes())
    net = find_net(file)
    first = load_geometry(net)
    assert load_geometry(net) is first
    file.write_bytes(find_net("urban_rsu").net_file.read_bytes())
    assert set(load_geometry(net).edges) != set(first.edges)


def test_sites_given_by_lane_or_degrees_lie_where_sumo_puts_them(tmp_path, sumo):
    from dataclasses import replace

    sites = tmp_path / "sites.add.xml"
    sites.write_text(
        '<additional><poi id="a" lane="binhe_e2_1" pos="120.5" posLat="-7"/>'
        '<poi id="b" lon="114.0500" lat="22.5330"/>'
        '<poly id="c" type="building" geo="true" shape="114.05,22.53 114.051,22.53 114.051,22.531"/>'
        "</additional>"
    )
    net = replace(find_net("shenzhen_futian"), additional_files=(Path(sites),))
    geometry = load_geometry(net)
    live = sumo(net)
    for poi in geometry.pois:
        assert live.poi.getPosition(poi.id) == pytest.approx((poi.x, poi.y), abs=0.02)
    np.testing.assert_allclose(live.polygon.getShape("c"), geometry.polygons[0].shape, atol=0.02)


def test_comments_are_stripped_and_the_rest_is_kept():
    assert strip_comments('<?xml version="1.0"?>\n<!-- a\nb -->\n\n<net>\n<!--c--></net>\n') == (
        '<?xml version="1.0"?>\n\n<net>\n</net>\n'
    )
