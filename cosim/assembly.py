"""From a scenario to the parts of a run: net, tasks, traffic, network, and the engine that steps them.

:func:`plan` resolves and checks everything that needs no simulation (this is what ``cosim validate`` runs);
:func:`assemble` starts SUMO and gives an engine.  Errors name file, line and key of the scenario.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.clock import Rate
from cosim.engine import Engine, Recorder, Scheduled
from cosim.errors import ScenarioError
from cosim.lockstep.protocol import EpisodeInfo
from cosim.lockstep.registry import AgentSpec, check_spec
from cosim.scenario import Scenario
from cosim.tasks import TaskContext, tasks
from cosim.traffic import files
from cosim.traffic.demand import Demand
from cosim.traffic.gui import GuiOptions
from cosim.traffic.nets import Net, find_net, load_geometry
from cosim.traffic.routes import used_routes
from cosim.traffic.sumo import Traffic
from cosim.window import Window

if TYPE_CHECKING:
    from cosim.network.metrics import NetworkMetrics
    from cosim.network.network import Network


@dataclass(frozen=True)
class Plan:
    """A checked scenario with its net found and its tasks built, ready to be simulated once."""

    scenario: Scenario
    net: Net
    tasks: tuple[Scheduled, ...]
    infos: dict[str, EpisodeInfo]
    network: Network | None = None


def agents_of(scenario: Scenario, given: Sequence[AgentSpec] = ()) -> dict[str, AgentSpec]:
    """Return who serves each task: the scenario's agents, overridden by those *given* on the command line.

    ScenarioError for a task that does not exist, or an agent without task where there are several.
    """
    found = {
        name: AgentSpec(task=name, name=task.agent, weights=task.weights)
        for name, task in scenario.tasks.items()
    }
    for spec in given:
        if spec.task is None and len(found) != 1:
            raise ScenarioError(
                f"--agent {spec.label}: say which task, TASK={spec.label}; tasks: {', '.join(found) or 'none'}"
            )
        task = spec.task or next(iter(found))
        if task not in found:
            raise ScenarioError(
                f"--agent {task}=…: the scenario has no such task; tasks: {', '.join(found) or 'none'}"
            )
        found[task] = AgentSpec(task, spec.name, spec.weights, spec.command)
    return found


def plan(scenario: Scenario) -> Plan:
    """Check *scenario* as far as that needs no simulation; ScenarioError with place and key if it does not fit."""
    try:
        return _plan(scenario)
    except ScenarioError as error:
        raise scenario.locate_error(error) from None


def check_agents(scenario: Scenario, serving: Mapping[str, AgentSpec] | None = None) -> None:
    """Raise ScenarioError, with its place, if an agent that the scenario names does not exist.

    *serving* says who serves in the end (None: those); an agent that the scenario does not name is not checked.
    """
    for name, spec in agents_of(scenario).items():
        if serving is not None and serving[name] != spec:
            continue
        try:
            check_spec(spec)
        except ScenarioError as error:
            raise scenario.error(
                f"tasks.{name}.{'weights' if 'weights' in str(error) else 'agent'}", str(error)
            ) from None


def _plan(scenario: Scenario) -> Plan:
    traffic = scenario.traffic
    try:
        net = find_net(traffic.net, traffic.variant)
    except ScenarioError as error:
        raise scenario.error(
            "traffic.variant" if "variant" in str(error) else "traffic.net", str(error)
        ) from None
    Demand(traffic, net, scenario.seed)
    network = None
    if scenario.network is not None:
        # Imported only where a scenario has a network: scipy and shapely take half a second.
        from cosim.network.config import NetworkConfig
        from cosim.network.network import Network

        config = scenario.parse("network", NetworkConfig)
        network = Network.build(config, load_geometry(net), scenario.seed, scenario.step_us)
    types = files.vehicle_types(traffic)
    scheduled, infos = [], {}
    for name, task_config in scenario.tasks.items():
        if name not in tasks:
            try:
                tasks.get(name)
            except ScenarioError as error:
                raise scenario.error(f"tasks.{name}", str(error)) from None
        kind = tasks.get(name)
        options = scenario.parse(f"tasks.{name}", kind.Options)
        context = TaskContext(
            scenario=scenario.name,
            seed=scenario.seed,
            period_us=task_config.every_us,
            step_us=scenario.step_us,
            net=net,
            types=types,
            type_modes=files.modes(traffic),
            routes=used_routes(traffic),
            network=network,
            warmup_us=scenario.warmup_us,
        )
        task = kind(options, context)
        scheduled.append(Scheduled(name, task, Rate(scenario.step_us, task_config.every_us)))
        infos[name] = EpisodeInfo(
            scenario=scenario.name,
            task=name,
            seed=scenario.seed,
            episode=0,
            period_us=task_config.every_us,
            roles=task.roles,
            options=options.model_dump(mode="json"),
        )
    return Plan(scenario, net, tuple(scheduled), infos, network)


@dataclass
class Assembly:
    """A run ready to go: close it when done."""

    plan: Plan
    traffic: Traffic
    engine: Engine
    meter: NetworkMetrics | None = None
    window: Window | None = None

    def close(self) -> None:
        """End SUMO; never raises."""
        self.traffic.close()

    def metrics(self) -> dict[str, float | None]:
        """Return all tasks' metrics, the network's and a replay's; a name that two share is written ``task.name``."""
        per_task = {s.name: s.task.metrics() for s in self.plan.tasks}
        if self.meter is not None:
            per_task["network"] = self.meter.values()
        if self.traffic.replay is not None:
            per_task["traffic"] = self.traffic.replay.metrics()
        names = [m for values in per_task.values() for m in values]
        return {
            f"{task}.{m}" if names.count(m) > 1 else m: v
            for task, values in per_task.items()
            for m, v in values.items()
        }


