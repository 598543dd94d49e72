"""The examples of docs/experiments.md run as they stand, and so does the study beside it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cosim.experiments import read_grid
from cosim.experiments.reproduction import check_paper

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "experiments.md").read_text(encoding="utf-8")
FLAGS = re.compile(r"--[a-z][a-z-]+")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_grid_file_of_the_page_is_read(tmp_path):
    (tmp_path / "study.yaml").write_text(blocks("yaml")[0])
    grid = read_grid(tmp_path / "study.yaml")
    assert len(grid.cells) == 2 * 3 * 2 * 10
    assert grid.name == "shares"


def test_the_batch_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(blocks("python")[0], names)
    assert "completed 0 0" in capsys.readouterr().out
    assert (tmp_path / "batches" / "shares" / "results.csv").is_file()


def test_the_paper_of_the_page_can_be_reproduced():
    names: dict[str, object] = {}
    exec(blocks("python")[1], names)
    assert check_paper(names["PAPER"]) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["batch", "reproduce"])
def test_the_options_that_the_page_names_exist(command):
    from typer.main import get_command

    from cosim.cli import app

    known = {
        o for c in ("batch", "reproduce", "run") for p in get_command(app).commands[c].params for o in p.opts
    }
    assert set(FLAGS.findall(PAGE)) <= known
    for option in get_command(app).commands["batch"].params:
        if option.opts[0] not in ("grid", "--plugin", "--json"):
            assert option.opts[0] in PAGE


def test_the_study_beside_the_page_runs_twice_but_simulates_once(tmp_path):
    command = [sys.executable, str(DOCS / "examples" / "batch_study.py"), "--seeds", "1", "--minutes", "0.1"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert "completed: 6 runs, 0 failed" in done.stdout
    folder = tmp_path / "batches" / "shares"
    assert (folder / "success_rate.png").read_bytes()[:4] == b"\x89PNG"
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 6
