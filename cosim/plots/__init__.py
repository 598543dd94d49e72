"""Figures: one small module each, pure functions from polars frames and arrays to a matplotlib figure.

``learning_curves`` (several: ``learning_curve_panels``), ``time_series``, ``space_time`` (lanes side by side),
``strips`` (vehicles from above), ``heat_maps``, ``cdf``, ``bars`` and ``dot_panels`` (means with 95 % confidence
intervals), ``coverage_map``, ``predicted_paths`` and ``draw_net`` draw; ``save`` and ``to_bytes`` write PNG and SVG.
By name of their module come ``station_load.station_loads`` and ``traces``, matched traces over a net.
``style`` is the house style, ``quantities`` knows names and units in print, ``intervals`` confidence intervals.  Every
figure takes ``runs``, the names of the runs that it shows: they stand below it and in the file's metadata.

Nothing here needs a display or touches pyplot; matplotlib is imported when a figure is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosim.plots.bar_charts import bars as bars
    from cosim.plots.bar_charts import intervals_by as intervals_by
    from cosim.plots.birdseye import strips as strips
    from cosim.plots.coverage import Coverage as Coverage
    from cosim.plots.coverage import coverage_map as coverage_map
    from cosim.plots.coverage import coverage_overlay as coverage_overlay
    from cosim.plots.coverage import gathered as gathered
    from cosim.plots.curves import learning_curve_panels as learning_curve_panels
    from cosim.plots.curves import learning_curves as learning_curves
    from cosim.plots.distributions import cdf as cdf
    from cosim.plots.distributions import distribution as distribution
    from cosim.plots.heat_map import cell_counts as cell_counts
    from cosim.plots.heat_map import heat_maps as heat_maps
    from cosim.plots.intervals import Interval as Interval
    from cosim.plots.intervals import mean_interval as mean_interval
    from cosim.plots.net_map import draw_net as draw_net
    from cosim.plots.net_map import save_net_map as save_net_map
    from cosim.plots.panels import dot_panels as dot_panels
    from cosim.plots.predictions import predicted_paths as predicted_paths
    from cosim.plots.quantities import Quantity as Quantity
    from cosim.plots.quantities import quantity as quantity
    from cosim.plots.series import time_series as time_series
    from cosim.plots.style import runs_of as runs_of
    from cosim.plots.style import save as save
    from cosim.plots.style import to_bytes as to_bytes
    from cosim.plots.trajectories import lane_pieces as lane_pieces
    from cosim.plots.trajectories import space_time as space_time

_WHERE = {
    "Coverage": "coverage",
    "Interval": "intervals",
    "Quantity": "quantities",
    "bars": "bar_charts",
    "cdf": "distributions",
    "cell_counts": "heat_map",
    "coverage_map": "coverage",
    "coverage_overlay": "coverage",
    "distribution": "distributions",
    "dot_panels": "panels",
    "draw_net": "net_map",
    "gathered": "coverage",
    "heat_maps": "heat_map",
    "intervals_by": "bar_charts",
    "lane_pieces": "trajectories",
    "learning_curve_panels": "curves",
    "learning_curves": "curves",
    "mean_interval": "intervals",
    "predicted_paths": "predictions",
    "quantity": "quantities",
    "runs_of": "style",
    "save": "style",
    "save_net_map": "net_map",
    "space_time": "trajectories",
    "strips": "birdseye",
    "time_series": "series",
    "to_bytes": "style",
}

__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"cosim.plots.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'cosim.plots' has no attribute '{name}'")
