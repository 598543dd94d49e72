"""The papers' tables and figures as data: which runs an item is made of, what is compared, and the verdict.

A paper's ``reproduce.py`` defines a :class:`Paper` and names it in the entry-point group ``cosim.papers``; nothing of
it runs before ``cosim reproduce`` asks.  Published values lie in ``data/papers/*.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosim.errors import ScenarioError, nearest
from cosim.experiments.axes import Shown
from cosim.plots.intervals import Interval, mean_interval
from cosim.plots.quantities import Quantity, quantity
from cosim.registry import Registry
from cosim.resources import locate

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

    from cosim.recording import Run

FOLDER = "data/papers"
COLUMNS = ("case", "metric", "value", "low", "high", "unit", "source")
"""Columns of a file of published values; ``low``, ``high`` (a range that was given) may be empty."""

MATCHES, SAME_ORDER, DIFFERS, INDICATIVE = "matches", "same order", "differs", "indicative"
LEAST_SEEDS = 3
NEAR = 0.05


@dataclass(frozen=True)
class Size:
    """How much is run: seeds as :func:`~cosim.experiments.axes.parse_seeds` takes them, and settings of all cases."""

    seeds: str | int | Sequence[int | str]
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One row of a table, or one bar or point of a figure: a scenario, its settings, and who decides.

    ``labels`` are its columns in tables and figures.  Cases of one ``rank`` are compared with each other in the
    verdict *same order*.  ``trained`` is False where an agent stands for one that has yet to be trained.
    """

    name: str
    scenario: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    agents: Sequence[str] = ()
    labels: Mapping[str, Shown] = field(default_factory=dict)
    rank: str = ""
    trained: bool = True


@dataclass(frozen=True)
class Measure:
    """What is compared: a metric (a column of a batch's results), and how it is printed.

    ``printed`` has label, unit and the factor from SI to that unit; default as everywhere
    (:func:`cosim.plots.quantities.quantity`).  ``of`` computes the metric from a run's directory where its summary
    does not have it.
    """

    metric: str
    printed: Quantity | None = None
    of: Callable[[Run], float | None] | None = None

    @property
    def quantity(self) -> Quantity:
        """Label, unit and factor in print."""
        return self.printed or quantity(self.metric)


@dataclass(frozen=True)
class Published:
    """A published value in the unit of its measure, with the range that was given."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    source: str = ""


@dataclass(frozen=True)
class Material:
    """What a figure is drawn from.

    ``results`` has a row a run: ``case``, the cases' labels, ``seed``, ``status``, and all metrics (SI).  ``published``
    is by (case, metric), in print units.  Run directories are ``dir/runs/RUN``.
    """

    item: Item
    results: pl.DataFrame
    published: Mapping[tuple[str, str], Published]
    dir: Path

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs, for the figures' captions."""
        return tuple(self.results["run"])

    def run(self, name: str) -> Run:
        """Open the directory of one of the runs."""
        from cosim.recording import load_run

        return load_run(self.dir / "runs" / name)


Draw = Callable[[Material], Mapping[str, "Figure"]]
"""Returns figures by file name, without ending."""


@dataclass(frozen=True)
class Item:
    """A table or figure of a paper.

    ``published`` names a file below ``data/papers`` (empty: nothing was published), ``reference`` says what its
    values are, as the head of their column; ``claims`` names a file of what the paper says in words
    (:mod:`cosim.experiments.claims`).  ``compute`` is for what is no grid of runs: it gets the folder to work in, the
    size, and the number of jobs, and returns a frame with ``case``, ``seed`` and the metrics.  ``tables`` returns
    further tables by name, which become CSV files and stand in ``table.md``.
    """

    name: str
    description: str
    cases: tuple[Case, ...]
    measures: tuple[Measure, ...]
    quick: Size
    full: Size
    published: str = ""
    reference: str = "paper"
    draw: Draw | None = None
    note: str = ""
    compute: Callable[[Path, Size, int | None], pl.DataFrame] | None = None
    claims: str = ""
    tables: Callable[[Material], Mapping[str, pl.DataFrame]] | None = None


@dataclass(frozen=True)
class Paper:
    """A paper: its key (``tpe_marl``), its title, and the items that can be reproduced."""

    key: str
    title: str
    items: tuple[Item, ...]

    def item(self, name: str) -> Item:
        """Return an item by name; ScenarioError with the nearest name if there is none."""
        names = [item.name for item in self.items]
        if name not in names:
            hint = nearest(name, names) or f"; items: {', '.join(names) or 'none'}"
            raise ScenarioError(f"paper '{self.key}' has no item '{name}'{hint}")
        return self.items[names.index(name)]


