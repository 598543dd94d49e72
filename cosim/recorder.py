"""From the engine's instants to the rows of a run directory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.engine import Scheduled
from cosim.lockstep.protocol import Actions, Observations
from cosim.recording import Coded, RunWriter
from cosim.recording.tables import EVENTS, FLOAT, STEPS
from cosim.scenario import RecordConfig
from cosim.tasks import Instant
from cosim.traffic.commands import Order
from cosim.traffic.state import TrafficState


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
        self._commands = writer.table("commands")
        self._actions = writer.table("actions")
        self._steps_us = config.steps_us
        self._vehicles_us = config.vehicles_us
        self._with_commands = config.commands

    def actions(
        self, t_us: int, task: str, phase: str, asked: Observations, answered: Actions, done: Actions
    ) -> None:
        """Record an answer, row by row, and which rows the mask overruled."""
        n = asked.active
        if not n or not self._with_commands:
            return
        values = np.asarray(answered.values, dtype=np.float64).reshape(n, -1)
        changed = np.asarray(done.values, dtype=np.float64).reshape(n, -1) != values
        self._actions.append(
            t_us=t_us, task=task, role=phase, id=asked.ids[:n], value=values, masked=changed.any(axis=1)
        )

    def instant(self, now: Instant) -> None:
        """Record everything else of this instant, and cut parts when one is due."""
        state, t_us = now.traffic, now.t_us
        for event in now.events:
            self._events.append(
                t_us=t_us,
                kind=event.kind,
                id=(event.id,),
                other=event.other,
                place=event.where,
                station="",
                value=event.value,
                text=event.text,
            )
        for record in now.records:
            self._events.append(
                t_us=t_us,
                kind=record.kind,
                id=(record.id,),
                other=record.other,
                place="",
                station=record.station,
                value=record.value,
                text=record.text,
            )
        if self._with_commands:
            for order in now.commands.orders:
                self._order(t_us, order)
        if self._steps_us is not None and t_us % self._steps_us == 0:
            self._step(now)
        if self._vehicles_us is not None and t_us % self._vehicles_us == 0 and len(state):
            self._sample(state)
        self._writer.tick(t_us)

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
