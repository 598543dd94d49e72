"""Links among vehicles on shared resource blocks: who talks to whom, on which block, and how well it is heard.

A :class:`D2dGroup` is one ``mode: d2d`` link kind of the scenario.  Its ends are the vehicles that carry the radio,
and the cellular users whose signals it meets.  Each tick it pairs vehicles, allocates blocks and evaluates SINR;
tasks may ask for the SINR of links of their own at the same instant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cosim.network.allocation import ALLOCATORS, Request, SlotMemory, check_blocks
from cosim.network.channel import Channel, gain_of
from cosim.network.config import LinkConfig, RadioConfig
from cosim.network.correlated import Ends, Floats, Index
from cosim.network.interference import sensed, sinr_links
from cosim.network.randomness import Draws, uniform_of
from cosim.network.rates import noise_power, packet_errors, shannon
from cosim.network.state import D2dState
from cosim.network.stations import DEFAULT_FIGURE_DB
from cosim.randomness import stream_key

Foreign = Callable[[Index, Index], Floats]
"""Interference from outside: (receivers (L,), blocks (L,)) gives W (L,)."""


class D2dGroup:
    """One kind of device-to-device links.

    Args:
        name: of the link kind, the domain of its draws.
        link, radio: its configuration and that of the radio.
        channel: among vehicles.
        seed: of the run.
    """

    def __init__(self, name: str, link: LinkConfig, radio: RadioConfig, channel: Channel, seed: int) -> None:
        assert link.rb is not None
        self.name, self.link, self.channel, self._seed = name, link, channel, seed
        self.blocks = link.rb.count
        self._width = link.rb.bandwidth
        noise = link.noise or radio.noise
        figure = DEFAULT_FIGURE_DB["vehicle"] if noise is None or noise.figure is None else noise.figure
        self.noise = noise_power(self._width, figure) if noise is None or noise.power is None else noise.power
        self.sinr_min = 0.0 if link.sinr_min is None else 10.0 ** (link.sinr_min / 10.0)
        self._allocator = ALLOCATORS.get(link.allocator.model)
        self._params = link.allocator.params(
            lambda key: uniform_of(seed, f"links.{name}.allocator.{key}", name)
        )
        self._error_law = link.error_law()
        self.memory = SlotMemory()
        self._ordered: tuple[NDArray[np.uint64], NDArray[np.uint64], Index] | None = None
        self.foreign: Foreign | None = None
        """What cellular users and stations add; set by the network where ``interferers`` name them."""

    def begin(
        self, t_us: int, rows: Index, has: NDArray[np.bool_], ends: Ends, power: Floats, slots: int
    ) -> None:
        """Take over this tick's vehicles; the channel must have begun.

        ``rows`` (n,) are the vehicles' rows in the traffic state, ``has`` (n,) whether they carry this radio,
        ``power`` (n,) W.
        """
        self.rows, self._has, self._ends, self._power = rows, has, ends, power
        self._step = t_us // self.channel.tick_us
        self.memory.reserve(slots, self.blocks)
        self.memory.forget(ends.new)

    def local(self, rows: NDArray[Any]) -> Index:
        """Return the group's own numbers of rows of the traffic state; -1 for vehicles outside it."""
        if not len(self.rows):
            return np.full(len(rows), -1, np.int64)
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[at] == rows, at, -1)

    # --- a tick -----------------------------------------------------------------------------------------

    def step(self) -> D2dState:
        """Pair, allocate and evaluate the links of this tick."""
        tx, rx, ordered = self._links()
        block = self._allocate(tx, rx, ordered)
        sinr = self._sinr(tx, rx, self._power[tx], block)
        rate = shannon(self._width, sinr, self.sinr_min)
        if "heard" in self._allocator.needs:
            self._listen(tx, block)
        distance = np.hypot(self._ends.x[tx] - self._ends.x[rx], self._ends.y[tx] - self._ends.y[rx])
        self._now = tx, block
        per = packet_errors(self._error_law, sinr)
        return D2dState(self.name, self.rows[tx], self.rows[rx], block, sinr, rate, distance, per)

    def _links(self) -> tuple[Index, Index, Index]:
        """Return this tick's links, in (tx, rx) order, and the blocks that agents ordered."""
        if self._ordered is not None:
            tx, rx, block = self._from_orders(*self._ordered)
        elif self.link.pairs is not None:
            tx, rx = self._nearest(self.link.pairs.range, self.link.pairs.count)
            block = np.full(len(tx), -1, np.int64)
        else:
            tx = rx = block = np.empty(0, np.int64)
        order = np.lexsort((rx, tx))
        return tx[order], rx[order], block[order]

    def _from_orders(
        self, tx_key: NDArray[np.uint64], rx_key: NDArray[np.uint64], block: Index
    ) -> tuple[Index, Index, Index]:
        """Find the links ordered by agents among the vehicles that are still there."""
        key = self._ends.key
        if not len(key):
            none = np.empty(0, np.int64)
            return none, none, none
        tx = np.minimum(np.searchsorted(key, tx_key), len(key) - 1)
        rx = np.minimum(np.searchsorted(key, rx_key), len(key) - 1)
        there = (key[tx] == tx_key) & (key[rx] == rx_key) & self._has[tx] & self._has[rx]
        return tx[there], rx[there], block[there]

    def _nearest(self, limit: float, count: int) -> tuple[Index, Index]:
        """Let every vehicle receive from its nearest ones."""
        device = np.flatnonzero(self._has)
        if len(device) < 2:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        xy = self._ends.xy[device]
        # One more than asked for: the nearest of a vehicle is itself (or one that stands at the same place).
        distance, near = cKDTree(xy).query(xy, k=min(count + 1, len(device)), distance_upper_bound=limit)
        found = np.isfinite(distance) & (near != np.arange(len(device))[:, None])
        found &= np.cumsum(found, axis=1) <= count
        rx, place = np.nonzero(found)
        return device[near[rx, place]], device[rx]

    def _allocate(self, tx: Index, rx: Index, ordered: Index) -> Index:
        if self._ordered is not None:
            return check_blocks(ordered, self.blocks, "agent")
        key, domain = self._ends.key, f"{self.name}/alloc"

        def draw(purpose: str) -> Floats:
            stream = stream_key(self._seed, f"{domain}/{purpose}", self._step)
            return Draws(key[tx], key[rx], stream).uniform(0)

        def draw_tx(purpose: str) -> Floats:
            stream = stream_key(self._seed, f"{domain}/{purpose}", self._step)
            return Draws(key, np.zeros(1, np.uint64), stream).uniform(0)

        request = Request(
            tx=tx,
            rx=rx,
            slot=self._ends.slot,
            power=self._power[tx],
            blocks=self.blocks,
            step=self._step,
            noise=self.noise,
            gains=self._mean_gains,
            draw=draw,
            draw_tx=draw_tx,
            memory=self.memory,
            ordered=ordered,
        )
        return check_blocks(self._allocator(request, self._params), self.blocks, self._allocator.name)

    def _mean_gains(self, tx: Index, rx: Index, block: Index) -> Floats:
        """Return gains without fading, which is what an allocator can know beforehand."""
        return gain_of(self.channel.loss_of(tx, rx)[0])

    def _listen(self, tx: Index, block: Index) -> None:
        """Update the moving average of what every vehicle hears in each block."""
        memory = getattr(self._params, "memory", 0.9)
        everyone = np.arange(len(self._ends))
        heard = sensed(tx, everyone, self._power[tx], block, self.blocks, self.channel.gains)
        slot = self._ends.slot
        self.memory.heard[slot] = memory * self.memory.heard[slot] + (1.0 - memory) * heard

    def transmitting(self) -> tuple[Index, Floats, Index]:
        """Return who sends in this tick: rows of the traffic state, W, blocks, each (L,); after :meth:`step`."""
        tx, block = self._now
        power = self._per_use(tx, self._power[tx], block)
        return self.rows[tx], power, block

    def _per_use(self, tx: Index, power: Floats, block: Index) -> Floats:
        """Return what each link sends in its block, W, after a transmitter has split its power."""
        if self.link.same_transmitter != "shared" or not len(tx):
            return np.where(block >= 0, power, 0.0)
        uses = np.bincount(tx, weights=block >= 0)
        return np.where(block >= 0, power / np.maximum(uses[tx], 1.0), 0.0)

    # --- on demand --------------------------------------------------------------------------------------

    def order(self, tx: NDArray[Any], rx: NDArray[Any], block: NDArray[Any]) -> None:
        """Note the links (rows of the traffic state) and blocks that an agent wants from the next tick on."""
        i, j = self._known(tx), self._known(rx)
        block = check_blocks(np.asarray(block), self.blocks, "agent")
        self._ordered = self._ends.key[i], self._ends.key[j], block

    def sinr(self, tx: NDArray[Any], rx: NDArray[Any], power: Floats | None, alloc: NDArray[Any]) -> Floats:
        """Return the SINR of links between rows of the traffic state; see :func:`interference.sinr_links`."""
        i, j = self._known(tx), self._known(rx)
        return self._sinr(i, j, self._power[i] if power is None else power, alloc)

    def _known(self, rows: NDArray[Any]) -> Index:
        local = self.local(np.asarray(rows))
        if (local < 0).any() or not self._has[local].all():
            raise ValueError(f"a vehicle of a D2D link has no radio '{self.link.source}'")
        return local

    def _sinr(self, tx: Index, rx: Index, power: Floats, alloc: NDArray[Any]) -> Floats:
        foreign = None
        if self.foreign is not None and len(tx):
            foreign = self._foreign(self.foreign, rx, alloc)
        return sinr_links(
            tx,
            rx,
            power,
            alloc,
            self.noise,
            self.channel.gains,
            same_transmitter=self.link.same_transmitter,
            half_duplex=self.link.half_duplex,
            split_power=self.link.split_power,
            foreign=foreign,
            among="d2d" in self.link.interferers,
        )

    def _foreign(self, foreign: Foreign, rx: Index, alloc: NDArray[Any]) -> Floats:
        if np.ndim(alloc) == 1:
            return foreign(rx, np.asarray(alloc, np.int64))
        result = np.zeros(alloc.shape)
        for k in range(alloc.shape[1]):
            result[:, k] = foreign(rx, np.where(alloc[:, k], k, -1))
        return result
