"""Which column of a GPS file means what: names and aliases, the separator, files without a header.

Reads the first lines of a file as text and gives a :class:`Layout`: the separator, the number of fields and the
place of each quantity.  Columns are found by name, whatever their order; a file without a header is recognised
only if it is the 2013 taxi layout, otherwise the user names its columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cosim.errors import ScenarioError, nearest

VEHICLE, TIME, LON, LAT, SPEED, OCCUPIED = "vehicle", "time", "lon", "lat", "speed", "occupied"
REQUIRED = (VEHICLE, TIME, LON, LAT)
QUANTITIES = (*REQUIRED, SPEED, OCCUPIED)

_ALIASES: dict[str, tuple[str, ...]] = {
    VEHICLE: (
        "vehicle", "id", "vehicleid", "vehiclenum", "vehicleno", "vid", "taxi", "taxiid", "car", "carid",
        "plate", "licenseplate", "deviceid", "device", "terminal", "terminalid", "编号", "车牌", "车牌号", "车辆编号",
    ),
    TIME: ("time", "stime", "datetime", "timestamp", "gpstime", "localtime", "时间", "定位时间"),
    LON: ("lon", "lng", "long", "longitude", "slon", "slng", "经度"),
    LAT: ("lat", "latitude", "slat", "纬度"),
    SPEED: ("speed", "velocity", "speedkmh", "speedkph", "gpsspeed", "速度"),
    OCCUPIED: ("occupied", "occupancy", "openstatus", "passenger", "load", "载客状态"),
}  # fmt: skip
_TAXI_2013 = (VEHICLE, TIME, LON, LAT, OCCUPIED, SPEED)
"""The sibling release of 2013: no header; id, HH:MM:SS, lon, lat, occupied, speed."""

_SEPARATORS = (",", ";", "\t", "|")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}:\d{2}")


@dataclass(frozen=True)
class Layout:
    """How the rows of one file are read.

    ``places`` maps a quantity to its field; ``header`` is the header's own text (None: there is none), ``first`` the
    index of the first row of data among the lines that are not blank.
    """

    separator: str
    width: int
    places: dict[str, int]
    header: str | None
    first: int
    ignored: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    """The columns of a file without header, as they were recognised."""


def parse_columns(text: str) -> dict[str, str] | tuple[str, ...]:
    """Read ``--columns``: ``lon=x,lat=y`` (by the file's names) or ``id,time,lon,lat,-,speed`` (by place, ``-``: skip).

    Raises:
        ScenarioError: neither of the two, an unknown quantity, or one given twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if any("=" in part for part in parts):
        if not all("=" in part for part in parts):
            raise ScenarioError(
                f"--columns {text}: write either NAME=COLUMN for each, or all columns in order"
            )
        pairs = [tuple(side.strip() for side in part.split("=", 1)) for part in parts]
        names = [_quantity(name, text) for name, _ in pairs]
        _once(names, text)
        return dict(zip(names, (column for _, column in pairs), strict=True))
    names = ["-" if part in ("-", "_", "") else _quantity(part, text) for part in parts]
    _once([n for n in names if n != "-"], text)
    missing = [q for q in REQUIRED if q not in names]
    if missing:
        raise ScenarioError(f"--columns {text}: {', '.join(missing)} missing; needed: {', '.join(REQUIRED)}")
    return tuple(names)


def _quantity(name: str, text: str) -> str:
    found = _meaning(name)
    if found is None:
        hint = nearest(name.lower(), QUANTITIES)
        raise ScenarioError(
            f"--columns {text}: unknown quantity '{name}'{hint}; known: {', '.join(QUANTITIES)}"
        )
    return found


def _once(names: Sequence[str], text: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(f"--columns {text}: '{name}' is given twice")


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.()/\[\]]", "", name.strip().strip('"').lower())


def _meaning(name: str) -> str | None:
    plain = _plain(name)
    return next((quantity for quantity, aliases in _ALIASES.items() if plain in aliases), None)


def find_layout(
    label: str, rows: Sequence[tuple[int, str]], given: dict[str, str] | tuple[str, ...] | None = None
) -> Layout:
    """Find the layout of a file from its first non-blank *rows* (line number, text).

    Args:
        label: the file's name, for messages.
        rows: at least one row.
        given: what ``--columns`` said.

    Raises:
        ScenarioError: one line ``file:line: column: …`` if a needed column is missing or may be either of two.
    """
    number, first = rows[0]
    separator = _separator(first)
    names = [part.strip().strip('"').strip() for part in first.split(separator)]
    headed = not any(_is_value(name) for name in names)
    if isinstance(given, tuple):
        if len(given) != len(names):
            raise ScenarioError(
                f"{label}:{number}: {len(names)} columns, but --columns names {len(given)}; write '-' for one to skip"
            )
        places = {name: k for k, name in enumerate(given) if name != "-"}
        return Layout(separator, len(names), places, first if headed else None, int(headed))
    if not headed:
        return _headless(label, number, names, separator)
    places = _by_name(label, number, names, given or {})
    ignored = tuple(name for k, name in enumerate(names) if k not in places.values() and name)
    return Layout(separator, len(names), places, first, 1, ignored)


def _separator(line: str) -> str:
    counts = [line.count(s) for s in _SEPARATORS]
    return _SEPARATORS[counts.index(max(counts))] if max(counts) else ","


def _is_value(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text) or _CLOCK.search(text))


