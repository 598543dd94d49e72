"""Questions and answers packed into windows, against a plain search by id."""

from __future__ import annotations

import socket
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.errors import AgentError
from cosim.experiments.windows import make_window, pack_windows, unpack_windows
from cosim.lockstep import Actions, ActionSpec, EpisodeInfo, Observations, RoleSpec
from cosim.lockstep.learner import Window
from cosim.lockstep.wire import Channel
from cosim.randomness import entity_key
from cosim.testing.agents import driving_shared, questions

ROLES = (
    RoleSpec("cav", 4, ActionSpec(n=9)),
    RoleSpec("rsu", 2, ActionSpec(low=(0.0, 0.0), high=(1.0, 1.0))),
    RoleSpec("both", 3, ActionSpec(n=4, low=(0.0,), high=(1.0,))),
)
INFO = EpisodeInfo("test", "driving", 7, 3, 100_000, {role.name: role for role in ROLES}, {})


def collected(seed: int, role: RoleSpec, steps: int = 12) -> tuple[list[Observations], list[Actions], Window]:
    """Questions about entities that come and go, random answers with notes, and the window of both."""
    rng = np.random.default_rng(seed)
    asked = [o for o in questions(ROLES, steps + 1, seed, driving_shared) if o.role == role.name]
    answered = [
        Actions(
            rng.integers(0, 4, role.action.shape(o.active)).astype(role.action.dtype),
            {"value": rng.normal(size=(o.active, 2))},
        )
        for o in asked[:-1]
    ]
    return asked, answered, make_window(1, INFO, asked, answered)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), role=st.sampled_from(ROLES))
def test_each_decision_leads_to_the_next_sight_of_its_entity(seed: int, role: RoleSpec) -> None:
    asked, answered, window = collected(seed, role)
    assert window.steps == 12
    assert len(window) == sum(len(o) for o in asked)
    found = 0
    for t, (o, after) in enumerate(pairwise(asked)):
        for i in range(o.active):
            row = window.first[t] + i
            j = after.ids.index(o.ids[i])  # all who left are reported once more
            following = window.next[row]
            assert following == window.first[t + 1] + j
            assert window.key[row] == window.key[following] == entity_key(o.ids[i])
            assert (window.obs[row] == o.obs[i]).all()
            assert (window.obs[following] == after.obs[j]).all()
            assert (window.values[row] == answered[t].values[i]).all()
            assert (window.notes["value"][row] == answered[t].notes["value"][i]).all()
            assert window.reward[row] == after.reward[j]
            assert window.terminated[row] == after.terminated[j]
            assert window.truncated[row] == after.truncated[j]
            found += 1
    assert window.decided.sum() == found
    assert (window.next[~window.decided] == -1).all()
    assert not window.reward[~window.decided].any()
    assert not window.values[~window.decided].any()
    assert (window.mask is None) == (role.name == "rsu")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_shared_arrays_keep_their_instants(seed: int) -> None:
    asked, _, window = collected(seed, ROLES[0])
    for t, o in enumerate(asked):
        assert window.t_us[t] == o.t_us
        for name, array in o.shared.items():
            np.testing.assert_array_equal(window.shared[name].at(t), array)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_an_entity_keeps_its_slot_and_shares_it_with_nobody(seed: int) -> None:
    asked, _, window = collected(seed, ROLES[0], steps=30)
    slot = window.slots(40)
    assert ((slot >= 0) == window.active).all()
    instant = window.instants()
    before: dict[str, int] = {}
    for t, o in enumerate(asked):
        here = slot[(instant == t) & window.active].tolist()
        assert len(set(here)) == len(here)
        now = dict(zip(o.ids[: o.active], here, strict=True))
        assert all(before[name] == at for name, at in now.items() if name in before)
        newcomers = sorted(at for name, at in now.items() if name not in before)
        free = sorted(set(range(40)) - {at for name, at in now.items() if name in before})
        assert newcomers == free[: len(newcomers)]
        before = now


def test_more_entities_than_slots_is_an_error() -> None:
    _, _, window = collected(1, ROLES[0], steps=30)
    most = int(np.bincount(window.instants()[window.active]).max())
    window.slots(most)
    with pytest.raises(AgentError, match=f"more than {most - 1} slots"):
        window.slots(most - 1)


def test_rows_by_instant_and_slot_hold_what_the_rows_hold() -> None:
    _, _, window = collected(5, ROLES[0])
    slot = window.slots(30)
    obs, alive = window.dense(window.obs, slot, 30), window.dense(window.active, slot, 30)
    assert obs.shape == (13, 30, 4)
    assert alive.sum() == window.active.sum()
    assert not obs[~alive].any()
    instant = window.instants()
    for row in np.flatnonzero(window.active):
        assert (obs[instant[row], slot[row]] == window.obs[row]).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_windows_arrive_over_a_socket_as_they_were_sent(seed: int) -> None:
    sent = [collected(seed + k, role)[2] for k, role in enumerate(ROLES)]
    here, there = socket.socketpair()
    one, two = Channel(here), Channel(there)
    try:
        headers, arrays = pack_windows(sent)
        one.send({"windows": headers}, arrays)
        header, received = two.receive()
        got = unpack_windows(1, INFO, header["windows"], received)
    finally:
        one.close()
        two.close()
    for a, b in zip(sent, got, strict=True):
        assert (a.worker, a.role, a.info) == (b.worker, b.role, b.info)
        for name in (
            "t_us",
            "first",
            "key",
            "active",
            "obs",
            "values",
            "reward",
            "next",
            "terminated",
            "truncated",
        ):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert getattr(a, name).dtype == getattr(b, name).dtype
        assert (a.mask is None) == (b.mask is None)
        assert a.shared.keys() == b.shared.keys()
        for name, ragged in a.shared.items():
            np.testing.assert_array_equal(ragged.values, b.shared[name].values)
            np.testing.assert_array_equal(ragged.first, b.shared[name].first)
        np.testing.assert_array_equal(a.notes["value"], b.notes["value"])


def test_a_window_in_which_nobody_was_there_is_empty() -> None:
    role = ROLES[0]
    empty = questions((role,), 3, 0, driving_shared)[0]
    assert not len(empty)
    window = make_window(0, INFO, [empty, empty], [Actions(np.zeros(0, np.int64))])
    assert len(window) == 0
    assert window.steps == 1
    assert window.dense(window.obs, window.slots(3), 3).shape == (2, 3, 4)
