"""``cosim tapes``: records, resumes, and says in one line what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cosim.cli import app
from cosim.errors import ScenarioError
from cosim.tasks.migration import load_tape

NOW = ["--set", "traffic.vehicles.0.depart=0", "--set", "traffic.vehicles.1.depart=0"]
SHORT = [
    "urban_avatar",
    "--set",
    "warmup=60",
    "--set",
    "duration=4",
    *NOW,
    "--set",
    "tasks.migration.every=2",
    "--jobs",
    "1",
]


def tapes(*words: str) -> str:
    done = CliRunner().invoke(app, ["tapes", *words])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_the_command_records_and_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "tapes")]
    said = tapes(*SHORT, "--seeds", "7", *out)
    assert said.startswith(f"tapes: {tmp_path}/tapes (1, of which 1 new, ")
    said = tapes(*SHORT, "--seeds", "7:9", *out, "--json")
    found = json.loads(said)
    assert (found["tapes"], found["new"], found["replaced"]) == (2, 1, {})
    assert load_tape(tmp_path / "tapes" / "s8.npz").seed == 8


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--seeds", "x"], "--seeds: 'x' is no seed"),
        (["--seeds", "0", "--jobs", "0"], "--jobs 0: must be at least 1"),
        (["--seeds", "0", "--set", "tasks.migration=null"], "urban_avatar.yaml"),
    ],
)
def test_what_cannot_be_recorded_is_one_line(words: list[str], why: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as error:
        tapes(*SHORT, *words, "--out", str(tmp_path))
    assert why in str(error.value)
    assert "\n" not in str(error.value)
