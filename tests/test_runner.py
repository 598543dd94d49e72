"""Whole runs: the same bytes whatever carries them, replay, and every way in which a run can be cut short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cosim
from cosim.errors import RecordingError, ScenarioError
from cosim.recording import compare_runs, digest, load_run
from cosim.runner import RunOptions, RunResult, replay, resume, run

PLUGIN = Path(__file__).parent / "dawdling_agent.py"
SHORT = ("warmup=2 s", "duration=26 s", "traffic.inflow.rate=900 veh/h")


def go(
    out: Path, *settings: str, scenario: str = "highway_350vph", seed: int = 0, **options: Any
) -> RunResult:
    options = {"inline": True, **options}
    result = run(scenario, RunOptions(out=out, **options), seed=seed, overrides=[*SHORT, *settings])
    assert result.error is None
    assert result.status == "completed"
    return result


# -- the same seed gives the same bytes --


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return go(tmp_path_factory.mktemp("first") / "run", agents=("common.random",))


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
@pytest.mark.parametrize("inline", [True, False])
def test_backends_and_agent_processes_change_no_byte(
    first: RunResult, backend: str, inline: bool, tmp_path: Path
) -> None:
    again = go(tmp_path / "run", backend=backend, inline=inline, agents=("common.random",))
    assert compare_runs(first.dir, again.dir) == []
    assert digest(first.dir) == digest(again.dir)
    assert first.metrics == again.metrics


def test_a_run_in_another_process_started_by_the_command_line_has_the_same_bytes(
    first: RunResult, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "cosim", "run", "highway_350vph", "--inline", "--json"]
    command += ["--agent", "common.random", "--out", str(tmp_path / "run")]
    command += [part for setting in SHORT for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["metrics"] == first.metrics
    assert digest(tmp_path / "run") == digest(first.dir)


def test_another_seed_gives_another_run(first: RunResult, tmp_path: Path) -> None:
    other = go(tmp_path / "run", seed=1, agents=("common.random",))
    assert digest(other.dir) != digest(first.dir)


def test_two_policies_on_one_seed_meet_the_same_demand(first: RunResult, tmp_path: Path) -> None:
    other = go(tmp_path / "run", agents=("common.keep_lane",))

    def arrivals(result: RunResult) -> list[Any]:
        events = load_run(result.dir).events
        kept = events.filter(events["kind"].is_in(["departure", "blocked"]))
        # When a blocked entry becomes free depends on the traffic; that it is due, and when, does not.
        return sorted(kept.group_by("id").min()["id", "t_us"].rows())

    assert arrivals(first) == arrivals(other)
    assert len(arrivals(first)) > 15
    assert digest(first.dir) != digest(other.dir)


# -- replay --


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_a_replay_without_agents_has_the_same_bytes(first: RunResult, backend: str, tmp_path: Path) -> None:
    again = replay(first.dir, RunOptions(out=tmp_path / "run", backend=backend))
    assert again.status == "completed"
    assert compare_runs(first.dir, again.dir) == []
    assert digest(again.dir) == digest(first.dir)
    assert load_run(again.dir).manifest["replay_of"] == str(first.dir)


@pytest.mark.parametrize(
    "settings",
    [
        ("tasks.driving.agent=common.human",),
        ("tasks.driving.actions=continuous", "tasks.driving.agent=common.random"),
        ("tasks.driving.every=300 ms", "record.vehicles=20 ms"),
        ("tasks=null",),
        ("traffic.inflow.cav_share=0", "tasks.driving.agent=common.human"),
        ("tasks.driving.agent=test.dawdle",),
    ],
)
def test_every_kind_of_run_can_be_replayed(settings: tuple[str, ...], tmp_path: Path) -> None:
    one = go(tmp_path / "a", "duration=13 s", *settings, plugins=(str(PLUGIN),))
    two = replay(one.dir, RunOptions(out=tmp_path / "b"))
    assert compare_runs(one.dir, two.dir) == []
    assert digest(one.dir) == digest(two.dir)


def test_a_run_whose_actions_were_not_recorded_cannot_be_replayed(tmp_path: Path) -> None:
    one = go(tmp_path / "a", "duration=3 s", "record.commands=false")
    with pytest.raises(RecordingError, match=r"not recorded \(record\.commands: false\)"):
        replay(one.dir, RunOptions(out=tmp_path / "b"))


def test_a_replay_that_does_not_fit_says_when(first: RunResult, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    subprocess.run(["cp", "-r", str(first.dir), str(changed)], check=True)
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["scenario"]["seed"] = 7
    (changed / "manifest.json").write_text(json.dumps(manifest))
    result = replay(changed, RunOptions(out=tmp_path / "b"))
    assert result.status == "failed"
    assert isinstance(result.error, RecordingError)
    assert "does not repeat the recorded run at" in str(result.error)


def test_a_complete_run_is_not_resumed(first: RunResult) -> None:
    with pytest.raises(RecordingError, match="the run is complete"):
        resume(first.dir, RunOptions(inline=True))


def test_a_seed_must_be_one(tmp_path: Path) -> None:
    for seed in (-1, 2**63):
        with pytest.raises(ScenarioError, match=rf"seed {seed}: must be a whole number"):
            run("highway_350vph", RunOptions(out=tmp_path / "run"), seed=seed)
    assert not (tmp_path / "run").exists()


def test_the_largest_seed_runs(tmp_path: Path) -> None:
    go(tmp_path / "run", "duration=1 s", seed=2**63 - 1)


def test_a_defect_in_a_task_keeps_its_traceback_and_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cosim.tasks.driving import DrivingTask

    def broken(self: Any, *_: Any) -> None:
        raise ZeroDivisionError("by nobody")

    monkeypatch.setattr(DrivingTask, "settle", broken)
    with pytest.raises(ZeroDivisionError):
        go(tmp_path / "run")
    found = load_run(tmp_path / "run")
    assert found.status == "failed"
    assert found.summary["error"] == "ZeroDivisionError: by nobody"
    monkeypatch.undo()
    go(tmp_path / "next", "duration=1 s")  # SUMO was closed


# -- SUMO's own outputs --

OUTPUTS = ("fcd", "tripinfo", "ssm", "collisions", "summary", "statistics", "lanechange", "vehroute")
OUTPUTS += ("emission", "queue", "netstate")


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_sumos_outputs_are_complete_xml_in_the_run_directory(backend: str, tmp_path: Path) -> None:
    settings = [f"traffic.outputs.{name}=true" for name in OUTPUTS]
    result = go(tmp_path / "run", *settings, backend=backend)
    assert digest(result.dir)
    for name in OUTPUTS:
        file = result.dir / "sumo" / f"{name}.xml"
        root = ET.parse(file).getroot()
        assert len(root) > 0 or name == "collisions", name
    frames = ET.parse(result.dir / "sumo" / "fcd.xml").getroot().findall("timestep")
    assert len(frames) == 280
    vehicles = load_run(result.dir).vehicles
    last = frames[269].findall("vehicle")  # SUMO's 26.9 s is our 27 s
    ours = vehicles.filter(vehicles["t_us"] == 27_000_000)
    assert {v.attrib["id"]: float(v.attrib["speed"]) for v in last} == {
        i: pytest.approx(v, abs=0.006) for i, v in ours["id", "speed"].rows()
    }


def test_outputs_do_not_change_the_run(first: RunResult, tmp_path: Path) -> None:
    with_outputs = go(
        tmp_path / "run", "traffic.outputs.fcd=true", "traffic.outputs.ssm=true", agents=("common.random",)
    )
    assert compare_runs(first.dir, with_outputs.dir) == []


# -- runs that are cut short --


class Child:
    """``cosim run`` in a process of its own, held at 15 s by its agent."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.out = folder / "run"
        self.hold = folder / "hold"
        self.hold.touch()
        command = [sys.executable, "-m", "cosim", "run", "highway_350vph", "--out", str(self.out)]
        command += ["--plugin", str(PLUGIN), "--agent", "test.dawdle"]
        for setting in (*SHORT, "tasks.driving.deadline=60 s"):
            command += ["--set", setting]
        self.process = subprocess.Popen(
            [*command, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "HOLD": str(self.hold)},
        )

    def wait_for_hold(self) -> int:
        """Wait until the run stands at 15 s; return the agent's process number."""
        reached = Path(f"{self.hold}.reached")
        ends = time.monotonic() + 60
        while not (reached.exists() and reached.read_text()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < ends
            time.sleep(0.02)
        return int(reached.read_text())

    def go_on(self) -> None:
        self.hold.unlink(missing_ok=True)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    started: list[Child] = []

    def start(*more: str) -> Child:
        started.append(Child(tmp_path, *more))
        return started[-1]

    yield start
    for one in started:
        one.go_on()
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the disturbed ones would have been."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    settings = ("tasks.driving.deadline=60 s",)
    return go(out, *settings, agents=("test.dawdle",), plugins=(str(PLUGIN),)).dir


def gone(pid: int) -> bool:
    """Whether a process ends within a few seconds."""
    for _ in range(300):
        try:
            if "zombie" in Path(f"/proc/{pid}/status").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def check_readable(out: Path, status: str, before: Path) -> None:
    found = load_run(out)
    assert found.status == status
    whole = load_run(before)
    for table in ("steps", "vehicles", "events", "commands", "actions", "notes"):
        mine, theirs = found.tables[table], whole.tables[table]
        assert len(mine) > 0
        assert mine["t_us"].max() <= 15_000_000
        assert mine.equals(theirs[: len(mine)])
    assert found.steps["t_us"].max() >= 10_000_000


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_a_run_tidily_and_it_can_be_resumed(
    sent: signal.Signals, child: Callable[..., Child], undisturbed: Path
) -> None:
    one = child(
        "--backend", "traci" if sent == signal.SIGTERM else "libsumo", "--set", "traffic.outputs.fcd=true"
    )
    agent = one.wait_for_hold()
    if sent == signal.SIGINT:
        os.killpg(one.process.pid, sent)  # as a terminal does
    else:
        one.process.send_signal(sent)
    time.sleep(0.3)
    one.go_on()  # the agent is given time to finish its answer
    code, out, err = one.end()
    assert code == 130
    assert "interrupted" in out + err
    assert "Traceback" not in err
    assert gone(agent)
    check_readable(one.out, "interrupted", undisturbed)
    ET.parse(one.out / "sumo" / "fcd.xml")
    result = resume(one.out, RunOptions(inline=True, plugins=(str(PLUGIN),)))
    assert result.status == "completed"
    assert compare_runs(undisturbed, one.out) == []
    assert digest(undisturbed) == digest(one.out)


def test_a_run_that_was_killed_is_readable_and_resumes_to_the_same_bytes(
    child: Callable[..., Child], undisturbed: Path, tmp_path: Path
) -> None:
    one = child()
    agent = one.wait_for_hold()
    os.kill(one.process.pid, signal.SIGKILL)
    assert one.end()[0] == -signal.SIGKILL
    one.go_on()
    assert gone(agent)
    check_readable(one.out, "killed", undisturbed)
    command = [
        sys.executable,
        "-m",
        "cosim",
        "run",
        "--resume",
        str(one.out),
        "--plugin",
        str(PLUGIN),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["status"] == "completed"
    assert compare_runs(undisturbed, one.out) == []
    assert digest(undisturbed) == digest(one.out)
    manifest = load_run(one.out).manifest
    assert manifest["agents"] == {"driving": "test.dawdle"}
    assert len(manifest["resumed"]) == 1


def test_a_killed_run_without_recorded_actions_resumes_too(
    child: Callable[..., Child], undisturbed: Path
) -> None:
    one = child("--set", "record.commands=false")
    one.wait_for_hold()
    os.kill(one.process.pid, signal.SIGKILL)
    one.end()
    one.go_on()
    result = resume(one.out, RunOptions(inline=True, plugins=(str(PLUGIN),)))
    assert result.status == "completed"
    assert result.metrics == load_run(undisturbed).metrics
    assert load_run(one.out).vehicles.equals(load_run(undisturbed).vehicles)


def test_a_killed_agent_ends_the_run_with_4_and_its_last_words(
    child: Callable[..., Child], undisturbed: Path
) -> None:
    one = child("--json")
    os.kill(one.wait_for_hold(), signal.SIGKILL)
    code, out, err = one.end()
    assert code == 4
    assert err.count("\n") == 1
    assert err.startswith(
        "error: agent 'test.dawdle' of task 'driving' was killed by signal SIGKILL at t = 15 s"
    )
    said = json.loads(out)
    assert said["status"] == "failed"
    assert said["error"] in err
    check_readable(one.out, "failed", undisturbed)
    assert load_run(one.out).summary["error"] == said["error"]


def test_an_agent_that_does_not_answer_in_time_ends_the_run_with_4(child: Callable[..., Child]) -> None:
    one = child("--set", "tasks.driving.deadline=500 ms")
    code, _, err = one.end()
    assert code == 4
    assert "did not answer within 0.5 s at t = 15 s" in err
    assert "Traceback" not in err
    assert gone(int(Path(f"{one.hold}.reached").read_text()))


def test_a_killed_sumo_ends_the_run_with_3_and_everything_recorded_is_kept(
    child: Callable[..., Child], undisturbed: Path
) -> None:
    one = child("--backend", "traci")
    agent = one.wait_for_hold()
    children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text().split()
    sumo = [int(p) for p in children if "sumo" in Path(f"/proc/{p}/comm").read_text()]
    assert len(sumo) == 1
    os.kill(sumo[0], signal.SIGKILL)
    one.go_on()
    code, _, err = one.end()
    assert code == 3
    assert err.count("\n") == 1
    assert err.startswith("error: SUMO failed at 15")
    assert gone(agent)
    check_readable(one.out, "failed", undisturbed)


def test_a_living_run_is_neither_resumed_nor_overwritten(child: Callable[..., Child]) -> None:
    one = child()
    one.wait_for_hold()
    assert load_run(one.out).status == "running"
    with pytest.raises(RecordingError, match="another process is writing this run"):
        resume(one.out, RunOptions(inline=True, plugins=(str(PLUGIN),)))
    with pytest.raises(RecordingError, match="not empty"):
        go(one.out, "duration=1 s")
    one.go_on()
    assert one.end()[0] == 0
    assert load_run(one.out).status == "completed"


def test_the_packages_front_door_runs_and_reads(tmp_path: Path) -> None:
    result = cosim.run(
        "highway_150vph", RunOptions(out=tmp_path / "run", inline=True), overrides=["duration=2 s"]
    )
    assert cosim.load_run(result.dir).status == "completed"
