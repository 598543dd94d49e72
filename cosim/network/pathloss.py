"""Path loss formulas that are simple or empirical: free space, power laws, macro cell, WINNER II B1, two rays.

Each reads a :class:`~cosim.network.geo.Geo` (m, Hz) and gives dB.  Paper forms take the planar distance; friis and
the two-ray models of standards take what their source says.  TR 37.885 and TR 38.901 are in
:mod:`cosim.network.pathloss_3gpp`.
"""

from __future__ import annotations

import math

import numpy as np

from cosim.network.geo import Geo
from cosim.network.models import Floats, RadioParams, pathloss
from cosim.scenario.units import Decibel, Frequency, Length, Number

C = 299_792_458.0
"""Speed of light, m/s."""
C_3GPP = 3.0e8
"""Speed of light as TR 38.901 and WINNER II print it in their breakpoint distances, m/s."""


class FreeSpaceGain(RadioParams):
    """``A`` is a linear factor, not dB."""

    A: Number = 4.11
    frequency: Frequency = 2.0e9
    exponent: Number = 2.0


@pathloss("free_space_gain", params=FreeSpaceGain)
def free_space_gain(geo: Geo, p: FreeSpaceGain) -> Floats:
    """Return h = A (c / (4 pi f d))^n as a loss (form and A = 4.11, 2 GHz: arXiv 2306.14683)."""
    wave = 10.0 * p.exponent * math.log10(4.0 * math.pi * geo.f_hz / C)
    return 10.0 * p.exponent * geo.lg2 + (wave - 10.0 * math.log10(p.A))


@pathloss("friis", params=RadioParams)
def friis(geo: Geo, p: RadioParams) -> Floats:
    """Return free-space loss 20 log10(4 pi f d / c) over the antenna distance (ITU-R P.525)."""
    return 20.0 * geo.lg3 + 20.0 * math.log10(4.0 * math.pi * geo.f_hz / C)


class PowerLaw(RadioParams):
    """h = k d^-exponent with d in m."""

    k: Number = 1.0
    exponent: Number = 4.0


@pathloss("power_law", params=PowerLaw)
def power_law(geo: Geo, p: PowerLaw) -> Floats:
    """Return h = k d^-n as a loss (k = 1, n = 4: arXiv 2506.14237, Table III)."""
    return 10.0 * p.exponent * geo.lg2 - 10.0 * math.log10(p.k)


class LogDistance(RadioParams):
    """``loss`` (dB) at the distance ``d0``, and the exponent."""

    loss: Decibel = 47.86
    d0: Length = 1.0
    exponent: Number = 2.75


@pathloss("log_distance", params=LogDistance)
def log_distance(geo: Geo, p: LogDistance) -> Floats:
    """Return PL0 + 10 n log10(d / d0)."""
    return 10.0 * p.exponent * geo.lg2 + (p.loss - 10.0 * p.exponent * math.log10(p.d0))


@pathloss("macro", params=RadioParams, sigma=(8.0, 8.0, 8.0), d_corr=(50.0, 50.0, 50.0))
def macro(geo: Geo, p: RadioParams) -> Floats:
    """Return 15.3 + 37.6 log10 d, the macro cell (TR 36.814 A.2.1.1, TR 36.885 A.1.4)."""
    return 37.6 * geo.lg2 + 15.3


@pathloss("d2d_148_40", params=RadioParams, sigma=(8.0, 8.0, 8.0))
def d2d_148_40(geo: Geo, p: RadioParams) -> Floats:
    """Return 148 + 40 log10(d / 1 km), usual in papers on D2D."""
    return 40.0 * geo.lg2 + 28.0


class DistancePower(RadioParams):
    """h d^-exponent, as rates over OTFS are written."""

    h: Number = 1.0
    exponent: Number = 2.0


@pathloss("otfs", params=DistancePower)
def otfs(geo: Geo, p: DistancePower) -> Floats:
    """Return h d^-eps as a loss: the gain in R = B log2(1 + p h d^-eps / N0)."""
    return 10.0 * p.exponent * geo.lg2 - 10.0 * math.log10(p.h)


# --- WINNER II B1 (D1.1.2 Table 4-4), as TR 36.885 A.1.4 uses it ------------------------------------------


