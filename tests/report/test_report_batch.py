"""`cosim report` of a batch, of a folder of runs, and of trainings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from cosim.errors import RecordingError
from cosim.experiments import BatchOptions, batch
from cosim.report import write_report
from cosim.report.batch import read_batch

SEEDS = 3


def _speed(rate: int, agent: str, seed: int) -> float:
    return 10.0 + rate / 100 + len(agent) + 0.3 * seed**2


@pytest.fixture
def written(tmp_path) -> Path:
    """A batch's tables as `cosim batch` writes them: 2 rates, 2 agents, 3 seeds; one run failed, one is missing."""
    folder = tmp_path / "study"
    folder.mkdir()
    parameters = ["scenario", "agent", "traffic.inflow.rate"]
    cells = [
        (rate, agent, seed) for rate in (150, 350) for agent in ("a.one", "b.three") for seed in range(SEEDS)
    ]
    rows = []
    for rate, agent, seed in cells[:-1]:
        failed = (rate, agent, seed) == (150, "a.one", 1)
        rows.append(
            {
                "run": f"highway-{agent}-s{seed}-{rate}",
                "scenario": "highway",
                "agent": agent,
                "traffic.inflow.rate": rate,
                "seed": seed,
                "status": "failed" if failed else "completed",
                "error": "agent 'a.one' <died>" if failed else None,
                "avg_velocity": None if failed else _speed(rate, agent, seed),
                "collisions_per_hour": 0.0,
                "wall_s": 2.5,
            }
        )
    frame = pl.from_dicts(rows, infer_schema_length=None)
    frame.write_parquet(folder / "results.parquet")
    frame.write_csv(folder / "results.csv")
    groups = [
        {"parameters": {}, "seeds": list(range(SEEDS)), "hashes": {"net.xml": "ab" * 32}} for _ in range(4)
    ]
    environment = {"packages": {"libsumo": "1.28.0"}, "git": {"cosim": {"commit": "c0ffee", "dirty": False}}}
    grid = {"name": "study", "parameters": parameters, "groups": groups, "environment": environment}
    (folder / "grid.json").write_text(json.dumps(grid))
    return folder


def test_parameters_and_metrics_are_told_apart_by_the_grid(written):
    found = read_batch(written)
    assert found.parameters == ("scenario", "agent", "traffic.inflow.rate")
    assert found.varying == ("agent", "traffic.inflow.rate")
    assert found.metrics == ("avg_velocity", "collisions_per_hour")
    assert found.missing == 1


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_page_holds_means_with_t_intervals_and_what_failed(written, read_page, kind):
    (written / f"results.{'csv' if kind == 'parquet' else 'parquet'}").unlink()
    page = read_page(write_report(written))
    values = np.array([_speed(150, "b.three", seed) for seed in range(SEEDS)]) * 3.6
    half = stats.t.ppf(0.975, SEEDS - 1) * stats.sem(values)
    assert f"b.three 150 3 {values.mean():.1f} ± {half:.1f}" in page.words
    assert "a.one 150 2 " in page.words
    assert "incomplete: 10 of 12 runs completed; 1 failed, 1 not finished" in page.words
    assert "study/highway-a.one-s1-150 a.one 150 1 failed agent 'a.one' <died>" in page.words
    for fact in ("libsumo 1.28.0", "c0ffee", "ab" * 32):
        assert fact in page.words
    (image,) = page.all("img")
    assert "average velocity [km/h]" in str(image["alt"])
    assert "because it is the same in all runs: collisions" in page.words


def test_a_real_batch_with_a_failing_agent_is_reported(tmp_path, read_page):
    """Inline agents in worker processes: the workers learn of the failing agent from a plugin."""
    plugin = tmp_path / "failing_agent.py"
    plugin.write_text(
        "from cosim.lockstep.registry import register_agent\n"
        "@register_agent('tests.fails')\n"
        "def fails(weights):\n"
        "    raise RuntimeError('no such luck')\n"
    )
    options = BatchOptions(jobs=1, out=tmp_path / "b", plugins=(str(plugin),))
    settings = ["warmup=1 s", "duration=4 s", "traffic.inflow.rate=1800 veh/h"]
    done = batch(
        "highway_350vph", options, seeds="0:2", overrides=settings, agents=["common.random", "tests.fails"]
    )
    assert done.failed == 2
    page = read_page(write_report(done.dir))
    assert "incomplete: 2 of 4 runs completed; 2 failed" in page.words
    assert page.words.count("no such luck") == 2
    mean = done.summary.filter((pl.col("metric") == "avg_velocity") & (pl.col("runs") == 2))["mean"].to_list()
    assert all(f" {value * 3.6:.0f}" in page.words or f" {value * 3.6:.1f}" in page.words for value in mean)


