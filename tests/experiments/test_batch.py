"""Batches against real SUMO: failures are rows, any width gives the same bytes, a kill loses only what was running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from poisoned_agents import DIES_AT, RAISES_AT
from polars.testing import assert_frame_equal

from cosim import load_run
from cosim.errors import RecordingError, ScenarioError
from cosim.experiments import BatchOptions, BatchResult, batch, batch_worker, read_grid
from cosim.experiments.batch_worker import perform, unpack
from cosim.recording import digest
from cosim.recording.files import is_locked

HERE = Path(__file__).resolve().parent
PLUGIN = str(HERE / "poisoned_agents.py")
SHORT = ["warmup=1 s", "duration=2 s,3 s"]
"""Two axes of which one has two values: with six seeds, twelve runs."""
SEEDS = "0:6"
RUNS, POISONED = 12, 4


def short_batch(out: Path, jobs: int) -> BatchResult:
    chosen = BatchOptions(jobs=jobs, out=out, plugins=(PLUGIN,))
    return batch("highway_350vph", chosen, seeds=SEEDS, overrides=SHORT, agents=["poisoned.keep"])


def table_bytes(folder: Path) -> tuple[bytes, bytes]:
    """The tables without wall times."""
    frame = pl.read_parquet(folder / "results.parquet").drop("wall_s")
    lines = (folder / "results.csv").read_text().splitlines()
    return (frame.write_csv() + str(frame.schema)).encode(), "\n".join(
        line.rpartition(",")[0] for line in lines
    ).encode()


def assert_same_results(one: Path, other: Path) -> None:
    assert table_bytes(one) == table_bytes(other)
    assert (one / "summary.csv").read_bytes() == (other / "summary.csv").read_bytes()
    for run, status in pl.read_parquet(one / "results.parquet").select("run", "status").iter_rows():
        if status == "completed":
            assert digest(one / "runs" / run) == digest(other / "runs" / run)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> BatchResult:
    """The poisoned grid, one run at a time."""
    return short_batch(tmp_path_factory.mktemp("batch") / "alone", jobs=1)


def test_a_run_that_fails_or_dies_is_one_row_with_its_error_and_the_others_go_on(alone):
    assert alone.status == "completed"
    assert len(alone.results) == RUNS
    assert alone.failed == POISONED
    errors = dict(alone.results.filter(pl.col("duration") == "3 s").select("seed", "error").iter_rows())
    assert errors[DIES_AT] == "the worker process was killed by signal SIGKILL"
    assert "ValueError: I was told to (" in errors[RAISES_AT]
    assert [seed for seed, error in errors.items() if error] == [RAISES_AT, DIES_AT]


def test_rows_stand_in_the_order_of_the_grid_and_hold_what_the_runs_say(alone):
    frame = pl.read_parquet(alone.dir / "results.parquet")
    assert_frame_equal(frame, alone.results)
    assert frame["run"].to_list() == [cell.name for cell in alone.grid.cells]
    assert frame.columns[:8] == ["run", "scenario", "agent", "warmup", "duration", "seed", "status", "error"]
    assert frame.columns[-1] == "wall_s"
    for row in frame.filter(pl.col("status") == "completed").iter_rows(named=True):
        run = load_run(alone.dir / "runs" / row["run"])
        assert run.manifest["seed"] == row["seed"]
        assert {name: row[name] for name in run.metrics} == run.metrics
        totals = run.summary["tasks"]["driving"]
        assert row["driving.vehicles_left"] == totals["vehicles_left"]


def test_the_summary_is_the_mean_of_the_completed_runs_of_each_group(alone):
    summary = pl.read_csv(alone.dir / "summary.csv")
    rows = summary.filter((pl.col("metric") == "driving.decisions") & (pl.col("duration") == "3 s"))
    assert rows["mean"].to_list() == [40.0]
    assert rows.select("n", "runs", "failed").row(0) == (4, 4, 2)


def test_two_at_a_time_give_the_same_bytes_as_one(alone, tmp_path):
    assert_same_results(alone.dir, short_batch(tmp_path / "two", jobs=2).dir)


def test_ray_gives_the_same_bytes_as_processes(alone, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (pip install ray)")
    out = tmp_path / "ray"
    process = started([*arguments(out), "--jobs", "2", "--engine", "ray", "--json"], tmp_path)
    said, complaints = process.communicate(timeout=120)
    assert process.returncode == 1, complaints
    assert json.loads(said)["failed"] == POISONED
    assert_same_results(alone.dir, out)


def test_ray_that_is_not_installed_is_one_line_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with pytest.raises(
        ScenarioError, match=r"^engine ray: Ray is not installed; install it with: pip install ray$"
    ):
        batch("highway_350vph", BatchOptions(engine="ray", out=tmp_path / "out"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "somewhere", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_one_line_at_once(address, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with pytest.raises(ScenarioError, match=f"^--ray-address {address}: "):
        batch("highway_350vph", BatchOptions(engine="ray", ray_address=address, out=tmp_path / "out"))


def test_a_batch_gives_what_single_runs_give(alone, tmp_path):
    from cosim import RunOptions, run

    cell = alone.grid.cells[0]
    options = RunOptions(agents=cell.group.agents, inline=True, out=tmp_path / "run", plugins=(PLUGIN,))
    run(cell.group.scenario, options, seed=cell.seed)
    assert digest(tmp_path / "run") == digest(alone.dir / "runs" / cell.name)


def request_of(alone: BatchResult, tmp_path: Path) -> dict[str, Any]:
    """What a worker is asked for the first run, on a machine that does not see the batch's folder."""
    cell = alone.grid.cells[0]
    return {
        "run": cell.name,
        "batch": str(tmp_path / "not here"),
        "id": "another",
        "scenario": cell.group.scenario.resolved(),
        "origin": "",
        "seed": cell.seed,
        "agents": list(cell.group.agents),
        "command": [],
    }


