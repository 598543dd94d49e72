"""Metrics of the network over a run: rates, outage, handovers, queue delay, the distribution of SINR.

Reads a :class:`~cosim.network.state.NetworkState` and the events each measured tick; holds histograms, not samples, so
memory does not grow with the run.  Percentiles come from bins of 0.1 % (rates) and 0.05 dB (SINR).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.clock import US
from cosim.network.jobs import NetworkEvents
from cosim.network.rates import decibel
from cosim.network.state import NetworkState

Floats = NDArray[np.float64]

_RATE_STEP = 1.001
_RATE_BINS = 32_000
"""From 1 bit/s to 1.001^32000, about 8e13 bit/s."""
_SINR_STEP = 0.05
_SINR_LOW, _SINR_HIGH = -100.0, 200.0


class Histogram:
    """Counts values in bins of equal width between two ends; values beyond an end count in its bin."""

    def __init__(self, low: float, step: float, bins: int) -> None:
        self._low, self._step = low, step
        self._count = np.zeros(bins, np.int64)

    def add(self, values: Floats) -> None:
        """Count *values*; -inf and inf count at the ends."""
        if len(values):
            bins = len(self._count)
            at = np.clip(np.floor((values - self._low) / self._step), 0, bins - 1).astype(np.int64)
            self._count += np.bincount(at, minlength=bins)

    def percentile(self, q: float) -> float | None:
        """Return the value below which *q* per cent of the counted ones lie; None without any."""
        total = int(self._count.sum())
        if not total:
            return None
        place = min(
            int(np.searchsorted(np.cumsum(self._count), max(1.0, q / 100.0 * total))), len(self._count) - 1
        )
        return self._low + (place + 0.5) * self._step


class _Rates:
    """Mean and low percentile of rates, zeroes included."""

    def __init__(self) -> None:
        self._histogram = Histogram(0.0, np.log(_RATE_STEP), _RATE_BINS)
        self._sum, self._n, self._zero = 0.0, 0, 0

    def add(self, rate: Floats) -> None:
        positive = rate[rate >= 1.0]
        self._histogram.add(np.log(positive))
        self._sum += float(rate.sum())
        self._n += len(rate)
        self._zero += len(rate) - len(positive)

    @property
    def mean(self) -> float | None:
        return self._sum / self._n if self._n else None

    def percentile(self, q: float) -> float | None:
        if not self._n:
            return None
        below = q / 100.0 * self._n
        if below <= self._zero:
            return 0.0
        value = self._histogram.percentile(100.0 * (below - self._zero) / (self._n - self._zero))
        return None if value is None else float(np.exp(value))


class NetworkMetrics:
    """Sums up a run; call :meth:`add` once a measured tick and :meth:`values` at the end.

    Args:
        tick_us: the network's period.
        sinr_min: linear; a served link below it counts as an outage.
    """

    def __init__(self, tick_us: int, sinr_min: float = 0.0) -> None:
        self._tick_us, self._sinr_min = tick_us, sinr_min
        self._up, self._down, self._device = _Rates(), _Rates(), _Rates()
        self._sinr = Histogram(_SINR_LOW, _SINR_STEP, round((_SINR_HIGH - _SINR_LOW) / _SINR_STEP))
        self._device_sinr = Histogram(_SINR_LOW, _SINR_STEP, round((_SINR_HIGH - _SINR_LOW) / _SINR_STEP))
        self._present = self._out = self._device_out = self._device_links = 0
        self._handovers = self._ping_pongs = 0
        self._jobs = self._late = self._deadlines = self._dropped = 0
        self._latency_us = self._waited_us = 0
        self._blocked = self._served = 0

    def add(self, state: NetworkState, events: NetworkEvents) -> None:
        """Count one tick and what happened since the last."""
        equipped, served = state.equipped, state.serving >= 0
        sinr = state.of_serving(state.sinr)
        up, down = state.of_serving(state.rate_up), state.of_serving(state.rate_down)
        self._up.add(up[equipped])
        self._down.add(down[equipped])
        self._present += int(equipped.sum())
        self._out += int((equipped & ((down <= 0.0) | (sinr < self._sinr_min))).sum())
        self._served += int(served.sum())
        self._blocked += int((state.of_serving(state.los.astype(np.float64)) > 0.0).sum())
        with np.errstate(divide="ignore"):
            self._sinr.add(decibel(sinr[served]))
            for links in state.d2d:
                active = links.block >= 0
                self._device_sinr.add(decibel(links.sinr[active]))
                self._device.add(links.rate[active])
                self._device_out += int((links.rate[active] <= 0.0).sum())
                self._device_links += int(active.sum())
        self._count_events(events)

    def _count_events(self, events: NetworkEvents) -> None:
        self._handovers += len(events.handovers)
        self._ping_pongs += sum(h.ping_pong for h in events.handovers)
        self._jobs += len(events.done)
        self._dropped += len(events.dropped)
        for job in events.done:
            self._latency_us += job.latency_us
            self._waited_us += job.waited_us
            self._deadlines += job.met is not None
            self._late += job.met is False

    def values(self) -> dict[str, float | None]:
        """Return all metrics in SI units; None where there was nothing to measure.

        Rates are those of vehicles with a radio at their serving station, 0 without one; ``outage`` is the share of
        their time without a usable link; ``handovers`` and ``ping_pongs`` are counts; ``queue_delay`` is the mean time
        that a job waits at processors; SINR percentiles are in dB, of the downlink and of D2D links.
        """
        vehicle_s = self._present * self._tick_us / US
        return {
            "mean_rate_up": self._up.mean,
            "p5_rate_up": self._up.percentile(5.0),
            "mean_rate_down": self._down.mean,
            "p5_rate_down": self._down.percentile(5.0),
            "outage": _ratio(self._out, self._present),
            "blocked": _ratio(self._blocked, self._served),
            "handovers": float(self._handovers),
            "handovers_per_vehicle_hour": _ratio(3600.0 * self._handovers, vehicle_s),
            "ping_pongs": float(self._ping_pongs),
            "sinr_db_p5": self._sinr.percentile(5.0),
            "sinr_db_p50": self._sinr.percentile(50.0),
            "sinr_db_p95": self._sinr.percentile(95.0),
            "d2d_mean_rate": self._device.mean,
            "d2d_p5_rate": self._device.percentile(5.0),
            "d2d_outage": _ratio(self._device_out, self._device_links),
            "d2d_sinr_db_p5": self._device_sinr.percentile(5.0),
            "d2d_sinr_db_p50": self._device_sinr.percentile(50.0),
            "d2d_sinr_db_p95": self._device_sinr.percentile(95.0),
            "jobs_done": float(self._jobs),
            "jobs_dropped": float(self._dropped),
            "job_latency": _ratio(self._latency_us / US, self._jobs),
            "queue_delay": _ratio(self._waited_us / US, self._jobs),
            "deadlines_missed": _ratio(self._late, self._deadlines),
        }


def _ratio(value: float, over: float) -> float | None:
    return value / over if over else None
