"""Path loss of 3GPP TR 37.885 (vehicle to vehicle) and TR 38.901 (UMi, UMa, RMa), and vehicle blockage.

Formulas take the antenna distance d3, breakpoints the planar distance d2, with c = 3e8 m/s in breakpoints as the
standard prints them.  In TR 38.901 the higher antenna of a pair is the base station's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cosim.network.geo import NLOS, NLOSV, Geo
from cosim.network.models import Floats, RadioParams, pathloss
from cosim.network.pathloss import C_3GPP
from cosim.scenario.units import Length

Values = Floats | float
"""Numbers that broadcast."""


# --- TR 37.885 table 6.2.1-1 ------------------------------------------------------------------------------


class Tr37885(RadioParams):
    """``scene`` is highway or urban."""

    scene: Literal["highway", "urban"] = "highway"


def tr37885_highway_los(geo: Geo) -> Floats:
    """Return 32.4 + 20 log10 d + 20 log10 f."""
    return 20.0 * geo.lg3 + (32.4 + 20.0 * math.log10(geo.f_hz / 1e9))


def tr37885_urban_los(geo: Geo) -> Floats:
    """Return 38.77 + 16.7 log10 d + 18.2 log10 f."""
    return 16.7 * geo.lg3 + (38.77 + 18.2 * math.log10(geo.f_hz / 1e9))


def tr37885_nlos(geo: Geo) -> Floats:
    """Return 36.85 + 30 log10 d + 18.9 log10 f."""
    return 30.0 * geo.lg3 + (36.85 + 18.9 * math.log10(geo.f_hz / 1e9))


@pathloss(
    "tr37885",
    params=Tr37885,
    sigma=(3.0, 3.0, 4.0),
    d_corr=(25.0, 25.0, 10.0),
    los_law=lambda p: f"tr37885_{p.scene}",
    blocked=NLOSV,
)
def tr37885(geo: Geo, p: Tr37885) -> Floats:
    """Return the loss by state; what vehicles in between add (NLOSv) is :func:`blocker_loss`."""
    los = tr37885_highway_los(geo) if p.scene == "highway" else tr37885_urban_los(geo)
    nlos = geo.nlos
    return los if nlos is None else np.where(nlos, tr37885_nlos(geo), los)


def blocker_mean(d3: Floats, below: NDArray[np.int64] | int) -> Floats:
    """Return the mean loss (dB) of a vehicle between two antennas (TR 37.885 clause 6.2.1).

    ``below`` is 2 where both antennas are below the blocker's roof, 1 where one is, 0 where none is.
    """
    base = np.where(np.equal(below, 2), 9.0, 5.0)
    rise = np.maximum(0.0, 15.0 * np.log10(d3) - 41.0)
    return np.where(np.equal(below, 0), 0.0, base + rise)


def blocker_loss(d3: Floats, below: NDArray[np.int64] | int, z: Floats, law: str = "normal_db") -> Floats:
    """Return the loss (dB) that a blocking vehicle adds, from a standard normal ``z``.

    ``normal_db`` reads the standard as max(0, N(mean, s)); ``lognormal_db`` as a log-normal number of dB with
    that mean and spread; s is 4.5 dB with both antennas below, else 4 dB.
    """
    mean = blocker_mean(d3, below)
    spread = np.where(np.equal(below, 2), 4.5, 4.0)
    if law == "lognormal_db":
        safe = np.where(mean > 0.0, mean, 1.0)
        variance = np.log1p((spread / safe) ** 2)
        return np.where(mean > 0.0, np.exp(np.log(safe) - 0.5 * variance + np.sqrt(variance) * z), 0.0)
    return np.where(mean > 0.0, np.maximum(0.0, mean + spread * z), 0.0)


def antennas_below(h_tx: Values, h_rx: Values, roof: Values) -> NDArray[np.int64]:
    """Return how many antennas are not above a blocker's roof: 0 none, 2 both below, else 1 (TR 37.885)."""
    none = np.minimum(h_tx, h_rx) > roof
    both = np.maximum(h_tx, h_rx) < roof
    return np.where(none, 0, np.where(both, 2, 1))


# --- TR 38.901 table 7.4.1-1 ------------------------------------------------------------------------------


def _with_nlos(geo: Geo, los: Floats, nlos: Callable[[Geo], Floats]) -> Floats:
    """Return max(LOS, NLOS') on links blocked by buildings, LOS elsewhere."""
    blocked = geo.nlos
    if blocked is None or not blocked.any():
        return los
    return np.where(blocked, np.maximum(los, nlos(geo)), los)


def _dual_slope(geo: Geo, slope: float, constant: float) -> Floats:
    """Return the LOS loss of UMi and UMa, whose slope changes to 40 dB a decade at 4 h'_BS h'_UT f / c.

    The standard's PL2 subtracts (40 - slope) / 2 log10(d'_BP^2 + (h_BS - h_UT)^2), which is what makes the two
    pieces meet: the second only adds to the first from there on.
    """
    breakpoint = 4.0 * (geo.h_tx - 1.0) * (geo.h_rx - 1.0) * (geo.f_hz / C_3GPP)
    rise = geo.h_tx - geo.h_rx
    beyond = geo.lg3 - 0.5 * np.log10(breakpoint * breakpoint + rise * rise)
    np.maximum(beyond, 0.0, out=beyond)
    beyond *= 40.0 - slope
    beyond += slope * geo.lg3
    beyond += constant + 20.0 * math.log10(geo.f_hz / 1e9)
    return beyond


