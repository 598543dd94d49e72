"""The network layer: RSU, BS and device-to-device radio, wired links and edge servers, in lockstep with SUMO.

The way in is :class:`Network`, built from a scenario's ``network`` section (:class:`NetworkConfig`) and a net; its
``step`` turns a TrafficState into a :class:`NetworkState`.  Models are pure functions in registries; a model of your
own is added with the decorators of :mod:`cosim.network.plugin`.

The rooms: geometry and models (``geo``, ``models``, ``pathloss``, ``pathloss_3gpp``, ``los``, ``blockage``,
``fading``, ``rates``), randomness (``randomness``, ``shadowing``, ``correlated``), links (``channel``, ``cellular``,
``cells``, ``d2d``, ``underlay``, ``interference``, ``allocation``, ``association``), computing (``queues``,
``agenda``, ``wired``, ``servers``, ``jobs``, ``edge``, ``offload``), the scenario's side (``choice``,
``channel_config``, ``config``, ``stations``, ``links``), and what comes out (``network``, ``state``, ``metrics``,
``coverage``).
"""

from cosim.network.allocation import ALLOCATORS
from cosim.network.association import POLICIES
from cosim.network.config import NetworkConfig
from cosim.network.coverage import CoverageMap, coverage_map
from cosim.network.fading import FADING
from cosim.network.geo import LOS, NLOS, NLOSV, Geo
from cosim.network.jobs import (
    SERVING,
    Handover,
    Job,
    JobDone,
    JobDropped,
    JobMoved,
    NetworkEvents,
    PartDone,
    Submission,
)
from cosim.network.los import LOS_MODELS
from cosim.network.metrics import NetworkMetrics
from cosim.network.models import PATHLOSS
from cosim.network.network import Network
from cosim.network.queues import DISCIPLINES, Work, WorkQueue
from cosim.network.state import D2dState, NetworkState, ServerState

__all__ = [
    "ALLOCATORS",
    "DISCIPLINES",
    "FADING",
    "LOS",
    "LOS_MODELS",
    "NLOS",
    "NLOSV",
    "PATHLOSS",
    "POLICIES",
    "SERVING",
    "CoverageMap",
    "D2dState",
    "Geo",
    "Handover",
    "Job",
    "JobDone",
    "JobDropped",
    "JobMoved",
    "Network",
    "NetworkConfig",
    "NetworkEvents",
    "NetworkMetrics",
    "NetworkState",
    "PartDone",
    "ServerState",
    "Submission",
    "Work",
    "WorkQueue",
    "coverage_map",
]
