"""check_scenario passes what we ship, and says where a scenario is unsound or does not repeat itself."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from toy_tasks import Toy, scenario_with, wrong

from cosim.scenario import list_scenarios
from cosim.testing import check_scenario

_calls = itertools.count()


@wrong
class Restless(Toy):
    """Orders something else in every run of a process."""

    def __init__(self, options, context):
        super().__init__(options, context)
        self.pace = 5.0 + next(_calls)

    def apply(self, now, phase, actions):
        done = super().apply(now, phase, actions)
        now.commands.speed(self.rows, now.traffic.speed[self.rows] * 0 + self.pace)
        return done


@pytest.mark.parametrize("name", [name for name, _ in list_scenarios()])
def test_the_shipped_scenarios_are_sound(name: str) -> None:
    check_scenario(name, seconds=4)


def test_a_scenario_is_the_same_over_traci_and_with_agents_in_processes() -> None:
    check_scenario(
        "highway_350vph", ["traffic.inflow.rate=900 veh/h"], seconds=12, traci=True, processes=True
    )


def test_a_scenario_without_tasks_is_sound(tmp_path: Path) -> None:
    check_scenario(scenario_with(), seconds=4)


def test_a_scenario_that_does_not_load_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("extends: highway\nduration: 10 s\ntraffic: {net: highway_trifurkation}\n")
    with pytest.raises(AssertionError, match=r"bad\.yaml:3.*highway_trifurkation.*did you mean"):
        check_scenario(file)


def test_an_agent_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"common\.randm.*did you mean 'common\.random'"):
        check_scenario("highway_350vph", ["tasks.driving.agent=common.randm"])


def test_a_run_that_does_not_repeat_is_shown_at_its_first_difference() -> None:
    with pytest.raises(AssertionError, match=r"gives other bytes when it is run again: .*row \d+ \(t_us \d+"):
        check_scenario(scenario_with("toy_restless"), seconds=4)
