"""``cosim trace`` as typed by a user."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cosim.cli.trace import app
from cosim.errors import ScenarioError
from cosim.recording import load_run

sys.path.insert(0, str(Path(__file__).parents[1] / "traffic"))
from traces_world import NET, SAMPLE, needs_real_material, real_roads, write_traces


def cosim_trace(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def taxis(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_traces(Path("taxis.csv"))


def test_convert_writes_a_table_and_prints_what_was_dropped(taxis):
    lines = taxis.read_text().splitlines()
    taxis.write_text("\n".join([*lines, lines[3], "a,0,0,2014-10-22 09:00:00,3", "a,114.05", ""]))
    said = cosim_trace("convert", taxis, "--out", "clean")
    assert f"taxis.csv: {len(lines) + 2} rows, {len(lines) - 1} kept, 3 dropped; 2 vehicles" in said
    for reason in ("fields", "outside", "duplicate"):
        assert f"{reason}: " in said
    report = json.loads(Path("clean/report.json").read_text())
    assert report["dropped"] == {"fields": 1, "outside": 1, "duplicate": 1}
    assert report["examples"]["fields"] == [{"line": len(lines) + 3, "text": "a,114.05"}]
    same = json.loads(cosim_trace("convert", taxis, "--out", "clean.csv", "--json"))
    assert same["dropped"] == report["dropped"]
    assert same["files"] == ["clean.csv", "clean.report.json"]
    with pytest.raises(ScenarioError, match="--out clean: the folder is not empty"):
        cosim_trace("convert", taxis, "--out", "clean")


def test_the_steps_one_by_one_and_all_at_once_give_the_same_run(taxis):
    cosim_trace("convert", taxis, "--out", "clean")
    said = cosim_trace("match", "clean", "--net", NET, "--out", "matched")
    assert f"2 trips from 2 segments on {NET}" in said
    assert "distance from their place" in said
    one = json.loads(cosim_trace("replay", "matched", "--out", "one", "--json"))
    two = json.loads(cosim_trace("replay", taxis, "--net", NET, "--out", "two", "--json"))
    assert one["status"] == two["status"] == "completed"
    assert one["metrics"] == two["metrics"]
    assert (one["metrics"]["replay_vehicles"], one["metrics"]["replay_lost"]) == (2, 0)
    assert one["metrics"]["replay_error_max"] < 2.1
    hashes = load_run("one").manifest["hashes"]
    assert {Path(name).name for name in hashes} >= {"matched.json", "trips.csv", "fixes.csv"}
    with pytest.raises(ScenarioError, match=r"taxis.matched is there already"):
        cosim_trace("replay", taxis, "--net", NET)


def test_replay_may_leave_the_driving_to_sumo(taxis):
    cosim_trace("match", taxis, "--net", NET, "--out", "matched")
    done = json.loads(
        cosim_trace("replay", "matched", "--mode", "routes", "--duration", "60 s", "--out", "run", "--json")
    )
    assert done["status"] == "completed"
    assert done["metrics"] == {}


def test_show_draws_matched_traces(taxis, tmp_path):
    cosim_trace("match", taxis, "--net", NET, "--out", "matched")
    whole, one = tmp_path / "whole.png", tmp_path / "one.png"
    assert cosim_trace("show", "matched", "--out", whole).strip() == str(whole)
    cosim_trace("show", "matched", "--vehicle", "a", "--out", one)
    assert whole.read_bytes().startswith(b"\x89PNG")
    assert whole.read_bytes() != one.read_bytes()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["convert", "taxis.csv", "--out", "x.xls"], "must be a folder, or a file ending in"),
        (["convert", "none.csv", "--out", "x"], "none.csv: cannot be read: No such file"),
        (["convert", "taxis.csv", "--out", "x", "--box", "1,2,3"], "--box 1,2,3: must be W,S,E,N in degrees"),
        (["convert", "taxis.csv", "--out", "x", "--box", "114,23,113,22"], "west < east and south < north"),
        (["convert", "taxis.csv", "--out", "x", "--gap", "5 km"], "--gap 5 km: .*is a length, not a time"),
        (["convert", "taxis.csv", "--out", "x", "--max-speed", "fast"], "--max-speed fast: "),
        (["convert", "taxis.csv", "--out", "x", "--date", "today"], "--date today: must be a day"),
        (["convert", "taxis.csv", "--out", "x", "--columns", "long=lat"], "column 'lat'|lon"),
        (["convert", "taxis.csv", "--out", "x", "--columns", "speeed=speed"], "unknown quantity 'speeed' .did you"),
        (["convert", "taxis.csv", "--out", "x", "--columns", "lon=x"], "column 'x': there is no such column"),
        (["convert", "taxis.csv", "--out", "x", "--columns", "id,time,lon"], "lat missing; needed"),
        (["match", "taxis.csv", "--net", "shenzen_futian", "--out", "x"], "did you mean 'shenzhen_futian'"),
        (["match", "taxis.csv", "--net", "urban_rsu", "--out", "x"], "not geo-referenced"),
        (["match", "none", "--net", NET, "--out", "x"], "none: no such file"),
        (["match", "taxis.csv", "--net", NET, "--out", "x", "--radius", "3 s"], "--radius 3 s: .*not a length"),
        (["replay", "taxis.csv"], "taxis.csv: is not matched; say the net"),
        (["replay", "nowhere"], "nowhere: no such file or folder"),
        (["replay", "taxis.csv", "--net", NET, "--backend", "sumo"], "must be libsumo or traci"),
        (["show", "nowhere"], "no matched traces 'nowhere'"),
        (["synthesise", "--out", "taxis.csv"], "--out taxis.csv: the file exists already"),
        (["synthesise", "--out", "x.csv", "--net", "urban_rsu"], "not geo-referenced"),
        (["synthesise", "--out", "x.csv", "--vehicles", "0"], "at least one vehicle"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(taxis, words, complaint):
    with pytest.raises(ScenarioError, match=complaint) as caught:
        cosim_trace(*words)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@needs_real_material
def test_with_the_real_file_and_real_roads_one_command_does_it_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = real_roads().folder
    done = json.loads(cosim_trace("replay", SAMPLE, "--net", net, "--gap", "600 s", "--out", "run", "--json"))
    assert done["status"] == "completed"
    assert (done["metrics"]["replay_vehicles"], done["metrics"]["replay_lost"]) == (1, 0)
    assert done["metrics"]["replay_error_max"] <= 2.1
    vehicles = load_run("run").vehicles
    assert len(vehicles) == 1218
