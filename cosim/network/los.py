"""Whether a link is in line of sight: probabilities by distance, and the models that turn them into a state.

A LOS model is a pure function of declared inputs that gives uint8 states (0 LOS, 1 blocked by vehicles NLOSv,
2 blocked by buildings NLOS).  It is registered with ``@los(name, needs=…)``; ``needs`` may hold ``process`` (a
unit normal a pair, correlated along the way), ``walls`` (does a building cut the segment) and ``roofs`` (roof
height of the highest vehicle body on the segment, nan where there is none).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cosim.network.geo import LOS, NLOS, NLOSV, Geo
from cosim.network.models import GROUP, Floats, Model, NoParams, Params, adder
from cosim.registry import Registry
from cosim.scenario.units import Decibel, DecibelPerLength, Length

LosLaw = Callable[[Floats], Floats]
"""A LOS probability: planar distance in m to [0, 1]."""

LOS_LAWS: dict[str, LosLaw] = {}
"""LOS probabilities by name; a channel takes the one of its path loss model unless it names another."""


def los_law(name: str) -> Callable[[LosLaw], LosLaw]:
    """Register a LOS probability under *name*."""

    def add(law: LosLaw) -> LosLaw:
        LOS_LAWS[name] = law
        return law

    return add


@los_law("tr37885_highway")
def tr37885_highway(d: Floats) -> Floats:
    """Return P_LOS of TR 37.885 table 6.2-1, highway; the rest is NLOSv."""
    near = np.minimum(1.0, (2.1013e-6 * d - 0.002) * d + 1.0193)
    return np.where(d <= 475.0, near, np.maximum(0.0, 0.54 - 0.001 * (d - 475.0)))


@los_law("tr37885_urban")
def tr37885_urban(d: Floats) -> Floats:
    """Return P_LOS of TR 37.885 table 6.2-1, urban; the rest is NLOSv."""
    return np.minimum(1.0, 1.05 * np.exp(-0.0114 * d))


def _street(d: Floats, scale: float) -> Floats:
    near = np.maximum(d, 18.0)  # up to 18 m this makes the probability 1
    np.divide(18.0, near, out=near)
    p = np.exp(d * (-1.0 / scale))
    p -= p * near
    p += near
    return p


@los_law("tr38901_umi")
def tr38901_umi(d: Floats) -> Floats:
    """Return P_LOS of TR 38.901 table 7.4.2-1, UMi street canyon."""
    return _street(d, 36.0)


@los_law("tr38901_uma")
def tr38901_uma(d: Floats) -> Floats:
    """Return P_LOS of TR 38.901 table 7.4.2-1, UMa with a terminal up to 13 m high."""
    return _street(d, 63.0)


@los_law("tr38901_rma")
def tr38901_rma(d: Floats) -> Floats:
    """Return P_LOS of TR 38.901 table 7.4.2-1, RMa."""
    return np.minimum(1.0, np.exp(-(d - 10.0) / 1000.0))


def normal_cdf(x: Floats) -> Floats:
    """Return Phi(x) within 2e-7, several times faster than the exact function.

    erfc(|x| / sqrt 2) = (1 + a1 t + ... + a6 t^6)^-16 with t = |x| / sqrt 2 (Abramowitz and Stegun 7.1.28).
    """
    t = np.abs(x)
    t *= 0.7071067811865476
    tail = t * 0.0000430638
    for a in (0.0002765672, 0.0001520143, 0.0092705272, 0.0422820123, 0.0705230784):
        tail += a
        tail *= t
    tail += 1.0
    for _ in range(4):
        tail *= tail
    np.divide(0.5, tail, out=tail)
    np.subtract(1.0, tail, out=tail, where=x > 0.0)
    return tail


@dataclass(slots=True)
class LosInput:
    """What a LOS model may read, each of the pairs' shape; only what the model ``needs`` is filled."""

    law: LosLaw | None = None
    blocked_state: int = NLOS
    process: Floats | None = None
    walls: NDArray[np.bool_] | None = None
    roofs: Floats | None = None


LOS_MODELS: Registry[Model] = Registry(GROUP, "LOS model")
los = adder(LOS_MODELS)


class ProbParams(Params):
    """``law`` names a LOS probability (default: that of the path loss model).

    ``d_corr`` (m) is the distance over which the state persists (50: TR 38.901 7.6.3).  ``process: field`` makes
    the state a pure function of place, ``ar1`` an autoregression along each pair's way.
    """

    law: str | None = None
    d_corr: Length = 50.0
    process: Literal["ar1", "field"] = "ar1"


class WallParams(Params):
    """``buildings`` is a glob over polygon types; ``range`` (m) the longest segment that is tested.

    Longer segments count as blocked.  ``recheck`` (m): a pair is tested again only after an end moved further
    than this; 0 keeps the state a pure function of the places.  ``obstacle_loss`` adds ``per_wall`` and
    ``per_metre`` losses instead of switching to the NLOS formula.
    """

    buildings: str = "building*"
    range: Length | None = None
    recheck: Length = 0.0
    obstacle_loss: bool = False
    per_wall: Decibel = 9.0
    per_metre: DecibelPerLength = 0.4


def _shape(geo: Geo) -> tuple[int, ...]:
    return geo.square.shape


@los("always", params=NoParams)
def always(geo: Geo, p: NoParams, given: LosInput) -> NDArray[np.uint8]:
    """Every link is in line of sight."""
    return np.full(_shape(geo), LOS, np.uint8)


@los("never", params=NoParams)
def never(geo: Geo, p: NoParams, given: LosInput) -> NDArray[np.uint8]:
    """Every link is blocked by buildings."""
    return np.full(_shape(geo), NLOS, np.uint8)


@los("prob", params=ProbParams, needs=("process",))
def prob(geo: Geo, p: ProbParams, given: LosInput) -> NDArray[np.uint8]:
    """Blocked where Phi(g) exceeds P_LOS(d): by vehicles under TR 37.885, by buildings under TR 38.901."""
    assert given.law is not None
    assert given.process is not None
    blocked = normal_cdf(given.process) > given.law(geo.d2)
    return np.multiply(blocked, given.blocked_state, dtype=np.uint8)


@los("buildings", params=WallParams, needs=("walls",))
def buildings(geo: Geo, p: WallParams, given: LosInput) -> NDArray[np.uint8]:
    """Blocked where the segment crosses a building polygon."""
    assert given.walls is not None
    return np.multiply(given.walls, NLOS, dtype=np.uint8)


@los("buildings+vehicles", params=WallParams, needs=("walls", "roofs"))
def buildings_and_vehicles(geo: Geo, p: WallParams, given: LosInput) -> NDArray[np.uint8]:
    """As ``buildings``, and blocked by vehicles where the segment crosses the body of a third vehicle."""
    assert given.walls is not None
    assert given.roofs is not None
    return np.where(given.walls, NLOS, np.where(np.isnan(given.roofs), LOS, NLOSV)).astype(np.uint8)


def model_state(model: Model, geo: Geo, params: Any, given: LosInput) -> NDArray[np.uint8]:
    """Return the states of a LOS model, uint8 of the pairs' shape."""
    return np.asarray(model(geo, params, given), np.uint8)
