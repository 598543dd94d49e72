"""Tracks hold the numbers of the traffic state, checked against SUMO's own output and against the state itself."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bridge import PRECISE, config

from cosim.clock import US
from cosim.errors import ScenarioError
from cosim.traffic.demand import group_ids
from cosim.traffic.nets import find_net
from cosim.traffic.sumo import Traffic, TrafficEvent
from cosim.traffic.tracks import Tracks, follow

TYPES = {"avatar": {"like": "passenger", "cav": True}, "passenger": {}}
LAPS = {
    "name": "a",
    "route": "circuit_east",
    "type": "avatar",
    "count": 3,
    "depart": {"each": {"uniform": [0, 6]}},
}
OUT = {"name": "b", "route": ["west_0"], "type": "avatar", "depart_pos": 780}
OTHERS = {"name": "o", "route": "west", "type": "passenger", "count": 5}
ROAD: dict[str, Any] = {"net": "urban_rsu", "step": 1, "types": TYPES, "vehicles": [LAPS, OUT, OTHERS]}
FIELDS = ("xy", "z", "angle", "speed", "accel", "s", "edge", "lane", "type")


def recorded(
    seed: int = 3, *, work: Path | None = None, alone: bool = False, **more: Any
) -> tuple[Tracks, list[TrafficEvent]]:
    """Forty seconds of the vehicles of groups a and b, whole states every 4 s."""
    section = config(**{**ROAD, **more})
    ids = [name for group in section.vehicles[:2] for name in group_ids(group)]
    only = ids if alone else None
    with Traffic(section, find_net("urban_rsu"), seed, work=work, only=only) as traffic:
        return follow(traffic, ids, end_us=40 * US, period_us=4 * US, scenario="road", seed=seed)


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return recorded()[0]


def test_a_state_of_the_tracks_is_the_state_of_the_traffic_to_the_bit(tracks: Tracks) -> None:
    with Traffic(config(**ROAD), find_net("urban_rsu"), 3) as traffic:
        for k in range(1, 11):
            for _ in range(4):
                state = traffic.step()
            ours = tracks.state(k)
            rows = [state.row(name) for name in ours.ids]
            assert ours.t_us == state.t_us
            assert set(ours.ids) == {name for name in state.ids if name[0] in "ab"}
            assert (np.diff(ours.key) > 0).all()
            for name in FIELDS:
                np.testing.assert_array_equal(getattr(ours, name), getattr(state, name)[rows])
            assert ours.edges == state.edges
            assert ours.types == state.types


def test_positions_are_those_that_sumo_writes_itself(tmp_path: Path) -> None:
    tracks, _ = recorded(work=tmp_path, outputs={"fcd": True}, sumo=PRECISE)
    found = 0
    for frame in ET.parse(tmp_path / "fcd.xml").getroot():
        k = (
            round(float(frame.get("time", "nan"))) + 1
        )  # the frame of t shows the road after the step that begins at t
        for vehicle in frame:
            if vehicle.get("id") in tracks.ids and k <= 40:
                at = tracks.positions(1.0)[k, tracks.ids.index(vehicle.get("id", ""))]
                np.testing.assert_allclose(
                    at, [float(vehicle.get("x", 0)), float(vehicle.get("y", 0))], atol=1e-8
                )
                found += 1
    assert found == np.count_nonzero(~np.isnan(tracks.step_xy[..., 0])) > 80


def test_positions_of_a_longer_period_are_every_nth_of_the_steps(tracks: Tracks) -> None:
    every_step = tracks.positions(1.0)
    assert every_step.shape == (41, 4, 2)
    np.testing.assert_array_equal(tracks.positions(10.0), every_step[[0, 10, 20, 30, 40]])
    np.testing.assert_array_equal(tracks.positions(4.0), tracks.xy)
    for wrong in (0.0, 1.5, -2.0):
        with pytest.raises(ScenarioError, match="whole multiple of the traffic step, 1 s"):
            tracks.positions(wrong)


def test_reading_the_agent_vehicles_alone_changes_nothing_of_them(tracks: Tracks) -> None:
    alone, events = recorded(alone=True)
    for name in ("step_xy", *FIELDS):
        np.testing.assert_array_equal(getattr(alone, name), getattr(tracks, name))
    assert events == recorded()[1]


def test_a_vehicle_that_is_not_on_the_road_has_no_numbers(tracks: Tracks) -> None:
    gone = tracks.ids.index("b.000000")
    assert tracks.present[:, gone].tolist() == [False, True] + [False] * 9
    assert np.isnan(tracks.xy[2:, gone]).all()
    assert np.isnan(tracks.speed[2:, gone]).all()
    assert (tracks.edge[2:, gone] == -1).all()
    assert "b.000000" not in tracks.state(5).ids
    assert len(tracks.state(0)) == 0


def test_events_of_other_vehicles_are_left_out() -> None:
    _, events = recorded()
    assert {e.id for e in events} == {"a.000000", "a.000001", "a.000002", "b.000000"}
    assert [(e.kind, e.id) for e in events if e.kind == "arrival"] == [("arrival", "b.000000")]


def test_equal_traffic_gives_equal_tracks_and_another_seed_others(tracks: Tracks) -> None:
    again, other = recorded()[0], recorded(seed=4)[0]
    for name in ("step_xy", *FIELDS):
        np.testing.assert_array_equal(getattr(again, name), getattr(tracks, name))
    assert not np.array_equal(other.step_xy, tracks.step_xy, equal_nan=True)
