"""How fast trainings collect: environment steps a second with the policy in the loop, by number of workers.

    python benchmarks/collection.py [--workers 1 2] [--rounds 5] [--windows 10] [--scenario highway_350vph_cav100]

A step is one decision instant of one worker, for all its vehicles.  In every round each number of workers collects,
and bare SUMO (libsumo, no task, nothing read) drives the same demand from a route file, alone and in as many processes
as there are workers; so a machine whose speed drifts slows all of them.  Printed are medians, and the ratio taken
within a round: how many times slower than bare SUMO collecting is.  The agent is common.dqn with random weights and an
exploration of 0.1.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bridge import route_file

from cosim.assembly import plan
from cosim.experiments.crew import Crew
from cosim.experiments.rollout import Job
from cosim.experiments.train_config import make_plan
from cosim.lockstep.learner import Setup
from cosim.scenario import Scenario, load_scenario

_WARM = 600
_BARE = """
import sys, time, libsumo
libsumo.start(sys.argv[4:])
for _ in range(int(sys.argv[1])):
    libsumo.simulationStep()
print("ready", flush=True)
sys.stdin.readline()
begin = time.perf_counter()
for _ in range(int(sys.argv[2])):
    libsumo.simulationStep()
print(time.perf_counter() - begin, flush=True)
"""


def bare_steps_per_s(scenario: Scenario, processes: int, steps: int) -> float:
    """Bare SUMO in that many processes at once: steps a second of all together."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = route_file(scenario, (_WARM + steps) / 10 + 60, Path(folder))
        command = [sys.executable, "-c", _BARE, str(_WARM), str(steps), "--", "sumo", *arguments]
        running = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        begin = time.perf_counter()
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in running:
            process.communicate()
        return processes * steps / (time.perf_counter() - begin)


class Collecting:
    """A crew that collects windows of 180 decisions with common.dqn."""

    def __init__(self, scenario: Scenario, workers: int) -> None:
        training = {"workers": workers, "window": 180}
        self.plan = make_plan(scenario, "common.dqn", task=None, recipe="default", seed=0, training=training)
        job = Job(
            self.plan.collect, self.plan.evaluate, self.plan.task, self.plan.agent,
            self.plan.config.model_dump(mode="json"), 0, 10**6, 180, 10**6,
        )  # fmt: skip
        self.crew = Crew(job, self.plan.info, workers, "process")
        setup = Setup(self.plan.info, self.plan.config, 0, 10**6)
        self.weights = self.plan.kind.learner(setup).policy(explore=True)
        self.weights["epsilon"] = np.array([0.1])
        self.crew.open()
        self.legs = 0

    def steps_per_s(self, windows: int) -> tuple[float, float]:
        """Return steps a second over that many windows a worker, on a road that has filled, and CAVs a step."""
        self.crew.begin(self.legs)
        self.legs += 1
        self.crew.start(self.weights, _WARM // 180 + 1)
        self.crew.hauls()
        begin = time.perf_counter()
        rows = 0
        for _ in range(windows):
            self.crew.start(self.weights, 1)
            rows += sum(int(w.decided.sum()) for haul in self.crew.hauls() for w in haul.windows)
        steps = windows * 180 * len(self.crew)
        return steps / (time.perf_counter() - begin), rows / steps


def main() -> None:
    """Run all rounds and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--scenario", default="highway_350vph_cav100")
    options = parser.parse_args()
    scenario = load_scenario(options.scenario)
    plan(scenario)
    crews = {count: Collecting(scenario, count) for count in options.workers}
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in crews}
    cavs = 0.0
    try:
        for _ in range(options.rounds):
            for count, collecting in crews.items():
                bare = bare_steps_per_s(scenario, count, 180 * options.windows)
                speed, cavs = collecting.steps_per_s(options.windows)
                found[count].append((speed, bare))
    finally:
        for collecting in crews.values():
            collecting.crew.close()
    print(f"{options.scenario}: {cavs:.1f} CAVs a step; medians of {options.rounds} rounds")
    print("workers   collecting   us/step/worker   bare SUMO   bare : collecting")
    for count, pairs in found.items():
        speed = statistics.median(s for s, _ in pairs)
        bare = statistics.median(b for _, b in pairs)
        ratio = statistics.median(b / s for s, b in pairs)
        print(f"{count:7d} {speed:10.0f}/s {1e6 * count / speed:16.0f} {bare:9.0f}/s {ratio:17.2f}")


if __name__ == "__main__":
    main()
