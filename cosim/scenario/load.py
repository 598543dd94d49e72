"""Finding and loading scenario files: names, ``extends`` chains, ``--set`` overrides, the list of all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from cosim.errors import ScenarioError, nearest
from cosim.resources import locate, share
from cosim.scenario.schema import Scenario, build
from cosim.scenario.source import Document, Source, label, merge, override, read_yaml

FOLDER = "scenarios"
_SUFFIXES = ("", ".yaml")


def load_scenario(
    name_or_path: str | Path, overrides: Sequence[str] = (), places: Sequence[str] = ()
) -> Scenario:
    """Load a scenario by path or by name, with ``key.path=value`` *overrides* on top.

    A name is looked for as a path, in ``./scenarios`` and among the shipped scenarios, with and without
    ``.yaml``.  ``name`` and ``description`` describe one file and are not inherited through ``extends``; a
    file without a name has its file name.  *places* say where the overrides were written, if not after
    ``--set``.  Raises ScenarioError, one line with file, line and key.
    """
    path = find_scenario(name_or_path)
    document = _read_chain(path, ())
    document.data.setdefault("name", path.stem)
    for text, place in zip_longest(overrides, places, fillvalue=""):
        document = override(document, text, place)
    return build(document)


def find_scenario(name_or_path: str | Path) -> Path:
    """Return the file of a scenario; ScenarioError with the nearest name if there is none."""
    path = locate(name_or_path, FOLDER, _SUFFIXES)
    if path is not None and path.is_dir():  # a folder of that name must not hide the scenario
        path = locate(f"{name_or_path}.yaml", FOLDER) or path
    if path is None:
        known = [name for name, _ in _files()]
        hint = nearest(Path(name_or_path).stem, known) or "; 'cosim list scenarios' shows those that exist"
        raise ScenarioError(f"no scenario '{name_or_path}'{hint}")
    return path


def list_scenarios() -> list[tuple[str, str]]:
    """Return (name, description) of the scenarios in ``./scenarios`` and of the shipped ones, by name."""
    found: list[tuple[str, str]] = []
    for name, path in _files():
        try:
            description = " ".join(str(read_yaml(path).data.get("description", "")).split())
        except ScenarioError as error:
            description = f"(cannot be read: {error})"
        found.append((name, description))
    return found


def _files() -> list[tuple[str, Path]]:
    files: dict[str, Path] = {}
    for folder in (Path(FOLDER), share() / FOLDER):
        for path in sorted(folder.glob("*.yaml")):
            files.setdefault(path.stem, path.resolve())
    return sorted(files.items())


def _read_chain(path: Path, seen: tuple[Path, ...]) -> Document:
    """Read *path* merged over what it extends."""
    document = read_yaml(path)
    data, source = document.data, document.source
    extends = data.pop("extends", None)
    if extends is None:
        return document
    if not isinstance(extends, str) or not extends:
        raise source.error(("extends",), "must be the name of one scenario file, for example highway.yaml")
    base_path = _find_base(path, extends, source)
    chain = (*seen, path)
    if base_path in chain:
        names = " -> ".join(label(p) for p in (*chain[chain.index(base_path) :], base_path))
        raise source.error(("extends",), f"goes round in a circle: {names}")
    base = _read_chain(base_path, chain)
    for own in ("name", "description"):
        base.data.pop(own, None)
        base.source.places.pop((own,), None)
    return merge(base, document)


def _find_base(path: Path, name: str, source: Source) -> Path:
    for suffix in _SUFFIXES:
        candidate = path.parent / (name + suffix)
        if candidate.is_file():
            return candidate.resolve()
    found = locate(name, FOLDER, _SUFFIXES)
    if found is None or not found.is_file():
        siblings = [p.name for p in path.parent.glob("*.yaml")]
        raise source.error(
            ("extends",), f"there is no file '{name}' beside this one{nearest(name, siblings)}"
        )
    return found
