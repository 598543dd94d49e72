"""Decisions cut into single transitions, against a plain search by id."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from lockstep_questions import episode

from cosim.lockstep import Actions, Decision, Observations, RoleSpec, Transitions, rows
from cosim.lockstep.learner import matched
from cosim.lockstep.protocol import ActionSpec
from cosim.testing.agents import questions

ROLES = (RoleSpec("cav", 4, ActionSpec(n=9)), RoleSpec("rsu", 2, ActionSpec(low=(0.0, 0.0), high=(1.0, 1.0))))


def collected(seed: int, steps: int = 12) -> Transitions:
    rng = np.random.default_rng(seed)
    asked = questions(ROLES, steps, seed, lambda _: {})
    specs = {role.name: role.action for role in ROLES}
    decisions = [
        Decision(o, None if o.truncated.any() else Actions(rng.random(specs[o.role].shape(o.active))))
        for o in asked
    ]
    return Transitions(0, episode(), tuple(decisions))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_each_row_pairs_a_decision_with_the_next_sight_of_its_entity(seed: int) -> None:
    transitions = collected(seed)
    for role in ("cav", "rsu"):
        got = rows(transitions, role)
        expected = []
        mine: list[tuple[Observations, Actions | None]] = [
            (d.observations, d.actions) for d in transitions.decisions if d.observations.role == role
        ]
        for (o, a), (after, _) in pairwise(mine):
            if a is None:
                continue
            for i in range(o.active):
                if o.ids[i] in after.ids:
                    j = after.ids.index(o.ids[i])
                    expected.append((o.t_us, o.ids[i], o.obs[i], a.values[i], after, j))
        if got is None:
            assert not expected
            continue
        assert len(got.ids) == len(expected)
        for k, (t_us, name, obs, value, after, j) in enumerate(expected):
            assert (got.t_us[k], got.ids[k]) == (t_us, name)
            assert (got.obs[k] == obs).all()
            assert (got.values[k] == value).all()
            assert got.reward[k] == after.reward[j]
            assert (got.next_obs[k] == after.obs[j]).all()
            assert got.terminated[k] == after.terminated[j]
            assert got.truncated[k] == after.truncated[j]
        assert (got.mask is None) == (role == "rsu")


def test_nobody_is_lost_when_all_who_left_are_reported() -> None:
    transitions = collected(3)
    for role in ("cav", "rsu"):
        got = rows(transitions, role)
        assert got is not None
        asked = sum(d.observations.active for d in transitions.of(role) if d.actions is not None)
        assert len(got.ids) == asked


@given(st.lists(st.text("ab", max_size=3), unique=True), st.lists(st.text("ab", max_size=3), unique=True))
def test_ids_are_matched_in_the_order_of_the_first(first: list[str], second: list[str]) -> None:
    here, there = matched(first, second)
    pairs = [(i, second.index(name)) for i, name in enumerate(first) if name in second]
    assert list(zip(here.tolist(), there.tolist(), strict=True)) == pairs
