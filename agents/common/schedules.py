"""Values that change with the environment steps taken: exploration, learning rates."""

from __future__ import annotations


def linear(start: float, end: float, over: float, step: float) -> float:
    """Return the value at *step* of a line from *start* to *end* that takes *over* steps and then stays.

    >>> linear(1.0, 0.05, 50_000, 25_000)
    0.525
    """
    if over <= 0:
        return end
    share = min(max(step / over, 0.0), 1.0)
    return (1.0 - share) * start + share * end
