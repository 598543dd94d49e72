"""Episodes and observations to ask agents with, for the tests of the lockstep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosim.lockstep import ActionSpec, EpisodeInfo, Observations, RoleSpec

MISBEHAVING = Path(__file__).parent / "misbehaving.py"


def episode(task: str = "driving", seed: int = 0, **actions: ActionSpec) -> EpisodeInfo:
    """An episode with the given roles, or driving's one role."""
    specs = actions or {"cav": ActionSpec(n=9, leave_it=True)}
    roles = {name: RoleSpec(name, 4, spec) for name, spec in specs.items()}
    return EpisodeInfo("test", task, seed, 0, 100_000, roles, {"weights": [1, 2.5], "kind": "ä"})


def question(
    n: int = 3, t_us: int = 100_000, left: int = 0, role: str = "cav", choices: int = 9
) -> Observations:
    """``n`` vehicles that are asked and ``left`` that are reported for the last time."""
    rows = n + left
    rng = np.random.default_rng(rows)
    return Observations(
        t_us=t_us,
        role=role,
        ids=tuple(f"v{i}" for i in range(rows)),
        obs=rng.random((rows, 4), dtype=np.float32),
        mask=rng.random((rows, choices)) < 0.7,
        shared={"inflow": np.arange(8.0), "zone_ids": np.array([f"z{i}" for i in range(5)])},
        reward=rng.random(rows),
        terminated=np.arange(rows) >= n,
        truncated=np.zeros(rows, dtype=bool),
        active=n,
    )
