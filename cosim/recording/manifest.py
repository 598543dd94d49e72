"""What a run was made with: versions, platform, git state and file hashes, for the manifest.

Reads installed package metadata and asks git; imports none of the packages that it names.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("cosim", "eclipse-sumo", "libsumo", "traci", "sumolib", "numpy", "scipy", "shapely", "pyproj", "torch"),
    *("gymnasium", "pettingzoo", "pydantic", "pint", "ruamel.yaml", "polars", "safetensors", "ray"),
)


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(paths: Iterable[str | Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its path as given, for the manifest's ``hashes``."""
    return {str(path): sha256_file(path) for path in paths}


def describe_environment() -> dict[str, Any]:
    """Return versions, platform, command line and git state, as JSON values.

    ``packages`` holds the installed ones of those cosim builds on; ``git`` the state of the sources cosim
    runs from (``cosim``) and of the working folder (``folder``), each absent outside git.
    """
    return {
        "python": platform.python_version(),
        "packages": dict(_versions()),
        "platform": {"system": platform.platform(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "command": list(sys.argv),
        "folder": str(Path.cwd()),
        "git": _git_states(),
    }


def utc_now() -> str:
    """Return the wall time as ``2026-11-20T09:45:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _git_states() -> dict[str, dict[str, Any]]:
    package = Path(__file__).resolve().parents[1]
    states = {}
    # An installed package may lie in somebody else's working tree (a venv in a project), untracked there.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") and (own := git_state(package)):
        states["cosim"] = own
    folder = git_state(Path.cwd())
    if folder and folder != states.get("cosim"):
        states["folder"] = folder
    return states


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return ``{"root", "commit", "dirty"}`` of the git working tree around *folder*; None outside git."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    commit = _git(folder, "rev-parse", "HEAD")
    if not root or not commit:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"root": root, "commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    """Return what a read-only git command prints; None if there is no git, or it fails."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=10,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
