"""Projection, paths along routes, and map matching against routes that are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pyproj
import pytest
import sumolib
from traces_world import NET, ROUTES, SAMPLE, matched, needs_real_material, real_roads, write_traces

from cosim.errors import ScenarioError
from cosim.traffic.nets import find_net, load_geometry
from cosim.traffic.traces.cleaning import Rules, convert
from cosim.traffic.traces.matched import check_net, load_matched, match_to
from cosim.traffic.traces.matching import MatchCounts, match
from cosim.traffic.traces.paths import path_along
from cosim.traffic.traces.projection import UTM_50, check_projection
from cosim.traffic.traces.roads import RoadGraph
from cosim.traffic.traces.synthetic import synthesise


@pytest.fixture(scope="module")
def geometry():
    return load_geometry(find_net(NET))


# -- projection ---------------------------------------------------------------------------------------------------


def test_the_net_projects_as_utm_50_does_on_wgs_84_and_not_on_gcj_02(geometry):
    assert geometry.projection == UTM_50
    lon, lat = np.array([114.0439, 114.0681, 113.99]), np.array([22.5312, 22.5323, 22.53])
    utm_50 = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32650", always_xy=True)
    expected = np.stack(utm_50.transform(lon, lat), axis=-1)
    np.testing.assert_allclose(geometry.to_xy(lon, lat) - geometry.offset, expected, atol=1e-3)
    (west, _), (east, _) = geometry.to_xy(np.array([113.9999, 114.0439]), np.array([22.5312, 22.5312]))
    assert 4500 < east - west < 4560  # no jump at the zones' edge, 114 E


def test_a_net_by_epsg_code_or_without_projection_is_refused_with_the_string_that_works(tmp_path):
    text = find_net(NET).net_file.read_text()
    file = tmp_path / "coded.net.xml"
    file.write_text(text.replace(UTM_50, "EPSG:32650"))
    with pytest.raises(
        ScenarioError, match=r"projected by 'EPSG:32650', which libsumo .*'\+proj=utm \+zone=50"
    ):
        check_projection(find_net(str(file)))
    with pytest.raises(ScenarioError, match=r"not geo-referenced.*cosim net import MAP --utm-zone 50"):
        check_projection(find_net("urban_rsu"))


# -- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROUTES)
def test_a_path_is_connected_follows_lanes_and_has_the_length_that_sumolib_gives(geometry, name):
    edges = ROUTES[name]
    path = path_along(geometry, edges)
    steps = np.hypot(*np.diff(path.xy, axis=0).T)
    assert (np.diff(path.far) >= 0).all()
    assert steps[np.diff(path.far) == 0].max(initial=0.0) < 4.0  # lane changes: one lane's width each
    net = sumolib.net.readNet(str(find_net(NET).net_file), withInternal=True)
    assert path.length == pytest.approx(sumolib.route.getLength(net, list(edges)), rel=0.01)
    lanes = {lane.id: lane for edge in geometry.internal.values() for lane in edge.lanes}
    lanes |= {lane.id: lane for lane in geometry.lanes()}
    for start, edge, lane in zip(path.piece_from, path.piece_edge, path.piece_lane.tolist(), strict=True):
        point = path.points(np.array([start + 1e-6]))[0]
        shape = lanes[f"{edge}_{lane}"].shape
        assert sumolib.geomhelper.distancePointToPolygon(tuple(point), [tuple(p) for p in shape]) < 0.05


def test_edges_that_do_not_follow_each_other_are_refused(geometry):
    with pytest.raises(ScenarioError, match="'binhe_e1' does not lead to 'binhe_e3'"):
        path_along(geometry, ("binhe_e1", "binhe_e3"))
    with pytest.raises(ScenarioError, match="no edge 'binhe_e99'"):
        path_along(geometry, ("binhe_e99",))


def test_distances_along_the_roads_are_those_of_sumolib(geometry):
    graph = RoadGraph(geometry, turn_back=0.0)
    net = sumolib.net.readNet(str(find_net(NET).net_file), withInternal=True)
    random = np.random.default_rng(1)
    xy = random.uniform((800, 600), (2600, 2400), (12, 2))
    near = [candidates for candidates in graph.near(xy, 150.0) if len(candidates.edge)]
    assert len(near) > 6
    for one, other in pairwise(near):
        far = graph.between(one, other, 9000.0, 0.0)
        first, second = graph.ids[one.edge[0]], graph.ids[other.edge[0]]
        if first == second:
            continue
        _, cost = net.getShortestPath(
            net.getEdge(first), net.getEdge(second), includeFromToCost=True, withInternal=True
        )
        ours = far[0, 0] + one.at[0] + graph.length[other.edge[0]] - other.at[0]
        assert ours == pytest.approx(cost, abs=0.5)


# -- matching -------------------------------------------------------------------------------------------------------


def test_a_known_route_is_found_edge_by_edge_and_fixes_lie_where_they_were_driven(tmp_path):
    traces = matched(tmp_path)
    assert traces.trips["vehicle"].to_list() == ["a", "b"]
    for name, edges in traces.trips.select("vehicle", "edges").iter_rows():
        truth = ROUTES[name]
        assert tuple(edges) == truth[: len(edges)]
        assert len(edges) >= len(truth) - 1  # the last fix may lie before the last edge
    a = traces.fixes.filter(pl.col("trip") == 0)
    # 8 m/s, a fix every 30 s, rounded to 1e-4 degrees (up to 8 m) and with the lanes guessed.
    assert np.abs(np.diff(a["s"].to_numpy()) - 240.0).max() < 25.0
    assert traces.fixes["residual"].max() < 20.0


def test_matching_goes_both_ways_through_its_files(tmp_path):
    traces = matched(tmp_path)
    again = load_matched(traces.folder)
    assert again.trips.equals(traces.trips)
    assert again.fixes.equals(traces.fixes)
    assert traces.meta["counts"]["matched"] == traces.meta["counts"]["fixes"] == len(traces.fixes)
    for content, words in (("trip,time\n", "damaged"), ("", "damaged")):
        (traces.folder / "fixes.csv").write_text(content)
        with pytest.raises(ScenarioError, match=words):
            load_matched(traces.folder)


def test_a_lost_or_moved_fix_on_disk_is_noticed(tmp_path):
    traces = matched(tmp_path)
    file = traces.folder / "fixes.csv"
    lines = file.read_text().splitlines()
    for changed in (lines[:3] + lines[4:], [lines[0], lines[2], lines[1], *lines[3:]]):
        file.write_text("\n".join([*changed, ""]))
        with pytest.raises(ScenarioError, match="damaged matched traces"):
            load_matched(traces.folder)


def test_traces_of_another_net_are_refused(tmp_path):
    traces = matched(tmp_path)
    with pytest.raises(ScenarioError, match=r"matched to net 'shenzhen_futian', not to 'urban_rsu'"):
        check_net(traces, find_net("urban_rsu"))


def test_a_standing_vehicle_whose_fixes_wander_is_not_sent_round_the_block(geometry, tmp_path):
    file = write_traces(tmp_path / "taxis.csv", routes={"a": ROUTES["a"]})
    lines = file.read_text().splitlines()
    name, lon, lat, time, _ = lines[4].split(",")
    minute, second = time[-5:].split(":")
    standing = []
    for k, (east, north) in enumerate(((1, 0), (-1, 0), (0, 1), (-1, 1))):
        moment = f"{time[:-5]}{minute}:{int(second) + 5 * (k + 1):02d}"
        standing.append(f"{name},{float(lon) + east * 1e-4:.4f},{float(lat) + north * 1e-4:.4f},{moment},0.0")
    later = [line.replace("08:0", "08:1") for line in lines[5:]]
    file.write_text("\n".join([*lines[:5], *standing, *later, ""]))
    (trip,) = match(convert(file, rules=Rules(gap=3600)).table, geometry)
    assert trip.edges == ROUTES["a"][: len(trip.edges)]
    at = trip.s[3:8]
    assert np.ptp(at) < 25.0


def test_fixes_off_all_roads_are_left_out_at_the_ends_and_replayed_off_the_road_between(geometry, tmp_path):
    file = write_traces(tmp_path / "taxis.csv", routes={"a": ROUTES["a"]})
    lines = file.read_text().splitlines()

    def aside(line):
        name, lon, lat, *rest = line.split(",")
        return ",".join([name, lon, f"{float(lat) - 0.0020:.4f}", *rest])

    file.write_text("\n".join([lines[0], aside(lines[1]), *lines[2:4], aside(lines[4]), *lines[5:], ""]))
    counts = MatchCounts()
    (trip,) = match(convert(file).table, geometry, counts=counts)
    assert (counts.no_road, counts.off_road) == (1, 1)
    assert counts.fixes == counts.matched + counts.off_road + counts.no_road + counts.alone
    assert (trip.residual > 50).tolist() == [False, False, True] + [False] * (len(trip.rows) - 3)


def test_a_segment_that_cannot_be_driven_through_is_cut(geometry):
    rows = [
        ("x", 0, 0, 114.0450, 22.5312),
        ("x", 0, 30, 114.0470, 22.5313),
        ("x", 0, 35, 114.0650, 22.5410),
        ("x", 0, 65, 114.0645, 22.5418),
    ]
    table = pl.DataFrame(rows, schema=["vehicle", "segment", "t", "lon", "lat"], orient="row")
    table = table.with_columns(
        pl.datetime(2014, 10, 22).dt.offset_by(pl.col("t").cast(pl.String) + "s").alias("time")
    )
    counts = MatchCounts()
    trips = list(match(table, geometry, counts=counts))
    assert counts.cuts == 1
    assert all(len(trip.rows) == 2 for trip in trips)
    assert counts.fixes == counts.matched + counts.off_road + counts.no_road + counts.alone


def test_nothing_to_match_is_one_line(tmp_path):
    file = tmp_path / "far.csv"
    file.write_text("id,lon,lat,time\n1,114.3,22.6,2014-10-22 08:00:00\n1,114.3,22.601,2014-10-22 08:00:30\n")
    with pytest.raises(
        ScenarioError, match=r"far.csv: no trip could be matched to net 'shenzhen_futian': 2 of 2 fixes"
    ):
        match_to(convert(file), find_net(NET), tmp_path / "out")


# -- the look-alike -------------------------------------------------------------------------------------------------


def test_look_alike_traces_repeat_say_that_they_are_synthetic_and_lead_back_to_the_routes_driven(tmp_path):
    net = find_net(NET)
    made = synthesise(net, vehicles=2, duration=420, seed=3, lead=60)
    assert made == synthesise(net, vehicles=2, duration=420, seed=3, lead=60)
    file = tmp_path / "taxis.csv"
    file.write_text(made.text)
    fixes = convert(file)
    assert all(name.startswith("synthetic-") for name in fixes.table["vehicle"].unique())
    assert (fixes.table["time"].dt.year() == 2000).all()
    found = {}
    for trip in match(fixes.table, load_geometry(net)):
        found.setdefault(fixes.table["vehicle"][int(trip.rows[0])], []).extend(trip.edges)
    for name, edges in found.items():
        assert len(set(edges) & set(made.driven[name])) >= 0.7 * len(set(edges))


def test_the_committed_look_alike_has_the_quirks_of_the_release():
    folder = find_net(NET).folder.parents[1] / "data" / "shenzhen_synthetic"
    assert sum(file.stat().st_size for file in folder.rglob("*")) < 500_000
    fixes = convert(folder / "synthetic_taxis.csv")
    assert set(fixes.report.dropped) == {"outside", "duplicate", "jump"}
    gaps = (
        fixes.table.select(pl.col("time").diff().over("vehicle").dt.total_seconds()).to_series().drop_nulls()
    )
    assert 50 <= gaps.median() <= 60
    assert gaps.min() >= 7
    assert gaps.max() > 300
    lon = fixes.table["lon"].to_numpy()
    assert np.abs(lon * 1e4 - np.round(lon * 1e4)).max() < 0.05  # 1e-4 degrees, to single precision
    traces = load_matched("shenzhen_synthetic/matched")
    check_net(traces, find_net(NET))
    assert traces.meta["residual_m"]["median"] < 6


# -- the real sample ------------------------------------------------------------------------------------------------


@needs_real_material
def test_the_real_sample_is_matched_to_the_real_roads(tmp_path):
    net = real_roads()
    fixes = convert(SAMPLE, rules=Rules(gap=600.0))
    assert fixes.report.as_dict()["dropped"] == {}
    traces = match_to(fixes, net, tmp_path / "matched")
    assert len(traces.trips) == 1
    edges = traces.trips["edges"][0].to_list()
    assert 50 <= len(edges) <= 66
    geometry = load_geometry(net)
    assert all(following in geometry.successors(edge) for edge, following in pairwise(edges))
    assert len(traces.fixes) == 14
    assert traces.meta["residual_m"]["max"] <= 25.0
