"""Matched traces on disk: a folder with the trips, their fixes, and what they were made of.

``matched.json`` names net and source and holds the counts, ``trips.csv`` has one row a trip, ``fixes.csv`` one row a
fix (docs/traces.md describes the columns).  Text, so that a look-alike set can be committed and read by eye.  The
path that a trip follows is not stored: it is a function of its edges and the net, whose hash must be the one that
the traces were matched to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from cosim.errors import ScenarioError, nearest
from cosim.resources import locate
from cosim.traffic.nets import Net, load_geometry
from cosim.traffic.traces.cleaning import Fixes
from cosim.traffic.traces.projection import check_projection
from cosim.traffic.traces.reading import label_of
from cosim.traffic.traces.tables import check_new

if TYPE_CHECKING:
    from cosim.traffic.traces.matching import MatchCounts, MatchRules

META, TRIPS, FIXES = "matched.json", "trips.csv", "fixes.csv"
_FORMAT = 1
_TIME = "%Y-%m-%d %H:%M:%S%.f"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MatchedTraces:
    """Trips and fixes of a folder of matched traces.

    ``trips``: trip, vehicle, segment, begin, end, fixes, length, edges (a list).  ``fixes``: trip, time, x, y (net
    metres), s (m along the trip's path), residual (m), line (of the source file); a trip's fixes are consecutive.
    """

    folder: Path
    meta: dict[str, Any]
    trips: pl.DataFrame
    fixes: pl.DataFrame

    def only(self, vehicles: Sequence[str]) -> MatchedTraces:
        """Return the traces of some vehicles; ScenarioError for one that has no trip."""
        known = self.trips["vehicle"].unique().to_list()
        for name in vehicles:
            if name not in known:
                raise ScenarioError(f"no trip of a vehicle '{name}'{nearest(name, known)}")
        trips = self.trips.filter(pl.col("vehicle").is_in(list(vehicles)))
        return replace(
            self, trips=trips, fixes=self.fixes.filter(pl.col("trip").is_in(trips["trip"].to_list()))
        )

    def files(self) -> tuple[Path, ...]:
        """Return the files that the traces were read from."""
        return tuple(self.folder / name for name in (META, TRIPS, FIXES))


def match_to(
    fixes: Fixes,
    net: Net,
    out: str | Path,
    *,
    rules: MatchRules | None = None,
    source: str | Path | None = None,
) -> MatchedTraces:
    """Match *fixes* to *net* and write the folder *out*; *source* is hashed into it.

    Raises:
        ScenarioError: the net cannot take fixes, *out* is not empty, or nothing could be matched.
    """
    from cosim.traffic.traces.matching import (
        MatchCounts,
        MatchRules,
        match,
    )  # scipy and shapely: half a second

    target = Path(out)
    check_new(target)
    check_projection(net)
    geometry = load_geometry(net)
    rules = rules or MatchRules()
    counts = MatchCounts()
    table = fixes.table
    trips, parts = [], []
    for number, trip in enumerate(match(table, geometry, rules, counts)):
        first = table.row(int(trip.rows[0]), named=True)
        trips.append(
            {
                "trip": number,
                "vehicle": first["vehicle"],
                "segment": first["segment"],
                "begin": int(trip.t_us[0]),
                "end": int(trip.t_us[-1]),
                "fixes": len(trip.rows),
                "length": round(trip.path.length, 2),
                "edges": " ".join(trip.edges),
            }
        )
        columns = {
            "time": trip.t_us,
            "x": trip.xy[:, 0],
            "y": trip.xy[:, 1],
            "s": trip.s,
            "residual": trip.residual,
        }
        part = pl.DataFrame({"trip": np.full(len(trip.rows), number), **columns})
        parts.append(part.with_columns(table["line"].gather(trip.rows).alias("line")))
    if not trips:
        raise ScenarioError(
            f"{fixes.report.source}: no trip could be matched to net '{net.name}': {counts.no_road} of"
            f" {counts.fixes} fixes lie further than {rules.radius:g} m from its roads, {counts.alone} stand alone"
        )
    every = pl.concat(parts)
    meta = _meta(fixes, net, rules, counts, every, source)
    _write(target, meta, pl.DataFrame(trips), every)
    return load_matched(target)


def _meta(
    fixes: Fixes,
    net: Net,
    rules: MatchRules,
    counts: MatchCounts,
    every: pl.DataFrame,
    source: str | Path | None,
) -> dict[str, Any]:
    residual = every["residual"].to_numpy()
    meta: dict[str, Any] = {
        "format": _FORMAT,
        "net": net.name,
        "variant": net.variant,
        "net_sha256": net.sha256(),
        "projection": load_geometry(net).projection,
        "source": Path(fixes.report.source).name,
        "rules": {name: float(f"{value:.6g}") for name, value in vars(rules).items()},
        "counts": dict(vars(counts)),
        "residual_m": {
            "mean": round(float(residual.mean()), 3),
            "median": round(float(np.median(residual)), 3),
            "p95": round(float(np.percentile(residual, 95)), 3),
            "max": round(float(residual.max()), 3),
        },
    }
    if source is not None and Path(source).is_file():
        meta["source_sha256"] = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return meta


def _write(target: Path, meta: dict[str, Any], trips: pl.DataFrame, every: pl.DataFrame) -> None:
    target.mkdir(parents=True, exist_ok=True)
    clock = pl.col("time").cast(pl.Datetime("us")).dt.strftime(_TIME)
    rounded = [pl.col(name).round(3) for name in ("x", "y", "s", "residual")]
    every.with_columns(clock, *rounded).write_csv(target / FIXES)
    ends = [pl.col(name).cast(pl.Datetime("us")).dt.strftime(_TIME) for name in ("begin", "end")]
    trips.with_columns(ends).write_csv(target / TRIPS)
    (target / META).write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def find_matched(name: str | Path) -> Path:
    """Return the folder of matched traces by path or by its name in ``data/``.

    Raises:
        ScenarioError: there is none; says how to make one.
    """
    folder = locate(name, "data")
    if folder is not None and folder.name == META:
        folder = folder.parent
    if folder is None:
        raise ScenarioError(
            f"no matched traces '{name}': `cosim trace match FILE --net NET --out {name}` makes them"
        )
    if not (folder / META).is_file():
        what = "a file, not matched traces" if folder.is_file() else f"without {META}"
        raise ScenarioError(f"'{name}' is {what}: `cosim trace match FILE --net NET --out DIR` makes one")
    return folder


def load_matched(name: str | Path) -> MatchedTraces:
    """Read a folder of matched traces.

    Raises:
        ScenarioError: it is not there, or damaged.
    """
    folder = find_matched(name)
    label = label_of(folder)
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        trips = pl.read_csv(folder / TRIPS, schema_overrides={"vehicle": pl.String})
        every = pl.read_csv(folder / FIXES)
        times = [pl.col(c).str.strptime(pl.Datetime("us"), _TIME) for c in ("begin", "end")]
        trips = trips.with_columns(*times, pl.col("edges").str.split(" "))
        floats = [pl.col(c).cast(pl.Float64) for c in ("x", "y", "s", "residual")]
        every = every.with_columns(pl.col("time").str.strptime(pl.Datetime("us"), _TIME), *floats)
    except (OSError, ValueError, PolarsError) as error:
        words = " ".join(str(error).split())[:160]
        raise ScenarioError(f"{label}: damaged matched traces ({words}); match again") from None
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
        raise ScenarioError(f"{label}: matched traces of another format; match again")
    _check(trips, every, label)
    return MatchedTraces(folder, meta, trips, every)


def _check(trips: pl.DataFrame, every: pl.DataFrame, label: str) -> None:
    """Refuse fixes that are not those of the trips, in order, with time and place ascending."""
    trip, t, s = every["trip"].to_numpy(), every["time"].to_physical().to_numpy(), every["s"].to_numpy()
    same = trip[1:] == trip[:-1]
    ordered = (np.diff(trip) >= 0).all() and (np.diff(t)[same] > 0).all() and (np.diff(s)[same] >= 0).all()
    expected: Sequence[int] = trips["fixes"].to_list()
    if not ordered or trips["trip"].to_list() != list(range(len(trips))):
        raise ScenarioError(f"{label}: damaged matched traces (trips and fixes out of order); match again")
    if np.bincount(trip, minlength=len(trips)).tolist() != expected:
        raise ScenarioError(f"{label}: damaged matched traces (fixes are missing); match again")


def check_net(traces: MatchedTraces, net: Net) -> None:
    """Raise ScenarioError if *traces* were not matched to *net* as it is."""
    meta = traces.meta
    if meta.get("net_sha256") != net.sha256():
        same = meta.get("net") == net.name and meta.get("variant") == net.variant
        what = "an older build of this net" if same else f"net '{meta.get('net')}', not to '{net.name}'"
        raise ScenarioError(
            f"the traces in '{label_of(traces.folder)}' were matched to {what}:"
            f" `cosim trace match FILE --net {net.name} --out DIR` matches them again"
        )
