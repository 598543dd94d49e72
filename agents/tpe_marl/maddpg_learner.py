"""Learning of ``tpe_marl.maddpg``: a central critic of all vehicles' actions and one actor for all, with torch.

What is explored with is the actor being learnt; what is evaluated and shipped is its target copy, a running average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.learning import NetLearner, descend
from agents.common.networks import (
    load_module,
    module_arrays,
    set_learning_rate,
    soft_copy,
)
from agents.common.window_memory import Draw, Held, WindowMemory, gather
from agents.tpe_marl.actor_critic import (
    CentralCritic,
    JointBatch,
    MixedActor,
    as_known,
    maddpg_actor_loss,
    maddpg_critic_loss,
)
from agents.tpe_marl.inputs import TRAFFIC, Floats, slot_state
from agents.tpe_marl.maddpg_agent import NET, NOISE, MaddpgActor, MaddpgConfig
from agents.tpe_marl.team_rows import (
    BySlot,
    by_slot,
    flat_traffic,
    grid,
    own_reward,
    slot_features,
    team_reward,
    window_traffic,
)
from cosim.lockstep.learner import Setup, Window
from cosim.tasks.driving.observation import FEATURES

Arrays = dict[str, NDArray[Any]]
_ROWS = ("inputs", "action", "slot", "features", "own", "ahead")
_INSTANTS = ("reward", "traffic")


def rows_ahead(window: Window, where: BySlot) -> NDArray[np.int16]:
    """Return (R,) how many rows later the same vehicle stands one instant later; 0 if it left."""
    place = np.full(len(window) + 1, -1, dtype=np.int64)
    place[where.order] = np.arange(len(where.order))
    following = place[window.next[where.order]]
    ahead = np.where(following >= 0, following - np.arange(len(where.order)), 0)
    return ahead.astype(np.int16)


class MaddpgLearner(NetLearner[WindowMemory]):
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup) -> None:
        config: MaddpgConfig = setup.config
        super().__init__(setup, MaddpgActor(setup.info, config), WindowMemory(config.memory))
        self._config, self._inputs = config, config.rows()
        state = config.slots * FEATURES + TRAFFIC

        def nets() -> tuple[MixedActor, CentralCritic]:
            actor = MixedActor(self._inputs.size, self._weights, config.hidden, config.outputs)
            own = self._inputs.size if config.critic == "each" else 0
            critic = CentralCritic(state, config.slots, self._weights, config.hidden, config.outputs, own)
            return actor.to(self._device), critic.to(self._device)

        self._net, self._critic = nets()
        self._target, self._target_critic = nets()
        self._follow(1.0)
        for copy in (self._target, self._target_critic):
            copy.requires_grad_(False)
        self._optimizers: dict[str, torch.optim.Optimizer] = {
            "actor_optimizer": torch.optim.Adam(self._net.parameters(), lr=config.learning_rate, fused=True),
            "critic_optimizer": torch.optim.Adam(
                self._critic.parameters(), lr=config.learning_rate, fused=True
            ),
        }

    def _follow(self, share: float) -> None:
        soft_copy(self._target, self._net, share)
        soft_copy(self._target_critic, self._critic, share)

    # -- acting --

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Begin to learn from these weights; the critic stays as it is."""
        for net in (self._net, self._target):
            load_module(net, weights, NET)

    def policy(self, explore: bool = False) -> Arrays:
        """Return the target actor's weights, or those being learnt and the noise."""
        if not explore:
            return module_arrays(self._target, NET)
        return {**module_arrays(self._net, NET), NOISE: np.array([self._noise()])}

    def _noise(self) -> float:
        return self.now(*self._config.noise, self._config.noise_steps)

    # -- learning --

    def add(self, windows: Sequence[Window]) -> None:
        """Take in whole windows."""
        slots = self._config.slots
        for window in windows:
            where = by_slot(window, slots)
            action = window.values[where.order].astype(np.float32)
            settled = window.decided & (window.next >= 0)
            rows: Arrays = {
                "inputs": self._inputs(window.obs[where.order]),
                "action": action,
                "slot": where.slot,
                "features": window.obs[where.order, :FEATURES],
                "own": self._learnt(own_reward(window)[where.order], np.rint(action[:, 1]) != 0),
                "ahead": rows_ahead(window, where),
            }
            changing = np.rint(window.values[settled, 1]) != 0
            at = window.instants()[settled]
            count = np.bincount(at, minlength=len(window.t_us))
            changes = np.bincount(at[changing], minlength=len(window.t_us)) / np.maximum(count, 1)
            instants: Arrays = {
                "reward": self._learnt(team_reward(window), changes),
                "traffic": window_traffic(window, slots),
            }
            self._memory.add(Held(where.first, rows, instants))
            self.took(window, self._config.steps_per_update)

    def _learnt(self, reward: Floats, changes: NDArray[Any]) -> Floats:
        config = self._config
        learnt = (reward + config.reward_shift) * config.reward_scale - config.lane_change_cost * changes
        return np.asarray(learnt, dtype=np.float32)

    def update(self) -> dict[str, float]:
        """Make the gradient steps that are due; signals are means over them."""
        config = self._config
        signals = {"noise": self._noise(), "memory_windows": float(len(self._memory))}
        due = self.due(config.learn_from)
        if self._steps < config.learn_from:
            return {**signals, "updates": float(self._updates)}
        rate = self.set_rates(config)
        set_learning_rate(self._optimizers["actor_optimizer"], rate * config.actor_rate)
        sums = torch.zeros(4, device=self._device)
        for _ in range(due):
            sums += self._step()
            self._updates += 1
        signals |= {"updates": float(self._updates), "learning_rate": rate}
        if due:
            names = ("td_loss", "actor_loss", "learner_reward", "gradient_norm")
            signals |= dict(zip(names, (sums / due).tolist(), strict=True))
        return signals

    def _step(self) -> torch.Tensor:
        """One gradient step of both; returns (4,) TD loss, actor loss, mean reward, and the critic gradient's norm."""
        config = self._config
        batch = self._batch()
        if not len(batch.inputs):
            return torch.zeros(4, device=self._device)
        loss = maddpg_critic_loss(
            self._critic, self._target_critic, self._target, batch, config.gamma, config.huber
        )
        norm = self._descend("critic_optimizer", self._critic, loss)
        self._critic.requires_grad_(False)
        actor_loss = maddpg_actor_loss(self._net, self._critic, batch, config.saturation, config.entropy)
        self._descend("actor_optimizer", self._net, actor_loss)
        self._critic.requires_grad_(True)
        self._follow(config.follow)
        if config.critic == "each":
            reward = batch.own.mean()
        else:
            there = batch.alive.any(dim=-1)
            reward = (batch.reward * there).sum() / there.sum().clamp(min=1)
        return torch.stack([loss.detach(), actor_loss.detach(), reward, norm])

    def _descend(self, name: str, net: nn.Module, loss: torch.Tensor) -> torch.Tensor:
        return descend(self._optimizers[name], loss, [*net.parameters()], self._config.clip)

    def _batch(self) -> JointBatch:
        draw = gather(self._memory.picks(self._random, self._config.batch, 2), _ROWS, _INSTANTS)
        reward = draw.instants["reward"][:, 0]
        alive, state = self._alive_and_state(draw)
        before = draw.cell % 2 == 0
        rows, at = draw.rows, before.nonzero()[0]
        number = np.cumsum(~before) - 1
        ahead = rows["ahead"][before].astype(np.int64)
        own = rows["own"][before] if self._config.reward == "own" else reward[draw.cell[before] // 2]
        return JointBatch(
            inputs=self.tensor(rows["inputs"][before]),
            action=as_known(self.tensor(rows["action"][before]), self._config.outputs),
            alive=self.tensor(alive[:, 0]),
            state=self.tensor(state[:, 0]),
            reward=self.tensor(reward),
            next_inputs=self.tensor(rows["inputs"][~before]),
            next_alive=self.tensor(alive[:, 1]),
            next_state=self.tensor(state[:, 1]),
            own=self.tensor(own),
            after=self.tensor(np.where(ahead > 0, number[at + ahead], 0)),
            left=self.tensor(ahead == 0),
        )

    def _alive_and_state(self, draw: Draw) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which slots hold a vehicle (B, 2, N) and the plain state (B, 2, S)."""
        slots = self._config.slots
        alive = grid(draw, np.ones(len(draw.cell), dtype=np.bool_), slots)
        features, traffic = slot_features(draw, slots), flat_traffic(draw)
        state = slot_state(features, alive.reshape(-1, slots), traffic, self._config.scaled_state)
        return alive, state.reshape(draw.count, draw.length, -1)

    # -- what is saved --

    def nets(self) -> dict[str, nn.Module]:
        """Return all networks by name."""
        return {
            NET: self._net,
            "critic": self._critic,
            "target_actor": self._target,
            "target_critic": self._target_critic,
        }

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return both optimizers."""
        return dict(self._optimizers)
