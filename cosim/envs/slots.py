"""A task as Gymnasium Env for one learner: all vehicles at once, in a fixed number of slots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from cosim.envs.episodes import Episodes
from cosim.envs.session import quiet
from cosim.envs.spaces import slots_action_space, slots_observation_space
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.protocol import Observations
from cosim.scenario import Scenario

Observation = dict[str, Any]


class SlotsEnv(gymnasium.Env[Observation, Any]):
    """Slot k holds one vehicle from its entry until it leaves; free slots hold zeros and ignore their action.

    An observation is ``{observation (slots, d), alive (slots,), action_mask (slots, A)}``; an empty slot's mask
    allows everything.  The reward is the mean over the vehicles that acted (driving: r_env, which all share).
    Decisions without any vehicle are skipped.  While all slots are taken, further vehicles are left to SUMO (or
    order nothing) and take a slot when one falls free.  An episode is truncated, never terminated.
    ``info["ids"]`` names the vehicle in each slot (empty: none).
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(self, episodes: Episodes, slots: int = 25) -> None:
        if slots < 1:
            raise ScenarioError(f"an environment needs at least one slot, got {slots}")
        self._episodes = episodes
        self._role = episodes.seat.role
        self._names = [""] * slots
        self.observation_space = slots_observation_space(self._role, slots)
        self.action_space = slots_action_space(self._role.action, slots)
        self.render_mode = None
        self._slot_of: dict[str, int] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; arguments and errors as :meth:`ParallelTaskEnv.reset`."""
        super().reset(seed=seed)
        turn = self._episodes.reset(seed, keep_traffic=bool(options and options.get("keep_traffic")))
        self._slot_of.clear()
        return self._told(turn.now)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute the slots' actions; AgentError if they do not fit the action space."""
        acted = self._slot_of.copy()
        turn = self._episodes.step(self._values(action))
        after = turn.after
        rewards = [r for name, r in zip(after.ids, after.reward.tolist(), strict=True) if name in acted]
        observation, info = self._told(turn.now)
        return observation, float(np.mean(rewards)) if rewards else 0.0, False, turn.over, info

    def close(self) -> None:
        """End the simulation; may be called again, and reset() may follow."""
        self._episodes.close()

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the present masks, (slots * A,), as maskable learners ask for them."""
        turn = self._episodes.turn
        if turn is None or turn.now.mask is None:
            raise AgentError("there is no action mask: call reset() first, and use a task with choices")
        return self._placed(turn.now.mask, np.ones((len(self._names), self._role.action.n), np.bool_)).ravel()

    def metrics(self) -> dict[str, float | None]:
        """Return the task's metrics since the warm-up, SI; None where nothing was measured."""
        return self._episodes.metrics()

    # -- inside --

    def _values(self, action: Any) -> NDArray[Any]:
        """Return an answer for the vehicles that wait: their slots' actions, the rest left alone."""
        if not self.action_space.contains(action):
            raise AgentError(f"step(): the action is not in {self.action_space}")
        turn = self._episodes.turn
        if turn is None:
            raise AgentError("the environment is not running: call reset() first")
        spec, now = self._role.action, turn.now
        table = np.column_stack(action) if spec.n and spec.k else np.asarray(action)
        values = quiet(self._episodes.seat.info, self._role, now.active)
        rows, slots = self._seated(now)
        values[rows] = table[slots]
        return values

    def _told(self, now: Observations) -> tuple[Observation, dict[str, Any]]:
        """Seat the vehicles that wait and return observation and info."""
        ids = now.ids[: now.active]
        here = set(ids)
        for name in [n for n in self._slot_of if n not in here]:
            del self._slot_of[name]
        taken = set(self._slot_of.values())
        free = iter([k for k in range(len(self._names)) if k not in taken])
        for name in ids:
            if name not in self._slot_of and (slot := next(free, None)) is not None:
                self._slot_of[name] = slot
        slots = len(self._names)
        alive = np.zeros(slots, np.int8)
        alive[list(self._slot_of.values())] = 1
        observation = {
            "observation": self._placed(now.obs, np.zeros((slots, self._role.obs_dim), np.float32)),
            "alive": alive,
        }
        if now.mask is not None:
            masks = np.ones((slots, self._role.action.n), np.int8)
            observation["action_mask"] = self._placed(now.mask, masks)
        self._names = [""] * slots
        for name, slot in self._slot_of.items():
            self._names[slot] = name
        # Copies: a task may hand out the same array again while nothing changes.
        shared = {name: np.array(values) for name, values in now.shared.items()}
        return observation, {"t_us": now.t_us, "ids": tuple(self._names), "shared": shared}

    def _seated(self, now: Observations) -> tuple[list[int], list[int]]:
        """Return the rows that have a slot, and those slots."""
        pairs = [
            (row, self._slot_of[name])
            for row, name in enumerate(now.ids[: now.active])
            if name in self._slot_of
        ]
        return [row for row, _ in pairs], [slot for _, slot in pairs]

    def _placed(self, rows: NDArray[Any], into: NDArray[Any]) -> NDArray[Any]:
        turn = self._episodes.turn
        assert turn is not None
        at, slots = self._seated(turn.now)
        into[slots] = rows[at]
        return into


def gym_env(
    scenario: Scenario | str | Path,
    overrides: Sequence[str] = (),
    *,
    slots: int = 25,
    task: str | None = None,
    seed: int | None = None,
    warmup: float | str | None = None,
    backend: str | None = None,
    worker: bool | None = None,
    plugins: Sequence[str] = (),
) -> SlotsEnv:
    """Return a task of *scenario* as a Gymnasium Env with that many slots; the rest as :func:`parallel_env`."""
    return SlotsEnv(
        Episodes(
            scenario,
            overrides,
            task=task,
            seed=seed,
            warmup=warmup,
            backend=backend,
            worker=worker,
            plugins=plugins,
        ),
        slots,
    )