def assemble(
    scenario: Scenario | Plan,
    *,
    backend: str | None = None,
    gui: GuiOptions | None = None,
    agents: Mapping[str, str] | None = None,
    work: Path | None = None,
    recorder: Recorder | None = None,
    endless: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Assembly:
    """Start SUMO for *scenario* and return the run's parts.

    Args:
        scenario: a scenario, or a plan that has not been simulated yet.
        backend: libsumo or traci; None takes the scenario's.
        gui: how to show the run in sumo-gui; None for no window.
        agents: name of each task's agent, for the window.
        work: folder for SUMO's own outputs and log.
        recorder: told of every instant.
        endless: go on after the scenario's duration (environments).
        progress: called with the instant (microseconds) after each traffic step.

    Raises:
        ScenarioError: the scenario does not fit together.
        TrafficError: SUMO did not start, or this process already runs a libsumo simulation.
    """
    ready = scenario if isinstance(scenario, Plan) else plan(scenario)
    whole = ready.scenario
    traffic = Traffic(whole.traffic, ready.net, whole.seed, backend=backend, gui=gui, work=work)
    window = None
    if gui is not None:
        try:
            end_us = None if endless else whole.warmup_us + whole.duration_us
            window = Window(traffic, ready.tasks, gui, end_us=end_us, agents=agents, recorder=recorder)
        except BaseException:
            traffic.close()
            raise
    network = ready.network
    if window is not None and network is not None:
        ranges = zip(network.stations.ids, network.stations.range.tolist(), strict=True)
        window.ranges.update({station: reach for station, reach in ranges if math.isfinite(reach)})
    meter = None
    if network is not None:
        from cosim.network.metrics import NetworkMetrics

        meter = NetworkMetrics(network.tick_us)
    engine = Engine(
        traffic,
        ready.tasks,
        network=network,
        network_rate=None if network is None else network.rate,
        meter=None if meter is None else meter.add,
        warmup_us=whole.warmup_us,
        duration_us=None if endless else whole.duration_us,
        recorder=window or recorder,
        samples_us=() if recorder is None else _samples(whole, network=network is not None),
        progress=progress,
    )
    return Assembly(ready, traffic, engine, meter, window)


def _samples(scenario: Scenario, *, network: bool) -> list[int]:
    """Return the periods of the recorded tables (microseconds)."""
    record = scenario.record
    periods = (record.steps_us, record.vehicles_us, record.links_us if network else None)
    return [period for period in periods if period]


def reseeded(scenario: Scenario, seed: int) -> Scenario:
    """Return *scenario* with another seed; ScenarioError if it is none."""
    if not 0 <= seed < 2**63:
        raise ScenarioError(f"seed {seed}: must be a whole number from 0 to 2^63 - 1")
    return copy.copy(scenario).model_copy(update={"seed": seed})
