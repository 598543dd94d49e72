"""From power to bits: thermal noise, Shannon rates, and packet errors.

All functions are elementwise and work in linear units (W, Hz, bit/s) unless a name says dB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc, ndtr

from cosim.errors import ScenarioError, nearest

Floats = NDArray[np.float64]

THERMAL_DBM_HZ = -174.0
"""Thermal noise density at room temperature, dBm/Hz."""


def noise_power(bandwidth: float, figure_db: float = 0.0) -> float:
    """Return the noise power in W over *bandwidth* (Hz): -174 dBm/Hz + 10 log10 B + noise figure."""
    return float(10.0 ** ((THERMAL_DBM_HZ + figure_db - 30.0) / 10.0)) * bandwidth


def dbm(watts: ArrayLike) -> Floats:
    """Return a power in dBm."""
    return 10.0 * np.log10(np.asarray(watts, np.float64)) + 30.0


def watts(level_dbm: float) -> float:
    """Return a level in dBm as W."""
    return float(10.0 ** ((level_dbm - 30.0) / 10.0))


def decibel(ratio: ArrayLike) -> Floats:
    """Return a ratio in dB."""
    return 10.0 * np.log10(np.asarray(ratio, np.float64))


def shannon(bandwidth: ArrayLike, sinr: ArrayLike, sinr_min: float = 0.0) -> Floats:
    """Return R = B log2(1 + SINR) in bit/s; 0 where SINR (linear) is below *sinr_min* (linear)."""
    ratio = np.asarray(sinr, np.float64)
    rate = np.log2(1.0 + ratio)
    rate *= bandwidth
    if sinr_min > 0.0:
        rate = np.where(ratio < sinr_min, 0.0, rate)
    return np.asarray(rate)


# --- packet errors ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ErrorCurve:
    """A packet error curve PER = Q((SNR - snr50) / width), both in dB."""

    snr50: float
    width: float

    def __call__(self, snr_db: ArrayLike) -> Floats:
        """Return the packet error rate at an SNR (or SINR) in dB."""
        return np.asarray(ndtr((self.snr50 - np.asarray(snr_db, np.float64)) / self.width))


ERROR_CURVES: dict[str, ErrorCurve] = {
    "802.11p_mcs0": ErrorCurve(-1.99, 1.41),
    "802.11p_mcs2": ErrorCurve(1.08, 1.48),
    "802.11p_mcs4": ErrorCurve(6.95, 1.57),
    "lte_v2x_mcs4": ErrorCurve(-1.58, 1.26),
    "lte_v2x_mcs7": ErrorCurve(2.09, 1.45),
    "lte_v2x_mcs11": ErrorCurve(5.20, 1.62),
    "nr_urban_nlos_mcs7": ErrorCurve(9.15, 3.40),
}
"""Two-number fits of public link curves: 350 byte, highway LOS (NR: 100 byte, urban NLOS); error up to 0.025."""


@dataclass(frozen=True)
class ErrorTable:
    """A user's packet error table: rising SNR in dB and the PER at each; linear in between, flat outside."""

    snr_db: tuple[float, ...]
    per: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.snr_db) != len(self.per) or not self.snr_db:
            raise ScenarioError("a packet error table needs as many SNR values as error rates")
        if any(b <= a for a, b in zip(self.snr_db, self.snr_db[1:], strict=False)):
            raise ScenarioError("the SNR values of a packet error table must rise")
        if not all(0.0 <= p <= 1.0 for p in self.per):
            raise ScenarioError("the error rates of a packet error table lie between 0 and 1")

    def __call__(self, snr_db: ArrayLike) -> Floats:
        """Return the packet error rate at an SNR in dB."""
        return np.asarray(np.interp(np.asarray(snr_db, np.float64), self.snr_db, self.per))


def error_curve(name: str) -> ErrorCurve:
    """Return a curve of :data:`ERROR_CURVES`; ScenarioError with the nearest name if there is none."""
    if name not in ERROR_CURVES:
        raise ScenarioError(f"unknown packet error curve '{name}'{nearest(name, ERROR_CURVES)}")
    return ERROR_CURVES[name]


def packet_errors(law: ErrorCurve | ErrorTable | None, sinr: Floats) -> Floats:
    """Return packet error rates at a linear SINR; nan without a law."""
    if law is None:
        return np.full(np.shape(sinr), np.nan)
    with np.errstate(divide="ignore"):
        return law(decibel(sinr))


_HALF_RATE_WEIGHTS = {
    10: 36.0,
    12: 211.0,
    14: 1404.0,
    16: 11633.0,
    18: 77433.0,
    20: 502690.0,
    22: 3322763.0,
    24: 21292910.0,
    26: 134365911.0,
}
"""Bit error weights c_d of the rate 1/2, K = 7 convolutional code (133, 171) by distance d."""


def nist_per_qpsk_half(snr: ArrayLike, bits: int) -> Floats:
    """Return the PER of 802.11p QPSK 1/2 by the NIST model: a union bound on the decoder's bit errors.

    ``snr`` is linear, ``bits`` the packet's length.  Miller, "Validation of ns-3 802.11b PHY" (NIST, 2003), in the
    form of Pei and Henderson, "Validation of OFDM error rate model in ns-3" (2010), equations 4 to 7.
    """
    p = 0.5 * erfc(np.sqrt(np.asarray(snr, np.float64) / 2.0))
    bound = np.sqrt(4.0 * p * (1.0 - p))
    bit_error = 0.5 * sum(c * bound**d for d, c in _HALF_RATE_WEIGHTS.items())
    return np.asarray(-np.expm1(bits * np.log1p(-np.minimum(bit_error, 1.0 - math.ulp(1.0)))))
