"""Figures of the radio, the edge servers and of tables that tasks added, from what a run recorded of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cosim.plots.quantities import Quantity, quantity
from cosim.recording import STANDARD
from cosim.report.album import Drawing
from cosim.report.samples import measured, run_label, thinned, warmup_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cosim.recording import Run

_TOGETHER = (("sinr_db", "snr_db"), ("rate_down", "rate_up"), ("rx_dbm",), ("rate",))
"""Columns of links that share a figure, because they share a unit."""
_LINES = 10
"""Entities (servers, zones ...) whose series still can be told apart in one figure."""
_PANELS = 5
_FEW = 20
"""Fewer samples give no distribution worth a figure."""


def network_figures(run: Run, serving: pl.DataFrame) -> list[Drawing]:
    """Return the figures of links, D2D links, jobs, servers and tables of tasks; none of what was not recorded.

    *serving* are the rows of `serving_links`.
    """
    found = _distributions(run, serving, "links", "links to the serving station")
    if "d2d" in run.tables:
        found += _distributions(run, measured(run, run.tables["d2d"]), "d2d", "D2D links")
    found += _jobs(run)
    for name in run.tables:
        if name == "servers" or name not in STANDARD:
            found += _series(run, name)
    return found


def serving_links(run: Run) -> pl.DataFrame:
    """Return the rows of ``links/`` after the warm-up of stations that serve; all stations if none does."""
    links = run.links
    if "serving" in links.columns and links["serving"].any():
        links = links.filter(pl.col("serving"))
    return measured(run, links)


def _distributions(run: Run, links: pl.DataFrame, table: str, words: str) -> list[Drawing]:
    thin = thinned(links)
    found = []
    for columns in _TOGETHER:
        samples = {
            column: values
            for column in columns
            if column in thin.columns and len(values := thin[column].drop_nulls().to_numpy()) >= _FEW
        }
        # Without interference SINR is SNR, and one line would hide the other.
        samples = {
            c: v for c, v in samples.items() if c == columns[0] or not _equal(v, samples.get(columns[0]))
        }
        if samples:
            name = f"{table}_{'_'.join(samples)}"
            found.append(_cdf(run, name, {_shown(c): values for c, values in samples.items()}, words))
    return found


def _equal(values: NDArray[np.float64], others: NDArray[np.float64] | None) -> bool:
    return others is not None and np.array_equal(values, others)


def _shown(column: str) -> Quantity:
    # Elsewhere a rate may be one of vehicles.
    return Quantity("rate", "Mbit/s", 1e-6) if column == "rate" else quantity(column)


def _cdf(run: Run, name: str, samples: dict[Quantity, NDArray[np.float64]], words: str) -> Drawing:
    from cosim.plots.distributions import cdf

    first = next(iter(samples))
    labels = " and ".join(shown.label for shown in samples)
    figure = cdf(
        {shown.label: values for shown, values in samples.items()},
        x_label=Quantity(", ".join(shown.label for shown in samples), first.unit).axis,
        factor=first.factor,
        title=f"{labels[:1].upper()}{labels[1:]}, {words}",
        runs=[run_label(run)],
    )
    medians = ", ".join(f"{s.label} {np.median(v) * s.factor:.4g} {s.unit}" for s, v in samples.items())
    count = max(map(len, samples.values()))
    return Drawing(
        name,
        figure,
        f"Distribution of {labels}, {words}, after the warm-up.",
        f"Cumulative distribution of {labels} over {count} samples; medians: {medians}.",
        broad=False,
    )


def _jobs(run: Run) -> list[Drawing]:
    done = measured(run, run.events.filter(pl.col("kind") == "job_done"))["value"].drop_nulls().to_numpy()
    if len(done) < _FEW:
        return []
    return [_cdf(run, "job_latency", {Quantity("job latency", "s"): done}, "from submission to result")]


def _series(run: Run, name: str) -> list[Drawing]:
    """Return the series of a table's numeric columns, a line an entity if one column of text names a few."""
    from cosim.plots.series import time_series

    frame = run.tables[name]
    texts = [c for c, kind in frame.schema.items() if kind == pl.String]
    columns = [
        c
        for c, kind in frame.schema.items()
        if c != "t_us" and kind.is_numeric() and frame[c].drop_nulls().n_unique() > 1
    ][:_PANELS]
    if frame.is_empty() or not columns or len(texts) > 1:
        return []
    parts = {"": frame.sort("t_us")}
    if texts:
        parts = {str(key): part.sort("t_us") for (key,), part in frame.group_by(texts, maintain_order=True)}
    repeats = any(part["t_us"].n_unique() < len(part) for part in parts.values())
    if repeats or len(parts) > _LINES:
        return []
    title = name.replace("_", " ")
    figure = time_series(
        parts, columns, warmup_s=warmup_s(run), title=title[:1].upper() + title[1:], runs=[run_label(run)]
    )
    labels = ", ".join(quantity(c).label for c in columns)
    of_whom = f" of {_listed(parts)}" if texts else ""
    return [
        Drawing(
            f"table_{re.sub(r'[^A-Za-z0-9]+', '_', name)}",
            figure,
            f"Table {name}/ over simulated time: {labels}.",
            f"Line charts of {labels}{of_whom} from {frame['t_us'].min() / 1e6:g} s"  # type: ignore[operator]
            f" to {frame['t_us'].max() / 1e6:g} s.",  # type: ignore[operator]
            broad=False,
        )
    ]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
