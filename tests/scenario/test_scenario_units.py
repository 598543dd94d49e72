"""Units: our small registry against pint's own full one, exactness, and refusals in plain words."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
from typing import Annotated

import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from cosim.scenario import units
from cosim.scenario.units import Quantity

_PINT = pint.UnitRegistry()
_numbers = st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12)

# what pint's own registry calls the same unit, and the SI unit that both are compared in
_SAME_IN_PINT = [
    (units.TIME, "ms", "second"),
    (units.TIME, "min", "second"),
    (units.TIME, "h", "second"),
    (units.TIME, "us", "second"),
    (units.LENGTH, "km", "meter"),
    (units.LENGTH, "cm", "meter"),
    (units.LENGTH, "mile", "meter"),
    (units.SPEED, "km/h", "meter/second"),
    (units.SPEED, "mph", "meter/second"),
    (units.ACCELERATION, "m/s^2", "meter/second**2"),
    (units.ACCELERATION, "m/s²", "meter/second**2"),
    (units.FREQUENCY, "GHz", "hertz"),
    (units.FREQUENCY, "kHz", "hertz"),
    (units.POWER, "mW", "watt"),
    (units.POWER, "kW", "watt"),
    (units.DATA_SIZE, "MB", "bit"),
    (units.DATA_SIZE, "KiB", "bit"),
    (units.DATA_SIZE, "Gbit", "bit"),
    (units.DATA_RATE, "Mbit/s", "bit/second"),
    (units.DATA_RATE, "Mbps", "bit/second"),
    (units.ANGLE, "rad", "degree"),
    (units.ANGLE, "deg", "degree"),
]


@pytest.mark.parametrize(("quantity", "unit", "si"), _SAME_IN_PINT, ids=lambda x: str(getattr(x, "unit", x)))
@given(number=_numbers)
def test_a_number_with_a_unit_is_what_pint_makes_of_it(
    quantity: Quantity, unit: str, si: str, number: float
) -> None:
    expected = _PINT.Quantity(number, unit).to(si).magnitude
    assert quantity.read(f"{number!r} {unit}") == pytest.approx(expected, rel=1e-12, abs=1e-300)


@given(level=st.floats(-200, 200))
def test_decibel_powers_are_what_pint_makes_of_them(level: float) -> None:
    expected = _PINT.Quantity(level, "dBm").to("watt").magnitude
    assert units.POWER.read(f"{level!r} dBm") == pytest.approx(expected, rel=1e-12)
    assert units.POWER.read(f"{level - 30!r} dBW") == pytest.approx(expected, rel=1e-9)
    assert units.POWER_DENSITY.read(f"{level!r} dBm/Hz") == pytest.approx(expected, rel=1e-12)


@given(number=_numbers, quantity=st.sampled_from([q for q, *_ in _SAME_IN_PINT]))
def test_a_bare_number_is_si_and_so_is_its_text(number: float, quantity: Quantity) -> None:
    assert quantity.read(number) == number
    assert quantity.read(repr(number)) == number


@given(ms=st.integers(0, 10**9))
def test_milliseconds_become_the_nearest_float(ms: int) -> None:
    assert units.TIME.read(f"{ms} ms") == ms / 1000


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        (units.POWER, "30 dBm", 1.0),
        (units.POWER, "13 dBm", 0.0199526231496888),
        (units.POWER, "46 dBm", 39.8107170553497),
        (units.DATA_SIZE, "250 MB", 2.0e9),
        (units.DATA_SIZE, "1 MB", 8e6),
        (units.FREQUENCY, "2.0e9", 2e9),
        (units.FREQUENCY, "180kHz", 180e3),
        (units.VEHICLE_RATE, "350 veh/h", 350 / 3600),
        (units.VEHICLE_RATE, "3600 vehicles/hour", 1.0),
        (units.CPU_RATE, "20 GHz", 20e9),
        (units.CPU_RATE, "20 Gcycle/s", 20e9),
        (units.CYCLES, "200 Gcycle", 200e9),
        (units.CYCLES_PER_BIT, "0.5 Gcycle/MB", 62.5),
        (units.DECIBEL, "9 dB", 9.0),
        (units.DECIBEL, "3 dBi", 3.0),
        (units.DECIBEL_PER_LENGTH, "0.4 dB/km", 0.0004),
        (units.NUMBER, "25 %", 0.25),
        (units.TIME, "1_000 ms", 1.0),
        (units.TIME, "-1", -1.0),
    ],
)
def test_quantities_of_the_papers_read_as_the_papers_mean_them(
    quantity: Quantity, text: str, value: float
) -> None:
    assert quantity.read(text) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("quantity", "value", "words"),
    [
        (units.TIME, "46 dBm", "'46 dBm' is a power, not a time; write for example '100 ms'"),
        (units.POWER, "46 dB", "'46 dB' is a level in dB, not a power; write for example '46 dBm'"),
        (units.DECIBEL, "9 dBm", "'9 dBm' is a power, not a level in dB"),
        (units.CYCLES, "20 GHz", "is a frequency, not an amount of work in CPU cycles"),
        (units.DATA_RATE, "250 MB", "is an amount of data, not a data rate"),
        (units.FREQUENCY, "20 mhz", "unknown unit 'mhz' in '20 mhz' (did you mean 'MHz'?)"),
        (units.FREQUENCY, "20 mHz", "unknown unit 'mHz' in '20 mHz' (did you mean 'MHz'?)"),
        (units.DATA_RATE, "3 mbit/s", "(did you mean 'Mbit/s'?)"),
        (units.VEHICLE_RATE, "350 veh/h/lane", "(did you mean 'veh/h'?)"),
        (units.TIME, "soon", "'soon' is not a time"),
        (units.TIME, "", "'' is not a time"),
        (units.TIME, True, "must be a time, not true"),
        (units.TIME, None, "must be a time, not null"),
        (units.TIME, [1], "must be a time, not a list"),
        (units.NUMBER, "3 m", "'3 m' is a length, not a plain number"),
        (units.TIME, math.nan, "not a finite number"),
        (units.TIME, math.inf, "not a finite number"),
        (units.TIME, 10**400, "not a finite number"),
        (units.TIME, "1e999 s", "not a finite number"),
        (units.TIME, "nan", "'nan' is not a time"),
        (units.POWER, "1e300 dBm", "not a finite number"),
        (units.TIME, "3 __import__('os')", "unknown unit"),
        (units.TIME, "3 s" + " " * 100 + "s", "is not a time"),
    ],
)
def test_what_is_no_such_quantity_is_refused_in_plain_words(
    quantity: Quantity, value: object, words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        quantity.read(value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(text=st.text(max_size=30))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    for quantity in (units.TIME, units.POWER, units.NUMBER):
        with contextlib.suppress(ValueError):
            assert math.isfinite(quantity.read(text))


class _Model(BaseModel):
    period: units.DurationUs = 1
    exact: units.WholeTime = 0.0
    share: units.Share = 0.0
    far: Annotated[units.Length, Field(gt=0)] = 1.0


def test_a_duration_is_read_as_time_kept_in_microseconds_and_written_in_seconds() -> None:
    model = _Model.model_validate({"period": "100 ms"})
    assert model.period == 100_000
    assert _Model.model_validate({"period": 2}).period == 2_000_000
    assert model.model_dump(mode="json")["period"] == 0.1
    assert _Model.model_validate(model.model_dump(mode="json")) == model


@pytest.mark.parametrize(
    "data", [{"period": "0.3 us"}, {"exact": "0.3 us"}, {"share": "120 %"}, {"share": -0.1}, {"far": "0 m"}]
)
def test_models_refuse_what_their_types_exclude(data: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        _Model.model_validate(data)


def test_pint_is_not_imported_for_bare_numbers() -> None:
    program = (
        "import sys; from cosim.scenario import scenario_from_resolved as load;"
        "load({'name': 'x', 'duration': '1.5e0', 'traffic': {'net': 'n', 'step': 0.1}});"
        "sys.exit('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
