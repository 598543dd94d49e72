"""Learning of ``hybrid_mappo.hybrid_mappo``: clipped updates of both actors on whole episodes, with torch.

One call of :meth:`HybridMappoLearner.update` grades what a round brought, makes a few passes over it, and forgets it.
Rewards are -T_sum, eq. (21), divided by ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.learning import NetLearner
from agents.common.ppo import clipped_policy_loss, entropy, normalized
from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.critics import CRITIC, ActionValues, Batch, CentralValue, Grades
from agents.hybrid_mappo.hybrid_mappo import HybridActor
from agents.hybrid_mappo.nets import ActorPair, log_probabilities
from agents.hybrid_mappo.reading import sizes_of
from agents.hybrid_mappo.rollout import Rollout
from agents.hybrid_mappo.sizes import Sizes
from cosim.lockstep.learner import LearnerState, Setup, Weights

Arrays = dict[str, NDArray[Any]]


def make_pair(config: HybridConfig, sizes: Sizes, generator: torch.Generator) -> ActorPair:
    """Return the actors that a configuration asks for."""
    return ActorPair(
        sizes.width,
        sizes.targets,
        config.hidden,
        generator,
        agents=0 if config.shared else sizes.agents,
        guide=sizes.guide,
    )


def to_batch(rollout: Rollout, reward_scale: float, device: torch.device) -> Batch:
    """Return a rollout's tensors, instants of all episodes in a row."""

    def tensor(array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.reshape(-1, *array.shape[2:]))).to(device)

    return Batch(
        inputs=tensor(rollout.inputs),
        state=tensor(rollout.state),
        allowed=tensor(rollout.allowed),
        present=tensor(rollout.present),
        target=tensor(rollout.target),
        share=tensor(rollout.share),
        moves=tensor(rollout.moves),
        reward=tensor((rollout.reward * reward_scale).astype(np.float32)),
        slots=rollout.present.shape[1],
    )


def some(batch: Batch, which: torch.Tensor) -> Batch:
    """Return some instants of a batch."""
    names = ("inputs", "state", "allowed", "present", "target", "share", "moves", "reward")
    return replace(batch, **{name: getattr(batch, name)[which] for name in names})


class HybridMappoLearner(NetLearner[None]):
    """Satisfies :class:`cosim.lockstep.learner.Learner`; what it takes in are :class:`Rollout` objects."""

    def __init__(self, setup: Setup, name: str) -> None:
        config: HybridConfig = setup.config
        super().__init__(setup, HybridActor(setup.info, config, name), None)
        self._config = config
        sizes, generator = sizes_of(setup.info, config), self._weights
        self._pair = make_pair(config, sizes, generator).to(self._device)
        self._critic: CentralValue | ActionValues
        if config.critic == "value":
            self._critic = CentralValue(sizes.state, sizes.agents, config.critic_hidden, generator)
        else:
            self._critic = ActionValues(
                sizes.width, sizes.targets, sizes.agents, config.critic_hidden, generator
            )
        self._critic.to(self._device)
        parameters = [p for net in self.nets().values() for p in net.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
        self._held: list[Rollout] = []

    def nets(self) -> dict[str, nn.Module]:
        """Both actors and the critic."""
        return {**self._pair.nets(), CRITIC: self._critic}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One, for all."""
        return {"optimizer": self._optimizer}

    # -- acting --

    def load_policy(self, weights: Weights) -> None:
        """Begin to learn from these weights; the critics stay as they are."""
        self._pair.load_arrays(weights)

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
        """Make the passes over what is held; signals are means over their gradient steps."""
        config = self._config
        rate, weight = self.set_rates(config), self.now(config.entropy, config.last_entropy)
        rollout = Rollout.joined(self._held)
        self._held = []
        batch = to_batch(rollout, config.reward_scale, self._device)
        if config.reward == "team":
            count = batch.present.sum(dim=1, keepdim=True).clamp(min=1)
            mean = batch.reward.sum(dim=1, keepdim=True) / count
            batch = replace(batch, reward=mean.expand_as(batch.reward))
        grades = self._critic.grade(batch, self._pair, config.gamma, config.gae)
        spread = float(grades.target[batch.present].std())
        grades = Grades(
            normalized(grades.target, batch.present), normalized(grades.share, batch.present), grades.returns
        )
        with torch.no_grad():
            old_target, old_share, _ = log_probabilities(
                self._pair, batch.inputs, batch.allowed, batch.target, batch.share
            )
        sums: dict[str, float] = {}
        steps = 0
        size = -(-len(batch.state) // config.minibatches)
        for _ in range(config.epochs):
            order = self._random.permutation(len(batch.state))
            for start in range(0, len(order), size):
                at = torch.from_numpy(order[start : start + size])
                found = self._step(some(batch, at), grades.of(at), old_target[at], old_share[at], weight)
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + value
                steps += 1
        self._critic.settle()
        self._updates += 1
        taken_s = -rollout.reward[rollout.present]
        return {
            "mean_t_sum": float(taken_s.mean()) if taken_s.size else 0.0,
            **{name: value / steps for name, value in sums.items()},
            "advantage_deviation": spread,
            "learning_rate": rate,
            "updates": float(self._updates),
        }

    def _step(
        self,
        batch: Batch,
        grades: Grades,
        old_target: torch.Tensor,
        old_share: torch.Tensor,
        entropy_weight: float,
    ) -> dict[str, float]:
        """Make one gradient step of all nets; each net's gradient is clipped by itself."""
        config = self._config
        target, share, logs = log_probabilities(
            self._pair, batch.inputs, batch.allowed, batch.target, batch.share
        )
        # Eqs. (22) to (27), maximised.  The share counts only where it had an effect.
        there, moves = batch.present, batch.moves
        target_loss, clipped = clipped_policy_loss(
            target[there], old_target[there], grades.target[there], config.ratio
        )
        share_loss, share_clipped = clipped_policy_loss(
            share[moves], old_share[moves], grades.share[moves], config.ratio
        )
        spread = entropy(logs)[there].mean()
        values = self._critic.losses(batch, grades)
        loss = target_loss + share_loss - entropy_weight * spread + torch.stack(values).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for net in self.nets().values():
            nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        self._optimizer.step()
        with torch.no_grad():
            moved = target[there] - old_target[there]
            kl = (moved.exp() - 1.0 - moved).mean()
        return {
            "actor_loss": float(target_loss.detach()),
            "share_actor_loss": float(share_loss.detach()),
            **{n: float(v.detach()) for n, v in zip(self._critic.names, values, strict=True)},
            "entropy": float(spread.detach()),
            "kl": float(kl),
            "clipped": float(clipped),
            "share_clipped": float(share_clipped),
        }

    # -- saving --

    def state(self) -> LearnerState:
        """Return what every learner does, and what the critic holds beside its networks."""
        state = super().state()
        return LearnerState({**state.arrays, **self._critic.extra()}, state.values)

    def load(self, state: LearnerState) -> None:
        """Go on from :meth:`state`; AgentError if it is of another configuration."""
        super().load(state)
        self._critic.load_extra(state.arrays)
