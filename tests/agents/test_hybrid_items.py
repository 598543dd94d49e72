"""Figs 6 to 11 and the remote layout: who is compared, how gaps are reckoned, tapes against lockstep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from migration_tapes import a_tape

from agents.common import shipped as shipping
from agents.hybrid_mappo.items import compared, sweeps
from agents.hybrid_mappo.items import contenders as c
from agents.hybrid_mappo.items.compared_tables import goals
from agents.hybrid_mappo.reproduce import PAPER
from cosim.experiments.papers import Material, Size, read_published
from cosim.experiments.reproduction import check_paper
from cosim.plots.style import to_bytes
from cosim.tasks.migration import MigrationOptions

RULES = tuple(c.Contender(name, name) for name in ("greedy", "random", "npm", "seq"))


def a_stage(tapes: int = 3) -> c.Stage:
    return c.Stage([a_tape(seed) for seed in range(tapes)], MigrationOptions(vehicles=4, episode=6))


def episodes(**latency: list[float]) -> pl.DataFrame:
    """Evaluations of two tapes and one draw; a method's numbers by name."""
    rows = [
        {"method": name, "policy": "", "seed": seed, "draw": 0, "task_latency": value}
        for name, values in latency.items()
        for seed, value in enumerate(values)
    ]
    return pl.DataFrame(rows)


def test_the_items_fit_their_published_values() -> None:
    assert check_paper(PAPER) == []
    names = [item.name for item in PAPER.items]
    assert names[:3] == ["table2", "fig5", "fig6"]
    assert names[3:] == ["fig7", "fig8", "fig9", "fig10", "fig11", "remote", "models"]


def test_the_paper_s_gaps_against_random_follow_from_its_gaps() -> None:
    known = read_published(compared.FIG6)
    ours = 1.0 - known["random", "latency_gap"].value / 100.0
    for (case, metric), said in known.items():
        if metric == "vs_random" and case != c.OURS:
            others = ours / (1.0 - known[case, "latency_gap"].value / 100.0)
            assert said.value == pytest.approx(100.0 * (others - 1.0), abs=0.06)


def test_a_ratio_is_that_of_the_means_and_has_no_spread_where_tapes_agree() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(5.0, 9.0, 40), rng.uniform(8.0, 12.0, 40)
    assert c.ratio(a, b).mean() == pytest.approx(a.mean() / b.mean())
    assert c.ratio(0.7 * b, b) == pytest.approx(np.full(40, 0.7))


def test_the_interval_of_a_ratio_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    tape = rng.normal(0.0, 1.0, (2000, 48))
    b = 10.0 + tape + rng.normal(0.0, 0.3, tape.shape)
    a = 7.0 + 0.7 * tape + rng.normal(0.0, 0.3, tape.shape)
    inside = []
    for mine, other in zip(a, b, strict=True):
        values = c.ratio(mine, other)
        inside.append(abs(values.mean() - 0.7) < 2.01 * values.std(ddof=1) / 48**0.5)
    assert 0.935 < float(np.mean(inside)) < 0.965


def test_both_readings_of_a_gap() -> None:
    found = c.by_tape(episodes(hybrid_mappo=[6.0, 6.0], greedy=[8.0, 7.0], random=[9.0, 11.0]))
    means = (
        found.group_by("method", maintain_order=True).mean().rows_by_key("method", named=True, unique=True)
    )
    assert means["greedy"]["latency_gap"] == pytest.approx(1.0 - 6.0 / 7.5)
    assert means["greedy"]["reward_gap"] == pytest.approx(7.5 / 6.0 - 1.0)
    assert means["hybrid_mappo"]["vs_random"] == pytest.approx(-0.4)
    assert means["hybrid_mappo"]["latency_gap"] is None


def test_without_our_policy_there_is_no_gap_to_it() -> None:
    found = c.by_tape(episodes(greedy=[8.0, 7.0], random=[9.0, 11.0]))
    assert found["latency_gap"].is_null().all()
    assert found["vs_random"].is_not_null().all()


