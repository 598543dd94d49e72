"""From the engine's instants to the rows of a run directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosim.clock import US
from cosim.engine import Scheduled
from cosim.lockstep.protocol import Actions, Observations
from cosim.recording import Coded, RunWriter
from cosim.recording.tables import EVENTS, FLOAT, STEPS
from cosim.scenario import RecordConfig
from cosim.tasks import Instant
from cosim.traffic.commands import Order
from cosim.traffic.state import TrafficState

if TYPE_CHECKING:
    from cosim.network.jobs import NetworkEvents
    from cosim.network.state import NetworkState

_EventRow = tuple[int, str, str, str, str, str, float, str]
"""Instant, kind, id, other, place, station, value, text."""


def network_events(events: NetworkEvents) -> Iterator[_EventRow]:
    """Yield rows of ``events/`` for what happened in the network.

    ``value`` is a finished job's latency (s) or the cycles of a migration; ``other`` the job.
    """
    for h in events.handovers:
        yield (
            h.t_us,
            "handover",
            h.vehicle,
            h.source,
            "",
            h.target,
            float("nan"),
            "ping-pong" if h.ping_pong else "",
        )
    for done in events.done:
        late = "late" if done.met is False else ""
        latency = done.latency_us / US
        yield done.t_us, "job_done", done.origin, done.job, "", ",".join(done.servers), latency, late
    for dropped in events.dropped:
        yield dropped.t_us, "job_dropped", dropped.origin, dropped.job, "", "", float("nan"), dropped.reason
    for moved in events.moved:
        yield moved.t_us, "migration", moved.origin, moved.job, moved.source, moved.target, moved.cycles, ""


class RunRecorder:
    """Writes what ``record`` of the scenario asks for into an open run directory."""

    def __init__(self, writer: RunWriter, config: RecordConfig, tasks: Sequence[Scheduled]) -> None:
        self._writer = writer
        self._tasks = tasks
        columns = {f"{s.name}_{c}": FLOAT for s in tasks for c in s.task.step_columns}
        self._columns = tuple(columns)
        self._steps = writer.table("steps", {**STEPS, **columns})
        self._vehicles = writer.table("vehicles")
        self._events = writer.table("events", EVENTS)
        self._links, self._d2d, self._servers = (writer.table(name) for name in ("links", "d2d", "servers"))
        self._commands = writer.table("commands")
        self._actions = writer.table("actions")
        self._notes = writer.table("notes")
        self._steps_us = config.steps_us
        self._vehicles_us = config.vehicles_us
        self._links_us = config.links_us
        self._with_commands = config.commands

    def actions(
        self, t_us: int, task: str, phase: str, asked: Observations, answered: Actions, done: Actions
    ) -> None:
        """Record an answer, row by row, which rows the mask overruled, and what the agent noted in numbers."""
        n = asked.active
        if not n or not self._with_commands:
            return
        values = np.asarray(answered.values, dtype=np.float64).reshape(n, -1)
        changed = np.asarray(done.values, dtype=np.float64).reshape(n, -1) != values
        self._actions.append(
            t_us=t_us, task=task, role=phase, id=asked.ids[:n], value=values, masked=changed.any(axis=1)
        )
        for name in sorted(answered.notes):
            note = np.asarray(answered.notes[name])
            if note.dtype.kind in "biuf":
                value = note.astype(np.float64).reshape(n, -1)
                self._notes.append(t_us=t_us, task=task, role=phase, id=asked.ids[:n], name=name, value=value)

    def instant(self, now: Instant) -> None:
        """Record everything else of this instant, and cut parts when one is due."""
        state, t_us = now.traffic, now.t_us
        for event in now.events:
            self._event(t_us, event.kind, event.id, event.other, event.where, "", event.value, event.text)
        for record in now.records:
            self._event(
                t_us,
                record.kind,
                record.id,
                record.other,
                record.place,
                record.station,
                record.value,
                record.text,
            )
        if now.network_events is not None:
            for row in network_events(now.network_events):
                self._event(*row)
            if self._links_us is not None and t_us % self._links_us == 0:
                self._sample_network(now.network)
        if self._with_commands:
            for order in now.commands.orders:
                self._order(t_us, order)
        if self._steps_us is not None and t_us % self._steps_us == 0:
            self._step(now)
        if self._vehicles_us is not None and t_us % self._vehicles_us == 0 and len(state):
            self._sample(state)
        self._writer.tick(t_us)

    def _event(
        self, t_us: int, kind: str, id: str, other: str, place: str, station: str, value: float, text: str
    ) -> None:
        self._events.append(
            t_us=t_us, kind=kind, id=(id,), other=other, place=place, station=station, value=value, text=text
        )

    def _sample_network(self, state: NetworkState) -> None:
        """Record every link that can be received, the D2D links and the servers."""
        row, column = np.isfinite(state.rx_dbm).nonzero()
        with np.errstate(divide="ignore"):
            if len(row):
                at = row, column
                self._links.append(
                    t_us=state.t_us,
                    vehicle=Coded(row, state.ids),
                    station=Coded(column, state.stations),
                    loss_db=state.loss_db[at],
                    rx_dbm=state.rx_dbm[at],
                    snr_db=10 * np.log10(state.snr[at]),
                    sinr_db=10 * np.log10(state.sinr[at]),
                    rate_up=state.rate_up[at],
                    rate_down=state.rate_down[at],
                    serving=state.serving[row] == column,
                    los=state.los[at] == 0,
                )
            for links in state.d2d:
                if len(links.tx):
                    self._d2d.append(
                        t_us=state.t_us,
                        channel=links.name,
                        tx=Coded(links.tx, state.ids),
                        rx=Coded(links.rx, state.ids),
                        block=links.block,
                        distance=links.distance,
                        sinr_db=10 * np.log10(links.sinr),
                        rate=links.rate,
                    )
        servers = state.servers
        if servers.names:
            self._servers.append(
                t_us=state.t_us, server=servers.names, backlog=servers.backlog, jobs=servers.jobs
            )

    def _order(self, t_us: int, order: Order) -> None:
        kind, ids, columns, source = order
        n = len(ids)
        numbers = [c for c in columns if not isinstance(c[0], str)]
        texts = [c for c in columns if isinstance(c[0], str)]
        a, b = ([*numbers[:2], *[np.full(n, np.nan)] * 2])[:2]
        more = [*texts, *([f"{v:.17g}" for v in c] for c in numbers[2:])]
        self._commands.append(
            t_us=t_us,
            source=source,
            kind=kind,
            id=ids,
            a=np.asarray(a, dtype=np.float64),
            b=np.asarray(b, dtype=np.float64),
            text=[" ".join(row) for row in zip(*more, strict=True)] if more else "",
        )

    def _step(self, now: Instant) -> None:
        state = now.traffic
        n = len(state)
        cav = np.array([t.cav for t in state.types])
        values = [v for s in self._tasks for v in s.task.step_values()]
        self._steps.append(
            t_us=np.array([now.t_us]),
            n_vehicles=n,
            n_cav=int(cav[state.type].sum()) if n else 0,
            mean_speed=float(state.speed.mean()) if n else float("nan"),
            **dict(zip(self._columns, values, strict=True)),
        )

    def _sample(self, state: TrafficState) -> None:
        self._vehicles.append(
            t_us=state.t_us,
            id=state.ids,
            type=Coded(state.type, tuple(t.id for t in state.types)),
            edge=Coded(state.edge, state.edges),
            lane=state.lane,
            s=state.s,
            x=state.xy[:, 0],
            y=state.xy[:, 1],
            speed=state.speed,
            accel=state.accel,
        )
