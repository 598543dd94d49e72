"""Integer time: every instant and period in cosim is a whole number of microseconds.

Floating-point seconds exist only at the edges (scenario files, SUMO calls, printed tables).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

US = 1_000_000
"""Microseconds in a second."""


def to_us(seconds: float) -> int:
    """Return *seconds* as whole microseconds; ValueError if that would lose more than a nanosecond."""
    us = round(seconds * US) if math.isfinite(seconds) else 0
    # Beyond some months a double's own spacing is more than a nanosecond.  (`not <=`: NaN is refused too.)
    if not abs(us - seconds * US) <= 1e-3 + abs(us) * 2.0**-51:
        raise ValueError(f"{seconds!r} s is not a whole number of microseconds")
    return us


def to_s(us: int) -> float:
    """Return *us* microseconds in seconds."""
    return us / US


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a component acts, relative to the traffic step.

    ``period_us`` is a whole multiple or a whole divisor of ``step_us``; exactly one of ``every``
    (steps per action) and ``per_step`` (actions per step) exceeds 1 unless both are 1.
    """

    step_us: int
    period_us: int

    def __post_init__(self) -> None:
        if self.period_us <= 0 or self.step_us <= 0:
            raise ValueError("a period must be positive")
        if self.period_us % self.step_us and self.step_us % self.period_us:
            raise ValueError(
                f"period {self.period_us / 1000:g} ms is neither a whole multiple nor a whole divisor"
                f" of the traffic step {self.step_us / 1000:g} ms"
            )

    @property
    def every(self) -> int:
        """Traffic steps between two actions (1 if it acts in each step)."""
        return max(1, self.period_us // self.step_us)

    @property
    def per_step(self) -> int:
        """Actions in one traffic step (1 if it acts at most once)."""
        return max(1, self.step_us // self.period_us)

    def due(self, t_us: int) -> bool:
        """Whether the component acts at *t_us* (periods are counted from time 0)."""
        return t_us % self.period_us == 0
