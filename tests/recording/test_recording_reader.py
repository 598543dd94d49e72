"""What was written is read back, from finished, killed and resumed runs alike."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_recording_writer import drive, writer

from cosim.clock import US
from cosim.errors import RecordingError
from cosim.recording import RunWriter, compare_runs, digest, load_run, read_actions

CHILD = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_recording_writer import drive, writer
run = writer(Path(sys.argv[1])); drive(run, 45); print("ready", flush=True)
begin = 45
while True:
    drive(run, begin + 10, begin_us=begin * 1_000_000); begin += 10
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of 45 s that nothing disturbed."""
    run = writer(tmp_path_factory.mktemp("whole") / "run")
    drive(run, 45)
    run.finish("completed", {"speed": 1.5}, {"driving": {"n": 4}})
    return run.dir


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A run whose process was killed with SIGKILL while it was writing."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    command = [sys.executable, "-c", CHILD, str(folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert select.select([child.stdout], [], [], 60)[0]
        child.stdout.readline()
        assert load_run(folder).status == "running"
        with pytest.raises(RecordingError, match="another process is writing"):
            RunWriter.resume(folder)
        os.kill(child.pid, signal.SIGKILL)
    return folder


def test_a_killed_run_reads_up_to_its_last_part(killed, whole):
    (killed / "vehicles" / "part-999999.parquet.tmp").write_bytes(b"PAR1 half a part")
    run = load_run(killed)
    assert run.status == "killed"
    assert run.metrics == {}
    undisturbed = load_run(whole)
    assert run.vehicles["t_us"].max() >= 40 * US
    for table in ("vehicles", "actions"):
        first = run.tables[table].filter(pl.col("t_us") <= 40 * US)
        assert first.equals(undisturbed.tables[table].filter(pl.col("t_us") <= 40 * US))


