"""The page of a batch: means with confidence intervals over the seeds, a bar chart a metric, and every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from cosim.plots.intervals import mean_interval
from cosim.plots.quantities import plus_minus, quantity
from cosim.report.album import Album, Drawing
from cosim.report.batch import Batch
from cosim.report.html import Page, Section, code, facts, folded, paragraph, table
from cosim.report.run_page import manifest_parts

_COLUMNS = 4  # metrics a table, so that it fits on paper
_CAPTION = "Mean over completed runs ± half of its 95 % confidence interval (t); n where a run had nothing to measure."
_OPEN_ROWS = 30  # longer lists of runs are folded
_GROUPS = 7  # bars beside each other


def batch_page(batch: Batch, album: Album) -> Page:
    """Return the page of *batch*; its figures are put into *album*."""
    counts = Counter(batch.rows["status"].to_list())
    if batch.missing:
        counts["not finished"] = batch.missing
    completed, all_runs = counts.get("completed", 0), counts.total()
    others = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()) if status != "completed")
    sections = [
        Section("Means", _means(batch)),
        Section("Figures", _figures(batch, album)),
        Section("Runs that did not complete", _failed(batch)),
        Section("Runs", _runs(batch)),
        Section("Made with", _made_with(batch)),
    ]
    return Page(
        title=f"{'Batch' if batch.has_grid else 'Runs of'} {batch.folder.resolve().name}",
        lead=_lead(batch),
        status="completed" if completed == all_runs else "incomplete",
        remark=f"{completed} of {all_runs} runs completed" + (f"; {others}" if others else ""),
        good=completed == all_runs,
        sections=[s for s in sections if any(s.parts)],
        footer=f"Batch directory: {batch.folder.resolve()}. Figures lie beside this page as PNG and SVG.",
    )


def _lead(batch: Batch) -> str:
    seeds = batch.rows["seed"].drop_nulls().unique().sort().to_list()
    named = f"{len(seeds)} seeds" if len(seeds) != 1 else f"seed {seeds[0]}"
    cells = [f"{batch.rows[p].n_unique()} values of {p}" for p in batch.varying]
    return f"{len(batch.rows)} runs: " + ", ".join([*cells, named]) + "."


def run_labels(batch: Batch, rows: pl.DataFrame) -> list[str]:
    """Return what figures call the runs of *rows*: the batch's folder and theirs, or else parameters and seed."""
    name = batch.folder.resolve().name
    labels = []
    for row in rows.iter_rows(named=True):
        own = row["run"] or ", ".join([*(f"{p}={row[p]}" for p in batch.varying), f"seed {row['seed']}"])
        labels.append(f"{name}/{own}")
    return labels


def _means(batch: Batch) -> list[str]:
    metrics = [m for m in batch.metrics if batch.completed[m].is_not_null().any()]
    if not metrics:
        return [paragraph("No run has a metric yet.")]
    keys = list(batch.varying)
    cells = _cells(batch, keys)
    parts = []
    for first in range(0, len(metrics), _COLUMNS):
        chosen = metrics[first : first + _COLUMNS]
        rows = [
            (*key, len(part), *(_mean(part, metric) for metric in chosen))
            if keys
            else (len(part), *(_mean(part, metric) for metric in chosen))
            for key, part in cells
        ]
        head = [*keys, "runs", *(quantity(metric).axis for metric in chosen)]
        parts.append(table(head, rows, caption="Means, continued." if first else _CAPTION))
    return parts


def _cells(batch: Batch, keys: Sequence[str]) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    if not keys:
        return [((), batch.completed)]
    groups = batch.completed.sort(keys, nulls_last=True, maintain_order=True).group_by(
        keys, maintain_order=True
    )
    return [(key, part) for key, part in groups]


def _mean(part: pl.DataFrame, metric: str) -> str:
    shown = quantity(metric)
    found = mean_interval(part[metric].cast(pl.Float64).to_numpy())
    fewer = f" (n = {found.n})" if 0 < found.n < len(part) else ""
    return plus_minus(found.mean, found.half, shown.factor) + fewer


def _figures(batch: Batch, album: Album) -> list[str]:
    parts = [album.add(batch_figures(batch))]
    constant = [m for m in batch.metrics if batch.completed[m].drop_nulls().n_unique() == 1]
    if constant and len(batch.completed) > 1:
        names = ", ".join(quantity(metric).label for metric in constant)
        parts.append(paragraph(f"Not drawn, because it is the same in all runs: {names}."))
    return parts


