"""What a vehicle sees: four observation sets as functions of a :class:`~cosim.tasks.migration.episode.Slot`.

=============== ====== ============================================================================================
set             length entries (M = 6 RSUs, V = 10 vehicles)
=============== ====== ============================================================================================
``paper``       9      position (2), load of the serving RSU, loads of the others in RSU order, T_sum before: eq 19
``extended``    19     ``paper``, then s_task, s_r, T_dur, speed, serving RSU (one-hot M)
``pilot``       47     ``extended`` with the loads in fixed RSU order, then all C, own row of B_mig, own link rates
                       (M each), place in the service order (one-hot V)
``own_latency`` 59     ``pilot``, then the own eqs 1 to 9 for every target: least T_sum over K, and that K (M each)
=============== ====== ============================================================================================

The load columns hold L(t) unless other ``loads`` are given: a predictor gives L_pre = L + zeta z (eq 18), and with
it ``own_latency`` too reckons by the prediction.  All entries are scaled to about 0..1 (:data:`SCALES`) and cut at
:data:`LIMIT`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cosim.tasks.migration.episode import Slot, own_latency, service_place
from cosim.tasks.migration.latency import Floats, Rules
from cosim.tasks.migration.space import Layout

ObservationSet = Literal["paper", "extended", "pilot", "own_latency"]
OBSERVATIONS: tuple[ObservationSet, ...] = ("paper", "extended", "pilot", "own_latency")

SCALES: dict[str, float] = {
    "latency": 30.0,
    "task": 250 * 8e6,
    "input": 20 * 8e6,
    "duration": 120.0,
    "speed": 30.0,
    "cpu": 30e9,
    "migration": 900e6,
    "rate": 5e9,
}
"""What entries are divided by (SI); T_dur is first cut at its scale.  Positions go by the box, loads by L_max."""

LIMIT = 10.0
"""No entry is larger than this, or smaller than minus this."""

SHARES: Floats = np.linspace(0.0, 1.0, 11)
"""Values of K that ``own_latency`` tries."""
SHARES.flags.writeable = False


def observation_length(kind: ObservationSet, stations: int, vehicles: int) -> int:
    """Return the length of an observation for M RSUs and V vehicles."""
    length = 3 + stations
    if kind != "paper":
        length += 4 + stations
    if kind in ("pilot", "own_latency"):
        length += 3 * stations + vehicles
    if kind == "own_latency":
        length += 2 * stations
    return length


def observation_names(kind: ObservationSet, stations: int, vehicles: int) -> list[str]:
    """Return a name for each entry of an observation."""
    rsus = range(stations)
    fixed = kind in ("pilot", "own_latency")
    loads = (
        [f"load_{j}" for j in rsus]
        if fixed
        else ["load_own", *(f"load_other_{j}" for j in range(stations - 1))]
    )
    names = ["x", "y", *loads, "latency_before"]
    if kind != "paper":
        names += ["task", "input", "duration", "speed", *(f"serving_{j}" for j in rsus)]
    if fixed:
        names += [f"{what}_{j}" for what in ("cpu", "migration", "rate") for j in rsus]
        names += [f"place_{k}" for k in range(vehicles)]
    if kind == "own_latency":
        names += [f"{what}_{j}" for what in ("own_latency", "best_share") for j in rsus]
    return names


def observe(
    kind: ObservationSet, layout: Layout, rules: Rules, slot: Slot, loads: Floats | None = None
) -> NDArray[np.float32]:
    """Return the observations (E, V, d) of all vehicles.

    ``loads`` are the queues to show, (E, M) or (E, V, M) in cycles; default L(t).
    """
    episodes, vehicles = slot.serving.shape
    stations = layout.stations
    loads = slot.queue if loads is None else loads
    if loads.ndim == 2:
        loads = np.broadcast_to(loads[:, None, :], (episodes, vehicles, stations))
    out = np.empty((episodes, vehicles, observation_length(kind, stations, vehicles)), dtype=np.float32)
    serving = np.maximum(slot.serving, 0)
    fixed = kind in ("pilot", "own_latency")
    out[..., :2] = (slot.xy - layout.box[0]) / (layout.box[1] - layout.box[0])
    shown = loads if fixed else np.take_along_axis(loads, own_first(stations)[serving], axis=-1)
    out[..., 2 : 2 + stations] = shown / rules.queue_max
    out[..., 2 + stations] = slot.last / SCALES["latency"]
    if kind != "paper":
        _put_more(out[..., 3 + stations :], kind, rules, slot, loads)
    np.clip(out, -LIMIT, LIMIT, out=out)
    return out


def _put_more(
    out: NDArray[np.float32], kind: ObservationSet, rules: Rules, slot: Slot, loads: Floats
) -> None:
    """Fill the entries behind those of eq 19."""
    vehicles, stations = slot.rate.shape[1:]
    serving, at = np.maximum(slot.serving, 0), 0
    out[..., at] = slot.task_bits / SCALES["task"]
    out[..., at + 1] = slot.input_bits / SCALES["input"]
    out[..., at + 2] = np.minimum(slot.duration / SCALES["duration"], 1.0)
    out[..., at + 3] = slot.speed / SCALES["speed"]
    out[..., at + 4 : at + 4 + stations] = np.arange(stations) == slot.serving[..., None]
    at += 4 + stations
    if kind != "extended":
        _put_resources(out[..., at:], slot, serving, stations)
        at += 3 * stations + vehicles
    if kind == "own_latency":
        _put_own_latency(out[..., at:], rules, slot, loads, stations)


def own_first(stations: int) -> NDArray[np.intp]:
    """Return the order (M, M) in which eq 19 lists loads: row m is m, then the others rising."""
    return np.array([[m, *(j for j in range(stations) if j != m)] for m in range(stations)], dtype=np.intp)


def _put_resources(out: NDArray[np.float32], slot: Slot, serving: NDArray[np.int64], stations: int) -> None:
    episodes, vehicles = serving.shape
    out[..., :stations] = (slot.cpu / SCALES["cpu"])[:, None, :]
    row = slot.migration.reshape(-1, stations)[np.arange(episodes)[:, None] * stations + serving]
    own = np.isinf(row)
    out[..., stations : 2 * stations] = np.where(own, 0.0, row) / SCALES["migration"]
    out[..., 2 * stations : 3 * stations] = slot.rate / SCALES["rate"]
    places = service_place(slot.t, vehicles)
    out[..., 3 * stations : 3 * stations + vehicles] = places[:, None] == np.arange(vehicles)


def _put_own_latency(
    out: NDArray[np.float32], rules: Rules, slot: Slot, loads: Floats, stations: int
) -> None:
    total = own_latency(rules, slot, SHARES, loads)
    best = total.argmin(axis=-1)
    least = np.take_along_axis(total, best[..., None], axis=-1)[..., 0]
    out[..., :stations] = np.where(np.isfinite(least), least, 0.0) / SCALES["latency"]
    out[..., stations : 2 * stations] = SHARES[best]
