"""``check_scenario``: whether a scenario is sound: it loads, fits together, runs, and repeats itself to the bit."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cosim.assembly import check_agents, plan
from cosim.clock import US
from cosim.errors import CosimError
from cosim.recording import compare_runs, digest
from cosim.runner import RunOptions, run
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved


def check_scenario(
    scenario: Scenario | str | Path,
    overrides: Sequence[str] = (),
    *,
    seconds: float = 5.0,
    traci: bool = False,
    processes: bool = False,
) -> None:
    """Try a scenario out; return if it is sound.

    Checked: it loads, its net, tasks and agents are there and fit together, what it resolves to gives the same
    scenario back, and its first *seconds* (no warm-up; at least three decisions of each task) run twice to equal
    bytes.

    Args:
        scenario: a name, a path, or a loaded scenario.
        overrides: ``key.path=value`` texts, as ``--set`` takes them.
        seconds: simulated time of each run.
        traci: run once more over TraCI and compare.
        processes: run once more with agents in processes of their own and compare.

    Raises AssertionError that says what is wrong, and where two runs first differ.
    """
    try:
        given = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        whole = given.with_overrides(overrides) if overrides else given
        check_agents(whole)
        plan(whole)
        if scenario_from_resolved(whole.resolved()) != whole:
            raise AssertionError(
                f"scenario '{whole.name}': what it resolves to is another scenario when it is read back"
            )
        short = whole.with_overrides([f"duration={_span(whole, seconds):.6f}", "warmup=0"])
        _runs(short, traci=traci, processes=processes)
    except CosimError as error:
        raise AssertionError(str(error)) from error


def _span(whole: Scenario, seconds: float) -> float:
    """Return the simulated time of a run, s: a whole number of steps, three decisions, not beyond the duration."""
    longest = max((task.every_us for task in whole.tasks.values()), default=0)
    wanted = max(seconds * US, 3 * longest)
    steps = math.ceil(min(wanted, whole.duration_us + whole.warmup_us) / whole.step_us)
    return max(1, steps) * whole.step_us / US


def _runs(short: Scenario, *, traci: bool, processes: bool) -> None:
    ways = {"again": RunOptions(inline=True)}
    if traci:
        ways["over TraCI"] = RunOptions(inline=True, backend="traci")
    if processes:
        ways["with agents in processes"] = RunOptions(inline=False)
    with tempfile.TemporaryDirectory(prefix="cosim-check-") as folder:
        first = _run(short, RunOptions(inline=True), Path(folder) / "first")
        for k, (way, options) in enumerate(ways.items()):
            other = _run(short, options, Path(folder) / str(k))
            if digest(first) != digest(other):
                where = "; ".join(line.replace(folder, "") for line in compare_runs(first, other))
                raise AssertionError(
                    f"scenario '{short.name}' gives other bytes when it is run {way}: {where}"
                )


def _run(short: Scenario, options: RunOptions, out: Path) -> Path:
    result = run(short, replace(options, out=out))
    if result.status != "completed":
        raise AssertionError(f"scenario '{short.name}' does not run: {result.error or result.status}")
    return result.dir
