"""``cosim train`` as typed by a user, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cosim.cli import app
from cosim.errors import ScenarioError

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "my_learner.py"
COSIM = [sys.executable, "-c", "from cosim.cli import main; main()"]
TRAIN = [
    *("train", "highway_350vph_cav100", "--agent", "mine.table", "--plugin", str(EXAMPLE), "--workers", "1"),
    *("--engine", "inline", "--set", "duration=40 s", "--set", "warmup=0", "--eval-seeds", "1"),
    *("--set-training", "leg=3", "--checkpoint-every", "1"),
]


def cosim(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COSIM, *arguments], capture_output=True, text=True, cwd=folder, timeout=120)


def test_the_documented_learner_trains_and_its_policy_is_found_by_name(tmp_path: Path) -> None:
    done = cosim(*TRAIN, "--steps", "720", "--seed", "4", "--json", "--install", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["status"], said["steps"], said["error"]) == ("completed", 720, None)
    assert Path(said["policy"]) == Path("data/policies/mine/table-highway_350vph_cav100-s4.safetensors")
    assert Path(said["dir"]).parts[:2] == ("runs", "train")
    curve = (tmp_path / said["dir"] / "curve.csv").read_text().splitlines()
    assert len(curve) == 1 + 720 // 60
    legs = (tmp_path / "data/policies/mine/table-highway_350vph_cav100-s4.curve.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in legs] == ["steps", "180", "360", "540", "720"]
    run = cosim(
        *("run", "highway_350vph_cav100", "--duration", "5 s", "--set", "warmup=0", "--inline", "--json"),
        *("--plugin", str(EXAMPLE), "--agent", "mine.table:mine/table-highway_350vph_cav100-s4"),
        folder=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["tasks"]["driving"]["agent"] == "mine.table"


def test_ctrl_c_ends_a_training_and_resume_goes_on_with_it(tmp_path: Path) -> None:
    whole = cosim(*TRAIN, "--steps", "1440", "--out", "whole", folder=tmp_path)
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [*COSIM, *TRAIN, "--steps", "1440", "--out", "stopped"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = tmp_path / "stopped" / "curve.csv"
    while not path.is_file() or path.read_bytes().count(b"\n") < 6:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "go on with --resume stopped" in words
    assert json.loads((tmp_path / "stopped" / "summary.json").read_text())["status"] == "interrupted"
    again = cosim(
        "train", "--resume", "stopped", "--plugin", str(EXAMPLE), "--engine", "inline", folder=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "stopped" / "curve.csv").read_bytes() == (
        tmp_path / "whole" / "curve.csv"
    ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train",), "give one of: a SCENARIO with --agent NAME, or --resume DIR"),
        (("train", "highway_350vph"), "say whom to train: --agent NAME"),
        (("train", "--resume", "x", "--seed", "3"), "only --steps may be larger"),
        (("train", "--resume", "nowhere"), "--resume nowhere: holds no training"),
        ((*TRAIN, "--device", "gpu"), "--device gpu: must be one of auto, cpu, cuda"),
        ((*TRAIN, "--set-training", "rund=2"), "rund: unknown key (did you mean 'round'?)"),
        ((*TRAIN, "--workers", "2"), "engine inline runs one simulation in this process: workers must be 1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(error, ScenarioError)
    assert error.exit_code == 2
    assert words in str(error)
    assert not (tmp_path / "runs" / "train").exists() or not any((tmp_path / "runs" / "train").iterdir())
