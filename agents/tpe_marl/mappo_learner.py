"""Learning of ``tpe_marl.mappo``: clipped policy updates on windows collected with about the same weights, with torch.

Windows gather until there are enough; then a few passes are made over them, and they are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.learning import NetLearner, descend
from agents.common.networks import (
    PerceptronNet,
    load_module,
    module_arrays,
)
from agents.common.ppo import clipped_value_loss, generalized_advantages, normalized
from agents.common.recurrent import RecurrentNet, on_grid
from agents.common.window_memory import Draw, Held, Pick, WindowMemory, gather
from agents.tpe_marl.actor_critic import PolicyBatch, central_value, mappo_loss
from agents.tpe_marl.inputs import TRAFFIC, Floats, slot_state
from agents.tpe_marl.mappo_agent import LOG_PROB, NAME, NET, MappoActor, MappoConfig
from agents.tpe_marl.recurrent_actor import driving_role
from agents.tpe_marl.team_rows import INSTANTS, ROWS, flat_traffic, grid, own_reward, slot_features, team_rows
from cosim.lockstep.learner import Setup, Window
from cosim.tasks.driving.observation import FEATURES

Arrays = dict[str, NDArray[Any]]
OWN = "own_reward"
ACCELERATING = 2
"""The first of the choices that accelerate; every third does."""
_MANY = 1 << 20


@dataclass(frozen=True, slots=True)
class _Graded:
    """What the decisions of a window were worth.

    Of R rows of decisions ``advantage`` (R,); of V rows (a central value of each) or instants in which somebody was
    there (one of the team) ``seen`` (V, S), ``value`` and ``returns`` (V,).
    """

    advantage: torch.Tensor
    seen: torch.Tensor
    value: torch.Tensor
    returns: torch.Tensor


class MappoLearner(NetLearner[WindowMemory]):
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup) -> None:
        config: MappoConfig = setup.config
        super().__init__(setup, MappoActor(setup.info, config), WindowMemory(_MANY))
        choices = driving_role(setup.info, NAME).action.n
        self._config, self._inputs = config, config.rows()
        self._net = self._actor_net(choices, self._weights).to(self._device)
        state = config.slots * FEATURES + TRAFFIC
        # Without memory the row is the observation alone.
        self._width = self._inputs.size if config.recurrent else self._inputs.prepare.size
        if config.critic == "each":
            state += self._width
        self._critic = central_value(state, self._weights, config.critic_hidden).to(self._device)
        self._parameters = [*self._net.parameters(), *self._critic.parameters()]
        groups = [{"params": [*net.parameters()]} for net in (self._net, self._critic)]
        self._optimizer = torch.optim.Adam(groups, lr=config.learning_rate, fused=True)

    def _actor_net(self, choices: int, generator: torch.Generator) -> RecurrentNet | PerceptronNet:
        config = self._config
        net: RecurrentNet | PerceptronNet
        if config.recurrent:
            net = RecurrentNet(self._inputs.size, choices, generator, config.hidden)
            last = net.heads[-1]
        else:
            net = PerceptronNet((self._inputs.prepare.size, config.hidden, config.hidden, choices), generator)
            last = net.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias[ACCELERATING::3] += config.head_start
        return net

    # -- acting --

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
            team = team_rows(window, self._inputs, self._config.slots, self._config.guard)
            noted = window.notes.get(LOG_PROB, np.zeros(len(window)))
            rows = {
                **team.held.rows,
                "inputs": team.held.rows["inputs"][:, : self._width],
                LOG_PROB: noted[team.order].astype(np.float32),
                OWN: own_reward(window)[team.order],
            }
            self._memory.add(Held(team.held.first, rows, team.held.instants))
            self.took(window)

    def update(self) -> dict[str, float]:
        """Make the passes if there are enough windows; signals are means over their gradient steps."""
        config = self._config
        rate = self.set_rates(config)
        self._optimizer.param_groups[1]["lr"] = rate * config.critic_rate
        spread = config.entropy * self.now(1.0, config.last_entropy)
        signals = {"memory_windows": float(len(self._memory)), "learning_rate": rate}
        if len(self._memory) < config.batch:
            return {**signals, "updates": float(self._updates)}
        windows = list(self._memory)
        graded = self._graded(windows)
        if config.critic_batch:
            signals["critic_loss"] = self._fit(graded)
        sums, steps = torch.zeros(5, device=self._device), 0
        whole = self._batch(windows, graded)
        for _ in range(config.epochs):
            for batch in self._parts(windows, graded, whole):
                sums += self._step(batch, spread)
                steps += 1
        self._updates += steps
        self._memory = WindowMemory(_MANY)
        names = ("policy_loss", "value_loss", "entropy", "clipped", "gradient_norm")
        signals |= dict(zip(names, (sums / max(steps, 1)).tolist(), strict=True))
        value, returns = torch.cat([g.value for g in graded]), torch.cat([g.returns for g in graded])
        if len(value):
            left = (returns - value).var(correction=0) / returns.var(correction=0).clamp(min=1e-12)
            signals |= {"value_mean": float(value.mean()), "return_mean": float(returns.mean())}
            signals["explained"] = 1.0 - float(left)
        return {**signals, "updates": float(self._updates)}

    @torch.no_grad()
    def _graded(self, windows: list[Held]) -> list[_Graded]:
        """Return what the decisions of each window were worth, by the central value of now."""
        found = [self._of_each(w) if self._config.critic == "each" else self._of_team(w) for w in windows]
        everybody = torch.cat([g.advantage for g in found])
        scaled, end = normalized(everybody), 0
        graded = []
        for g in found:
            begin, end = end, end + len(g.advantage)
            graded.append(replace(g, advantage=scaled[begin:end]))
        return graded

    def _of_team(self, window: Held) -> _Graded:
        """Return what the team's decisions in a window were worth, by a value of the state."""
        config = self._config
        draw = gather([Pick(window, 0, len(window))], (*ROWS, OWN), INSTANTS)
        alive = self.tensor(grid(draw, np.ones(len(draw.cell), dtype=np.bool_), config.slots))[0]
        there = alive.any(-1)
        state = self.tensor(self._state(draw))[0]
        value = self._critic(state).squeeze(-1)
        if config.reward == "own":
            # The team's reward is then the mean of the vehicles' own.
            count = np.maximum(np.bincount(draw.cell, minlength=draw.length), 1)
            plain = np.bincount(draw.cell, weights=draw.rows[OWN], minlength=draw.length) / count
        else:
            plain = draw.instants["reward"][0]
        reward = (plain + config.reward_shift) * config.reward_scale
        reward = reward - config.lane_change_cost * draw.instants["changes"][0]
        # Where nobody decides nothing is earned, nor lost by the shift.
        earned = torch.where(there, self.tensor(reward), 0.0)[:-1].to(value.dtype)
        advantage, returns = generalized_advantages(earned, value, config.gamma, config.gae)
        alive, there = alive[:-1], there[:-1]
        rows = advantage.unsqueeze(-1).expand(alive.shape)[alive]
        return _Graded(rows, state[:-1][there], value[:-1][there], returns[there])

    def _of_each(self, window: Held) -> _Graded:
        """Return what each vehicle's decisions in a window were worth, by a value of its input and the state."""
        config = self._config
        draw = gather([Pick(window, 0, len(window))], (*ROWS, OWN), INSTANTS)
        rows, slots = draw.rows, config.slots
        state = self._state(draw)[0]
        seen = self.tensor(np.concatenate([rows["inputs"], state[draw.cell]], axis=1))
        plain = rows[OWN] if config.reward == "own" else draw.instants["reward"][0][draw.cell]
        reward = (plain + config.reward_shift) * config.reward_scale
        reward = reward - config.lane_change_cost * (rows["action"] // 3 != 1)
        value = self._critic(seen).squeeze(-1)
        alive = self.tensor(grid(draw, np.ones(len(draw.cell), dtype=np.bool_), slots))[0]
        entered = self.tensor(grid(draw, rows["entered"], slots))[0]
        leaves = ~alive[1:] | entered[1:]
        earned = on_grid(self.tensor(reward.astype(np.float32)), alive)[:-1]
        advantage, returns = generalized_advantages(
            earned.T, on_grid(value, alive).T, config.gamma, config.gae, leaves.T
        )
        now = alive[:-1]
        count = int(now.sum())
        return _Graded(advantage.T[now], seen[:count], value[:count], returns.T[now])

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

    def _fit(self, graded: list[_Graded]) -> float:
        """Make the critic's own passes; returns its mean loss."""
        config, losses = self._config, []
        seen, value, returns = (
            torch.cat([getattr(g, name) for g in graded]) for name in ("seen", "value", "returns")
        )
        far = torch.inf if config.value_ratio is None else config.value_ratio
        for _ in range(config.epochs):
            for which in self._shuffled(len(seen), config.critic_batch):
                loss = clipped_value_loss(
                    self._critic(seen[which]).squeeze(-1), value[which], returns[which], far
                )
                descend(self._optimizer, loss, [*self._critic.parameters()], config.clip)
                losses.append(loss.detach())
        return float(torch.stack(losses).mean()) if losses else 0.0

    def _parts(
        self, windows: list[Held], graded: list[_Graded], whole: PolicyBatch | None
    ) -> Iterator[PolicyBatch]:
        """Yield what each gradient step of a pass learns from: some windows, or some rows."""
        config = self._config
        if whole is None:
            return
        if config.recurrent or not config.critic_batch:
            order = self._random.permutation(len(windows))
            for start in range(0, len(order), config.minibatch):
                which = order[start : start + config.minibatch]
                batch = self._batch([windows[i] for i in which], [graded[i] for i in which])
                if batch is not None:
                    yield batch
            return
        for rows in self._shuffled(len(whole.inputs), config.row_batch):
            few = {
                name: getattr(whole, name)[rows]
                for name in ("inputs", "allowed", "action", "log_prob", "advantage")
            }
            yield replace(whole, **few, seen=whole.seen[:0], value=whole.value[:0], returns=whole.returns[:0])

    def _shuffled(self, count: int, size: int) -> Iterator[torch.Tensor]:
        """Yield the numbers below *count* in a random order, *size* at a time."""
        order = torch.from_numpy(self._random.permutation(count))
        for start in range(0, count, size):
            yield order[start : start + size]

    def _batch(self, windows: list[Held], graded: list[_Graded]) -> PolicyBatch | None:
        """Return all decisions of some windows; None if there are none."""
        config = self._config
        # The last instant of a window was decided in the next one.
        draw = gather([Pick(held, 0, len(held) - 1) for held in windows], (*ROWS, LOG_PROB), ())
        rows, everybody = draw.rows, np.ones(len(draw.cell), dtype=np.bool_)
        if not everybody.size:
            return None
        return PolicyBatch(
            inputs=self.tensor(rows["inputs"]),
            allowed=self.tensor(rows["allowed"]),
            action=self.tensor(rows["action"].astype(np.int64)),
            log_prob=self.tensor(rows[LOG_PROB]),
            alive=self.tensor(grid(draw, everybody, config.slots)),
            entered=self.tensor(grid(draw, rows["entered"], config.slots)),
            seen=torch.cat([g.seen for g in graded]),
            value=torch.cat([g.value for g in graded]),
            advantage=torch.cat([g.advantage for g in graded]),
            returns=torch.cat([g.returns for g in graded]),
        )

    def _step(self, batch: PolicyBatch, spread: float) -> torch.Tensor:
        """One gradient step; returns (5,) policy loss, value loss, entropy, share clipped, and the gradient's norm."""
        config = self._config
        weight = 0.0 if config.critic_batch else config.value_weight
        result = mappo_loss(self._net, self._critic, batch, config.ratio, spread, weight, config.value_ratio)
        norm = descend(self._optimizer, result.loss, self._parameters, config.clip)
        return torch.stack([result.policy, result.value, result.entropy, result.clipped, norm])

    # -- what is saved --

    def nets(self) -> dict[str, nn.Module]:
        """Return both networks by name."""
        return {NET: self._net, "critic": self._critic}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizer of both."""
        return {"optimizer": self._optimizer}
