"""Which resource block a D2D link uses: random, round robin, greedy, sensing-based (sps), or an agent.

``@allocator(name)`` registers a function ``(request, params) -> blocks`` that gives each link a block number, or
-1 for none.  Its draws come from ``request.draw`` and are keyed by the link's two ends; what it must remember
between ticks it keeps in ``request.memory``, rows of which belong to transmitters' slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cosim.errors import ScenarioError
from cosim.network.interference import Gains
from cosim.network.models import GROUP, Model, NoParams, Params, adder
from cosim.registry import Registry
from cosim.scenario.base import Whole
from cosim.scenario.units import Share

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

ALLOCATORS: Registry[Model] = Registry(GROUP, "allocator")
allocator = adder(ALLOCATORS)


@dataclass(slots=True)
class SlotMemory:
    """What an allocator remembers of each vehicle slot: the block in use, a counter, and the power it hears.

    ``block`` (S,) is -1 and ``counter`` 0 for a new vehicle; ``heard`` (S, K) is a moving average in W.
    """

    block: Index = field(default_factory=lambda: np.full(0, -1, np.int64))
    counter: Index = field(default_factory=lambda: np.zeros(0, np.int64))
    heard: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def reserve(self, slots: int, blocks: int) -> None:
        """Make room for at least that many slots."""
        have = len(self.block)
        if slots > have:
            size = max(slots, 2 * have)
            block, counter, heard = (
                np.full(size, -1, np.int64),
                np.zeros(size, np.int64),
                np.zeros((size, blocks)),
            )
            block[:have], counter[:have], heard[:have] = (
                self.block,
                self.counter,
                self.heard.reshape(have, blocks),
            )
            self.block, self.counter, self.heard = block, counter, heard

    def forget(self, slots: Index) -> None:
        """Begin anew for these slots."""
        self.block[slots], self.counter[slots], self.heard[slots] = -1, 0, 0.0


@dataclass(slots=True)
class Request:
    """L links that want blocks.

    ``tx, rx`` (L,) are vehicle rows, ``slot`` (V,) their slots, ``power`` (L,) W, ``blocks`` the number K, ``step``
    the tick's number, ``noise`` W in a block, ``gains`` as in :mod:`cosim.network.interference` but without
    fading; ``draw(purpose)`` gives a uniform in (0, 1) for every link, ``draw_tx(purpose)`` for every vehicle;
    ``ordered`` (L,) holds what agents have ordered (-1 none).
    """

    tx: Index
    rx: Index
    slot: Index
    power: Floats
    blocks: int
    step: int
    noise: float
    gains: Gains
    draw: Callable[[str], Floats]
    draw_tx: Callable[[str], Floats]
    memory: SlotMemory
    ordered: Index


@allocator("random", params=NoParams)
def random(request: Request, p: NoParams) -> Index:
    """Draw a block for every link in every tick."""
    return np.minimum((request.draw("block") * request.blocks).astype(np.int64), request.blocks - 1)


@allocator("round_robin", params=NoParams)
def round_robin(request: Request, p: NoParams) -> Index:
    """Deal the blocks to the links in key order, one further each tick."""
    order = np.lexsort((request.rx, request.tx))
    block = np.empty(len(order), np.int64)
    block[order] = (np.arange(len(order)) + request.step) % request.blocks
    return block


@allocator("agent", params=NoParams)
def agent(request: Request, p: NoParams) -> Index:
    """Do what agents have ordered; a link without an order is silent."""
    return request.ordered.copy()


@allocator("greedy", params=NoParams)
def greedy(request: Request, p: NoParams) -> Index:
    """Put each link, in key order, on the block where it meets and causes least interference so far."""
    tx, rx, power = request.tx, request.rx, request.power
    order = np.lexsort((rx, tx))
    block = np.full(len(tx), -1, np.int64)
    if not len(tx):
        return block
    gain = request.gains(tx[:, None], rx[None, :], np.asarray(0))
    gain = np.where(tx[:, None] == rx[None, :], 0.0, gain)
    met, caused = np.zeros((request.blocks, len(tx))), np.zeros((request.blocks, len(tx)))
    for link in order:
        k = int(np.argmin(met[:, link] + caused[:, link]))
        block[link] = k
        met[k] += power[link] * gain[link]
        caused[k] += power * gain[:, link]
    return block


class SpsParams(Params):
    """Sensing-based semi-persistent scheduling (LTE mode 4, NR mode 2; TS 38.321 5.22, TS 38.214 8.1.4).

    A transmitter keeps its block for ``counter_min`` to ``counter_max`` ticks and then, with probability ``keep``,
    for another round; else it draws one of the quietest ``candidates`` share of blocks.  ``memory`` is the share of
    the past in the moving average of what it hears.
    """

    counter_min: Whole = 5
    counter_max: Whole = 15
    keep: Share = 0.0
    candidates: Share = 0.2
    memory: Share = 0.9


@allocator("sps", params=SpsParams, needs=("heard",))
def sps(request: Request, p: SpsParams) -> Index:
    """Keep, or reselect among the quietest blocks; all links of a transmitter share its block."""
    memory, blocks = request.memory, request.blocks
    rows = np.unique(request.tx)
    slots = request.slot[rows]
    counter = memory.counter[slots] - 1
    keep = (memory.block[slots] >= 0) & (request.draw_tx("keep")[rows] < p.keep)
    expired = counter < 0
    select = expired & ~keep
    count = max(1, int(np.ceil(p.candidates * blocks)))
    # Ties in what is heard (all silent at first) go by block number shifted by the draw, not always to block 0.
    pick = request.draw_tx("block")[rows]
    quiet = np.argsort(memory.heard[slots], axis=1, kind="stable")
    equal = (memory.heard[slots] == 0.0).all(axis=1)
    rank = np.minimum((pick * np.where(equal, blocks, count)).astype(np.int64), blocks - 1)
    chosen = quiet[np.arange(len(rows)), rank]
    memory.block[slots] = np.where(select, chosen, memory.block[slots])
    span = p.counter_max - p.counter_min + 1
    renewed = p.counter_min + np.minimum((request.draw_tx("counter")[rows] * span).astype(np.int64), span - 1)
    memory.counter[slots] = np.where(expired, renewed, counter)
    return memory.block[request.slot[request.tx]]


def check_blocks(block: Index, blocks: int, name: str) -> Index:
    """Return *block* as an allocator must give it; ScenarioError if a number is out of range."""
    block = np.asarray(block, np.int64)
    if len(block) and (block.max() >= blocks or block.min() < -1):
        raise ScenarioError(f"allocator '{name}' gave a block outside 0 … {blocks - 1}")
    return block
