"""Answering a run's questions from what was recorded: replay without agents, and the first part of a resumed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosim.errors import RecordingError
from cosim.lockstep.protocol import Actions, ActionSpec, AgentHost, EpisodeInfo, Observations
from cosim.recording import RecordedActions, load_run, read_actions
from cosim.recording.reader import parts_of, read_frame
from cosim.recording.tables import NOTES


class Ended(Exception):
    """The record ends here: the recorded run was interrupted at this instant."""


Notes = tuple[int, str, str, str, NDArray[np.float64]]
"""Instant, task, role, name, and a row (n, d) for each action that it stood beside."""


class Recorded:
    """The recorded answers of a run, of all tasks, handed out in the order in which they were given."""

    def __init__(self, folder: str | Path, until_us: int | None = None) -> None:
        self.folder = Path(folder)
        run = load_run(folder)
        self.complete = run.status == "completed"
        if not run.scenario.get("record", {}).get("commands", True):
            raise RecordingError(f"{folder}: its actions were not recorded (record.commands: false)")
        # Where nobody was ever asked, there is no table of actions either.
        self._answers = read_actions(folder, until_us) if parts_of(run.dir / "actions") else iter(())
        self._next: RecordedActions | None = next(self._answers, None)
        self._notes = _read_notes(run.dir)
        self._next_notes: Notes | None = next(self._notes, None)

    def take(self, task: str, asked: Observations, spec: ActionSpec) -> Actions:
        """Return the recorded answer to this question; RecordingError if another question was asked then."""
        rows = asked.active
        if not rows:
            return Actions(np.empty(spec.shape(0), dtype=spec.dtype))
        answer = self._next
        if answer is None:
            if self.complete:
                raise RecordingError(
                    f"{self.folder}: task '{task}' asks at {asked.t_us / 1e6:g} s, but nothing more is recorded"
                )
            raise Ended
        key = (asked.t_us, task, asked.role)
        if (answer.t_us, answer.task, answer.role) != key or answer.ids != asked.ids[:rows]:
            raise RecordingError(
                f"{self.folder}: the simulation does not repeat the recorded run at {asked.t_us / 1e6:g} s"
                f" (task '{task}'): was the net, SUMO or cosim changed since?"
            )
        self._next = next(self._answers, None)
        notes = {}
        while self._next_notes is not None and self._next_notes[:3] == key:
            *_, name, values = self._next_notes
            notes[name] = values
            self._next_notes = next(self._notes, None)
        return Actions(answer.values.reshape(spec.shape(rows)).astype(spec.dtype), notes)


def _read_notes(folder: Path) -> Iterator[Notes]:
    """Yield what agents noted, in the order in which it was recorded, one table part in memory at a time."""
    for part in parts_of(folder / "notes"):
        frame = read_frame([part], NOTES)
        keys = list(zip(*(frame[c].to_list() for c in ("t_us", "task", "role", "name")), strict=True))
        values = frame["value"].to_list()
        start = 0
        for stop in range(1, len(keys) + 1):
            if stop == len(keys) or keys[stop] != keys[start]:
                yield (*keys[start], np.array(values[start:stop], dtype=np.float64).reshape(stop - start, -1))
                start = stop


class RecordedHost:
    """A host that answers as recorded, up to ``until_us``, and lets ``live`` go on from there.

    The live agent is asked all along, so that it remembers what it would have seen.
    """

    def __init__(
        self, task: str, recorded: Recorded, live: AgentHost | None = None, until_us: int | None = None
    ) -> None:
        self.name = "recorded" if live is None else live.name
        self._task = task
        self._recorded = recorded
        self._live = live
        self._until_us = until_us
        self._specs: dict[str, ActionSpec] = {}

    def reset(self, info: EpisodeInfo) -> None:
        self._specs = {name: role.action for name, role in info.roles.items()}
        if self._live is not None:
            self._live.reset(info)

    def act(self, observations: Observations) -> Actions:
        answered = self._live.act(observations) if self._live is not None else None
        if self._until_us is not None and observations.t_us > self._until_us and answered is not None:
            return answered
        return self._recorded.take(self._task, observations, self._specs[observations.role])

    def close(self) -> None:
        if self._live is not None:
            self._live.close()
