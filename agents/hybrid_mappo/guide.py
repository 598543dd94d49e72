"""The rule that actors may start from: ``soft``, by what a vehicle reckons itself, read from its own input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Guide:
    """A rule that actors start from and learn to deviate from: ``soft``, by what a vehicle reckons itself.

    The scores get -T_sum / tau of each target, the share's parameters lean towards the best share by ``weight``.

    Attributes:
        latency: (M,) columns of the input that hold the least T_sum of each target.
        share: (M,) columns that hold the best share.
        slope: what the latency columns are multiplied by: their scale / tau.
        weight: of the best share.
    """

    latency: NDArray[np.int64]
    share: NDArray[np.int64]
    slope: float
    weight: float
