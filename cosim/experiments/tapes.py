"""Tapes: the traffic of a scenario recorded without agents, for tasks whose decisions do not change it.

:func:`record_tapes` records one file a seed into a folder, several processes at a time, and goes on where an earlier
call stopped.  The scenario's agent vehicles (those of its groups of a CAV type) are followed, and the task that can
be trained on tapes (:class:`~cosim.tasks.base.Taped`) makes its tape of their tracks, which hold the numbers that it
sees in lockstep on the same traffic.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim.assembly import plan
from cosim.clock import US
from cosim.errors import Interrupted, RecordingError, ScenarioError, TrafficError
from cosim.experiments.pool import Outcome, Pool, ProcessWorker
from cosim.randomness import stream_key
from cosim.recording import sha256_file
from cosim.recording.files import read_json, to_json, write_atomically
from cosim.registry import plugins
from cosim.scenario import Scenario
from cosim.tasks import Taped
from cosim.traffic.demand import group_ids
from cosim.traffic.files import FLOW_IDM
from cosim.traffic.nets import Net
from cosim.traffic.sumo import Traffic, TrafficEvent
from cosim.traffic.tracks import MissingVehicle, follow

TAPES_JSON = "tapes.json"
"""The file that makes a folder one of tapes: which scenario they are of."""
_MOST_DRAWS = 8
_WHO = ("agent", "weights", "deadline")
"""Keys of a task that decide nothing of its tapes."""
_LEAVING = {
    "arrival": "reached the end of its route",
    "removal": "was removed after a collision",
    "teleport": "was teleported",
}


@dataclass(frozen=True)
class Recording:
    """What a call of :func:`record_tapes` did: files in the order of the seeds asked for, and how many are new.

    ``replaced`` maps a seed to what the draw that was not used lost, and ``seconds`` is the mean wall time of a new
    tape in its process (0: none is new).
    """

    files: tuple[Path, ...]
    new: int
    replaced: dict[int, str]
    seconds: float


def agent_vehicles(scenario: Scenario, net: Net) -> tuple[str, ...]:
    """Return the ids of all vehicles of CAV groups and of a replay of CAVs.

    ScenarioError if there are none, or CAVs come by an inflow.
    """
    traffic = scenario.traffic
    for k, inflow in enumerate(traffic.inflow):
        if inflow.cav_share > 0:
            raise scenario.error(
                f"traffic.inflow.{k}.cav_share",
                "a tape needs a fixed set of agent vehicles: give them as traffic.vehicles, not by an inflow",
            )
    groups = [group for group in traffic.vehicles if traffic.types[group.type].cav]
    ids = tuple(name for group in groups for name in group_ids(group))
    if traffic.replay is not None and traffic.types[traffic.replay.type].cav:
        from cosim.traffic.replay import replay_ids  # polars, which most scenarios do without

        ids += replay_ids(traffic, net)
    if not ids:
        raise scenario.error("traffic.vehicles", "holds no group of a CAV type, whose tape could be recorded")
    return ids


def draw_seed(seed: int, draw: int) -> int:
    """Return the traffic seed of a tape's draw number *draw*: the seed itself, then keyed replacements of it."""
    return seed if draw == 0 else stream_key(seed, "tape/replacement", draw) >> 1


@dataclass(frozen=True)
class Tapes:
    """What all tapes of a scenario have in common; :func:`tapes_of` makes it."""

    scenario: Scenario
    net: Net
    task: Taped
    period_us: int
    vehicles: tuple[str, ...]

    def record(self, seed: int) -> tuple[bytes, str]:
        """Return the tape of *seed* as a file's bytes, and what an earlier draw lost (empty: nothing).

        A draw of the traffic that lacks an agent vehicle is replaced by the next keyed seed (:func:`draw_seed`).

        Raises:
            ScenarioError: no draw keeps all vehicles, or the task cannot make a tape of this scenario's tracks.
            TrafficError: SUMO died.
        """
        scenario, lost = self.scenario, ""
        end_us = scenario.warmup_us + scenario.duration_us
        for draw in range(_MOST_DRAWS):
            drawn = draw_seed(seed, draw)
            with Traffic(scenario.traffic, self.net, drawn, only=self._only()) as traffic:
                tracks, events = follow(
                    traffic,
                    self.vehicles,
                    end_us=end_us,
                    period_us=self.period_us,
                    scenario=scenario.name,
                    seed=drawn,
                )
            try:
                return self.task.tape(tracks), lost
            except MissingVehicle as missing:
                lost = lost or _why(missing, events)
        raise scenario.error(
            "traffic.vehicles", f"no draw of {_MOST_DRAWS} keeps all agent vehicles; of seed {seed}, {lost}"
        )

    def _only(self) -> frozenset[str] | None:
        """Return what states need to hold: the agent vehicles, or all where the bridge itself looks at others."""
        traffic = self.scenario.traffic
        looks = traffic.replay is not None or any(t.car_following == FLOW_IDM for t in traffic.types.values())
        return None if looks else frozenset(self.vehicles)


def tapes_of(scenario: Scenario) -> Tapes:
    """Check what recording *scenario* needs; ScenarioError if it has no task for tapes, or several, or does not fit."""
    ready = plan(scenario)
    able = [s for s in ready.tasks if isinstance(s.task, Taped)]
    if len(able) != 1:
        found = ", ".join(s.name for s in able) or "none"
        raise scenario.error(
            "tasks", f"one task must be trainable on tapes; of this scenario's tasks: {found}"
        )
    task, period_us = able[0].task, able[0].rate.period_us
    assert isinstance(task, Taped)
    for key, length in (("warmup", scenario.warmup_us), ("duration", scenario.duration_us)):
        if length % period_us:
            raise scenario.error(key, f"is not a whole number of slots of {period_us / US:g} s")
    return Tapes(scenario, ready.net, task, period_us, agent_vehicles(scenario, ready.net))


