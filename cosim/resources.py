"""Where shipped files are found: a name resolves as a path, then in the working folder, then in the packaged copy.

An installed wheel carries ``scenarios/``, ``sumo_networks/`` and ``data/`` under ``cosim/_share``; a source
checkout (also an editable install) uses the folders at its top.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def share() -> Path:
    """Return the folder that holds the shipped ``scenarios``, ``sumo_networks`` and ``data``."""
    packaged = _PACKAGE / "_share"
    return packaged if packaged.is_dir() else _PACKAGE.parent


def locate(name: str | Path, folder: str, suffixes: tuple[str, ...] = ("",)) -> Path | None:
    """Find *name* as a path, under ``./folder``, or in the shipped *folder*.

    Each of *suffixes* is tried in turn (``("", ".yaml")`` finds ``highway_350vph``).  Returns None if there
    is no such file or folder.
    """
    path = Path(name).expanduser()
    roots = [Path(), Path(folder), share() / folder, share()]
    for root in roots[:1] if path.is_absolute() else roots:
        for suffix in suffixes:
            candidate = root / (str(path) + suffix)
            if candidate.exists():
                return candidate.resolve()
    return None
