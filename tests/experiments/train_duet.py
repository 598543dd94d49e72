"""A task of two roles in turn and an agent that can be trained, for the tests of trainings; loaded with --plugin.

At each instant a ``leader`` answers, then two ``follower`` entities that are shown the leader's answer of that instant.
Rewards repeat the answers, so a test can tell which decision each belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cosim.lockstep import Actions, ActionSpec, EpisodeInfo, Observations, RoleSpec, register_agent
from cosim.lockstep.learner import LearnerState, Recipe, Setup, Window
from cosim.tasks.base import Instant, TaskContext, tasks

NAMES = {"leader": ("l",), "follower": ("f0", "f1")}


class DuetOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    episode: int = 5


@tasks.register("duet")
class Duet:
    """Counts its own instants; orders nothing of the traffic."""

    name: ClassVar[str] = "duet"
    Options: ClassVar[type[DuetOptions]] = DuetOptions
    metric_names: ClassVar[Sequence[str]] = ("answers",)
    phases: Sequence[str] = ("leader", "follower")
    step_columns: Sequence[str] = ()

    def __init__(self, options: DuetOptions, context: TaskContext) -> None:
        self.roles = {name: RoleSpec(name, 2, ActionSpec(n=1000)) for name in NAMES}
        self._last = {name: np.zeros(len(ids)) for name, ids in NAMES.items()}
        self._answers = 0

    def watch(self, now: Instant) -> None:
        pass

    def settle(self, now: Instant) -> None:
        base = 1000.0 if self._answers else 0.0
        self._rewards = {name: base + values for name, values in self._last.items()}

    def observe(self, now: Instant, phase: str) -> Observations:
        n = len(NAMES[phase])
        shown = self._last["leader"][0] if phase == "follower" else 0.0
        return Observations(
            now.t_us,
            phase,
            NAMES[phase],
            np.tile(np.array([now.t_us / 1e5, shown], np.float32), (n, 1)),
            None,
            {},
            self._rewards[phase],
            np.zeros(n, bool),
            np.zeros(n, bool),
            active=n,
        )

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        self._last[phase] = actions.values.astype(float)
        self._answers += len(actions.values)
        return actions

    def step_values(self) -> Sequence[float]:
        return ()

    def totals(self) -> dict[str, float | int | None]:
        return {"answers": self._answers}

    def metrics(self) -> dict[str, float | None]:
        return {"answers": float(self._answers)}


class DuetConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    diverge_at: int = 0
    fail_at: float = 0.0


@register_agent("test.duet")
class DuetAgent:
    """Answers with its weight plus the decision's number in the window; learns to count rounds."""

    Config: ClassVar[type[DuetConfig]] = DuetConfig
    recipes: ClassVar[Mapping[str, Recipe]] = {"default": Recipe()}

    def __init__(self, weights: Path | None = None) -> None:
        self._weight = 0

    def reset(self, info: EpisodeInfo) -> None:
        self._number = dict.fromkeys(NAMES, 0)

    def act(self, observations: Observations) -> Actions:
        number = self._number[observations.role]
        self._number[observations.role] += 1
        noted = np.full(observations.active, float(self._weight))
        return Actions(np.full(observations.active, self._weight + number), {"weight": noted})

    def close(self) -> None:
        pass

    @staticmethod
    def actor(setup: Setup) -> DuetActor:
        return DuetActor(setup)

    @staticmethod
    def learner(setup: Setup) -> DuetActor:
        return DuetActor(setup)


class DuetActor:
    """Both halves in one: the weight is ten times the rounds learnt from."""

    def __init__(self, setup: Setup) -> None:
        self._agent = DuetAgent()
        self._config = setup.config
        self.rounds = 0
        self.windows: list[Window] = []

    def reset(self, info: EpisodeInfo) -> None:
        self._agent.reset(info)

    def act(self, observations: Observations, explore: bool) -> Actions:
        if self._config.fail_at and observations.t_us >= self._config.fail_at * 1e6:
            raise ValueError("no more ideas")
        return self._agent.act(observations)

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._agent._weight = int(weights["weight"][0])

    def add(self, windows: Sequence[Window]) -> None:
        self.windows += windows

    def update(self) -> dict[str, float]:
        self.rounds += 1
        late = {"late": 1.0} if self.rounds > 3 else {}
        return {
            "rounds": float("nan") if self.rounds == self._config.diverge_at else float(self.rounds),
            **late,
        }

    def policy(self, explore: bool = False) -> dict[str, NDArray[Any]]:
        return {"weight": np.array([10 * self.rounds], dtype=np.int64)}

    def state(self) -> LearnerState:
        return LearnerState({"rounds": np.array([self.rounds])})

    def load(self, state: LearnerState) -> None:
        self.rounds = int(state.arrays["rounds"][0])
