"""Learning of ``hybrid_mappo.mappo_ddpg``: clipped updates for the targets, a deterministic gradient for the shares.

The critic Q is central in what it is told of the joint action: beside a vehicle's own input, target and share it sees
how much of their tasks all others leave at, and migrate to, each choice.  One network serves all vehicles, as the
actors do; the continuous actor climbs each vehicle's own Q.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from agents.common.learning import NetLearner
from agents.common.networks import PerceptronNet, set_learning_rate, soft_copy
from agents.common.ppo import clipped_policy_loss, entropy, masked_log_probabilities, normalized
from agents.hybrid_mappo.critics import CRITIC, Batch, CentralValue, Grades
from agents.hybrid_mappo.hybrid_mappo import HybridActor
from agents.hybrid_mappo.hybrid_mappo_learner import some, to_batch
from agents.hybrid_mappo.mappo_ddpg import DdpgConfig
from agents.hybrid_mappo.nets import ActorPair, orthogonal, taken
from agents.hybrid_mappo.reading import sizes_of
from agents.hybrid_mappo.rollout import Rollout
from cosim.lockstep.learner import LearnerState, Setup, Weights

Arrays = dict[str, NDArray[Any]]
_CHOOSING, _Q, _SHARING = "optimizer_choosing", "optimizer_q", "optimizer_sharing"


class Memory:
    """The last whole episodes, at most *capacity* joint decisions of them (at least one round)."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: Rollout | None = None

    def add(self, rollout: Rollout) -> None:
        """Take in episodes and forget the oldest."""
        joined = rollout if self._held is None else Rollout.joined([self._held, rollout])
        most = max(self._capacity // rollout.present.shape[1], len(rollout.present))
        self._held = Rollout(**{f.name: getattr(joined, f.name)[-most:] for f in fields(Rollout)})

    def sample(self, count: int, random: np.random.Generator) -> tuple[Rollout, Rollout, NDArray[np.bool_]]:
        """Return decisions, those a slot later (E = count, T = 1 each), and which were the last of an episode."""
        held = self._held
        assert held is not None, "add comes first"
        episodes, slots = held.present.shape[:2]
        e, t = random.integers(episodes, size=count), random.integers(slots, size=count)
        after = np.minimum(t + 1, slots - 1)

        def picked(at: NDArray[np.int64]) -> Rollout:
            return Rollout(**{f.name: getattr(held, f.name)[e, at][:, None] for f in fields(Rollout)})

        return picked(t), picked(after), t == slots - 1

    def state(self) -> Arrays:
        """Return what is held."""
        return {} if self._held is None else {f.name: getattr(self._held, f.name) for f in fields(Rollout)}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Hold what :meth:`state` gave."""
        self._held = Rollout(**{name: np.array(array) for name, array in arrays.items()}) if arrays else None


class MappoDdpgLearner(NetLearner[Memory]):
    """Satisfies :class:`cosim.lockstep.learner.Learner`; what it takes in are :class:`Rollout` objects."""

    def __init__(self, setup: Setup, name: str) -> None:
        config: DdpgConfig = setup.config
        actor = HybridActor(setup.info, config, name, certain=True)
        super().__init__(setup, actor, Memory(config.memory))
        self._config = config
        sizes, generator = sizes_of(setup.info, config), self._weights
        self._targets, self._task = sizes.targets, sizes.task

        def pair() -> ActorPair:
            return ActorPair(
                sizes.width, sizes.targets, config.hidden, generator, guide=sizes.guide, certain=True
            ).to(self._device)

        def critic() -> PerceptronNet:
            columns = sizes.width + 3 * sizes.targets + 1
            net = PerceptronNet((columns, *config.hidden, 1), generator, torch.tanh)
            return orthogonal(net, generator, 1.0).to(self._device)

        self._pair, self._pair_copy, self._q, self._q_copy = pair(), pair(), critic(), critic()
        soft_copy(self._pair_copy, self._pair, 1.0)
        soft_copy(self._q_copy, self._q, 1.0)
        self._value = CentralValue(sizes.state, sizes.agents, config.critic_hidden, generator)
        self._value.to(self._device)
        self._optimizers = {
            _CHOOSING: self._adam(self._pair.target, self._value),
            _Q: self._adam(self._q),
            _SHARING: self._adam(self._pair.share),
        }
        self._held: list[Rollout] = []

    def nets(self) -> dict[str, nn.Module]:
        """Actors, Q, the copies of both, and the central value."""
        copies = {f"copy.{name}": net for name, net in self._pair_copy.nets().items()}
        return {**self._pair.nets(), **copies, "q": self._q, "q_copy": self._q_copy, CRITIC: self._value}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Those of the targets with the central value, of Q, and of the shares."""
        return dict(self._optimizers)

    def _adam(self, *nets: nn.Module) -> torch.optim.Adam:
        parameters = [p for net in nets for p in net.parameters()]
        return torch.optim.Adam(parameters, lr=self._config.learning_rate, fused=True)

    # -- acting --

    def load_policy(self, weights: Weights) -> None:
        """Begin to learn from these weights; the critics stay as they are."""
        self._pair.load_arrays(weights)
        self._pair_copy.load_arrays(weights)

    def policy(self, explore: bool = False) -> Arrays:
        """Return the actors' weights."""
        return self._pair.arrays()

    # -- learning --

    def add(self, windows: Sequence[Any]) -> None:
        """Take in whole episodes."""
        self._held += windows
        for rollout in windows:
            self.took(rollout)

    def update(self) -> dict[str, float]:
        """Improve the choices by what is held, and the shares by what is remembered; signals are means."""
        config = self._config
        rate = self.set_rates(config)
        set_learning_rate(self._optimizers[_SHARING], rate * config.slower)
        rollout = Rollout.joined(self._held)
        self._held = []
        self._memory.add(rollout)
        signals = self._choose_better(to_batch(rollout, config.reward_scale, self._device))
        sums = np.zeros(2)
        for _ in range(config.steps):
            sums += self._share_better()
        self._updates += 1
        taken_s = -rollout.reward[rollout.present]
        return {
            "mean_t_sum": float(taken_s.mean()) if taken_s.size else 0.0,
            **signals,
            "q_loss": float(sums[0] / config.steps),
            "q_mean": float(sums[1] / config.steps),
            "learning_rate": rate,
            "updates": float(self._updates),
        }

    def _choose_better(self, batch: Batch) -> dict[str, float]:
        """Make clipped updates of the discrete actor and the central value, as Hybrid-MAPPO does."""
        config = self._config
        weight = self.now(config.entropy, config.last_entropy)
        grades = self._value.grade(batch, self._pair, config.gamma, config.gae)
        grades = replace(grades, target=normalized(grades.target, batch.present))
        with torch.no_grad():
            old = self._log_prob(batch)[0]
        sums, steps = torch.zeros(4), 0
        size = -(-len(batch.state) // config.minibatches)
        for _ in range(config.epochs):
            order = self._random.permutation(len(batch.state))
            for start in range(0, len(order), size):
                at = torch.from_numpy(order[start : start + size])
                sums += self._choosing_step(some(batch, at), grades.of(at), old[at], weight)
                steps += 1
        names = ("actor_loss", "value_loss", "entropy", "kl")
        return dict(zip(names, (sums / steps).tolist(), strict=True))

    def _log_prob(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        logs = masked_log_probabilities(self._pair(batch.inputs)[0], batch.allowed)
        return taken(logs, batch.target), logs

    def _choosing_step(self, batch: Batch, grades: Grades, old: torch.Tensor, weight: float) -> torch.Tensor:
        there, config = batch.present, self._config
        log_prob, logs = self._log_prob(batch)
        loss, _ = clipped_policy_loss(log_prob[there], old[there], grades.target[there], config.ratio)
        spread = entropy(logs)[there].mean()
        value = self._value.losses(batch, grades)[0]
        self._descend(_CHOOSING, loss - weight * spread + value, self._pair.target, self._value)
        moved = (log_prob - old)[there].detach()
        kl = (moved.exp() - 1.0 - moved).mean()
        return torch.stack([loss.detach(), value.detach(), spread.detach(), kl])

    def _share_better(self) -> NDArray[np.float64]:
        """Make one step of Q and, once it knows a little, of the continuous actor; returns Q's loss and mean."""
        config = self._config
        now, later, ended = self._memory.sample(config.batch, self._random)
        batch, after = (to_batch(part, config.reward_scale, self._device) for part in (now, later))
        with torch.no_grad():
            share = taken(self._pair_copy(after.inputs)[1], after.target)
            future = self._q_copy(self._seen(after, share, share)).squeeze(-1)
            goes_on = torch.from_numpy(~ended).to(future)[:, None]
            wanted = batch.reward + config.share_gamma * goes_on * future
        said = self._q(self._seen(batch, batch.share, batch.share)).squeeze(-1)
        loss = ((said - wanted) ** 2)[batch.present].mean()
        self._descend(_Q, loss, self._q)
        gain = said.detach()[batch.present].mean()
        if self._updates >= config.patience:
            share = taken(self._pair(batch.inputs)[1], batch.target)
            gain = self._q(self._seen(batch, share, batch.share)).squeeze(-1)[batch.moves].mean()
            self._descend(_SHARING, -gain, self._pair.share)
        soft_copy(self._pair_copy, self._pair, config.follow)
        soft_copy(self._q_copy, self._q, config.follow)
        return np.array([float(loss.detach()), float(gain.detach())])

    def _seen(self, batch: Batch, own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Return (n, V, columns) what Q sees: input, target and share of each vehicle, and what all others do."""
        chosen = functional.one_hot(batch.target, self._targets).to(own.dtype)
        size = batch.present.to(own.dtype)
        if self._task is not None:
            size = size * batch.inputs[..., self._task]
        shares = torch.where(batch.moves, others, torch.zeros_like(others))
        brought = (size * shares).unsqueeze(-1) * chosen
        left = (size * (1.0 - shares)).unsqueeze(-1) * ~batch.allowed
        sums = [part.sum(dim=1, keepdim=True) - part for part in (brought, left)]
        share = torch.where(batch.moves, own, torch.zeros_like(own)).unsqueeze(-1)
        return torch.cat([batch.inputs, chosen, share, *sums], dim=-1)

    def _descend(self, which: str, loss: torch.Tensor, *nets: nn.Module) -> None:
        """Make a gradient step of *nets*; each one's gradient is clipped by itself."""
        optimizer = self._optimizers[which]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for net in nets:
            nn.utils.clip_grad_norm_(net.parameters(), self._config.clip)
        optimizer.step()

    # -- saving --

    def state(self) -> LearnerState:
        """Return what every learner does, and what the central value holds beside its network."""
        state = super().state()
        return LearnerState({**state.arrays, **self._value.extra()}, state.values)

    def load(self, state: LearnerState) -> None:
        """Go on from :meth:`state`; AgentError if it is of another configuration."""
        super().load(state)
        self._value.load_extra(state.arrays)
