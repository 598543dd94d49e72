"""A run directory is made once, written in whole parts, and says what it was made with."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cosim.clock import US
from cosim.errors import RecordingError
from cosim.recording import RunWriter, describe_environment, digest, load_run, sha256_file
from cosim.recording.manifest import git_state


def writer(folder: Path, **manifest: object) -> RunWriter:
    return RunWriter.create(folder, name="demo", seed=3, manifest={"scenario": {"name": "demo"}, **manifest})


def drive(run: RunWriter, until_s: float, step_us: int = 500_000, begin_us: int = 0) -> None:
    """Append rows that depend on the instant alone, as a simulation of one seed would."""
    vehicles, actions = run.table("vehicles"), run.table("actions")
    for t_us in range(begin_us + step_us, round(until_s * US) + 1, step_us):
        n = (t_us // US + 1) % 4
        ids = tuple(f"veh.{i}" for i in range(n))
        x = np.sin(np.arange(n) + t_us)
        vehicles.append(t_us=t_us, id=ids, type="cav", edge="in", lane=0, s=x, x=x, y=x, speed=x, accel=x)
        actions.append(
            t_us=t_us, task="driving", role="cav", id=ids, value=np.arange(n), masked=np.zeros(n, bool)
        )
        run.tick(t_us)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parts_end_with_the_instant_of_the_cut(tmp_path):
    run = writer(tmp_path / "run")
    steps = run.table("steps")
    for t_us in range(0, 25 * US + 1, US):
        steps.append(t_us=t_us, n_vehicles=1, n_cav=0, mean_speed=1.0)
        run.tick(t_us)
    run.finish("completed", {}, {})
    parts = sorted((tmp_path / "run" / "steps").iterdir())
    assert [part.name for part in parts] == [f"part-00000{k}.parquet" for k in range(3)]
    seconds = [[t // US for t in pl.read_parquet(part)["t_us"]] for part in parts]
    assert seconds == [list(range(11)), list(range(11, 21)), list(range(21, 26))]


def test_a_step_over_the_end_of_a_part_belongs_to_it_whole(tmp_path):
    run = writer(tmp_path / "run")
    steps = run.table("steps")
    for t_us in range(3 * US, 22 * US, 3 * US):
        steps.append(t_us=t_us, n_vehicles=1, n_cav=0, mean_speed=1.0)
        run.tick(t_us)
    run.finish("completed", {}, {})
    parts = sorted((tmp_path / "run" / "steps").iterdir())
    assert [[t // US for t in pl.read_parquet(part)["t_us"]] for part in parts] == [
        [3, 6, 9, 12],
        [15, 18, 21],
    ]


def test_an_empty_part_is_not_written_and_the_next_keeps_its_number(tmp_path):
    run = writer(tmp_path / "run")
    events = run.table("events")
    for t_us in range(US, 40 * US, US):
        if t_us == 25 * US:
            events.append(t_us=t_us, kind="departure", id="a")
        run.tick(t_us)
    run.finish("completed", {}, {})
    assert names(tmp_path / "run" / "events") == ["part-000002.parquet"]


def test_equal_appends_give_equal_bytes_in_other_processes_with_other_thread_counts(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]);"
        "import test_recording_writer as t; from pathlib import Path;"
        "run = t.writer(Path(sys.argv[1])); t.drive(run, 25); run.finish('completed', {'a': 0.1}, {})"
    )
    digests = []
    for threads in ("1", "3"):
        folder = tmp_path / threads
        environment = {**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": threads}
        subprocess.run(
            [sys.executable, "-c", code, folder, Path(__file__).parent], env=environment, check=True
        )
        digests.append(digest(folder))
    run = writer(tmp_path / "here")
    drive(run, 25)
    run.finish("completed", {"a": 0.1}, {})
    assert digests == [digest(tmp_path / "here")] * 2


def test_the_bytes_do_not_depend_on_how_rows_were_batched(tmp_path):
    for name in ("one", "two"):
        run = writer(tmp_path / name)
        table = run.table("steps")
        if name == "one":
            table.append(
                t_us=np.arange(6), n_vehicles=1, n_cav=np.arange(6, dtype=np.int32), mean_speed=np.nan
            )
        else:
            for k in range(6):
                table.append(t_us=k, n_vehicles=[1], n_cav=k, mean_speed=None)
        run.finish("completed", {}, {})
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_a_summary_holds_null_for_nan_and_is_the_same_for_another_order_of_keys(tmp_path):
    metrics = {
        "speed": np.float64(0.1) + np.float64(0.2),
        "ttc": math.nan,
        "jerk": -math.inf,
        "n": np.int64(3),
    }
    for name, given in (("a", metrics), ("b", dict(reversed(metrics.items())))):
        run = writer(tmp_path / name)
        run.finish("completed", given, {"driving": {"hist": np.array([1.0, np.nan])}})
    first = (tmp_path / "a" / "summary.json").read_bytes()
    assert first == (tmp_path / "b" / "summary.json").read_bytes()
    assert json.loads(first) == {
        "status": "completed",
        "metrics": {"speed": 0.30000000000000004, "ttc": None, "jerk": None, "n": 3},
        "tasks": {"driving": {"hist": [1.0, None]}},
        "error": None,
    }


def test_the_manifest_is_there_at_once_with_scenario_versions_and_command(tmp_path):
    scenario = {"name": "demo", "deadline": math.inf, "net": Path("nets/a.net.xml")}
    run = writer(tmp_path / "run", scenario=scenario, hashes={"a.net.xml": "00"})
    manifest = load_run(tmp_path / "run").manifest
    run.finish("completed", {}, {})
    assert manifest["scenario"] == {"name": "demo", "deadline": "inf", "net": "nets/a.net.xml"}
    assert (manifest["seed"], manifest["name"], manifest["hashes"]) == (3, "demo", {"a.net.xml": "00"})
    assert manifest["packages"]["numpy"] == np.__version__
    assert manifest["packages"]["libsumo"].startswith("1.28")
    assert manifest["command"] == sys.argv


def test_describing_the_environment_imports_no_learning_library():
    code = (
        "import sys; from cosim.recording import describe_environment; describe_environment();"
        "print([m for m in ('torch', 'polars', 'pyarrow', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_git_state_is_commit_and_dirtiness_and_absent_outside_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "f"], [*who, "commit", "-q", "-m", "x"]):
        (tmp_path / "f").write_text("1")
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    head = subprocess.run(
        ["git", "-C", tmp_path, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert git_state(tmp_path) == {
        "root": str(tmp_path.resolve()),
        "commit": head.stdout.strip(),
        "dirty": False,
    }
    (tmp_path / "f").write_text("2")
    assert git_state(tmp_path)["dirty"]
    monkeypatch.chdir(tmp_path)
    assert describe_environment()["git"]["folder"]["commit"] == head.stdout.strip()


def test_a_file_hash_is_what_hashlib_says_of_its_bytes(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_a_folder_with_anything_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecordingError, match=r"not empty \(it holds notes.txt\)") as caught:
        writer(tmp_path)
    assert caught.value.exit_code == 2
    assert names(tmp_path) == ["notes.txt"]


def test_an_empty_folder_given_is_used_and_a_file_is_refused(tmp_path):
    writer(tmp_path / "a" / "b").close()
    (tmp_path / "empty").mkdir()
    writer(tmp_path / "empty").close()
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="is a file"):
        writer(tmp_path / "file")


def test_the_default_folder_is_named_after_scenario_seed_and_time_and_never_used_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = []
    for _ in range(3):
        run = RunWriter.create(name="high way/350", seed=7, manifest={})
        folders.append(run.dir)
        run.close()
    assert len(set(folders)) == 3
    for folder in folders:
        assert folder.parent == tmp_path / "runs" / "high-way-350"
        assert folder.name.startswith("s7-2")
        assert folder.is_absolute()


def _take(folder: str | None, barrier, out) -> None:
    barrier.wait()
    try:
        run = RunWriter.create(folder, name="demo", seed=0, manifest={})
        out.put(str(run.dir))
    except RecordingError:
        out.put(None)


@pytest.mark.parametrize("given", [True, False])
def test_processes_starting_together_never_share_a_folder(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    context = multiprocessing.get_context("spawn")
    barrier, out = context.Barrier(4), context.Queue()
    folder = str(tmp_path / "one") if given else None
    workers = [context.Process(target=_take, args=(folder, barrier, out)) for _ in range(4)]
    for worker in workers:
        worker.start()
    taken = [out.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    owned = [name for name in taken if name]
    assert len(owned) == len(set(owned)) == (1 if given else 4)


def test_the_log_carries_simulated_time_and_ends_with_the_run(tmp_path):
    level_before = logging.getLogger("cosim").level
    run = writer(tmp_path / "run")
    logger = logging.getLogger("cosim.traffic")
    run.tick(12_300_000)
    logger.info("teleport of %s", "veh.3")
    run.finish("completed", {}, {})
    logger.warning("too late")
    lines = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\dZ +12\.300 s +info +traffic: teleport of veh\.3", lines[0])
    assert logging.getLogger("cosim").level == level_before


def test_tables_may_be_widened_until_they_have_rows(tmp_path):
    run = writer(tmp_path / "run")
    run.table("steps")
    steps = run.table("steps", {"t_us": pl.Int64, "queue": pl.Float64})
    assert run.table("steps") is steps
    steps.append(t_us=0, n_vehicles=1, n_cav=1, mean_speed=2.0, queue=3.0)
    run.table("steps", {"t_us": "Int64", "queue": "Float64"})
    with pytest.raises(ValueError, match="too late"):
        run.table("steps", {"t_us": "Int64", "more": "Float64"})
    with pytest.raises(ValueError, match="is of type Float64"):
        run.table("steps", {"t_us": "Int64", "queue": "Int64"})
    with pytest.raises(ValueError, match="needs a schema"):
        run.table("platoons")
    run.finish("completed", {}, {})
    assert load_run(run.dir).steps.row(0) == (0, 1, 1, 2.0, 3.0)


def test_wall_times_are_in_the_manifest_only(tmp_path):
    run = writer(tmp_path / "run")
    run.finish("completed", {}, {})
    assert load_run(run.dir).manifest["wall_s"] >= 0
    assert set(json.loads((run.dir / "summary.json").read_text())) == {"status", "metrics", "tasks", "error"}


def test_a_disk_that_refuses_is_one_line(tmp_path):
    run = writer(tmp_path / "run")
    run.table("steps").append(t_us=0, n_vehicles=1, n_cav=1, mean_speed=2.0)
    (run.dir / "steps").write_text("in the way")
    with pytest.raises(RecordingError, match="steps: cannot be made"):
        run.finish("completed", {}, {})
