"""How large inputs and networks are for a migration task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.hybrid_mappo.central_state import state_length
from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.guide import Guide
from cosim.errors import ScenarioError
from cosim.tasks.migration import ObservationSet, observation_length, observation_names
from cosim.tasks.migration.observation import SCALES

_RECKONED = ("own_latency", "best_share")


@dataclass(frozen=True)
class Sizes:
    """``width`` d of an actor's input, ``targets`` A choices, ``agents`` V, ``state`` S of the central state."""

    width: int
    targets: int
    agents: int
    state: int
    guide: Guide | None
    task: int | None
    """Column of the input that holds the size of the task."""

    @classmethod
    def of(cls, config: HybridConfig, stations: int, agents: int, remote: bool) -> Sizes:
        """Return the sizes for M RSUs and V vehicles.

        ScenarioError if the actors are to start from a rule that needs what their inputs do not hold.
        """
        observation: ObservationSet = config.observation
        width = observation_length(observation, stations, agents)
        names = observation_names(observation, stations, agents)
        guide = None
        if config.guide:
            if remote or observation != "own_latency":
                raise ScenarioError("guide: needs the observation own_latency of an urban layout")
            columns = [[names.index(f"{what}_{j}") for j in range(stations)] for what in _RECKONED]
            latency, share = (np.array(block) for block in columns)
            guide = Guide(latency, share, SCALES["latency"] / config.guide, config.guide_share)
        targets = 2 if remote else stations
        task = names.index("task") if "task" in names else None
        return cls(width, targets, agents, state_length(width, agents, stations), guide, task)
