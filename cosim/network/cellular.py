"""Vehicles and the stations that serve them: one cellular link kind of the scenario.

A tick has three parts: :meth:`Cell.evaluate` gives what does not depend on who serves whom (loss, received power,
SNR), association decides, and :meth:`Cell.share` divides the stations' bandwidth.  Where the band is cut into
resource blocks, :meth:`Cell.schedule` deals them out and :meth:`Cell.refine` evaluates the served links block by
block, with what D2D links on the same blocks add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cosim.network.channel import Channel, alike
from cosim.network.config import LinkConfig, NoiseConfig, RadioConfig
from cosim.network.correlated import Ends, Floats, Index
from cosim.network.rates import noise_power
from cosim.network.shadowing import grown
from cosim.network.stations import DEFAULT_FIGURE_DB, StationSet

_TO_GAIN = -math.log(10.0) / 10.0


@dataclass(slots=True)
class Air:
    """The (V, M) arrays of a tick while they are being filled; see :class:`cosim.network.state.NetworkState`."""

    loss_db: Floats
    los: NDArray[np.uint8]
    rx_dbm: Floats
    distance: Floats | None
    snr: Floats
    sinr: Floats
    sinr_up: Floats
    rate_up: Floats
    rate_down: Floats

    @classmethod
    def unlinked(cls, shape: tuple[int, int], distance: bool) -> Air:
        """Return the arrays as they are where no radio link exists."""
        zeros = [np.zeros(shape) for _ in range(5)]
        far = np.full(shape, np.inf) if distance else None
        return cls(np.full(shape, np.inf), np.full(shape, 2, np.uint8), np.full(shape, -np.inf), far, *zeros)

    @classmethod
    def empty(cls, shape: tuple[int, int], distance: bool) -> Air:
        """Return arrays that a cell of that shape will fill whole."""
        rest = [np.empty(shape) for _ in range(5)]
        far = np.empty(shape) if distance else None
        return cls(np.empty(shape), np.zeros(shape, np.uint8), np.empty(shape), far, *rest)

    def put(self, at: tuple[Index, Index], part: Air) -> None:
        """Copy a cell's arrays to their rows and columns."""
        where = np.ix_(*at)
        for name in ("loss_db", "los", "rx_dbm", "snr", "sinr", "sinr_up", "rate_up", "rate_down"):
            getattr(self, name)[where] = getattr(part, name)
        if self.distance is not None:
            self.distance[where] = part.distance

    def hide(self, rows: NDArray[np.bool_]) -> None:
        """Show some vehicles as if they had no link."""
        self.loss_db[rows], self.los[rows], self.rx_dbm[rows] = np.inf, 2, -np.inf
        for values in (self.snr, self.sinr, self.sinr_up, self.rate_up, self.rate_down):
            values[rows] = 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Resource blocks of the vehicles that a cell serves.

    ``rows`` (n,) vehicle rows of the cell, ``station`` (n,) columns of the cell, ``uses`` (n, K) bool, ``power``
    (n,) W sent in each block, ``duty`` (n,) share of the time.
    """

    rows: Index
    station: Index
    uses: NDArray[np.bool_]
    power: Floats
    duty: Floats


class Cell:
    """One cellular link kind; its arrays have the n vehicles with the radio as rows, its m stations as columns."""

    def __init__(
        self, link: LinkConfig, channel: Channel, vehicle: RadioConfig, station: RadioConfig
    ) -> None:
        self.link, self.channel = link, channel
        self.rb = link.rb or station.rb
        self._station_role = station.role
        self._vehicle_noise = link.noise or vehicle.noise
        self._station_noise = link.noise or station.noise
        self.error_law = link.error_law()
        self._ordered = np.zeros(0)
        self._sinr_min = 0.0 if link.sinr_min is None else 10.0 ** (link.sinr_min / 10.0)

    @property
    def blocks(self) -> int:
        """Number of resource blocks K; 0 where the band is not cut."""
        return 0 if self.rb is None else self.rb.count

    def _noise(self, noise: NoiseConfig | None, role: str, bandwidth: Floats) -> Floats:
        if noise is not None and noise.power is not None:
            return np.full(len(bandwidth), noise.power * max(1, self.blocks))
        figure = DEFAULT_FIGURE_DB[role] if noise is None or noise.figure is None else noise.figure
        return bandwidth * noise_power(1.0, figure)

    def evaluate(
        self, a: Ends, b: Ends, power: Floats, stations: StationSet, columns: Index, near: bool
    ) -> Air:
        """Return the cell's arrays, rates as spectral efficiency (bit/s/Hz) until :meth:`share`.

        ``power`` (n,) is what the vehicles send, W; ``near`` asks for distances.  The channel must have begun.
        """
        self._a, self._b, self._power = a, b, power
        self._budget(stations, columns)
        down = alike(self._down / self._noise_down)
        down_dbm = alike(10.0 * np.log10(self._down) + 30.0)
        up, sent = alike(1.0 / self._noise_up), alike(power)
        up = up * (sent if isinstance(sent, float) else 1.0)
        reach = stations.range[columns] ** 2
        limited = bool(np.isfinite(reach).any())
        hosts = bool((b.body >= 0).any())
        self._gain = np.empty((len(a), len(b)))
        air = Air.empty((len(a), len(b)), near)
        if self.link.reuse == "orthogonal" and not self.blocks:
            air.sinr = air.snr
        for block in self.channel.blocks():
            rows, loss = block.rows, block.loss_db
            if hosts:  # nobody is served by the station on its own roof
                loss[a.body[rows][:, None] == b.body] = np.inf
            gain = np.multiply(loss, _TO_GAIN, out=self._gain[rows])
            np.exp(gain, out=gain)
            if block.fade is not None:
                gain *= block.fade
            air.loss_db[rows] = loss
            if block.los is not None:
                air.los[rows] = block.los
            rx = np.subtract(down_dbm, loss, out=air.rx_dbm[rows])
            if air.distance is not None:
                np.sqrt(block.square, out=air.distance[rows])
            np.multiply(gain, down, out=air.snr[rows])
            if self.link.reuse == "full":
                air.sinr[rows] = self._with_others(gain)
            elif self.blocks:
                air.sinr[rows] = air.snr[rows]
            received = np.multiply(gain, up, out=air.sinr_up[rows])
            if not isinstance(sent, float):
                received *= power[rows][:, None]
            self._efficiency(air.sinr[rows], air.rate_down[rows])
            self._efficiency(received, air.rate_up[rows])
            if limited:
                out_of_range = block.square > reach
                rx[out_of_range] = -np.inf
                air.rate_down[rows][out_of_range] = 0.0
                air.rate_up[rows][out_of_range] = 0.0
        return air

    def _budget(self, stations: StationSet, columns: Index) -> None:
        """Set bandwidths, powers and noise of this tick's stations."""
        self._bandwidth, self._down = stations.bandwidth[columns], stations.power[columns]
        if self.rb is not None:
            self._bandwidth = np.full(len(columns), self.rb.count * self.rb.bandwidth)
            if self.rb.power == "each":
                self._down = self._down * self.rb.count
        self._noise_up = self._noise(self._station_noise, self._station_role, self._bandwidth)
        self._noise_down = self._noise(self._vehicle_noise, "vehicle", self._bandwidth)

    def _with_others(self, gain: Floats) -> Floats:
        """Return the downlink SINR where all stations send on one band: sums of the others, never total less own."""
        received = gain * self._down
        others = np.zeros_like(received)
        np.cumsum(received[:, :-1], axis=1, out=others[:, 1:])
        others[:, :-1] += np.cumsum(received[:, :0:-1], axis=1)[:, ::-1]
        others += self._noise_down
        return np.asarray(received / others)

    def _efficiency(self, sinr: Floats, out: Floats) -> None:
        """Write log2(1 + SINR), 0 below the threshold."""
        np.add(sinr, 1.0, out=out)
        np.log2(out, out=out)
        if self._sinr_min > 0.0:
            out[sinr < self._sinr_min] = 0.0

    def share(self, air: Air, serving: Index) -> None:
        """Turn spectral efficiencies into rates; ``serving`` (n,) are columns of the cell, -1 for none here."""
        count = np.bincount(serving[serving >= 0], minlength=len(self._b))
        if self.link.reuse == "full":
            self._interfere_up(air, serving)
        served = np.flatnonzero(serving >= 0)
        own = served, serving[served]
        if self.link.share == "agent":
            self._share_ordered(air, own)
            return
        if self.blocks:
            self._share_blocks(air, own, count)
            return
        if self.link.share == "full":
            for rate in (air.rate_up, air.rate_down):
                rate *= alike(self._bandwidth)
            return
        share = (self._bandwidth / np.maximum(count, 1))[own[1]]
        for rate in (air.rate_up, air.rate_down):
            efficiency = rate[own]
            rate *= self._bandwidth / (count + 1)
            rate[own] = efficiency * share

    def order(self, slots: Index, bandwidth: Floats) -> None:
        """Note the bandwidth (Hz) that agents give vehicles, by slot; read with ``share: agent``."""
        self._ordered = grown(self._ordered, (int(slots.max(initial=-1)) + 1,), 0.0)
        self._ordered[slots] = bandwidth

    def _share_ordered(self, air: Air, own: tuple[Index, Index]) -> None:
        """Give every vehicle what agents ordered, less in proportion where a station has not that much."""
        slots = self._a.slot
        self._ordered = grown(self._ordered, (int(slots.max(initial=-1)) + 1,), 0.0)
        new = self._a.new
        self._ordered[new[new < len(self._ordered)]] = 0.0
        asked = self._ordered[slots]
        total = np.bincount(own[1], weights=asked[own[0]], minlength=len(self._b))
        part = np.minimum(1.0, self._bandwidth / np.maximum(total, 1e-30))
        for rate in (air.rate_up, air.rate_down):
            rate *= asked[:, None] * part

    def _share_blocks(self, air: Air, own: tuple[Index, Index], count: Index) -> None:
        """Share resource blocks: a vehicle sends all its power in the few blocks that it has."""
        assert self.rb is not None
        width = self.rb.bandwidth
        joined = np.tile(count + 1, (len(self._a), 1))
        joined[own] = np.maximum(count, 1)[own[1]]
        each = self._blocks_each(joined)
        air.sinr_up *= self.blocks / each
        out_of_range = ~np.isfinite(air.rx_dbm)
        self._efficiency(air.sinr_up, air.rate_up)
        air.rate_up[out_of_range] = 0.0
        share = each * width * self._duty(joined)
        air.rate_up *= share
        air.rate_down *= share

    def _blocks_each(self, users: Index) -> Index:
        if self.link.share == "full":
            return np.full(users.shape, self.blocks)
        return np.asarray(np.maximum(1, self.blocks // np.maximum(users, 1)), np.int64)

    def _duty(self, users: Index) -> Floats:
        if self.link.share == "full":
            return np.ones(users.shape)
        return np.minimum(1.0, self.blocks / np.maximum(users, 1))

    def _interfere_up(self, air: Air, serving: Index) -> None:
        """Add to the uplink what vehicles of other cells send on the same band."""
        interference = np.zeros(len(self._b))
        for column in range(len(self._b)):
            rows = np.flatnonzero(serving == column)
            if len(rows):
                received = np.add.reduce(self._power[rows][:, None] * self._gain[rows], axis=0)
                # Users who share a band in time send one at a time.
                received = received / len(rows) if self.link.share == "equal" else received
                received[column] = 0.0
                interference += received
        air.sinr_up *= self._noise_up / (self._noise_up + interference)
        self._efficiency(air.sinr_up, air.rate_up)
        air.rate_up[~np.isfinite(air.rx_dbm)] = 0.0

    # --- resource blocks --------------------------------------------------------------------------------

    def schedule(self, serving: Index) -> Schedule:
        """Deal the blocks of every station to whom it serves, in key order."""
        rows = np.flatnonzero(serving >= 0)
        station = serving[rows]
        uses = np.zeros((len(rows), self.blocks), np.bool_)
        duty = np.ones(len(rows))
        for column in np.unique(station):
            mine = np.flatnonzero(station == column)
            n, each = len(mine), int(self._blocks_each(np.array(len(mine))))
            if self.link.share == "full":
                uses[mine] = True
                continue
            first = np.arange(n) % self.blocks
            for i in range(each):
                uses[mine, first + i * n if each > 1 else first] = True
            duty[mine] = 1.0 / np.bincount(first, minlength=self.blocks)[first]
        power = self._power[rows] / np.maximum(uses.sum(axis=1), 1)
        return Schedule(rows, station, uses, power, duty)

    def heard_up(self, rows: Index, power: Floats, block: Index) -> Floats:
        """Return what each station hears in every block from vehicles that send there, W, (m, K).

        ``rows`` (L,) are vehicle rows of the cell, ``power`` (L,) W, ``block`` (L,), -1 for none.
        """
        heard = np.zeros((len(self._b), self.blocks))
        received = power[:, None] * self._gain[rows]
        for k in range(self.blocks):
            here = received[block == k]
            if len(here):
                heard[:, k] = np.add.reduce(here, axis=0)
        return heard

    def sent_down(self, rows: Index, schedule: Schedule) -> Floats:
        """Return what vehicles in ``rows`` hear in every block from stations that serve somebody there, W, (n, K)."""
        heard = np.zeros((len(rows), self.blocks))
        for column in np.unique(schedule.station):
            busy = schedule.uses[schedule.station == column].any(axis=0)
            heard += self._gain[rows, column][:, None] * (self._down[column] / self.blocks) * busy
        return heard

    def _other_cells(self, schedule: Schedule) -> tuple[Floats, Floats]:
        """Return what other cells add on the same blocks: at the stations (m, K), at the vehicles (n, K), W."""
        up, down = np.zeros((len(self._b), self.blocks)), np.zeros((len(schedule.rows), self.blocks))
        sent = schedule.power * schedule.duty
        received = sent[:, None] * self._gain[schedule.rows]
        received[np.arange(len(schedule.rows)), schedule.station] = 0.0
        foreign = schedule.station[:, None] != np.arange(len(self._b))
        for k in range(self.blocks):
            here = schedule.uses[:, k]
            if here.any():
                up[:, k] = np.add.reduce(received[here] * foreign[here], axis=0)
        for column in np.unique(schedule.station):
            busy = schedule.uses[schedule.station == column].any(axis=0)
            others = schedule.station != column
            gain = self._gain[schedule.rows[others], column]
            down[others] += gain[:, None] * (self._down[column] / self.blocks) * busy
        return up, down

    def refine(self, air: Air, schedule: Schedule, up: Floats | None, down: Floats | None) -> None:
        """Evaluate the served links block by block.

        ``up`` (m, K) is interference at the stations and ``down`` (n, K) at the scheduled vehicles, W; fading is
        drawn anew for every block.
        """
        if not len(schedule.rows) or self.rb is None:
            return
        if self.link.reuse == "full":
            more_up, more_down = self._other_cells(schedule)
            up = more_up if up is None else up + more_up
            down = more_down if down is None else down + more_down
        rows, station, uses = schedule.rows, schedule.station, schedule.uses
        at = rows, station
        gain = np.exp(air.loss_db[at] * _TO_GAIN)[:, None]
        key_v, key_s = self._a.key[rows][:, None], self._b.key[station][:, None]
        gain = gain * self.channel.fade(key_v, key_s, np.arange(self.blocks)[None, :])
        noise_up = (self._noise_up[station] / self.blocks)[:, None]
        noise_down = (self._noise_down[station] / self.blocks)[:, None]
        sinr_up = gain * schedule.power[:, None] / (noise_up + (0.0 if up is None else up[station]))
        received = gain * (self._down[station] / self.blocks)[:, None]
        sinr_down = received / (noise_down + (0.0 if down is None else down))
        reachable = np.isfinite(air.rx_dbm[at])
        for sinr, mean, rate in ((sinr_up, air.sinr_up, air.rate_up), (sinr_down, air.sinr, air.rate_down)):
            sinr = np.where(uses, sinr, 0.0)
            efficiency = np.empty_like(sinr)
            self._efficiency(sinr, efficiency)
            mean[at] = sinr.sum(axis=1) / np.maximum(uses.sum(axis=1), 1)
            rate[at] = efficiency.sum(axis=1) * self.rb.bandwidth * schedule.duty * reachable