def umi_los(geo: Geo) -> Floats:
    """Return the loss of UMi street canyon with line of sight."""
    return _dual_slope(geo, 21.0, 32.4)


def umi_nlos(geo: Geo) -> Floats:
    """Return PL'_NLOS of UMi street canyon; the model takes the larger of it and LOS."""
    lower = np.minimum(geo.h_tx, geo.h_rx)
    return 35.3 * geo.lg3 + (22.4 + 21.3 * math.log10(geo.f_hz / 1e9)) - 0.3 * (lower - 1.5)


def uma_los(geo: Geo) -> Floats:
    """Return the loss of UMa with line of sight (effective environment height 1 m)."""
    return _dual_slope(geo, 22.0, 28.0)


def uma_nlos(geo: Geo) -> Floats:
    """Return PL'_NLOS of UMa."""
    lower = np.minimum(geo.h_tx, geo.h_rx)
    return 39.08 * geo.lg3 + (13.54 + 20.0 * math.log10(geo.f_hz / 1e9)) - 0.6 * (lower - 1.5)


class Rma(RadioParams):
    """``building_height`` and ``street_width`` in m."""

    building_height: Length = 5.0
    street_width: Length = 20.0


def _rma_breakpoint(geo: Geo) -> Values:
    return 2.0 * math.pi * geo.h_tx * geo.h_rx * geo.f_hz / C_3GPP


def rma_los(geo: Geo, p: Rma) -> Floats:
    """Return the loss of RMa with line of sight."""
    breakpoint = _rma_breakpoint(geo)
    near = _rma_near(geo.d3, geo.lg3, geo.f_hz, p)
    beyond = geo.d2 > breakpoint
    if not beyond.any():
        return near
    lg_breakpoint = np.log10(breakpoint)
    far = _rma_near(breakpoint, lg_breakpoint, geo.f_hz, p) + 40.0 * (geo.lg3 - lg_breakpoint)
    return np.where(beyond, far, near)


def _rma_near(d: Values, lg: Values, f_hz: float, p: Rma) -> Floats:
    h = p.building_height
    slope = 20.0 + min(0.03 * h**1.72, 10.0)
    constant = 20.0 * math.log10(40.0 * math.pi * f_hz / 1e9 / 3.0) - min(0.044 * h**1.72, 14.77)
    return np.asarray(slope * lg + 0.002 * math.log10(h) * d + constant)


def rma_nlos(geo: Geo, p: Rma) -> Floats:
    """Return PL'_NLOS of RMa."""
    h_bs, h_ut = np.maximum(geo.h_tx, geo.h_rx), np.minimum(geo.h_tx, geo.h_rx)
    lg_bs = np.log10(h_bs)
    constant = 161.04 - 7.1 * math.log10(p.street_width) + 7.5 * math.log10(p.building_height)
    constant += 20.0 * math.log10(geo.f_hz / 1e9) + 4.97
    tower = (24.37 - 3.7 * (p.building_height / h_bs) ** 2) * lg_bs
    slope = 43.42 - 3.1 * lg_bs
    return np.asarray(constant - tower + slope * (geo.lg3 - 3.0) - 3.2 * np.log10(11.75 * h_ut) ** 2)


def rma_sigma(geo: Geo, p: Rma) -> Floats:
    """Return the shadowing spread of RMa, dB: 4 before and 6 past the breakpoint, 8 without line of sight."""
    sigma = np.where(geo.d2 > _rma_breakpoint(geo), 6.0, 4.0)
    return sigma if geo.los is None else np.where(geo.los == NLOS, 8.0, sigma)


@pathloss(
    "tr38901_umi",
    params=RadioParams,
    sigma=(4.0, 4.0, 7.82),
    d_corr=(10.0, 10.0, 13.0),
    d_min=10.0,
    los_law="tr38901_umi",
    h_min=1.0,
)
def tr38901_umi(geo: Geo, p: RadioParams) -> Floats:
    """Return the loss of UMi street canyon by state."""
    return _with_nlos(geo, umi_los(geo), umi_nlos)


@pathloss(
    "tr38901_uma",
    params=RadioParams,
    sigma=(4.0, 4.0, 6.0),
    d_corr=(37.0, 37.0, 50.0),
    d_min=10.0,
    los_law="tr38901_uma",
    h_min=1.0,
)
def tr38901_uma(geo: Geo, p: RadioParams) -> Floats:
    """Return the loss of UMa by state."""
    return _with_nlos(geo, uma_los(geo), uma_nlos)


@pathloss(
    "tr38901_rma",
    params=Rma,
    sigma=rma_sigma,
    d_corr=(37.0, 37.0, 120.0),
    d_min=10.0,
    los_law="tr38901_rma",
    h_min=0.0,
)
def tr38901_rma(geo: Geo, p: Rma) -> Floats:
    """Return the loss of RMa by state."""
    return _with_nlos(geo, rma_los(geo, p), lambda g: rma_nlos(g, p))
