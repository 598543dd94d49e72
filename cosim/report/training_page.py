"""The page of a training, or of several: learning curves, where they ended, and what they were made with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from cosim.plots.quantities import number, quantity
from cosim.report.album import Album, Drawing
from cosim.report.batch import flat
from cosim.report.html import Page, Section, code, facts, paragraph, table
from cosim.report.run_page import manifest_parts
from cosim.report.training import PROGRESS, Training, axis_of

_SMOOTH = 100
"""A curve of more rows is smoothed: its moving mean is over that part of the rows."""
_FIRST = ("return", "reward", "eval", "success")
_NOT_SHOWN = ("seed", "t_us", "wall_s", "worker", *PROGRESS)


def training_page(trainings: Sequence[Training], title: str, album: Album) -> Page:
    """Return the page of *trainings*; its figures are put into *album*."""
    frame = joined(trainings)
    x = axis_of(frame)
    sections = [
        Section("Learning curves", _curves(trainings, frame, x, album)),
        Section("Where they ended", _ends(trainings)),
        Section("Weights", _weights(trainings)),
        Section("Settings", _settings(trainings[0])),
        Section("Made with", _made_with(trainings)),
    ]
    states = [str(t.summary.get("status")) for t in trainings]
    many = f"{len(trainings)} trainings"
    return Page(
        title=title,
        lead=", ".join([*dict.fromkeys(t.method for t in trainings), *([many] if len(trainings) > 1 else [])])
        + f": {len(frame)} rows of the learning curve.",
        status=states[0] if len(set(states)) == 1 else "mixed",
        remark="; ".join(str(t.summary["error"]) for t in trainings if t.summary.get("error")),
        good=all(state in ("completed", "running", "unknown") for state in states),
        sections=[s for s in sections if any(s.parts)],
        footer="Figures lie beside this page as PNG and SVG.",
    )


def joined(trainings: Sequence[Training]) -> pl.DataFrame:
    """Return all curves in one frame with the columns ``_method`` and ``_run`` that tell them apart."""
    frames = [
        t.curve.with_columns(pl.lit(t.method).alias("_method"), pl.lit(str(t.folder)).alias("_run"))
        for t in trainings
    ]
    return pl.concat(frames, how="diagonal_relaxed")


def shown_columns(frame: pl.DataFrame) -> list[str]:
    """Return the numeric columns that hold something, returns and evaluations before losses and the rest."""
    columns = [
        name
        for name, kind in frame.schema.items()
        if kind.is_numeric() and name not in _NOT_SHOWN and frame[name].is_not_null().any()
    ]
    rank = {name: next((k for k, word in enumerate(_FIRST) if word in name), len(_FIRST)) for name in columns}
    return sorted(columns, key=lambda name: rank[name])


def _curves(trainings: Sequence[Training], frame: pl.DataFrame, x: str | None, album: Album) -> list[str]:
    if frame.is_empty():
        return [paragraph("There is no curve yet.")]
    if x is None:
        return [paragraph(f"The curve has none of the columns {', '.join(PROGRESS)}.")]
    columns = shown_columns(frame)
    varying = [column for column in columns if frame[column].drop_nulls().n_unique() > 1]
    parts = [album.add([_curve(trainings, frame, x, column) for column in varying])]
    if len(varying) < len(columns):
        names = ", ".join(quantity(column).label for column in columns if column not in varying)
        parts.append(paragraph(f"Not drawn, because it never changes: {names}."))
    return parts


def _curve(trainings: Sequence[Training], frame: pl.DataFrame, x: str, column: str) -> Drawing:
    from cosim.plots.curves import learning_curves

    part = frame.filter(pl.col(column).is_not_null())
    smooth = max(1, len(part) // len(trainings) // _SMOOTH)
    shown = quantity(column)
    figure = learning_curves(
        part,
        x,
        column,
        group="_method",
        seed="_run",
        smooth=smooth,
        title=shown.label,
        runs=[t.label for t in trainings],
    )
    last = ", ".join(f"{t.label} {number(_last(t, column), shown.factor)}" for t in trainings)
    smoothed = f", mean of the last {smooth} rows" if smooth > 1 else ""
    return Drawing(
        f"curve_{re.sub(r'[^A-Za-z0-9]+', '_', column)}",
        figure,
        f"{shown.label[:1].upper()}{shown.label[1:]} against {quantity(x).label}{smoothed}.",
        f"Learning curve of {shown.label}; last values: {last}.",
        broad=False,
    )


def _last(training: Training, column: str) -> Any:
    if column not in training.curve.columns:
        return None
    values = training.curve[column].drop_nulls()
    return values[-1] if len(values) else None


def _ends(trainings: Sequence[Training]) -> list[str]:
    columns = list(
        dict.fromkeys(name for t in trainings for name in t.curve.columns if name not in ("seed", "t_us"))
    )
    rows = []
    for column in columns:
        shown = quantity(column)
        rows.append(
            (
                shown.label,
                *(number(_last(t, column), shown.factor) for t in trainings),
                shown.unit,
                code(column),
            )
        )
    head = ["quantity", *(t.label for t in trainings), "unit", "column"]
    return [table(head, rows, caption="Last value of each column of the curve.")] if rows else []


def _weights(trainings: Sequence[Training]) -> list[str]:
    rows = [
        (code(path.relative_to(t.folder)), t.label, path.stat().st_size / 1000)
        for t in trainings
        for path in t.checkpoints
    ]
    return (
        [table(["file", "training", "kB"], rows, caption="Policies and checkpoints (safetensors).")]
        if rows
        else []
    )


def _settings(training: Training) -> list[str]:
    """Return the numbers of the training and of the method's configuration."""
    parts = []
    for title, key in (("Training", "training"), ("Method", "config")):
        values = flat(training.manifest.get(key) or {})
        if values:
            parts.append(f"<h3>{title}</h3>" + facts({name: value for name, value in values.items() if name}))
    return parts


def _made_with(trainings: Sequence[Training]) -> list[str]:
    more = [paragraph("Of the first training; each one's own training.json is in its folder.")]
    return [*(more if len(trainings) > 1 else []), *manifest_parts(_known(trainings[0]))]


def _known(training: Training) -> dict[str, Any]:
    """Return the manifest in the words of a run's."""
    manifest = dict(training.manifest)
    task, agent = manifest.get("task"), manifest.get("agent")
    manifest["agents"] = {str(task): agent} if agent else {}
    manifest["name"], manifest["scenario"] = manifest.get("scenario"), manifest.get("evaluate")
    return manifest
