"""What a metric or column is called in print, and in which unit: the edge at which SI becomes readable.

Data are SI throughout; a table or an axis shows ``avg_velocity`` in km/h and ``rate_up`` in Mbit/s.  Names that are
not listed get their unit from how they end (``_s``, ``_db``, ``_per_hour`` …), or none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantity:
    """A name in words, the unit in print (empty: a pure number) and what an SI value is multiplied with."""

    label: str
    unit: str = ""
    factor: float = 1.0

    @property
    def axis(self) -> str:
        """The label with its unit, for an axis or a table's head."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


_KNOWN = {
    "avg_velocity": Quantity("average velocity", "km/h", 3.6),
    "min_ttc": Quantity("minimum time to collision", "s"),
    "min_ttc_capped": Quantity("minimum time to collision, capped", "s"),
    "lc_interval": Quantity("lane change interval", "s"),
    "lc_interval_strict": Quantity("lane change interval, same vehicle", "s"),
    "mean_jerk": Quantity("mean jerk", "m/s³"),
    "velocity_variance": Quantity("velocity variance", "m²/s²"),
    "success_rate": Quantity("success rate", "%", 100.0),
    "collisions_per_hour": Quantity("collisions", "1/h"),
    "min_headway": Quantity("minimum headway", "m"),
    "t_us": Quantity("time", "s", 1e-6),
    "s": Quantity("position", "m"),
    "n_vehicles": Quantity("vehicles"),
    "n_cav": Quantity("CAVs"),
    "mean_speed": Quantity("mean speed", "km/h", 3.6),
    "speed": Quantity("speed", "km/h", 3.6),
    "accel": Quantity("acceleration", "m/s²"),
    "rate_up": Quantity("uplink rate", "Mbit/s", 1e-6),
    "rate_down": Quantity("downlink rate", "Mbit/s", 1e-6),
    "rx_dbm": Quantity("received power", "dBm"),
    "loss_db": Quantity("path loss", "dB"),
    "snr_db": Quantity("SNR", "dB"),
    "sinr_db": Quantity("SINR", "dB"),
    "mean_rate_up": Quantity("mean uplink rate", "Mbit/s", 1e-6),
    "p5_rate_up": Quantity("uplink rate, 5th percentile", "Mbit/s", 1e-6),
    "mean_rate_down": Quantity("mean downlink rate", "Mbit/s", 1e-6),
    "p5_rate_down": Quantity("downlink rate, 5th percentile", "Mbit/s", 1e-6),
    "d2d_mean_rate": Quantity("mean D2D rate", "Mbit/s", 1e-6),
    "d2d_p5_rate": Quantity("D2D rate, 5th percentile", "Mbit/s", 1e-6),
    "outage": Quantity("time in outage", "%", 100.0),
    "d2d_outage": Quantity("D2D links in outage", "%", 100.0),
    "blocked": Quantity("serving links without line of sight", "%", 100.0),
    "handovers_per_vehicle_hour": Quantity("handovers a vehicle", "1/h"),
    "sinr_db_p5": Quantity("SINR, 5th percentile", "dB"),
    "sinr_db_p50": Quantity("median SINR", "dB"),
    "sinr_db_p95": Quantity("SINR, 95th percentile", "dB"),
    "d2d_sinr_db_p5": Quantity("D2D SINR, 5th percentile", "dB"),
    "d2d_sinr_db_p50": Quantity("D2D median SINR", "dB"),
    "d2d_sinr_db_p95": Quantity("D2D SINR, 95th percentile", "dB"),
    "job_latency": Quantity("mean job latency", "s"),
    "queue_delay": Quantity("mean queue delay", "s"),
    "deadlines_missed": Quantity("deadlines missed", "%", 100.0),
    "backlog": Quantity("backlog", "Gcycles", 1e-9),
    "replay_vehicles": Quantity("replayed vehicles"),
    "replay_error_max": Quantity("largest distance from the trace", "m"),
    "replay_error_mean": Quantity("mean distance from the trace", "m"),
    "replay_off_road_share": Quantity("replayed off the road", "%", 100.0),
    "replay_lost": Quantity("vehicle steps lost in replay"),
    "mse": Quantity("mean squared error"),
    "mae": Quantity("mean absolute error"),
    "medae": Quantity("median absolute error"),
    "r2": Quantity("R², mean of x and y"),
    "r2_pooled": Quantity("R², x and y together"),
    "r2_x": Quantity("R² of x"),
    "r2_y": Quantity("R² of y"),
    "rmse_m": Quantity("root mean squared distance", "m"),
    "rsu_hit_rate": Quantity("right RSU named", "%", 100.0),
    "task_latency": Quantity("mean task latency", "s"),
    "upload_time": Quantity("mean upload time", "s"),
    "processing_time": Quantity("mean processing time", "s"),
    "cloud_time": Quantity("mean time in the cloud", "s"),
    "download_time": Quantity("mean download time", "s"),
    "cloud_share": Quantity("work done in the cloud", "%", 100.0),
    "migrated_share": Quantity("work pre-migrated", "%", 100.0),
    "clustering": Quantity("most vehicles at one RSU"),
    "queue_load": Quantity("mean RSU load", "Gcycles", 1e-9),
    "covered": Quantity("vehicle slots with a task", "%", 100.0),
    "unfinished": Quantity("tasks not finished", "%", 100.0),
    "vs_random": Quantity("latency against Random", "%", 100.0),
    "latency_gap": Quantity("Hybrid-MAPPO below this", "%", 100.0),
    "reward_gap": Quantity("this above Hybrid-MAPPO", "%", 100.0),
    "task_size_mb": Quantity("task size", "MB"),
    "bandwidth_mhz": Quantity("wireless bandwidth", "MHz"),
    "migration_rate_mbps": Quantity("bandwidth between RSUs", "Mbit/s"),
    "cpu_ghz": Quantity("processor of an RSU", "GHz"),
    "cloud_cpu_ghz": Quantity("processor of the cloud", "GHz"),
    "migration_reward": Quantity("reward of a slot"),
    "migration_latency": Quantity("task latency", "s"),
    "migration_load": Quantity("mean RSU load", "Gcycles", 1e-9),
    "migration_clustering": Quantity("most vehicles at one RSU"),
    "migration_masked": Quantity("masked actions"),
    "wall_s": Quantity("wall time", "s"),
}

