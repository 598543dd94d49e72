"""What a slot of the migration task costs: on tapes in memory against lockstep with SUMO.

    python benchmarks/migration.py [--tapes 2] [--rounds 5]

The same decisions are played in lockstep (``urban_avatar``, one SUMO, 20 steps a slot) and on 48 batched episodes
(the recorded tapes with several draws each).  Printed are the fastest of some rounds, since a busy machine only ever
adds: microseconds a slot, the ratio, and slots a second of the environment alone at 16, 64 and 256 episodes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable

import numpy as np

from cosim.assembly import assemble, plan
from cosim.experiments.tapes import record_tapes
from cosim.lockstep import Actions, Observations
from cosim.scenario import Scenario, load_scenario
from cosim.tasks.migration import MigrationOptions, MobilityTape, TapeBatch, load_tape

SLOT_US = 20_000_000
BATCH = 48


def avatars() -> Scenario:
    """The urban scenario with the migration task; nobody acts but this program."""
    return load_scenario(
        "urban_avatar", ["tasks.migration={every: 20 s, agent: common.random, observation: pilot}"]
    )


def answer(seen: Observations, rng: np.random.Generator) -> Actions:
    """A random RSU and share for each row."""
    return Actions(np.stack([rng.integers(0, 6, seen.active), rng.uniform(0, 1, seen.active)], axis=1))


def lockstep_us(scenario: Scenario) -> float:
    """Return microseconds of wall time a decision slot in lockstep with SUMO, over one episode."""
    assembly = assemble(plan(scenario))
    loop = assembly.engine.decisions()
    rng = np.random.default_rng(0)
    began, slots = 0.0, 0
    try:
        question = next(loop)
        while True:
            seen = question.observations
            if seen.active and not slots:
                began = time.perf_counter()
            slots += bool(seen.active)
            question = loop.send(answer(seen, rng))
    except StopIteration:
        return (time.perf_counter() - began) / slots * 1e6
    finally:
        loop.close()
        assembly.close()


def recorded(scenario: Scenario, count: int) -> list[MobilityTape]:
    """Record that many tapes of *scenario*."""
    with tempfile.TemporaryDirectory() as folder:
        files = record_tapes(scenario, range(count), folder, jobs=1).files
        return [load_tape(file) for file in files]


def episode_us(batch: TapeBatch, episodes: int, *, observe: bool) -> float:
    """Return microseconds of one slot of *episodes* batched episodes, drawing their parameters included."""
    which = np.arange(episodes) % len(batch.tapes)
    rng = np.random.default_rng(0)
    shape = (batch.decisions, episodes, batch.vehicles)
    choice, share = rng.integers(0, batch.layout.choices, shape), rng.uniform(0, 1, shape)
    began = time.perf_counter()
    batch.start(which, draws=(np.arange(episodes) // len(batch.tapes)).tolist())
    for t in range(batch.decisions):
        if observe:
            batch.observe("pilot")
        batch.step(choice[t], share[t])
    return (time.perf_counter() - began) / batch.decisions * 1e6


def fastest(measure: Callable[[], float], rounds: int) -> float:
    """Return the least of some measurements."""
    return min(measure() for _ in range(rounds))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tapes", type=int, default=2, help="tapes to record")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    scenario = avatars()
    options = scenario.parse("tasks.migration", MigrationOptions)
    tapes = recorded(scenario, given.tapes)
    batch = TapeBatch(tapes, options.rules(SLOT_US / 1e6), options.ranges())
    with_sumo = fastest(lambda: lockstep_us(scenario), given.rounds)
    print(f"{'lockstep with SUMO':34} {with_sumo:10.1f} us a slot")
    for observe in (False, True):
        cost = fastest(lambda o=observe: episode_us(batch, BATCH, observe=o), 20 * given.rounds)
        what = f"{BATCH} tapes together" + (", observed (47)" if observe else "")
        print(
            f"{what:34} {cost / BATCH:10.2f} us a slot, {BATCH * with_sumo / cost:8.0f} x;"
            f" all {BATCH} at once {cost:.0f} us, {with_sumo / cost:.0f} x"
        )
    for episodes in (16, 64, 256):
        cost = fastest(lambda n=episodes: episode_us(batch, n, observe=False), 20 * given.rounds)
        print(f"{episodes:4} tapes: {episodes / cost * 1e3:8.0f} thousand slots/s")


if __name__ == "__main__":
    main()
