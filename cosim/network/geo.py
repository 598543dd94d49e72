"""Where the two ends of radio links are: the arrays that every path loss and LOS model reads.

One :class:`Geo` describes any set of pairs (vehicles x stations, a list of links, a batch of groups): its arrays
broadcast against each other, so models are plain elementwise functions.  Distances are kept squared and turned
into what a model asks for when it asks.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LOS, NLOSV, NLOS = 0, 1, 2
"""States of a link: line of sight; blocked by vehicles; blocked by buildings."""

Floats = NDArray[np.float64]


class Geo:
    """Geometry of a set of links.

    Args:
        dx, dy: planar offsets of the ends, m, of the pairs' shape.
        h_tx, h_rx: antenna heights above ground, m, broadcastable; tx is the vehicle of a vehicle-station pair.
            All models are reciprocal.
        f_hz: carrier frequency, Hz.
        los: uint8 states (LOS, NLOSV, NLOS), or None where the model should take line of sight.
        d_min: planar distances below this are clamped, m; ``clamped`` counts them.
        dz: difference of the ground heights of the two ends, m, broadcastable.
    """

    def __init__(
        self,
        dx: Floats,
        dy: Floats,
        h_tx: Floats | float,
        h_rx: Floats | float,
        f_hz: float,
        los: NDArray[np.uint8] | None = None,
        d_min: float = 0.0,
        dz: Floats | float = 0.0,
    ) -> None:
        self.dx, self.dy = dx, dy
        self.h_tx, self.h_rx = h_tx, h_rx
        self.f_hz = f_hz
        self.los = los
        square = dx * dx
        square += dy * dy
        self.clamped = 0
        if d_min > 0.0 and square.size and square.min() < d_min * d_min:
            self.clamped = int(np.count_nonzero(square < d_min * d_min))
            np.maximum(square, d_min * d_min, out=square)
        self.square = square
        self.dz = dz

    @classmethod
    def at(
        cls,
        d: Floats,
        f_hz: float,
        h_tx: float = 1.5,
        h_rx: float = 1.5,
        los: NDArray[np.uint8] | None = None,
    ) -> Geo:
        """Return links of planar length ``d`` (m) along the x axis, for checks and curves."""
        d = np.asarray(d, np.float64)
        return cls(d, np.zeros_like(d), h_tx, h_rx, f_hz, los)

    @cached_property
    def d2(self) -> Floats:
        """Planar distance, m."""
        return np.sqrt(self.square)

    @cached_property
    def square3(self) -> Floats:
        """Squared distance between the antennas, m^2."""
        rise = self.h_tx - self.h_rx + self.dz
        return self.square + rise * rise

    @cached_property
    def d3(self) -> Floats:
        """Distance between the antennas, m."""
        return np.sqrt(self.square3)

    @cached_property
    def lg2(self) -> Floats:
        """log10 of the planar distance in m."""
        lg = np.log10(self.square)
        lg *= 0.5
        return lg

    @cached_property
    def lg3(self) -> Floats:
        """log10 of the antenna distance in m."""
        lg = np.log10(self.square3)
        lg *= 0.5
        return lg

    @property
    def nlos(self) -> NDArray[np.bool_] | None:
        """Which links are blocked by buildings; None if none is known to be."""
        return None if self.los is None else self.los == NLOS
