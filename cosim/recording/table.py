"""One table of a run while it is written: rows are appended as arrays and taken out as one polars frame.

An append copies its arrays into buffers that are reused from part to part, so the caller may reuse its own.
Nothing is done row by row in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosim.recording.tables import FLOATS, TEXT

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
        self.buffer: NDArray[Any] = np.empty(0, self.dtype)
        self._fitting = {self.dtype}
        self._scalars: tuple[type, ...] = {"f": (float, int), "b": (bool,)}.get(self.dtype.kind, (int,))

    def put(self, values: Any, place: slice, count: int) -> None:
        # The usual cases come first and cost a fraction of a microsecond: this runs for each column and step.
        if type(values) is not np.ndarray:
            if values is None and self.nullable:
                values = np.nan
            elif type(values) not in self._scalars:
                values = self._array(values)
                if not values.ndim:  # numpy's own scalars
                    self._check_fits(values)
                    values = values[()]
            if type(values) is not np.ndarray:
                self.buffer[place] = values
                return
        if len(values) != count:
            raise ValueError(f"{len(values)} values for {count} rows")
        if values.dtype is not self.dtype and values.dtype not in self._fitting:
            self._check_fits(values)
        self.buffer[place] = values

    def grow(self, capacity: int) -> None:
        grown = np.empty(capacity, self.dtype)
        grown[: len(self.buffer)] = self.buffer
        self.buffer = grown

    def _array(self, values: Any) -> NDArray[Any]:
        if values is None:
            raise ValueError(f"a value is missing, and a column of {self.dtype} has no nulls")
        array = np.asarray(values)
        if array.dtype.kind == "O" and self.nullable:
            return array.astype(self.dtype)  # None becomes NaN
        return array

    def _check_fits(self, array: NDArray[Any]) -> None:
        """Accept an array whose type, or whose integers, the column can hold; ValueError otherwise."""
        given = array.dtype
        if given.kind in "iu" and self.dtype.kind in "iu" and not np.can_cast(given, self.dtype):
            limits = np.iinfo(self.dtype)
            if int(array.min()) >= limits.min and int(array.max()) <= limits.max:
                return
        elif np.can_cast(given, self.dtype) or (self.nullable and given.kind in "fiu"):
            self._fitting.add(given)
            return
        raise ValueError(f"values of type {given} do not fit {self.dtype}")

    def cut_to(self, rows: int) -> None:
        pass  # rows beyond the count are overwritten

    def series(self, name: str, rows: int) -> pl.Series:
        import polars as pl

        values = self.buffer[:rows]
        missing = np.isnan(values) if self.nullable else np.zeros(0, np.bool_)
        if not missing.any():
            return pl.Series(name, values)
        # One form for "no value": NaN has many bit patterns, null has one.
        if missing.all():
            return pl.Series(name, [None] * rows, dtype=pl.Float64 if values.itemsize == 8 else pl.Float32)
        return pl.Series(name, values).fill_nan(None)


class _Text:
    """A text column; None is null."""

    def __init__(self) -> None:
        self.rows: list[str | None] = []
        self._lookups: dict[int, tuple[tuple[str, ...], NDArray[np.object_]]] = {}

    def put(self, values: Any, place: slice, count: int) -> None:
        kind = type(values)
        if kind is tuple or kind is list:
            self.rows += values
        elif values is None or kind is str:
            self.rows += [values] * count
        elif kind is Coded:
            self.rows += self._names(values.names)[values.codes].tolist()
        elif isinstance(values, np.ndarray):
            self.rows += values.tolist()
        elif isinstance(values, str):  # a StrEnum, numpy's str
            self.rows += [str(values)] * count
        else:
            raise ValueError(f"{values!r} is not text")
        if len(self.rows) != place.stop:
            raise ValueError(f"{len(self.rows) - place.start} values for {count} rows")

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

    def put(self, values: Any, place: slice, count: int) -> None:
        if values is None:
            self.pieces.append((place.start, None))
            return
        rows = np.array(values, np.float64)
        if rows.ndim == 0:
            rows = np.full((count, 1), rows)
        elif rows.ndim == 1:
            rows = rows[:, None]
        if rows.ndim != 2 or len(rows) != count:
            raise ValueError(f"an array of shape {np.shape(values)} for {count} rows")
        self.pieces.append((place.start, rows))

    def cut_to(self, rows: int) -> None:
        while self.pieces and self.pieces[-1][0] >= rows:
            self.pieces.pop()

    def series(self, name: str, rows: int) -> pl.Series:
        import polars as pl

        dtype = pl.List(pl.Float64)
        out = pl.Series(name, [], dtype=dtype)
        if not self.pieces:
            return out
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
        self._capacity = 0
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
            self._capacity = 0

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
        place = slice(start, stop)
        stores = self._columns
        if stop > self._capacity:
            self._grow(stop)
        column = ""
        try:
            for column, values in columns.items():
                stores[column].put(values, place, count)
            if len(columns) != len(stores):
                for column in stores.keys() - columns.keys():
                    stores[column].put(None, place, count)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            for store in stores.values():
                store.cut_to(start)
            if column not in stores:
                raise ValueError(f"table {self.name!r} has no column {column!r}") from None
            raise ValueError(f"table {self.name!r}, column {column!r}: {error}") from error
        self.rows = stop

    def _grow(self, rows: int) -> None:
        self._capacity = max(rows, 2 * self._capacity, _FIRST_CAPACITY)
        for store in self._columns.values():
            if isinstance(store, _Numbers):
                store.grow(self._capacity)

    def frame(self) -> pl.DataFrame:
        """Return the buffered rows as a frame (a view for numbers: use it before the next append)."""
        import polars as pl

        series = []
        for column, store in self._columns.items():
            try:
                series.append(store.series(column, self.rows))
            except TypeError as error:
                raise ValueError(f"table {self.name!r}, column {column!r}: {error}") from error
        return pl.DataFrame(series)

    def clear(self) -> None:
        """Forget the buffered rows."""
        self.rows = 0
        for store in self._columns.values():
            store.cut_to(0)
