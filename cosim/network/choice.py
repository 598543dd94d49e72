"""Scenario values that name a model, with parameters that may be drawn.

``pathloss: {model: tr38901_umi, h_bs: 10 m}`` becomes a :class:`Choice`, checked against the parameter class of the
model; ``fading: rayleigh`` is short for a model without parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from cosim.errors import ScenarioError, nearest
from cosim.network.models import Params
from cosim.scenario.base import KeyedError
from cosim.scenario.messages import explain
from cosim.scenario.spans import ends
from cosim.scenario.units import shown


@dataclass(frozen=True, slots=True)
class Choice:
    """A model by name with its parameters; ``low`` and ``high`` differ where numbers are to be drawn."""

    model: str
    low: Params
    high: Params

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dump = core_schema.plain_serializer_function_ser_schema(cls.dump)
        return core_schema.is_instance_schema(cls, serialization=dump)

    def params(self, draw: Callable[[str], float] | None = None) -> Any:
        """Return the parameters; ``draw(name)`` gives the uniform in (0, 1) of a number that is drawn."""
        if self.low == self.high or draw is None:
            return self.low
        pairs = {k: (v, getattr(self.high, k)) for k, v in self.low.model_dump().items()}
        drawn = {k: a + draw(k) * (b - a) if a != b else a for k, (a, b) in pairs.items()}
        return self.low.model_copy(update=drawn)

    def dump(self) -> dict[str, Any]:
        """Return the plain data that reads back as this choice."""
        low, high = self.low.model_dump(mode="json"), self.high.model_dump(mode="json")
        pairs = {k: v if v == high[k] else {"uniform": [v, high[k]]} for k, v in low.items()}
        return {"model": self.model, **{k: v for k, v in pairs.items() if v is not None}}


ParamsOf = Callable[[str], type[Params]]
"""Gives the parameter class of a model by name; ScenarioError with the nearest name if there is none."""


def choice_reader(params_of: ParamsOf) -> Callable[[Any], Choice]:
    """Return the validator of a field that names one of some models."""

    def read(value: Any) -> Choice:
        if isinstance(value, Choice):
            return value
        if isinstance(value, str):
            value = {"model": value}
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a model's name or a mapping with the key model, not {shown(value)}")
        rest = dict(value)
        name = rest.pop("model", None)
        if not isinstance(name, str):
            near = nearest("model", rest)
            raise ValueError("needs the key model, which names it" + near.replace("did you mean", "not"))
        try:
            params = params_of(name)
        except ScenarioError as error:
            raise KeyedError("model", str(error)) from None
        return Choice(name, _parse(params, rest, 0), _parse(params, rest, 1))

    return read


def _parse(params: type[Params], data: Mapping[str, Any], end: int) -> Params:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat[key] = ends(value)[end] if isinstance(value, Mapping) else value
    try:
        return params.model_validate(flat)
    except ValidationError as error:
        path, message = explain(error, params, flat)
        raise KeyedError(tuple(str(p) for p in path), message) from None
