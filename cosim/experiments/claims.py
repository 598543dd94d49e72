"""What a paper says in words of its figures, as comparisons that can be checked: who has more of what, and where.

A file of claims is a CSV below ``data/papers`` with the columns of :data:`COLUMNS`.  ``more`` and ``less`` say by
labels which cases are compared (``method=tpe_qmix``), ``across`` which labels both must share (``flow;share``): each
combination of their values is a *cell*.  For papers that print no numbers this is what can be reproduced.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cosim.errors import ScenarioError, nearest
from cosim.experiments.papers import (
    DIFFERS,
    FOLDER,
    INDICATIVE,
    LEAST_SEEDS,
    SAME_ORDER,
    Case,
    Item,
    interval_of,
)
from cosim.plots.quantities import number
from cosim.resources import locate

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("claim", "metric", "more", "less", "across", "source")
HOLDS, REVERSED, OPEN = "holds", "reversed", "not apart"


@dataclass(frozen=True)
class Claim:
    """A statement: in each cell, the case with the labels ``more`` has more of ``metric`` than that with ``less``."""

    text: str
    metric: str
    more: Mapping[str, str]
    less: Mapping[str, str]
    across: tuple[str, ...]
    source: str


def read_claims(item: Item) -> tuple[Claim, ...]:
    """Return the claims of an item; ScenarioError, with file and line, for what does not fit it."""
    if not item.claims:
        return ()
    path = locate(item.claims, FOLDER, ("", ".csv"))
    if path is None:
        raise ScenarioError(f"item '{item.name}': no file {item.claims} below {FOLDER}")
    labels = {name for case in item.cases for name in case.labels}
    metrics = {measure.metric for measure in item.measures}
    found = []
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ScenarioError(f"{path.name}:1: the columns must be {', '.join(COLUMNS)}")
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            across = tuple(name.strip() for name in row["across"].split(";") if name.strip())
            more, less = _labels(row["more"], where), _labels(row["less"], where)
            for name in (*more, *less, *across):
                if name not in labels:
                    raise ScenarioError(f"{where}: no case has a label '{name}'{nearest(name, labels)}")
            if row["metric"] not in metrics:
                raise ScenarioError(
                    f"{where}: '{row['metric']}' is not measured{nearest(row['metric'], metrics)}"
                )
            found.append(Claim(row["claim"], row["metric"], more, less, across, row["source"]))
    return tuple(found)


def _labels(text: str, where: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(";")]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise ScenarioError(f"{where}: '{text}' must be LABEL=VALUE, several of them with ; between")
    return {name.strip(): value.strip() for name, _, value in pairs}


def claim_cells(item: Item, results: pl.DataFrame, claims: Sequence[Claim]) -> pl.DataFrame:
    """Return a row a claim and cell: both means with their CIs (units of print) and what came of it.

    *holds* and *reversed* mean 95 % CIs that do not touch, from at least three seeds; else *not apart*.
    """
    import polars as pl

    measures = {measure.metric: measure.quantity for measure in item.measures}
    rows: list[dict[str, Any]] = []
    for claim in claims:
        shown = measures[claim.metric]
        for cell, (more, less) in _pairs(item, claim).items():
            a, b = (interval_of(results, case, claim.metric, shown.factor) for case in (more, less))
            if not a.n or not b.n:
                continue
            enough = min(a.n, b.n) >= LEAST_SEEDS
            came = HOLDS if enough and a.low > b.high else REVERSED if enough and b.low > a.high else OPEN
            rows.append(
                {
                    "claim": claim.text,
                    "metric": shown.axis,
                    "cell": ", ".join(f"{n} {v}" for n, v in zip(claim.across, cell, strict=True)),
                    "more": a.mean,
                    "more_half": a.half,
                    "less": b.mean,
                    "less_half": b.half,
                    "came": came,
                    "final": more.trained and less.trained,
                }
            )
    texts = dict.fromkeys(("claim", "metric", "cell"), pl.String)
    numbers = dict.fromkeys(("more", "more_half", "less", "less_half"), pl.Float64)
    schema: dict[str, Any] = {**texts, **numbers, "came": pl.String, "final": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _pairs(item: Item, claim: Claim) -> dict[tuple[str, ...], tuple[Case, Case]]:
    """Return the two cases of each cell in which both are there."""

    def by_cell(wanted: Mapping[str, str]) -> dict[tuple[str, ...], Case]:
        texts = [({name: str(value) for name, value in c.labels.items()}, c) for c in item.cases]
        return {
            tuple(labels[name] for name in claim.across): case
            for labels, case in texts
            if all(labels.get(name) == value for name, value in wanted.items())
            and all(name in labels for name in claim.across)
        }

    more, less = by_cell(claim.more), by_cell(claim.less)
    return {cell: (case, less[cell]) for cell, case in more.items() if cell in less}


def claim_table(cells: pl.DataFrame, *, quick: bool) -> pl.DataFrame:
    """Return a row a claim: in how many cells it holds, is reversed or is open, by how much, and the verdict.

    *same order*: it holds in all cells; *indicative*: quick or untrained rows are among them; else *differs*.
    """
    import polars as pl

    rows = []
    for (text, metric), part in cells.group_by(["claim", "metric"], maintain_order=True):
        counts = {came: int((part["came"] == came).sum()) for came in (HOLDS, REVERSED, OPEN)}
        final = bool(part["final"].all()) and not quick
        all_hold = counts[HOLDS] == len(part)
        difference = (part["more"] - part["less"]).to_numpy()
        rows.append(
            {
                "claim": text,
                "metric": metric,
                "cells": len(part),
                **counts,
                "difference": f"{number(float(difference.min()))} to {number(float(difference.max()))}",
                "verdict": (SAME_ORDER if all_hold else DIFFERS) if final else INDICATIVE,
            }
        )
    integers = dict.fromkeys(("cells", HOLDS, REVERSED, OPEN), pl.Int64)
    texts = {"difference": pl.String, "verdict": pl.String}
    schema: dict[str, Any] = {"claim": pl.String, "metric": pl.String, **integers, **texts}
    return pl.DataFrame(rows, schema=schema, orient="row")
