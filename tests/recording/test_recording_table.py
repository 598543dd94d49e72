"""Rows appended to a table are the rows of its frame, whatever the shapes and types they came in."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.recording.table import Coded, Table
from cosim.recording.tables import checked_schema, polars_schema

MIXED = {"t_us": "Int64", "id": "String", "n": "Int32", "x": "Float64", "ok": "Boolean", "v": "List(Float64)"}

rows = st.tuples(
    st.integers(0, 2**62),
    st.one_of(st.none(), st.text(max_size=6)),
    st.integers(-(2**31), 2**31 - 1),
    st.one_of(st.none(), st.floats(allow_nan=True)),
    st.booleans(),
)
widths = st.integers(0, 3)


@given(st.lists(st.tuples(st.lists(rows, max_size=5), widths), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_frame_holds_what_was_appended_row_by_row(batches):
    table = Table("mixed", MIXED)
    expected = []
    for batch, width in batches:
        t, ids, n, x, ok = (list(column) for column in zip(*batch, strict=True)) if batch else ([],) * 5
        values = np.arange(len(batch) * width, dtype=np.float64).reshape(len(batch), width)
        table.append(t_us=np.array(t, np.int64), id=tuple(ids), n=n, x=x, ok=np.array(ok, bool), v=values)
        expected += [
            (a, b, c, None if d is None or math.isnan(d) else d, e, list(v))
            for (a, b, c, d, e), v in zip(batch, values.tolist(), strict=True)
        ]
    frame = table.frame()
    assert frame.rows() == expected
    assert frame.schema == pl.Schema(polars_schema(MIXED))


def test_scalars_fill_all_rows_and_columns_left_out_are_null():
    schema = {"t_us": "Int64", "kind": "String", "id": "String", "value": "Float64", "v": "List(Float64)"}
    table = Table("events", schema)
    table.append(t_us=7, kind="departure", id=("a", "b"))
    table.append(t_us=8, kind="handover", id="a", value=np.float32(0.5), v=2)
    assert table.frame().rows() == [
        (7, "departure", "a", None, None),
        (7, "departure", "b", None, None),
        (8, "handover", "a", 0.5, [2.0]),
    ]


def test_the_caller_may_reuse_its_arrays_after_an_append():
    table = Table("mixed", MIXED)
    x, v, ids = np.array([1.0, 2.0]), np.array([[3.0], [4.0]]), ["a", "b"]
    table.append(t_us=0, id=ids, n=0, x=x, ok=True, v=v)
    x[:], v[:], ids[0] = 9.0, 9.0, "z"
    frame = table.frame()
    assert frame["x"].to_list() == [1.0, 2.0]
    assert frame["v"].to_list() == [[3.0], [4.0]]
    assert frame["id"].to_list() == ["a", "b"]


def test_coded_text_reads_as_its_names():
    table = Table("t", {"t_us": "Int64", "edge": "String"})
    table.append(t_us=0, edge=Coded(np.array([1, 0, 1], np.int32), ("in", "out")))
    table.append(t_us=1, edge=Coded(np.array([0], np.int32), ("ramp",)))
    assert table.frame()["edge"].to_list() == ["out", "in", "out", "ramp"]


def test_every_nan_becomes_the_same_null_and_infinity_stays():
    strange = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    table = Table("t", {"t_us": "Int64", "x": "Float64", "y": "Float32"})
    table.append(t_us=0, x=strange, y=np.float32("nan"))
    table.append(t_us=0, x=np.inf, y=None)
    assert table.frame()["x"].to_list() == [None, None, math.inf]
    assert table.frame()["y"].null_count() == 3


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"n": np.array([1.5, 2.5])}, "do not fit int32"),
        ({"n": 2.5}, "do not fit int32"),
        ({"n": 2**31}, "column 'n'"),
        ({"n": np.array([0, 2**31])}, "do not fit int32"),
        ({"n": None}, "has no nulls"),
        ({"ok": np.array([0, 1])}, "do not fit bool"),
        ({"x": np.zeros(3)}, "3 values for 2 rows"),
        ({"x": np.zeros(1)}, "1 values for 2 rows"),
        ({"x": "fast"}, "column 'x'"),
        ({"v": np.zeros((3, 2))}, "for 2 rows"),
        ({"id": ("a",)}, "1 values for 2 rows"),
        ({"id": 5}, "is not text"),
        ({"speed": 1.0}, "has no column 'speed'"),
    ],
)
def test_an_append_that_does_not_fit_names_table_and_column_and_changes_nothing(columns, words):
    table = Table("mixed", MIXED)
    good = {"t_us": np.array([1, 2]), "id": ("a", "b"), "n": 0, "x": 0.0, "ok": True, "v": np.zeros(2)}
    table.append(**good)
    before = table.frame().clone()
    with pytest.raises(ValueError, match=r"table 'mixed'") as caught:
        table.append(**{**good, **columns})
    assert words in str(caught.value)
    table.append(**good)
    assert table.frame().equals(pl.concat([before, before]))


def test_buffers_grow_past_their_first_size_and_are_empty_after_clear():
    table = Table("t", {"t_us": "Int64", "x": "Float64"})
    for k in range(40):
        table.append(t_us=k, x=np.full(33, float(k)))
    assert table.frame()["x"].to_list() == [float(k) for k in range(40) for _ in range(33)]
    table.clear()
    assert table.frame().is_empty()


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("../up", {"t_us": "Int64"}),
        ("t", {"t_us": "Int64", "Speed km/h": "Float64"}),
        ("t", {"t_us": "Int64", "when": pl.Datetime}),
        ("t", {"x": "Float64"}),
        ("t", {}),
    ],
)
def test_a_schema_that_cannot_be_written_is_refused(name, schema):
    with pytest.raises(ValueError, match="table"):
        checked_schema(name, schema)


def test_polars_types_and_their_names_are_the_same_schema():
    given = {"t_us": pl.Int64, "id": pl.String, "x": pl.Float32(), "ok": pl.Boolean, "v": pl.List(pl.Float64)}
    names = checked_schema("t", given)
    assert names == {"t_us": "Int64", "id": "String", "x": "Float32", "ok": "Boolean", "v": "List(Float64)"}
    assert pl.Schema(polars_schema(names)) == pl.Schema(given)
