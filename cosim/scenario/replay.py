"""The ``traffic.replay`` section: which matched traces drive, from when, as what, and how."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from cosim.scenario.base import Section, Whole
from cosim.scenario.units import Length, WholeTime, shown

_CLOCK = re.compile(r"(\d{4}-\d{2}-\d{2} )?\d{2}:\d{2}:\d{2}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class ReplayConfig(Section):
    """Vehicles from GPS traces; ids are ``NAME.VEHICLE.SEGMENT`` with the trace's own vehicle where it can be written.

    ``mode``: ``replay`` puts each vehicle where its trace says at every step, ``routes`` gives SUMO the matched
    route and the departure and lets it drive.  ``align``: ``clock`` keeps the times of day, ``begin`` being the
    start of the simulation; ``start`` lets every trip begin with the simulation.  ``cover``: only trips that are on
    the road from the start of the simulation until then.  ``count``: only the first so many of those.  ``off_road``: a
    fix further than this from its matched place is replayed where it is, off the road.
    """

    traces: Annotated[str, Field(min_length=1)]
    mode: Literal["replay", "routes"] = "replay"
    name: str = "trace"
    type: str = "hdv"
    align: Literal["clock", "start"] = "clock"
    begin: str | None = None
    vehicles: tuple[str, ...] | None = None
    cover: Annotated[WholeTime, Field(ge=0)] = 0.0
    count: Annotated[Whole, Field(ge=1)] | None = None
    off_road: Annotated[Length, Field(gt=0)] = 50.0

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} must start with a letter and hold letters, digits, '_' and '-' only")
        return value

    @field_validator("begin")
    @classmethod
    def _check_clock(cls, value: str | None) -> str | None:
        if value is not None and not _CLOCK.fullmatch(value):
            raise ValueError(
                f"{shown(value)} is not a time of day such as '08:00:00' or '2014-10-22 08:00:00'"
            )
        return value
