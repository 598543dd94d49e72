"""pydantic's findings in the words of a scenario's user: one key, one sentence, the nearest right name.

:func:`validate` is the only way in which scenario data meets a model; it picks the finding that explains
most (a misspelt key before the key that is therefore missing, the branch of a union that came furthest) and
raises it as a ScenarioError with file, line and key.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cosim.errors import nearest
from cosim.scenario.base import KeyedError
from cosim.scenario.source import KeyPath, Source
from cosim.scenario.units import shown

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class _Finding:
    """One of pydantic's errors: the key path that it names in the data, and the union branch it is in."""

    kind: str
    path: KeyPath
    message: str
    branch: tuple[int, str] | None


def validate(
    model: type[M], data: Any, source: Source, at: KeyPath = (), also_known: Iterable[str] = ()
) -> M:
    """Return *data* as *model*; ScenarioError that names place and key (``at`` + the key inside) otherwise.

    ``also_known`` are keys beside the model's own that may be suggested for a misspelt one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        path, message = explain(error, model, data, also_known)
        raise source.error((*at, *path), message) from None


def explain(
    error: ValidationError, model: type[BaseModel], data: Any, also_known: Iterable[str] = ()
) -> tuple[KeyPath, str]:
    """Return the key path and the sentence of the finding in *error* that explains most."""
    findings = [_finding(dict(e), model, data, tuple(also_known)) for e in error.errors(include_url=False)]
    chosen = min(_one_branch_each(findings), key=lambda f: f.kind != "extra_forbidden")
    return chosen.path, chosen.message


def _finding(
    error: dict[str, Any], model: type[BaseModel], data: Any, also_known: tuple[str, ...]
) -> _Finding:
    kind, loc = str(error["type"]), tuple(error["loc"])
    here, path, branch = data, [], None
    for end, part in enumerate(loc):
        if _holds(here, part):
            here = here[part]
            path.append(part)
        elif kind == "missing" and end == len(loc) - 1:
            path += [part] if isinstance(part, str) else []
        elif isinstance(part, str) and branch is None and part != "[key]":
            branch = (len(path), part)  # a union's branch, not a key
    inner = (error.get("ctx") or {}).get("error")
    if isinstance(inner, KeyedError):
        path += inner.path
    if kind == "extra_forbidden":
        message = _unknown_key(str(loc[-1]), (*_keys_at(model, loc[:-1]), *also_known))
    elif kind == "missing" and isinstance(loc[-1], int):
        message = f"needs at least {loc[-1] + 1} items"
    elif kind == "missing":
        others = [k for k in here if k not in _keys_at(model, loc[:-1])] if isinstance(here, Mapping) else []
        near = nearest(str(loc[-1]), others)
        message = "is missing" + (near and near.replace("did you mean", "is it misspelt as"))
    else:
        message = _sentence(kind, error)
    return _Finding(kind, tuple(path), message, branch)


def _holds(container: Any, part: str | int) -> bool:
    if isinstance(container, Mapping):
        return part in container
    return isinstance(container, list | tuple) and isinstance(part, int) and part < len(container)


def _one_branch_each(findings: Sequence[_Finding]) -> list[_Finding]:
    """Keep, of each union, the branch that came furthest; join the sentences if none got anywhere."""
    kept = [f for f in findings if f.branch is None]
    unions: dict[KeyPath, dict[str, list[_Finding]]] = {}
    for finding in findings:
        if finding.branch is not None:
            depth, name = finding.branch
            unions.setdefault(finding.path[:depth], {}).setdefault(name, []).append(finding)
    for at, branches in unions.items():
        best = min(branches.values(), key=lambda fs: (-max(len(f.path) for f in fs), len(fs)))
        if max(len(f.path) for f in best) > len(at) or len(branches) == 1:
            kept += best
        else:
            sentences = list(dict.fromkeys(f.message for fs in branches.values() for f in fs))
            kept.append(_Finding("union", at, _joined(sentences), None))
    return kept


def _joined(sentences: Sequence[str]) -> str:
    """Join the branches' sentences: ``must be a, b or c, not x`` where all have that form."""
    if len(sentences) == 1:
        return sentences[0]
    parts = [s.removeprefix("must be ").rpartition(", not ") for s in sentences]
    if all(s.startswith("must be ") for s in sentences) and len({p[2] for p in parts}) == 1 and parts[0][1]:
        *first, last = [p[0] for p in parts]
        return f"must be {', '.join(first)} or {last}, not {parts[0][2]}"
    return ", or ".join(sentences)


