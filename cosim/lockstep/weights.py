"""Trained policies as files: named arrays in safetensors, and a JSON text that says what made them.

A policy file stands alone: an agent finds its configuration in it, a reader the training command, scenario,
seed, git state and the hash of the learning curve.  Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import ScenarioError

_KEY = "cosim"
"""The one metadata key: safetensors writes several in an order that changes from process to process."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The arrays of a policy and what is known ``about`` it: at least ``agent``, usually ``config`` too."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


def to_bytes(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> bytes:
    """Return a safetensors file; equal content gives equal bytes."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    data: bytes = save(whole, metadata={_KEY: json.dumps(about, sort_keys=True, ensure_ascii=False)})
    return data


def read_policy(path: str | Path, agent: str | None = None) -> Policy:
    """Return the policy in a file.

    ScenarioError if the file is no policy, or was made by another agent than the one named.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            about = json.loads((file.metadata() or {}).get(_KEY, "null"))
    except (OSError, SafetensorError, ValueError) as error:
        raise ScenarioError(f"{path}: is no policy file: {' '.join(str(error).split())}") from None
    if not isinstance(about, dict) or "agent" not in about:
        raise ScenarioError(
            f"{path}: does not say which agent it belongs to; was it written by 'cosim train'?"
        )
    if agent is not None and about["agent"] != agent:
        raise ScenarioError(f"{path}: holds weights of agent '{about['agent']}', not of '{agent}'")
    return Policy(arrays, about)