def test_a_method_counts_all_its_policies_and_draws() -> None:
    one = episodes(random=[10.0, 10.0], hybrid_mappo=[6.0, 7.0])
    two = episodes(hybrid_mappo=[8.0, 9.0]).with_columns(policy=pl.lit("s2"))
    found = c.by_tape(pl.concat([one, two]))
    assert found.filter(pl.col("method") == "hybrid_mappo")["task_latency"].to_list() == [7.0, 8.0]


def test_who_has_no_policy_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shipping, "homes", lambda paper: (tmp_path,))
    rows, missing = c.contenders("urban_avatar")
    assert [row.name for row in rows][:4] == ["greedy", "random", "fpm", "npm"]
    assert list(missing)[:4] == list(c.TRAINED)
    assert missing["mappo_ddpg"] == "no policy mappo_ddpg-urban_avatar-sSEED is shipped"
    assert "soft_lstm" in c.contenders("remote_avatar")[1]


def test_shipped_policies_are_found_by_method_and_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shipping, "homes", lambda paper: (tmp_path,))
    names = (
        "mappo_ddpg-urban_avatar-s2",
        "hybrid_mappo-urban_avatar-s1",
        "hybrid_mappo_paper-urban_avatar-s1",
    )
    for name in (*names, "lstm-urban_avatar-20s-s0"):
        (tmp_path / f"{name}.safetensors").touch()
    rows = {row.name: row for row in c.contenders("urban_avatar")[0]}
    assert [row for row in rows if rows[row].policies] == ["hybrid_mappo", "mappo_ddpg", "hybrid_mappo_paper"]
    assert rows["mappo_ddpg"].policies[0].name == names[0]
    assert shipping.shipped("hybrid_mappo", "remote_avatar") == ()


def test_a_tape_gives_the_same_alone_and_among_others() -> None:
    together, alone = a_stage(), c.Stage([a_tape(2)], MigrationOptions(vehicles=4, episode=6))
    for row in (*RULES, c.Contender("soft_perfect", "soft", "perfect")):
        assert np.array_equal(together.play(row, 2)[2], alone.play(row, 2)[0])


def test_a_sweep_fixes_one_draw_and_leaves_the_others() -> None:
    stage = a_stage()
    stage.play(RULES[0], 1)
    cpu, band = stage.batch.parameters.cpu.copy(), stage.batch.parameters.bandwidth.copy()
    stage.fix(cpu=15e9)
    stage.play(RULES[0], 1)
    assert (stage.batch.parameters.cpu == 15e9).all()
    assert np.array_equal(stage.batch.parameters.bandwidth, band)
    stage.fix()
    stage.play(RULES[0], 1)
    assert np.array_equal(stage.batch.parameters.cpu, cpu)


def test_every_sweep_names_a_draw() -> None:
    known = MigrationOptions().ranges()
    for sweep in sweeps.SWEEPS:
        low, high = getattr(known, sweep.name)
        assert low <= high
        assert sweep.values[0] * sweep.unit >= 0.5 * low
        assert sweep.values[-1] * sweep.unit <= high


def test_a_quick_sweep_has_both_ends_and_the_middle() -> None:
    assert sweeps.chosen((50, 100, 150, 200, 250), 3) == [50, 150, 250]
    assert sweeps.chosen((50, 60), 3) == (50, 60)
    assert sweeps.chosen((50, 60, 70), 0) == (50, 60, 70)


def test_goals_say_what_was_reached() -> None:
    latency = {
        name: np.array(values)
        for name, values in {
            "hybrid_mappo": [7.0, 7.1],
            "hybrid_mappo_wo": [7.2, 7.3],
            "random": [10.0, 10.1],
            "greedy": [8.5, 8.6],
            "seq": [6.0, 6.1],
        }.items()
    }
    found = goals(latency).rows_by_key("goal", named=True, unique=True)
    assert found["below Random (goal)"]["reached"] == "yes"
    assert found["below without prediction"]["reached"].startswith("no")
    assert found["above the bound seq"]["ours [%]"].startswith("16.5")
    assert found["of the way from Random to seq"]["ours [%]"].startswith("75")


