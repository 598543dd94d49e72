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

from agents.common.dqn import EPSILON, NAME, NET, DQNActor, DQNConfig, role_of
from agents.common.networks import (
    PerceptronNet,
    load_module,
    load_optimizer,
    module_arrays,
    optimizer_arrays,
    pick_device,
    set_learning_rate,
    soft_copy,
)
from agents.common.replay import Batch, Replay
from agents.common.schedules import linear
from agents.common.td import chosen, double_q_value, td_loss
from cosim.errors import ScenarioError
from cosim.lockstep.learner import LearnerState, Setup, Window
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations


class DQNLearner:
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup) -> None:
        config: DQNConfig = setup.config
        role = role_of(setup.info)
        self._config, self._horizon = config, setup.steps
        self._costs = np.array(config.choice_cost)
        if self._costs.size not in (0, role.action.n):
            raise ScenarioError(
                f"{NAME}: choice_cost has {self._costs.size} values for {role.action.n} choices"
            )
        self._actor = DQNActor(setup.info, config)
        self._inputs = config.inputs(role.obs_dim)
        self._device = pick_device(setup.device)
        generator = torch.Generator().manual_seed(setup.seed % 2**63)
        sizes = (self._inputs.size, *config.hidden, role.action.n)
        self._net = PerceptronNet(sizes, generator).to(self._device)
        self._target = PerceptronNet(sizes, generator).to(self._device)
        self._average = PerceptronNet(sizes, generator).to(self._device)
        for copy in (self._target, self._average):
            soft_copy(copy, self._net, 1.0)
            copy.requires_grad_(False)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=config.learning_rate, fused=True)
        self._replay = Replay(config.memory, role.obs_dim, role.action.n)
        self._random = np.random.default_rng(np.random.SeedSequence([setup.seed, 1]))
        self._steps = self._updates = 0
        self._owed = 0.0

    # -- acting --

    def reset(self, info: EpisodeInfo) -> None:
        """As the actor's."""
        self._actor.reset(info)

    def act(self, observations: Observations, explore: bool) -> Actions:
        """As the actor's, with the weights of now."""
        self._actor.load_policy(self.policy(explore))
        return self._actor.act(observations, explore)

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
        return linear(*self._config.epsilon, self._config.epsilon_steps, self._steps)

    # -- learning --

    def add(self, windows: Sequence[Window]) -> None:
        """Take in the transitions of every entity."""
        for window in windows:
            self._replay.add(window, self._rewards(window))
            self._steps += window.steps
            self._owed += window.steps / self._config.steps_per_update

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
        signals = {"epsilon": self._epsilon(), "memory_rows": float(self._replay.rows)}
        if self._replay.rows < self._config.learn_from:
            self._owed = 0.0
            return {**signals, "updates": float(self._updates)}
        due = int(self._owed)
        self._owed -= due
        rate = self._config.learning_rate * linear(
            1.0, self._config.last_learning_rate, self._horizon, self._steps
        )
        set_learning_rate(self._optimizer, rate)
        sums = torch.zeros(3, device=self._device)
        for _ in range(due):
            sums += self._step(self._replay.sample(self._random, self._config.batch))
            self._updates += 1
            if self._updates % self._config.target_every == 0:
                soft_copy(self._target, self._net, 1.0)
        signals |= {"updates": float(self._updates), "learning_rate": rate}
        if due:
            signals |= dict(zip(("td_loss", "q_mean", "gradient_norm"), (sums / due).tolist(), strict=True))
        return signals

    def _step(self, batch: Batch) -> torch.Tensor:
        """One gradient step; returns (3,) loss, mean Q of what was done, and the gradient's norm."""
        obs, next_obs = self._tensor(self._inputs(batch.obs)), self._tensor(self._inputs(batch.next_obs))
        usable = self._tensor(batch.usable)
        with torch.no_grad():
            following = double_q_value(
                self._net(next_obs), self._target(next_obs), self._tensor(batch.next_mask)
            )
            # y = r + gamma Q^-(s', argmax_a Q(s', a)); nothing follows for who left.
            following = following.masked_fill(self._tensor(batch.done), 0.0)
            goal = self._tensor(batch.reward) + self._config.gamma * following
            if self._config.advantage:
                goal -= self._config.advantage * self._shortfall(obs, batch)
        q = chosen(self._net(obs), self._tensor(batch.action))
        loss = td_loss(q, goal, usable, self._config.huber)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._net.parameters(), self._config.clip)
        self._optimizer.step()
        soft_copy(self._average, self._net, self._config.average)
        mean_q = (q.detach() * usable).sum() / usable.sum().clamp(min=1)
        return torch.stack([loss.detach(), mean_q, norm])

    def _shortfall(self, obs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return V(s) - Q(s, a) of the target network, V over the allowed choices."""
        held = self._target(obs)
        best = held.masked_fill(~self._tensor(batch.mask), -torch.inf).amax(dim=1)
        shortfall: torch.Tensor = best - chosen(held, self._tensor(batch.action))
        return shortfall

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    # -- saving --

    def state(self) -> LearnerState:
        """Return networks, optimizer, memory, counts and the generator."""
        arrays: dict[str, NDArray[Any]] = {}
        for prefix, net in self._nets().items():
            arrays |= module_arrays(net, prefix)
        arrays |= optimizer_arrays(self._optimizer, "adam")
        arrays |= {f"replay.{name}": array for name, array in self._replay.state().items()}
        values = {
            "steps": self._steps,
            "updates": self._updates,
            "owed": self._owed,
            "random": self._random.bit_generator.state,
        }
        return LearnerState(arrays, values)

    def load(self, state: LearnerState) -> None:
        """Go on from :meth:`state`; AgentError if it is of another configuration."""
        for prefix, net in self._nets().items():
            load_module(net, state.arrays, prefix)
        load_optimizer(self._optimizer, state.arrays, "adam")
        prefix = "replay."
        self._replay.load(
            {n.removeprefix(prefix): a for n, a in state.arrays.items() if n.startswith(prefix)}
        )
        values = state.values
        self._steps, self._updates, self._owed = values["steps"], values["updates"], values["owed"]
        self._random.bit_generator.state = values["random"]

    def _nets(self) -> dict[str, nn.Module]:
        return {"net": self._net, "target": self._target, "average": self._average}
