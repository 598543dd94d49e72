"""Files that are whole or absent: atomic writes, JSON with one form for each value, and the directory's lock.

A file is written under a name ending in ``.tmp`` and then renamed, so a reader never meets half a file and a
killed writer leaves at most one ``.tmp`` behind.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from cosim.errors import RecordingError

try:
    import fcntl
except ImportError:  # Windows has no flock: there, a directory is guarded by its creation only
    fcntl = None  # type: ignore[assignment]

TMP = ".tmp"


def write_atomically(path: Path, data: bytes | memoryview, *, sync: bool) -> None:
    """Write *data* aside and rename it to *path*; with *sync* it survives a power cut as well as a kill.

    Raises RecordingError if the disk refuses.
    """
    aside = path.with_name(path.name + TMP)
    try:
        with open(aside, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path)
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: object, *, sort: bool, not_finite: str = "null") -> bytes:
    """Return *value* as indented JSON; equal values give equal bytes.

    Numpy arrays and numbers become lists and numbers, paths become text.  NaN and infinity, which JSON lacks,
    become null, or text (``"inf"``, ``"nan"``) with ``not_finite="text"``.  TypeError for anything else.
    """
    plain = _plain(value, not_finite)
    return (json.dumps(plain, indent=2, sort_keys=sort, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: object, not_finite: str) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), not_finite)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if not_finite == "null" else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, not_finite) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(item, not_finite) for item in value), key=str)
    if isinstance(value, Sequence):
        return [_plain(item, not_finite) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written as JSON")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; RecordingError if it is not one."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RecordingError(f"{path}: holds no JSON object")
    return found


def lock(file: IO[str]) -> bool:
    """Lock an open file until it is closed or its process dies; False if another process holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock on *path*."""
    if fcntl is None or not path.is_file():
        return False
    with open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
