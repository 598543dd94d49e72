"""Learning of QMIX, and of TPE with what :mod:`agents.tpe_marl.topology_side` adds, with torch.

Windows are held whole; a gradient step takes some stretches out of them.  What is explored with are the weights being
learnt; what is evaluated and shipped is their running average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.learning import NetLearner, descend
from agents.common.networks import (
    load_module,
    module_arrays,
    soft_copy,
)
from agents.common.recurrent import RecurrentNet
from agents.common.trained import EPSILON
from agents.common.window_memory import Draw, WindowMemory, gather
from agents.tpe_marl.inputs import TRAFFIC, Floats, slot_state
from agents.tpe_marl.qmix import Mixer, QmixLoss, TeamBatch, TeamNets, qmix_loss
from agents.tpe_marl.qmix_agent import NET, QmixActor, QmixConfig
from agents.tpe_marl.recurrent_actor import changes_lane, driving_role
from agents.tpe_marl.team_rows import (
    INSTANTS,
    ROWS,
    TeamRows,
    flat_traffic,
    grid,
    own_reward,
    slot_features,
    team_rows,
)
from cosim.lockstep.learner import LearnerState, Setup, Window
from cosim.tasks.driving.observation import FEATURES

Arrays = dict[str, NDArray[Any]]
_SIDE = "side."


class Side(Protocol):
    """What a method adds to QMIX: the mixer's state, and perhaps rewards and networks of its own."""

    size: int
    """Numbers of the mixer's state."""
    rows: tuple[str, ...]
    instants: tuple[str, ...]
    """What :meth:`keep` adds to a window."""

    def keep(self, window: Window, team: TeamRows) -> tuple[Arrays, Arrays]:
        """Return arrays of rows and of instants to be held with the window."""

    def state(self, draw: Draw) -> Floats:
        """Return the mixer's state (count * length, size)."""

    def bonus(self, draw: Draw) -> Floats | None:
        """Return what is added to the scaled rewards (count, length)."""

    def learn(self, memory: WindowMemory, random: np.random.Generator) -> None:
        """Make one gradient step of its own."""

    def signals(self) -> dict[str, float]:
        """Return the means of its signals since the last call."""

    def saved(self) -> Arrays:
        """Return everything that :meth:`restore` needs."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from :meth:`saved`."""


