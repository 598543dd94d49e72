"""The messages between engine and agent process, as frames: what each header holds and which arrays follow.

One function packs and one unpacks each thing that flows (episode, observations, actions).  Unpacking trusts
nothing: a field that is missing or of the wrong kind is a :class:`WireError`.  ``docs/wire.md`` says the same
in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cosim.lockstep.protocol import Actions, ActionSpec, EpisodeInfo, Observations, RoleSpec
from cosim.lockstep.wire import Array, WireError

T = TypeVar("T")

Frame = tuple[dict[str, Any], dict[str, Array]]
_SHARED = "shared."
_NOTES = "notes."


def pack_episode(info: EpisodeInfo) -> dict[str, Any]:
    """Return the header of a ``reset`` message."""
    roles = {
        role.name: {
            "obs_dim": role.obs_dim,
            "low": _finite(role.low),
            "high": _finite(role.high),
            "n": role.action.n,
            "action_low": list(role.action.low),
            "action_high": list(role.action.high),
            "leave_it": role.action.leave_it,
        }
        for role in info.roles.values()
    }
    return {
        "type": "reset",
        "scenario": info.scenario,
        "task": info.task,
        "seed": info.seed,
        "episode": info.episode,
        "period_us": info.period_us,
        "roles": roles,
        "options": dict(info.options),
    }


def unpack_episode(header: Mapping[str, Any]) -> EpisodeInfo:
    """Return the episode that a ``reset`` message describes."""
    roles = {}
    for name, role in need(header, "roles", dict).items():
        action = ActionSpec(
            n=need(role, "n", int),
            low=tuple(map(float, need(role, "action_low", list))),
            high=tuple(map(float, need(role, "action_high", list))),
            leave_it=need(role, "leave_it", bool),
        )
        low, high = role.get("low"), role.get("high")
        roles[name] = RoleSpec(
            name,
            need(role, "obs_dim", int),
            action,
            -math.inf if low is None else float(low),
            math.inf if high is None else float(high),
        )
    return EpisodeInfo(
        scenario=need(header, "scenario", str),
        task=need(header, "task", str),
        seed=need(header, "seed", int),
        episode=need(header, "episode", int),
        period_us=need(header, "period_us", int),
        roles=roles,
        options=need(header, "options", dict),
    )


def pack_observations(observations: Observations) -> Frame:
    """Return the ``act`` message that asks for an answer to *observations*."""
    o = observations
    header = {"type": "act", "t_us": o.t_us, "role": o.role, "active": o.active}
    arrays: dict[str, Array] = {
        "ids": o.ids,
        "obs": o.obs,
        "reward": o.reward,
        "terminated": o.terminated,
        "truncated": o.truncated,
    }
    if o.mask is not None:
        arrays["mask"] = o.mask
    for name, array in o.shared.items():
        arrays[_SHARED + name] = array
    return header, arrays


def unpack_observations(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> Observations:
    """Return the observations of an ``act`` message."""
    ids = arrays.get("ids", ())
    if not isinstance(ids, tuple):
        raise WireError("array 'ids' must hold strings")
    shared = {
        name.removeprefix(_SHARED): _strings(array) if isinstance(array, tuple) else array
        for name, array in arrays.items()
        if name.startswith(_SHARED)
    }
    return Observations(
        t_us=need(header, "t_us", int),
        role=need(header, "role", str),
        ids=ids,
        obs=_numbers(arrays, "obs"),
        mask=_numbers(arrays, "mask") if "mask" in arrays else None,
        shared=shared,
        reward=_numbers(arrays, "reward"),
        terminated=_numbers(arrays, "terminated"),
        truncated=_numbers(arrays, "truncated"),
        active=need(header, "active", int),
    )


def pack_actions(actions: Actions, asked: Observations) -> Frame:
    """Return the ``actions`` message that answers *asked*."""
    arrays: dict[str, Array] = {"values": np.asarray(actions.values)}
    for name, array in actions.notes.items():
        arrays[_NOTES + name] = np.asarray(array)
    return {"type": "actions", "t_us": asked.t_us, "role": asked.role}, arrays


def unpack_actions(header: Mapping[str, Any], arrays: Mapping[str, Array], asked: Observations) -> Actions:
    """Return the actions of an ``actions`` message.

    WireError if it answers another instant, role or (where the message has ``ids``) other entities than
    *asked*.  Shape and values are for :func:`~cosim.lockstep.protocol.check_actions` to judge.
    """
    if (t_us := need(header, "t_us", int)) != asked.t_us:
        raise WireError(f"an answer for t_us {t_us} when asked at {asked.t_us}")
    if (role := need(header, "role", str)) != asked.role:
        raise WireError(f"an answer for role '{role}' when asked for '{asked.role}'")
    ids = arrays.get("ids")
    if ids is not None and ids != asked.ids[: asked.active]:
        raise WireError(f"an answer for {_some(ids)} when asked for {_some(asked.ids[: asked.active])}")
    notes = {
        name.removeprefix(_NOTES): _strings(array) if isinstance(array, tuple) else array
        for name, array in arrays.items()
        if name.startswith(_NOTES)
    }
    return Actions(_numbers(arrays, "values"), notes)


def need(header: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Return a field of a header; WireError if it is missing or of another kind."""
    value = header.get(key) if isinstance(header, Mapping) else None
    if type(value) is not kind:
        raise WireError(f"a message without '{key}' ({kind.__name__}): {str(dict(header))[:200]}")
    return value


def _numbers(arrays: Mapping[str, Array], name: str) -> NDArray[Any]:
    array = arrays.get(name)
    if not isinstance(array, np.ndarray):
        raise WireError(f"a message without the array '{name}'")
    return array


@lru_cache(maxsize=16)
def _strings(strings: tuple[str, ...]) -> NDArray[np.str_]:
    array = np.array(strings, dtype=np.str_)
    array.flags.writeable = False
    return array


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _some(ids: Array) -> str:
    names = [str(name) for name in ids[:4]]
    return f"{len(ids)} ids ({', '.join(names)}{' …' if len(ids) > 4 else ''})"
