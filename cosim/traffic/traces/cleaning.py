"""From usable rows to clean tracks: sorted, without duplicates, strays and jumps, cut at long gaps.

Reads the rows that ``reading`` found usable; gives the fixes in the documented order and schema
(docs/traces.md) and completes the report of what was dropped and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cosim.errors import ScenarioError
from cosim.traffic.traces.projection import GLOBE_RADIUS
from cosim.traffic.traces.reading import KMH, first_of, read_rows
from cosim.traffic.traces.report import Report

SHENZHEN = (113.75, 22.40, 114.65, 22.90)
"""West, south, east and north of Shenzhen with its coast, degrees."""

COLUMNS = ("vehicle", "segment", "time", "lon", "lat", "speed", "occupied", "line")
"""Columns of clean fixes, in order."""


@dataclass(frozen=True)
class Rules:
    """What counts as damage between rows.

    ``box`` is west, south, east, north in degrees (None: everywhere), ``max_speed`` the largest implied speed (m/s),
    ``gap`` the longest pause inside a segment (s).
    """

    box: tuple[float, float, float, float] | None = SHENZHEN
    max_speed: float = 120 * KMH
    gap: float = 300.0


@dataclass(frozen=True)
class Fixes:
    """Clean fixes (columns :data:`COLUMNS`; time is naive local, speed in m/s) and what was dropped on the way."""

    table: pl.DataFrame
    report: Report


def convert(
    file: str | Path,
    *,
    columns: str | None = None,
    date: str | None = None,
    rules: Rules | None = None,
    strict: bool = False,
) -> Fixes:
    """Read the raw GPS file *file* and clean it.

    Args:
        file, columns, date: see :func:`~cosim.traffic.traces.reading.read_rows`.
        rules: what counts as damage between rows.
        strict: any damaged row (not duplicates, which every release has) is an error.

    Raises:
        ScenarioError: the file cannot be used, nothing is left of it, or *strict* and a row is damaged.
    """
    rows, report = read_rows(file, columns=columns, date=date)
    fixes = clean(rows, report, rules or Rules())
    if strict:
        found = [reason for reason in report.dropped if reason not in ("duplicate", "header")]
        if found:
            line, text = report.examples[found[0]][0]
            total = sum(report.dropped[reason] for reason in found)
            raise ScenarioError(
                f"{report.source}:{line}: {found[0]}: '{text[:60]}'; {total} damaged rows (--strict)"
            )
    return fixes


def clean(rows: pl.DataFrame, report: Report, rules: Rules) -> Fixes:
    """Sort, dedupe and cut usable *rows*; completes *report*.

    Raises:
        ScenarioError: all rows lie outside the box.
    """
    report.rules = {
        "box_degrees": list(rules.box) if rules.box else None,
        "max_speed_mps": round(rules.max_speed, 6),
        "gap_s": rules.gap,
    }
    frame = _inside(rows, report, rules.box)
    frame = frame.sort("vehicle", "time", "line")
    moved = _out_of_order(frame)
    if moved:
        report.notes.append(f"{moved} rows were out of order in time and have been sorted")
    frame = _deduped(frame, report)
    frame = _without_jumps(frame, report, rules.max_speed)
    t, new = _times_and_starts(frame)
    split = new | (np.diff(t, prepend=t[:1]) > rules.gap)
    number = np.cumsum(split) - 1
    first_of_vehicle = np.maximum.accumulate(np.where(new, number, 0))
    frame = frame.with_columns(pl.Series("segment", number - first_of_vehicle, pl.Int64))
    sizes = np.bincount(number) if len(number) else np.zeros(0, int)
    report.kept = len(frame)
    report.vehicles = int(new.sum())
    report.segments = len(sizes)
    alone = int((sizes == 1).sum())
    if alone:
        report.notes.append(f"{alone} segments are a single fix and cannot be driven")
    return Fixes(frame.select(COLUMNS), report)


def _inside(
    rows: pl.DataFrame, report: Report, box: tuple[float, float, float, float] | None
) -> pl.DataFrame:
    if box is None:
        return rows
    west, south, east, north = box
    inside = pl.col("lon").is_between(west, east) & pl.col("lat").is_between(south, north)
    swapped = ~inside & pl.col("lat").is_between(west, east) & pl.col("lon").is_between(south, north)
    out = rows.filter(~inside)
    if len(out) == len(rows):
        lon, lat, line = out.select("lon", "lat", "line").row(0)
        hint = (
            "longitude and latitude seem swapped"
            if not out.filter(swapped).is_empty()
            else "give --box W,S,E,N or --box none"
        )
        raise ScenarioError(
            f"{report.source}:{line}: lon {lon:g}, lat {lat:g}: all {len(rows)} usable rows lie outside the box"
            f" {west:g},{south:g},{east:g},{north:g}; {hint}"
        )
    for reason, of in (("swapped", out.filter(swapped)), ("outside", out.filter(~swapped))):
        report.drop(reason, len(of), first_of(of))
    return rows.filter(inside)


def _out_of_order(frame: pl.DataFrame) -> int:
    """Count the rows of a sorted frame that stood after a later one of the same vehicle in the file."""
    line, code = frame["line"].to_numpy(), frame["vehicle"].rank("dense").to_numpy()
    same = code[1:] == code[:-1]
    return int((same & (line[1:] < line[:-1])).sum())


def _deduped(frame: pl.DataFrame, report: Report) -> pl.DataFrame:
    """Keep the first row, in the order of the file, of each vehicle and time."""
    again = (
        (pl.col("vehicle") == pl.col("vehicle").shift(1)) & (pl.col("time") == pl.col("time").shift(1))
    ).fill_null(False)
    place = pl.struct("lon", "lat")
    alike = again & (place == place.first().over("vehicle", "time"))
    marked = frame.with_columns(again.alias("again"), alike.alias("alike"))
    for reason, rule in (("duplicate", pl.col("alike")), ("same_time", pl.col("again") & ~pl.col("alike"))):
        of = marked.filter(rule)
        report.drop(reason, len(of), first_of(of))
    return marked.filter(~pl.col("again")).drop("again", "alike")


def _times_and_starts(frame: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return times (n,) in s and whether each row is the first of its vehicle (n,)."""
    t = frame["time"].dt.epoch("us").to_numpy() / 1e6
    code = frame["vehicle"].rank("dense").to_numpy()
    new = np.ones(len(t), bool)
    new[1:] = code[1:] != code[:-1]
    return t, new


