"""Text to plain data, with the place of every key: YAML reading, ``extends`` merging, ``--set``.

A :class:`Document` is plain data (dict, list, str, int, float, bool) beside a map from key paths to places
(``file:line`` or ``--set key=value``).  Merging and overriding keep both in step, so that an error found
much later can still say where the value was written.  Only YAML's plain types are read: no tags, no
objects, no dates, no infinities.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from cosim.errors import ScenarioError

KeyPath = tuple[str | int, ...]

_MOST_NODES = 200_000
_YAML_TAG = "tag:yaml.org,2002:"
_SCALARS = ("null", "bool", "int", "float", "str", "timestamp", "merge")


@dataclass(frozen=True)
class Source:
    """Where the keys of a scenario were written; ``origin`` names the whole (a file, or a run).

    All sources compare equal: a scenario is what it says, not where it was written.
    """

    origin: str = field(compare=False)
    places: dict[KeyPath, str] = field(default_factory=dict, compare=False)

    def place(self, path: KeyPath) -> str:
        """Return the place of *path*, or of the nearest enclosing key that has one."""
        for end in range(len(path), -1, -1):
            head = path[:end]
            for candidate in (head, tuple(p for p in head if isinstance(p, str))):
                if candidate in self.places:
                    return self.places[candidate]
        return self.origin

    def key(self, path: KeyPath) -> str:
        """Return *path* dotted, as the user wrote it: without the index of a lone mapping."""
        shown: list[str] = []
        for end, part in enumerate(path):
            if isinstance(part, int) and path[: end + 1] not in self.places and path[:end] in self.places:
                continue
            shown.append(str(part))
        return ".".join(shown)

    def error(self, path: KeyPath, message: str) -> ScenarioError:
        """Build the one-line error ``place: key: message``."""
        parts = [self.place(path), self.key(path), " ".join(message.split())]
        return ScenarioError(": ".join(p for p in parts if p))


@dataclass(frozen=True)
class Document:
    """A mapping read from somewhere, and where its keys were written."""

    data: dict[str, Any]
    source: Source


def label(path: Path) -> str:
    """Return *path* as messages show it: relative to the working folder if it lies inside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def read_yaml(path: Path) -> Document:
    """Read one YAML file that holds a mapping; ScenarioError with file and line if it does not."""
    name = label(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        raise ScenarioError(f"{name}: is a folder, not a scenario file") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{name}: is not a text file in UTF-8") from None
    except OSError as error:
        raise ScenarioError(f"{name}: cannot be read: {error.strerror or error}") from None
    places: dict[KeyPath, str] = {(): f"{name}:1"}
    data = _parse(text, name, places)
    if data is None:
        raise ScenarioError(f"{name}:1: is empty; a scenario is a mapping of keys such as 'traffic:'")
    if not isinstance(data, dict):
        raise ScenarioError(f"{name}:1: must be a mapping of keys such as 'traffic:', not {_sort(data)}")
    return Document(data, Source(name, places))


def _sort(data: object) -> str:
    return "a list" if isinstance(data, list) else "a single value"


def _parse(text: str, name: str, places: dict[KeyPath, str]) -> Any:
    """Return the plain data of YAML *text*, filling *places*; ScenarioError starting ``name:line:``."""
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        return None if node is None else _Reader(yaml, name, places).read(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ScenarioError(f"{name}:{line}: is not YAML: {_yaml_problem(error)}") from None
    except YAMLError as error:
        raise ScenarioError(f"{name}:1: is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ScenarioError(f"{name}:1: is nested too deeply") from None


def _yaml_problem(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error).split())
    if "\\t" in problem or "\t" in str(error.problem):
        return "a tab character; indent with spaces"
    if "could not find expected ':'" in problem or "mapping values are not allowed" in problem:
        return f"{problem} (is a colon, a space after it, or the indentation wrong?)"
    if "expected a single document" in str(error) or "but found another document" in problem:
        return "a second document ('---'); one file holds one scenario"
    return problem


class _Reader:
    """Turns YAML nodes into plain data and notes the line of every key and list item."""

    def __init__(self, yaml: YAML, name: str, places: dict[KeyPath, str]) -> None:
        self.yaml, self.name, self.places, self.nodes = yaml, name, places, 0
        self.open: set[int] = set()

    def error(self, node: Node, path: KeyPath, message: str) -> ScenarioError:
        key = ".".join(map(str, path))
        return ScenarioError(
            f"{self.name}:{node.start_mark.line + 1}: " + (f"{key}: " if key else "") + message
        )

    def read(self, node: Node, path: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise self.error(node, path, "is too large for a scenario")
        if id(node) in self.open:
            raise self.error(node, path, "contains itself (an alias to an enclosing anchor)")
        self.open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                self.plain(node, path, "seq")
                return [self.item(child, (*path, k)) for k, child in enumerate(node.value)]
            return self.scalar(node, path)
        finally:
            self.open.discard(id(node))

    def item(self, node: Node, path: KeyPath) -> Any:
        self.places[path] = f"{self.name}:{node.start_mark.line + 1}"
        return self.read(node, path)

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        self.plain(node, path, "map")
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if str(key_node.tag).endswith(":merge"):
                parts = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                for part in reversed(parts):
                    inherited = self.read(part, path)
                    if not isinstance(inherited, dict):
                        raise self.error(key_node, path, "'<<' takes a mapping")
                    merged |= inherited
                continue
            if not isinstance(key_node, ScalarNode):
                raise self.error(key_node, path, "a key must be a plain word")
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in lines:
                message = f"is written twice (first in line {lines[key]})"
                raise self.error(key_node, (*path, key), message)
            lines[key] = line
            self.places[(*path, key)] = f"{self.name}:{line}"
            data[key] = self.read(value_node, (*path, key))
        return merged | data

    def scalar(self, node: Node, path: KeyPath) -> Any:
        kind = self.plain(node, path, *_SCALARS)
        if kind in ("str", "timestamp", "merge"):
            return str(node.value)
        value = self.yaml.constructor.construct_object(node)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(node, path, f"{node.value} is not a finite number")
        return value

    def plain(self, node: Node, path: KeyPath, *kinds: str) -> str:
        tag = str(node.tag)
        kind = tag.removeprefix(_YAML_TAG)
        if kind not in kinds or kind == tag:
            raise self.error(
                node,
                path,
                f"the tag '{tag.replace(_YAML_TAG, '!!')}' is not allowed: a scenario is plain data",
            )
        return kind


def merge(base: Document, child: Document) -> Document:
    """Return *base* with *child* on top: mappings merge key by key, all else is replaced, null removes."""
    places = dict(base.source.places)
    data = _merge(base.data, child.data, (), places, child.source.places)
    return Document(data, Source(child.source.origin, places))


def _merge(
    base: dict[str, Any],
    child: dict[str, Any],
    path: KeyPath,
    places: dict[KeyPath, str],
    news: dict[KeyPath, str],
) -> dict[str, Any]:
    merged = dict(base)
    if path in news:
        places[path] = news[path]
    for key, value in child.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value, here, places, news)
            continue
        _forget(places, here)
        places.update({p: where for p, where in news.items() if p[: len(here)] == here})
        merged[key] = value
    return merged


def _forget(places: dict[KeyPath, str], path: KeyPath) -> None:
    for known in [p for p in places if p[: len(path)] == path]:
        del places[known]


def without_nulls(data: Any) -> Any:
    """Return *data* without the mapping keys whose value is null (null removes a key)."""
    if isinstance(data, dict):
        return {k: without_nulls(v) for k, v in data.items() if v is not None}
    if isinstance(data, list):
        return [without_nulls(v) for v in data]
    return data


def override(document: Document, text: str, place: str = "") -> Document:
    """Return *document* with one ``key.path=value`` applied; the value is YAML, null removes the key.

    A number in the path is an index into a list.  A list of one mapping may be entered without its index,
    and a mapping that stands for such a list (``inflow``) with it.  *place* is where the text was written, if
    not after ``--set``.
    """
    shown = place or "--set " + (text if len(text) <= 100 else text[:100] + "…")
    key, equals, value_text = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(p.strip() for p in parts):
        raise ScenarioError(f"{shown}: write key=value, for example --set traffic.step=100ms")
    inner: dict[KeyPath, str] = {}
    try:
        value = _parse(value_text, "value", inner)
    except ScenarioError as error:
        raise ScenarioError(f"{shown}: {re.sub(r'^value:[0-9]+: ', '', str(error))}") from None
    places = dict(document.source.places)
    data = _copy(document.data)
    here: Any = data
    path: KeyPath = ()
    for end, raw in enumerate(parts):
        part = raw.strip()
        here, step = _enter(here, part, path, shown, document.source)
        if step is None:
            if end == len(parts) - 1:
                raise ScenarioError(f"{shown}: {document.source.key(path)} is one mapping; name a key in it")
            continue
        path = (*path, *step)
        if end == len(parts) - 1:
            here[step[-1]] = value
        elif isinstance(here, dict) and here.get(part) is None:
            here[part] = {}
            places.setdefault(path, shown)
            here = here[part]
        else:
            here = here[step[-1]]
    _forget(places, path)
    places[path] = shown
    places.update({(*path, *p): shown for p in inner})
    return Document(without_nulls(data), Source(document.source.origin, places))


def _enter(here: Any, part: str, path: KeyPath, shown: str, source: Source) -> tuple[Any, KeyPath | None]:
    """Return the container that holds *part* and the path step to it (None: the step is the container)."""
    if isinstance(here, list):
        if part.isdigit():
            if int(part) >= len(here):
                raise ScenarioError(
                    f"{shown}: {source.key(path)} has {len(here)} items, the last is number {len(here) - 1}"
                )
            return here, (int(part),)
        if len(here) == 1 and isinstance(here[0], dict):
            return here[0], (0, part)
        raise ScenarioError(f"{shown}: {source.key(path)} is a list; name an item, for example '0.{part}'")
    if not isinstance(here, dict):
        raise ScenarioError(f"{shown}: {source.key(path)} is {here!r}, not a mapping with keys")
    if part == "0" and part not in here and here and path:
        return here, None
    return here, (part,)


def _copy(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _copy(v) for k, v in data.items()}
    return [_copy(v) for v in data] if isinstance(data, list) else data