def test_a_node_that_does_not_see_the_batch_s_folder_sends_its_run_back(alone, tmp_path):
    cell = alone.grid.cells[0]
    outcome, files = perform(request_of(alone, tmp_path), lambda share: None)
    assert outcome["status"] == "completed"
    assert files is not None
    assert not (tmp_path / "not here").exists()
    unpack(files, tmp_path / "runs")
    assert digest(tmp_path / "runs" / cell.name) == digest(alone.dir / "runs" / cell.name)


@pytest.mark.parametrize(("when", "ends"), [("_make_room", "interrupted"), ("_measured", "completed")])
def test_a_worker_told_to_stop_outside_its_simulation_still_says_how_the_run_ended(
    when, ends, alone, monkeypatch, tmp_path
):
    does = getattr(batch_worker, when)

    def stopped(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return does(*arguments)

    monkeypatch.setattr(batch_worker, when, stopped)
    before = signal.getsignal(signal.SIGTERM)
    outcome, _ = perform(request_of(alone, tmp_path), lambda share: None)
    assert outcome["status"] == ends
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_module_that_registers_an_agent_is_imported_by_the_workers():
    (group,) = read_grid("highway_350vph", agents=["poisoned.keep"]).groups
    assert group.agents == ("driving=poisoned.keep",)
    assert "poisoned_agents" in {
        Path(p).stem for p in read_grid("highway_350vph", agents=["poisoned.keep"]).plugins
    }


def started(arguments: list[str], folder: Path, *, slow: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from cosim.cli import main; main()", "batch", *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | ({"POISONED_SLEEP": "0.01"} if slow else {}),
    )


def arguments(out: Path) -> list[str]:
    settings = [x for s in SHORT for x in ("--set", s)]
    return [
        "highway_350vph",
        "--seeds",
        SEEDS,
        *settings,
        "--agent",
        "poisoned.keep",
        "--plugin",
        PLUGIN,
        "--out",
        str(out),
    ]


def wait_for_rows(journal: Path, rows: int, process: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 60
    while not journal.is_file() or journal.read_bytes().count(b"\n") < rows:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_killed_batch_leaves_no_process_and_resumes_to_the_same_bytes(alone, tmp_path):
    out = tmp_path / "killed"
    process = started([*arguments(out), "--jobs", "2"], tmp_path, slow=True)
    wait_for_rows(out / "rows.jsonl", 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with open(out / "rows.jsonl", "ab") as journal:
        journal.write(b'{"run": "half a li')  # what a power cut may leave
    finished = (out / "rows.jsonl").read_bytes().count(b"\n")
    ends = time.monotonic() + 5
    while any(is_locked(log) for log in out.glob("runs/*/log.txt")):
        assert time.monotonic() < ends, "a worker outlives its batch"
        time.sleep(0.05)
    before = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/summary.json")}

    result = batch((), BatchOptions(jobs=2, out=out, resume=True))

    assert result.status == "completed"
    assert len(result.results) == RUNS
    again = [p for p, stamp in before.items() if p.stat().st_mtime_ns != stamp]
    assert len(before) - len(again) >= finished - POISONED
    assert len(again) <= 2  # those under way, at most
    assert_same_results(alone.dir, out)


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "stopped"
    process = started([*arguments(out), "--jobs", "2"], tmp_path, slow=True)
    wait_for_rows(out / "rows.jsonl", 3, process)
    os.killpg(process.pid, signal.SIGINT)
    said, complaints = process.communicate(timeout=30)
    assert process.returncode == 130, complaints
    assert "Traceback" not in complaints
    assert f"missing (cosim batch --resume {out})" in said
    rows = pl.read_parquet(out / "results.parquet")
    assert 3 <= len(rows) < RUNS
    assert set(rows["status"]) <= {"completed", "failed"}
    # A run that was stopped before its manifest was written has left nothing but its folder.
    begun = [p for p in out.glob("runs/*") if (p / "manifest.json").is_file()]
    unfinished = [p for p in begun if p.name not in set(rows["run"])]
    assert {load_run(p).status for p in unfinished} <= {"interrupted", "killed"}
    resumed = started(["--resume", str(out), "--json"], tmp_path)
    said, complaints = resumed.communicate(timeout=60)
    assert resumed.returncode == 1, complaints  # the poisoned ones failed
    told = json.loads(said)
    assert (told["runs"], told["completed"], told["failed"], told["missing"]) == (
        RUNS,
        RUNS - POISONED,
        POISONED,
        0,
    )


def test_a_finished_batch_is_resumed_at_once_and_failed_runs_only_if_asked_to(alone, tmp_path):
    out = tmp_path / "again"
    first = batch(
        "highway_350vph", BatchOptions(out=out), seeds="0:2", overrides=["duration=1 s", "warmup=0 s"]
    )
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/summary.json")}
    second = batch((), BatchOptions(out=out, resume=True))
    assert_frame_equal(first.results, second.results)
    assert stamps == {p: p.stat().st_mtime_ns for p in out.glob("runs/*/summary.json")}


def test_a_resumed_batch_may_have_more_seeds_but_not_fewer(tmp_path):
    out = tmp_path / "grows"
    short = {"duration": "1 s", "warmup": "0 s"}
    few = batch("highway_350vph", BatchOptions(jobs=1, out=out), seeds="0:2", overrides=short)
    more = batch("highway_350vph", BatchOptions(jobs=1, out=out, resume=True), seeds="0:3", overrides=short)
    assert_frame_equal(more.results[:2], few.results)
    assert len(more.results) == 3
    assert len(json.loads((out / "grid.json").read_text())["resumed"]) == 1
    with pytest.raises(ScenarioError, match=r"is another batch: its run .* is not in this grid"):
        batch("highway_350vph", BatchOptions(out=out, resume=True), seeds="1:3", overrides=short)


def test_failed_runs_are_tried_again_only_if_asked_to(tmp_path):
    out = tmp_path / "retry"
    chosen = BatchOptions(jobs=1, out=out, plugins=(PLUGIN,))
    first = batch(
        "highway_350vph",
        chosen,
        seeds=[0, RAISES_AT],
        overrides=["duration=2 s", "warmup=0 s"],
        agents=["poisoned.keep"],
        record="none",
    )
    assert first.failed == 1
    lines = (out / "rows.jsonl").read_bytes()
    batch((), BatchOptions(out=out, resume=True))
    assert (out / "rows.jsonl").read_bytes() == lines
    retried = batch((), BatchOptions(jobs=1, out=out, resume=True, retry=True))
    assert retried.failed == 1
    assert (out / "rows.jsonl").read_bytes() != lines
    assert not list(out.glob("runs/*/vehicles"))


def test_nothing_runs_and_nothing_is_written_if_one_cell_is_wrong(tmp_path):
    done = started(
        ["highway_350vph", "--set", "traffic.inflow.cav_share=0.5,1.5", "--out", str(tmp_path / "out")],
        tmp_path,
    )
    said, complaints = done.communicate(timeout=30)
    assert done.returncode == 2
    assert said == ""
    assert complaints.startswith("error: --set traffic.inflow.cav_share=1.5: traffic.inflow")
    assert complaints.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_refused(alone, tmp_path):
    with pytest.raises(RecordingError, match="not empty; go on with it: --resume"):
        batch("highway_350vph", BatchOptions(out=alone.dir))
    with pytest.raises(ScenarioError, match=r"is a batch; to go on with it: --resume"):
        batch(alone.dir)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RecordingError, match="not empty; give a new or empty folder"):
        batch("highway_350vph", BatchOptions(out=tmp_path))


def test_a_batch_that_is_running_is_not_resumed(tmp_path):
    out = tmp_path / "busy"
    process = started([*arguments(out), "--jobs", "1"], tmp_path, slow=True)
    try:
        wait_for_rows(out / "rows.jsonl", 1, process)
        with pytest.raises(RecordingError, match="another process is running this batch"):
            batch((), BatchOptions(out=out, resume=True))
    finally:
        process.kill()
        process.communicate()


def test_a_batch_whose_weights_changed_is_not_resumed(tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    out = tmp_path / "edited"
    settings = ["duration=1 s", "warmup=0 s"]
    batch(
        "highway_350vph",
        BatchOptions(jobs=1, out=out),
        overrides=settings,
        agents=[f"common.random:{weights}"],
    )
    weights.write_bytes(b"two")
    with pytest.raises(ScenarioError, match=r"w.safetensors: was changed since .* began"):
        batch((), BatchOptions(out=out, resume=True))


def test_every_run_of_a_small_batch_knows_the_command_and_the_progress(tmp_path):
    seen = []
    chosen = BatchOptions(jobs=1, out=tmp_path / "p", progress=seen.append, command=("cosim", "batch"))
    result = batch("highway_350vph", chosen, seeds="0:3", overrides=["duration=1 s", "warmup=0 s"])
    assert (seen[0].runs, seen[0].finished) == (3, 0)
    assert (seen[-1].runs, seen[-1].finished, seen[-1].failed) == (3, 3, 0)
    assert [s.finished for s in seen] == sorted(s.finished for s in seen)
    run = load_run(result.dir / "runs" / result.results["run"][0])
    assert run.manifest["command"] == ["cosim", "batch"]
