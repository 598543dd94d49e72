"""The latency model ``queues``: every part of a task really flows through the run's network layer.

A task goes up the radio bearer of its vehicle to the serving RSU.  There the share K of it leaves over the wired link
to the target RSU, and both parts wait and run in the CPU queues of their servers.  What the serving RSU has not
finished when the vehicle leaves its region goes on to the cloud, over the wire and through the cloud's processor.
Results go back to the RSU that serves the vehicle by then, and down its bearer.  T_sum is the time from the decision
to the last bit of the result.  Capacities are those that ``paper`` draws; they are set on the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.errors import ScenarioError
from cosim.network.jobs import Job, JobDone, JobDropped
from cosim.randomness import entity_keys
from cosim.tasks.base import Instant
from cosim.tasks.migration.draws import Parameters, draw_parameters
from cosim.tasks.migration.episode import Outcome, Slot, service_order
from cosim.tasks.migration.latency import Floats, Latency
from cosim.tasks.migration.models import Decision, ModelSetup, Settled, closed_rates
from cosim.tasks.migration.options import MigrationOptions
from cosim.tasks.migration.space import Ints, Layout, has_left

if TYPE_CHECKING:
    from cosim.network.network import Network

_KEY = "tasks.migration.model"


@dataclass(slots=True, eq=False)
class _Flow:
    """A vehicle's task on its way: row ``v`` of its slot, served by RSU ``serving``.

    ``planned`` are the cycles that were meant for the serving RSU, the target and the cloud.
    """

    v: int
    job: str
    key: np.uint64
    serving: int
    planned: tuple[float, float, float]
    left: bool = False
    """Whether the vehicle has left the region of its RSU since."""
    end: JobDone | JobDropped | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    """The tasks of one slot that have not been told of, and the queues (V,) that each vehicle was promised."""

    decision: Decision
    t_us: int
    seen: Floats
    seen_target: Floats
    flows: list[_Flow] = field(default_factory=list)


class QueuesModel:
    """T_sum as the network layer measures it.

    ScenarioError if the run's network lacks a station, a server or a wire that the task needs, or ticks too slowly.
    """

    def __init__(self, setup: ModelSetup) -> None:
        network = setup.context.network
        if network is None:
            raise ScenarioError(
                "model 'queues' needs a network section, as in urban_avatar_queues.yaml", key=_KEY
            )
        if setup.context.step_us % network.tick_us:
            raise ScenarioError(
                f"with model 'queues' the traffic step, {setup.context.step_us / US:g} s, must be a multiple of the"
                f" network's tick, {network.tick_us / US:g} s",
                key="network.tick",
            )
        self._network: Network = network
        self._rules, self._layout, self._cloud = setup.rules, setup.layout, setup.options.cloud
        options = setup.options
        self.parameters = draw_parameters(
            options.ranges(), [setup.context.seed], [options.draw], setup.layout.ids
        )
        set_capacities(network, setup.layout, self.parameters, options)
        self._begun = False
        self._batches: list[_Batch] = []
        self._now_us = 0
        self._promised: tuple[int, Floats] = (-1, self.parameters.queue[0])
        self._columns: tuple[tuple[str, ...], Ints] = ((), np.empty(0, dtype=np.int64))

    # -- what is known --

    def rates(self, now: Instant, xy: Floats, rows: Ints) -> Floats:
        """Return the network's downlink rates; those of eq 2 for who is absent, out of range or interrupted."""
        found = closed_rates(self._rules, self._layout, self.parameters, xy)
        state, here = now.network, rows >= 0
        if state.stations != self._columns[0]:
            order = [state.stations.index(name) for name in self._layout.ids]
            self._columns = state.stations, np.array(order, dtype=np.int64)
        measured = state.rate_down[rows[here]][:, self._columns[1]]
        found[0, here] = np.where(measured > 0.0, measured, found[0, here])
        return found

    def loads(self, now: Instant) -> Floats:
        """Return what waits or runs at the RSUs' servers or is on its way there; L(0) before the first slot."""
        if not self._begun:
            return self.parameters.queue
        found: Floats = self._network.loads(self._layout.ids)[None]
        return found

    def level(self, now: Instant) -> Floats:
        at_us, promised = self._promised
        return promised if at_us == now.t_us else self.loads(now)[0]

    # -- a slot --

    def start(self, now: Instant, decision: Decision) -> None:
        self._now_us = now.t_us
        if not self._begun:
            for name, cycles in zip(self._layout.ids, self.parameters.queue[0].tolist(), strict=True):
                self._network.preload(name, cycles)
            self._begun = True
        slot, vehicles = decision.slot, len(decision.vehicles)
        batch = _Batch(decision, now.t_us, np.zeros(vehicles), np.zeros(vehicles))
        self._batches.append(batch)
        keys, loads = entity_keys(decision.vehicles), self.loads(now)[0].copy()
        for v in service_order(slot.t, vehicles):
            if slot.serving[0, v] >= 0:
                flow = self._place(batch, v, keys[v], loads)
                batch.flows.append(flow)
                self._send(slot, decision, flow)
        self._promised = now.t_us, loads

    def _place(self, batch: _Batch, v: int, key: np.uint64, loads: Floats) -> _Flow:
        """Divide a task over RSU, target and cloud; ``loads`` (M,) is what the RSUs were promised, and grows."""
        decision, rules = batch.decision, self._rules
        slot = decision.slot
        m, target = int(slot.serving[0, v]), int(decision.target[0, v])
        share = 0.0 if target == m else float(decision.share[0, v])
        work = float(slot.task_bits[0, v]) * rules.cycles_per_bit
        limit = rules.queue_max if rules.overflow == "fixed" else np.inf
        batch.seen[v] = loads[m]
        kept = min((1.0 - share) * work, max(limit - loads[m], 0.0))
        loads[m] += kept
        batch.seen_target[v] = loads[target]
        taken = min(share * work, max(limit - loads[target], 0.0))
        loads[target] += taken
        job = f"avatar of {decision.vehicles[v]} at {slot.t}"
        return _Flow(v, job, key, m, (kept, taken, max(work - kept - taken, 0.0)))

    def _send(self, slot: Slot, decision: Decision, flow: _Flow) -> None:
        """Give a task to the network: up to its RSU, and from there to the target and the cloud."""
        network, v, per_cycle = self._network, flow.v, 1.0 / self._rules.cycles_per_bit
        bits = float(slot.task_bits[0, v])
        kept, taken, refused = flow.planned
        here, there = self._layout.ids[flow.serving], self._layout.ids[decision.target[0, v]]

        def report(end: JobDone | JobDropped) -> None:
            flow.end = end

        job = Job(
            id=flow.job,
            origin=decision.vehicles[v],
            bits_up=round(float(slot.input_bits[0, v])),
            cycles=round(bits * self._rules.cycles_per_bit),
            bits_down=round(bits),
        )
        network.submit(job, here, report)
        # Each order takes its share of what the one before has left.
        if taken > 0.0:
            share = 1.0 if not kept and not refused else taken / (kept + taken + refused)
            network.migrate(flow.job, here, there, share, bits_per_cycle=per_cycle)
        if refused > 0.0:
            network.migrate(flow.job, here, self._cloud, refused / (kept + refused), bits_per_cycle=per_cycle)

    def watch(self, now: Instant) -> None:
        """Send on to the cloud what RSUs have not finished for vehicles that have left them."""
        self._now_us = now.t_us
        flows = [f for f in self._flows() if not f.left and f.end is None]
        state = now.traffic
        if not flows or not len(state):
            return
        keys = np.array([f.key for f in flows], dtype=np.uint64)
        rows = np.minimum(np.searchsorted(state.key, keys), len(state) - 1)
        serving = np.array([f.serving for f in flows], dtype=np.int64)
        gone = (state.key[rows] == keys) & has_left(self._layout, serving, state.xy[rows])
        for i in np.flatnonzero(gone).tolist():
            flow = flows[i]
            flow.left = True
            self._network.migrate(
                flow.job,
                self._layout.ids[flow.serving],
                self._cloud,
                bits_per_cycle=1.0 / self._rules.cycles_per_bit,
                results_stay=True,
            )

    def _flows(self) -> Iterator[_Flow]:
        return (flow for batch in self._batches for flow in batch.flows)

    # -- what became of it --

    def settle(self, now: Instant) -> Sequence[Settled]:
        self._now_us = now.t_us
        told = []
        for batch in self._batches:
            ended = [f for f in batch.flows if f.end is not None]
            if ended or batch is self._batches[-1]:
                told.append(self._settled(batch, ended, self.loads(now)))
            batch.flows = [f for f in batch.flows if f.end is None]
        self._batches = [b for b in self._batches if b.flows]
        return told

    def unfinished(self) -> Sequence[Settled]:
        loads = self._network.loads(self._layout.ids)[None]
        return [self._settled(b, b.flows, loads) for b in self._batches]

    def _settled(self, batch: _Batch, ended: list[_Flow], loads: Floats) -> Settled:
        """Return the outcome of a slot in which ``ended`` count; the others have only waited so far."""
        decision, vehicles = batch.decision, len(batch.seen)
        parts, work = np.zeros((4, vehicles)), np.zeros((3, vehicles))
        done = np.zeros(vehicles, dtype=np.bool_)
        cut = 0
        for flow in batch.flows:
            waited = ((self._now_us if flow.end is None else flow.end.t_us) - batch.t_us) / US
            if isinstance(flow.end, JobDone):
                parts[:, flow.v], work[:, flow.v] = self._measured(flow, flow.end, decision)
            else:
                parts[1, flow.v], work[:, flow.v] = waited, flow.planned
                cut += flow in ended
        for flow in ended:
            done[flow.v] = True
        up, processing, cloud, down = parts[:, None]
        kept, taken, away = work[:, None]
        latency = Latency(up + processing + cloud + down, up, processing, cloud, down, away)
        outcome = Outcome(
            latency=latency,
            kept=kept,
            taken=taken,
            seen=batch.seen[None],
            seen_target=batch.seen_target[None],
            queue=loads,
            done=done[None],
            target=decision.target,
            share=decision.share,
        )
        return Settled(decision.slot, outcome, cut)

    def _measured(self, flow: _Flow, end: JobDone, decision: Decision) -> tuple[NDArray[np.float64], Floats]:
        """Return T_up, T_pro, T_c and T_d (4,) in s, and the cycles (3,) of RSU, target and cloud.

        T_pro ends when the last RSU has computed its part, T_c when the cloud has too, T_d when all results are down.
        """
        ids = self._layout.ids
        here, there = ids[flow.serving], ids[decision.target[0, flow.v]]
        places = [here, there, self._cloud]
        cycles = np.zeros(3)
        at_rsus = end.uploaded_us
        for part in end.parts:
            cycles[places.index(part.server)] += part.cycles
            if part.server != self._cloud:
                at_rsus = max(at_rsus, part.computed_us)
        marks = (end.submitted_us, end.uploaded_us, at_rsus, max(end.computed_us, at_rsus), end.t_us)
        return np.diff(np.array(marks, dtype=np.float64)) / US, cycles


def set_capacities(
    network: Network, layout: Layout, parameters: Parameters, options: MigrationOptions
) -> None:
    """Give a run's network the capacities of an episode (E = 1): bands, processors, wires, and the cloud's.

    ScenarioError for a station, server or wire that the network does not have.
    """
    cloud = options.cloud
    network.set_band(layout.ids, parameters.bandwidth[0])
    network.set_server(cloud, float(parameters.cpu_cloud[0]))
    for m, here in enumerate(layout.ids):
        network.set_server(here, float(parameters.cpu[0, m]))
        network.set_wire(here, cloud, options.backhaul_rate)
        network.set_wire(cloud, here, options.cloud_down_rate)
        for j, there in enumerate(layout.ids):
            if j != m:
                network.set_wire(here, there, float(parameters.migration[0, m, j]))


__all__ = ["QueuesModel", "set_capacities"]
