"""What is ordered of the traffic at one instant, as arrays: filled by tasks, applied by the bridge, recorded.

Rows are row numbers of the :class:`~cosim.traffic.state.TrafficState` that the decision was made on.  Orders are
carried out in the order they were given; they take effect in the step that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.traffic.state import TrafficState

Rows = NDArray[np.intp]
Order = tuple[str, list[str], tuple[Any, ...], str]
"""Kind, vehicle ids, columns of values (each a list as long as the ids), and who ordered it."""


class Commands:
    """The orders of one instant, on the vehicles of one state; ``source`` names who is ordering."""

    __slots__ = ("orders", "source", "state")

    def __init__(self, state: TrafficState, source: str = "") -> None:
        self.state = state
        self.source = source
        self.orders: list[Order] = []

    def __len__(self) -> int:
        return len(self.orders)

    def _add(self, kind: str, rows: Rows, *columns: Any) -> None:
        index = rows.tolist()
        if index:
            ids = self.state.ids
            self.orders.append((kind, [ids[i] for i in index], columns, self.source))

    def speed(self, rows: Rows, values: NDArray[np.float64]) -> None:
        """Drive at ``values`` (n,) m/s from now on."""
        self._add("speed", rows, values.tolist())

    def ramp(self, rows: Rows, values: NDArray[np.float64], duration: float) -> None:
        """Change evenly to ``values`` (n,) m/s within ``duration`` s; afterwards SUMO drives again."""
        self._add("ramp", rows, values.tolist(), [duration] * len(rows))

    def acceleration(self, rows: Rows, values: NDArray[np.float64], duration: float) -> None:
        """Accelerate by ``values`` (n,) m/s^2 for ``duration`` s; afterwards SUMO drives again."""
        self._add("acceleration", rows, values.tolist(), [duration] * len(rows))

    def lane(self, rows: Rows, lanes: NDArray[np.int32], duration: float) -> None:
        """Change to lane index ``lanes`` (n,) and stay there for ``duration`` s."""
        self._add("lane", rows, lanes.tolist(), [duration] * len(rows))

    def modes(self, rows: Rows, speed_mode: int, lane_change_mode: int) -> None:
        """Set SUMO's speed mode and lane-change mode bit sets."""
        self._add("modes", rows, [speed_mode] * len(rows), [lane_change_mode] * len(rows))

    def release(self, rows: Rows, speed_mode: int = 31, lane_change_mode: int = 1621) -> None:
        """Hand the vehicles back to SUMO: no commanded speed, and the modes given (SUMO's defaults)."""
        self._add("speed", rows, [-1.0] * len(rows))
        self.modes(rows, speed_mode, lane_change_mode)

    def colour(self, rows: Rows, rgba: NDArray[np.uint8]) -> None:
        """Draw the vehicles in colours ``rgba`` (n, 4), 0 to 255 (sumo-gui)."""
        self._add("colour", rows, *(rgba[:, k].tolist() for k in range(4)))

    def route(self, rows: Rows, routes: Sequence[Sequence[str]]) -> None:
        """Follow new routes, each a list of edges that begins with the vehicle's present edge."""
        self._add("route", rows, [" ".join(route) for route in routes])

    def move_to(
        self,
        rows: Rows,
        edges: Sequence[str],
        lanes: NDArray[np.int32],
        xy: NDArray[np.float64],
        angle: NDArray[np.float64],
        keep_route: int = 1,
    ) -> None:
        """Put the vehicles at ``xy`` (n, 2) m with heading ``angle`` (n,) degrees (SUMO's moveToXY)."""
        self._add(
            "move_to",
            rows,
            list(edges),
            lanes.tolist(),
            xy[:, 0].tolist(),
            xy[:, 1].tolist(),
            angle.tolist(),
            [keep_route] * len(rows),
        )

    def migrate(self, rows: Rows, targets: Sequence[str], shares: NDArray[np.float64]) -> None:
        """Move ``shares`` (n,) of the vehicles' edge tasks to the servers named ``targets``; no order to SUMO."""
        self._add("migrate", rows, shares.tolist(), list(targets))

    def note(self, rows: Rows, key: str, texts: Sequence[str]) -> None:
        """Attach a text to each vehicle, shown by sumo-gui on selection."""
        self._add("note", rows, [key] * len(rows), list(texts))

    def remove(self, rows: Rows) -> None:
        """Take the vehicles off the road at once; they are in no later state."""
        self._add("remove", rows)