def test_a_sweep_from_tapes_to_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = a_stage()
    monkeypatch.setattr(sweeps, "stage_of", lambda *_: stage)
    monkeypatch.setattr(sweeps, "contenders", lambda _: (RULES, {"mappo_ddpg": "not there"}))
    item = sweeps.ITEMS[0]
    assert item.compute is not None
    results = item.compute(tmp_path, Size("0:3", {"draws": 1, "values": 2}), 1)
    assert set(results["value"]) == {"50", "250", "all"}
    assert {case.name for case in item.cases} >= set(results["case"])
    material = Material(item, results, {}, tmp_path)
    assert item.tables is not None
    tables = item.tables(material)
    assert tables["trends"]["change [%]"].len() == len(RULES)
    assert "left out: mappo_ddpg" in tables["traffic"]["what"].to_list()
    assert item.draw is not None
    for figure in item.draw(material).values():
        assert to_bytes(figure).startswith(b"\x89PNG")


def test_larger_tasks_take_longer_and_faster_processors_less() -> None:
    stage = a_stage()
    took = {}
    for name, value in (("task_bits", 50 * 8e6), ("task_bits", 250 * 8e6), ("cpu", 10e9), ("cpu", 30e9)):
        stage.fix(**{name: value})
        took[name, value] = float(np.nanmean(stage.play(RULES[1], 2)))
    assert took["task_bits", 50 * 8e6] < took["task_bits", 250 * 8e6]
    assert took["cpu", 10e9] > took["cpu", 30e9]


def test_a_run_in_lockstep_gives_what_its_tape_gives_to_the_bit(tmp_path: Path) -> None:
    stage = c.stage_of("urban_avatar", [3000], tmp_path, 1)
    rows = (c.Contender("random", "random"),)
    found = compared.checked("urban_avatar", stage, rows, 3000, tmp_path, 1)
    assert found["method"].to_list() == ["random"]
    assert found["difference"].to_list() == [0.0]


def test_fig6_from_evaluations_to_tables_and_figures(tmp_path: Path) -> None:
    stage = a_stage(4)
    found = c.evaluate(stage, RULES, range(4), 2)
    ours = found.filter(found["method"] == "greedy").with_columns(
        method=pl.lit("hybrid_mappo"), policy=pl.lit("hybrid_mappo-urban_avatar-s1")
    )
    found = pl.concat([ours, found])
    found.write_parquet(tmp_path / compared.EPISODES)
    compared.traffic(stage, {"mappo_ddpg": "why"}).write_parquet(tmp_path / compared.TRAFFIC)
    ours.with_columns(prediction=pl.lit("perfect")).write_parquet(tmp_path / compared.TOLD)
    pl.DataFrame(
        [("random", 0, 1.5, 1.5, 0.0)],
        schema=["method", "seed", "tape", "lockstep", "difference"],
        orient="row",
    ).write_parquet(tmp_path / compared.LOCKSTEP)
    results = compared.as_results(c.by_tape(found), "urban_avatar")
    item = replace(compared.FIG6, draw=None)
    material = Material(item, results, read_published(item), tmp_path)
    tables = compared.tables(material)
    assert tables["lockstep"]["equal"].to_list() == ["yes"]
    assert tables["trainings"]["trainings"].to_list() == ["1"]
    assert tables["told"]["told"].to_list() == ["the truth"]
    assert "left out: mappo_ddpg" in tables["traffic"]["what"].to_list()
    for figure in compared.draw(material).values():
        assert to_bytes(figure).startswith(b"\x89PNG")
