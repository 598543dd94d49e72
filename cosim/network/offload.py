"""Between the air and the edge: the rates of vehicles' bearers in each tick, and the jobs that streams set off.

A bearer exists only for a vehicle that has offloaded something, so a tick costs as much as there are such vehicles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosim.errors import ScenarioError
from cosim.network.association import Decision
from cosim.network.config import JobsConfig
from cosim.network.correlated import Floats
from cosim.network.edge import Edge
from cosim.network.jobs import SERVING, Job, JobStream
from cosim.network.stations import VehicleRadio
from cosim.traffic.state import TrafficState, entity_key


@dataclass(frozen=True, slots=True)
class RadioNow:
    """The air at this tick, as far as bearers need it.

    ``stations`` are ids by column; ``rates`` (2, V) up and down at the serving station, bit/s, as they are when no
    handover interrupts them (None without stations).
    """

    traffic: TrafficState
    stations: tuple[str, ...]
    decision: Decision
    rates: tuple[Floats, Floats] | None

    def row_of(self, vehicle: str) -> int | None:
        """Return a vehicle's row, None if it is not on the road."""
        key, keys = np.uint64(entity_key(vehicle)), self.traffic.key
        row = int(np.searchsorted(keys, key))
        return row if row < len(keys) and keys[row] == key else None


class Offload:
    """Gives bearers their rates and sets off the jobs of streams.

    Args:
        edge: where jobs go.
        jobs: the scenario's streams.
        seed: of the run.
        tick_us: the network's period.

    ScenarioError for a stream without a server.
    """

    def __init__(self, edge: Edge, jobs: Sequence[JobsConfig], seed: int, tick_us: int) -> None:
        self._edge, self._tick_us = edge, tick_us
        self._streams = [JobStream(i, config, seed) for i, config in enumerate(jobs)]
        self._now: RadioNow | None = None
        for i, config in enumerate(jobs):
            if not edge.servers:
                raise ScenarioError("the network has no servers for these jobs", key=f"network.jobs.{i}")
            if config.to != SERVING and config.to not in edge.servers:
                known = ", ".join([SERVING, *edge.servers])
                raise ScenarioError(
                    f"no server is at '{config.to}'; known: {known}", key=f"network.jobs.{i}.to"
                )

    def tick(self, now: RadioNow, carriers: dict[str, VehicleRadio]) -> None:
        """Set the rates of this tick, drop the bearers of vehicles that left, and set off this tick's jobs."""
        self._now = now
        for vehicle in self._edge.bearers():
            if now.row_of(vehicle) is None:
                self._edge.leave(vehicle)
            else:
                self._set(vehicle, now)
        traffic = now.traffic
        for stream in self._streams:
            rows = np.flatnonzero(carriers[stream.config.source].has[traffic.slot])
            ids = [traffic.ids[v] for v in rows]
            for arrival in stream.arrivals(traffic.t_us, self._tick_us, ids, traffic.key[rows]):
                self._edge.submit_later(arrival.job, arrival.to, arrival.t_us)
                self.give_bearer(arrival.job)

    def give_bearer(self, job: Job) -> None:
        """Open the bearer that a job needs, if need be in the middle of a tick.

        ValueError if the job's origin is not on the road.
        """
        if self._now is None or self._now.row_of(job.origin) is None:
            raise ValueError(f"job '{job.id}' comes from '{job.origin}', which is not on the road")
        if not self._edge.has_bearer(job.origin):
            self._edge.open_bearer(job.origin)
            self._set(job.origin, self._now)

    def _set(self, vehicle: str, now: RadioNow) -> None:
        """Give a bearer its station and rates, in whole bit/s."""
        row, t_us = now.row_of(vehicle), self._edge.now_us
        assert row is not None
        column = int(now.decision.serving[row])
        if column < 0 or now.rates is None:
            self._edge.set_bearer(vehicle, None, 0, 0, t_us, t_us)
            return
        up, down = (round(float(rate[row])) for rate in now.rates)
        silent_until_us = int(now.decision.silent_until_us[row])
        self._edge.set_bearer(vehicle, now.stations[column], up, down, t_us, silent_until_us)
