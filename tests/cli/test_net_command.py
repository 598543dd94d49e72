"""``cosim net build|import|show`` as typed by a user."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cosim.cli.net import app
from cosim.errors import ScenarioError
from cosim.traffic.nets import find_net

OSM = Path(__file__).parents[1] / "traffic" / "crossroads.osm.xml"


def cosim_net(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_build_check_finds_the_shipped_nets_up_to_date():
    said = cosim_net("build", "highway_trifurcation", "remote_rsu", "--check")
    assert said.splitlines() == [
        "highway_trifurcation: as its source gives",
        "remote_rsu: as its source gives",
    ]


def test_build_check_names_what_differs_and_build_mends_it(tmp_path):
    folder = tmp_path / "remote_rsu"
    shutil.copytree(find_net("remote_rsu").folder, folder)
    (folder / "remote_rsu.net.xml").write_text("<net/>")
    with pytest.raises(ScenarioError, match=r"remote_rsu\.net\.xml: not what the source gives"):
        cosim_net("build", str(folder), "--check")
    cosim_net("build", str(folder))
    cosim_net("build", str(folder), "--check")
    assert find_net(folder).sha256() == find_net("remote_rsu").sha256()


def test_an_imported_net_is_found_by_name_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = cosim_net("import", str(OSM), "--name", "crossroads", "--utm-zone", "50")
    assert "crossroads: 6 edges" in said
    assert "buildings: 1" in said
    assert find_net("crossroads").folder == tmp_path / "sumo_networks" / "crossroads"


def test_show_writes_a_png_named_after_net_and_variant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cosim_net("show", "highway_trifurcation", "--variant", "bi") == "highway_trifurcation.bi.png\n"
    assert (tmp_path / "highway_trifurcation.bi.png").read_bytes().startswith(b"\x89PNG")


def test_show_refuses_another_kind_of_file(tmp_path):
    with pytest.raises(ScenarioError, match=r"should end in \.png, not 'map.svg'"):
        cosim_net("show", "urban_rsu", "--out", str(tmp_path / "map.svg"))


def test_show_draws_the_coverage_of_a_scenario(tmp_path):
    out = tmp_path / "cell.png"
    said = cosim_net("show", "--scenario", "d2d_cell", "--spacing", "40 m", "--out", str(out))
    assert said.strip() == str(out)
    plain = tmp_path / "plain.png"
    cosim_net("show", "urban_rsu", "--out", str(plain))
    assert out.stat().st_size > plain.stat().st_size


def test_show_says_when_a_scenario_has_no_network():
    with pytest.raises(ScenarioError, match="has no network"):
        cosim_net("show", "--scenario", "highway_350vph")
