"""What an agent reads from the migration task's observations: one decision slot as a :class:`Question` of one episode.

The same questions come from tapes (:mod:`agents.hybrid_mappo.playing`); from there on all is one code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.deciders import Decision, Question
from agents.hybrid_mappo.foresight import Foresight
from agents.hybrid_mappo.sizes import Sizes
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations, RoleSpec
from cosim.randomness import entity_keys
from cosim.tasks.migration import Layout, MigrationOptions, Rules, Slot, observation_length

US = 1_000_000


def migration_role(info: EpisodeInfo, name: str) -> RoleSpec:
    """Return the one role of a migration task; ScenarioError if the task is another."""
    role = next(iter(info.roles.values()))
    if len(info.roles) != 1 or not role.action.n or role.action.k != 1 or "vehicles" not in info.options:
        raise ScenarioError(f"agent '{name}' decides for the migration task, not for '{info.task}'")
    return role


def stations_of(info: EpisodeInfo, options: MigrationOptions) -> int:
    """Return M, the number of RSUs of a task."""
    role = next(iter(info.roles.values()))
    if options.space == "urban":
        return role.action.n
    for count in range(1, role.obs_dim + 1):
        if observation_length(options.observation, count, options.vehicles) == role.obs_dim:
            return count
    raise ScenarioError(
        f"task '{info.task}': observations of {role.obs_dim} entries are of no number of RSUs"
    )


def sizes_of(info: EpisodeInfo, config: HybridConfig) -> Sizes:
    """Return the sizes of networks for a task."""
    options = MigrationOptions.model_validate(info.options)
    return Sizes.of(config, stations_of(info, options), options.vehicles, options.space == "remote")


@dataclass(frozen=True)
class Reader:
    """Reads the observations of one episode."""

    name: str
    options: MigrationOptions
    rules: Rules
    seed: int

    @classmethod
    def of(cls, info: EpisodeInfo, name: str) -> Reader:
        """Return the reader for an episode; ScenarioError if the task is not the migration task."""
        migration_role(info, name)
        options = MigrationOptions.model_validate(info.options)
        return cls(name, options, options.rules(info.period_us / US), info.seed)

    def question(self, observations: Observations, foresight: Foresight) -> Question:
        """Return what is asked, E = 1, V the task's number of vehicles; absent vehicles have no task."""
        shared, n = observations.shared, observations.active
        try:
            slot = Slot.from_shared(shared)
            vehicle, layout = shared["vehicle"], Layout.from_shared(shared)
            counts = foresight.counts(layout, slot, shared["history"][None])
        except KeyError as error:
            raise AgentError(f"{self.name}: the observations do not say {error}") from None
        vehicles = slot.serving.shape[1]
        assert observations.mask is not None
        mask = np.ones((1, vehicles, observations.mask.shape[1]), dtype=np.bool_)
        keys = np.zeros((1, vehicles), dtype=np.uint64)
        mask[0, vehicle], keys[0, vehicle] = observations.mask[:n], entity_keys(observations.ids[:n])
        return Question(
            rules=self.rules,
            slot=slot,
            mask=mask,
            loads=foresight.loads(slot, counts),
            keys=keys,
            seeds=[self.seed],
            t_us=[observations.t_us],
            remote=layout.remote,
        )

    @staticmethod
    def actions(observations: Observations, decision: Decision) -> Actions:
        """Return a decision (E = 1) as the answer to the rows that were asked."""
        choice, share = decision
        vehicle: NDArray[np.int64] = observations.shared["vehicle"]
        return Actions(np.stack([choice[0, vehicle].astype(np.float64), share[0, vehicle]], axis=1))
