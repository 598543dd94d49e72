"""What every section's model stands on: strictness, errors that name a key inside it, whole numbers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from cosim.scenario.units import NUMBER


class Section(BaseModel):
    """A frozen model in which an unknown key is an error; base of every section of a scenario."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class KeyedError(ValueError):
    """Raised in a model's validator to name the key inside the model that is wrong.

    *key* is dotted (``inflow.0.rate``), or a tuple of keys where one of them holds a dot itself.
    """

    def __init__(self, key: str | tuple[str, ...], message: str) -> None:
        super().__init__(message)
        parts = tuple(key.split(".")) if isinstance(key, str) else key
        self.path: tuple[str | int, ...] = tuple(int(p) if p.isdigit() else p for p in parts)


def _read_whole(value: Any) -> int:
    number = NUMBER.read(value)
    if number != int(number):
        raise ValueError(f"must be a whole number, not {value}")
    return value if isinstance(value, int) else int(number)


Whole = Annotated[int, BeforeValidator(_read_whole)]
"""A whole number; ``2e3`` and numeric text are accepted, truth values are not."""