class SlotState:
    """Plain QMIX: the mixer sees every vehicle's own features by slot; nothing else is added."""

    rows: tuple[str, ...] = ()
    instants: tuple[str, ...] = ()

    def __init__(self, config: QmixConfig) -> None:
        self._slots, self._scaled = config.slots, config.scaled_state
        self.size = config.slots * FEATURES + TRAFFIC

    def keep(self, window: Window, team: TeamRows) -> tuple[Arrays, Arrays]:
        """Nothing."""
        return {}, {}

    def state(self, draw: Draw) -> Floats:
        """The plain state of the specification, section 6."""
        alive = grid(draw, np.ones(len(draw.cell), dtype=np.bool_), self._slots)
        features = slot_features(draw, self._slots)
        return slot_state(features, alive.reshape(features.shape[:2]), flat_traffic(draw), self._scaled)

    def bonus(self, draw: Draw) -> Floats | None:
        """Nothing."""
        return None

    def learn(self, memory: WindowMemory, random: np.random.Generator) -> None:
        """Nothing."""

    def signals(self) -> dict[str, float]:
        """None."""
        return {}

    def saved(self) -> Arrays:
        """Nothing."""
        return {}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Nothing."""


class QmixLearner(NetLearner[WindowMemory]):
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup, name: str, side: Side) -> None:
        config: QmixConfig = setup.config
        super().__init__(setup, QmixActor(setup.info, config, name), WindowMemory(config.memory))
        choices = driving_role(setup.info, name).action.n
        self._config, self._side = config, side
        self._inputs = config.rows(name)
        generator = self._weights

        def nets() -> TeamNets:
            agent = RecurrentNet(self._inputs.size, choices, generator, config.hidden, config.heads)
            mixer = Mixer(side.size, config.slots, generator, config.embed, config.mixer_hidden)
            return TeamNets(agent.to(self._device), mixer.to(self._device))

        self._net, self._target = nets(), nets()
        self._average = RecurrentNet(self._inputs.size, choices, generator, config.hidden, config.heads)
        self._average.to(self._device)
        self._copy_to_target()
        soft_copy(self._average, self._net.agent, 1.0)
        for module in (self._target.agent, self._target.mixer, self._average):
            module.requires_grad_(False)
        self._parameters = [*self._net.agent.parameters(), *self._net.mixer.parameters()]
        self._optimizer: torch.optim.Optimizer
        if config.optimizer == "adam":
            self._optimizer = torch.optim.Adam(self._parameters, lr=config.learning_rate, fused=True)
        else:
            self._optimizer = torch.optim.RMSprop(
                self._parameters, lr=config.learning_rate, alpha=0.99, eps=1e-5
            )

    def _copy_to_target(self) -> None:
        soft_copy(self._target.agent, self._net.agent, 1.0)
        soft_copy(self._target.mixer, self._net.mixer, 1.0)

    # -- acting --

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Begin to learn from these weights; the mixer stays as it is."""
        for net in (self._net.agent, self._target.agent, self._average):
            load_module(net, weights, NET)

    def policy(self, explore: bool = False) -> Arrays:
        """Return the averaged weights, or those being learnt and epsilon."""
        if not explore:
            return module_arrays(self._average, NET)
        return {**module_arrays(self._net.agent, NET), EPSILON: np.array([self._epsilon()])}

    def _epsilon(self) -> float:
        return self.now(*self._config.epsilon, self._config.epsilon_steps)

    # -- learning --

    def add(self, windows: Sequence[Window]) -> None:
        """Take in whole windows."""
        for window in windows:
            team = team_rows(window, self._inputs, self._config.slots, self._config.guard)
            rows, instants = self._side.keep(window, team)
            held = team.held
            rows["own"] = own_reward(window)[team.order]
            self._memory.add(type(held)(held.first, {**held.rows, **rows}, {**held.instants, **instants}))
            self.took(window, self._config.steps_per_update)

    def update(self) -> dict[str, float]:
        """Make the gradient steps that are due; signals are means over them."""
        config = self._config
        signals = {"epsilon": self._epsilon(), "memory_windows": float(len(self._memory))}
        if not (due := self.due(config.learn_from)):
            return {**signals, **self._side.signals(), "updates": float(self._updates)}
        rate = self.set_rates(config)
        sums = torch.zeros(5, device=self._device)
        for _ in range(due):
            self._side.learn(self._memory, self._random)
            sums += self._step()
            self._updates += 1
            if self._updates % config.target_every == 0:
                self._copy_to_target()
        signals |= {"updates": float(self._updates), "learning_rate": rate}
        names = ("td_loss", "own_loss", "q_total", "learner_reward", "gradient_norm")
        signals |= dict(zip(names, (sums / due).tolist(), strict=True))
        return {**signals, **self._side.signals()}

    def _step(self) -> torch.Tensor:
        """One gradient step; returns (5,) TD loss, own loss, Q_tot, reward learnt from, and the gradient's norm."""
        config = self._config
        batch = self._batch()
        result: QmixLoss = qmix_loss(
            self._net,
            self._target,
            batch,
            config.gamma,
            config.huber,
            config.burn_in,
            config.head_penalty,
            config.own_weight,
        )
        norm = descend(self._optimizer, result.loss, self._parameters, config.clip)
        soft_copy(self._average, self._net.agent, config.average)
        counts = batch.counts(config.burn_in)
        reward = (batch.reward * counts).sum() / counts.sum().clamp(min=1)
        return torch.stack([result.td, result.own, result.q_total, reward, norm])

    def _batch(self) -> TeamBatch:
        config, side = self._config, self._side
        instants = config.stretch + 1 if config.stretch else len(next(iter(self._memory)))
        picks = self._memory.picks(self._random, config.batch, instants)
        draw = gather(picks, (*ROWS, "own", *side.rows), (*INSTANTS, *side.instants))
        rows = draw.rows
        reward = (draw.instants["reward"] + config.reward_shift) * config.reward_scale
        reward -= config.lane_change_cost * draw.instants["changes"]
        own = (rows["own"] + config.reward_shift) * config.reward_scale
        own -= config.lane_change_cost * changes_lane(rows["action"])
        bonus = side.bonus(draw)
        if bonus is not None:
            reward = reward + bonus
        state = side.state(draw).reshape(draw.count, draw.length, side.size)
        everybody = np.ones(len(draw.cell), dtype=np.bool_)
        return TeamBatch(
            inputs=self.tensor(rows["inputs"]),
            allowed=self.tensor(rows["allowed"]),
            action=self.tensor(rows["action"].astype(np.int64)),
            alive=self.tensor(grid(draw, everybody, config.slots)),
            entered=self.tensor(grid(draw, rows["entered"], config.slots)),
            state=self.tensor(state),
            reward=self.tensor(reward[:, :-1].astype(np.float32)),
            own=self.tensor(own.astype(np.float32)),
        )

    # -- saving --

    def state(self) -> LearnerState:
        """Return all that the method and its side hold."""
        state = super().state()
        side = {_SIDE + name: array for name, array in self._side.saved().items()}
        return LearnerState({**state.arrays, **side}, state.values)

    def load(self, state: LearnerState) -> None:
        """Go on from :meth:`state`; AgentError if it is of another configuration."""
        super().load(state)
        self._side.restore(
            {name.removeprefix(_SIDE): a for name, a in state.arrays.items() if name.startswith(_SIDE)}
        )

    def nets(self) -> Mapping[str, nn.Module]:
        """Return the networks, their targets and the average."""
        return {
            "agent": self._net.agent,
            "mixer": self._net.mixer,
            "target_agent": self._target.agent,
            "target_mixer": self._target.mixer,
            "average": self._average,
        }

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return the one optimizer."""
        return {"optimizer": self._optimizer}
