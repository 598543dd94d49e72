"""What a task is to the engine: a decision problem that watches the road, asks, and orders.

A task is built once a run from its options (its own pydantic model, validated from ``tasks.NAME`` of the
scenario) and a :class:`TaskContext`.  The engine calls, in this order and at one instant each: ``watch`` at every
traffic step, then where the task's period is due ``settle``, and for each phase ``observe`` and ``apply``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cosim.lockstep.protocol import Actions, Observations, RoleSpec
from cosim.registry import Registry
from cosim.traffic.commands import Commands
from cosim.traffic.nets import Net
from cosim.traffic.state import TrafficState, VehicleType

if TYPE_CHECKING:
    from cosim.traffic.sumo import TrafficEvent
    from cosim.traffic.tracks import Tracks


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task is built from beside its own options.

    ``network`` is the network layer of the run (None: the scenario has none).
    """

    scenario: str
    seed: int
    period_us: int
    step_us: int
    net: Net
    types: tuple[VehicleType, ...]
    type_modes: Mapping[str, tuple[int, int]]
    routes: Sequence[str] = ()
    """Names of the routes that the scenario's demand uses."""
    network: Any = None
    warmup_us: int = 0
    """Until then the run is not measured."""


@dataclass(slots=True)
class Instant:
    """One instant of the run as tasks see it, and where they put their orders.

    ``measured`` is False during the warm-up: nothing then counts in metrics.  ``events`` are those of the traffic
    step that led here (empty at instants between two traffic steps).
    """

    t_us: int
    traffic: TrafficState
    network: Any
    events: Sequence[TrafficEvent]
    commands: Commands
    measured: bool
    network_events: Any = None
    """What happened in the network since its tick before; None where the network does not tick at this instant."""
    records: list[TaskEvent] = field(default_factory=list)
    """Task events of this instant, for the recorder."""


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something worth a row in ``events/`` that a task decided or saw (migration, contract, masked action …)."""

    t_us: int
    kind: str
    id: str
    other: str = ""
    station: str = ""
    value: float = float("nan")
    text: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a task shows of an instant in a window, beside words.

    ``links`` are lines by kind (``serving``, ``target`` …), (n, 4) x1, y1, x2, y2 in m, rows with NaN left out;
    ``levels`` say of stations, by id, how full they are (0 to 1) and that in a few words.
    """

    links: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    levels: Mapping[str, tuple[float, str]] = field(default_factory=dict)


class Task(Protocol):
    """A decision problem."""

    name: ClassVar[str]
    Options: ClassVar[type[BaseModel]]
    roles: Mapping[str, RoleSpec]
    phases: Sequence[str]
    """Roles in the order in which they decide at one instant."""
    step_columns: Sequence[str]
    """Names of the values that the task adds to each row of ``steps/``."""
    metric_names: ClassVar[Sequence[str]]

    def __init__(self, options: Any, context: TaskContext) -> None: ...

    def watch(self, now: Instant) -> None:
        """See the road after a traffic step: statistics and events, no decision."""

    def settle(self, now: Instant) -> None:
        """Close the decision before: its rewards, who left, who ended."""

    def observe(self, now: Instant, phase: str) -> Observations:
        """Return the batch of that role, with the rewards that ``settle`` computed."""

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        """Order what was decided; return the actions as executed (masked ones replaced)."""

    def step_values(self) -> Sequence[float]:
        """Return the values of ``step_columns`` now."""

    def totals(self) -> dict[str, float | int | None]:
        """Return counts and sums over the whole run for the summary (decisions, reward, masked actions …)."""

    def metrics(self) -> dict[str, float | None]:
        """Return the task's metrics over the measured time, SI; None where nothing was measured."""


@runtime_checkable
class Taped(Protocol):
    """A task whose decisions never change the traffic: it may be trained on tapes instead of a running SUMO."""

    def tape(self, tracks: Tracks) -> bytes:
        """Return what the task needs of recorded tracks, as the bytes of a file; ScenarioError if they do not do."""


tasks: Registry[type[Task]] = Registry("cosim.tasks", "task")
"""Tasks by name: entry points of the group ``cosim.tasks`` and plug-ins."""
