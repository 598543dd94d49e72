"""What a paper says in words, checked cell by cell."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cosim.errors import ScenarioError
from cosim.experiments.claims import COLUMNS, claim_cells, claim_table, read_claims
from cosim.experiments.papers import Case, Item, Measure, Size

CASES = tuple(
    Case(f"{who}-{flow}", "", labels={"method": who, "flow": flow}) for who in ("a", "b") for flow in (1, 2)
)
SIZE = Size(seeds=0)


def item(path: Path, *lines: str) -> Item:
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    return Item("x", "", CASES, (Measure("success_rate"),), SIZE, SIZE, claims=str(path))


def results(**values: list[float]) -> pl.DataFrame:
    rows = [(case.replace("_", "-"), value) for case, some in values.items() for value in some]
    return pl.DataFrame(rows, schema=("case", "success_rate"), orient="row")


def test_a_claim_is_judged_in_every_cell_in_which_both_are_there(tmp_path: Path) -> None:
    one = item(tmp_path / "c.csv", "a wins,success_rate,method=a,method=b,flow,p. 1")
    frame = results(a_1=[0.9, 0.91, 0.92], b_1=[0.5, 0.51, 0.52], a_2=[0.1, 0.5, 0.9], b_2=[0.2, 0.4, 0.6])
    cells = claim_cells(one, frame, read_claims(one))
    assert cells.select("cell", "came").rows() == [("flow 1", "holds"), ("flow 2", "not apart")]
    assert cells["more"].to_list() == pytest.approx([91.0, 50.0])  # in the unit of print, %
    (row,) = claim_table(cells, quick=False).to_dicts()
    assert (row["cells"], row["holds"], row["reversed"], row["not apart"]) == (2, 1, 0, 1)
    assert (row["difference"], row["verdict"]) == ("10 to 40", "differs")


def test_a_claim_that_holds_everywhere_keeps_the_order(tmp_path: Path) -> None:
    one = item(tmp_path / "c.csv", "b wins,success_rate,method=b;flow=1,method=a;flow=1,,p. 1")
    frame = results(a_1=[0.5, 0.51, 0.52], b_1=[0.9, 0.91, 0.92])
    cells = claim_cells(one, frame, read_claims(one))
    assert claim_table(cells, quick=False)["verdict"].to_list() == ["same order"]
    assert claim_table(cells, quick=True)["verdict"].to_list() == ["indicative"]
    reversed_ = claim_cells(one, results(a_1=[0.9, 0.91, 0.92], b_1=[0.5, 0.51, 0.52]), read_claims(one))
    assert reversed_["came"].to_list() == ["reversed"]


def test_two_seeds_are_too_few_and_a_missing_case_is_no_cell(tmp_path: Path) -> None:
    one = item(tmp_path / "c.csv", "a wins,success_rate,method=a,method=b,flow,p. 1")
    cells = claim_cells(one, results(a_1=[0.9, 0.9], b_1=[0.1, 0.1]), read_claims(one))
    assert cells["came"].to_list() == ["not apart"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "a,success_rate,metod=a,method=b,flow,",
            r"c.csv:2: no case has a label 'metod' \(did you mean 'method'",
        ),
        ("a,succes_rate,method=a,method=b,flow,", r"c.csv:2: 'succes_rate' is not measured \(did you mean"),
        ("a,success_rate,a,method=b,flow,", r"c.csv:2: 'a' must be LABEL=VALUE"),
    ],
)
def test_a_claim_that_does_not_fit_is_one_line(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(ScenarioError, match=why):
        read_claims(item(tmp_path / "c.csv", line))
