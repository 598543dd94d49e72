"""Numbers of a scenario that may be drawn: a constant, or uniform between two ends.

``tx_power: {uniform: [20 dBm, 30 dBm]}`` becomes a :class:`Span`, drawn by key by whoever owns it; a plain number is
a span of no width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

from cosim.errors import nearest
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


def ends(value: Mapping[str, Any]) -> list[Any]:
    """Return the two ends of ``{uniform: [a, b]}`` as written; ValueError for another mapping."""
    if set(value) != {"uniform"}:
        known = "; write {uniform: [a, b]}"
        raise ValueError(
            "must be a number or a draw" + (nearest(next(iter(value), ""), ["uniform"]) or known)
        )
    pair = value["uniform"]
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError(f"uniform takes the two ends of an interval, not {shown(pair)}")
    return list(pair)


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
            low, high = (one(v) for v in ends(value))
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
