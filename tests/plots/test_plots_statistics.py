"""Means and intervals, bars, learning curves, distributions and counts, against closed forms and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cosim.plots import (
    bars,
    cdf,
    cell_counts,
    distribution,
    dot_panels,
    heat_maps,
    intervals_by,
    learning_curve_panels,
    learning_curves,
    mean_interval,
)
from cosim.plots.curves import moving_mean, on_common_grid

NUMBERS = st.floats(-1e3, 1e3)


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=2, max_size=12))
def test_the_interval_is_scipys_t_interval(values):
    found = mean_interval(values)
    spread = stats.sem(values)
    if spread == 0:
        assert found.half == 0
        return
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=spread)
    assert found.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert found.high == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_missing_values_do_not_count_and_one_value_has_no_interval():
    found = mean_interval([None, 4.0, float("nan")])
    assert (found.mean, found.n) == (4.0, 1)
    assert np.isnan(found.half)
    assert mean_interval([]).n == 0


GRID = pl.DataFrame(
    [
        {"rate": rate, "agent": agent, "seed": seed, "avg_velocity": speed + 0.1 * seed**2}
        for rate, agent, speed in ((150, "x", 15.0), (150, "y", 16.0), (350, "x", 12.0), (350, "y", 14.0))
        for seed in range(4)
    ]
)


def _errorbars(ax):
    """Half heights of all error bars drawn."""
    lines = [
        segment for c in ax.containers if hasattr(c, "has_yerr") for segment in c.lines[2][0].get_segments()
    ]
    return sorted((high[1] - low[1]) / 2 for low, high in lines)


def test_bars_stand_at_the_means_in_print_units_with_scipys_t_intervals():
    figure = bars(GRID, "avg_velocity", "rate", group="agent", runs=["r"])
    (ax,) = figure.axes
    heights = [patch.get_height() for patch in ax.patches]
    expected, halves = [], []
    for agent in ("x", "y"):
        for rate in (150, 350):
            values = (
                GRID.filter((pl.col("agent") == agent) & (pl.col("rate") == rate))["avg_velocity"].to_numpy()
                * 3.6
            )
            expected.append(values.mean())
            halves.append(stats.t.ppf(0.975, 3) * stats.sem(values))
    assert heights == pytest.approx(expected)
    assert _errorbars(ax) == pytest.approx(sorted(halves))
    assert ax.get_ylabel() == "average velocity [km/h]"


def test_bars_of_a_group_stand_beside_each_other_and_leave_a_place_for_what_is_missing():
    (ax,) = bars(
        GRID.filter(~((pl.col("rate") == 350) & (pl.col("agent") == "x"))),
        "avg_velocity",
        "rate",
        group="agent",
    ).axes
    centres = [round(patch.get_x() + patch.get_width() / 2, 6) for patch in ax.patches]
    assert centres == [-0.2, 0.8, 0.2, 1.2]
    assert np.isnan(ax.patches[1].get_height())


def test_published_values_are_drawn_in_the_same_unit():
    (ax,) = bars(GRID, "avg_velocity", "rate", group="agent", published={(150, "x"): 10.0}).axes
    (diamond,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert diamond.get_xydata().tolist() == [[pytest.approx(-0.2), pytest.approx(36.0)]]


def test_a_parameter_that_is_null_is_a_place_of_its_own():
    frame = pl.DataFrame({"p": ["a", None, None], "v": [1.0, 2.0, 4.0]})
    cells = intervals_by(frame, "v", "p")
    assert cells[None, ""].mean == 3.0
    (ax,) = bars(frame, "v", "p").axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "–"]


@pytest.mark.parametrize("places", [2, 4, 8])
def test_names_below_the_bars_never_overlap(places):
    names = [f"highway_{k}50vph, common.rule_based" for k in range(places)]
    frame = pl.DataFrame({"name": names, "v": np.arange(places, dtype=float)})
    figure = bars(frame, "v", "name")
    figure.canvas.draw()
    labels = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    if labels[0].get_rotation() == 0:
        boxes = [label.get_window_extent() for label in labels]
        assert all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))
    assert all(label.get_window_extent().y0 >= 0 for label in labels)


def test_the_curve_is_the_mean_over_seeds_on_their_common_grid():
    frame = pl.DataFrame(
        {"seed": [0, 0, 1, 1, 1], "steps": [0, 10, 0, 5, 10], "v": [0.0, 10.0, 2.0, 7.0, 12.0]}
    )
    grid, values = on_common_grid(frame, "steps", "v")
    assert grid.tolist() == [0.0, 5.0, 10.0]
    assert values.tolist() == [[0.0, 5.0, 10.0], [2.0, 7.0, 12.0]]
    (ax,) = learning_curves(frame, "steps", "v").axes
    assert ax.lines[0].get_ydata().tolist() == [1.0, 6.0, 11.0]
    band = ax.collections[0].get_paths()[0].vertices
    half = stats.t.ppf(0.975, 1) * stats.sem([0.0, 2.0])
    assert band[:, 1].max() == pytest.approx(11.0 + half)


def test_a_seed_counts_only_where_it_has_been():
    frame = pl.DataFrame({"seed": [0, 0, 1, 1], "steps": [0, 10, 0, 20], "v": [0.0, 0.0, 2.0, 2.0]})
    (ax,) = learning_curves(frame, "steps", "v").axes
    assert ax.lines[0].get_ydata().tolist() == [1.0, 1.0, 2.0]


@given(st.lists(NUMBERS, min_size=1, max_size=30), st.integers(1, 10))
def test_the_moving_mean_is_that_of_the_last_values(values, width):
    brute = [np.mean(values[max(0, k - width + 1) : k + 1]) for k in range(len(values))]
    assert moving_mean(np.array(values), width) == pytest.approx(brute, abs=1e-6)


def test_a_curve_without_values_says_so():
    frame = pl.DataFrame({"seed": [0], "steps": [1], "v": [None]}, schema_overrides={"v": pl.Float64})
    (ax,) = learning_curves(frame, "steps", "v").axes
    assert ax.texts[0].get_text() == "no values yet"


@given(st.lists(st.one_of(NUMBERS, st.just(float("inf")), st.just(float("nan"))), max_size=40), NUMBERS)
def test_a_distribution_is_the_share_of_samples_at_most_as_large(values, at):
    points, share = distribution(values)
    there = [v for v in values if v == v]
    below = points <= at
    found = share[below][-1] if below.any() else 0.0
    assert found == pytest.approx(sum(v <= at for v in there) / len(there) if there else 0.0)
    assert (np.diff(share) > 0).all()


def test_a_long_distribution_is_drawn_from_its_first_to_its_last_sample():
    values = np.random.default_rng(0).normal(size=50_000)
    (ax,) = cdf({"all": values}, x_label="x").axes
    x, y = ax.lines[0].get_data()
    assert (x[0], x[-1], y[0], y[-1]) == (values.min(), values.max(), 0.0, 1.0)
    assert len(x) < 3000
    inside = np.interp(0.0, x, y)
    assert inside == pytest.approx((values <= 0).mean(), abs=1e-3)


def test_cells_count_the_points_in_them():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 10, 500), rng.uniform(-1, 1, 500)
    counts = cell_counts(x, y, (0, 10), (-1, 1))
    assert counts.shape == (32, 32)
    assert counts.sum() == 500
    column, row = np.minimum(x / 10 * 32, 31).astype(int), np.minimum((y + 1) / 2 * 32, 31).astype(int)
    brute = np.zeros((32, 32), dtype=int)
    np.add.at(brute, (row, column), 1)
    np.testing.assert_array_equal(counts, brute)


def test_heat_maps_share_one_colour_scale_and_leave_empty_cells_white():
    grids = [np.array([[0, 1], [2, 3]]), np.array([[0, 0], [0, 12]])]
    figure = heat_maps(grids, names=["20 %", "100 %"])
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert [image.get_clim() for image in images] == [(0.0, 12.0), (0.0, 12.0)]
    assert images[0].get_array().mask.tolist() == [[True, False], [False, False]]


def test_points_have_their_intervals_in_the_panel_of_their_flow():
    panels = GRID.with_columns(pl.lit("place").alias("x"))
    figure = dot_panels(panels, "avg_velocity", "x", "agent", "rate", base="y", panel_label="{} veh/h")
    assert [ax.get_title("left") for ax in figure.axes] == ["150 veh/h", "350 veh/h"]
    for ax, rate in zip(figure.axes, (150, 350), strict=True):
        cells = intervals_by(GRID.filter(GRID["rate"] == rate), "avg_velocity", "rate", "agent")
        (container,) = [c for c in ax.containers if hasattr(c, "has_yerr")]
        assert container.lines[0].get_ydata() == pytest.approx([3.6 * cells[rate, "x"].mean])
        assert _errorbars(ax) == pytest.approx([3.6 * cells[rate, "x"].half])
        base = next(line for line in ax.lines if line.get_label() == "y")
        assert base.get_ydata()[0] == pytest.approx(3.6 * cells[rate, "y"].mean)


def test_a_group_has_its_colour_also_where_others_are_missing():
    whole = dot_panels(GRID.with_columns(x=1), "avg_velocity", "x", "agent", "rate", groups=("x", "y"))
    part = GRID.filter(GRID["agent"] == "y").with_columns(x=1)
    alone = dot_panels(part, "avg_velocity", "x", "agent", "rate", groups=("x", "y"))
    colours = [[c.lines[0].get_color() for c in f.axes[0].containers] for f in (whole, alone)]
    assert colours[0][1:] == colours[1]


def test_curves_in_panels_share_their_scale_and_may_hide_their_beginnings():
    rows = [(cell, s, k, float(k + s)) for cell in ("a", "b") for s in (0, 1) for k in range(11)]
    frame = pl.DataFrame(rows, schema=("cell", "seed", "steps", "y"), orient="row").with_columns(
        m=pl.lit("m")
    )
    figure = learning_curve_panels(frame, "steps", "y", "cell", "m", columns=2)
    assert [ax.get_title("left") for ax in figure.axes] == ["a", "b"]
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx(np.arange(11) + 0.5)
    clipped = learning_curve_panels(frame, "steps", "y", "cell", "m", clip=0.5)
    low, high = clipped.axes[1].get_ylim()
    assert low == pytest.approx(5.5 - 0.05 * 5.5)
    assert high > 11


def test_hiding_beginnings_hides_no_group_that_is_low_all_along():
    many = [("a", "high", k, 100.0) for k in range(50)]
    few = [("b", "low", k, 10.0 + k) for k in range(3)]
    frame = pl.DataFrame([*many, *few], schema=("cell", "m", "steps", "y"), orient="row")
    figure = learning_curve_panels(frame.with_columns(seed=1), "steps", "y", "cell", "m", clip=0.1)
    assert figure.axes[0].get_ylim()[0] < 10.5
