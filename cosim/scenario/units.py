"""Numbers with units: text such as ``100 ms`` or ``46 dBm`` comes in, SI floats go out.

A pydantic model says ``every: Time`` or ``tx_power: Power`` and accepts a bare number (SI), a numeric text
such as ``"2.0e9"`` (what YAML 1.1 makes of it), or a number with a unit of the right dimension.  Everything
else is refused with a message that shows how the quantity is written.  Code without a model calls
``TIME.read("60 s")``.  pint does the conversions, with a small registry of our own (``veh``, ``bit``,
``cycle`` are dimensions; 1 MB = 8e6 bit, prefixes are decimal) and exact fractions, so ``100 ms`` is the
float 0.1; it is imported at the first text with a unit, because that import takes 0.2 s and most inner
calls (resolved scenarios in worker processes) only hold bare numbers.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

from cosim.clock import to_s, to_us

if TYPE_CHECKING:
    import pint

_DEFINITIONS = """
    nano- = 1e-9 = n-
    micro- = 1e-6 = u- = µ- = μ-
    milli- = 1e-3 = m-
    centi- = 1e-2 = c-
    kilo- = 1e3 = k- = K-
    mega- = 1e6 = M-
    giga- = 1e9 = G-
    tera- = 1e12 = T-
    kibi- = 1024 = Ki-
    mebi- = 1048576 = Mi-
    gibi- = 1073741824 = Gi-
    second = [time] = s = sec
    minute = 60 * second = min
    hour = 3600 * second = h
    day = 24 * hour = d
    meter = [length] = m = metre
    mile = 1609.344 * meter = mi
    mph = mile / hour
    kph = 1000 * meter / hour = kmh
    kilogram = [mass] = kg
    joule = kilogram * meter ** 2 / second ** 2 = J
    watt = joule / second = W
    hertz = 1 / second = Hz
    bit = [information]
    byte = 8 * bit = B
    bps = bit / second
    cycle = [computation]
    vehicle = [vehicle] = veh
    degree = [angle] = deg = °
    radian = 57.29577951308232 * degree = rad
    level = [level]
    percent = 0.01
"""

_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)
_DECIBEL_POWER = re.compile(r"dB(m|W)\b(.*)", re.DOTALL)
_DECIBEL = re.compile(r"dBi?\b|decibels?\b")
_DIGIT_EXPONENT = re.compile(r"(?<=[A-Za-z])(\d+)")
_TINY = re.compile(r"\b[nuµμmc](?:Hz|hertz|bit|bps|B|byte|cycle|veh|vehicle)s?\b")
"""Small prefixes on units that are never so small: ``mbps`` is a slip for ``Mbps``."""
_LONGEST = 80

_KINDS = {
    "s": "a time",
    "m": "a length",
    "m/s": "a speed",
    "m/s^2": "an acceleration",
    "Hz": "a frequency",
    "W": "a power",
    "W/Hz": "a power density or an energy",
    "level": "a level in dB",
    "level/m": "a loss per length",
    "veh/s": "a vehicle rate",
    "veh": "a number of vehicles",
    "bit": "an amount of data",
    "bit/s": "a data rate",
    "cycle": "an amount of work in CPU cycles",
    "cycle/s": "a processor speed",
    "cycle/bit": "work per bit",
    "deg": "an angle",
    "percent": "a plain number",
}


@functools.cache
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    registry: pint.UnitRegistry[Any] = pint.UnitRegistry(None, non_int_type=Fraction)
    for line in _DEFINITIONS.split("\n"):
        if line.strip():
            registry.define(line.strip())
    return registry


def _plain_unit(unit: str) -> str:
    """Rewrite the spellings that pint's grammar lacks: ``dB``, ``%``, ``m/s2``."""
    unit = _DECIBEL.sub("level", unit).replace("%", "percent")
    return _DIGIT_EXPONENT.sub(r"^\1", unit)


@functools.lru_cache(maxsize=512)
def _base(unit: str) -> tuple[Fraction, tuple[tuple[str, int], ...]]:
    """Return (factor to SI base units, dimension) of *unit*; ValueError if it is no unit at all."""
    registry = _registry()
    if _TINY.search(unit):
        raise ValueError(f"unknown unit '{unit}'")
    try:
        quantity = registry.Quantity(Fraction(1), registry.parse_units(_plain_unit(unit))).to_base_units()
    except Exception as error:  # pint's parser leaks AssertionError, TypeError and more on odd text
        raise ValueError(f"unknown unit '{unit}'") from error
    dimension = tuple(sorted((str(k), int(v)) for k, v in quantity.dimensionality.items()))
    return Fraction(quantity.magnitude), dimension


