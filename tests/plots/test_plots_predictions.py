"""The figure of real and predicted trajectories shows both, and leaves out what was not predicted."""

from __future__ import annotations

import numpy as np

from cosim.plots.predictions import predicted_paths
from cosim.plots.style import runs_of, to_bytes


def test_lines_are_real_and_crosses_predicted() -> None:
    t = np.arange(0.0, 50.0, 10.0)
    true = {
        "a": np.stack([8.0 * t, 0.0 * t + 2.0], axis=1),
        "b": np.stack([400.0 - 8.0 * t, 0.0 * t], axis=1),
    }
    said = {name: xy + np.array([3.0, 4.0]) for name, xy in true.items()}
    said["b"][0] = np.nan
    sites = np.array([[200.0, 20.0], [200.0, -20.0]])
    figure = predicted_paths(t, true, said, sites=sites, ahead_s=10.0, title="A figure", runs=["tape 1"])
    along, error, above = figure.axes
    real, crosses, *_ = along.lines
    np.testing.assert_array_equal(real.get_xdata(), t)
    np.testing.assert_array_equal(real.get_ydata(), true["a"][:, 0])
    np.testing.assert_array_equal(crosses.get_ydata(), said["a"][:, 0])
    assert crosses.get_marker() == "x"
    np.testing.assert_allclose(error.lines[0].get_ydata(), 5.0)
    assert np.isnan(error.lines[1].get_ydata()[0])
    np.testing.assert_array_equal(above.lines[-1].get_xydata(), sites)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a", "b", "real", "predicted 10 s before", "RSU"]
    assert runs_of(figure) == ("tape 1",)
    assert to_bytes(figure) == to_bytes(figure)


def test_a_figure_needs_no_sites() -> None:
    t = np.array([0.0, 10.0])
    xy = {"a": np.zeros((2, 2))}
    figure = predicted_paths(t, xy, xy, height=24.0)
    assert figure.axes[2].get_ylim() == (-24.0, 24.0)
    assert "RSU" not in [text.get_text() for text in figure.legends[0].get_texts()]
