"""The axes of a grid as users write them: seeds, ``--set key=a,b,c``, and agents.

Reads texts of the command line, plain data of a grid file, or Python values; gives tuples to be multiplied.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cosim.errors import ScenarioError
from cosim.lockstep.registry import AgentSpec, parse_agent_option

Shown = str | int | float
"""A parameter's value as tables show it."""

_MOST_SEEDS = 1_000_000
_HIGHEST_SEED = 2**63
_RANGE = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*(?::\s*(\d+)\s*)?")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_OPENING, _CLOSING = "[{(", "]})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of one key: ``text`` is its YAML, ``place`` where it was written (empty: after ``--set``)."""

    key: str
    text: str
    shown: Shown
    place: str = ""

    @property
    def override(self) -> str:
        """The setting as ``--set`` takes it."""
        return f"{self.key}={self.text}"


def parse_seeds(given: str | int | Sequence[int | str], where: str = "--seeds") -> tuple[int, ...]:
    """Return the seeds that *given* names: ``0:10`` (0 to 9), ``0:10:2``, ``0,3,7``, a number, or a list of these.

    ScenarioError, starting with *where*, if it names none, one twice, or something that is no seed.
    """
    if isinstance(given, str):
        parts: Sequence[Any] = given.split(",")
    elif isinstance(given, Sequence) or (hasattr(given, "__iter__") and not isinstance(given, Mapping)):
        parts = list(given)
    else:
        parts = [given]
    seeds: list[int] = []
    for part in parts:
        seeds += _seed_range(part, where)
        if len(seeds) > _MOST_SEEDS:
            raise ScenarioError(f"{where}: more than {_MOST_SEEDS} seeds")
    if not seeds:
        raise ScenarioError(f"{where}: no seed in {given!r}; write for example 0:10, which is 0 to 9")
    twice = next((s for s in seeds if seeds.count(s) > 1), None) if len(set(seeds)) < len(seeds) else None
    if twice is not None:
        raise ScenarioError(f"{where}: seed {twice} is given twice")
    return tuple(seeds)


def _seed_range(part: Any, where: str) -> Sequence[int]:
    match = _RANGE.fullmatch(part) if isinstance(part, str) else None
    if match:
        start, stop, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if step and max(start, stop) < _HIGHEST_SEED and (stop - start) // step <= _MOST_SEEDS:
            return range(start, stop, step)
    try:
        seed = int(part) if not isinstance(part, bool | float) else -1
    except (TypeError, ValueError):
        seed = -1
    if not 0 <= seed < _HIGHEST_SEED:
        raise ScenarioError(f"{where}: {part!r} is no seed; write for example 0:10 (0 to 9) or 0,3,7")
    return (seed,)


def split_values(text: str) -> list[str]:
    """Split ``a,b,c`` at its commas.

    Commas inside brackets, braces or quotes stay (``{left: 0.5, right: 0.5}``), and so does ``\\,``, whose
    backslash is taken away.
    """
    values, value, depth, quote, before = [], "", 0, "", ""
    for at, character in enumerate(text):
        following = text[at + 1 : at + 2]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and before in ("", ",", ":", *_OPENING):
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth = max(depth - 1, 0)
        elif character == "," and not depth:
            if value.endswith("\\"):
                value = value[:-1]
            else:
                values.append(value.strip())
                value, before = "", ""
                continue
        value += character
        before = before if character.isspace() and following else character
    return [*values, value.strip()]


def axes_of_texts(texts: Sequence[str]) -> dict[str, tuple[Setting, ...]]:
    """Return the axis of each key of ``key=a,b,c`` texts; ScenarioError for a text without a key."""
    axes: dict[str, tuple[Setting, ...]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ScenarioError(f"--set {text}: write key=value or key=a,b,c")
        _check_key(key, f"--set {text}", axes)
        parts = split_values(values)
        if len(parts) > 1 and not all(parts):
            raise ScenarioError(f"--set {text}: an empty value between commas; write \\, for a comma itself")
        axes[key] = tuple(Setting(key, part, _shown_text(part)) for part in parts)
    return axes


def axes_of_values(
    values: Mapping[str, Any], places: Mapping[tuple[str, int | None], str] | None = None
) -> dict[str, tuple[Setting, ...]]:
    """Return the axis of each key of plain data: a list is an axis, anything else the only value.

    *places* says where (key, number in the list) was written; number None is the key itself.
    """
    places = places or {}
    axes: dict[str, tuple[Setting, ...]] = {}
    for key, value in values.items():
        here = places.get((key, None), f"{key}")
        _check_key(key, here, axes)
        listed = list(value) if isinstance(value, list | tuple) else [value]
        if not listed:
            raise ScenarioError(f"{here}: an empty list; give at least one value")
        try:
            axes[key] = tuple(
                Setting(key, json.dumps(v, ensure_ascii=False), _shown(v), places.get((key, k), here))
                for k, v in enumerate(listed)
            )
        except TypeError:
            raise ScenarioError(
                f"{here}: values are numbers, text, lists and mappings, not {value!r}"
            ) from None
    return axes


def _check_key(key: str, where: str, axes: Mapping[str, object]) -> None:
    if key == "seed":
        raise ScenarioError(f"{where}: a grid's seeds are given with --seeds (in a grid file: seeds)")
    if key in axes:
        raise ScenarioError(f"{where}: {key} is set twice; give all its values at once")


def _shown_text(text: str) -> Shown:
    if _NUMBER.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return int(text) if re.fullmatch(r"[-+]?\d+", text) else number
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text or "null"


def _shown(value: Any) -> Shown:
    if isinstance(value, str | float | int) and not isinstance(value, bool):
        return value
    return json.dumps(value, ensure_ascii=False)


def agent_variants(texts: Sequence[str]) -> list[tuple[AgentSpec, ...]]:
    """Return the variants that ``[TASK=]NAME[:WEIGHTS]`` texts span.

    Several texts for one task are alternatives; texts for different tasks combine.  Without texts there is one
    variant, the scenario's own agents (an empty tuple).  ScenarioError for a text that names no agent.
    """
    tasks: dict[str | None, list[AgentSpec]] = {}
    for text in texts:
        spec = parse_agent_option(text)
        if spec in tasks.get(spec.task, ()):
            raise ScenarioError(f"--agent {text}: given twice")
        tasks.setdefault(spec.task, []).append(spec)
    return list(itertools.product(*tasks.values()))
