"""check_task passes our own tasks and a small sound one, and names each breach of the contract."""

from __future__ import annotations

import pytest
from toy_tasks import scenario_with

from cosim.tasks import tasks
from cosim.testing import check_task

OURS = [name for name in tasks.names() if tasks.origin(name).startswith("cosim.")]


@pytest.mark.parametrize("name", OURS)
def test_our_own_tasks_keep_the_contract(name: str) -> None:
    # What a vehicle of migration uploads is drawn by its name.
    check_task(name, order_free=name != "migration")


def test_driving_with_continuous_actions_keeps_the_contract() -> None:
    check_task("highway_350vph", overrides=["tasks.driving.actions=continuous"])


def test_driving_that_removes_surplus_and_slow_vehicles_keeps_the_contract() -> None:
    options = ["max_cavs=4", "remove_slow=8 m/s", "remove_slow_above=1", "mask=edges"]
    crowd = ["traffic.inflow.rate=1500 veh/h", "traffic.inflow.cav_share=0.8"]
    check_task("highway_350vph", overrides=[*crowd, *(f"tasks.driving.{o}" for o in options)])


def test_driving_that_decides_every_half_second_keeps_the_contract() -> None:
    check_task("highway_350vph", overrides=["tasks.driving.every=500 ms"])


def test_a_small_sound_task_of_a_user_passes() -> None:
    check_task(scenario_with("toy"), seconds=8)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("unbounded", r"observation entry \d of 'veh\.\d+' is .*, outside 0\.\.2"),
        ("double", r"obs must be float32 \(\d+, 2\), is float64"),
        ("notfinite", "reward of 'veh.* is not finite"),
        ("forgetsleavers", "was asked, and is now neither asked nor reported to have left"),
        ("otherlastwords", "must be reported with its last observation"),
        ("earlyreward", "is new and has a reward already, 1: it must be 0"),
        ("obeystheforbidden", "the mask forbids, and 2 was executed"),
        ("changestheallowed", "which is allowed, but 0 was executed"),
        ("doesnotcount", r"\d+ forbidden choices were made, totals\(\)\['masked_actions'\] says 0"),
        ("globalrandom", "draw by key|depends on the order of rows"),
        ("rownumbers", "the observation of .* depends on the order of rows"),
        ("firstrowonly", "what is ordered of .* depends on the order of rows"),
        ("zeroovernothing", "metric 'mean_speed' is 0.0 before the first step"),
        ("measuresthewarmup", "metric 'mean_speed' is .* after a warm-up alone"),
        ("othermetrics", r"metrics\(\) gives \['speed'\], metric_names says \['mean_speed'\]"),
        ("anyoption", "set extra='forbid'"),
        ("ordersofnobody", "order 'speed' for a vehicle that is not on the road: ghost"),
        ("ordersnan", "order 'speed' holds NaN"),
        ("toomanycolumns", "gives 2 values for 1 step_columns"),
    ],
)
def test_each_breach_is_named(variant: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_task(scenario_with(f"toy_{variant.lower()}"), seconds=8)


def test_a_draw_that_does_not_repeat_is_told_from_one_that_depends_on_rows() -> None:
    with pytest.raises(AssertionError, match="two runs of one seed differ in observations: draw by key"):
        check_task(scenario_with("toy_globalrandom"), seconds=8, order_free=False)


def test_a_scenario_that_brings_nobody_is_no_check() -> None:
    with pytest.raises(AssertionError, match=r"asked nothing within 2 s: .*for longer \(seconds=…\)"):
        check_task("highway_350vph_hdv", seconds=2)


def test_the_task_must_be_named_where_there_are_two() -> None:
    with pytest.raises(AssertionError, match="say which task: driving, toy"):
        check_task(scenario_with("driving", "toy"))
    check_task(scenario_with("driving", "toy"), "toy", seconds=4)
