"""Table II and Fig. 5 on a fresh tape: the shipped predictors do what the manual says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.hybrid_mappo.items.prediction import FIG5, ITEMS, TABLE2, TAPES, fresh_tapes
from agents.hybrid_mappo.predictor import LinearAr, Lstm, load
from agents.hybrid_mappo.train_predictor import main
from cosim.experiments.papers import Material, Paper, Size
from cosim.experiments.reproduction import check_paper
from cosim.plots.style import to_bytes
from cosim.tasks.migration import MobilityTape

ONE = Size(seeds="0", overrides={TAPES: 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds one fresh tape."""
    home = tmp_path_factory.mktemp("predictor")
    fresh_tapes(home / TAPES, [0], jobs=1)
    return home


def test_the_items_fit_their_published_values() -> None:
    assert check_paper(Paper("hybrid_mappo", "", ITEMS)) == []


def test_the_shipped_networks_beat_the_linear_predictor_on_a_fresh_tape(folder: Path) -> None:
    assert TABLE2.compute is not None
    results = TABLE2.compute(folder, ONE, 1)
    rows = {row["case"]: row for row in results.iter_rows(named=True)}
    assert list(rows) == [case.name for case in TABLE2.cases]
    assert rows["lstm-10s"]["mse"] < rows["ar12-10s"]["mse"]
    assert rows["lstm-10s"]["r2_pooled"] > 0.99
    slot, linear = rows["lstm_displacement-20s"], rows["ar12-20s"]
    assert slot["mse"] < 0.5 * linear["mse"]
    assert slot["rsu_hit_rate"] > linear["rsu_hit_rate"] + 0.04


def test_the_paper_s_predictor_is_the_paper_s_network() -> None:
    network = load("lstm-urban_avatar-10s-s0")
    assert isinstance(network, Lstm)
    assert network.frame.target == "position"
    assert network.hidden == 256


def test_fig5_draws_three_vehicles_and_what_was_predicted(folder: Path) -> None:
    assert FIG5.compute is not None
    assert FIG5.draw is not None
    results = FIG5.compute(folder, ONE, 1)
    material = Material(FIG5, results, {}, folder)
    figures = FIG5.draw(material)
    assert sorted(figures) == sorted(f"trajectories-{case.name}" for case in FIG5.cases)
    for figure in figures.values():
        real, crosses = figure.axes[0].lines[:2]
        assert len(real.get_xdata()) == len(crosses.get_xdata()) > 30
        assert np.isfinite(crosses.get_ydata()).all()
        assert to_bytes(figure).startswith(b"\x89PNG")


def test_tapes_are_recorded_once(folder: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (folder / TAPES).iterdir()}
    (tape,) = fresh_tapes(folder / TAPES, [0], jobs=1)
    assert isinstance(tape, MobilityTape)
    assert {file: file.stat().st_mtime_ns for file in (folder / TAPES).iterdir()} == before


def test_the_command_fits_and_writes_a_linear_predictor(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    given = [
        "urban_avatar",
        "--tapes",
        str(folder / TAPES),
        "--seeds",
        "3000:3002",
        "--linear",
        "--out",
        str(out),
    ]
    assert main(given) == 0
    assert "ar: mse" in capsys.readouterr().out
    about = json.loads((out / "ar-urban_avatar-10s-s0.json").read_text())
    assert (about["train_tapes"], about["test_tapes"]) == (1, 1)
    assert about["evaluation"]["ar"]["mse"] < about["evaluation"]["constant_velocity"]["mse"]
    assert isinstance(load(out / "ar-urban_avatar-10s-s0.safetensors"), LinearAr)
    assert not list(out.glob("lstm*"))


def test_the_command_refuses_what_it_does_not_know(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["urban_avatar", "--tapes", str(folder / TAPES), "--recipe", "litteral", "--out", "x"]) == 2
    assert capsys.readouterr().err == "error: recipe 'litteral': there are default, literal, slot\n"
