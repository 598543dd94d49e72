"""The agents that belong to no paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.common.fixed import constant, no_op
from agents.common.random import Random, allowed_choice
from cosim.errors import AgentError
from cosim.lockstep import LEAVE_IT, ActionSpec, EpisodeInfo, Observations, RoleSpec, create_agent


def episode(task: str = "driving", seed: int = 0, **actions: ActionSpec) -> EpisodeInfo:
    """An episode with the given roles, or driving's one role."""
    specs = actions or {"cav": ActionSpec(n=9, leave_it=True)}
    roles = {name: RoleSpec(name, 4, spec) for name, spec in specs.items()}
    return EpisodeInfo("test", task, seed, 0, 100_000, roles)


def question(n: int, left: int = 0) -> Observations:
    """``n`` vehicles that are asked and ``left`` that are reported for the last time."""
    rng = np.random.default_rng(n)
    rows = n + left
    return Observations(
        t_us=100_000,
        role="cav",
        ids=tuple(f"v{i}" for i in range(rows)),
        obs=rng.random((rows, 4), dtype=np.float32),
        mask=rng.random((rows, 9)) < 0.7,
        shared={},
        reward=np.zeros(rows),
        terminated=np.arange(rows) >= n,
        truncated=np.zeros(rows, dtype=bool),
        active=n,
    )


def test_human_leaves_every_vehicle_to_sumo() -> None:
    human = create_agent("common.human")
    human.reset(episode())
    assert human.act(question(4, left=2)).values.tolist() == [LEAVE_IT] * 4


def test_keep_lane_changes_nothing() -> None:
    keep = create_agent("common.keep_lane")
    keep.reset(episode())
    assert keep.act(question(3)).values.tolist() == [4, 4, 4]
    keep.reset(episode(cav=ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0))))
    assert keep.act(question(2)).values.tolist() == [[0, 0], [0, 0]]


def test_the_no_op_is_the_tasks_own() -> None:
    info = episode("pricing", rsu=ActionSpec(n=3), vehicle=ActionSpec(n=4, leave_it=True))
    assert no_op(info, "vehicle") == LEAVE_IT
    assert no_op(replace(info, options={"no_op": {"rsu": 2}}), "rsu") == 2
    with pytest.raises(AgentError, match="names no action of role 'rsu'"):
        no_op(info, "rsu")


def test_a_constant_stays_within_bounds() -> None:
    spec = ActionSpec(n=3, low=(1.0, -1.0, -5.0), high=(4.0, 1.0, -2.0))
    assert constant(spec, 2, 1).tolist() == [[1, 1, 0, -2]] * 2


def drawn(asked: Observations, seed: int = 0, spec: ActionSpec | None = None) -> dict[str, list[float]]:
    agent = Random()
    agent.reset(episode(seed=seed, cav=spec or ActionSpec(n=9)))
    values = agent.act(asked).values
    return dict(zip(asked.ids, values.tolist(), strict=False))


def test_a_random_draw_depends_on_seed_instant_and_entity_only() -> None:
    whole = question(30)
    some = np.arange(29, 3, -2)
    part = replace(
        whole,
        ids=tuple(whole.ids[i] for i in some),
        obs=whole.obs[some] * 2,
        mask=None if whole.mask is None else whole.mask[some],
        active=len(some),
    )
    everyone, few = drawn(whole), drawn(part)
    assert few == {name: everyone[name] for name in few}
    assert drawn(whole) == everyone
    assert drawn(whole, seed=1) != everyone
    assert drawn(replace(whole, t_us=200_000)) != everyone


def test_random_draws_every_allowed_choice_alike_and_no_other() -> None:
    counts = np.zeros(9)
    mask = np.tile(np.arange(9) % 3 != 1, (2000, 1))
    asked = replace(question(2000), mask=mask)
    for choice in drawn(asked).values():
        counts[int(choice)] += 1  # type: ignore[call-overload]
    assert (counts[1::3] == 0).all()
    expected = 2000 / 6
    chi2 = ((counts[mask[0]] - expected) ** 2 / expected).sum()
    assert chi2 < 20.5  # 0.1 % point of chi-square with 5 degrees of freedom


def test_random_values_fill_their_bounds_independently() -> None:
    spec = ActionSpec(n=2, low=(-1.0, 5.0), high=(1.0, 6.0))
    asked = replace(question(3000), mask=None)
    values = np.array(list(drawn(asked, spec=spec).values()))
    assert set(values[:, 0]) == {0, 1}
    assert np.abs(values[:, 1:].mean(axis=0) - [0.0, 5.5]).max() < 0.04
    assert (np.abs(values[:, 1]) < 1).all()
    assert (np.abs(values[:, 2] - 5.5) < 0.5).all()
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.06


def test_random_refuses_values_without_bounds() -> None:
    with pytest.raises(AgentError, match="values without bounds"):
        Random().reset(episode(cav=ActionSpec(low=(0.0,), high=(np.inf,))))


def test_the_choice_walks_through_the_allowed_ones_in_order() -> None:
    mask = np.array([[False, True, True, False, True]] * 4 + [[False] * 5])
    u = np.array([0.01, 0.34, 0.67, 0.999999, 0.5])
    assert allowed_choice(mask, u).tolist() == [1, 2, 4, 4, 0]
