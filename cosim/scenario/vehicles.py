"""Vehicle types: the keys of ``traffic.types`` and the built-in types ``hdv``, ``cav`` and ``passenger``.

``hdv`` and ``cav`` are the human-driven and the connected automated vehicle of Han et al., arXiv 2507.12110,
Table I; docs/scenario.md says where the values that the paper leaves open come from.
``passenger`` is SUMO's own car with nothing changed.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from cosim.errors import nearest
from cosim.scenario.base import KeyedError, Section, Whole
from cosim.scenario.units import Acceleration, Length, Number, Speed, Time

SUMO_MODELS = {
    "idm": "IDM",
    "idmm": "IDMM",
    "eidm": "EIDM",
    "krauss": "Krauss",
    "krauss_orig1": "KraussOrig1",
    "krauss_ps": "KraussPS",
    "pwagner2009": "PWagner2009",
    "bkerner": "BKerner",
    "wiedemann": "Wiedemann",
    "w99": "W99",
    "daniel1": "Daniel1",
    "smart_sk": "SmartSK",
    "acc": "ACC",
    "cacc": "CACC",
    "flow_idm": "IDM",
}
"""Car-following models by cosim's name: SUMO's name for ``carFollowModel``."""

_OWN_ATTRIBUTES = {
    "id": "the type's name",
    "carFollowModel": "car_following",
    "accel": "accel",
    "decel": "decel",
    "tau": "tau",
    "minGap": "min_gap",
    "delta": "delta",
    "sigma": "sigma",
    "maxSpeed": "max_speed",
    "length": "length",
    "width": "width",
    "height": "height",
    "speedDev": "speed_dev",
    "speedFactor": "speed_factor",
    "color": "color",
}
_COLOR = r"^([a-z]+|#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?|\d{1,3}(, ?\d{1,3}){2,3})$"

_Positive = Field(gt=0)
_NotNegative = Field(ge=0)


class VehicleTypeConfig(Section):
    """One vehicle type; a value that is absent (None) is left to SUMO.

    ``speed_mode`` and ``lane_change_mode`` are SUMO's bit sets for vehicles that are commanded.
    """

    cav: bool = False
    car_following: str = "krauss"
    accel: Annotated[Acceleration, _Positive] | None = None
    decel: Annotated[Acceleration, _Positive] | None = None
    tau: Annotated[Time, _Positive] | None = None
    min_gap: Annotated[Length, _NotNegative] | None = None
    delta: Annotated[Number, _Positive] | None = None
    sigma: Annotated[Number, Field(ge=0, le=1)] | None = None
    max_speed: Annotated[Speed, _Positive] | None = None
    length: Annotated[Length, _Positive] = 5.0
    width: Annotated[Length, _Positive] = 1.8
    height: Annotated[Length, _Positive] = 1.5
    speed_factor: Annotated[Number, _Positive] = 1.0
    speed_dev: Annotated[Number, _NotNegative] = 0.1
    speed_mode: Annotated[Whole, Field(ge=0, le=127)] = 31
    lane_change_mode: Annotated[Whole, Field(ge=0, le=4095)] = 1621
    color: Annotated[str, Field(pattern=_COLOR)] | None = None
    params: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @property
    def sumo_model(self) -> str:
        """SUMO's name of the car-following model (``flow_idm`` commands speeds on top of SUMO's IDM)."""
        return SUMO_MODELS[self.car_following]

    @field_validator("car_following", mode="before")
    @classmethod
    def _known_model(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        by_any_name = {n.lower(): n for n in SUMO_MODELS} | {
            v.lower(): k for k, v in SUMO_MODELS.items() if k != "flow_idm"
        }
        if value.lower() not in by_any_name:
            raise ValueError(f"unknown car-following model '{value}'{nearest(value.lower(), SUMO_MODELS)}")
        return by_any_name[value.lower()]

    @field_validator("params")
    @classmethod
    def _no_own_attribute(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name in _OWN_ATTRIBUTES:
                raise KeyedError((name,), f"is set by cosim; use {_OWN_ATTRIBUTES[name]}")
            if not name.replace("_", "").replace(".", "").replace("-", "").isalnum():
                raise KeyedError((name,), "is not the name of an attribute of SUMO's vType")
        return value


_HDV: dict[str, Any] = {
    "cav": False,
    "car_following": "idm",
    "accel": 3.5,
    "decel": 1.5,
    "tau": 1.0,
    "min_gap": 2.0,
    "delta": 4.0,
    "max_speed": 20.0,
    "speed_dev": 0.1,
    "length": 5.0,
    "speed_mode": 25,
    "lane_change_mode": 1,
    "color": "240,160,0",
}
BARE = "bare"
"""``like: bare`` takes nothing over: what is not written is SUMO's own.  Resolved scenarios say it of every type."""

_BUILT_IN: dict[str, dict[str, Any]] = {
    "hdv": _HDV,
    "cav": _HDV | {"cav": True, "speed_mode": 0, "lane_change_mode": 0, "color": "0,160,255"},
    "passenger": {"color": "yellow"},
    BARE: {},
}


def with_built_in_types(types: Any) -> Any:
    """Return the mapping of ``traffic.types`` with the built-in ``hdv`` and ``cav`` filled in.

    A type takes what it does not say from the built-in type of its own name, else from the one named by its
    key ``like``, else from ``cav`` if it says ``cav: true`` and from ``hdv`` if not.
    """
    if not isinstance(types, dict):
        return types
    filled: dict[str, Any] = {name: dict(_BUILT_IN[name]) for name in ("hdv", "cav")}
    for name, given in types.items():
        if not isinstance(given, dict):
            filled[name] = given
            continue
        own = dict(given)
        like = own.pop("like", name if name in _BUILT_IN else "cav" if own.get("cav") is True else "hdv")
        if like not in _BUILT_IN:
            raise KeyedError(
                (name, "like"),
                f"{like!r} is not a built-in type{nearest(str(like), _BUILT_IN)}: {', '.join(_BUILT_IN)}",
            )
        filled[name] = _BUILT_IN[like] | own
    return filled
