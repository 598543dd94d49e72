"""D2D links on the resource blocks of a cell: what each side adds to the other's interference.

With ``cellular_ul`` among a D2D kind's interferers, its links reuse uplink blocks: vehicles that send to a station are
heard by D2D receivers, D2D transmitters by the station.  With ``cellular_dl`` they reuse downlink blocks: stations are
heard by D2D receivers, D2D transmitters by the vehicles that stations serve.  Blocks of equal number are the same.
"""

from __future__ import annotations

import numpy as np

from cosim.network.cellular import Cell, Schedule
from cosim.network.correlated import Floats, Index
from cosim.network.d2d import D2dGroup


class Underlay:
    """One D2D kind on one cell at an instant.

    Args:
        group: the D2D links; its tick must have begun.
        cell: evaluated at this tick.
        rows: (n,) the traffic state's rows of the cell's vehicles.
        schedule: who uses which blocks of the cell.
    """

    def __init__(self, group: D2dGroup, cell: Cell, rows: Index, schedule: Schedule) -> None:
        self._group, self._cell, self._rows, self._schedule = group, cell, rows, schedule
        self._users = group.local(rows[schedule.rows])
        self._up = "cellular_ul" in group.link.interferers
        self._down = "cellular_dl" in group.link.interferers

    def on_d2d(self, receivers: Index, block: Index) -> Floats:
        """Return what D2D receivers (the group's numbers, (L,)) hear of the cell in their blocks, W, (L,)."""
        heard = np.zeros(len(receivers))
        if self._up:
            for k in np.unique(block[block >= 0]):
                here = np.flatnonzero(block == k)
                heard[here] += self._of_users(receivers[here], int(k))
        if self._down:
            heard += self._of_stations(receivers, block)
        return heard

    def _of_users(self, receivers: Index, k: int) -> Floats:
        schedule = self._schedule
        sends = schedule.uses[:, k] & (self._users >= 0)
        if not sends.any():
            return np.zeros(len(receivers))
        tx = self._users[sends][:, None]
        sent = (schedule.power * schedule.duty)[sends][:, None]
        received = sent * self._group.channel.gains(tx, receivers[None, :], np.asarray(k))
        received[tx == receivers[None, :]] = 0.0
        return np.asarray(np.add.reduce(received, axis=0))

    def _of_stations(self, receivers: Index, block: Index) -> Floats:
        at = self._in_cell(self._group.rows[receivers])
        known = (at >= 0) & (block >= 0)
        heard = np.zeros(len(receivers))
        if known.any():
            every = self._cell.sent_down(at[known], self._schedule)
            heard[known] = every[np.arange(len(every)), block[known]]
        return heard

    def _in_cell(self, rows: Index) -> Index:
        """Return the cell's numbers of rows of the traffic state, -1 for vehicles without its radio."""
        if not len(self._rows):
            return np.full(len(rows), -1, np.int64)
        at = np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)
        return np.where(self._rows[at] == rows, at, -1)

    def on_stations(self) -> Floats | None:
        """Return what the stations hear of D2D transmitters in every block, W, (m, K)."""
        if not self._up:
            return None
        rows, power, block = self._group.transmitting()
        at = self._in_cell(rows)
        known = (at >= 0) & (block >= 0)
        return self._cell.heard_up(at[known], power[known], block[known])

    def on_users(self) -> Floats | None:
        """Return what scheduled vehicles hear of D2D transmitters in every block, W, (n, K)."""
        if not self._down:
            return None
        rows, power, block = self._group.transmitting()
        tx = self._group.local(rows)
        heard = np.zeros((len(self._users), self._cell.blocks))
        there = np.flatnonzero(self._users >= 0)
        for k in range(self._cell.blocks):
            sends = block == k
            if sends.any() and len(there):
                source, sink = tx[sends][:, None], self._users[there][None, :]
                received = power[sends][:, None] * self._group.channel.gains(source, sink, np.asarray(k))
                received[source == sink] = 0.0
                heard[there, k] = np.add.reduce(received, axis=0)
        return heard
