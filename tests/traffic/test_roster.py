"""Who is on the road: rows in key order, slots that vehicles keep."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.traffic.roster import Roster
from cosim.traffic.state import entity_key


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_rows_lie_in_key_order_and_slots_stay_whoever_comes_and_goes(moves: list[tuple[bool, int]]) -> None:
    roster, slot_of = Roster(), dict[str, int]()
    for comes, number in moves:
        name = f"v{number}"
        if comes and name not in roster:
            free = next(k for k in range(99) if k not in slot_of.values())
            roster.enter(name, number % 3)
            slot_of[name] = free  # the smallest free one
        elif not comes:
            assert roster.leave(name) == (slot_of.pop(name, None) is not None)
    roster.settle()
    expected = sorted(slot_of, key=entity_key)
    assert list(roster.ids) == expected
    assert roster.key.tolist() == [entity_key(name) for name in expected]
    assert roster.slot.tolist() == [slot_of[name] for name in expected]
    assert roster.type.tolist() == [int(name[1:]) % 3 for name in expected]
    assert roster.slots > roster.slot.max(initial=-1)


def test_arrays_are_those_of_the_last_settling_and_cannot_be_written() -> None:
    roster = Roster()
    roster.enter("a", 0)
    assert roster.ids == ()
    roster.settle()
    before = roster.slot
    roster.leave("a")
    assert "a" not in roster
    assert roster.ids == ("a",)
    np.testing.assert_array_equal(before, [0])
    assert not before.flags.writeable
