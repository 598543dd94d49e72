"""Reproducing items of papers: run what an item is made of, compare, and write table and figures.

:func:`reproduce` is ``cosim reproduce``.  An item's folder is a batch (:mod:`cosim.experiments.batches`) with
``table.csv``, ``table.md`` and the figures beside it; called again, it goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cosim.errors import ScenarioError
from cosim.experiments.axes import axes_of_values, parse_seeds
from cosim.experiments.batches import BatchOptions, BatchResult, batch
from cosim.experiments.claims import claim_cells, claim_table, read_claims
from cosim.experiments.grid import Grid, checked_group
from cosim.experiments.papers import (
    PAPERS,
    Compared,
    Item,
    Material,
    Paper,
    Published,
    Size,
    interval_of,
    read_published,
    verdicts,
)
from cosim.lockstep.registry import parse_agent_option
from cosim.plots.quantities import number
from cosim.recording import load_run
from cosim.recording.files import write_atomically
from cosim.registry import load_plugins
from cosim.scenario import load_scenario

if TYPE_CHECKING:
    import polars as pl

OUT = "reproduced"
MOST_ROWS = 60
"""Longer further tables are files only."""


@dataclass(frozen=True)
class Reproduced:
    """An item as it came out.

    ``table`` has a row a case and measure: ``case``, the cases' labels, ``metric``, ``unit``, ``published`` with
    ``published_low`` and ``published_high``, ``mean``, ``ci_low``, ``ci_high``, ``n`` and ``verdict``; numbers in
    that unit.  ``more`` are further tables by name.  ``batch`` is None for an item that is no grid of runs.
    """

    paper: Paper
    item: Item
    quick: bool
    dir: Path
    status: Literal["completed", "interrupted"]
    table: pl.DataFrame
    figures: tuple[Path, ...]
    batch: BatchResult | None
    more: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many of its runs failed."""
        return self.batch.failed if self.batch is not None else 0


def reproduce(
    paper: str | Paper,
    item: str | None = None,
    options: BatchOptions | None = None,
    *,
    full: bool = False,
    done: Callable[[Reproduced], None] | None = None,
) -> list[Reproduced]:
    """Reproduce an item of a paper, or all of them, and return what came out.

    Args:
        paper: its key (``cosim list papers``), or the paper itself.
        item: the name of a table or figure; None: all.
        options: how to run; ``out`` is the folder above the items' folders, default ``reproduced/PAPER``.
        full: as much as the paper did, instead of minutes.
        done: called with each item as it is finished.

    Raises:
        ScenarioError: there is no such paper or item, or an item cannot be run as written.
        RecordingError: a folder cannot be used.
    """
    options = options or BatchOptions()
    load_plugins(options.plugins)
    whole = PAPERS.get(paper) if isinstance(paper, str) else paper
    items = whole.items if item is None else (whole.item(item),)
    above = Path(options.out) if options.out is not None else Path(OUT) / whole.key
    found: list[Reproduced] = []
    for one in items:
        folder = above / f"{one.name}-{'full' if full else 'quick'}"
        found.append(_reproduced(whole, one, replace(options, out=folder, resume=True), quick=not full))
        if done is not None:
            done(found[-1])
        if found[-1].status == "interrupted":
            break
    return found


def grid_of(item: Item, size: Size) -> Grid:
    """Return the runs of an item; ScenarioError if they cannot be run as written."""
    seeds = parse_seeds(size.seeds, f"item '{item.name}'")
    groups = []
    for case in item.cases:
        where = f"item '{item.name}', case '{case.name}'"
        overrides = {**size.overrides, **case.overrides}
        settings = [axis[0] for axis in axes_of_values({k: [v] for k, v in overrides.items()}).values()]
        scenario = load_scenario(case.scenario, [s.override for s in settings], [where] * len(settings))
        specs = [parse_agent_option(text) for text in case.agents]
        parameters = {"case": case.name, **case.labels}
        groups.append(checked_group(scenario, specs, seeds=seeds, parameters=parameters))
    return Grid.of(item.name, groups)


def _reproduced(paper: Paper, item: Item, options: BatchOptions, *, quick: bool) -> Reproduced:
    size = item.quick if quick else item.full
    published, claims = read_published(item), read_claims(item)
    folder = Path(options.out or "").expanduser().absolute()
    status: Literal["completed", "interrupted"] = "completed"
    ran: BatchResult | None = None
    if item.compute is not None:
        folder.mkdir(parents=True, exist_ok=True)
        results = item.compute(folder, size, options.jobs)
    else:
        ran = batch(grid_of(item, size), options)
        folder, status = ran.dir, ran.status
        results = _with_computed(item, ran)
    table = _table(item, results, published, quick=quick)
    figures: list[Path] = []
    material = Material(item, results, published, folder)
    if item.draw is not None and len(results):
        from cosim.plots import save

        drawn = item.draw(material)
        figures = [save(figure, folder / f"{name}.png") for name, figure in drawn.items()]
    more = dict(item.tables(material)) if item.tables is not None and len(results) else {}
    if claims:
        cells = claim_cells(item, results, claims)
        more["claims"] = claim_table(cells, quick=quick)
        write_atomically(folder / "claims_by_cell.csv", cells.write_csv().encode(), sync=False)
    for name, frame in more.items():
        write_atomically(folder / f"{name}.csv", frame.write_csv().encode(), sync=False)
    made = Reproduced(paper, item, quick, folder, status, table, tuple(figures), ran, more)
    write_atomically(folder / "table.csv", table.write_csv().encode(), sync=False)
    write_atomically(folder / "table.md", markdown(made).encode(), sync=False)
    return made


