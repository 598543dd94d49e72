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

from agents.common.networks import (
    load_module,
    load_optimizer,
    module_arrays,
    optimizer_arrays,
    pick_device,
    set_learning_rate,
    soft_copy,
)
from agents.common.recurrent import RecurrentNet
from agents.common.schedules import linear
from agents.common.window_memory import Draw, WindowMemory, gather
from agents.tpe_marl.inputs import TRAFFIC, Floats, slot_state
from agents.tpe_marl.qmix import Mixer, QmixLoss, TeamBatch, TeamNets, qmix_loss
from agents.tpe_marl.qmix_agent import EPSILON, NET, QmixActor, QmixConfig
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
from cosim.lockstep.protocol import Actions, EpisodeInfo, Observations
from cosim.tasks.driving.observation import FEATURES

Arrays = dict[str, NDArray[Any]]
_MEMORY, _SIDE = "memory.", "side."


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
        """The plain state of tpe_marl.md, section 6."""
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


class QmixLearner:
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup, name: str, side: Side) -> None:
        config: QmixConfig = setup.config
        choices = driving_role(setup.info, name).action.n
        self._config, self._horizon, self._side = config, setup.steps, side
        self._inputs = config.rows(name)
        self._actor = QmixActor(setup.info, config, name)
        self._device = pick_device(setup.device)
        generator = torch.Generator().manual_seed(setup.seed % 2**63)

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
        self._memory = WindowMemory(config.memory)
        self._random = np.random.default_rng(np.random.SeedSequence([setup.seed, 1]))
        self._steps = self._updates = 0
        self._owed = 0.0

    def _copy_to_target(self) -> None:
        soft_copy(self._target.agent, self._net.agent, 1.0)
        soft_copy(self._target.mixer, self._net.mixer, 1.0)

    # -- acting --

    def reset(self, info: EpisodeInfo) -> None:
        """As the actor's."""
        self._actor.reset(info)

    def act(self, observations: Observations, explore: bool) -> Actions:
        """As the actor's, with the weights of now."""
        self._actor.load_policy(self.policy(explore))
        return self._actor.act(observations, explore)

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
        return linear(*self._config.epsilon, self._config.epsilon_steps, self._steps)

    # -- learning --

    def add(self, windows: Sequence[Window]) -> None:
        """Take in whole windows."""
        for window in windows:
            team = team_rows(window, self._inputs, self._config.slots, self._config.guard)
            rows, instants = self._side.keep(window, team)
            held = team.held
            rows["own"] = own_reward(window)[team.order]
            self._memory.add(type(held)(held.first, {**held.rows, **rows}, {**held.instants, **instants}))
            self._steps += window.steps
            self._owed += window.steps / self._config.steps_per_update

    def update(self) -> dict[str, float]:
        """Make the gradient steps that are due; signals are means over them."""
        config = self._config
        signals = {"epsilon": self._epsilon(), "memory_windows": float(len(self._memory))}
        if self._steps < config.learn_from:
            self._owed = 0.0
            return {**signals, **self._side.signals(), "updates": float(self._updates)}
        due = int(self._owed)
        self._owed -= due
        rate = config.learning_rate * linear(1.0, config.last_learning_rate, self._horizon, self._steps)
        set_learning_rate(self._optimizer, rate)
        sums = torch.zeros(5, device=self._device)
        for _ in range(due):
            self._side.learn(self._memory, self._random)
            sums += self._step()
            self._updates += 1
            if self._updates % config.target_every == 0:
                self._copy_to_target()
        signals |= {"updates": float(self._updates), "learning_rate": rate}
        if due:
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
        self._optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, config.clip)
        self._optimizer.step()
        soft_copy(self._average, self._net.agent, config.average)
        counts = batch.counts(config.burn_in)
        reward = (batch.reward * counts).sum() / counts.sum().clamp(min=1)
        return torch.stack([result.td, result.own, result.q_total, reward, norm.detach()])

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
            inputs=self._tensor(rows["inputs"]),
            allowed=self._tensor(rows["allowed"]),
            action=self._tensor(rows["action"].astype(np.int64)),
            alive=self._tensor(grid(draw, everybody, config.slots)),
            entered=self._tensor(grid(draw, rows["entered"], config.slots)),
            state=self._tensor(state),
            reward=self._tensor(reward[:, :-1].astype(np.float32)),
            own=self._tensor(own.astype(np.float32)),
        )

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    # -- saving --

    def state(self) -> LearnerState:
        """Return networks, optimizer, memory, counts and generators."""
        arrays: Arrays = {}
        for prefix, net in self._nets().items():
            arrays |= module_arrays(net, prefix)
        arrays |= optimizer_arrays(self._optimizer, "optimizer")
        arrays |= {_MEMORY + name: array for name, array in self._memory.state().items()}
        arrays |= {_SIDE + name: array for name, array in self._side.saved().items()}
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
        load_optimizer(self._optimizer, state.arrays, "optimizer")
        self._memory.load(_under(state.arrays, _MEMORY))
        self._side.restore(_under(state.arrays, _SIDE))
        values = state.values
        self._steps, self._updates, self._owed = values["steps"], values["updates"], values["owed"]
        self._random.bit_generator.state = values["random"]

    def _nets(self) -> dict[str, nn.Module]:
        return {
            "agent": self._net.agent,
            "mixer": self._net.mixer,
            "target_agent": self._target.agent,
            "target_mixer": self._target.mixer,
            "average": self._average,
        }


def _under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
