"""What holds for every figure: it names its runs, is the same twice, fits its page and leaves the user's settings."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from PIL import Image

from cosim import plots
from cosim.plots.quantities import number, plus_minus, quantity
from cosim.plots.style import COLOURS, type_colours
from cosim.traffic.nets import find_net

RUNS = [f"a_rather_long_batch_name/highway_350vph-tpe_marl.tpe_qmix-s{k}-2501b34d" for k in range(6)]


def _figures(run):
    vehicles = run.vehicles
    position, speed = vehicles["s"].to_numpy(), vehicles["speed"].to_numpy()
    by_type = vehicles.group_by("type", "id").agg(pl.col("speed").mean())
    curve = pl.DataFrame({"seed": [0, 0, 1, 1], "steps": [0, 1000] * 2, "return": [1.0, 5.0, 2.0, 4.0]})
    net = find_net("highway_trifurcation")
    met = plots.gathered(vehicles["x"], vehicles["y"], speed, cell=10, label="mean speed [m/s]")
    return {
        "space_time": plots.space_time(vehicles, "highway_0", length=250, lanes=4, runs=RUNS),
        "strips": plots.strips(vehicles, "highway_0", [10, 20], length=250, lanes=4, runs=RUNS),
        "time_series": plots.time_series(
            {"": run.steps}, ["n_vehicles", "mean_speed"], warmup_s=5, title="Over time", runs=RUNS
        ),
        "heat_maps": plots.heat_maps(
            [plots.cell_counts(position, speed, (0, 250), (0, 25))],
            x_label="m",
            y_label="m/s",
            title="States",
            runs=RUNS,
        ),
        "cdf": plots.cdf({"all": speed}, x_label="speed [m/s]", title="Speeds", runs=RUNS),
        "bars": plots.bars(by_type, "speed", "type", title="Mean speeds", runs=RUNS),
        "learning_curves": plots.learning_curves(curve, "steps", "return", title="Return", runs=RUNS),
        "coverage_map": plots.coverage_map(net, met, on_roads=True, runs=RUNS),
    }


@pytest.fixture(scope="module")
def figures(highway):
    return _figures(highway)


NAMES = ("space_time", "strips", "time_series", "heat_maps", "cdf", "bars", "learning_curves", "coverage_map")


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_names_its_runs_below_it_and_in_its_file(figures, name):
    figure = figures[name]
    assert plots.runs_of(figure) == tuple(RUNS)
    assert figure.get_supxlabel().splitlines()[-1].startswith("6 runs: ")
    assert RUNS[0][-20:] in figure.get_supxlabel()
    image = Image.open(BytesIO(plots.to_bytes(figure)))
    assert all(run in image.text["Description"] for run in RUNS)
    assert image.text["Title"]
    svg = plots.to_bytes(figure, "svg").decode()
    assert all(run in svg for run in RUNS)


@pytest.mark.parametrize("name", NAMES)
def test_every_text_lies_inside_the_picture_and_axes_have_labels(figures, name):
    figure = figures[name]
    plots.to_bytes(figure)
    texts = [*figure.texts, figure._suptitle, figure._supxlabel]
    for ax in figure.axes:
        legends = [legend for legend in (ax.get_legend(), *figure.legends) if legend is not None]
        texts += [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
        texts += [text for legend in legends for text in legend.get_texts()]
    for text in (t for t in texts if t is not None and t.get_text().strip()):
        box = text.get_window_extent()
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1, text
        assert box.y1 <= figure.bbox.height + 1, text
    last = figure.axes[-2 if name in ("heat_maps", "coverage_map") else -1]
    assert last.get_xlabel()
    assert last.get_ylabel() or name == "time_series"


def test_equal_frames_give_equal_bytes(figures, highway):
    again = _figures(highway)
    for name in NAMES:
        assert plots.to_bytes(figures[name]) == plots.to_bytes(again[name]), name
    assert plots.to_bytes(figures["bars"], "svg") == plots.to_bytes(again["bars"], "svg")


def test_the_users_own_settings_are_neither_used_nor_changed(highway):
    before = {"lines.linewidth": 9.0, "axes.grid": False, "font.size": 3.0}
    plain = plots.to_bytes(plots.time_series({"": highway.steps}, ["n_vehicles"]))
    with mpl.rc_context(before):
        own = dict(mpl.rcParams)
        assert plots.to_bytes(plots.time_series({"": highway.steps}, ["n_vehicles"])) == plain
        assert dict(mpl.rcParams) == own


def test_plots_import_lazily_and_never_pyplot():
    code = """
import sys, cosim.plots
assert cosim.plots.quantity("speed").unit == "km/h"
assert "matplotlib" not in sys.modules
cosim.plots.to_bytes(cosim.plots.cdf({"a": [1.0]}, x_label="x"))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_exported_name_is_there():
    for name in plots.__all__:
        assert callable(getattr(plots, name))
    with pytest.raises(AttributeError, match="no attribute 'barz'"):
        plots.barz  # noqa: B018


def test_built_in_types_keep_their_colours_whatever_else_is_on_the_road():
    alone, among = type_colours(["cav"]), type_colours(["bus", "cav", "hdv", "truck"])
    assert alone["cav"] == among["cav"]
    assert len(set(among.values())) == 4
    assert set(among.values()) <= set(COLOURS)


def test_a_file_is_png_or_svg(figures, tmp_path):
    assert plots.save(figures["cdf"], tmp_path / "a" / "cdf.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(ValueError, match=r"ends in \.png or \.svg"):
        plots.save(figures["cdf"], tmp_path / "cdf.jpg")


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("avg_velocity", "average velocity [km/h]"),
        ("driving.success_rate", "success rate (driving) [%]"),
        ("eval_avg_velocity", "average velocity, evaluated [km/h]"),
        ("rate_up", "uplink rate [Mbit/s]"),
        ("queue_wait_s", "queue wait [s]"),
        ("edge_power_w", "edge power [W]"),
        ("masked", "masked"),
    ],
)
def test_units_are_those_of_print(name, axis):
    assert quantity(name).axis == axis


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (3, "3"),
        (0.0, "0"),
        (12345.6, "12346"),
        (1.23456e-9, "1.235e-09"),
        ("a", "a"),
    ],
)
def test_numbers_are_written_in_four_digits(value, text):
    assert number(value) == text


def test_an_interval_is_written_to_the_digits_that_it_justifies():
    assert plus_minus(17.87915, 0.2345, 3.6) == "64.36 ± 0.84"
    assert plus_minus(360.0, 1525.0) == "360 ± 1525"
    assert plus_minus(5.0, float("nan")) == "5"
    assert plus_minus(0.1, 3.8e-15) == "0.1 ± 0"


def test_what_vehicles_met_is_averaged_in_square_cells():
    rng = np.random.default_rng(5)
    x, y, v = rng.uniform(-30, 50, 300), rng.uniform(0, 20, 300), rng.normal(size=300)
    v[0] = np.nan
    found = plots.gathered(x, y, v, cell=10.0, label="v")
    assert found.extent == (-30.0, 50.0, 0.0, 20.0)
    for row in range(2):
        for column in range(8):
            inside = (np.floor(x / 10) == column - 3) & (np.floor(y / 10) == row) & np.isfinite(v)
            assert found.values[row, column] == pytest.approx(v[inside].mean())
