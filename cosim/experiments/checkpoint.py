"""Checkpoints of a training: the learner's whole state as safetensors and JSON, whole or absent, the last few kept.

A checkpoint is a folder ``checkpoints/LEG`` with ``learner.safetensors`` (arrays) and ``checkpoint.json`` (the
learner's other values, where the training stands, and the hash of the arrays).  It is written under another name,
flushed, and renamed.  Nothing is pickled.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim.errors import CosimError, ScenarioError
from cosim.lockstep.learner import LearnerState
from cosim.recording import sha256_file
from cosim.recording.files import read_json, to_json, write_atomically

FOLDER = "checkpoints"
_ARRAYS = "learner.safetensors"
_VALUES = "checkpoint.json"
_ASIDE = "unfinished-"


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stood: ``legs`` done, the learner, and ``about``, the trainer's own values."""

    legs: int
    learner: LearnerState
    about: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Write a checkpoint into ``folder/checkpoints`` and drop all but the last *keep*.

    RecordingError if the disk refuses.
    """
    from safetensors.numpy import save as to_safetensors

    home = folder / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    name = f"{checkpoint.legs:06d}"
    aside, final = home / (_ASIDE + name), home / name
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    arrays = {n: np.ascontiguousarray(a) for n, a in sorted(checkpoint.learner.arrays.items())}
    write_atomically(aside / _ARRAYS, to_safetensors(arrays), sync=True)
    values = {
        "legs": checkpoint.legs,
        "about": checkpoint.about,
        "learner": dict(checkpoint.learner.values),
        "sha256": sha256_file(aside / _ARRAYS),
    }
    write_atomically(aside / _VALUES, to_json(values, sort=False), sync=True)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(aside, final)
    for old in _complete(home)[:-keep]:
        shutil.rmtree(home / old, ignore_errors=True)


def load_last(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, None if there is none; newer damaged ones are skipped."""
    home = folder / FOLDER
    for name in reversed(_complete(home)):
        try:
            return _load(home / name)
        except CosimError:
            continue
    return None


def _complete(home: Path) -> list[str]:
    return sorted(p.name for p in home.glob("[0-9]*") if (p / _VALUES).is_file()) if home.is_dir() else []


def _load(path: Path) -> Checkpoint:
    from safetensors.numpy import load_file

    values = read_json(path / _VALUES)
    if sha256_file(path / _ARRAYS) != values["sha256"]:
        raise ScenarioError(f"{path / _ARRAYS}: is not what was written")
    arrays: Mapping[str, Any] = load_file(path / _ARRAYS)
    return Checkpoint(values["legs"], LearnerState(arrays, values["learner"]), values["about"])
