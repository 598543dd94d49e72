"""One table of a run while it is written: rows are appended as arrays and taken out as one polars frame.

An append copies its arrays into buffers that are reused from part to part, so the caller may reuse its own.
Nothing is done row by row in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosim.recording.tables import FLOATS, TEXT, polars_schema

if TYPE_CHECKING:
    import polars as pl

_FIRST_CAPACITY = 256
_ROWS = (np.ndarray, tuple, list)


class Coded(NamedTuple):
    """A text column as numbers: row i is ``names[codes[i]]`` (``Coded(state.edge, state.edges)``).

    ``codes`` is (n,) int; ``names`` is looked up once a part for each tuple object given.
    """

    codes: NDArray[Any]
    names: tuple[str, ...]


class _Numbers:
    """A numeric column in a growing buffer; NaN and None in a float column are "no value" (null)."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(np.bool_ if dtype == "Boolean" else dtype.lower())
        self.nullable = self.dtype.kind == "f"
        self.buffer: NDArray[Any] = np.empty(_FIRST_CAPACITY, self.dtype)

    def put(self, values: Any, start: int, stop: int) -> None:
        if stop > len(self.buffer):
            self.buffer = np.resize(self.buffer, max(stop, 2 * len(self.buffer)))
        if type(values) is not np.ndarray:
            values = self._converted(values)
        elif values.dtype != self.dtype and not np.can_cast(values.dtype, self.dtype, "same_kind"):
            raise ValueError(f"values of {values.dtype} do not fit {self.dtype}")
        if np.ndim(values) and len(values) != stop - start:
            raise ValueError(f"{len(values)} values for {stop - start} rows")
        self.buffer[start:stop] = values

    def _converted(self, values: Any) -> Any:
        if values is None:
            if self.nullable:
                return np.nan
            raise ValueError(f"a value is missing, and a column of {self.dtype} has no nulls")
        given = np.asarray(values)
        if given.dtype.kind == "O" and self.nullable:
            return given.astype(self.dtype)  # None becomes NaN
        # A Python int fits any integer column that can hold it; numpy says so by value, not by type.
        if given.dtype.kind in "iu" and self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            if given.size and (given.min() < limits.min or given.max() > limits.max):
                raise ValueError(f"{values!r} does not fit {self.dtype}")
        elif given.size and not np.can_cast(given.dtype, self.dtype, "same_kind"):
            raise ValueError(f"{values!r} does not fit {self.dtype}")
        return given

    def cut_to(self, rows: int) -> None:
        pass  # rows beyond the count are overwritten

    def series(self, name: str, rows: int) -> pl.Series:
        import polars as pl

        series = pl.Series(name, self.buffer[:rows])
        # One form for "no value": NaN has many bit patterns, null has one.
        return series.fill_nan(None) if self.nullable else series


class _Text:
    """A text column; None is null."""

    def __init__(self) -> None:
        self.rows: list[str | None] = []
        self._lookups: dict[int, tuple[tuple[str, ...], NDArray[np.object_]]] = {}

    def put(self, values: Any, start: int, stop: int) -> None:
        kind = type(values)
        if kind is tuple or kind is list:
            self.rows += values
        elif values is None or kind is str:
            self.rows += [values] * (stop - start)
        elif kind is Coded:
            self.rows += self._names(values.names)[values.codes].tolist()
        elif isinstance(values, np.ndarray):
            self.rows += values.tolist()
        else:
            raise ValueError(f"{values!r} is not text")
        if len(self.rows) != stop:
            raise ValueError(f"{len(self.rows) - start} values for {stop - start} rows")

    def _names(self, names: tuple[str, ...]) -> NDArray[np.object_]:
        # The tuple is kept with its lookup, so its identity cannot pass to another object meanwhile.
        found = self._lookups.get(id(names))
        if found is None:
            found = (names, np.array(names, dtype=object))
            self._lookups[id(names)] = found
        return found[1]

    def cut_to(self, rows: int) -> None:
        del self.rows[rows:]
        if not rows:
            self._lookups.clear()

    def series(self, name: str, rows: int) -> pl.Series:
        import polars as pl

        return pl.Series(name, self.rows[:rows], dtype=pl.String)