def _kind(unit: str) -> str:
    """Say in words what sort of quantity *unit* measures (empty if it has no name)."""
    dimension = _base(unit)[1]
    return next((name for si, name in _KINDS.items() if _base(si)[1] == dimension), "")


@dataclass(frozen=True)
class Quantity:
    """One sort of quantity: its SI unit, its name in messages, and how it is usually written.

    ``also`` lists further SI units that are taken as equal to ``unit`` (GHz for a processor's Gcycle/s).
    Used as pydantic metadata on ``float`` (see ``Time`` and its siblings) or directly through ``read``.
    """

    unit: str
    name: str
    examples: tuple[str, ...]
    also: tuple[str, ...] = ()

    def read(self, value: object) -> float:
        """Return *value* (number, numeric text, or text with a unit) in SI units.

        ValueError, in words for the user, for text that is no quantity of this sort, for a truth value and
        for anything that is not finite.
        """
        if isinstance(value, str):
            return _read_text(self, value.strip())
        if isinstance(value, bool) or not isinstance(value, int | float):
            hint = f"; write {self.usual()}" if self.examples else ""
            raise ValueError(f"must be {self.name}, not {shown(value)}{hint}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        return _finite(number, shown(value))

    def usual(self) -> str:
        """Return how the quantity is written, for messages: ``for example '100 ms' or 0.1 (in s)``."""
        if not self.examples:
            return "a plain number"
        texts = " or ".join(f"'{e}'" for e in self.examples)
        return f"for example {texts} or a bare number in {self.shown_unit}"

    @property
    def shown_unit(self) -> str:
        """The SI unit as a user would write it (``dB``, not pint's own word; empty for plain numbers)."""
        return "" if self.unit == "percent" else self.unit.replace("level", "dB")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))


@functools.lru_cache(maxsize=4096)
def _read_text(quantity: Quantity, text: str) -> float:
    quoted = repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{quoted} is not {quantity.name}; write {quantity.usual()}")
    digits, unit = match.group(1).replace("_", ""), match.group(2).strip()
    if not unit:
        return _finite(float(digits), quoted)
    decibel = _DECIBEL_POWER.fullmatch(unit)
    if decibel:
        watts = _from_decibel(float(digits) - (30 if decibel.group(1) == "m" else 0))
        number, unit = Fraction(_finite(watts, quoted)), "W" + decibel.group(2)
    else:
        _finite(float(digits), quoted)  # a huge exponent is refused before it becomes a huge integer
        number = Fraction(digits) if abs(float(digits)) >= 1e-300 else Fraction(0)
    try:
        factor, dimension = _base(unit)
    except ValueError:
        raise ValueError(_unknown_unit(quantity, unit, quoted)) from None
    if quantity.unit == "percent":
        if dimension:
            raise ValueError(f"{quoted} is {_kind(unit) or 'a quantity with a unit'}, not {quantity.name}")
        return _finite(float(number * factor), quoted)
    for si in (quantity.unit, *quantity.also):
        si_factor, si_dimension = _base(si)
        if dimension == si_dimension:
            return _finite(float(number * factor / si_factor), quoted)
    kind = _kind(unit) or "not that sort of quantity"
    raise ValueError(f"{quoted} is {kind}, not {quantity.name}; write {quantity.usual()}")


def _from_decibel(level: float) -> float:
    try:
        return float(10 ** (level / 10))
    except OverflowError:
        return math.inf


def _unknown_unit(quantity: Quantity, unit: str, quoted: str) -> str:
    usual = [e.split(maxsplit=1)[1] for e in quantity.examples]
    prefixes = [p + u for u in (quantity.shown_unit, *usual) for p in ("", "k", "M", "G", "m", "u")]
    known = [k for k in dict.fromkeys([*usual, *prefixes]) if not _TINY.search(k)]
    folded = next((k for k in usual + known if k.lower() == unit.lower()), None)
    match = folded or next(iter(difflib.get_close_matches(unit, known, n=1, cutoff=0.6)), None)
    hint = f" (did you mean '{match}'?)" if match else f"; write {quantity.usual()}"
    return f"unknown unit '{unit}' in {quoted}{hint}"


