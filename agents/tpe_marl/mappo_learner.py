"""Learning of ``tpe_marl.mappo``: clipped policy updates on windows collected with about the same weights, with torch.

Windows gather until there are enough; then a few passes are made over them, and they are forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.networks import (
    load_module,
    load_optimizer,
    module_arrays,
    optimizer_arrays,
    pick_device,
    set_learning_rate,
)
from agents.common.ppo import generalized_advantages, normalized
from agents.common.recurrent import RecurrentNet
from agents.common.schedules import linear
from agents.common.window_memory import Draw, Held, Pick, WindowMemory, gather
from agents.tpe_marl.actor_critic import PolicyBatch, central_value, mappo_loss
from agents.tpe_marl.inputs import TRAFFIC, Floats, slot_state
from agents.tpe_marl.mappo_agent import LOG_PROB, NAME, NET, MappoActor, MappoConfig
from agents.tpe_marl.recurrent_actor import InputRows, driving_role
from agents.tpe_marl.team_rows import INSTANTS, ROWS, flat_traffic, grid, slot_features, team_rows
from cosim.lockstep.learner import LearnerState, Setup, Window
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.tasks.driving.observation import FEATURES

Arrays = dict[str, NDArray[Any]]
_MEMORY = "memory."
_MANY = 1 << 20


@dataclass(frozen=True, slots=True)
class _Graded:
    """Of B windows of T decisions: ``state`` (B, T, S), ``value``, ``advantage`` and ``returns`` (B, T)."""

    state: torch.Tensor
    value: torch.Tensor
    advantage: torch.Tensor
    returns: torch.Tensor

    def of(self, which: torch.Tensor) -> _Graded:
        """Return those of some windows."""
        return _Graded(self.state[which], self.value[which], self.advantage[which], self.returns[which])


class MappoLearner:
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup) -> None:
        config: MappoConfig = setup.config
        choices = driving_role(setup.info, NAME).action.n
        self._config, self._horizon = config, setup.steps
        self._inputs = InputRows(NAME, config.one_hot, config.inflow)
        self._actor = MappoActor(setup.info, config)
        self._device = pick_device(setup.device)
        generator = torch.Generator().manual_seed(setup.seed % 2**63)
        self._net = RecurrentNet(self._inputs.size, choices, generator, config.hidden).to(self._device)
        state = config.slots * FEATURES + TRAFFIC
        self._critic = central_value(state, generator, config.hidden).to(self._device)
        self._parameters = [*self._net.parameters(), *self._critic.parameters()]
        self._optimizer = torch.optim.Adam(self._parameters, lr=config.learning_rate, fused=True)
        self._memory = WindowMemory(_MANY)
        self._random = np.random.default_rng(np.random.SeedSequence([setup.seed, 1]))
        self._steps = self._updates = 0

    # -- acting --

    def reset(self, info: EpisodeInfo) -> None:
        """As the actor's."""
        self._actor.reset(info)

    def act(self, observations: Observations, explore: bool) -> Actions:
        """As the actor's, with the weights of now."""
        self._actor.load_policy(self.policy(explore))
        return self._actor.act(observations, explore)

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Begin to learn from these weights; the central value stays as it is."""
        load_module(self._net, weights, NET)

    def policy(self, explore: bool = False) -> Arrays:
        """Return the actor's weights."""
        return module_arrays(self._net, NET)

    # -- learning --

    def add(self, windows: Sequence[Window]) -> None:
        """Take in whole windows."""
        for window in windows:
            team = team_rows(window, self._inputs, self._config.slots)
            noted = window.notes.get(LOG_PROB, np.zeros(len(window)))
            rows = {**team.held.rows, LOG_PROB: noted[team.order].astype(np.float32)}
            self._memory.add(Held(team.held.first, rows, team.held.instants))
            self._steps += window.steps

    def update(self) -> dict[str, float]:
        """Make the passes if there are enough windows; signals are means over their gradient steps."""
        config = self._config
        rate = config.learning_rate * linear(1.0, config.last_learning_rate, self._horizon, self._steps)
        signals = {"memory_windows": float(len(self._memory)), "learning_rate": rate}
        if len(self._memory) < config.batch:
            return {**signals, "updates": float(self._updates)}
        set_learning_rate(self._optimizer, rate)
        windows = list(self._memory)
        graded = self._graded(windows)
        sums, steps = torch.zeros(5, device=self._device), 0
        for _ in range(config.epochs):
            order = self._random.permutation(len(windows))
            for start in range(0, len(order), config.minibatch):
                which = order[start : start + config.minibatch]
                sums += self._step([windows[i] for i in which], graded.of(torch.from_numpy(which)))
                steps += 1
        self._updates += steps
        self._memory = WindowMemory(_MANY)
        names = ("policy_loss", "value_loss", "entropy", "clipped", "gradient_norm")
        signals |= dict(zip(names, (sums / steps).tolist(), strict=True))
        signals |= {"value_mean": float(graded.value.mean()), "return_mean": float(graded.returns.mean())}
        return {**signals, "updates": float(self._updates)}

    @torch.no_grad()
    def _graded(self, windows: list[Held]) -> _Graded:
        """Return what the decisions of B windows were worth, by the central value of now."""
        config = self._config
        draw = gather([Pick(held, 0, len(held)) for held in windows], ("slot", "features"), INSTANTS)
        there = self._tensor(grid(draw, np.ones(len(draw.cell), dtype=np.bool_), config.slots)).any(-1)
        state = self._tensor(self._state(draw))
        value = self._critic(state).squeeze(-1)
        reward = self._tensor((draw.instants["reward"] + config.reward_shift) * config.reward_scale)
        # Where nobody decides nothing is earned, nor lost by the shift.
        earned = torch.where(there, reward, 0.0)[:, :-1].to(value.dtype)
        advantage, returns = generalized_advantages(earned, value, config.gamma, config.gae)
        return _Graded(state[:, :-1], value[:, :-1], normalized(advantage, there[:, :-1]), returns)

    def _state(self, draw: Draw) -> Floats:
        """Return the plain state (count, length, S)."""
        slots = self._config.slots
        alive = grid(draw, np.ones(len(draw.cell), dtype=np.bool_), slots)
        state = slot_state(
            slot_features(draw, slots),
            alive.reshape(-1, slots),
            flat_traffic(draw),
            self._config.scaled_state,
        )
        return state.reshape(draw.count, draw.length, -1)

    def _step(self, windows: list[Held], graded: _Graded) -> torch.Tensor:
        """One gradient step; returns (5,) policy loss, value loss, entropy, share clipped, and the gradient's norm."""
        config = self._config
        # The last instant of a window was decided in the next one.
        draw = gather([Pick(held, 0, len(held) - 1) for held in windows], (*ROWS, LOG_PROB), ())
        rows, everybody = draw.rows, np.ones(len(draw.cell), dtype=np.bool_)
        if not everybody.size:
            return torch.zeros(5, device=self._device)
        batch = PolicyBatch(
            inputs=self._tensor(rows["inputs"]),
            allowed=self._tensor(rows["allowed"]),
            action=self._tensor(rows["action"].astype(np.int64)),
            log_prob=self._tensor(rows[LOG_PROB]),
            alive=self._tensor(grid(draw, everybody, config.slots)),
            entered=self._tensor(grid(draw, rows["entered"], config.slots)),
            state=graded.state,
            value=graded.value,
            advantage=graded.advantage,
            returns=graded.returns,
        )
        result = mappo_loss(self._net, self._critic, batch, config.ratio, config.entropy, config.value_weight)
        self._optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, config.clip)
        self._optimizer.step()
        return torch.stack([result.policy, result.value, result.entropy, result.clipped, norm.detach()])

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    # -- saving --

    def state(self) -> LearnerState:
        """Return networks, optimizer, the windows gathered, counts and the generator."""
        arrays: Arrays = {**module_arrays(self._net, NET), **module_arrays(self._critic, "critic")}
        arrays |= optimizer_arrays(self._optimizer, "optimizer")
        arrays |= {_MEMORY + name: array for name, array in self._memory.state().items()}
        values = {
            "steps": self._steps,
            "updates": self._updates,
            "random": self._random.bit_generator.state,
        }
        return LearnerState(arrays, values)

    def load(self, state: LearnerState) -> None:
        """Go on from :meth:`state`; AgentError if it is of another configuration."""
        load_module(self._net, state.arrays, NET)
        load_module(self._critic, state.arrays, "critic")
        load_optimizer(self._optimizer, state.arrays, "optimizer")
        self._memory.load(
            {n.removeprefix(_MEMORY): a for n, a in state.arrays.items() if n.startswith(_MEMORY)}
        )
        self._steps, self._updates = state.values["steps"], state.values["updates"]
        self._random.bit_generator.state = state.values["random"]
