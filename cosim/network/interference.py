"""SINR of links that share resource blocks.

For link l on a resource block: SINR_l = p_l g_ll / (N + sum over i != l on the same block of p_i g_il).  Links on
different blocks never meet, so gains are evaluated only inside each block's group (sum of n_k^2 pairs instead of
L^2).  A link's own power never enters the sum: subtracting it from a total would lose digits at high SINR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

Gains = Callable[[Index, Index, Index], Floats]
"""Linear gains: ``gains(tx, rx, block)`` broadcasts entity numbers and block numbers (which fading may read)."""

SameTransmitter = Literal["interferes", "once", "shared"]

_BATCH_BELOW = 40
"""Groups of fewer links are padded to one batch."""
_PAIRS = 32768
"""Pairs evaluated at once."""


@dataclass(slots=True)
class _Links:
    tx: Index
    rx: Index
    power: Floats
    """What each link sends in each of its blocks, W."""
    loud: Floats
    """What of it counts as interference."""
    noise: Floats
    foreign: Floats | None
    gains: Gains
    same: SameTransmitter
    among: bool
    both: bool
    """Whether some device is the transmitter of one link and the receiver of another."""

    def received(self, i: Index, l: Index, block: Index) -> Floats:
        """Return what link l's receiver hears of link i's transmitter, W; ``i`` and ``l`` broadcast.

        Zero where it does not interfere: a link with itself, a device with itself, shared transmitters.
        """
        if not self.among:
            return np.zeros(np.broadcast_shapes(i.shape, l.shape))
        received = self.gains(self.tx[i], self.rx[l], block)
        received *= self.loud[i]
        tx = self.tx[i]
        if self.both:
            np.copyto(received, 0.0, where=tx == self.rx[l])
        np.copyto(received, 0.0, where=i == l if self.same == "interferes" else tx == self.tx[l])
        return received

    def sinr(self, l: Index, block: Index, interference: Floats) -> Floats:
        wanted = self.gains(self.tx[l], self.rx[l], block) * self.power[l]
        floor = self.noise[l] + interference
        if self.foreign is not None:
            floor += self.foreign[l]
        return np.asarray(wanted / floor)


def sinr_links(
    tx: NDArray[np.integer],
    rx: NDArray[np.integer],
    power: Floats,
    alloc: NDArray[np.integer] | NDArray[np.bool_],
    noise: float | Floats,
    gains: Gains,
    *,
    same_transmitter: SameTransmitter = "interferes",
    half_duplex: bool = False,
    split_power: bool = True,
    foreign: Floats | None = None,
    among: bool = True,
) -> Floats:
    """Return the SINR (linear) of L links.

    Args:
        tx, rx: (L,) entity numbers of the two ends.
        power: (L,) transmit power in W.
        alloc: int (L,), the block of each link, -1 for none; or bool (L, K), the blocks of each link.
        noise: W in one block, or (L,).
        gains: see :data:`Gains`.
        same_transmitter: ``interferes`` counts another unicast of one's own transmitter, at full power;
            ``once`` counts what a transmitter sends in a block once, however many links it serves there, and
            never against its own links; ``shared`` splits its power over all that it sends and counts none.
        half_duplex: a device that transmits receives nothing, on any block.
        split_power: a link on several blocks splits its power equally; else it sends ``power`` in each.
        foreign: interference from outside, W, of the shape of ``alloc``.
        among: whether the links interfere with each other at all.

    Returns:
        (L,), or (L, K) for a bool ``alloc``; 0 where a link is not allocated.
    """
    sources, sinks = np.asarray(tx, np.int64), np.asarray(rx, np.int64)
    several = np.ndim(alloc) == 2
    uses = np.asarray(alloc, np.bool_).sum(axis=1) if several else (np.asarray(alloc) >= 0).astype(np.int64)
    shared = same_transmitter == "shared"
    sent = _power_per_use(sources, np.asarray(power, np.float64), uses, shared, split_power)
    both = bool(np.intersect1d(sources, sinks).size)
    floor = np.broadcast_to(np.asarray(noise, np.float64), sources.shape)
    links = _Links(sources, sinks, sent, sent, floor, foreign, gains, same_transmitter, among, both)
    if several:
        result = _several_blocks(links, np.asarray(alloc, np.bool_))
    else:
        result = _one_block(links, np.asarray(alloc, np.int64))
    if half_duplex:
        result[np.isin(sinks, sources[uses > 0])] = 0.0
    return result


def _power_per_use(tx: Index, power: Floats, uses: Index, shared: bool, split: bool) -> Floats:
    """Return what each link sends in each of its blocks, W."""
    if shared:
        _, transmitter = np.unique(tx, return_inverse=True)
        total = np.bincount(transmitter, weights=uses)
        return power / np.maximum(total[transmitter], 1.0)
    return power / np.maximum(uses, 1) if split else power


def _once(links: _Links, block: Index) -> Floats:
    """Return each link's part of its transmitter's power where several links of one block are one signal."""
    _, signal = np.unique(np.stack([links.tx, block]), axis=1, return_inverse=True)
    return np.asarray(links.power / np.bincount(signal)[signal])


def _one_block(links: _Links, block: Index) -> Floats:
    # Inside a group the order is that of the entities, not of the caller's rows: sums are then bit-identical
    # under any permutation of the links.
    order = np.lexsort((links.power, links.rx, links.tx, block))
    order = order[block[order] >= 0]
    if links.same == "once":
        links = replace(links, loud=_once(links, block))
    kinds, starts, sizes = np.unique(block[order], return_index=True, return_counts=True)
    result = np.zeros(len(block))
    small = sizes < _BATCH_BELOW
    if small.any():
        _batch(links, order, kinds[small], starts[small], sizes[small], result)
    for k, start, size in zip(kinds[~small], starts[~small], sizes[~small], strict=True):
        _group(links, k, order[start : start + size], result)
    return result


def _group(links: _Links, block: Index, group: Index, result: Floats) -> None:
    """Evaluate one large group in slices of receivers that fit the cache."""
    step = max(1, _PAIRS // len(group))
    for start in range(0, len(group), step):
        l = group[start : start + step]
        received = links.received(group[:, None], l[None, :], block)
        result[l] = links.sinr(l, block, _ordered_sum(received))


def _batch(links: _Links, order: Index, kinds: Index, starts: Index, sizes: Index, result: Floats) -> None:
    """Evaluate small groups together, padded to the same size with repeats that do not count."""
    size = int(sizes.max())
    step = max(1, _PAIRS // (size * size))
    for first in range(0, len(kinds), step):
        part = slice(first, first + step)
        place = np.minimum(np.arange(size), sizes[part, None] - 1)
        l = order[starts[part, None] + place]
        real = np.arange(size) < sizes[part, None]
        block = kinds[part]
        i, receiver = l.T[:, :, None], l[None, :, :]  # source, group, receiver
        received = links.received(i, receiver, block[None, :, None])
        received *= real.T[:, :, None]
        sinr = links.sinr(l, block[:, None], _ordered_sum(received))
        result[l[real]] = sinr[real]


def _ordered_sum(terms: Floats) -> Floats:
    """Sum over the first axis, one term after the other whatever the shape (NumPy may pair them up)."""
    if terms.shape[0] and terms[0].size == 1:
        return np.asarray(np.cumsum(terms, axis=0)[-1])
    return np.asarray(np.add.reduce(terms, axis=0))


def _several_blocks(links: _Links, alloc: NDArray[np.bool_]) -> Floats:
    """Evaluate links that may use several blocks: I (L, K) = G0^T (A * P), G0 with zeroes where nobody meets."""
    order = np.lexsort((links.power, links.rx, links.tx))
    result = np.zeros(alloc.shape)
    for k in range(alloc.shape[1]):
        group = order[alloc[order, k]]
        if len(group):
            block = np.int64(k)
            outside = None if links.foreign is None else links.foreign[:, k]
            here = replace(links, foreign=outside)
            if links.same == "once":
                here.loud = _once(links, np.where(alloc[:, k], 0, -1))
            column = np.zeros(len(order))
            _group(here, np.asarray(block), group, column)
            result[:, k] = column
    return result


def sensed(
    tx: NDArray[np.integer],
    at: NDArray[np.integer],
    power: Floats,
    alloc: NDArray[np.integer],
    blocks: int,
    gains: Gains,
) -> Floats:
    """Return what each of D devices hears in every block, W, (D, K): I = G0^T (A * P).

    Args:
        tx, power, alloc: (L,) transmitters, their powers in W and blocks (-1 for none).
        at: (D,) the listening devices; a device does not hear itself.
        blocks: K.
        gains: see :data:`Gains`.
    """
    heard = np.zeros((len(at), blocks))
    sources, sinks = np.asarray(tx, np.int64), np.asarray(at, np.int64)
    for k in range(blocks):
        group = np.flatnonzero(np.asarray(alloc) == k)
        group = group[np.argsort(sources[group], kind="stable")]
        if len(group):
            source = sources[group][:, None]
            received = gains(source, sinks[None, :], np.asarray(k)) * power[group][:, None]
            received[source == sinks[None, :]] = 0.0
            heard[:, k] = _ordered_sum(received)
    return heard