def _why(missing: MissingVehicle, events: Sequence[TrafficEvent]) -> str:
    """Say why a vehicle was not on the road."""
    for event in events:
        if event.id == missing.vehicle and event.kind in _LEAVING and event.t_us <= missing.t_us:
            return f"{event.id} {_LEAVING[event.kind]} at {event.t_us / US:g} s"
    return f"{missing.vehicle} has not entered by {missing.t_us / US:g} s"


def record_tapes(
    scenario: Scenario,
    seeds: Sequence[int],
    out: str | Path,
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Record a tape a seed as ``OUT/sSEED.npz``; those that are there already are kept.

    Args:
        scenario: its tasks are not run, but one of them makes the tapes (:func:`tapes_of`).
        seeds: seeds of the traffic.
        out: a folder of this scenario's tapes, or one that is new or empty.
        jobs: processes (None: one a processor); with 1 the simulations run in this process.
        progress: called with (done, all).

    Raises:
        ScenarioError: the scenario does not fit, or *out* holds the tapes of another one.
        RecordingError: *out* cannot be written.
        TrafficError: SUMO died.
        Interrupted: the user pressed Ctrl-C; the tapes recorded so far are whole.
    """
    if jobs is not None and jobs < 1:
        raise ScenarioError(f"--jobs {jobs}: must be at least 1")
    tapes = tapes_of(scenario)
    folder = Path(out).expanduser().absolute()
    _claim(folder, scenario, tapes.net)
    files = [folder / f"s{seed}.npz" for seed in seeds]
    todo = [seed for seed, file in zip(seeds, files, strict=True) if not file.is_file()]
    done = len(files) - len(todo)
    replaced: dict[int, str] = {}
    walls: list[float] = []
    if progress is not None:
        progress(done, len(files))

    def took(seed: int, lost: str, wall: float) -> None:
        walls.append(wall)
        if lost:
            replaced[seed] = lost
        if progress is not None:
            progress(done + len(walls), len(files))

    _record_all(tapes, todo, folder, jobs or _processors(), took)
    return Recording(tuple(files), len(todo), replaced, float(np.mean(walls)) if walls else 0.0)


def write_tape(tapes: Tapes, seed: int, folder: Path) -> tuple[str, float]:
    """Record one tape into *folder*; return what an earlier draw lost, and the wall time, s."""
    began = time.monotonic()
    data, lost = tapes.record(seed)
    write_atomically(folder / f"s{seed}.npz", data, sync=False)
    return lost, time.monotonic() - began


def _record_all(
    tapes: Tapes, seeds: Sequence[int], folder: Path, jobs: int, took: Callable[[int, str, float], None]
) -> None:
    """Record the tapes of *seeds* and call *took* with (seed, what was lost, wall time) as they are done."""
    jobs = min(jobs, len(seeds))
    if jobs <= 1:
        for seed in seeds:
            took(seed, *write_tape(tapes, seed, folder))
        return
    setup = {
        "scenario": tapes.scenario.resolved(),
        "origin": tapes.scenario.name,
        "out": str(folder),
        "folder": str(Path.cwd()),
        "path": [p for p in sys.path if isinstance(p, str) and p],
        "plugins": list(plugins()),
    }

    def check(name: str, outcome: Outcome) -> None:
        header, _ = outcome
        if header["status"] != "completed":
            kind = ScenarioError if header.get("exit_code") == ScenarioError.exit_code else TrafficError
            raise kind(header["error"])
        took(int(name), header["lost"], header["wall_s"])

    pool = Pool(lambda: ProcessWorker(setup, None, "cosim.experiments.tape_worker"), jobs)
    if not pool.run([{"run": str(seed)} for seed in seeds], check, lambda share: None):
        raise Interrupted("interrupted; the same command goes on with what is missing")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _claim(folder: Path, scenario: Scenario, net: Net) -> None:
    """Make *folder* one of this scenario's tapes; errors if it holds other things."""
    about = _about(scenario, net)
    file = folder / TAPES_JSON
    if file.is_file():
        found = read_json(file)
        if found.get("id") != about["id"]:
            name = found.get("scenario", {}).get("name", "?")
            raise ScenarioError(
                f"{folder}: holds tapes of scenario '{name}' with other traffic, times, task or net;"
                " choose another --out"
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RecordingError(
                f"{folder}: not empty; give a new or empty folder, or one of this scenario's tapes"
            )
    except OSError as error:
        raise RecordingError(f"{folder}: {error.strerror or error}") from error
    write_atomically(file, to_json(about, sort=False), sync=False)


def _about(scenario: Scenario, net: Net) -> dict[str, Any]:
    """Return what a folder of tapes says of itself; ``id`` is the same for all that decides what is on a tape."""
    resolved = scenario.resolved()
    decisive: dict[str, Any] = {
        "traffic": resolved["traffic"] | {"backend": ""},
        "times": [resolved["warmup"], resolved["duration"]],
        "tasks": {
            name: {key: value for key, value in task.items() if key not in _WHO}
            for name, task in resolved["tasks"].items()
        },
        "net": net.sha256(),
    }
    if scenario.traffic.replay is not None:
        from cosim.traffic.replay import replay_files

        decisive["traces"] = [sha256_file(file) for file in replay_files(scenario.traffic)]
    digest = hashlib.sha256(to_json(decisive, sort=True)).hexdigest()
    return {"id": digest, "net_sha256": net.sha256(), "scenario": resolved}
