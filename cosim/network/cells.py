"""The cells of a tick: each link kind's vehicles and stations, and what all of them give together.

A cell is evaluated for its own rows and columns; :func:`whole` lays all cells into the arrays of all vehicles and
stations, :func:`share` deals what stations have among the vehicles that they serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cosim.network.cellular import Air, Cell, Schedule
from cosim.network.correlated import Floats, Index
from cosim.network.rates import packet_errors


@dataclass(slots=True)
class CellNow:
    """A cell at this tick: vehicle rows and station columns of the traffic state and the station set."""

    cell: Cell
    rows: Index
    columns: Index
    member: NDArray[np.bool_]
    """Which of the rows carry the cell's radio; the others are only heard."""
    air: Air
    schedule: Schedule | None = None


def whole(
    cells: Sequence[CellNow], shape: tuple[int, int], needs_distance: bool
) -> tuple[Air, NDArray[np.bool_]]:
    """Return the arrays of all (vehicles, stations), and which vehicles (n,) carry a radio of any cell.

    One cell that has them all is used as it is.
    """
    equipped = np.zeros(shape[0], np.bool_)
    for now in cells:
        equipped[now.rows[now.member]] = True
    if len(cells) == 1 and (len(cells[0].rows), len(cells[0].columns)) == shape:
        return cells[0].air, equipped
    air = Air.unlinked(shape, needs_distance)
    for now in cells:
        air.put((now.rows, now.columns), now.air)
    return air, equipped


def share(cells: Sequence[CellNow], stations: int, serving: Index) -> None:
    """Give each vehicle its rates, and cells with resource blocks their schedule; ``serving`` (n,) columns or -1."""
    for now in cells:
        column = np.full(stations + 1, -1, np.int64)
        column[now.columns] = np.arange(len(now.columns))
        own = column[serving[now.rows]]
        now.cell.share(now.air, own)
        if now.cell.blocks:
            now.schedule = now.cell.schedule(own)


def packet_error_rates(cells: Sequence[CellNow], air: Air, serving: Index) -> Floats:
    """Return the packet error rate of each vehicle's downlink (n,), nan without a curve or a station."""
    per = np.full(len(serving), np.nan)
    for now in cells:
        if now.cell.error_law is not None:
            served = np.isin(serving, now.columns)
            rows = np.flatnonzero(served)
            per[rows] = packet_errors(now.cell.error_law, air.sinr[rows, serving[rows]])
    return per
