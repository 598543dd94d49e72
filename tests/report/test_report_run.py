"""`cosim report` of a run: what stands on the page, whatever became of the run."""

from __future__ import annotations

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import cosim
from cosim.cli import app
from cosim.errors import RecordingError
from cosim.recording import digest
from cosim.report import write_report


def test_the_page_holds_metrics_in_print_units_manifest_and_events(highway, highway_page, read_page):
    page = read_page(highway_page)
    run = cosim.load_run(highway)
    assert page.path == highway / "report" / "report.html"
    assert f"average velocity {run.metrics['avg_velocity'] * 3.6:.4g} km/h avg_velocity" in page.words
    manifest = run.manifest
    for fact in (manifest["created"], manifest["packages"]["eclipse-sumo"], *manifest["hashes"].values()):
        assert str(fact) in page.words
    assert manifest["git"]["cosim"]["commit"] in page.words
    assert "driving: common.rule_based" in page.words
    departures = run.events.filter(pl.col("kind") == "departure")
    first = departures["t_us"].min() / 1e6
    after = (departures["t_us"] > 5_000_000).sum()
    assert f"departure {len(departures)} {after} {first:g}" in page.words
    assert "completed: the run reached its end" in page.words


def test_its_figures_are_whole_pictures_and_lie_beside_it_as_png_and_svg(highway_page, read_page):
    page = read_page(highway_page)
    names = {path.name for path in (page.path.parent / "figures").iterdir()}
    for stem in ("space_time", "strips", "positions_and_speeds", "speeds", "map_speed", "time_series_1"):
        assert {f"{stem}.png", f"{stem}.svg"} <= names
    images = page.all("img")
    assert len(images) == len(names) / 2
    for attributes in images:
        image = Image.open(BytesIO(base64.b64decode(str(attributes["src"]).partition(",")[2])))
        image.load()
        assert image.size == (int(attributes["width"]), int(attributes["height"]))
        assert "highway_350vph, seed 0 (highway)" in image.text["Description"]


def test_the_same_run_gives_the_same_page(highway, highway_page):
    first = highway_page.read_bytes()
    assert write_report(highway).read_bytes() == first


def test_a_report_changes_nothing_of_the_run(bare):
    before = digest(bare)
    write_report(bare)
    assert digest(bare) == before
    assert "report" not in cosim.load_run(bare).tables


def test_a_killed_run_has_a_report_of_what_was_written(copied, read_page):
    (copied / "summary.json").unlink()
    shutil.rmtree(copied / "steps")
    for part in sorted((copied / "vehicles").iterdir())[1:]:
        part.unlink()
    (copied / "log.txt").write_text("one\nthe last words\n")
    page = read_page(write_report(copied))
    assert "killed: the run ended without a summary" in page.words
    assert "This run has no metrics." in page.words
    assert "The end of log.txt: one the last words" in page.words
    assert (page.path.parent / "figures" / "space_time.png").is_file()


def test_a_run_killed_before_its_first_part_has_a_report(copied, read_page):
    (copied / "summary.json").unlink()
    (copied / "progress.json").unlink()
    for table in cosim.load_run(copied).tables:
        shutil.rmtree(copied / table, ignore_errors=True)
    page = read_page(write_report(copied))
    assert "No event was recorded." in page.words
    assert "No vehicles were recorded" in page.words
    assert [p.stem for p in sorted((page.path.parent / "figures").glob("*.png"))] == ["map"]


def test_the_error_of_a_failed_run_stands_on_top(tmp_path, short_run, read_page):
    folder = short_run(tmp_path / "failed", agent="tests.gives_up")
    page = read_page(write_report(folder))
    error = json.loads((folder / "summary.json").read_bytes())["error"]
    assert error
    assert f"failed: {error}" in page.words
    headings = [a["id"] for tag, a in page.tags if tag == "h2"]
    assert headings[:2] == ["last-words", "metrics"]


def test_a_run_that_recorded_nothing_but_events_has_a_report(bare, read_page):
    page = read_page(write_report(bare))
    assert "No vehicles were recorded" in page.words
    assert "km/h avg_velocity" in page.words
    assert "departure" in page.words


