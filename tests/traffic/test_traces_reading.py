"""Raw GPS files, whole and damaged in every way that was thought of: nothing silently wrong, nothing a traceback."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.errors import CosimError, ScenarioError
from cosim.traffic.traces.cleaning import COLUMNS, Rules, convert, strays
from cosim.traffic.traces.tables import load_fixes, write_fixes

HEADER = "id,lon,lat,time,speed,moveid"
# Ten fixes of one taxi 20 s and 100 m apart, going east; line k + 2 of the file is fix k.
FIXES = [
    f"7,{114.02 + k * 0.001:.6f},22.530000,2014-10-22 08:{k // 3:02d}:{k % 3 * 20:02d},18.0,3.0"
    for k in range(10)
]


def text(*lines: str) -> str:
    return "\n".join((HEADER, *lines, ""))


@pytest.fixture
def read(tmp_path):
    """Convert the given text or bytes, from a file called ``taxi.csv`` in the working folder of messages."""

    def read(content: str | bytes, name: str = "taxi.csv", **options):
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return convert(file, **options)

    return read


def complaint(read, content: str | bytes, name: str = "taxi.csv", **options) -> str:
    with pytest.raises(ScenarioError) as caught:
        read(content, name, **options)
    words = str(caught.value)
    assert "\n" not in words
    assert caught.value.exit_code == 2
    return words.partition("taxi")[2] and words[words.index("taxi") :]


def dropped(fixes) -> dict[str, int]:
    assert fixes.report.rows == fixes.report.kept + sum(fixes.report.dropped.values())
    assert len(fixes.table) == fixes.report.kept
    return fixes.report.dropped


def replaced(row: int, line: str) -> list[str]:
    return [*FIXES[:row], line, *FIXES[row + 1 :]]


# -- a good file, however it is written -----------------------------------------------------------------------


def test_a_good_file_keeps_every_fix_with_speed_in_si(read):
    fixes = read(text(*FIXES))
    assert dropped(fixes) == {}
    assert tuple(fixes.table.columns) == COLUMNS
    assert fixes.table["line"].to_list() == list(range(2, 12))
    assert fixes.table["speed"].to_list() == [5.0] * 10
    assert str(fixes.table["time"][1]) == "2014-10-22 08:00:20"
    assert (fixes.report.vehicles, fixes.report.segments) == (1, 1)


def test_separator_order_names_line_ends_encoding_and_compression_do_not_matter(read):
    plain = read(text(*FIXES)).table
    rows = [line.split(",") for line in (HEADER, *FIXES)]
    order = [4, 3, 1, 5, 0, 2]
    variants: dict[str, bytes] = {
        "bom and crlf": ("\ufeff" + text(*FIXES).replace("\n", "\r\n")).encode(),
        "utf-16": text(*FIXES).encode("utf-16"),
        "tabs": text(*FIXES).replace(",", "\t").encode(),
        "semicolons and decimal commas": text(*FIXES).replace(",", ";").replace(".", ",").encode(),
        "another order": "\n".join([",".join(row[k] for k in order) for row in rows] + [""]).encode(),
        "quotes": "\n".join([",".join(f'"{cell}"' for cell in row) for row in rows] + [""]).encode(),
        "gzip": gzip.compress(text(*FIXES).encode()),
        "old line ends": text(*FIXES).replace("\n", "\r").encode(),
        "blank lines": text(*FIXES).replace("\n", "\n\n").encode(),
        "ids as floats": text(*(line.replace("7,", "7.0,", 1) for line in FIXES)).encode(),
    }
    for name in ("Longitude", "Lng", "lon."):
        variants[name] = text(*FIXES).replace("lon", name).replace("id,", "VehicleNum,", 1).encode()
    for what, content in variants.items():
        assert read(content).table.drop("line").equals(plain.drop("line")), what


def test_a_chinese_file_in_gb18030_is_read(read):
    content = text(*(line.replace("7,", "粤B12345,", 1) for line in FIXES)).replace(
        HEADER, "车牌,经度,纬度,时间,速度,x"
    )
    fixes = read(content.encode("gb18030"))
    assert fixes.table["vehicle"].unique().to_list() == ["粤B12345"]
    assert "read as gb18030" in fixes.report.notes


def test_the_2013_taxi_file_without_header_is_recognised(read):
    rows = [line.split(",") for line in FIXES]
    content = "".join(f"22223,{r[3][11:]},{r[1]},{r[2]},{k % 2},18\n" for k, r in enumerate(rows))
    fixes = read(content, date="2013-10-22")
    assert fixes.table["occupied"].to_list() == [False, True] * 5
    assert str(fixes.table["time"][0]) == "2013-10-22 08:00:00"
    assert dropped(fixes) == {}
    assert any("no day" in note for note in read(content).report.notes)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 2, 1, 3, 4), (0, 3, 1, 2, 4), (0, 3, 2, 1, 4)])
def test_the_electric_taxi_file_without_header_is_recognised(read, order):
    rows = [line.split(",") for line in FIXES]
    fixes = read("".join(",".join(row[k] for k in order) + "\n" for row in rows))
    assert fixes.table.drop("line").equals(read(text(*FIXES)).table.drop("line"))
    assert any(note.startswith("no header: read as vehicle, ") for note in fixes.report.notes)


def test_columns_can_be_named_by_name_and_by_place(read):
    plain = read(text(*FIXES)).table
    odd = text(*FIXES).replace("lon,lat", "x,y")
    assert read(odd, columns="lon=x,lat=y").table.equals(plain)
    headless = "\n".join([*FIXES, ""])
    by_place = read(headless, columns="id,lon,lat,time,speed,-").table
    assert by_place.drop("line").equals(plain.drop("line"))


# -- twelve kinds of damage, and more ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (text(*FIXES).replace("lat", "moving"), r"taxi.csv:1: column 'lat' is missing.*columns: id, lon, moving"),
        (text(*FIXES).replace("lat", "latt"), r"taxi.csv:1: column 'lat' is missing \(did you mean 'latt'\?\)"),
        (text(*FIXES).replace("moveid", "longitude"), r"taxi.csv:1: column 'lon': both 'lon' and 'longitude'"),
        (text(*FIXES).replace("lon,lat", "lat,lon"), r"taxi.csv:2: column 'lat': 114.02.*seem swapped.*10 of 10 rows"),
        (text(*FIXES).replace("2014-10-22", "22.10.2014"), r"taxi.csv:2: column 'time': '22.10.2014 08:00:00' is not"),
        (text(*FIXES).replace(",22.53", ",n/a"), r"taxi.csv:2: columns 'lon', 'lat': '114.020000', 'n/a0000' are no"),
        (text(*FIXES).replace(",18.0,", ",-18.0,"), r"taxi.csv:2: column 'speed': '-18.0': speed negative"),
        (text(*FIXES).replace(",114.0", ",14.0"), r"taxi.csv:2: lon 14.02, lat 22.53: all 10 usable rows lie outside"),
        (text(*(line.replace(",", ";") for line in FIXES)), r"taxi.csv:2: 1 fields where the first line has 6"),
        ("", r"taxi.csv:1: the file is empty"),
        ("\n \n\t\n", r"taxi.csv:1: the file is empty"),
        (HEADER + "\n", r"taxi.csv:1: no row of data below the header"),
        (text(HEADER, HEADER), r"taxi.csv: no row of data, only headers"),
        ("\n".join(FIXES), r"taxi.csv:1: no header; name the columns in order"),
        (b"Rar!\x1a\x07\x00", r"taxi.csv: is a RAR archive: unpack it first"),
        (bytes(range(256)) * 9, r"taxi.csv:1: not a text file"),
        (gzip.compress(text(*FIXES).encode())[:90], r"taxi.csv: the gzip file is damaged or cut off"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_line_with_place_column_and_what_would_be_right(
    read, content, words
):
    assert re.match(words, complaint(read, content))


@pytest.mark.parametrize(
    ("reason", "row", "line"),
    [
        ("swapped", 4, "7,22.530000,114.024000,2014-10-22 08:01:20,18.0,3.0"),
        ("time", 4, "7,114.024000,22.530000,2014-10-22 28:01:20,18.0,3.0"),
        ("time", 4, "7,114.024000,22.530000,2014-13-41 08:01:20,18.0,3.0"),
        ("time", 4, "7,114.024000,22.530000,2014-10-22 08:01:2,18.0,3.0"),
        ("time", 4, "7,114.024000,22.530000,,18.0,3.0"),
        ("position", 4, "7,nan,22.530000,2014-10-22 08:01:20,18.0,3.0"),
        ("position", 4, "7,114.024000,,2014-10-22 08:01:20,18.0,3.0"),
        ("position", 4, "7,inf,22.530000,2014-10-22 08:01:20,18.0,3.0"),
        ("range", 4, "7,1140.24,22.530000,2014-10-22 08:01:20,18.0,3.0"),
        ("outside", 4, "7,0.0,0.0,2014-10-22 08:01:20,18.0,3.0"),
        ("outside", 4, "7,116.390000,39.900000,2014-10-22 08:01:20,18.0,3.0"),
        ("jump", 4, "7,114.300000,22.530000,2014-10-22 08:01:20,18.0,3.0"),
        ("jump", 0, "7,114.300000,22.530000,2014-10-22 08:00:00,18.0,3.0"),
        ("jump", 9, "7,114.300000,22.530000,2014-10-22 08:03:00,18.0,3.0"),
        ("fields", 9, "7,114.029000,22.5"),
        ("fields", 4, "7;114.024000;22.530000;2014-10-22 08:01:20;18.0;3.0"),
        ("fields", 4, "7,114.024000,22.530000,2014-10-22 08:01:20,18.0,3.0,1"),
        ("speed", 4, "7,114.024000,22.530000,2014-10-22 08:01:20,-18.0,3.0"),
        ("speed", 4, "7,114.024000,22.530000,2014-10-22 08:01:20,fast,3.0"),
        ("speed", 4, "7,114.024000,22.530000,2014-10-22 08:01:20,999,3.0"),
        ("header", 4, HEADER.upper()),
        ("vehicle", 4, ",114.024000,22.530000,2014-10-22 08:01:20,18.0,3.0"),
        ("vehicle", 4, "9" * 300 + ",114.024000,22.530000,2014-10-22 08:01:20,18.0,3.0"),
        ("encoding", 4, "7,114.024\x00000,22.530000,2014-10-22 08:01:20,18.0,3.0"),
        ("duplicate", 4, FIXES[3]),
        ("same_time", 4, FIXES[3].replace("22.53", "22.531")),
    ],
)
def test_one_damaged_row_costs_that_row_and_is_reported_with_its_line(read, reason, row, line):
    fixes = read(text(*replaced(row, line)))
    assert dropped(fixes) == {reason: 1}
    assert fixes.report.examples[reason][0][0] == row + 2
    good = read(text(*FIXES)).table
    assert fixes.table.equals(good.filter(pl.col("line") != row + 2))


def test_bytes_that_are_no_text_cost_their_row(read):
    content = text(*FIXES).encode().replace(b"7,114.024", b"\xff\x81,114.024")
    assert dropped(read(content)) == {"encoding": 1}


def test_a_number_cut_off_at_the_end_of_the_file_is_not_taken_for_a_shorter_number(read):
    columns = "id,time,speed,lon,lat\n"
    rows = [",".join(line.split(",")[k] for k in (0, 3, 4, 1, 2)) for line in FIXES]
    whole = columns + "\n".join(rows)
    assert dropped(read(whole)) == {}
    for cut in range(1, 8):
        fixes = read(whole[:-cut])
        assert dropped(fixes) == {"fields": 1}, whole[:-cut][-20:]
        assert any("cut off" in note for note in fixes.report.notes)


def test_huge_and_odd_ids_stay_text_and_stay_apart(read):
    ids = ["99999999999999999999999999", "99999999999999999999999998", "0007", "7", "1e3", "B-12_x"]
    rows = [line.replace("7,", f"{name},", 1) for name in ids for line in FIXES]
    fixes = read(text(*rows))
    assert dropped(fixes) == {}
    assert fixes.table["vehicle"].unique().sort().to_list() == sorted(ids)


def test_rows_out_of_order_are_sorted_and_that_is_said(read):
    fixes = read(text(*FIXES[::-1]))
    assert fixes.table.drop("line").equals(read(text(*FIXES)).table.drop("line"))
    assert "9 rows were out of order in time and have been sorted" in fixes.report.notes


def test_a_pause_above_300_s_begins_a_new_segment(read):
    late = [line.replace(" 08:", " 09:") for line in FIXES[5:]]
    fixes = read(text(*FIXES[:5], *late))
    assert fixes.table["segment"].to_list() == [0] * 5 + [1] * 5
    assert read(text(*FIXES[:5], *late), rules=Rules(gap=7200)).report.segments == 1


def test_all_kinds_of_damage_at_once_leave_the_good_rows(read):
    damage = [
        "7,114.02,22.53", FIXES[2].replace(",", ";"), HEADER,
        FIXES[2].replace("114.022000,22.530000", "22.53,114.022"),
        FIXES[2].replace("22.530000", "NaN"), FIXES[2].replace("2014-10-22", "someday"),
        FIXES[2].replace("114.022", "116.022"), FIXES[2],
        FIXES[2].replace("08:00:40", "08:00:45").replace(".022", ".322"),
        FIXES[2].replace("18.0", "-1"), FIXES[2].replace("7,", "9" * 99 + ",", 1), FIXES[2].replace("7,", ",", 1),
    ]  # fmt: skip
    lines = [line for pair in zip(FIXES, damage, strict=False) for line in pair] + damage[10:]
    fixes = read(text(*lines))
    assert fixes.table.drop("line").equals(read(text(*FIXES)).table.drop("line"))
    reasons = {
        "header",
        "fields",
        "vehicle",
        "time",
        "position",
        "swapped",
        "speed",
        "outside",
        "duplicate",
        "jump",
    }
    assert set(dropped(fixes)) == reasons


def test_strict_makes_the_first_damaged_row_an_error_but_not_a_duplicate(read):
    line = FIXES[4].replace("18.0", "-1")
    assert complaint(read, text(*replaced(4, line)), strict=True).startswith("taxi.csv:6: speed: '7,114.024")
    assert dropped(read(text(*FIXES, FIXES[3]), strict=True)) == {"duplicate": 1}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 700), st.integers(0, 40))
def test_no_damage_whatsoever_ends_in_a_traceback(tmp_path_factory, junk, at, cut):
    whole = text(*FIXES).encode()
    file = tmp_path_factory.mktemp("junk") / "taxi.csv"
    file.write_bytes(whole[:at] + junk + whole[at + cut :])
    try:
        fixes = convert(file)
    except CosimError as error:
        complained = str(error)
    else:
        dropped(fixes)
        return
    assert "\n" not in complained


# -- jumps --------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(-300, 300)), min_size=1, max_size=12))
def test_what_is_left_after_strays_never_moves_faster_than_the_limit(steps):
    t = np.cumsum([gap for gap, _ in steps]).astype(float)
    lon = 114.0 + np.cumsum([move for _, move in steps]) * 1e-4
    lat = np.full(len(t), 22.5)
    stray = strays(lon, lat, t, np.zeros(len(t), np.int64), 33.0)
    kept = ~stray
    assert kept.any()
    speed = np.diff(lon[kept]) * 102_700 / np.diff(t[kept])  # m a degree at 22.5 N, within 0.3 %
    assert (np.abs(speed) < 33.3).all()


def test_two_strays_in_a_row_and_a_first_one_are_found():
    lon = np.array([114.3, 114.0, 114.001, 114.2, 114.2, 114.002, 114.003])
    stray = strays(lon, np.full(7, 22.5), np.arange(7) * 30.0, np.zeros(7, np.int64), 33.0)
    assert stray.tolist() == [True, False, False, True, True, False, False]


# -- tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clean.parquet", "clean.csv", "folder"])
def test_a_written_table_is_read_back_as_it_was(read, tmp_path, name):
    fixes = read(text(*FIXES, FIXES[0].replace("7,", "0008,", 1)))
    table, report = write_fixes(fixes, tmp_path / name)
    assert load_fixes(tmp_path / name).table.equals(fixes.table)
    assert table.is_file()
    assert '"kept": 11' in report.read_text()
    with pytest.raises(ScenarioError, match=r"not empty|exists already"):
        write_fixes(fixes, tmp_path / name)


def test_a_damaged_table_is_one_line(read, tmp_path):
    table, _ = write_fixes(read(text(*FIXES)), tmp_path / "clean.parquet")
    table.write_bytes(table.read_bytes()[:300])
    with pytest.raises(ScenarioError, match="damaged table"):
        load_fixes(table)
    with pytest.raises(ScenarioError, match="no such file"):
        load_fixes(tmp_path / "none.csv")
    with pytest.raises(ScenarioError, match=r"must be a folder, or a file ending in"):
        write_fixes(read(text(*FIXES)), Path(tmp_path / "clean.xls"))
