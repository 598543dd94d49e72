"""Reproducing papers: the four verdicts, published values from files, and an item from runs to table and figure."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import toy_paper

from agents.tpe_marl import reproduce as tpe_marl
from agents.tpe_marl.items import fixed
from cosim.errors import ScenarioError
from cosim.experiments.papers import (
    COLUMNS,
    DIFFERS,
    INDICATIVE,
    MATCHES,
    SAME_ORDER,
    Case,
    Compared,
    Item,
    Measure,
    Paper,
    Size,
    read_published,
    verdicts,
)
from cosim.experiments.reproduction import check_paper, grid_of, reproduce
from cosim.plots.intervals import Interval
from cosim.resources import locate

TOY = str(Path(__file__).with_name("toy_paper.py"))


def row(
    published: float | None, mean: float, half: float, n: int = 3, *, rank: str = "", final: bool = True
) -> Compared:
    return Compared(rank, published, Interval(mean, half, n), final)


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (row(10, 11, 1.5), MATCHES),  # inside the interval
        (row(10, 11, 1.0), MATCHES),  # its end belongs to it
        (row(10, 10.4, 0.1), MATCHES),  # within 5 %
        (row(10, 10.6, 0.1), DIFFERS),
        (row(-10, -10.5, 0.1), MATCHES),
        (row(0, 0, 0), MATCHES),
        (row(0, 0.01, 0.001), DIFFERS),
        (row(10, 10, 1, n=2), DIFFERS),  # too few seeds
        (row(10, 10, math.nan, n=1), DIFFERS),
        (row(10, math.nan, math.nan, n=0), DIFFERS),  # a metric over nothing
        (row(10, 10, 1, final=False), INDICATIVE),
        (row(None, 10, 1), ""),
    ],
)
def test_a_row_matches_within_our_interval_or_five_percent_from_three_seeds(one, verdict):
    assert verdicts([one]) == [verdict]


def test_rows_that_rank_as_published_with_intervals_apart_have_the_same_order():
    assert verdicts([row(10, 100, 5), row(20, 200, 5), row(30, 300, 5)]) == [SAME_ORDER] * 3


def test_a_matching_row_matches_also_where_the_others_only_rank_alike():
    assert verdicts([row(10, 10, 1), row(20, 200, 5)]) == [MATCHES, SAME_ORDER]


@pytest.mark.parametrize(
    "rows",
    [
        [row(10, 300, 5), row(20, 200, 5)],  # the other way round
        [row(10, 195, 5), row(20, 200, 5)],  # intervals touch
        [row(10, 100, 5, n=2), row(20, 200, 5)],  # too few seeds
        [row(10, 100, 5), row(10, 200, 5)],  # nothing published to rank by
        [row(10, 100, 5)],
        [row(10, 100, 5, rank="a"), row(20, 200, 5, rank="b")],  # never compared with each other
        [row(10, 100, 5), row(20, math.nan, math.nan, n=0)],
    ],
)
def test_anything_else_differs(rows):
    assert set(verdicts(rows)) == {DIFFERS}


def test_equal_published_values_have_no_order_to_keep():
    assert verdicts([row(10, 105, 5), row(10, 100, 5), row(20, 200, 5)]) == [SAME_ORDER] * 3


def published(folder: Path, *rows: str, head: str = ",".join(COLUMNS)) -> str:
    path = folder / "toy.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return str(path)


def item(path: str) -> Item:
    size = Size(seeds=0)
    cases = (Case("a", "highway_350vph"), Case("b", "highway_150vph"))
    return Item("t", "", cases, (Measure("avg_velocity"),), size, size, published=path)


def test_published_values_keep_their_range_and_source(tmp_path):
    path = published(
        tmp_path, "a,avg_velocity,57.4,57.1,58,km/h,Table 3", "z,avg_velocity,1,,,km/h,of another item"
    )
    found = read_published(item(path))
    assert set(found) == {("a", "avg_velocity")}
    value = found["a", "avg_velocity"]
    assert (value.value, value.low, value.high, value.source) == (57.4, 57.1, 58.0, "Table 3")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,avg_velocity,16,,,m/s,x"], r"toy.csv:2: avg_velocity is in m/s, the item prints km/h"),
        (["a,avg_velocity,fast,,,km/h,x"], r"toy.csv:2: could not convert"),
        (["a,avg_velocity,1,,,km/h,x"] * 2, r"toy.csv:3: a, avg_velocity is there twice"),
    ],
)
def test_a_mistake_in_published_values_is_named_with_file_and_line(tmp_path, rows, message):
    with pytest.raises(ScenarioError, match=message):
        read_published(item(published(tmp_path, *rows)))


def test_published_values_without_their_file_or_columns_are_refused(tmp_path):
    with pytest.raises(ScenarioError, match=r"no file nowhere.csv below data/papers"):
        read_published(item("nowhere.csv"))
    with pytest.raises(ScenarioError, match=r"toy.csv:1: the columns must be case, metric"):
        read_published(item(published(tmp_path, head="case,value")))


def test_papers_and_items_are_found_by_name_with_the_nearest_as_a_hint():
    with pytest.raises(ScenarioError, match=r"unknown paper 'toi' \(did you mean 'toy'\?\)"):
        reproduce("toi")
    with pytest.raises(ScenarioError, match=r"paper 'toy' has no item 'table2' \(did you mean 'table1'\?\)"):
        reproduce("toy", "table2")


def test_an_item_that_is_computed_needs_no_runs(tmp_path):
    from cosim import BatchOptions

    (made,) = reproduce(toy_paper.PAPER, "figure2", BatchOptions(out=tmp_path), full=True)
    assert made.batch is None
    assert made.table.select("mean", "n", "verdict").row(0) == (42.0, 3, "")
    assert made.table["ci_high"][0] == pytest.approx(42 + 4.302653 / math.sqrt(3))  # t(0.975; 2), s = 1
    assert (tmp_path / "figure2-full" / "table.md").is_file()


def cosim(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    values = published(
        folder,
        "q150,collisions_per_hour,0,,,1/h,toy",
        "q350,collisions_per_hour,0,,,1/h,toy",
        "q150,driving.decisions,40,,,,toy",
        "q350,driving.decisions,80,,,,toy",
    )
    return subprocess.run(
        [sys.executable, "-c", "from cosim.cli import main; main()", *words, "--plugin", TOY],
        cwd=folder,
        env=os.environ | {"TOY_PUBLISHED": values, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_item_goes_from_runs_to_table_verdicts_and_figure_and_is_not_run_twice(tmp_path):
    done = cosim(tmp_path, "reproduce", "toy", "table1", "--full", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "reproduced" / "toy" / "table1-full"
    assert f"folder: {folder}" in done.stdout
    assert "collisions [1/h]" in done.stdout
    table = pl.read_csv(folder / "table.csv")
    assert table["metric"].to_list() == [m.metric for m in toy_paper.ITEM.measures for _ in range(2)]
    assert table["flow"].to_list() == [150, 350] * 3
    assert table["verdict"].to_list() == [MATCHES, MATCHES, DIFFERS, MATCHES, "", ""]
    assert table["n"].to_list() == [3] * 6
    assert (folder / "driving-decisions.png").read_bytes()[:4] == b"\x89PNG"
    assert "| decisions (driving) | 350 | 80 | 80 ± 0 | 3 | matches |" in (folder / "table.md").read_text()
    again = cosim(tmp_path, "reproduce", "toy", "table1", "--full", "--json")
    told = json.loads(again.stdout)
    assert [r["verdict"] for r in told["items"][0]["rows"]] == [MATCHES, MATCHES, DIFFERS, MATCHES, "", ""]
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 6
    assert again.stderr == ""


def test_quick_rows_are_indicative(tmp_path):
    done = cosim(tmp_path, "reproduce", "toy", "--quick", "--out", "here", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [i["item"] for i in told["items"]] == ["table1", "figure2"]
    assert {r["verdict"] for r in told["items"][0]["rows"] if r["published"] is not None} == {INDICATIVE}
    assert (tmp_path / "here" / "table1-quick" / "table.md").is_file()


def test_papers_and_their_items_are_listed(tmp_path):
    listed = cosim(tmp_path, "list", "papers").stdout
    assert "A toy paper" in listed
    assert "toy figure2" in listed


def test_the_items_of_tpe_marl_can_be_run_as_written():
    assert check_paper(tpe_marl.PAPER) == []


def test_every_published_number_of_tpe_marl_is_compared_with_something():
    compared = {(i.published, *key) for i in tpe_marl.PAPER.items for key in read_published(i)}
    for name in {i.published for i in tpe_marl.PAPER.items if i.published}:
        path = locate(name, "data/papers")
        assert path is not None
        with open(path, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                assert (name, line["case"], line["metric"]) in compared
                assert line["source"].startswith("reference:")


def test_the_baseline_is_the_paper_s_grid():
    grid = grid_of(tpe_marl.PAPER.item("fig13_hdv"), fixed.FULL)
    assert len(grid.cells) == 15
    assert {c.group.scenario.duration for c in grid.cells} == {3600.0}
    assert {c.group.scenario.traffic.variant for c in grid.cells} == {"uni"}
    assert {c.group.scenario.traffic.inflow[0].cav_share for c in grid.cells} == {0.0}


def test_check_paper_names_every_item_that_is_wrong():
    size = Size(seeds="0:2")
    broken = Item("x", "", (Case("a", "highway_350vph", {"duraton": 1}),), (), size, size)
    paper = Paper("p", "", (broken, broken))
    wrong = check_paper(paper)
    assert wrong[0] == "item 'x' is there twice"
    assert "item 'x', case 'a': duraton: unknown key (did you mean 'duration'?)" in wrong