_ENDINGS = {
    "_per_hour": Quantity("", "1/h"),
    "_per_s": Quantity("", "1/s"),
    "_bps": Quantity("", "Mbit/s", 1e-6),
    "_dbm": Quantity("", "dBm"),
    "_db": Quantity("", "dB"),
    "_hz": Quantity("", "Hz"),
    "_joule": Quantity("", "J"),
    "_j": Quantity("", "J"),
    "_w": Quantity("", "W"),
    "_ms": Quantity("", "ms"),
    "_us": Quantity("", "µs"),
    "_s": Quantity("", "s"),
    "_bit": Quantity("", "bit"),
    "_bits": Quantity("", "bit"),
    "_bytes": Quantity("", "B"),
    "_m": Quantity("", "m"),
}


def quantity(name: str) -> Quantity:
    """Return how the metric or column *name* is printed.

    ``task.metric`` is known by its last part, ``eval_metric`` (of a learning curve) by what follows ``eval_``.
    """
    if name in _KNOWN:
        return _KNOWN[name]
    task, _, metric = name.rpartition(".")
    if task:
        found = quantity(metric)
        return Quantity(f"{found.label} ({task})", found.unit, found.factor)
    if name.startswith("migration_load_"):
        return Quantity(f"load of {name.removeprefix('migration_load_')}", "Gcycles", 1e-9)
    if name.startswith("eval_"):
        found = quantity(name.removeprefix("eval_"))
        return Quantity(f"{found.label}, evaluated", found.unit, found.factor)
    for ending, found in _ENDINGS.items():
        if name.endswith(ending):
            return Quantity(_words(name.removesuffix(ending)), found.unit, found.factor)
    return Quantity(_words(name))


def _words(name: str) -> str:
    return name.replace("_", " ").strip() or name


def number(value: object, factor: float = 1.0) -> str:
    """Return *value* times *factor* in four significant digits; ``–`` for None and NaN, text as it is."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    try:
        scaled = float(value) * factor  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(scaled):
        return "–"
    if isinstance(value, int) and factor == 1.0:
        return f"{value}"
    if scaled == 0.0:
        return "0"
    return f"{scaled:.4g}" if abs(scaled) < 1e4 or abs(scaled) >= 1e7 else f"{scaled:.0f}"


def plus_minus(mean: float, half: float, factor: float = 1.0) -> str:
    """Return ``mean ± half`` times *factor*, *half* in two significant digits and *mean* in as many decimals.

    Without a finite *half*, the mean alone as `number` writes it.
    """
    if not math.isfinite(half) or not math.isfinite(mean):
        return number(mean, factor)
    if half <= 1e-9 * abs(mean):  # rounding
        return f"{number(mean, factor)} ± 0"
    decimals = max(0, 1 - math.floor(math.log10(abs(half * factor))))
    return f"{mean * factor:.{decimals}f} ± {half * factor:.{decimals}f}"
