"""The figure of RSU loads and migrations: what it shows is what happened on the tape of the same traffic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cosim
from cosim.experiments.tapes import record_tapes
from cosim.plots.station_load import SlotChoices, station_loads
from cosim.plots.style import to_bytes
from cosim.report.migration_figures import _choices, migration_figures
from cosim.report.run_figures import time_figures
from cosim.scenario import Scenario, load_scenario
from cosim.tasks.migration import Layout, MigrationOptions, TapeBatch, load_tape
from cosim.traffic.nets import find_net, load_geometry

SHORT = ["warmup=440 s", "duration=120 s", "tasks.migration.agent=common.random", "seed=7"]


@pytest.fixture(scope="module", params=["urban_avatar", "remote_avatar"])
def ran(request, tmp_path_factory) -> tuple[Scenario, Path]:
    """Six slots under random decisions."""
    scenario = load_scenario(request.param, SHORT)
    folder = tmp_path_factory.mktemp("migration")
    result = cosim.run(scenario, cosim.RunOptions(inline=True, out=folder / "run"))
    assert result.status == "completed"
    return scenario, result.dir


def setting(scenario: Scenario) -> tuple[MigrationOptions, Layout]:
    options = scenario.parse("tasks.migration", MigrationOptions)
    return options, options.layout(load_geometry(find_net(scenario.traffic.net)))


def test_the_figure_holds_the_loads_and_migrations_of_the_tape(ran, tmp_path):
    scenario, folder = ran
    run = cosim.load_run(folder)
    options, layout = setting(scenario)
    shown = _choices(run, layout, options, 20.0)
    tape = load_tape(record_tapes(scenario, [7], tmp_path, jobs=1).files[0])
    batch = TapeBatch([tape], options.rules(20.0), options.ranges())
    assert shown.t_s.tolist() == [440, 460, 480, 500, 520, 540]
    assert tuple(shown.vehicles) == tape.vehicles
    assert tuple(shown.stations) == layout.ids
    answers = run.tables["actions"].sort("t_us")
    for k, t_us in enumerate(range(440_000_000, 560_000_000, 20_000_000)):
        slot, rows = batch.slot, answers.filter(pl.col("t_us") == t_us)
        np.testing.assert_array_equal(shown.serving[k], slot.serving[0])
        value = np.array(rows["value"].to_list())
        assert rows["id"].to_list() == list(tape.vehicles)
        outcome = batch.step(value[None, :, 0].astype(np.int64), value[None, :, 1])
        moved = (outcome.share[0] > 0) & outcome.done[0]
        np.testing.assert_array_equal(shown.share[k] > 0, moved)
        np.testing.assert_array_equal(shown.target[k][moved], outcome.target[0][moved])
        np.testing.assert_allclose(shown.share[k][moved], outcome.share[0][moved])
        # Work is neither lost nor made: what stands in the queues is what was there and what was accepted.
        added = outcome.kept[0].sum() + outcome.taken[0].sum()
        assert shown.loads[k].sum() * 1e9 == pytest.approx(slot.queue[0].sum() + added, rel=1e-9)


def test_it_stands_in_place_of_line_charts_of_single_rsus(ran):
    scenario, folder = ran
    run = cosim.load_run(folder)
    drawings = migration_figures(run, find_net(scenario.traffic.net))
    assert [drawing.name for drawing in drawings] == ["rsu_load"]
    assert (
        f"Loads of {len(setting(scenario)[1].ids)} RSUs over 6 slots from 440 s to 560 s" in drawings[0].alt
    )
    charts = time_figures(run)
    assert charts
    assert not any("load of rsu" in chart.caption for chart in charts)


def test_a_run_without_the_rows_that_it_needs_has_no_such_figure(tmp_path):
    scenario = load_scenario("urban_avatar", [*SHORT, "duration=40 s", "record.vehicles=off"])
    run = cosim.load_run(cosim.run(scenario, cosim.RunOptions(inline=True, out=tmp_path / "run")).dir)
    assert migration_figures(run, find_net("urban_rsu")) == []
    assert migration_figures(run, find_net("highway_trifurcation")) == []


def test_the_figure_takes_gaps_and_many_stations():
    rng = np.random.default_rng(0)
    t, m, v = 5, 9, 3
    choices = SlotChoices(
        t_s=np.arange(t) * 20.0,
        slot_s=20.0,
        stations=[f"rsu_{k}" for k in range(m)],
        vehicles=["a", "b", "c"],
        loads=np.zeros((t, m)),
        serving=rng.integers(-1, m, (t, v)),
        target=np.full((t, v), -1),
        share=np.zeros((t, v)),
    )
    figure = station_loads(choices, runs=["toy"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(choices.stations)
    assert len(figure.axes[1].collections[0].get_paths()) == np.count_nonzero(choices.serving >= 0)
    assert to_bytes(figure) == to_bytes(station_loads(choices, runs=["toy"]))
