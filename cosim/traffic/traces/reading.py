"""Reading GPS files of taxis: any separator, order and naming of columns, gzipped or not, and any damage.

Gives the usable rows as a polars frame and a :class:`~cosim.traffic.traces.report.Report` of all others.  A row is
judged by itself here; what takes a look at its neighbours (duplicates, jumps) is in ``cleaning``.  The file is cut
into lines and fields by hand rather than by a CSV parser, so that damage in one row stays in that row and every
message can name its line.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

import polars as pl

from cosim.errors import ScenarioError
from cosim.traffic.traces.columns import (
    LAT,
    LON,
    OCCUPIED,
    REQUIRED,
    SPEED,
    TIME,
    VEHICLE,
    Layout,
    find_layout,
    parse_columns,
)
from cosim.traffic.traces.report import REASONS, Report

KMH = 1 / 3.6
MOST_KMH = 300.0
"""A speed above this is damage, km/h."""
_ODD_ID = r"[\p{C}\x{FFFD}]"
_LONGEST_ID = 64
_TEXT_BYTES = bytes(b for b in range(256) if b >= 32 or b in (9, 10, 13))
_NO_TEXT = r"[\x00-\x08\x0b-\x1f\x7f\x{FFFD}]"

_ARCHIVES = {
    b"Rar!": "a RAR archive: unpack it first",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: unpack it or save it as CSV first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"PAR1": "a Parquet file, not a raw GPS file",
}
_DATED = r"^\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{2}:\d{2}(\.\d{1,6})?$"
_CLOCK = r"^\d{1,2}:\d{2}:\d{2}(\.\d{1,6})?$"


def label_of(path: Path) -> str:
    """Return *path* as messages show it: relative to the working folder if it lies inside."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def read_rows(
    file: str | Path, *, columns: str | None = None, date: str | None = None
) -> tuple[pl.DataFrame, Report]:
    """Read the raw GPS file *file*.

    Args:
        file: text in UTF-8, UTF-16 or GB18030, gzipped or not.
        columns: as ``--columns`` says them, see :func:`~cosim.traffic.traces.columns.parse_columns`.
        date: day (``YYYY-MM-DD``) of times that have none.

    Returns:
        (rows, report): columns vehicle (text), time (naive local, us), lon, lat (WGS-84 degrees), speed (m/s, null
        where the file has none), occupied (null likewise), line (of the file), text; in the order of the file.

    Raises:
        ScenarioError: no such file, not text, empty, a column missing, or no row (or less than half) is usable.
    """
    path = Path(file).expanduser()
    label = label_of(path)
    text, encoding = _decode(_bytes(path, label), label)
    numbered = _lines(text, label)
    given = parse_columns(columns) if columns else None
    layout = find_layout(label, [next(numbered.head(1).iter_rows())], given)
    report = Report(label)
    if encoding != "utf-8":
        report.notes.append(f"read as {encoding}")
    if layout.ignored:
        report.notes.append(f"columns not used: {', '.join(layout.ignored)}")
    if layout.guessed:
        report.notes.append(f"no header: read as {', '.join(layout.guessed)}")
    if SPEED not in layout.places:
        report.notes.append("no column of speed")
    if not text.endswith("\n"):
        report.notes.append("the last line has no line end: it may be cut off")
    rows = numbered.slice(layout.first)
    if rows.is_empty():
        raise ScenarioError(f"{label}:{numbered['line'][0]}: no row of data below the header")
    judged = _judge(rows, layout, date, report, label)
    if not text.endswith("\n"):
        judged = _without_cut_end(judged, layout)
    _refuse_if_hopeless(judged, layout, label)
    return _usable(judged, report), report


def _bytes(path: Path, label: str) -> bytes:
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ScenarioError(f"{label}: is a folder, not a GPS file") from None
    except OSError as error:
        raise ScenarioError(f"{label}: cannot be read: {error.strerror or error}") from None
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ScenarioError(f"{label}: the gzip file is damaged or cut off ({error})") from None
    for magic, what in _ARCHIVES.items():
        if data.startswith(magic):
            raise ScenarioError(f"{label}: is {what}")
    return data