def winner_b1_los(geo: Geo, p: RadioParams | None = None) -> Floats:
    """Return the B1 loss with line of sight, at the planar distance."""
    return _b1_los(geo.lg2, geo)


def _b1_los(lg: Floats, geo: Geo) -> Floats:
    effective = (geo.h_tx - 1.0) * (geo.h_rx - 1.0)
    lg_f5 = math.log10(geo.f_hz / 5e9)
    breakpoint = np.log10(4.0 * effective * (geo.f_hz / C_3GPP))
    near = 22.7 * lg + (41.0 + 20.0 * lg_f5)
    far = 40.0 * lg + (9.45 + 2.7 * lg_f5 - 17.3 * np.log10(effective))
    return np.where(lg <= breakpoint, near, far)


def winner_b1_nlos(a: Floats, b: Floats, geo: Geo) -> Floats:
    """Return the B1 loss around a corner with legs ``a`` and ``b`` (m), the better of both orders, no floor."""
    lg_a, lg_b = np.log10(a), np.log10(b)
    return np.minimum(_b1_corner(a, lg_a, lg_b, geo), _b1_corner(b, lg_b, lg_a, geo))


def _b1_corner(a: Floats, lg_a: Floats, lg_b: Floats, geo: Geo) -> Floats:
    n = np.maximum(2.8 - 0.0024 * a, 1.84)
    return _b1_los(lg_a, geo) + 20.0 - 12.5 * n + 10.0 * n * lg_b + 3.0 * math.log10(geo.f_hz / 5e9)


@pathloss(
    "winner_b1",
    params=RadioParams,
    sigma=(3.0, 3.0, 4.0),
    d_corr=(10.0, 10.0, 10.0),
    d_min=3.0,
    los_law="tr37885_urban",
    h_min=1.0,
)
def winner_b1(geo: Geo, p: RadioParams) -> Floats:
    """Return B1 with and without line of sight; the legs of a blocked link run along the net's axes."""
    los = winner_b1_los(geo)
    nlos = geo.nlos
    if nlos is None or not nlos.any():
        return los
    # A leg shorter than the model's shortest distance is as good as none: the floor by LOS takes over.
    legs = np.maximum(np.abs(geo.dx), 3.0), np.maximum(np.abs(geo.dy), 3.0)
    return np.where(nlos, np.maximum(winner_b1_nlos(*legs, geo), los), los)


# --- two rays ---------------------------------------------------------------------------------------------


class TwoRay(RadioParams):
    """``permittivity`` is the ground's relative one (1.02 in Veins)."""

    permittivity: Number = 1.02


@pathloss("two_ray_interference", params=TwoRay)
def two_ray_interference(geo: Geo, p: TwoRay) -> Floats:
    """Return the loss of a direct and a ground-reflected ray with the Fresnel coefficient of the ground.

    Sommer, Joerer, Dressler, IEEE VNC 2012, equations 4 to 8; antenna heights from ``geo``.
    """
    d = geo.d2
    rise, height = geo.h_tx - geo.h_rx, geo.h_tx + geo.h_rx
    direct = np.sqrt(geo.square + rise * rise)
    reflected = np.sqrt(geo.square + height * height)
    sine, cosine = height / reflected, d / reflected
    root = np.sqrt(p.permittivity - cosine * cosine)
    gamma = (sine - root) / (sine + root)
    wavelength = C / geo.f_hz
    phase = 2.0 * math.pi * (direct - reflected) / wavelength
    amplitude = np.hypot(1.0 + gamma * np.cos(phase), gamma * np.sin(phase))
    return 20.0 * np.log10(4.0 * math.pi * d / (wavelength * amplitude))


@pathloss("two_ray_ground", params=RadioParams)
def two_ray_ground(geo: Geo, p: RadioParams) -> Floats:
    """Return free space up to the crossover 4 pi h1 h2 / lambda, d^4 / (h1 h2)^2 beyond."""
    heights = geo.h_tx * geo.h_rx
    wavelength = C / geo.f_hz
    near = 20.0 * geo.lg2 + 20.0 * math.log10(4.0 * math.pi / wavelength)
    far = 40.0 * geo.lg2 - 20.0 * np.log10(heights)
    return np.where(geo.d2 < 4.0 * math.pi * heights / wavelength, near, far)
