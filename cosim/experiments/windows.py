"""From questions and answers to learning windows, and windows as frames between processes.

Reads the observations and actions of one role in order; gives :class:`~cosim.lockstep.learner.Window`.  Rows are
matched over time by entity key with one sort a window; nothing is done row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import AgentError
from cosim.lockstep.learner import Ragged, Window
from cosim.lockstep.protocol import Actions, ActionSpec, EpisodeInfo, Observations
from cosim.lockstep.wire import Array
from cosim.randomness import entity_keys

_ARRAYS = (
    *("t_us", "first", "key", "active", "obs", "values", "reward", "next"),
    *("terminated", "truncated"),
)


def make_window(
    worker: int, info: EpisodeInfo, asked: Sequence[Observations], answered: Sequence[Actions]
) -> Window:
    """Return the window of T + 1 questions of one role, of which the first T were answered."""
    role = asked[0].role
    sizes = np.array([len(o) for o in asked])
    first = _offsets(sizes)
    instant = np.repeat(np.arange(len(asked)), sizes)
    row_in_instant = np.arange(first[-1]) - first[instant]
    active = row_in_instant < np.array([o.active for o in asked])[instant]
    decided = active.copy()
    decided[first[-2] :] = False
    key = entity_keys([name for o in asked for name in o.ids])
    following = _next_rows(key, instant, decided)
    seen = following >= 0
    masks = [o.mask for o in asked if o.mask is not None]
    return Window(
        worker=worker,
        info=info,
        role=role,
        t_us=np.array([o.t_us for o in asked], dtype=np.int64),
        first=first,
        key=key,
        active=active,
        obs=np.concatenate([o.obs for o in asked]),
        mask=np.concatenate(masks) if len(masks) == len(asked) else None,
        values=_decided_values(info.roles[role].action, answered, decided),
        reward=_after(np.concatenate([o.reward for o in asked]), following, seen),
        next=following,
        terminated=_after(np.concatenate([o.terminated for o in asked]), following, seen),
        truncated=_after(np.concatenate([o.truncated for o in asked]), following, seen),
        shared={name: _ragged([np.atleast_1d(o.shared[name]) for o in asked]) for name in asked[0].shared},
        notes=_notes(answered, decided, role),
    )


def _offsets(sizes: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    first = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=first[1:])
    return first


def _next_rows(
    key: NDArray[np.uint64], instant: NDArray[np.int64], decided: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return (M,) where each deciding entity is seen one instant later, -1 if it is not."""
    following = np.full(len(key), -1, dtype=np.int64)
    order = np.lexsort((instant, key))
    here, there = order[:-1], order[1:]
    same = (key[here] == key[there]) & (instant[there] == instant[here] + 1) & decided[here]
    following[here[same]] = there[same]
    return following


def _after(reported: NDArray[Any], following: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[Any]:
    """Move what was reported one instant later to the decision that it belongs to."""
    out = np.zeros_like(reported)
    out[seen] = reported[following[seen]]
    return out


def _decided_values(
    spec: ActionSpec, answered: Sequence[Actions], decided: NDArray[np.bool_]
) -> NDArray[Any]:
    values = np.zeros(spec.shape(len(decided)), dtype=spec.dtype)
    values[decided] = np.concatenate([a.values for a in answered])
    return values


def _notes(answered: Sequence[Actions], decided: NDArray[np.bool_], role: str) -> dict[str, NDArray[Any]]:
    noted = [a for a in answered if len(a.values)]
    names = set(noted[0].notes) if noted else set()
    if any(set(a.notes) != names for a in noted):
        raise AgentError(f"role '{role}': an actor's notes must have the same names in every answer")
    notes = {}
    for name in sorted(names):
        given = np.concatenate([np.asarray(a.notes[name]) for a in noted])
        notes[name] = np.zeros((len(decided), *given.shape[1:]), dtype=given.dtype)
        notes[name][decided] = given
    return notes


def _ragged(arrays: Sequence[NDArray[Any]]) -> Ragged:
    return Ragged(np.concatenate(arrays), _offsets([len(a) for a in arrays]))


# -- over the wire --------------------------------------------------------------------------------------------


def pack_windows(windows: Sequence[Window]) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """Return headers (one a window) and arrays of *windows*; what all share (EpisodeInfo) is not among them."""
    headers, arrays = [], {}
    for i, window in enumerate(windows):
        headers.append({"role": window.role, "episode": window.info.episode, "seed": window.info.seed})
        for name in _ARRAYS:
            arrays[f"{i}.{name}"] = getattr(window, name)
        if window.mask is not None:
            arrays[f"{i}.mask"] = window.mask
        for name, ragged in window.shared.items():
            arrays[f"{i}.shared.{name}"] = ragged.values
            arrays[f"{i}.offsets.{name}"] = ragged.first
        for name, note in window.notes.items():
            arrays[f"{i}.notes.{name}"] = note
    return headers, arrays


def unpack_windows(
    worker: int, info: EpisodeInfo, headers: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array]
) -> list[Window]:
    """Return the windows that :func:`pack_windows` packed; *info* is that of the task, episode and seed aside."""
    of: list[dict[str, NDArray[Any]]] = [{} for _ in headers]
    for name, array in arrays.items():
        number, _, rest = name.partition(".")
        of[int(number)][rest] = np.asarray(array)
    return [_unpacked(worker, info, header, parts) for header, parts in zip(headers, of, strict=True)]


def _unpacked(
    worker: int, info: EpisodeInfo, header: Mapping[str, Any], parts: Mapping[str, NDArray[Any]]
) -> Window:
    def under(prefix: str) -> dict[str, NDArray[Any]]:
        return {name.removeprefix(prefix): a for name, a in parts.items() if name.startswith(prefix)}

    offsets = under("offsets.")
    return Window(
        worker=worker,
        info=replace(info, seed=header["seed"], episode=header["episode"]),
        role=header["role"],
        mask=parts.get("mask"),
        shared={name: Ragged(values, offsets[name]) for name, values in under("shared.").items()},
        notes=under("notes."),
        **{name: parts[name] for name in _ARRAYS},
    )