def test_what_users_wrote_is_text_and_never_markup(bare, read_page):
    manifest = json.loads((bare / "manifest.json").read_bytes())
    manifest["scenario"]["description"] = "<script>alert(1)</script> & $title"
    manifest["name"] = 'a"b<c>'
    (bare / "manifest.json").write_text(json.dumps(manifest))
    page = read_page(write_report(bare))
    assert "<script>alert(1)</script> & $title" in page.words
    assert 'a"b<c>, seed 0' in page.words


def test_a_net_that_is_not_the_runs_is_not_drawn(bare, read_page):
    manifest = json.loads((bare / "manifest.json").read_bytes())
    manifest["hashes"] = dict.fromkeys(manifest["hashes"], "0" * 64)
    (bare / "manifest.json").write_text(json.dumps(manifest))
    page = read_page(write_report(bare))
    assert "is not the net that the run was made with" in page.words
    assert not page.all("img")


def test_without_the_net_the_road_is_drawn_from_what_was_recorded(copied, read_page):
    manifest = json.loads((copied / "manifest.json").read_bytes())
    manifest["scenario"]["traffic"]["net"] = "no_such_net"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    page = read_page(write_report(copied))
    assert "there is no net 'no_such_net'" in page.words
    assert "edge highway_0 (" in page.words
    assert not (page.path.parent / "figures" / "map_speed.png").exists()


def test_a_run_with_a_network_has_distributions_and_maps_of_it(tmp_path, read_page):
    options = cosim.RunOptions(inline=True, out=tmp_path / "urban")
    result = cosim.run("urban_rsu", options, overrides=["warmup=10 s", "duration=20 s"])
    assert result.status == "completed"
    page = read_page(write_report(result.dir))
    names = {path.stem for path in (page.path.parent / "figures").glob("*.png")}
    assert {
        "map_speed",
        "map_sinr_db",
        "links_rate_down_rate_up",
        "links_rx_dbm",
        "job_latency",
        "table_servers",
    } <= names
    links = cosim.load_run(result.dir).links.filter(pl.col("serving") & (pl.col("t_us") > 10_000_000))
    alts = " ".join(str(image["alt"]) for image in page.all("img"))
    assert f"medians: received power {links['rx_dbm'].median():.4g} dBm." in alts
    assert f"mean uplink rate {result.metrics['mean_rate_up'] / 1e6:.4g} Mbit/s mean_rate_up" in page.words


def test_an_earlier_report_is_replaced_and_nothing_else(bare, tmp_path):
    out = tmp_path / "out"
    page = write_report(bare, out)
    (out / "notes.txt").write_text("mine")
    manifest = json.loads((bare / "manifest.json").read_bytes())
    manifest["scenario"]["traffic"]["net"] = "no_such_net"
    (bare / "manifest.json").write_text(json.dumps(manifest))
    assert (out / "figures" / "map.png").exists()
    assert write_report(bare, out) == page
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "figures").exists()
    (out / "report.json").unlink()
    with pytest.raises(RecordingError, match="holds files that are no report"):
        write_report(bare, out)
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="is a file"):
        write_report(bare, tmp_path / "file")


def test_a_report_never_removes_a_file_outside_its_folder(bare, tmp_path):
    out = tmp_path / "out"
    write_report(bare, out)
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (out / "report.json").write_text(json.dumps({"cosim_report": 1, "files": ["../precious.txt"]}))
    write_report(bare, out)
    assert precious.read_text() == "mine"


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(RecordingError, match="no such folder"):
        write_report(tmp_path / "nothing")
    with pytest.raises(RecordingError, match=r"neither a run \(manifest\.json\)"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_the_path_of_the_page(bare, tmp_path):
    done = CliRunner().invoke(app, ["report", str(bare), "--out", str(tmp_path / "here")])
    assert done.exit_code == 0
    assert Path(done.output.strip()) == tmp_path / "here" / "report.html"
    assert Path(done.output.strip()).is_file()


def test_the_package_can_be_called_like_the_command(bare, tmp_path):
    from cosim import report

    assert report(bare, tmp_path / "called").is_file()