def _finite(number: float, quoted: str) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{quoted} is not a finite number")
    return number


def shown(value: object) -> str:
    """Show *value* in a message in the words of a scenario file, cut to a sensible length."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _within(low: float, high: float, name: str) -> Callable[[float], float]:
    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"{name} lies between {low:g} and {high:g}, not {value:g}")
        return value

    return check


def _microseconds(seconds: float) -> int:
    try:
        return to_us(seconds)
    except ValueError as error:
        raise ValueError(str(error)) from None


def _whole(seconds: float) -> float:
    _microseconds(seconds)
    return seconds


def _read_us(value: object) -> int:
    return _microseconds(TIME.read(value))


TIME = Quantity("s", "a time", ("100 ms", "60 s"))
LENGTH = Quantity("m", "a length", ("250 m", "1.5 km"))
SPEED = Quantity("m/s", "a speed", ("23 m/s", "83 km/h"))
ACCELERATION = Quantity("m/s^2", "an acceleration", ("3.5 m/s^2",))
FREQUENCY = Quantity("Hz", "a frequency", ("5.9 GHz", "20 MHz"))
POWER = Quantity("W", "a power", ("46 dBm", "200 mW"))
POWER_DENSITY = Quantity("W/Hz", "a power density", ("-174 dBm/Hz",))
DECIBEL = Quantity("level", "a level in dB", ("9 dB",))
DECIBEL_PER_LENGTH = Quantity("level/m", "a loss per length", ("0.4 dB/m",))
VEHICLE_RATE = Quantity("veh/s", "a vehicle rate", ("350 veh/h",))
DATA_SIZE = Quantity("bit", "an amount of data", ("250 MB", "2 Mbit"))
DATA_RATE = Quantity("bit/s", "a data rate", ("500 Mbit/s",))
CYCLES = Quantity("cycle", "an amount of work in CPU cycles", ("200 Gcycle",))
CPU_RATE = Quantity("cycle/s", "a processor speed", ("20 GHz", "20 Gcycle/s"), also=("Hz",))
CYCLES_PER_BIT = Quantity("cycle/bit", "work per bit", ("0.5 Gcycle/MB",))
ANGLE = Quantity("deg", "an angle", ("90 deg",))
NUMBER = Quantity("percent", "a plain number", ())

Time = Annotated[float, TIME]
"""Seconds."""
WholeTime = Annotated[float, TIME, AfterValidator(_whole)]
"""Seconds that are a whole number of microseconds (every period and instant of a scenario)."""
DurationUs = Annotated[int, BeforeValidator(_read_us), PlainSerializer(to_s, return_type=float)]
"""Whole microseconds, read from a time (a bare number is seconds) and written back as seconds."""
Length = Annotated[float, LENGTH]
"""Metres."""
Speed = Annotated[float, SPEED]
"""Metres per second."""
Acceleration = Annotated[float, ACCELERATION]
"""Metres per second squared."""
Frequency = Annotated[float, FREQUENCY]
"""Hertz."""
Power = Annotated[float, POWER]
"""Watts; dBm, dBW and mW are accepted."""
PowerDensity = Annotated[float, POWER_DENSITY]
"""Watts per hertz; dBm/Hz is accepted."""
Decibel = Annotated[float, DECIBEL]
"""Decibels; a bare number is dB."""
DecibelPerLength = Annotated[float, DECIBEL_PER_LENGTH]
"""Decibels per metre."""
VehicleRate = Annotated[float, VEHICLE_RATE]
"""Vehicles per second."""
DataSize = Annotated[float, DATA_SIZE]
"""Bits; 1 MB = 8e6 bit."""
DataRate = Annotated[float, DATA_RATE]
"""Bits per second."""
Cycles = Annotated[float, CYCLES]
"""CPU cycles."""
CpuRate = Annotated[float, CPU_RATE]
"""CPU cycles per second; GHz is accepted as Gcycle/s."""
CyclesPerBit = Annotated[float, CYCLES_PER_BIT]
"""CPU cycles per bit."""
Angle = Annotated[float, ANGLE]
"""Degrees."""
Number = Annotated[float, NUMBER]
"""A plain finite number."""
Share = Annotated[float, NUMBER, AfterValidator(_within(0.0, 1.0, "a share"))]
"""A fraction between 0 and 1; per cent are accepted."""
