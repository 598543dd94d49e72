"""A mobility tape: where the agent vehicles of one SUMO run were, slot by slot.

Decisions of this task never change the traffic, so a run is recorded once and replayed in memory for training.  A
tape holds no draws of the task: those are keyed by the tape's seed and a draw number.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim.errors import RecordingError
from cosim.tasks.migration.space import Floats, Ints, Layout

_ARRAYS = ("xy", "speed", "remaining", "serving", "ahead", "track")


@dataclass(frozen=True)
class MobilityTape:
    """S slots of V vehicles, the first ``history`` of them before the first decision.

    ``xy`` (S, V, 2) m, ``speed`` (S, V) m/s, ``remaining`` (S, V) m to the region's end, ``serving`` and ``ahead``
    (S, V) RSU numbers, -1 for none; an absent vehicle has serving -1 and its last (or first) position.  Row
    ``history`` + t is decision slot t.  ``track`` (T, V, 2) are positions every ``track_step`` s from ``start`` on,
    for trajectory predictors.  ``slot`` and ``start`` are in s; row 0 was recorded at ``start``.
    """

    layout: Layout
    vehicles: tuple[str, ...]
    seed: int
    xy: Floats
    speed: Floats
    remaining: Floats
    serving: Ints
    ahead: Ints
    track: Floats
    track_step: float = 10.0
    slot: float = 20.0
    start: float = 0.0
    history: int = 12
    scenario: str = ""

    @property
    def decisions(self) -> int:
        """Number of decision slots on the tape."""
        return len(self.xy) - self.history

    def crowding(self) -> float:
        """Return the mean over decision slots of max_m z_m, the most vehicles near one RSU (spec, E1)."""
        here = self.serving[self.history :, :, None] == np.arange(self.layout.stations)
        return float(here.sum(axis=1).max(axis=-1).mean())


def tape_bytes(tape: MobilityTape) -> bytes:
    """Return a tape as the bytes of an ``.npz`` file: arrays and one JSON text, no pickle; equal tapes, equal bytes."""
    layout = tape.layout
    head = {
        "format": 1,
        "stations": layout.ids,
        "reach": layout.reach,
        "remote": layout.remote,
        "facing": layout.facing,
        "vehicles": tape.vehicles,
        "seed": tape.seed,
        "track_step": tape.track_step,
        "slot": tape.slot,
        "start": tape.start,
        "history": tape.history,
        "scenario": tape.scenario,
    }
    arrays: dict[str, Any] = {name: getattr(tape, name) for name in _ARRAYS}
    out = io.BytesIO()
    np.savez_compressed(out, head=np.array(json.dumps(head)), station_xy=layout.xy, box=layout.box, **arrays)
    return out.getvalue()


def save_tape(tape: MobilityTape, file: Path | str) -> None:
    """Write a tape as ``.npz``, see :func:`tape_bytes`."""
    Path(file).write_bytes(tape_bytes(tape))


def load_tape(file: Path | str) -> MobilityTape:
    """Return the tape that :func:`save_tape` wrote; RecordingError if the file is none."""
    try:
        with np.load(Path(file), allow_pickle=False) as found:
            head = json.loads(str(found["head"]))
            arrays = {name: found[name] for name in _ARRAYS}
            layout = Layout(
                tuple(head["stations"]),
                found["station_xy"],
                found["box"],
                head["reach"],
                head["remote"],
                head["facing"],
            )
            return MobilityTape(
                layout,
                tuple(head["vehicles"]),
                head["seed"],
                **arrays,
                **{k: head[k] for k in ("track_step", "slot", "start", "history", "scenario")},
            )
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{file} is no mobility tape: {error}") from error


def check_alike(tapes: Sequence[MobilityTape]) -> None:
    """Refuse tapes that cannot be stepped together: RecordingError says which differs in what."""
    if not tapes:
        raise RecordingError("no mobility tapes were given")
    first = tapes[0]
    for number, tape in enumerate(tapes[1:], 1):
        for what, one, other in (
            ("RSUs", first.layout.ids, tape.layout.ids),
            ("decision space", first.layout.remote, tape.layout.remote),
            ("reach", first.layout.reach, tape.layout.reach),
            ("shape", first.xy.shape, tape.xy.shape),
            ("history", first.history, tape.history),
            ("slot", first.slot, tape.slot),
        ):
            if one != other:
                raise RecordingError(
                    f"tape {number} differs from tape 0 in its {what}: {other} against {one}"
                )
        if not np.array_equal(first.layout.xy, tape.layout.xy):
            raise RecordingError(f"tape {number} differs from tape 0 in the places of its RSUs")