def _decode(data: bytes, label: str) -> tuple[str, str]:
    """Return the text and the encoding it was read in; undecodable bytes of otherwise good text become U+FFFD."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace"), "utf-16"
    if 50 * len(data[:4096].translate(None, delete=_TEXT_BYTES)) > len(data[:4096]):
        raise ScenarioError(f"{label}:1: not a text file (it is full of control characters)")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8-sig", errors="replace"), "utf-8 with damaged bytes"


def _lines(text: str, label: str) -> pl.DataFrame:
    """Return the lines that are not blank: columns line (from 1) and text."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    frame = pl.DataFrame({"text": text.split("\n")}, schema={"text": pl.String})
    frame = frame.with_row_index("line", offset=1).with_columns(
        pl.col("line").cast(pl.Int64), pl.col("text").str.strip_chars(" \r")
    )
    frame = frame.filter(pl.col("text").str.strip_chars(" \t") != "")
    if frame.is_empty():
        raise ScenarioError(f"{label}:1: the file is empty")
    return frame


def _judge(rows: pl.DataFrame, layout: Layout, date: str | None, report: Report, label: str) -> pl.DataFrame:
    """Add the quantities and the column ``reason``: why the row is not usable, null if it is."""
    text = pl.col("text").str.replace_all('"', "", literal=True)
    fields = rows.with_columns(text.str.split(layout.separator).alias("fields"))
    width = pl.col("fields").list.len()
    beyond = pl.col("fields").list.slice(layout.width).list.join("")

    def field(name: str) -> pl.Expr:
        return pl.col("fields").list.get(layout.places[name], null_on_oob=True).str.strip_chars()

    def number(name: str) -> pl.Expr:
        if name not in layout.places:
            return pl.lit(None, pl.Float64)
        raw = field(name)
        return (raw if layout.separator == "," else raw.str.replace(",", ".", literal=True)).cast(
            pl.Float64, strict=False
        )

    def unwritten(name: str) -> pl.Expr:
        if name not in layout.places:
            return pl.lit(True)
        return field(name).str.to_lowercase().is_in(["", "nan", "null", "none", "na"])

    frame = fields.with_columns(
        field(VEHICLE).str.replace(r"^(\d+)\.0+$", "$1").alias(VEHICLE),
        _time(field(TIME), date, rows, layout, report, label).alias(TIME),
        number(LON).alias(LON),
        number(LAT).alias(LAT),
        number(SPEED).alias("kmh"),
        unwritten(SPEED).alias("no_speed"),
        number(OCCUPIED).alias("occupied_number"),
        unwritten(OCCUPIED).alias("no_occupied"),
    )
    lon, lat, kmh = pl.col(LON), pl.col(LAT), pl.col("kmh")
    vehicle = pl.col(VEHICLE)
    rules: dict[str, pl.Expr] = {
        "header": pl.col("text").str.to_lowercase() == (layout.header or "").lower(),
        "fields": (width < layout.width) | (beyond.fill_null("") != ""),
        "encoding": pl.col("text").str.contains(_NO_TEXT),
        "vehicle": vehicle.is_null()
        | vehicle.str.to_lowercase().is_in(["", "nan", "null", "none"])
        | (vehicle.str.len_chars() > _LONGEST_ID)
        | vehicle.str.contains(_ODD_ID),
        "time": pl.col(TIME).is_null(),
        "position": ~(lon.is_finite() & lat.is_finite()).fill_null(False),
        "swapped": (lat.abs() > 90) & (lat.abs() <= 180) & (lon.abs() <= 90),
        "range": (lat.abs() > 90) | (lon.abs() > 180),
        "speed": ~pl.col("no_speed") & ~kmh.is_between(0.0, MOST_KMH).fill_null(False),
        "occupied": ~pl.col("no_occupied") & ~pl.col("occupied_number").is_in([0.0, 1.0]).fill_null(False),
    }
    reason = pl.coalesce([pl.when(rule).then(pl.lit(name)) for name, rule in rules.items()])
    return frame.with_columns(reason.alias("reason")).select(
        VEHICLE,
        TIME,
        LON,
        LAT,
        pl.when(pl.col("no_speed")).then(None).otherwise(kmh * KMH).alias(SPEED),
        pl.when(pl.col("no_occupied")).then(None).otherwise(pl.col("occupied_number") == 1.0).alias(OCCUPIED),
        "line",
        "text",
        "reason",
    )


