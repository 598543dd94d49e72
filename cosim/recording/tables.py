"""The schemas of the standard tables: column names, types and units.

A schema maps a column to a polars data type, or to the name polars prints for it (``"Float64"``); names keep
this module free of polars, which takes 0.15 s to import.  Units are SI; levels and losses of the radio are in
dB and dBm, as the standards give them.  A table may be given more columns by who fills it (a task its own
counts in ``steps``), and a task may add whole tables; see `RunWriter.table`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

INT = "Int64"
FLOAT = "Float64"
TEXT = "String"
FLAG = "Boolean"
FLOATS = "List(Float64)"

NUMBERS = (
    *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
    *("Float32", "Float64", "Boolean"),
)
"""The types held in numeric buffers; the others are `TEXT` and `FLOATS`."""

Schema = Mapping[str, Any]
"""Column name to polars data type or its name, in the order of the columns."""

STEPS: dict[str, str] = {
    "t_us": INT,  # the instant, microseconds of simulated time
    "n_vehicles": INT,  # vehicles on the road
    "n_cav": INT,  # of these, connected automated vehicles
    "mean_speed": FLOAT,  # m/s over all vehicles; null with none
}
VEHICLES: dict[str, str] = {
    "t_us": INT,
    "id": TEXT,
    "type": TEXT,
    "edge": TEXT,
    "lane": INT,  # 0 = rightmost
    "s": FLOAT,  # front bumper along the lane, m
    "x": FLOAT,  # front bumper, m, net coordinates
    "y": FLOAT,
    "speed": FLOAT,  # m/s
    "accel": FLOAT,  # m/s^2, of the step that led here
}
LINKS: dict[str, str] = {
    "t_us": INT,
    "vehicle": TEXT,
    "station": TEXT,
    "loss_db": FLOAT,
    "rx_dbm": FLOAT,
    "snr_db": FLOAT,
    "sinr_db": FLOAT,
    "rate_up": FLOAT,  # bit/s
    "rate_down": FLOAT,  # bit/s
    "serving": FLAG,  # whether the station serves the vehicle
    "los": FLAG,  # whether there is line of sight
}
D2D: dict[str, str] = {
    "t_us": INT,
    "channel": TEXT,  # which kind of links, transmitters' radio - receivers' radio
    "tx": TEXT,  # transmitting vehicle
    "rx": TEXT,  # receiving vehicle
    "block": INT,  # resource block, -1 for none
    "distance": FLOAT,  # m
    "sinr_db": FLOAT,
    "rate": FLOAT,  # bit/s
}
SERVERS: dict[str, str] = {
    "t_us": INT,
    "server": TEXT,
    "backlog": FLOAT,  # cycles still to do
    "jobs": INT,  # waiting or under way
}
EVENTS: dict[str, str] = {
    "t_us": INT,
    "kind": TEXT,  # departure, arrival, collision, handover, migration, contract ...
    "id": TEXT,  # whom it happened to
    "other": TEXT,  # the second party
    "place": TEXT,  # edge or lane on which it happened
    "station": TEXT,
    "value": FLOAT,
    "text": TEXT,
}
COMMANDS: dict[str, str] = {
    "t_us": INT,
    "source": TEXT,  # the task (or `user`) that ordered it
    "kind": TEXT,  # speed, lane, remove, migrate, price ...
    "id": TEXT,
    "a": FLOAT,  # the kind's first and second number
    "b": FLOAT,
    "text": TEXT,
}
ACTIONS: dict[str, str] = {
    "t_us": INT,
    "task": TEXT,
    "role": TEXT,
    "id": TEXT,
    "value": FLOATS,  # as the agent answered it
    "masked": FLAG,  # whether the mask forbade it, so that its no-op counterpart was executed
}
NOTES: dict[str, str] = {
    "t_us": INT,
    "task": TEXT,
    "role": TEXT,
    "id": TEXT,
    "name": TEXT,  # the agent's name for the note
    "value": FLOATS,
}

STANDARD: dict[str, dict[str, str]] = {
    "steps": STEPS,
    "vehicles": VEHICLES,
    "links": LINKS,
    "d2d": D2D,
    "servers": SERVERS,
    "events": EVENTS,
    "commands": COMMANDS,
    "actions": ACTIONS,
    "notes": NOTES,
}

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def checked_schema(table: str, schema: Schema) -> dict[str, str]:
    """Return *schema* with type names; ValueError for an unusable table name, column name or type.

    The first column is ``t_us``, an Int64: every row is of one instant.
    """
    names = {column: str(dtype) for column, dtype in schema.items()}
    for name in (table, *names):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"table {table!r}: {name!r} is not a name of small letters, digits and underscores"
            )
    for column, dtype in names.items():
        if dtype not in (*NUMBERS, TEXT, FLOATS):
            raise ValueError(f"table {table!r}: column {column!r} cannot be of type {dtype}")
    if next(iter(names), None) != "t_us" or names["t_us"] != INT:
        raise ValueError(f"table {table!r}: the first column must be t_us, of type {INT}")
    return names


def polars_schema(schema: Mapping[str, str]) -> dict[str, pl.DataType | type[pl.DataType]]:
    """Return the polars schema for column types given by name."""
    import polars as pl

    def dtype(name: str) -> pl.DataType | type[pl.DataType]:
        if name == FLOATS:
            return pl.List(pl.Float64)
        found: type[pl.DataType] = getattr(pl, name)
        return found

    return {column: dtype(name) for column, name in schema.items()}