def test_a_finished_run_gives_its_frames_and_summary(whole):
    run = load_run(whole)
    assert (run.status, run.metrics, run.scenario) == ("completed", {"speed": 1.5}, {"name": "demo"})
    assert run.summary["tasks"] == {"driving": {"n": 4}}
    expected = [t for t in range(US // 2, 45 * US + 1, US // 2) for _ in range((t // US + 1) % 4)]
    assert run.vehicles["t_us"].to_list() == expected
    assert np.array_equal(run.vehicles.filter(pl.col("id") == "veh.0")["x"], np.sin(sorted(set(expected))))
    assert run.tables.scan("vehicles").select(pl.len()).collect().item() == len(expected)


def test_a_table_without_rows_is_an_empty_frame_of_its_schema(tmp_path):
    run = writer(tmp_path / "run")
    run.table("platoons", {"t_us": pl.Int64, "size": pl.Float64})
    run.tick(10 * US)
    read = load_run(run.dir)
    run.close()
    assert read.links.is_empty()
    assert read.links.schema["serving"] == pl.Boolean
    assert read.tables["platoons"].schema == {"t_us": pl.Int64, "size": pl.Float64}
    assert "trucks" not in read.tables
    with pytest.raises(KeyError, match="did you mean 'platoons'"):
        read.tables["platoon"]


def test_a_run_directory_may_have_signs_in_its_name_that_a_shell_expands(tmp_path):
    run = writer(tmp_path / "a[1]*{x} t_us=5")
    drive(run, 5)
    run.finish("completed", {}, {})
    assert len(load_run(run.dir).vehicles)


@pytest.mark.parametrize("missing", ["folder", "manifest"])
def test_what_is_no_run_directory_is_named(tmp_path, missing):
    folder = tmp_path / "nothing" if missing == "folder" else tmp_path
    for read in (load_run, digest, read_actions, RunWriter.resume):
        with pytest.raises(RecordingError, match=r"no such folder|manifest.json is missing"):
            read(folder)


def test_a_damaged_part_is_named_in_one_line(tmp_path):
    run = writer(tmp_path / "run")
    drive(run, 5)
    run.finish("completed", {}, {})
    (run.dir / "vehicles" / "part-000000.parquet").write_bytes(b"not parquet")
    with pytest.raises(RecordingError, match="vehicles: cannot be read"):
        _ = load_run(run.dir).vehicles


def test_recorded_actions_come_back_batch_by_batch_in_order(tmp_path):
    run = writer(tmp_path / "run")
    table = run.table("actions")
    given = []
    rng = np.random.default_rng(0)
    for k in range(1, 41):
        for role, width in (("rsu", 2), ("vehicle", 1)):
            n = int(rng.integers(0, 4))
            ids, values, masked = tuple("abc"[:n]), rng.normal(size=(n, width)), rng.random(n) < 0.5
            table.append(t_us=k * US, task="pricing", role=role, id=ids, value=values, masked=masked)
            if n:
                given.append((k * US, role, ids, values.tolist(), masked.tolist()))
        run.tick(k * US)
    run.finish("completed", {}, {})
    back = [(a.t_us, a.role, a.ids, a.values.tolist(), a.masked.tolist()) for a in read_actions(run.dir)]
    assert back == given
    assert [a.t_us for a in read_actions(run.dir, until_us=7 * US)] == [g[0] for g in given if g[0] <= 7 * US]


@pytest.mark.parametrize("status", ["interrupted", "failed", None])
def test_a_resumed_run_has_the_bytes_of_one_that_was_never_stopped(tmp_path, whole, status):
    run = writer(tmp_path / "run")
    drive(run, 26)
    if status:
        run.finish(status, {}, {}, error="stopped")
        assert load_run(run.dir).summary["error"] == "stopped"
    run.close()
    again = RunWriter.resume(run.dir)
    assert again.resumed_us == 20 * US
    assert load_run(run.dir).vehicles["t_us"].max() <= 20 * US
    drive(again, 45)
    again.finish("completed", {"speed": 1.5}, {"driving": {"n": 4}})
    assert digest(run.dir) == digest(whole)
    assert compare_runs(run.dir, whole) == []
    assert load_run(run.dir).manifest["resumed"][0]["t_us"] == 20 * US


def test_a_really_killed_run_resumes_to_the_same_bytes(tmp_path, killed):
    again = RunWriter.resume(killed)
    end = again.resumed_us // US + 15
    drive(again, end)
    again.finish("completed", {}, {})
    straight = writer(tmp_path / "run")
    drive(straight, end)
    straight.finish("completed", {}, {})
    assert digest(killed) == digest(straight.dir)
    assert not list(killed.rglob("*.tmp"))


def test_a_cut_that_some_tables_missed_is_taken_back_on_resuming(tmp_path, whole):
    run = writer(tmp_path / "run")
    drive(run, 25)
    run.close()
    # As if the process had died between the renames of the cut at 20 s.
    (run.dir / "vehicles" / "part-000001.parquet").unlink()
    (run.dir / "progress.json").write_text(json.dumps({"cut": 0, "t_us": 10 * US, "tables": {}}))
    again = RunWriter.resume(run.dir)
    assert again.resumed_us == 10 * US
    drive(again, 45)
    again.finish("completed", {"speed": 1.5}, {"driving": {"n": 4}})
    assert digest(run.dir) == digest(whole)


def test_stopping_again_while_catching_up_keeps_what_was_recorded(tmp_path):
    run = writer(tmp_path / "run")
    drive(run, 35)
    run.close()
    again = RunWriter.resume(run.dir)
    drive(again, 14)
    again.finish("interrupted", {}, {})
    assert load_run(run.dir).vehicles["t_us"].max() == 30 * US
    with RunWriter.resume(run.dir) as third:
        assert third.resumed_us == 30 * US


def test_a_resumed_run_that_does_not_repeat_the_record_is_refused(tmp_path):
    run = writer(tmp_path / "run")
    drive(run, 25)
    run.close()
    again = RunWriter.resume(run.dir)
    with pytest.raises(RecordingError, match=r"part-000000.parquet: the resumed run does not repeat"):
        drive(again, 25, step_us=US)
    again.close()


def test_a_complete_run_is_not_resumed(whole):
    with pytest.raises(RecordingError, match="the run is complete"):
        RunWriter.resume(whole)


def test_a_difference_between_runs_is_named_by_table_row_and_column(tmp_path, whole):
    run = writer(tmp_path / "run")
    vehicles = run.table("vehicles")
    drive(run, 45)
    vehicles.append(t_us=46 * US, id="late", type="cav", edge="in", lane=0)
    run.finish("completed", {"speed": 1.25}, {"driving": {"n": 4}})
    lines = compare_runs(whole, run.dir)
    assert len(lines) == 2
    assert lines[0].startswith("vehicles: ")
    assert "rows against" in lines[0]
    assert "'late'" in lines[0]
    assert lines[1] == "metrics.speed: 1.5 against 1.25"
    other = writer(tmp_path / "other")
    for value in (1.0, 2.0):
        other.table("events").append(t_us=5, kind="migration", id="a", value=value)
    other.finish("completed", {}, {})
    another = writer(tmp_path / "another")
    for value in (1.0, None):
        another.table("events").append(t_us=5, kind="migration", id="a", value=value)
    another.finish("completed", {}, {})
    assert compare_runs(other.dir, another.dir) == ["events: row 1 (t_us 5, a): value 2.0 against None"]
    assert digest(other.dir) != digest(another.dir)
