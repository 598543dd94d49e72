"""The drawing behind `cosim net show`."""

from __future__ import annotations

import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.image import imread
from matplotlib.patches import Circle

from cosim.plots.net_map import Layer, draw_net, save_net_map
from cosim.traffic.nets import find_net, load_geometry

NETS = ("highway_trifurcation", "remote_rsu", "shenzhen_futian", "urban_rsu")


@pytest.mark.parametrize("name", NETS)
def test_every_lane_station_and_building_is_drawn(name):
    net = find_net(name)
    geometry = load_geometry(net)
    (axes,) = draw_net(net).axes
    lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert len(lines[0].get_segments()) == len(list(geometry.lanes()))
    polygons = [c for c in axes.collections if isinstance(c, PolyCollection) and c.zorder == Layer.BUILDINGS]
    assert len(polygons[0].get_paths()) == len(geometry.buildings())
    names = {text.get_text() for text in axes.texts}
    assert {station.id for station in geometry.stations()} <= names
    assert name in axes.get_title(loc="left")


def test_a_schematic_is_called_one_in_its_title():
    (axes,) = draw_net(find_net("shenzhen_futian")).axes
    assert "schematic" in axes.get_title(loc="left")


def test_lanes_are_drawn_to_scale_in_both_directions():
    (axes,) = draw_net(find_net("urban_rsu")).axes
    (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (100, 100)])
    assert x1 - x0 == pytest.approx(y1 - y0, rel=1e-6)


def test_the_same_net_gives_the_same_bytes(tmp_path):
    net = find_net("highway_trifurcation", "bi")
    first, second = (save_net_map(net, tmp_path / f"{k}" / "map.png").read_bytes() for k in range(2))
    assert first == second
    assert imread(tmp_path / "0" / "map.png").shape[1] == 1650


def test_overlays_are_drawn_on_the_net():
    seen = []

    def disc(axes, geometry):
        seen.append(geometry)
        axes.add_patch(Circle((100, 0), 20, zorder=Layer.COVERAGE))

    net = find_net("highway_trifurcation")
    (axes,) = draw_net(net, [disc], title="coverage").axes
    assert seen == [load_geometry(net)]
    assert len(axes.patches) == 1
    assert axes.get_title(loc="left") == "coverage"
