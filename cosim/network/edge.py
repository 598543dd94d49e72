"""Edge computing in exact time: jobs on radio bearers, wired links and processors, between one tick and the next.

:class:`Edge` sends each job from queue to queue; :class:`~cosim.network.agenda.Agenda` knows which of them is due.
The network gives it the radio rates of each tick; it gives finished jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal

from cosim.clock import US
from cosim.errors import ScenarioError, nearest
from cosim.network.agenda import Agenda, Stage
from cosim.network.config import ServerConfig
from cosim.network.jobs import (
    SERVING,
    Job,
    JobDone,
    JobDropped,
    JobMoved,
    NetworkEvents,
    PartDone,
    Report,
    Submission,
)
from cosim.network.queues import Finish, WorkQueue
from cosim.network.servers import Bearer, Flow, Move, Part, Server, make_servers
from cosim.network.wired import Wires
from cosim.traffic.state import entity_key


class Edge:
    """Servers, wires and bearers, and all jobs on their way.

    Args:
        servers: their configuration.
        nodes: stations at fixed places and named nodes.
        wires: between them.
        seed: for processor speeds that are drawn, once a server.
    """

    def __init__(
        self, servers: Sequence[ServerConfig], nodes: Sequence[str], wires: Wires, seed: int
    ) -> None:
        self.wires = wires
        self.servers = make_servers(servers, nodes, seed)
        self.events = NetworkEvents()
        self._bearers: dict[str, Bearer] = {}
        self._flows: dict[str, Flow] = {}
        self._count = 0
        self._agenda = Agenda()

    @property
    def now_us(self) -> int:
        """The instant up to which everything has happened."""
        return self._agenda.now_us

    # --- orders from outside ----------------------------------------------------------------------------

    def submit(
        self, job: Job, server: str, t_us: int | None = None, report: Report | None = None
    ) -> Submission:
        """Send a job off at ``t_us`` (default: now) to a server, or to ``serving``; ``report`` is told its end.

        Returns what was accepted and what exceeded the server's ``backlog_max`` (and its overflow's).  With
        ``serving`` that is decided when the data has come up, and what is too much is dropped as ``full``.
        ValueError for an id that is on its way already; ScenarioError for an unknown server.
        """
        if job.id in self._flows:
            raise ValueError(f"job '{job.id}' is on its way already")
        if not self.servers:
            raise ScenarioError(
                "the network has no servers, so nothing can be submitted", key="network.servers"
            )
        self.advance(self.now_us if t_us is None else t_us)
        flow = Flow(job, entity_key(job.origin), self._count, self.now_us, server, report=report)
        accepted = job.cycles
        if server != SERVING:
            accepted = self._admit(flow, self.server(server), job.cycles)
            if job.cycles and not accepted:
                return Submission(0, job.cycles)
        self._count += 1
        self._flows[job.id] = flow
        bearer = self._bearer(job.origin)
        self._agenda.push(
            bearer.up, flow, job.bits_up, lambda finish: self._uploaded(flow, bearer, finish.t_us)
        )
        return Submission(accepted, job.cycles - accepted)

    def migrate(
        self,
        job: str,
        source: str,
        target: str,
        share: float = 1.0,
        state_bits: int = 0,
        bits_per_cycle: float = 0.0,
        results_stay: bool = False,
    ) -> int:
        """Move a share of the remaining work of a job from server to server; return the micro-cycles moved.

        The state travels over the wires and the work joins the target's queue when it arrives.  Work that has not
        reached ``source`` yet is split there on arrival, one order after the other (0 is returned).  Arguments as
        those of :class:`~cosim.network.servers.Move`.  ValueError for an unknown job or share.
        """
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"a share lies between 0 and 1, not {share!r}")
        move = Move(target, share, state_bits, bits_per_cycle, results_stay)
        flow = self._flows.get(job)
        if flow is None:
            raise ValueError(f"no job '{job}' is on its way")
        for name in (source, target):
            self.server(name)
        moved = 0
        for part in [p for p in flow.parts if p.server == source]:
            if part.work is None:
                part.plan.append(move)
            else:
                moved += self._split(flow, part, move)
        return moved

    def preload(self, server: str, cycles: int) -> None:
        """Give a server work that is nobody's: it comes before what arrives at the same instant."""
        name = f"load of {server}"
        flow = Flow(Job(name, name, 0, cycles), 0, self._count, self.now_us, server)
        self._count += 1
        self._agenda.push(self.server(server).queue, flow, cycles, lambda finish: None)

    def set_rate(self, queue: WorkQueue, rate: int) -> None:
        """Change the rate of a wire or a processor from now on."""
        self._agenda.set_rate(queue, rate)

    def set_bearer(
        self, vehicle: str, station: str | None, up: int, down: int, t_us: int, silent_until_us: int
    ) -> None:
        """Give a vehicle's bearer its station and rates (bit/s) from ``t_us``, silent until a later instant."""
        self.advance(t_us)
        bearer = self._bearers[vehicle]
        bearer.station = station
        if silent_until_us <= t_us:
            self._set_rates(bearer, up, down, t_us)
            return
        self._set_rates(bearer, 0, 0, t_us)

        def resume(now_us: int) -> None:
            if bearer.station == station:
                self._set_rates(bearer, up, down, now_us)

        self._agenda.at(silent_until_us, (-1,), resume)

    def bearers(self) -> Iterable[str]:
        """Return the vehicles that have a bearer, in the order in which they got it."""
        return tuple(self._bearers)

    def has_bearer(self, vehicle: str) -> bool:
        """Whether a vehicle has a bearer."""
        return vehicle in self._bearers

    def open_bearer(self, vehicle: str) -> None:
        """Give a vehicle a bearer, without service until :meth:`set_bearer`."""
        self._bearer(vehicle)

    def submit_later(self, job: Job, server: str, t_us: int) -> None:
        """Submit a job at a later instant, if its vehicle is still there; what does not fit is dropped."""

        def submit(now_us: int) -> None:
            if job.origin in self._bearers and self.submit(job, server).returned:
                self._refuse(job)

        self._agenda.at(t_us, (job.priority, entity_key(job.origin)), submit)

    def _refuse(self, job: Job) -> None:
        flow = self._flows.get(job.id)
        if flow is not None:
            self._drop(flow, "full", self.now_us)
        else:
            self.events.dropped.append(JobDropped(self.now_us, job.id, job.origin, "full"))

    def leave(self, vehicle: str) -> None:
        """Drop a vehicle's jobs: it is gone."""
        self._bearers.pop(vehicle, None)
        for flow in [f for f in self._flows.values() if f.job.origin == vehicle]:
            self._drop(flow, "left", self.now_us)

    # --- time -------------------------------------------------------------------------------------------

    def advance(self, t_us: int) -> None:
        """Let everything happen that is due by ``t_us``."""
        self._agenda.advance(t_us)
        for server in self.servers.values():
            server.queue.look(self.now_us)

    # --- a job's way ------------------------------------------------------------------------------------

    def _bearer(self, vehicle: str) -> Bearer:
        if vehicle not in self._bearers:
            self._bearers[vehicle] = Bearer(
                WorkQueue(0, now_us=self.now_us), WorkQueue(0, now_us=self.now_us)
            )
        return self._bearers[vehicle]

    def _set_rates(self, bearer: Bearer, up: int, down: int, t_us: int) -> None:
        for queue, rate in ((bearer.up, up), (bearer.down, down)):
            if rate != queue.rate:
                queue.set_rate(rate, t_us)
                self._agenda.watch(queue)

    def server(self, name: str) -> Server:
        """Return a server by its node; ScenarioError if there is none."""
        if name not in self.servers:
            known = ", ".join(self.servers)
            raise ScenarioError(
                f"no server is at '{name}'{nearest(name, self.servers) or f'; known: {known}'}"
            )
        return self.servers[name]

    def _admit(self, flow: Flow, server: Server, cycles: int) -> int:
        """Split the work over a server and its overflow as far as they have room; return the cycles taken."""
        taken, left, seen = 0, cycles, set()
        at: Server | None = server
        while at is not None and at.name not in seen:
            seen.add(at.name)
            room = at.room(self.now_us)
            here = left if room is None else min(left, room)
            if here or not cycles:
                flow.parts.append(Part(at.name, here * US, 0))
                at.coming += here * US
                taken, left = taken + here, left - here
            if not left:
                break
            at = None if at.overflow is None else self.servers[at.overflow]
        flow.open = len(flow.parts)
        flow.deal_result()
        return taken

    def _uploaded(self, flow: Flow, bearer: Bearer, t_us: int) -> None:
        flow.uploaded_us = t_us
        station = bearer.station
        if flow.to == SERVING:
            server = self._server_near(station)
            if server is None:
                self._drop(flow, "no way", t_us)
                return
            if self._admit(flow, server, flow.job.cycles) < flow.job.cycles:
                self._drop(flow, "full", t_us)
                return
        total = sum(p.micro for p in flow.parts)
        for part in list(flow.parts):
            bits = flow.job.bits_up * part.micro // total if total else flow.job.bits_up
            if not flow.gone:
                self._send(flow, station, part.server, bits, partial(self._arrived, flow, part))

    def _server_near(self, station: str | None) -> Server | None:
        """Return the server at a station, else the one with the shortest way from it."""
        name = None if station is None else self.wires.nearest(station, self.servers)
        return None if name is None else self.servers[name]

    def _send(self, flow: Flow, start: str | None, end: str, bits: int, arrive: Stage) -> None:
        """Send bits over the wires from node to node, then go on with ``arrive``."""
        way = None if start is None else self.wires.way(start, end)
        if way is None:
            self._drop(flow, "no way", self.now_us)
            return
        if not way:
            arrive(self.now_us)
            return
        wire = way[0]

        def served(finish: Finish) -> None:
            order = (flow.job.priority, flow.key, flow.number)
            self._agenda.at(
                finish.t_us + wire.delay_us, order, lambda now: self._hop(flow, wire.end, end, bits, arrive)
            )

        self._agenda.push(wire.queue, flow, bits, served)

    def _hop(self, flow: Flow, start: str, end: str, bits: int, arrive: Stage) -> None:
        if not flow.gone:
            self._send(flow, start, end, bits, arrive)

    def _arrived(self, flow: Flow, part: Part, t_us: int) -> None:
        server = self.servers[part.server]
        server.coming -= part.micro
        if part.server not in flow.servers:
            flow.servers.append(part.server)
        amount, micro = divmod(part.micro, US)
        part.work = self._agenda.push(
            server.queue, flow, amount, lambda f: self._computed(flow, part, f), micro
        )
        plan, part.plan = part.plan, []
        for move in plan:
            self._split(flow, part, move)

    def _split(self, flow: Flow, part: Part, move: Move) -> int:
        """Take a share of a part's remaining work and send it to another server; return micro-cycles."""
        assert part.work is not None
        source, goal = self.servers[part.server], self.servers[move.target]
        if move.target == part.server:
            return 0
        source.queue.look(self.now_us)
        remaining = source.queue.remaining(part.work)
        wanted = remaining if move.share >= 1.0 else int(move.share * remaining)
        room = goal.room(self.now_us)
        wanted = wanted if room is None else min(wanted, room * US)
        if wanted <= 0:
            return 0
        total = part.work.total
        moved = source.queue.remove(part.work, self.now_us, wanted)
        self._agenda.watch(source.queue)
        bits = part.bits_down * moved // total
        whole, ends = moved == remaining, move.results_stay and moved < total
        if whole and not ends:
            bits = part.bits_down
            flow.parts.remove(part)
            flow.open -= 1
        part.bits_down -= bits
        fresh = Part(move.target, moved, bits)
        goal.coming += moved
        flow.parts.append(fresh)
        flow.open += 1
        state = move.bits(moved)
        self._send(flow, part.server, move.target, state, lambda now: self._arrived(flow, fresh, now))
        self.events.moved.append(
            JobMoved(self.now_us, flow.job.id, flow.job.origin, part.server, move.target, moved / US, state)
        )
        if whole and ends and not flow.gone:
            work = part.work
            started = self.now_us if work.started_us is None else work.started_us
            self._computed(flow, part, Finish(work, self.now_us, work.arrived_us, started))
        return moved

    def _computed(self, flow: Flow, part: Part, finish: Finish) -> None:
        flow.computed_us = max(flow.computed_us, finish.t_us)
        rate = self.servers[part.server].queue.rate
        alone = -(-finish.work.total // rate)
        flow.waited_us.append(max(0, finish.t_us - finish.arrived_us - alone))
        flow.done.append(PartDone(part.server, finish.t_us, finish.work.total / US))
        bearer = self._bearers.get(flow.job.origin)
        station = part.server if bearer is None or bearer.station is None else bearer.station
        self._send(flow, part.server, station, part.bits_down, lambda now: self._down(flow, part))

    def _down(self, flow: Flow, part: Part) -> None:
        bearer = self._bearer(flow.job.origin)
        if part.bits_down:
            self._agenda.push(
                bearer.down, flow, part.bits_down, lambda finish: self._returned(flow, finish.t_us)
            )
        else:
            self._returned(flow, self.now_us)

    def _returned(self, flow: Flow, t_us: int) -> None:
        flow.open -= 1
        if flow.open:
            return
        job = flow.job
        flow.gone = True
        del self._flows[job.id]
        met = None if job.deadline_us is None else t_us - flow.submitted_us <= job.deadline_us
        waited = sum(flow.waited_us) // max(1, len(flow.waited_us))
        done = JobDone(
            t_us,
            job.id,
            job.origin,
            tuple(flow.servers),
            flow.submitted_us,
            flow.uploaded_us,
            flow.computed_us,
            waited,
            met,
            tuple(flow.done),
        )
        self.events.done.append(done)
        if flow.report is not None:
            flow.report(done)

    def _drop(self, flow: Flow, reason: Literal["left", "full", "no way"], t_us: int) -> None:
        """Give a job up and take its work out of the processors."""
        if flow.gone:
            return
        flow.gone = True
        self._flows.pop(flow.job.id, None)
        for part in flow.parts:
            server = self.servers[part.server]
            if part.work is None:
                server.coming -= part.micro
            else:
                server.queue.remove(part.work, self.now_us)
                self._agenda.watch(server.queue)
        bearer = self._bearers.get(flow.job.origin)
        if bearer is not None:
            self._agenda.clear(bearer.up, flow)
            self._agenda.clear(bearer.down, flow)
        dropped = JobDropped(t_us, flow.job.id, flow.job.origin, reason)
        self.events.dropped.append(dropped)
        if flow.report is not None:
            flow.report(dropped)
