"""Scenario values that name a model, and numbers that may be drawn: the field types of the network's section.

``pathloss: {model: tr38901_umi, h_bs: 10 m}`` becomes a :class:`Choice`, checked against the parameter class of the
model; ``fading: rayleigh`` is short for a model without parameters.  ``tx_power: {uniform: [20 dBm, 30 dBm]}``
becomes a :class:`Span`, drawn by key once an entity; a plain number is a span of no width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer, ValidationError
from pydantic_core import CoreSchema, core_schema

from cosim.errors import ScenarioError, nearest
from cosim.network.models import Params
from cosim.scenario.base import KeyedError
from cosim.scenario.messages import explain
from cosim.scenario.units import (
    CPU_RATE,
    CYCLES,
    DATA_RATE,
    DATA_SIZE,
    FREQUENCY,
    LENGTH,
    POWER,
    TIME,
    Quantity,
    shown,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model by name with its parameters; ``low`` and ``high`` differ where numbers are to be drawn."""

    model: str
    low: Params
    high: Params

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)

    def params(self, draw: Callable[[str], float] | None = None) -> Any:
        """Return the parameters; ``draw(name)`` gives the uniform in (0, 1) of a number that is drawn."""
        if self.low == self.high or draw is None:
            return self.low
        ends = {k: (v, getattr(self.high, k)) for k, v in self.low.model_dump().items()}
        drawn = {k: a + draw(k) * (b - a) if a != b else a for k, (a, b) in ends.items()}
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
        flat[key] = _ends(value)[end] if isinstance(value, Mapping) else value
    try:
        return params.model_validate(flat)
    except ValidationError as error:
        path, message = explain(error, params, flat)
        raise KeyedError(tuple(str(p) for p in path), message) from None


def _ends(value: Mapping[str, Any]) -> list[Any]:
    if set(value) != {"uniform"}:
        known = "; write {uniform: [a, b]}"
        raise ValueError(
            "must be a number or a draw" + (nearest(next(iter(value), ""), ["uniform"]) or known)
        )
    ends = value["uniform"]
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise ValueError(f"uniform takes the two ends of an interval, not {shown(ends)}")
    return list(ends)


@dataclass(frozen=True, slots=True)
class Span:
    """A number in SI units that lies between two ends: a constant, or uniform and drawn by key."""

    low: float
    high: float

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)

    def at(self, uniform: Callable[[], float]) -> float:
        """Return the constant, or the point that ``uniform()`` in (0, 1) picks."""
        return self.low if self.low == self.high else self.low + uniform() * (self.high - self.low)

    def dump(self) -> float | dict[str, list[float]]:
        """Return the plain data that reads back as this span."""
        return self.low if self.low == self.high else {"uniform": [self.low, self.high]}


def span_reader(quantity: Quantity, least: float = 0.0, above: bool = True) -> Callable[[Any], Span]:
    """Return the validator of a number of some quantity greater than (or at least) *least*."""

    def one(value: Any) -> float:
        number = quantity.read(value)
        if number < least or (above and number == least):
            words = "greater than" if above else "at least"
            raise ValueError(f"must be {words} {least:g}, not {shown(value)}")
        return number

    def read(value: Any) -> Span:
        if isinstance(value, Span):
            return value
        if isinstance(value, Mapping):
            low, high = (one(v) for v in _ends(value))
            if high < low:
                raise ValueError(f"the ends of uniform must rise, not {shown(list(value['uniform']))}")
            return Span(low, high)
        number = one(value)
        return Span(number, number)

    return read


_dump_span = PlainSerializer(Span.dump)

DrawnPower = Annotated[Span, BeforeValidator(span_reader(POWER)), _dump_span]
"""W, greater than 0."""
DrawnFrequency = Annotated[Span, BeforeValidator(span_reader(FREQUENCY)), _dump_span]
"""Hz, greater than 0."""
DrawnRate = Annotated[Span, BeforeValidator(span_reader(DATA_RATE)), _dump_span]
"""bit/s, greater than 0."""
DrawnCpu = Annotated[Span, BeforeValidator(span_reader(CPU_RATE)), _dump_span]
"""cycle/s, greater than 0."""
DrawnLength = Annotated[Span, BeforeValidator(span_reader(LENGTH)), _dump_span]
"""m, greater than 0."""
DrawnTime = Annotated[Span, BeforeValidator(span_reader(TIME, above=False)), _dump_span]
"""s, at least 0."""
DrawnWork = Annotated[Span, BeforeValidator(span_reader(CYCLES)), _dump_span]
"""cycles, greater than 0."""
DrawnSize = Annotated[Span, BeforeValidator(span_reader(DATA_SIZE, above=False)), _dump_span]
"""bit, at least 0."""
DrawnCycles = Annotated[Span, BeforeValidator(span_reader(CYCLES, above=False)), _dump_span]
"""cycles, at least 0."""