def batch_figures(batch: Batch) -> list[Drawing]:
    """Return a bar chart for each metric in which runs differ.

    The parameter with most values is along the axis, the next one tells the bars of a place apart.
    """
    from cosim.plots.bar_charts import bars

    done = batch.completed
    place, group = axes_of(batch)
    if done.is_empty():
        return []
    frame, place = _placed(done, batch, place, group)
    found = []
    for metric in batch.metrics:
        if done[metric].drop_nulls().n_unique() < 2:
            continue
        shown = quantity(metric)
        rest = [p for p in batch.varying if p != group]
        figure = bars(
            frame,
            metric,
            place,
            group=group,
            x_label=", ".join(rest) or " ",
            title=shown.label,
            runs=run_labels(batch, done),
        )
        mean = ", ".join(
            f"{' '.join(map(str, key)) or 'all runs'} {_mean(part, metric)}"
            for key, part in _cells(batch, batch.varying)
        )
        caption = f"{shown.label} by {', '.join(batch.varying)}." if batch.varying else f"{shown.label}."
        found.append(
            Drawing(
                f"metric_{metric.replace('.', '_')}",
                figure,
                caption[0].upper() + caption[1:],
                f"Bar chart of {shown.axis}, mean and 95 % confidence interval: {mean}.",
                broad=False,
            )
        )
    return found


def axes_of(batch: Batch) -> tuple[str | None, str | None]:
    """Return the parameter along the axis and the one of the groups, None where there is none."""
    by_size = sorted(batch.varying, key=lambda p: -batch.rows[p].n_unique())
    if not by_size:
        return None, None
    groups = [p for p in by_size[1:] if batch.rows[p].n_unique() <= _GROUPS]
    return by_size[0], groups[0] if groups else None


def _placed(
    done: pl.DataFrame, batch: Batch, place: str | None, group: str | None
) -> tuple[pl.DataFrame, str]:
    """Return the rows in the order of the axis, and the column along it; further parameters are joined to it."""
    rest = [p for p in batch.varying if p not in (place, group)]
    if place is None:
        return done.with_columns(pl.lit("all runs").alias("_place")), "_place"
    ordered = done.sort([place, *rest, *([group] if group else [])], nulls_last=True)
    if not rest:
        return ordered, place
    joined = pl.concat_str([pl.col(p).cast(pl.String).fill_null("–") for p in (place, *rest)], separator=", ")
    return ordered.with_columns(joined.alias("_place")), "_place"


def _failed(batch: Batch) -> list[str]:
    rows = batch.rows.filter(pl.col("status") != "completed")
    if rows.is_empty():
        return []
    head = ["run", *batch.varying, "seed", "status", "error"]
    lines = [
        (code(label), *(row[p] for p in batch.varying), row["seed"], row["status"], row["error"])
        for label, row in zip(run_labels(batch, rows), rows.iter_rows(named=True), strict=True)
    ]
    return [table(head, lines, caption="The others went on.")]


def _runs(batch: Batch) -> list[str]:
    head = ["run", *batch.varying, "seed", "status", "wall time [s]"]
    lines = [
        (code(label), *(row[p] for p in batch.varying), row["seed"], row["status"], row["wall_s"])
        for label, row in zip(run_labels(batch, batch.rows), batch.rows.iter_rows(named=True), strict=True)
    ]
    whole = table(head, lines, caption="All runs; their metrics are in results.csv or their summary.json.")
    return [whole if len(lines) <= _OPEN_ROWS else folded(f"All {len(lines)} runs", whole)]


def _made_with(batch: Batch) -> list[str]:
    fixed = {p: batch.rows[p][0] for p in batch.parameters if p not in batch.varying and len(batch.rows)}
    wall = batch.rows["wall_s"].cast(pl.Float64, strict=False).sum()
    parts = [facts({**fixed, "wall time of all runs": f"{wall:.0f} s"} if wall else fixed)]
    if not batch.has_grid:
        parts.append(paragraph("Of the first run; each run's own manifest is in its directory."))
    shared = {
        k: v
        for k, v in batch.manifest.items()
        if k not in ("scenario", "seed", "finished", "wall_s", "agents")
    }
    return [*parts, *manifest_parts(shared)]
