"""What cosim's step costs, against bare SUMO and against a plain TraCI loop, in one run.

    python benchmarks/bridge.py [--rounds 5] [--steps 2000]

Every case runs the same vehicles: the scenario's demand, written once as a route file for bare SUMO.  Modes take
turns within a round, so that a machine whose speed drifts slows all of them; printed are medians over rounds of
microseconds a step, and of the ratios taken within a round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cosim.assembly import assemble, plan
from cosim.lockstep.inline import InlineHost
from cosim.lockstep.process import ProcessHost
from cosim.lockstep.registry import AgentSpec, create_agent
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved
from cosim.traffic import files
from cosim.traffic.demand import Demand
from cosim.traffic.nets import find_net, load_geometry
from cosim.traffic.programs import sumo_binary

NO_OP = "common.human"
GETTERS = (
    "getSpeed",
    "getPosition",
    "getAngle",
    "getAcceleration",
    "getRoadID",
    "getLaneIndex",
    "getLanePosition",
)


def highway(rate: int) -> Scenario:
    """The highway with that many vehicles an hour and lane, half of them CAVs."""
    return load_scenario(
        "highway_350vph", [f"traffic.inflow.rate={rate} veh/h", f"tasks.driving.agent={NO_OP}"]
    )


def city(rate: int) -> Scenario:
    """The schematic of Futian with traffic between its border roads: over 1000 vehicles at once."""
    net = find_net("shenzhen_futian")
    geometry = load_geometry(net)
    ends = {route[-1] for route in net.routes.values()}
    routes, inflows = {}, []
    for k, entry in enumerate(net.entries):
        paths = _paths(geometry, entry, ends)
        routes.update({f"r{k}_{n}": list(path) for n, path in enumerate(paths)})
        inflows.append(
            {"name": f"in{k}", "edge": entry, "rate": f"{rate} veh/h", "per": "edge", "depart_speed": "max"}
            | {"routes": {f"r{k}_{n}": 1 / len(paths) for n in range(len(paths))}, "hdv_type": "passenger"}
        )
    return scenario_from_resolved(
        {
            "name": "city",
            "warmup": 0,
            "duration": 3600,
            "traffic": {
                "net": "shenzhen_futian",
                "step": 0.1,
                "inflow": inflows,
                "routes": routes,
                "types": {"passenger": {}},
            },
        }
    )


def _paths(geometry: Any, start: str, ends: set[str]) -> list[tuple[str, ...]]:
    """Return shortest paths from *start* to every edge of *ends* that lies more than four edges away."""
    previous: dict[str, str | None] = {start: None}
    queue = [start]
    for edge in queue:
        for following in geometry.successors(edge):
            if following not in previous:
                previous[following] = edge
                queue.append(following)
    paths = []
    for last in queue:
        path: list[str] = []
        at: str | None = last if last in ends else None
        while at is not None:
            path.append(at)
            at = previous[at]
        if len(path) > 4:
            paths.append(tuple(reversed(path)))
    return paths


def route_file(scenario: Scenario, until_s: float, folder: Path) -> list[str]:
    """Write the scenario's demand as explicit vehicles; return SUMO's arguments for a bare run."""
    net = find_net(scenario.traffic.net, scenario.traffic.variant)
    arguments = files.sumo_arguments(scenario.traffic, net, scenario.seed, folder, None)
    demand = Demand(scenario.traffic, net, scenario.seed)
    rows = [
        f'<vehicle id="{d.id}" type="{d.type}" route="{d.route}" depart="{d.t_us / 1e6:.3f}" departLane="{d.lane}"'
        f' departPos="{d.position}" departSpeed="{d.speed}" speedFactor="{d.speed_factor}"/>'
        for d in demand.until(int(until_s * 1e6))
    ]
    path = folder / "demand.rou.xml"
    path.write_text("<routes>\n" + "\n".join(rows) + "\n</routes>\n")
    return [*arguments, "--route-files", str(path)]


def timed(step: Callable[[], Any], warm: int, steps: int) -> float:
    """Return microseconds a step after *warm* steps."""
    for _ in range(warm):
        step()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps * 1e6


class Case:
    """One traffic load and its modes."""

    def __init__(self, name: str, scenario: Scenario, warm: int, steps: int, with_task: bool) -> None:
        self.name, self.scenario, self.warm, self.steps, self.with_task = (
            name,
            scenario,
            warm,
            steps,
            with_task,
        )
        self.vehicles = 0.0

    def bare(self) -> float:
        """libsumo alone, driving the same vehicles from a route file, in SUMO's default speed and lane-change modes."""
        return self._bare(lambda: None)

    def same_modes(self) -> float:
        """libsumo alone, with the modes that the scenario's types have: the same traffic as in the modes below."""
        import libsumo

        modes = files.modes(self.scenario.traffic)
        vehicle = libsumo.vehicle

        def set_modes() -> None:
            for entered in libsumo.simulation.getDepartedIDList():
                speed_mode, lane_change_mode = modes[vehicle.getTypeID(entered)]
                vehicle.setSpeedMode(entered, speed_mode)
                vehicle.setLaneChangeMode(entered, lane_change_mode)

        return self._bare(set_modes)

    def _bare(self, after: Callable[[], None]) -> float:
        import libsumo

        def step() -> None:
            libsumo.simulationStep()
            after()

        with tempfile.TemporaryDirectory() as folder:
            arguments = route_file(self.scenario, (self.warm + self.steps) / 10 + 60, Path(folder))
            libsumo.start(["sumo", *arguments])
            try:
                cost = timed(step, self.warm, self.steps)
                self.vehicles = libsumo.vehicle.getIDCount()
            finally:
                libsumo.close()
        return cost

    def state(self) -> float:
        """cosim's traffic bridge: step and TrafficState."""
        without = self.scenario.model_copy(update={"tasks": {}})
        assembly = assemble(without, endless=True)
        try:
            return timed(assembly.traffic.step, self.warm, self.steps)
        finally:
            assembly.close()

    def _task(self, host: Any) -> float:
        assembly = assemble(plan(self.scenario), endless=True)
        try:
            host.reset(assembly.plan.infos["driving"])
            loop = assembly.engine.decisions()
            question = next(loop)

            def step() -> None:
                nonlocal question
                question = loop.send(host.act(question.observations))

            return timed(step, self.warm, self.steps)
        finally:
            host.close()
            assembly.close()

    def task(self) -> float:
        """Engine, driving task and a no-op agent in this process."""
        return self._task(InlineHost(create_agent(NO_OP), NO_OP, "driving"))

    def process(self) -> float:
        """The same with the agent in a process of its own."""
        return self._task(ProcessHost(AgentSpec("driving", NO_OP), "driving"))

    def traci_loop(self) -> float:
        """A plain TraCI loop that fetches seven values of each vehicle one by one."""
        import traci

        steps = max(20, self.steps // 20)
        with tempfile.TemporaryDirectory() as folder:
            arguments = route_file(self.scenario, (self.warm + steps) / 10 + 60, Path(folder))
            traci.start([sumo_binary("sumo"), *arguments], stdout=subprocess.DEVNULL)
            try:
                getters = [getattr(traci.vehicle, name) for name in GETTERS]

                def step() -> None:
                    traci.simulationStep()
                    for vehicle in traci.vehicle.getIDList():
                        for getter in getters:
                            getter(vehicle)

                for _ in range(self.warm):
                    traci.simulationStep()
                return timed(step, 0, steps)
            finally:
                traci.close()


def main() -> None:
    """Run all cases and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    cases = [
        Case("350 veh/h/lane", highway(350), 600, options.steps, True),
        Case("1800 veh/h/lane", highway(1800), 600, options.steps // 2, True),
        Case("city", city(700), 4500, options.steps // 20, False),
    ]
    print("medians over rounds; us = microseconds a step, x = times bare SUMO of the same round")
    for case in cases:
        modes = [
            "bare",
            "same_modes",
            "state",
            *(["task", "process"] if case.with_task else []),
            "traci_loop",
        ]
        rows = [{mode: getattr(case, mode)() for mode in modes} for _ in range(options.rounds)]
        print(f"\n{case.name} ({case.vehicles:.0f} vehicles at the end)")
        for mode in modes:
            cost = statistics.median(row[mode] for row in rows)
            ratio = statistics.median(row[mode] / row["bare"] for row in rows)
            print(f"  {mode:11} {cost:9.1f} us  {ratio:6.2f} x")
        same = statistics.median(row["state"] / row["same_modes"] for row in rows)
        print(f"  state is {same:.2f} times bare SUMO with the same modes")
        if case.with_task:
            added = statistics.median(row["task"] - row["state"] for row in rows)
            hop = statistics.median(row["process"] - row["task"] for row in rows)
            print(
                f"  driving task and no-op agent add {added:.0f} us to state; the agent's process adds {hop:.0f} us"
            )
        faster = statistics.median(row["traci_loop"] / row["state"] for row in rows)
        print(f"  state is {faster:.0f} times faster than the TraCI loop")


if __name__ == "__main__":
    main()