def _without_jumps(frame: pl.DataFrame, report: Report, limit: float) -> pl.DataFrame:
    """Drop fixes that could only be reached faster than *limit* (m/s)."""
    t, new = _times_and_starts(frame)
    stray = strays(frame["lon"].to_numpy(), frame["lat"].to_numpy(), t, np.cumsum(new), limit)
    of = frame.filter(pl.Series(stray))
    report.drop("jump", len(of), first_of(of))
    return frame.filter(pl.Series(~stray))


def strays(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    t: NDArray[np.float64],
    track: NDArray[np.int64],
    limit: float,
) -> NDArray[np.bool_]:
    """Say which fixes are strays: no two neighbours among the others are further apart than *limit* (m/s) allows.

    Of two fixes that are too far apart the later is the stray, unless leaving out the earlier one mends both
    sides: a first fix gone wrong does not cost the whole track.

    Args:
        lon, lat: degrees (n,).
        t: times (n,), s, ascending within a track.
        track: track number (n,); fixes of a track are consecutive.
        limit: largest speed, m/s.

    Returns:
        (n,) bool.
    """
    stray = np.zeros(len(t), bool)
    kept = np.arange(len(t))
    while True:
        at = np.flatnonzero(_too_fast(lon, lat, t, track, kept[:-1], kept[1:], limit))
        # Of each track only the first bad pair is judged in a pass: what follows depends on it.
        numbers, first = np.unique(track[kept[at]], return_index=True)
        if not len(first):
            return stray
        whole = ~np.isin(track[kept], numbers)
        at = at[first]
        # Leaving out the later one (kept[at + 1]) must join kept[at] with kept[at + 2] ...
        later_mends = ~_pair(lon, lat, t, track, kept, at, at + 2, limit)
        # ... leaving out the earlier one must join kept[at - 1] with kept[at + 1], which must itself go on.
        earlier_mends = ~_pair(lon, lat, t, track, kept, at - 1, at + 1, limit)
        earlier_mends &= ~_pair(lon, lat, t, track, kept, at + 1, at + 2, limit)
        gone = np.where(~later_mends & earlier_mends, at, at + 1)
        stray[kept[gone]] = True
        whole[gone] = True
        kept = kept[~whole]  # tracks without a bad pair are done


def _pair(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    t: NDArray[np.float64],
    track: NDArray[np.int64],
    kept: NDArray[np.intp],
    one: NDArray[np.intp],
    other: NDArray[np.intp],
    limit: float,
) -> NDArray[np.bool_]:
    """Whether kept[one] and kept[other] are too far apart; pairs that reach beyond a track or the end are not."""
    there = (one >= 0) & (other < len(kept))
    a, b = kept[np.maximum(one, 0)], kept[np.minimum(other, len(kept) - 1)]
    return there & _too_fast(lon, lat, t, track, a, b, limit)


def _too_fast(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    t: NDArray[np.float64],
    track: NDArray[np.int64],
    a: NDArray[np.intp],
    b: NDArray[np.intp],
    limit: float,
) -> NDArray[np.bool_]:
    # Equirectangular: its error over the few kilometres that matter here is far below the rounding of the fixes.
    east = np.radians(lon[b] - lon[a]) * np.cos(np.radians((lat[a] + lat[b]) / 2))
    north = np.radians(lat[b] - lat[a])
    far = GLOBE_RADIUS * np.hypot(east, north) > limit * (t[b] - t[a])
    found: NDArray[np.bool_] = far & (track[a] == track[b])
    return found
