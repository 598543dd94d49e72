"""Learning of ``common.dqn``: double Q-learning on single transitions, with torch.

One call of :meth:`DQNLearner.update` makes as many gradient steps as the environment steps since the last call are
worth.  What is explored with are the weights being learnt; what is evaluated and shipped is their running average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.dqn import NAME, NET, DQNActor, DQNConfig, role_of
from agents.common.learning import NetLearner, descend
from agents.common.networks import PerceptronNet, load_module, module_arrays, soft_copy
from agents.common.replay import Batch, Replay
from agents.common.td import chosen, double_q_value, td_loss
from agents.common.trained import EPSILON
from cosim.errors import ScenarioError
from cosim.lockstep.learner import Setup, Window


class DQNLearner(NetLearner[Replay]):
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup) -> None:
        config: DQNConfig = setup.config
        role = role_of(setup.info)
        memory = Replay(config.memory, role.obs_dim, role.action.n)
        super().__init__(setup, DQNActor(setup.info, config), memory)
        self._config = config
        self._costs = np.array(config.choice_cost)
        if self._costs.size not in (0, role.action.n):
            raise ScenarioError(
                f"{NAME}: choice_cost has {self._costs.size} values for {role.action.n} choices"
            )
        self._inputs = config.inputs(role.obs_dim)
        sizes = (self._inputs.size, *config.hidden, role.action.n)
        self._net, self._target, self._average = (
            PerceptronNet(sizes, self._weights).to(self._device) for _ in range(3)
        )
        for copy in (self._target, self._average):
            soft_copy(copy, self._net, 1.0)
            copy.requires_grad_(False)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=config.learning_rate, fused=True)

    def nets(self) -> dict[str, nn.Module]:
        """What learns, its delayed copy, and its running average."""
        return {"net": self._net, "target": self._target, "average": self._average}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One, for what learns."""
        return {"adam": self._optimizer}

    # -- acting --

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Begin to learn from these weights."""
        for net in (self._net, self._target, self._average):
            load_module(net, weights, NET)

    def policy(self, explore: bool = False) -> dict[str, NDArray[Any]]:
        """Return the averaged weights, or those being learnt and epsilon."""
        if not explore:
            return module_arrays(self._average, NET)
        return {**module_arrays(self._net, NET), EPSILON: np.array([self._epsilon()], dtype=np.float64)}

    def _epsilon(self) -> float:
        return self.now(*self._config.epsilon, self._config.epsilon_steps)

    # -- learning --

    def add(self, windows: Sequence[Window]) -> None:
        """Take in the transitions of every entity."""
        for window in windows:
            self._memory.add(window, self._rewards(window))
            self.took(window, self._config.steps_per_update)

    def _rewards(self, window: Window) -> NDArray[np.float64]:
        reward = window.reward
        if self._config.reward == "own":
            own = window.shared.get("own_reward")
            if own is None or len(own.values) != len(window):
                raise ScenarioError(
                    f"{NAME}: task '{window.info.task}' gives no own_reward for each row; reward=team"
                )
            reward = np.where(window.next >= 0, own.values[window.next], 0.0)
        scaled = (reward + self._config.reward_shift) * self._config.reward_scale
        return scaled - self._costs[window.values] if self._costs.size else scaled

    def update(self) -> dict[str, float]:
        """Make the gradient steps that are due; signals are means over them."""
        config, rows = self._config, self._memory.rows
        signals = {"epsilon": self._epsilon(), "memory_rows": float(rows)}
        due = self.due(config.learn_from, rows)
        if rows < config.learn_from:
            return {**signals, "updates": float(self._updates)}
        rate = self.set_rates(config)
        sums = torch.zeros(3, device=self._device)
        for _ in range(due):
            sums += self._step(self._memory.sample(self._random, config.batch))
            self._updates += 1
            if self._updates % config.target_every == 0:
                soft_copy(self._target, self._net, 1.0)
        signals |= {"updates": float(self._updates), "learning_rate": rate}
        if due:
            signals |= dict(zip(("td_loss", "q_mean", "gradient_norm"), (sums / due).tolist(), strict=True))
        return signals

    def _step(self, batch: Batch) -> torch.Tensor:
        """One gradient step; returns (3,) loss, mean Q of what was done, and the gradient's norm."""
        obs, next_obs = self.tensor(self._inputs(batch.obs)), self.tensor(self._inputs(batch.next_obs))
        usable = self.tensor(batch.usable)
        with torch.no_grad():
            following = double_q_value(
                self._net(next_obs), self._target(next_obs), self.tensor(batch.next_mask)
            )
            # y = r + gamma Q^-(s', argmax_a Q(s', a)); nothing follows for who left.
            following = following.masked_fill(self.tensor(batch.done), 0.0)
            goal = self.tensor(batch.reward) + self._config.gamma * following
            if self._config.advantage:
                goal -= self._config.advantage * self._shortfall(obs, batch)
        q = chosen(self._net(obs), self.tensor(batch.action))
        loss = td_loss(q, goal, usable, self._config.huber)
        norm = descend(self._optimizer, loss, list(self._net.parameters()), self._config.clip)
        soft_copy(self._average, self._net, self._config.average)
        mean_q = (q.detach() * usable).sum() / usable.sum().clamp(min=1)
        return torch.stack([loss.detach(), mean_q, norm])

    def _shortfall(self, obs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return V(s) - Q(s, a) of the target network, V over the allowed choices."""
        held = self._target(obs)
        best = held.masked_fill(~self.tensor(batch.mask), -torch.inf).amax(dim=1)
        shortfall: torch.Tensor = best - chosen(held, self.tensor(batch.action))
        return shortfall