def _with_computed(item: Item, ran: BatchResult) -> pl.DataFrame:
    """Return the completed runs, with the metrics that measures compute from run directories."""
    import polars as pl

    results = ran.results.filter(pl.col("status") == "completed")
    for measure in item.measures:
        if measure.of is not None:
            values = [measure.of(load_run(ran.dir / "runs" / run)) for run in results["run"]]
            results = results.with_columns(pl.Series(measure.metric, values, dtype=pl.Float64))
    return results


def _table(
    item: Item, results: pl.DataFrame, published: Mapping[tuple[str, str], Published], *, quick: bool
) -> pl.DataFrame:
    """Compare our results with the published values, measure by measure."""
    import polars as pl

    labels = list(dict.fromkeys(name for case in item.cases for name in case.labels))
    rows: list[dict[str, Any]] = []
    # What computes its rows itself may leave cases out.
    there = set(results["case"]) if item.compute is not None else {case.name for case in item.cases}
    cases = [case for case in item.cases if case.name in there]
    for measure in item.measures:
        shown = measure.quantity
        compared = []
        for case in cases:
            value = published.get((case.name, measure.metric))
            ours = interval_of(results, case, measure.metric, shown.factor)
            number_given = None if value is None else value.value
            compared.append(Compared(case.rank, number_given, ours, final=case.trained and not quick))
        for case, row, verdict in zip(cases, compared, verdicts(compared), strict=True):
            value = published.get((case.name, measure.metric))
            rows.append(
                {
                    "case": case.name,
                    **{name: _text(case.labels.get(name)) for name in labels},
                    "metric": measure.metric,
                    "unit": shown.unit,
                    "published": row.published,
                    "published_low": None if value is None else value.low,
                    "published_high": None if value is None else value.high,
                    "mean": _or_none(row.ours.mean),
                    "ci_low": _or_none(row.ours.low),
                    "ci_high": _or_none(row.ours.high),
                    "n": row.ours.n,
                    "verdict": verdict,
                }
            )
    texts = dict.fromkeys(("case", *labels, "metric", "unit"), pl.String)
    numbers = ("published", "published_low", "published_high", "mean", "ci_low", "ci_high")
    schema: dict[str, Any] = {
        **texts,
        **dict.fromkeys(numbers, pl.Float64),
        "n": pl.Int64,
        "verdict": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _or_none(value: float) -> float | None:
    return value if value == value else None


def table_rows(made: Reproduced) -> Iterator[tuple[str, ...]]:
    """Yield the table as texts: the head, then a row a measure and case."""
    labels = list(dict.fromkeys(name for case in made.item.cases for name in case.labels)) or ["case"]
    yield ("measure", *labels, made.item.reference, "ours", "n", "verdict")
    measures = {m.metric: m.quantity.axis for m in made.item.measures}
    for row in made.table.iter_rows(named=True):
        given = number(row["published"])
        if row["published_low"] is not None and row["published_high"] is not None:
            given += f" ({number(row['published_low'])} to {number(row['published_high'])})"
        ours = number(row["mean"])
        if row["ci_low"] is not None:
            half = (row["ci_high"] - row["ci_low"]) / 2
            # Equal values leave a spread of rounding errors.
            ours += f" ± {number(half if half > 1e-9 * abs(row['mean']) else 0.0)}"
        names = [row[name] or "" for name in labels]
        yield (measures[row["metric"]], *names, given, ours, str(row["n"]), row["verdict"])


def frame_texts(frame: pl.DataFrame) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of a table as texts, numbers in four digits."""
    head = tuple(name.replace("_", " ") for name in frame.columns)
    return head, [tuple(number(value) for value in row) for row in frame.iter_rows()]


def _markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = ["| " + " | ".join(row) + " |" for row in body]
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *rows]


def title_of(made: Reproduced) -> str:
    """Return ``PAPER ITEM (quick): description``."""
    size = "quick" if made.quick else "full"
    return f"{made.paper.key} {made.item.name} ({size}): {made.item.description}"


def markdown(made: Reproduced) -> str:
    """Return the item's table as a Markdown document that says where its numbers come from."""
    head, *body = table_rows(made)
    lines = [f"# {title_of(made)}", "", made.paper.title, ""]
    lines += [f"Ours: mean ± half-width of its 95 % CI over n seeds. {made.item.note}".strip(), ""]
    lines += _markdown_table(head, body)
    for name, frame in made.more.items():
        if len(frame) > MOST_ROWS:
            lines += ["", f"{name.replace('_', ' ')}: {len(frame)} rows in `{name}.csv`."]
        else:
            lines += ["", f"{name.replace('_', ' ')}:", "", *_markdown_table(*frame_texts(frame))]
    size = "--quick" if made.quick else "--full"
    lines += ["", f"Made by `cosim reproduce {made.paper.key} {made.item.name} {size}`."]
    if made.batch is not None:
        missing, failed = made.batch.missing, made.failed
        counts = f"{len(made.batch.results) - failed} runs completed, {failed} failed, {missing} missing"
        lines += [f"{counts}; what they were made with is in `grid.json`, each run's row in `results.csv`."]
    lines += [f"![{path.stem}]({path.name})" for path in made.figures]
    return "\n".join(lines) + "\n"


def check_paper(paper: Paper) -> Sequence[str]:
    """Return what is wrong with a paper's items, one line each, without running anything.

    Checked: names are unique, all cases can be run as written at both sizes, published values fit.
    """
    wrong = []
    names = [item.name for item in paper.items]
    wrong += [f"item '{name}' is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    for item in paper.items:
        try:
            read_published(item)
            read_claims(item)
            for size in (item.quick, item.full):
                if item.compute is None:
                    grid_of(item, size)
        except ScenarioError as error:
            wrong.append(str(error))
    return wrong
