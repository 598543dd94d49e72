"""What became of every row of a GPS file: counts by reason, with examples, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REASONS: Mapping[str, str] = {
    "header": "header repeated among the rows",
    "fields": "wrong number of fields (cut off, or other separators)",
    "encoding": "bytes that are no text",
    "vehicle": "no usable vehicle id",
    "time": "time that cannot be read",
    "position": "longitude or latitude is no number",
    "swapped": "longitude and latitude swapped",
    "range": "longitude or latitude beyond the globe",
    "speed": "speed negative, beyond 300 km/h, or no number",
    "occupied": "occupied is neither 0 nor 1",
    "outside": "outside the box of the city or net",
    "duplicate": "same vehicle, time and place as another row",
    "same_time": "same vehicle and time as another row, another place",
    "jump": "implied speed beyond the limit",
}
"""Why a row was dropped, in the order in which the rules apply."""

_EXAMPLES = 3


@dataclass
class Report:
    """Counts of one conversion; ``rows`` are the rows of data of the file, headers and blank lines not counted.

    ``dropped`` holds the reasons that occurred, ``examples`` the first few (line, text) of each; ``notes`` are
    sentences about what is worth knowing but dropped nothing.
    """

    source: str
    rows: int = 0
    kept: int = 0
    vehicles: int = 0
    segments: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rules: dict[str, Any] = field(default_factory=dict)

    def drop(self, reason: str, count: int, examples: list[tuple[int, str]]) -> None:
        """Count *count* rows dropped for *reason*."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
            known = self.examples.setdefault(reason, [])
            known += [(line, text[:100]) for line, text in examples[: _EXAMPLES - len(known)]]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON data."""
        order = [reason for reason in REASONS if reason in self.dropped]
        return {
            "source": self.source,
            "rows": self.rows,
            "kept": self.kept,
            "vehicles": self.vehicles,
            "segments": self.segments,
            "dropped": {reason: self.dropped[reason] for reason in order},
            "examples": {
                reason: [{"line": line, "text": text} for line, text in self.examples[reason]]
                for reason in order
            },
            "notes": self.notes,
            "rules": self.rules,
        }
