"""Avatar migration: every slot each vehicle picks a target RSU and the share of its task to pre-migrate there.

Chen et al., arXiv 2306.14683. ``latency`` has equations (1) to (10) as pure functions, ``draws`` the keyed random
numbers, ``space`` RSUs, masks and residence times, ``episode`` the queues and the settling of joint decisions,
``observation`` the four observation sets, ``tape`` recorded mobility, ``recording`` its way from a SUMO run, and
``batch`` many tapes stepped together. In lockstep, ``fleet`` knows the agent vehicles, ``models`` has the latency
models behind one interface, ``queues`` the one on the network layer, ``options`` what a scenario may set, ``metrics``
the measures, ``picture`` what sumo-gui shows, and ``task`` puts them together. Decisions never change the traffic: a
tape gives the rewards of lockstep to the bit.
"""

from cosim.tasks.migration.batch import TapeBatch
from cosim.tasks.migration.draws import Parameters, Ranges, draw_parameters, draw_tasks
from cosim.tasks.migration.episode import (
    Outcome,
    Slot,
    own_latency,
    service_order,
    service_place,
    settle,
)
from cosim.tasks.migration.latency import (
    Latency,
    Rules,
    channel_gain,
    equal_finish,
    link_rate,
    spectral_efficiency,
    task_latency,
)
from cosim.tasks.migration.models import LATENCY_MODELS, Decision, LatencyModel, ModelSetup
from cosim.tasks.migration.observation import (
    OBSERVATIONS,
    SHARES,
    ObservationSet,
    observation_length,
    observation_names,
    observe,
)
from cosim.tasks.migration.options import MigrationOptions
from cosim.tasks.migration.recording import tape_of
from cosim.tasks.migration.space import (
    NONE,
    Layout,
    action_mask,
    decide,
    distances,
    remaining_distance,
    residence_time,
    serving_station,
    station_ahead,
    vehicle_order,
)
from cosim.tasks.migration.tape import MobilityTape, load_tape, save_tape
from cosim.tasks.migration.task import MigrationTask

__all__ = [
    "LATENCY_MODELS",
    "NONE",
    "OBSERVATIONS",
    "SHARES",
    "Decision",
    "Latency",
    "LatencyModel",
    "Layout",
    "MigrationOptions",
    "MigrationTask",
    "MobilityTape",
    "ModelSetup",
    "ObservationSet",
    "Outcome",
    "Parameters",
    "Ranges",
    "Rules",
    "Slot",
    "TapeBatch",
    "action_mask",
    "channel_gain",
    "decide",
    "distances",
    "draw_parameters",
    "draw_tasks",
    "equal_finish",
    "link_rate",
    "load_tape",
    "observation_length",
    "observation_names",
    "observe",
    "own_latency",
    "remaining_distance",
    "residence_time",
    "save_tape",
    "service_order",
    "service_place",
    "serving_station",
    "settle",
    "spectral_efficiency",
    "station_ahead",
    "tape_of",
    "task_latency",
    "vehicle_order",
]
