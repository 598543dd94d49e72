"""Space-time diagrams and bird's-eye strips: what is drawn is what was recorded."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_hex

from cosim.plots import lane_pieces, space_time, strips
from cosim.plots.style import TYPE_COLOURS


def samples(*rows):
    schema = {
        "t_us": pl.Int64,
        "id": pl.String,
        "type": pl.String,
        "edge": pl.String,
        "lane": pl.Int64,
        "s": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


KNOWN = samples(
    (1_000_000, "a", "cav", "e", 0, 10.0),
    (1_000_000, "b", "hdv", "e", 3, 100.0),
    (2_000_000, "a", "cav", "e", 0, 20.0),
    (2_000_000, "b", "hdv", "e", 3, 110.0),
    (3_000_000, "a", "cav", "e", 1, 30.0),  # changes lanes
    (3_000_000, "b", "hdv", "f", 0, 1.0),  # leaves the edge
    (4_000_000, "a", "cav", "e", 1, 40.0),
    (4_000_000, "b", "hdv", "f", 0, 2.0),
    (6_000_000, "b", "hdv", "e", 3, 5.0),  # comes back
)


def test_a_piece_ends_at_a_lane_change_and_at_an_absence():
    pieces = lane_pieces(KNOWN, "e", 250.0)
    assert [(p.vehicle, p.type, p.lane, len(p.points)) for p in pieces] == [
        ("a", "cav", 0, 2),
        ("a", "cav", 1, 2),
        ("b", "hdv", 3, 2),
        ("b", "hdv", 3, 1),
    ]


def test_lanes_lie_side_by_side_at_multiples_of_the_edge_length():
    pieces = lane_pieces(KNOWN, "e", 250.0)
    assert pieces[0].points.tolist() == [[10.0, 1.0], [20.0, 2.0]]
    assert pieces[1].points.tolist() == [[280.0, 3.0], [290.0, 4.0]]
    assert pieces[2].points.tolist() == [[850.0, 1.0], [860.0, 2.0]]


def test_the_order_of_rows_does_not_matter():
    shuffled = KNOWN.sample(fraction=1.0, shuffle=True, seed=3)
    for one, other in zip(lane_pieces(KNOWN, "e", 250.0), lane_pieces(shuffled, "e", 250.0), strict=True):
        assert one.vehicle == other.vehicle
        np.testing.assert_array_equal(one.points, other.points)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from("abc"), st.integers(0, 2)), unique_by=lambda r: r[:2]
    )
)
def test_every_sample_is_in_exactly_one_piece_of_its_vehicle_and_lane(rows):
    frame = samples(*((t * 100_000, v, "hdv", "e", lane, t + 0.5) for t, v, lane in rows))
    pieces = lane_pieces(frame, "e", 100.0)
    found = [(p.vehicle, p.lane, t) for p in pieces for t in p.points[:, 1]]
    assert sorted(found) == sorted((v, lane, t * 0.1) for t, v, lane in rows) or np.allclose(
        sorted(t for *_, t in found), sorted(t * 0.1 for t, *_ in rows)
    )
    assert sorted(f[:2] for f in found) == sorted((v, lane) for _, v, lane in rows)


def test_the_pieces_of_a_real_run_break_exactly_where_vehicles_change_lanes(highway):
    on = highway.vehicles.filter(pl.col("edge") == "highway_0")
    expected = 0
    for (_,), track in on.group_by("id"):
        lanes = track.sort("t_us")["lane"].to_list()
        expected += 1 + sum(a != b for a, b in itertools.pairwise(lanes))
    pieces = lane_pieces(highway.vehicles, "highway_0", 250.0)
    assert len(pieces) == expected > on["id"].n_unique()
    assert sum(len(p.points) for p in pieces) == len(on)
    for p in pieces:
        assert (p.points[:, 0] >= 250 * p.lane).all()
        assert (p.points[:, 0] <= 250 * (p.lane + 1)).all()
        assert (np.diff(p.points[:, 1]) > 0).all()


def test_the_diagram_spans_four_strips_of_the_edge_and_colours_by_type(highway):
    figure = space_time(
        highway.vehicles, "highway_0", length=250.0, lanes=4, window_s=(5.0, 25.0), runs=["r"]
    )
    (ax,) = figure.axes
    assert ax.get_xlim() == (0.0, 1000.0)
    assert ax.get_ylim() == (5.0, 25.0)
    assert [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2][-3:] == [
        250.0,
        500.0,
        750.0,
    ]
    collections = {c.get_label(): c for c in ax.collections if isinstance(c, LineCollection)}
    in_window = highway.vehicles.filter(pl.col("t_us").is_between(5_000_000, 25_000_000))
    assert set(collections) == set(in_window["type"].unique())
    for kind, lines in collections.items():
        assert to_hex(lines.get_colors()[0]).lower() == TYPE_COLOURS[kind].lower()
    drawn = sum(len(c.get_segments()) for c in collections.values())
    assert drawn == sum(len(p.points) > 1 for p in lane_pieces(in_window, "highway_0", 250.0))


def test_a_diagram_of_nothing_says_so():
    (ax,) = space_time(KNOWN.clear(), "e", length=250.0, lanes=2).axes
    assert "no vehicle was recorded here" in {text.get_text() for text in ax.texts}


def test_strips_show_vehicles_with_their_front_at_s_and_lane_0_at_the_bottom():
    figure = strips(KNOWN, "e", [1.0, 3.1], length=250.0, lanes=4, lane_width=3.0, bodies={"cav": (4.0, 2.0)})
    first, second = figure.axes
    assert "t = 1 s" in first.get_title("left")
    assert "t = 3 s" in second.get_title("left")
    boxes = {}
    for collection in (c for c in first.collections if isinstance(c, PatchCollection)):
        for path in collection.get_paths():
            low, high = path.get_extents().min, path.get_extents().max
            boxes[to_hex(collection.get_facecolor()[0]).lower()] = (*low, *high)
    assert boxes[TYPE_COLOURS["cav"].lower()] == pytest.approx((6.0, 0.5, 10.0, 2.5))
    assert boxes[TYPE_COLOURS["hdv"].lower()] == pytest.approx((95.0, 9.6, 100.0, 11.4))


def test_strips_of_a_real_run_show_every_vehicle_of_the_instant(highway):
    instants = [10.0, 20.0]
    figure = strips(highway.vehicles, "highway_0", instants, length=250.0, lanes=4)
    for ax, t in zip(figure.axes, instants, strict=True):
        drawn = sum(len(c.get_paths()) for c in ax.collections if isinstance(c, PatchCollection))
        then = highway.vehicles.filter((pl.col("t_us") == t * 1e6) & (pl.col("edge") == "highway_0"))
        assert drawn == len(then) > 0


def test_lane_changes_and_labelled_vehicles_are_drawn_on_top():
    figure = space_time(KNOWN, "e", length=250.0, lanes=4, changes=True, labelled={"a": "one"})
    ax = figure.axes[0]
    assert "lane change (1)" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "one" in [text.get_text() for text in ax.texts]
    ends = [
        line.tolist()
        for drawn in ax.collections
        if isinstance(drawn, LineCollection)
        for line in drawn.get_segments()
    ]
    assert [[20.0, 2.0], [280.0, 3.0]] in ends


def test_labels_of_strips_may_be_texts():
    figure = strips(KNOWN, "e", [1.0], length=250.0, lanes=4, labelled={"a": "one", "b": "two"})
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["one", "two"]