def test_a_folder_of_runs_is_compared_by_what_differs_between_them(tmp_path, short_run, read_page):
    off = ("record.steps=off", "record.vehicles=off", "record.links=off", "record.commands=false")
    for rate in (600, 900):
        for seed in range(2):
            folder = tmp_path / "runs" / f"{rate}-s{seed}"
            short_run(folder, *off, "duration=5 s", f"traffic.inflow.rate={rate} veh/h", seed=seed)
    (tmp_path / "runs" / "600-s1" / "summary.json").unlink()
    found = read_batch(tmp_path / "runs")
    assert found.varying == ("traffic.inflow.0.rate",)
    assert found.rows["status"].to_list() == ["completed", "killed", "completed", "completed"]
    assert "avg_velocity" in found.metrics
    page = read_page(write_report(tmp_path / "runs"))
    assert "incomplete: 3 of 4 runs completed; 1 killed" in page.words


def test_a_folder_with_a_grid_and_nothing_else_is_refused_in_one_line(tmp_path):
    (tmp_path / "grid.json").write_text("{}")
    with pytest.raises(RecordingError, match=r"neither results\.parquet, nor results\.csv, nor runs"):
        write_report(tmp_path)


def _training(folder: Path, seed: int, rows: int = 30) -> Path:
    folder.mkdir(parents=True)
    about = {
        "agent": "common.dqn",
        "task": "driving",
        "scenario": "highway",
        "seed": seed,
        "config": {"gamma": 0.9},
    }
    about |= {"training": {"steps": 3000, "workers": 2}, "packages": {"torch": "2.13.0"}}
    (folder / "training.json").write_text(json.dumps(about))
    steps = np.arange(1, rows + 1) * 100
    curve = pl.DataFrame(
        {
            "round": np.arange(rows),
            "steps": steps,
            "td_loss": 1.0 / steps + seed,
            "eval_avg_velocity": [10.0 + seed + k / 10 if k % 10 == 9 else None for k in range(rows)],
            "epsilon": np.full(rows, 0.1),
        }
    )
    curve.write_csv(folder / "curve.csv")
    return folder


def test_a_training_has_its_curves_last_values_and_settings(tmp_path, read_page):
    folder = _training(tmp_path / "t", 0)
    (folder / "summary.json").write_text(json.dumps({"status": "completed", "error": None}))
    (folder / "dqn-highway-s0.safetensors").write_bytes(b"\0" * 2000)
    page = read_page(write_report(folder))
    drawn = {path.stem for path in (folder / "report" / "figures").glob("*.png")}
    assert drawn == {"curve_td_loss", "curve_eval_avg_velocity"}
    assert "average velocity, evaluated 46.44 km/h eval_avg_velocity" in page.words
    assert "because it never changes: epsilon" in page.words
    assert "gamma 0.9" in page.words
    assert "dqn-highway-s0.safetensors common.dqn, seed 0 (t) 2" in page.words
    assert "torch 2.13.0" in page.words


def test_trainings_of_several_seeds_are_one_mean_with_its_band(tmp_path, read_page):
    for seed in range(3):
        _training(tmp_path / "all" / f"s{seed}", seed)
    page = read_page(write_report(tmp_path / "all"))
    assert "common.dqn, 3 trainings" in page.words
    assert "killed" in page.words
    alts = " ".join(str(image["alt"]) for image in page.all("img"))
    assert "common.dqn, seed 2 (s2) 53.64" in alts


def test_a_training_without_a_row_yet_has_a_page(tmp_path, read_page):
    folder = _training(tmp_path / "t", 0)
    (folder / "curve.csv").unlink()
    assert "There is no curve yet." in read_page(write_report(folder)).words