def _headless(label: str, number: int, names: list[str], separator: str) -> Layout:
    """Recognise the layouts of the two releases by their first row; ScenarioError for any other."""
    found: tuple[str, ...] = ()
    if len(names) == len(_TAXI_2013) and _CLOCK.fullmatch(names[1]):
        found = _TAXI_2013
    elif len(names) == 5:
        # The electric-taxi release: id first, speed last, and between them time, longitude and latitude in any order.
        middle = [_kind(name) for name in names[1:4]]
        if sorted(middle) == [LAT, LON, TIME]:
            found = (VEHICLE, *middle, SPEED)
    if not found:
        raise ScenarioError(
            f"{label}:{number}: no header; name the columns in order, such as --columns id,lon,lat,time,speed"
            " ('-' for one to skip)"
        )
    return Layout(separator, len(names), {name: k for k, name in enumerate(found)}, None, 0, guessed=found)


def _kind(text: str) -> str:
    """Return what a value between id and speed must be, far east of the Greenwich meridian."""
    if _CLOCK.search(text):
        return TIME
    if not _NUMBER.fullmatch(text):
        return ""
    return LON if abs(float(text.replace(",", "."))) > 90 else LAT


def _by_name(label: str, number: int, names: list[str], given: dict[str, str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for quantity, column in given.items():
        at = [k for k, name in enumerate(names) if _plain(name) == _plain(column)]
        if len(at) != 1:
            what = "there is no such column" if not at else "two columns have this name"
            hint = nearest(column, names) if not at else ""
            raise ScenarioError(
                f"{label}:{number}: column '{column}': {what}{hint}; columns: {', '.join(names)}"
            )
        places[quantity] = at[0]
    for quantity in QUANTITIES:
        if quantity in places:
            continue
        found = [k for k, name in enumerate(names) if _meaning(name) == quantity and k not in places.values()]
        if len(found) > 1:
            raise ScenarioError(
                f"{label}:{number}: column '{quantity}': both '{names[found[0]]}' and '{names[found[1]]}' could be"
                f" it; say which with --columns {quantity}={names[found[0]]}"
            )
        if found:
            places[quantity] = found[0]
        elif quantity in REQUIRED:
            free = [name for k, name in enumerate(names) if k not in places.values() and name]
            alike = next((hint for alias in _ALIASES[quantity] if (hint := nearest(alias, free))), "")
            raise ScenarioError(
                f"{label}:{number}: column '{quantity}' is missing{alike}; columns: {', '.join(names)};"
                f" if one of them is it, say --columns {quantity}=NAME"
            )
    return places
