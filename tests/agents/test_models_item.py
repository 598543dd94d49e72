"""The item that compares both latency models: its cases, and its table of a frame made by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from agents.hybrid_mappo.items.models import ITEMS, MODELS, compared
from cosim.experiments.papers import Material, Paper
from cosim.experiments.reproduction import check_paper


def test_the_items_can_be_run_as_written() -> None:
    assert check_paper(Paper("hybrid_mappo", "", ITEMS)) == []


def test_every_policy_runs_in_both_models() -> None:
    pairs = {(case.labels["method"], case.labels["model"]) for case in MODELS.cases}
    methods = {method for method, _ in pairs}
    assert pairs == {(method, model) for method in methods for model in ("paper", "queues")}
    assert methods >= {"random", "greedy", "npm", "fpm"}


def test_differences_are_taken_run_by_run(tmp_path: Path) -> None:
    latency = {
        ("random", "paper"): (10.0, 20.0), ("random", "queues"): (11.0, 22.0),
        ("greedy", "paper"): (8.0, 12.0), ("greedy", "queues"): (8.0, 18.0),
        ("npm", "paper"): (9.0, None), ("npm", "queues"): (2.0, 5.0),
    }  # fmt: skip
    rows = [
        {"method": method, "model": model, "seed": seed, "task_latency": value}
        for (method, model), values in latency.items()
        for seed, value in enumerate(values)
    ]
    table = compared(Material(MODELS, pl.DataFrame(rows), {}, tmp_path))["models_compared"]
    found = {row["method"]: row for row in table.iter_rows(named=True)}
    assert list(found) == ["npm", "greedy", "random"]
    assert (found["random"]["difference, %"], found["random"]["seeds"]) == ("10 ± 0", 2)
    assert found["greedy"]["difference, %"].startswith("25 ± ")
    assert (found["npm"]["seeds"], found["npm"]["difference, %"]) == (1, "-77.78")
    assert [found[m]["rank queues"] for m in ("npm", "greedy", "random")] == [1, 2, 3]
    assert found["greedy"]["paper against random, %"] == "-33.33"
