"""Small-scale fading: power gains of mean 1 from the draws of a pair, one block a tick and resource block.

``@fading(name)`` registers a pure function ``(draws, params) -> gain`` (linear, of the pairs' shape).
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincinv

from cosim.network.models import GROUP, Floats, Model, NoParams, Params, adder
from cosim.network.randomness import Draws
from cosim.registry import Registry
from cosim.scenario.units import Decibel, Number

FADING: Registry[Model] = Registry(GROUP, "fading model")
fading = adder(FADING)


@fading("none", params=NoParams)
def none(draws: Draws, p: NoParams) -> float:
    """No fading."""
    return 1.0


@fading("rayleigh", params=NoParams, needs=("draws",))
def rayleigh(draws: Draws, p: NoParams) -> Floats:
    """Return |z2 + j z3|^2 / 2, exponential with mean 1."""
    return draws.exponential()


class RicianParams(Params):
    """``K`` is the power of the direct path over that of the scattered ones, in dB."""

    K: Decibel = 6.0


@fading("rician", params=RicianParams, needs=("draws",))
def rician(draws: Draws, p: RicianParams) -> Floats:
    """Return |sqrt(K/(K+1)) + (z2 + j z3)/sqrt(2(K+1))|^2."""
    k = 10.0 ** (p.K / 10.0)
    real = draws.z2 * np.sqrt(0.5 / (k + 1.0)) + np.sqrt(k / (k + 1.0))
    imaginary = draws.z3 * np.sqrt(0.5 / (k + 1.0))
    return np.asarray(real * real + imaginary * imaginary)


class NakagamiParams(Params):
    """``m`` is the shape, at least 0.5; 1 is Rayleigh."""

    m: Number = 3.0


@fading("nakagami", params=NakagamiParams, needs=("draws",))
def nakagami(draws: Draws, p: NakagamiParams) -> Floats:
    """Return a gamma variate of shape m and mean 1, by inversion of the third word's uniform."""
    return np.asarray(gammaincinv(p.m, draws.uniform(2)) / p.m)
