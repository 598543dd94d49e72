"""Grids: what users write, what it spans, and what they are told when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim import load_scenario
from cosim.errors import ScenarioError
from cosim.experiments import read_grid
from cosim.experiments.axes import agent_variants, axes_of_texts, parse_seeds, split_values
from cosim.experiments.grid import grid_from_data


@pytest.mark.parametrize(
    ("written", "seeds"),
    [
        ("0:10", tuple(range(10))),
        ("0:10:3", (0, 3, 6, 9)),
        ("0,3,7", (0, 3, 7)),
        ("0:3, 10", (0, 1, 2, 10)),
        ("5", (5,)),
        (5, (5,)),
        ([1, "4:6"], (1, 4, 5)),
        (range(2), (0, 1)),
    ],
)
def test_seeds_are_ranges_lists_and_numbers(written, seeds):
    assert parse_seeds(written) == seeds


@pytest.mark.parametrize(
    "written", ["", "a", "-1", "3:3", "0:10:0", "1.5", 1.5, True, "0,0", "0:3,2", str(2**63)]
)
def test_what_is_no_seed_is_refused_in_one_line(written):
    with pytest.raises(ScenarioError, match=r"^--seeds: .+") as caught:
        parse_seeds(written)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b,c", ["a", "b", "c"]),
        ("25 %, 50 %", ["25 %", "50 %"]),
        (r"a\,b,c", ["a,b", "c"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("{left: 0.5, right: 0.5}, {left: 1}", ["{left: 0.5, right: 0.5}", "{left: 1}"]),
        ("[1, 2],[3]", ["[1, 2]", "[3]"]),
        ("['a,]', b],c", ["['a,]', b]", "c"]),
        ("it's,that", ["it's", "that"]),
        ("", [""]),
    ],
)
def test_commas_split_unless_they_are_inside_something(text, values):
    assert split_values(text) == values


@given(
    st.lists(st.text(alphabet="abc 123.%", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=5)
)
def test_plain_values_joined_by_commas_come_back(values):
    assert split_values(",".join(values)) == values


def test_values_that_look_like_numbers_are_shown_as_numbers():
    (axis,) = axes_of_texts(["traffic.inflow.cav_share=0,0.5,25 %,1e-1,'3'"]).values()
    assert [s.shown for s in axis] == [0, 0.5, "25 %", 0.1, "3"]


@pytest.mark.parametrize("text", ["seed=1,2", "no-value", "=3", "duration=5 s,,6 s"])
def test_settings_that_cannot_be_an_axis_are_refused(text):
    with pytest.raises(ScenarioError, match=r"^--set "):
        axes_of_texts([text])


def test_agents_of_one_task_are_alternatives_and_those_of_two_combine():
    variants = agent_variants(["a=m.one", "a=m.two", "b=m.three:w.safetensors"])
    assert [[(s.task, s.name, s.weights) for s in v] for v in variants] == [
        [("a", "m.one", None), ("b", "m.three", "w.safetensors")],
        [("a", "m.two", None), ("b", "m.three", "w.safetensors")],
    ]
    assert agent_variants([]) == [()]


def test_a_grid_is_scenarios_times_settings_times_agents_times_seeds():
    grid = read_grid(
        ["highway_150vph", "highway_350vph"],
        seeds="0:2",
        overrides=["traffic.inflow.cav_share=25 %,100 %", "duration=5 s"],
        agents=["common.random", "common.keep_lane"],
    )
    assert grid.parameters == ("scenario", "agent", "traffic.inflow.cav_share", "duration")
    assert len(grid.groups) == 8
    assert len(grid.cells) == 16
    assert [c.seed for c in grid.cells[:3]] == [0, 1, 0]
    first, last = grid.groups[0], grid.groups[-1]
    assert dict(first.parameters) == {
        "scenario": "highway_150vph",
        "agent": "common.random",
        "traffic.inflow.cav_share": "25 %",
        "duration": "5 s",
    }
    assert first.agents == ("driving=common.random",)
    assert last.scenario.traffic.inflow[0].cav_share == 1.0
    assert last.scenario.duration == 5.0
    assert grid.name == "batch"


def test_without_seeds_and_agents_the_scenario_says_both():
    grid = read_grid("highway_350vph", overrides={"duration": ["5 s", "6 s"]})
    assert [c.seed for c in grid.cells] == [0, 0]
    assert {g.agents for g in grid.groups} == {
        ("driving=tpe_marl.tpe_qmix:tpe_marl/tpe_qmix-highway_350vph-s1",)
    }
    assert grid.name == "highway_350vph"


def test_a_loaded_scenario_gives_the_same_runs_as_its_name():
    by_name = read_grid("highway_350vph", seeds=3, overrides=["duration=5 s"])
    loaded = read_grid(load_scenario("highway_350vph"), seeds=3, overrides=["duration=5 s"])
    assert [c.name for c in by_name.cells] == [c.name for c in loaded.cells]


def test_the_name_of_a_run_does_not_depend_on_the_rest_of_the_grid():
    small = {c.name for c in read_grid("highway_350vph", seeds="0:2", overrides=["duration=5 s"]).cells}
    large = {c.name for c in read_grid("highway_350vph", seeds="0:4", overrides=["duration=4 s,5 s"]).cells}
    assert small < large
    assert len(large) == 8


def test_recording_nothing_is_another_run_that_keeps_its_events():
    full, none = (read_grid("highway_350vph", record=r) for r in ("full", "none"))
    assert full.cells[0].name != none.cells[0].name
    record = none.groups[0].scenario.record
    assert (record.steps_us, record.vehicles_us, record.links_us, record.commands) == (
        None,
        None,
        None,
        False,
    )


def test_a_grid_survives_its_file():
    grid = read_grid("highway_350vph", seeds="0:3", overrides=["traffic.inflow.cav_share=0.5,1"])
    again = grid_from_data(grid.to_data(), "grid.json")
    assert again.to_data() == grid.to_data()
    assert [c.name for c in again.cells] == [c.name for c in grid.cells]


def test_two_equal_runs_in_one_grid_are_refused():
    with pytest.raises(
        ScenarioError, match=r"two runs of the grid are the same: .*duration=60 s and .*duration=1 min"
    ):
        read_grid("highway_350vph", overrides=["duration=60 s,1 min"])
    with pytest.raises(ScenarioError, match="given twice"):
        read_grid(["highway_350vph", "highway_350vph"])


def _file(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


GOOD = """\
name: shares
scenarios: highway_350vph
seeds: 0:2
set:
  duration: 5 s
  traffic.inflow.cav_share: [25 %, 0.5, 1]
