"""Wired links between stations and named nodes such as the cloud, and the ways through them.

A wired link is a queue in each direction plus a propagation delay after service.  Data takes the way with the
fewest links, then the least delay, then the first by name.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.network.config import ServerConfig, WiredConfig
from cosim.network.queues import WorkQueue
from cosim.network.randomness import uniform_of


@dataclass(slots=True)
class Wire:
    """One direction of a wired link."""

    start: str
    end: str
    queue: WorkQueue
    delay_us: int


def _is_glob(name: str) -> bool:
    return any(c in name for c in "*?[")


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which rsu_10 follows rsu_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def named_nodes(
    wired: Sequence[WiredConfig], servers: Sequence[ServerConfig], stations: Iterable[str]
) -> list[str]:
    """Return the nodes that are no station: plain names that are both an end of a wire and the place of a server.

    ScenarioError for a plain name that is only one of the two, because it is probably a misspelt station.
    """
    known = set(stations)
    ends = {n: f"network.wired.{i}.ends" for i, w in enumerate(wired) for end in w.ends for n in end}
    places = {n: f"network.servers.{i}.at" for i, s in enumerate(servers) for n in s.at}
    for name, key in (ends | places).items():
        if _is_glob(name) or name in known or (name in ends and name in places):
            continue
        missing = "no server is at" if name in ends else "no wired link leads to"
        hint = nearest(name, [*known, *(places if name in ends else ends)])
        raise ScenarioError(f"'{name}' is no station, and {missing} a node of that name{hint}", key=key)
    return sorted(n for n in ends if n in places and not _is_glob(n) and n not in known)


def nodes_of(globs: Sequence[str], nodes: Sequence[str], key: str) -> list[str]:
    """Return the nodes that fit, in natural order; ScenarioError for a glob that fits none."""
    for glob in globs:
        if not any(fnmatchcase(n, glob) for n in nodes):
            hint = nearest(glob.replace("*", ""), nodes) or f"; there are {', '.join(nodes) or 'none'}"
            raise ScenarioError(f"no station or node matches '{glob}'{hint}", key=key)
    return sorted((n for n in nodes if any(fnmatchcase(n, g) for g in globs)), key=_natural)


class Wires:
    """All wired links, and ways between nodes.

    Args:
        wired: their configuration.
        nodes: ids of the stations at fixed places and the named nodes.
        seed: for rates that are drawn, once a pair of nodes.
    """

    def __init__(self, wired: Sequence[WiredConfig], nodes: Sequence[str], seed: int) -> None:
        self.links: dict[tuple[str, str], Wire] = {}
        for i, config in enumerate(wired):
            for a, b in _pairs(config, nodes, f"network.wired.{i}.ends"):
                if (a, b) in self.links:
                    raise ScenarioError(f"'{a}' and '{b}' are wired twice", key=f"network.wired.{i}.ends")
                rate = config.rate.at(partial(uniform_of, seed, f"wired.{i}.rate", a, b))
                delay = config.delay.at(partial(uniform_of, seed, f"wired.{i}.delay", a, b))
                for start, end in ((a, b), (b, a)):
                    self.links[start, end] = Wire(start, end, WorkQueue(round(rate)), round(delay * US))
        self._next: dict[str, list[Wire]] = {}
        for wire in self.links.values():
            self._next.setdefault(wire.start, []).append(wire)
        self._ways: dict[str, dict[str, list[Wire]]] = {}

    def way(self, start: str, end: str) -> list[Wire] | None:
        """Return the wires from node to node ([] for the same node), None if there is no way."""
        if start not in self._ways:
            self._ways[start] = self._search(start)
        return self._ways[start].get(end)

    def nearest(self, start: str, ends: Collection[str]) -> str | None:
        """Return which of *ends* is reached over the fewest wires, then soonest; None if none is."""
        if start in ends:
            return start
        ways = [(self.way(start, name), name) for name in ends]
        reachable = [
            (len(way), sum(wire.delay_us for wire in way), name) for way, name in ways if way is not None
        ]
        return min(reachable)[2] if reachable else None

    def _search(self, start: str) -> dict[str, list[Wire]]:
        """Return the best way to every node that can be reached (Dijkstra over (links, delay, name))."""
        found: dict[str, list[Wire]] = {}
        ahead: list[tuple[int, int, str, list[Wire]]] = [(0, 0, start, [])]
        while ahead:
            hops, delay, node, way = heapq.heappop(ahead)
            if node in found:
                continue
            found[node] = way
            for wire in self._next.get(node, ()):
                if wire.end not in found:
                    step = (hops + 1, delay + wire.delay_us, wire.end, [*way, wire])
                    # Ways never compare: two entries of one node and cost differ in nothing that matters.
                    heapq.heappush(ahead, _Entry(step))
        return found


class _Entry(tuple[int, int, str, list[Wire]]):
    """A heap entry that compares by links, delay and node only."""

    def __lt__(self, other: tuple[int, int, str, list[Wire]]) -> bool:  # type: ignore[override]
        return self[:3] < other[:3]


def _pairs(config: WiredConfig, nodes: Sequence[str], key: str) -> list[tuple[str, str]]:
    """Return each pair of nodes that an entry links, once."""
    first, second = (nodes_of(end, nodes, key) for end in config.ends)
    if config.topology == "chain":
        line = sorted(set(first) | set(second), key=_natural)
        return list(pairwise(line))
    if config.topology == "star" and len(second) != 1:
        raise ScenarioError(f"a star has one node at its centre, not {len(second)}", key=key)
    pairs = {tuple(sorted((a, b), key=_natural)) for a in first for b in second if a != b}
    return sorted(pairs, key=lambda p: (_natural(p[0]), _natural(p[1])))  # type: ignore[arg-type, return-value]