class _Lists:
    """A column of number lists: (n, d) arrays, or (n,) for lists of one; None is null."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, NDArray[np.float64] | None]] = []  # (first row, (n, d) values)

    def put(self, values: Any, start: int, stop: int) -> None:
        if values is None:
            self.pieces.append((start, None))
            return
        rows = np.array(values, np.float64)
        if rows.ndim == 0:
            rows = np.full((stop - start, 1), rows)
        elif rows.ndim == 1:
            rows = rows[:, None]
        if rows.ndim != 2 or len(rows) != stop - start:
            raise ValueError(f"an array of shape {np.shape(values)} for {stop - start} rows")
        self.pieces.append((start, rows))

    def cut_to(self, rows: int) -> None:
        while self.pieces and self.pieces[-1][0] >= rows:
            self.pieces.pop()

    def series(self, name: str, rows: int) -> pl.Series:
        import polars as pl

        dtype = pl.List(pl.Float64)
        out = pl.Series(name, [], dtype=dtype)
        ends = [start for start, _ in self.pieces[1:]] + [rows]
        run: list[NDArray[np.float64]] = []  # neighbours of one width become one series
        for (start, piece), end in zip(self.pieces, ends, strict=True):
            if run and (piece is None or piece.shape[1] != run[0].shape[1]):
                out.append(_list_series(run))
                run = []
            if piece is None:
                out.append(pl.Series([None] * (end - start), dtype=dtype))
            else:
                run.append(piece)
        if run:
            out.append(_list_series(run))
        return out.rechunk()


def _list_series(pieces: Sequence[NDArray[np.float64]]) -> pl.Series:
    import polars as pl

    values = np.concatenate(pieces)
    rows, width = values.shape
    if width == 0:
        return pl.Series([[]] * rows, dtype=pl.List(pl.Float64))
    return (
        pl.Series(np.ascontiguousarray(values).reshape(-1)).reshape((rows, width)).cast(pl.List(pl.Float64))
    )


def _column(dtype: str) -> _Numbers | _Text | _Lists:
    if dtype == TEXT:
        return _Text()
    return _Lists() if dtype == FLOATS else _Numbers(dtype)


class Table:
    """The rows of one table since its last part.  Made by `RunWriter.table`."""

    def __init__(self, name: str, schema: Mapping[str, str]) -> None:
        self.name = name
        self.schema: dict[str, str] = {}
        self.rows = 0
        self.parts = 0
        """The index that the next part must reach or exceed."""
        self._columns: dict[str, _Numbers | _Text | _Lists] = {}
        self.widen(schema)

    def widen(self, schema: Mapping[str, str]) -> None:
        """Add the columns of *schema* that are new; ValueError once there are rows, or if a type differs."""
        for column, dtype in schema.items():
            known = self.schema.get(column)
            if known == dtype:
                continue
            if known is not None:
                raise ValueError(f"table {self.name!r}: column {column!r} is of type {known}, not {dtype}")
            if self.rows or self.parts:
                raise ValueError(f"table {self.name!r} has rows already; column {column!r} comes too late")
            self.schema[column] = dtype
            self._columns[column] = _column(dtype)

    def append(self, **columns: Any) -> None:
        """Append n rows, given by column.

        A column is an array of n values, a list or tuple of n values, a `Coded` text column, an (n, d) array
        for a column of lists, or one scalar for all n rows; with scalars only, n is 1.  A column left out is
        null; integer and truth columns have no nulls.  Arrays are copied.  Float columns store NaN as null.

        Raises ValueError if lengths or types disagree, or a column is unknown; the table is then unchanged.
        """
        count = 1
        for values in columns.values():
            if isinstance(values, _ROWS):
                count = len(values.codes) if type(values) is Coded else len(values)
                break
        if not count:
            return
        start = self.rows
        stop = start + count
        column = ""
        try:
            for column, store in self._columns.items():
                values = columns.pop(column, None)
                store.put(values, start, stop)
            if columns:
                column = next(iter(columns))
                raise ValueError("the table has no such column")
        except (ValueError, TypeError, IndexError) as error:
            for store in self._columns.values():
                store.cut_to(start)
            raise ValueError(f"table {self.name!r}, column {column!r}: {error}") from error
        self.rows = stop

    def frame(self) -> pl.DataFrame:
        """Return the buffered rows as a frame (a view for numbers: use it before the next append)."""
        import polars as pl

        series = []
        for column, store in self._columns.items():
            try:
                series.append(store.series(column, self.rows))
            except TypeError as error:
                raise ValueError(f"table {self.name!r}, column {column!r}: {error}") from error
        return pl.DataFrame(series, schema_overrides=polars_schema(self.schema))

    def clear(self) -> None:
        """Forget the buffered rows."""
        self.rows = 0
        for store in self._columns.values():
            store.cut_to(0)