PAPERS: Registry[Paper] = Registry("cosim.papers", "paper")
"""Papers by key: entry points of the group ``cosim.papers``, and plug-ins."""


def read_published(item: Item) -> dict[tuple[str, str], Published]:
    """Return the item's published values by (case, metric).

    ScenarioError, with file and line, if the file is missing, or does not fit the item's cases, measures and units.
    """
    if not item.published:
        return {}
    path = locate(item.published, FOLDER, ("", ".csv"))
    if path is None:
        raise ScenarioError(f"item '{item.name}': no file {item.published} below {FOLDER}")
    cases = {case.name for case in item.cases}
    units = {measure.metric: measure.quantity.unit for measure in item.measures}
    found: dict[tuple[str, str], Published] = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ScenarioError(f"{path.name}:1: the columns must be {', '.join(COLUMNS)}")
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            key = (row["case"], row["metric"])
            if row["case"] not in cases or row["metric"] not in units:
                continue  # a file may serve several items
            if row["unit"] != units[row["metric"]]:
                raise ScenarioError(
                    f"{where}: {row['metric']} is in {row['unit'] or 'no unit'}, the item prints"
                    f" {units[row['metric']] or 'no unit'}"
                )
            if key in found:
                raise ScenarioError(f"{where}: {row['case']}, {row['metric']} is there twice")
            try:
                low, high = (float(row[k]) if row[k] else None for k in ("low", "high"))
                found[key] = Published(float(row["value"]), low, high, row["unit"], row["source"])
            except ValueError as error:
                raise ScenarioError(f"{where}: {error}") from None
    return found


@dataclass(frozen=True)
class Compared:
    """One published value and ours, both in the same unit; ``final`` is False for untrained or quick rows."""

    rank: str
    published: float | None
    ours: Interval
    final: bool = True


def verdicts(rows: Sequence[Compared]) -> list[str]:
    """Return the verdict of each row of one measure; empty where nothing was published.

    *matches*: the published value lies inside our 95 % CI, or our mean within 5 % of it, from at least three seeds.
    *same order*: all rows of its rank follow each other as published, their CIs apart.  Else *differs*; rows that
    are not final are *indicative*.
    """
    ordered = {rank: _same_order([r for r in rows if r.rank == rank]) for rank in {r.rank for r in rows}}
    found = []
    for row in rows:
        if row.published is None:
            found.append("")
        elif not row.final:
            found.append(INDICATIVE)
        elif _matches(row.published, row.ours):
            found.append(MATCHES)
        else:
            found.append(SAME_ORDER if ordered[row.rank] else DIFFERS)
    return found


def _matches(published: float, ours: Interval) -> bool:
    if ours.n < LEAST_SEEDS:
        return False
    return ours.low <= published <= ours.high or abs(ours.mean - published) <= NEAR * abs(published)


def _same_order(rows: Sequence[Compared]) -> bool:
    """Whether our values rank as the published ones do; equal published values have no order to keep."""
    known = [(row.published, row.ours) for row in rows if row.published is not None]
    if any(ours.n < LEAST_SEEDS for _, ours in known):
        return False
    pairs = [(a, b) for published, a in known for other, b in known if published < other]
    return bool(pairs) and all(a.high < b.low for a, b in pairs)


def interval_of(results: pl.DataFrame, case: Case, metric: str, factor: float = 1.0) -> Interval:
    """Return mean and 95 % CI of a case's *metric*, times *factor*, over its runs; n = 0 where there is none."""
    if metric not in results.columns:
        return mean_interval([])
    values = results.filter(results["case"] == case.name)[metric]
    return mean_interval([None if v is None else v * factor for v in values])


def bar_charts(x: str, group: str | None = None, *, x_label: str = "") -> Draw:
    """Return what draws a bar chart of each measure: means with 95 % CIs over the label *x*, published values on top.

    *group* is the label that tells bars of one place apart.
    """

    def draw(material: Material) -> dict[str, Figure]:
        from cosim.plots import bars

        figures = {}
        cases = {case.name: case for case in material.item.cases}
        for measure in material.item.measures:
            shown = measure.quantity
            published = {
                (cases[case].labels[x], cases[case].labels[group] if group else ""): value.value
                / shown.factor
                for (case, metric), value in material.published.items()
                if metric == measure.metric
            }
            figures[measure.metric.replace(".", "-")] = bars(
                material.results,
                measure.metric,
                x,
                group=group,
                published=published,
                x_label=x_label,
                title=f"{material.item.name}: {shown.label}",
                runs=material.runs,
            )
        return figures

    return draw
