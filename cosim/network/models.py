"""What a channel model is: the registries of path loss, LOS, fading and the like, and their parameter classes.

A path loss model is a pure function ``(geo, params) -> loss_db`` with what the other parts of a channel need to
know about it (shadowing spread, LOS law, shortest distance).  Models are added with decorators; packages add
theirs through the entry-point group ``cosim.channels`` (an entry that names a module is imported whole).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from cosim.network.geo import NLOS, Geo
from cosim.registry import Registry
from cosim.scenario.base import Section
from cosim.scenario.units import Frequency, Length

GROUP = "cosim.channels"
Floats = NDArray[np.float64]


class Params(Section):
    """Base of all parameter classes: frozen, and an unknown key is an error."""


class NoParams(Params):
    """No parameters."""


class FreeParams(Params):
    """Parameters of a plug-in that declares none: every key of the scenario file becomes an attribute."""

    model_config = ConfigDict(extra="allow", frozen=True)


class RadioParams(Params):
    """What every path loss model accepts.

    ``h_bs`` and ``h_ut`` (m) override the antenna heights of the radios at the station and the vehicle end.
    """

    frequency: Frequency = 5.9e9
    h_bs: Length | None = None
    h_ut: Length | None = None


ByState = tuple[float, float, float]
"""One value for each of LOS, NLOSv and NLOS."""


@dataclass(frozen=True)
class PathLoss:
    """A path loss model.

    ``function(geo, params)`` gives dB.  ``sigma`` is the shadowing spread in dB by state, or a function of
    (geo, params) giving an array; ``d_corr`` its correlation distance in m by state; ``los_law`` names the LOS
    probability that belongs to it (or a function of params); ``h_min`` is a height in m that both antennas must
    exceed; ``blocked`` the state that a link without line of sight is in where only a probability decides.
    """

    name: str
    function: Callable[[Geo, Any], Floats]
    params: type[Params]
    sigma: ByState | Callable[[Geo, Any], Floats]
    d_corr: ByState
    d_min: float
    los_law: str | Callable[[Any], str] | None
    h_min: float
    blocked: int

    def __call__(self, geo: Geo, params: Any = None) -> Floats:
        """Return the loss in dB; ``params`` defaults to the model's own defaults."""
        return self.function(geo, self.params() if params is None else params)


PATHLOSS: Registry[PathLoss] = Registry(GROUP, "path loss model")


def pathloss(
    name: str,
    *,
    params: type[Params] = FreeParams,
    sigma: ByState | Callable[[Geo, Any], Floats] = (0.0, 0.0, 0.0),
    d_corr: ByState = (25.0, 25.0, 25.0),
    d_min: float = 1.0,
    los_law: str | Callable[[Any], str] | None = None,
    h_min: float = -np.inf,
    blocked: int = NLOS,
) -> Callable[[Callable[[Geo, Any], Floats]], PathLoss]:
    """Register a pure function ``(geo, params) -> loss_db`` under *name*; see :class:`PathLoss`."""

    def add(function: Callable[[Geo, Any], Floats]) -> PathLoss:
        model = PathLoss(name, function, params, sigma, d_corr, d_min, los_law, h_min, blocked)
        _label(model, function)
        return PATHLOSS.register(name)(model)

    return add


@dataclass(frozen=True)
class Model:
    """A LOS, fading, association or allocation model: a function, its parameters, and what it reads.

    ``needs`` names inputs that cost something and are computed only for models that ask for them.
    """

    name: str
    function: Callable[..., Any]
    params: type[Params]
    needs: frozenset[str]

    def __call__(self, *args: Any) -> Any:
        """Call the model's function."""
        return self.function(*args)


def adder(registry: Registry[Model]) -> Callable[..., Callable[[Callable[..., Any]], Model]]:
    """Return the decorator ``@thing(name, params=…, needs=…)`` of a registry."""

    def decorate(
        name: str, *, params: type[Params] = FreeParams, needs: tuple[str, ...] = ()
    ) -> Callable[[Callable[..., Any]], Model]:
        def add(function: Callable[..., Any]) -> Model:
            model = Model(name, function, params, frozenset(needs))
            _label(model, function)
            return registry.register(name)(model)

        return add

    return decorate


def _label(model: PathLoss | Model, function: Callable[..., Any]) -> None:
    """Let the registry's messages name the function, not the wrapper."""
    object.__setattr__(model, "__module__", function.__module__)
    object.__setattr__(model, "__qualname__", function.__qualname__)