agents: [common.random, common.keep_lane]
"""


def test_a_grid_file_says_the_same_as_the_command_line(tmp_path):
    filed = read_grid(_file(tmp_path, GOOD))
    typed = read_grid(
        "highway_350vph",
        seeds="0:2",
        overrides=["duration=5 s", "traffic.inflow.cav_share=25 %,0.5,1"],
        agents=["common.random", "common.keep_lane"],
    )
    assert filed.name == "shares"
    assert [c.name for c in filed.cells] == [c.name for c in typed.cells]
    assert [dict(g.parameters) for g in filed.groups] == [dict(g.parameters) for g in typed.groups]


def test_the_command_line_replaces_what_a_grid_file_says(tmp_path):
    grid = read_grid(
        _file(tmp_path, GOOD), seeds="7", overrides=["duration=6 s"], agents=["common.rule_based"]
    )
    assert {c.seed for c in grid.cells} == {7}
    assert {g.scenario.duration for g in grid.groups} == {6.0}
    assert {g.parameters["agent"] for g in grid.groups} == {"common.rule_based"}
    assert len(grid.groups) == 3


def test_a_scenario_beside_its_grid_file_is_found(tmp_path, monkeypatch):
    study = tmp_path / "studies"
    study.mkdir()
    (study / "mine.yaml").write_text("extends: highway.yaml\nduration: 5 s\n")
    path = _file(study, "scenarios: [mine, highway_350vph]\n")
    assert [g.parameters["scenario"] for g in read_grid(path).groups] == ["mine", "highway_350vph"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "scenarios: highway_350vph\nseed: 3\n",
            r"study.yaml:2: seed: unknown key \(did you mean 'seeds'\?\)",
        ),
        (
            "scenarios: highway_35vph\n",
            r"study.yaml:1: scenarios.*: no scenario 'highway_35vph' \(did you mean",
        ),
        ("scenarios: highway_350vph\nseeds: x\n", r"study.yaml:2: seeds: 'x' is no seed"),
        ("scenarios: highway_350vph\nset:\n  seed: 3\n", r"study.yaml:3: set: a grid's seeds"),
        (
            "scenarios: highway_350vph\nset:\n  duration: 5 s\n  traffic.inflow.cavshare: [1, 2]\n",
            r"study.yaml:4.*: traffic.inflow.cavshare: unknown key \(did you mean 'cav_share'\?\)",
        ),
        (
            "scenarios: highway_350vph\nset:\n  traffic.inflow.cav_share:\n    - 25 %\n    - 250 %\n",
            r"study.yaml:5.*: traffic.inflow.cav_share: ",
        ),
        (
            "scenarios: highway_350vph\nagents: common.randm\n",
            r"study.yaml:2: agents: unknown agent 'common.randm'",
        ),
        (
            "scenarios: highway_350vph\nagents: [flying=common.random]\n",
            r"study.yaml:2: agents: .*no such task",
        ),
        ("scenarios: []\nseeds: 3\n", r"study.yaml:1: scenarios: "),
        ("seeds: 3\n", r"study.yaml:1: scenarios: is missing"),
        (
            "scenarios: highway_350vph\nrecord: some\n",
            r"study.yaml:2: record: 'some' is not one of full, none",
        ),
    ],
)
def test_a_mistake_in_a_grid_file_is_named_with_file_and_line(tmp_path, text, message):
    with pytest.raises(ScenarioError, match=message) as caught:
        read_grid(_file(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"overrides": ["traffic.inflow.rat=1 veh/h,2 veh/h"]},
            r"^--set traffic.inflow.rat=1 veh/h: .*unknown key",
        ),
        ({"overrides": ["duration=5 s,5 apples"]}, r"^--set duration=5 apples: duration: "),
        ({"agents": ["common.randm"]}, r"^unknown agent 'common.randm' \(did you mean 'common.random'\?\)"),
        ({"agents": ["common.random:none.safetensors"]}, r"no weights at 'none.safetensors'"),
        ({"overrides": {"traffic.net": ["highway_trifurcation", "nowhere"]}}, r"traffic.net: .*nowhere"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(arguments, message):
    with pytest.raises(ScenarioError, match=message):
        read_grid("highway_350vph", **arguments)


def test_an_agent_of_the_main_script_is_refused(monkeypatch):
    from cosim.lockstep import AGENTS

    class Mine:
        pass

    Mine.__module__ = "__main__"
    monkeypatch.setitem(AGENTS._objects, "mine.here", Mine)
    with pytest.raises(ScenarioError, match=r"agent 'mine.here' is registered in the script itself"):
        read_grid("highway_350vph", agents=["mine.here"])
