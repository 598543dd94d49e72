"""Servers at nodes, vehicles' bearers, and what a job consists of while it is on its way.

:mod:`cosim.network.edge` moves these; here they are only described and made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.network.config import ServerConfig
from cosim.network.jobs import Job, PartDone, Report
from cosim.network.queues import Work, WorkQueue
from cosim.network.randomness import uniform_of
from cosim.network.wired import nodes_of


@dataclass(slots=True)
class Server:
    """A processor at a node; ``coming`` counts micro-cycles that were accepted and are on their way to it."""

    name: str
    queue: WorkQueue
    limit: int | None
    overflow: str | None
    coming: int = 0

    def room(self, now_us: int) -> int | None:
        """Whole cycles that it still takes; None without a limit."""
        if self.limit is None:
            return None
        return max(0, self.limit - -(-self.load(now_us) // US))

    def load(self, now_us: int) -> int:
        """Micro-cycles that wait, are under way, or were accepted and are on their way to it."""
        self.queue.look(now_us)
        return self.queue.backlog + self.coming


@dataclass(slots=True, eq=False)
class Bearer:
    """A vehicle's radio connection: a queue in each direction, and the station at its other end."""

    up: WorkQueue
    down: WorkQueue
    station: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """An order to move a share of the remaining work of a part to the server ``target``.

    ``state_bits``, and ``bits_per_cycle`` for each cycle moved, travel first.  ``results_stay``: the result of what
    is done already is returned from the source; otherwise it goes with the work where all that remains is moved.
    """

    target: str
    share: float
    state_bits: int = 0
    bits_per_cycle: float = 0.0
    results_stay: bool = False

    def bits(self, micro: int) -> int:
        """Return the bits that travel with so many micro-cycles."""
        return self.state_bits + round(self.bits_per_cycle * (micro / US))


@dataclass(slots=True, eq=False)
class Part:
    """A part of a job at one server: ``micro`` micro-cycles, and ``bits_down`` of the result."""

    server: str
    micro: int
    bits_down: int
    plan: list[Move] = field(default_factory=list)
    """Migrations ordered before the work was there."""
    work: Work | None = None


@dataclass(slots=True, eq=False)
class Flow:
    """A job on its way."""

    job: Job
    key: int
    number: int
    submitted_us: int
    to: str
    parts: list[Part] = field(default_factory=list)
    open: int = 0
    """Parts whose result has not arrived."""
    uploaded_us: int = 0
    computed_us: int = 0
    waited_us: list[int] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    done: list[PartDone] = field(default_factory=list)
    report: Report | None = None
    gone: bool = False

    def deal_result(self) -> None:
        """Deal the bits of the result to the parts by their work; the first part takes what is left over."""
        total = sum(p.micro for p in self.parts)
        bits = self.job.bits_down
        for part in self.parts:
            part.bits_down = bits * part.micro // total if total else 0
        if self.parts:
            self.parts[0].bits_down += bits - sum(p.bits_down for p in self.parts)


def make_servers(servers: Sequence[ServerConfig], nodes: Sequence[str], seed: int) -> dict[str, Server]:
    """Return all servers by node.

    ScenarioError for a place that does not exist or has two servers, and for an unknown overflow.
    """
    made: dict[str, Server] = {}
    for i, config in enumerate(servers):
        for name in nodes_of(config.at, nodes, f"network.servers.{i}.at"):
            if name in made:
                raise ScenarioError(f"there are two servers at '{name}'", key=f"network.servers.{i}.at")
            made[name] = _server(i, config, name, seed)
    for i, config in enumerate(servers):
        if config.overflow is not None and config.overflow not in made:
            hint = nearest(config.overflow, made)
            raise ScenarioError(
                f"no server is at '{config.overflow}'{hint}", key=f"network.servers.{i}.overflow"
            )
    return made


def _server(number: int, config: ServerConfig, name: str, seed: int) -> Server:
    rate = round(config.cpu.at(lambda: uniform_of(seed, f"servers.{number}.cpu", name)))
    limit = None
    if config.backlog_max is not None:
        limit = int(config.backlog_max.at(lambda: uniform_of(seed, f"servers.{number}.backlog_max", name)))
    return Server(name, WorkQueue(rate, config.discipline, config.cores), limit, config.overflow)