def _time(
    raw: pl.Expr, date: str | None, rows: pl.DataFrame, layout: Layout, report: Report, label: str
) -> pl.Expr:
    """Return the expression that reads times, naive local; those without a day take *date*."""
    day = "1970-01-01" if date is None else date
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) or pl.Series([day]).str.to_date(strict=False)[0] is None:
        raise ScenarioError(f"--date {day}: must be a day such as 2013-10-22")
    sample = rows["text"].head(1).str.replace_all('"', "", literal=True).str.split(layout.separator)[0]
    place = layout.places[TIME]
    if place < len(sample) and re.fullmatch(_CLOCK, sample[place].strip()) and date is None:
        report.notes.append("times have no day: taken as 1970-01-01; give --date")
    text = raw.str.replace_all("/", "-", literal=True).str.replace("T", " ", literal=True)
    text = pl.when(text.str.contains(_CLOCK)).then(pl.lit(day + " ") + text).otherwise(text)
    whole = pl.when(text.str.contains(_DATED)).then(text)
    return whole.str.strptime(pl.Datetime("us"), "%Y-%m-%d %H:%M:%S%.f", strict=False)


def _without_cut_end(judged: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Judge the last row of a file without a last line end cut off if its last field is shorter than any other's."""
    last = pl.col("text").str.split(layout.separator).list.last().str.len_chars()
    lengths = judged.select(last.alias("n"), "reason")
    others = lengths.head(-1).filter(pl.col("reason").is_null())["n"]
    if others.is_empty() or lengths["n"][-1] >= others.min() or lengths["reason"][-1] is not None:
        return judged
    at_end = pl.int_range(pl.len()) == len(judged) - 1
    return judged.with_columns(pl.when(at_end).then(pl.lit("fields")).otherwise("reason").alias("reason"))


def _refuse_if_hopeless(judged: pl.DataFrame, layout: Layout, label: str) -> None:
    """Raise ScenarioError if no row is usable, or one reason rules out more than half of the rows."""
    rows = judged.filter(pl.col("reason").is_null() | (pl.col("reason") != "header"))
    counts = dict(rows["reason"].drop_nulls().value_counts().iter_rows())
    if not counts:
        if rows.is_empty():
            raise ScenarioError(f"{label}: no row of data, only headers")
        return
    reason = max(counts, key=lambda r: counts[r])
    if 2 * counts[reason] <= len(rows) and rows["reason"].null_count():
        return
    line, text = rows.filter(pl.col("reason") == reason).select("line", "text").row(0)
    share = f"{counts[reason]} of {len(rows)} rows"
    raise ScenarioError(f"{label}:{line}: {_complaint(reason, text, layout)}; so are {share}")


def _complaint(reason: str, text: str, layout: Layout) -> str:
    fields = [part.strip().strip('"') for part in text.split(layout.separator)]

    def value(name: str) -> str:
        place = layout.places.get(name, len(fields))
        return (fields[place] if place < len(fields) else "")[:40]

    if reason == "fields":
        return f"{len(fields)} fields where the first line has {layout.width}"
    if reason == "swapped":
        return (
            f"column 'lat': {value(LAT)} is no latitude, longitude and latitude seem swapped"
            " (say --columns lon=…,lat=… with the file's own names)"
        )
    if reason == "time":
        return f"column 'time': '{value(TIME)}' is not YYYY-MM-DD HH:MM:SS"
    if reason in ("position", "range"):
        return f"columns 'lon', 'lat': '{value(LON)}', '{value(LAT)}' are no degrees"
    if reason in (*REQUIRED, SPEED, OCCUPIED):
        return f"column '{reason}': '{value(reason)}': {REASONS[reason]}"
    return f"{REASONS[reason]}: '{text[:60]}'"


def first_of(rows: pl.DataFrame) -> list[tuple[int, str]]:
    """Return line and text of the first few *rows* in the order of the file, for the report."""
    return list(rows.select("line", "text").bottom_k(3, by="line").sort("line").iter_rows())


def _usable(judged: pl.DataFrame, report: Report) -> pl.DataFrame:
    """Return the usable rows and count the others in *report*."""
    bad = judged.filter(pl.col("reason").is_not_null())
    for reason in REASONS:
        of = bad.filter(pl.col("reason") == reason)
        report.drop(reason, len(of), first_of(of))
    report.rows = len(judged)
    unknown = judged.filter(pl.col("reason").is_null() & pl.col(SPEED).is_null())
    if 0 < len(unknown) < len(judged):
        report.notes.append(f"{len(unknown)} rows kept without a speed")
    return judged.filter(pl.col("reason").is_null()).drop("reason")
