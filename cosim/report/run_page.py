"""The page of one run: how it ended, its metrics, events and figures, and what it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from cosim.plots.quantities import number, quantity
from cosim.report.album import Album
from cosim.report.html import Page, Section, code, facts, folded, paragraph, preformatted, table
from cosim.report.run_figures import run_figures

if TYPE_CHECKING:
    from cosim.recording import Run

_LOG_LINES = 30
_LISTED = 50
"""Rows of the list of single events."""
_FEW = 30
"""Events of a kind are listed one by one if there are no more than this; collisions always."""
_REMARKS = {
    "completed": "the run reached its end",
    "interrupted": "the run was stopped before its end; metrics are those of the time until then",
    "failed": "the run ended with an error; metrics are those of the time until then",
    "killed": "the run ended without a summary: there are no metrics, tables hold what was written until then",
    "running": "the run goes on; this is what it has written so far",
}


def run_page(run: Run, album: Album) -> Page:
    """Return the page of *run*; its figures are put into *album*."""
    drawings, notes = run_figures(run)
    sections = [
        Section("Metrics", _metrics(run)),
        Section("Figures", [*map(paragraph, notes), album.add(drawings)]),
        Section("Events", _events(run)),
        Section("Orders and actions", _orders(run)),
        Section("Made with", manifest_parts(run.manifest)),
        Section("Tables", _tables(run)),
    ]
    if run.status != "completed":
        sections.insert(0, Section("Last words", _last_words(run)))
    description = str(run.scenario.get("description") or "")
    error = run.summary.get("error")
    return Page(
        title=f"{run.manifest.get('name', 'run')}, seed {run.manifest.get('seed', '?')}",
        lead=description,
        status=run.status,
        remark=str(error) if error else _REMARKS.get(run.status, ""),
        good=run.status in ("completed", "running"),
        sections=[s for s in sections if any(s.parts)],
        footer=f"Run directory: {run.dir.resolve()}. Figures lie beside this page as PNG and SVG.",
    )


def _metrics(run: Run) -> list[str]:
    parts = []
    if run.metrics:
        parts.append(
            table(
                ["metric", "value", "unit", "name"],
                metric_rows(run.metrics),
                caption="Over the measured time; – is a metric over nothing.",
            )
        )
    else:
        parts.append(paragraph("This run has no metrics."))
    for task, values in (run.summary.get("tasks") or {}).items():
        parts.append(f"<h3>Task {code(task)}</h3>" + facts({_words(k): v for k, v in dict(values).items()}))
    return parts


def metric_rows(metrics: Mapping[str, Any]) -> list[Sequence[Any]]:
    """Return a row for each metric: its name in words, value and unit in print, and its name in the data."""
    rows: list[Sequence[Any]] = []
    for name, value in metrics.items():
        shown = quantity(name)
        rows.append((shown.label, number(value, shown.factor), shown.unit, code(name)))
    return rows


def _words(name: str) -> str:
    return name.replace("_", " ")


def _events(run: Run) -> list[str]:
    events = run.events
    if events.is_empty():
        return [paragraph("No event was recorded.")]
    warmup_us = float(run.scenario.get("warmup") or 0.0) * 1e6
    kinds = events.group_by("kind").agg(
        pl.len().alias("n"),
        (pl.col("t_us") > warmup_us).sum().alias("measured"),
        pl.col("t_us").min().alias("first"),
        pl.col("t_us").max().alias("last"),
        pl.col("value").cast(pl.Float64).mean().alias("value"),
    )
    rows = [
        (kind, n, measured, f"{first / 1e6:g}", f"{last / 1e6:g}", value)
        for kind, n, measured, first, last, value in kinds.sort("kind").rows()
    ]
    head = ["event", "count", "after warm-up", "first [s]", "last [s]", "mean value (SI)"]
    parts = [table(head, rows, caption="Events by kind.")]
    return [*parts, *_single_events(events)]


def _single_events(events: pl.DataFrame) -> list[str]:
    counts = events.group_by("kind").len()
    few = counts.filter((pl.col("len") <= _FEW) & ~pl.col("kind").is_in(["departure", "arrival"]))[
        "kind"
    ].to_list()
    rare = events.filter(pl.col("kind").is_in([*few, "collision"])).sort("t_us", maintain_order=True)
    if rare.is_empty():
        return []
    empty = [None, ""]
    columns = [
        name
        for name in ("id", "other", "place", "station", "value", "text")
        if name in rare.columns and not all(value in empty for value in rare[name].unique())
    ]
    shown = rare.head(_LISTED)
    lines = [
        (f"{t / 1e6:g}", kind, *values) for t, kind, *values in shown.select("t_us", "kind", *columns).rows()
    ]
    more = f"; the first {_LISTED} of {len(rare)}" if len(rare) > _LISTED else ""
    return [table(["time [s]", "event", *columns], lines, caption=f"Single events of rare kinds{more}.")]


def _orders(run: Run) -> list[str]:
    parts = []
    if len(run.commands):
        counts = (
            run.commands.group_by("source", "kind")
            .agg(pl.len(), pl.col("id").n_unique())
            .sort("source", "kind")
        )
        parts.append(
            table(
                ["ordered by", "order", "count", "vehicles or others"],
                counts.rows(),
                caption="Orders to traffic and network.",
            )
        )
    if len(run.actions):
        answers = (
            run.actions.group_by("task", "role")
            .agg(
                pl.len(),
                pl.col("id").n_unique(),
                pl.col("masked").sum(),
                (pl.col("masked").mean() * 100).alias("share"),
            )
            .sort("task", "role")
        )
        rows = [(*row[:-1], f"{row[-1]:.3g} %") for row in answers.rows()]
        head = ["task", "role", "actions", "deciders", "masked", "share masked"]
        parts.append(
            table(head, rows, caption="What agents answered; a masked action was executed as its no-op.")
        )
    return parts


def _tables(run: Run) -> list[str]:
    rows = [(code(f"{name}/"), len(frame), ", ".join(frame.columns)) for name, frame in run.tables.items()]
    return [table(["table", "rows", "columns"], rows, caption="What was recorded (cosim.load_run reads it).")]


def _last_words(run: Run) -> list[str]:
    parts = []
    error = run.summary.get("error")
    if error:
        parts.append(preformatted(str(error)))
    log = run.dir / "log.txt"
    if log.is_file():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        if lines:
            parts += [paragraph("The end of log.txt:"), preformatted("\n".join(lines))]
    return parts or [paragraph("Nothing was logged.")]


def manifest_parts(manifest: Mapping[str, Any]) -> list[str]:
    """Return what a run was made with: scenario, versions, git state, hashes; the rest of the manifest folded."""
    versions = {"Python": manifest.get("python"), **(manifest.get("packages") or {})}
    about = {
        "scenario": manifest.get("name"),
        "seed": code(manifest["seed"]) if "seed" in manifest else None,
        "agents": ", ".join(f"{task}: {agent}" for task, agent in (manifest.get("agents") or {}).items()),
        "started": manifest.get("created"),
        "finished": manifest.get("finished"),
        "wall time": None if manifest.get("wall_s") is None else f"{float(manifest['wall_s']):.1f} s",
        "command": code(" ".join(map(str, manifest.get("command") or ())))
        if manifest.get("command")
        else None,
        "folder": manifest.get("folder"),
        "resumed": ", ".join(
            f"{r.get('at')} at {r.get('t_us', 0) / 1e6:g} s" for r in manifest.get("resumed") or ()
        ),
        "repeats": manifest.get("replay_of"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "platform": (manifest.get("platform") or {}).get("system"),
    }
    for where, state in (manifest.get("git") or {}).items():
        changed = ", with uncommitted changes" if state.get("dirty") else ""
        about[f"git ({where})"] = f"{state.get('commit')}{changed}"
    parts = [facts({k: v for k, v in about.items() if v not in (None, "")})]
    hashes = [(code(path), code(digest)) for path, digest in (manifest.get("hashes") or {}).items()]
    if hashes:
        parts.append(table(["file", "SHA-256"], hashes, caption="Net, weights and data."))
    if manifest.get("scenario"):
        text = json.dumps(manifest["scenario"], indent=2, ensure_ascii=False)
        parts.append(folded("The whole scenario as it was resolved (SI units)", preformatted(text)))
    return parts