def _unknown_key(key: str, known: Sequence[str]) -> str:
    hint = nearest(key, known)
    if not hint and known:
        names = sorted(set(known))
        hint = "; known here: " + ", ".join(names[:14]) + (", …" if len(names) > 14 else "")
    return f"unknown key{hint}"


def _keys_at(model: type[BaseModel], loc: Iterable[Any]) -> list[str]:
    """Return the keys that the model or models at *loc* have."""
    candidates = _models_in(model)
    for part in loc:
        inside: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                inside += [f.annotation for n, f in candidate.model_fields.items() if part in (n, f.alias)]
            elif get_origin(candidate) in (dict, Mapping):
                inside.append(get_args(candidate)[1])
            elif isinstance(part, int):
                inside += [a for a in get_args(candidate) if a is not Ellipsis]
        named = [c for c in candidates if getattr(c, "__name__", None) == part]
        if inside or named:
            candidates = [m for t in (inside or named) for m in _models_in(t)]
    return [
        f.alias or name
        for c in candidates
        if isinstance(c, type) and issubclass(c, BaseModel)
        for name, f in c.model_fields.items()
    ]


def _models_in(annotation: Any) -> list[Any]:
    """Return the alternatives of *annotation*, without Annotated, Optional and Union around them."""
    if get_origin(annotation) is Annotated:
        return _models_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [m for a in get_args(annotation) for m in _models_in(a)]
    return [annotation]


def _choice(error: dict[str, Any]) -> str:
    text = str(error["ctx"].get("expected", error["ctx"].get("expected_tags", "")))
    names = [n.strip(" '\"") for n in text.replace(" or ", ", ").split(",")]
    value = error["ctx"].get("tag", error["input"])
    return f"{shown(value)} is not one of {', '.join(names)}{nearest(str(value), names)}"


def _limit(words: str, name: str) -> Callable[[dict[str, Any]], str]:
    return lambda error: f"must be {words} {error['ctx'][name]:g}, not {shown(error['input'])}"


def _must_be(words: str) -> Callable[[dict[str, Any]], str]:
    return lambda error: f"must be {words}, not {shown(error['input'])}"


_MAPPING, _LIST, _WHOLE = _must_be("a mapping of keys"), _must_be("a list"), _must_be("a whole number")
_BOOL, _NUMBER = _must_be("true or false"), _must_be("a number")
_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "literal_error": _choice,
    "enum": _choice,
    "union_tag_invalid": _choice,
    "union_tag_not_found": lambda e: f"needs the key {e['ctx']['discriminator']}, which says what it is",
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _must_be("a finite number"),
    "string_type": lambda e: (
        f"must be text, not {shown(e['input'])}"
        + ("; put it in quotes" if isinstance(e["input"], int | float) else "")
    ),
    "string_pattern_mismatch": lambda e: f"{shown(e['input'])} does not have the form {e['ctx']['pattern']}",
    "string_too_short": lambda e: "must not be empty",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "too_short": lambda e: (
        "must not be empty"
        if e["ctx"]["min_length"] == 1
        else f"needs at least {e['ctx']['min_length']} entries"
    ),
    "too_long": lambda e: f"takes at most {e['ctx']['max_length']} items, not {e['ctx']['actual_length']}",
    "greater_than": _limit("greater than", "gt"),
    "greater_than_equal": _limit("at least", "ge"),
    "less_than": _limit("less than", "lt"),
    "less_than_equal": _limit("at most", "le"),
    "multiple_of": _limit("a multiple of", "multiple_of"),
}


def _sentence(kind: str, error: dict[str, Any]) -> str:
    if kind in _SENTENCES:
        return _SENTENCES[kind](error)
    if kind in ("value_error", "assertion_error"):
        return str(error["ctx"]["error"])
    message = str(error["msg"])
    return f"{message[:1].lower()}{message[1:]}, not {shown(error['input'])}"
