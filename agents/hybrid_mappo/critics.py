"""Central critics of Hybrid-MAPPO: what a joint decision was worth, and by how much more than expected.

:class:`CentralValue` is V(s) with a value for each vehicle, the recipe that learns fast.  :class:`ActionValues` are the
paper's Q_d(o, a_d) and Q_c(o, a_c) with counterfactual baselines, eqs (22) to (31).  Both give the advantages of the
target taken and of its share, and losses to be minimised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.networks import PerceptronNet, soft_copy
from agents.common.ppo import generalized_advantages, masked_log_probabilities
from agents.hybrid_mappo.nets import ActorPair, CopiesNet, orthogonal, taken

Arrays = dict[str, NDArray[Any]]

CRITIC = "critic"
"""Prefix of a critic's weights in a saved learner."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of a rollout with N = E T instants in a row: (N, V, …), ``state`` (N, S), ``reward`` scaled."""

    inputs: torch.Tensor
    state: torch.Tensor
    allowed: torch.Tensor
    present: torch.Tensor
    target: torch.Tensor
    share: torch.Tensor
    moves: torch.Tensor
    reward: torch.Tensor
    slots: int

    def by_slot(self, values: torch.Tensor) -> torch.Tensor:
        """Return (E, V, T) of (N, V)."""
        return values.reshape(-1, self.slots, values.shape[-1]).transpose(1, 2)

    def in_a_row(self, values: torch.Tensor) -> torch.Tensor:
        """Return (N, V) of (E, V, T)."""
        return values.transpose(1, 2).reshape(-1, values.shape[1])


@dataclass(frozen=True, slots=True)
class Grades:
    """(N, V) each: advantages of target and share, and what the critics are to say (one or two)."""

    target: torch.Tensor
    share: torch.Tensor
    returns: tuple[torch.Tensor, ...]

    def of(self, which: torch.Tensor) -> Grades:
        """Return those of some instants."""
        return Grades(self.target[which], self.share[which], tuple(r[which] for r in self.returns))


def action_value_targets(reward: torch.Tensor, value: torch.Tensor, gamma: float, lam: float) -> torch.Tensor:
    """Return Qhat_t (…, T) = Qbar_t + sum_k (gamma lambda)^k delta_{t+k} for *value* Qbar (…, T); 0 at the end.

    delta_t = r_t + gamma Qbar_{t+1} - Qbar_t.  Eqs. (30), (31), the last exponent read as T - t.
    """
    ended = torch.cat([value, torch.zeros_like(value[..., :1])], dim=-1)
    return generalized_advantages(reward, ended, gamma, lam)[1]


def counterfactual(probability: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return (…,) sum_a pi(a) Q(a) of (…, M) each: what the vehicle could expect, the others' actions as they are.

    The baseline of COMA (Foerster et al., AAAI'18, eq. 4), which eqs. (28), (29) leave open.
    """
    return (probability * values).sum(dim=-1)


class Scale:
    """Running mean and standard deviation, by which values are brought to about 1."""

    def __init__(self) -> None:
        self.mean, self.square, self.weight = 0.0, 1.0, 0.0

    def add(self, sample: torch.Tensor, share: float = 0.1) -> None:
        """Move towards a sample's; the first counts fully."""
        share = share if self.weight else 1.0
        self.mean += share * (float(sample.mean()) - self.mean)
        self.square += share * (float((sample**2).mean()) - self.square)
        self.weight = 1.0

    @property
    def deviation(self) -> float:
        """Standard deviation, at least 0.01."""
        return float(np.sqrt(max(self.square - self.mean**2, 1e-4)))


class CentralValue(nn.Module):
    """V(s) of the central state, one value a vehicle, learnt on a running scale."""

    names = ("value_loss",)

    def __init__(self, state: int, agents: int, hidden: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.net = orthogonal(PerceptronNet((state, *hidden, agents), generator, torch.tanh), generator, 1.0)
        self.scale = Scale()

    @torch.no_grad()
    def grade(self, batch: Batch, pair: ActorPair, gamma: float, lam: float) -> Grades:
        """Return the advantages of one rollout; both heads have the same."""
        value = batch.by_slot(self.net(batch.state) * self.scale.deviation + self.scale.mean)
        returns = action_value_targets(batch.by_slot(batch.reward), value, gamma, lam)
        advantage = batch.in_a_row(returns - value)
        self.scale.add(returns)
        return Grades(advantage, advantage, (batch.in_a_row(returns),))

    def losses(self, batch: Batch, grades: Grades) -> tuple[torch.Tensor, ...]:
        """Return the loss on some instants."""
        said = self.net(batch.state)
        wanted = (grades.returns[0] - self.scale.mean) / self.scale.deviation
        return (0.5 * ((said - wanted) ** 2)[batch.present].mean(),)

    def settle(self) -> None:
        """After a round's updates: nothing."""

    def extra(self) -> Arrays:
        """Return all that :meth:`load_extra` needs beside the weights."""
        return {"critic_scale": np.array([self.scale.mean, self.scale.square, self.scale.weight])}

    def load_extra(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from :meth:`extra`."""
        self.scale.mean, self.scale.square, self.scale.weight = map(float, arrays["critic_scale"])


class ActionValues(nn.Module):
    """Q_d(o, a_d) and Q_c(o, a_c) of joint observation and joint action, a pair for each vehicle, with copies.

    Qhat and the baselines are taken from the copies, which follow after each round (section 5: "old/target").
    """

    names = ("value_loss", "share_value_loss")

    def __init__(
        self,
        width: int,
        targets: int,
        agents: int,
        hidden: tuple[int, ...],
        generator: torch.Generator,
        samples: int = 16,
    ) -> None:
        super().__init__()
        self._targets, self._agents, self._samples = targets, agents, samples
        joint = agents * width
        for name in ("discrete", "continuous"):
            columns = joint + agents * (targets if name == "discrete" else 1)
            for suffix in ("", "_copy"):
                net = CopiesNet(agents, (columns, *hidden, 1), generator)
                self.add_module(name + suffix, net)
        self.settle()
        self._random = generator

    def _q(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Return (n, V) for inputs (n, columns) or, one for each vehicle, (n, V, columns)."""
        value: torch.Tensor = self.get_submodule(name)(x).squeeze(-1)
        return value

    def _inputs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        joint = batch.inputs.flatten(1)
        chosen = nn.functional.one_hot(batch.target, self._targets).to(joint.dtype)
        return torch.cat([joint, chosen.flatten(1)], 1), torch.cat([joint, batch.share], 1)

    @torch.no_grad()
    def grade(self, batch: Batch, pair: ActorPair, gamma: float, lam: float) -> Grades:
        """Return A = Qhat - b(o, a_-v), eqs. (28) and (29), of both heads for one rollout."""
        wanted, reward = [], batch.by_slot(batch.reward)
        for name, x in zip(("discrete_copy", "continuous_copy"), self._inputs(batch), strict=True):
            value = batch.by_slot(self._q(name, x))
            wanted.append(batch.in_a_row(action_value_targets(reward, value, gamma, lam)))
        scores, alpha, beta = pair(batch.inputs)
        probability = masked_log_probabilities(scores, batch.allowed).exp()
        expected = counterfactual(probability, self._by_target(batch))
        usual = self._by_share(batch, taken(alpha, batch.target), taken(beta, batch.target)).mean(dim=-1)
        return Grades(wanted[0] - expected, wanted[1] - usual, tuple(wanted))

    def _by_target(self, batch: Batch) -> torch.Tensor:
        """Return (N, V, M): vehicle v's Q_d if it took each target and the others did as they did."""
        x, _ = self._inputs(batch)
        first = x.shape[1] - self._agents * self._targets
        values = []
        for m in range(self._targets):
            mine = x[:, None, :].repeat(1, self._agents, 1)
            for v in range(self._agents):
                at = first + v * self._targets
                mine[:, v, at : at + self._targets] = 0.0
                mine[:, v, at + m] = 1.0
            values.append(self._q("discrete_copy", mine))
        return torch.stack(values, dim=-1)

    def _by_share(self, batch: Batch, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        """Return (N, V, samples): vehicle v's Q_c for shares of its own policy."""
        _, x = self._inputs(batch)
        first = x.shape[1] - self._agents
        values, own = [], torch.arange(self._agents)
        for _ in range(self._samples):
            drawn = sample_beta(alpha, beta, self._random)
            mine = x[:, None, :].repeat(1, self._agents, 1)
            mine[:, own, first + own] = drawn
            values.append(self._q("continuous_copy", mine))
        return torch.stack(values, dim=-1)

    def losses(self, batch: Batch, grades: Grades) -> tuple[torch.Tensor, ...]:
        """Return (Qhat - Q)^2 of both critics on some instants."""
        found = []
        for name, x, wanted in zip(
            ("discrete", "continuous"), self._inputs(batch), grades.returns, strict=True
        ):
            found.append(((self._q(name, x) - wanted) ** 2)[batch.present].mean())
        return tuple(found)

    def settle(self) -> None:
        """Copy what was learnt to the target copies."""
        for name in ("discrete", "continuous"):
            soft_copy(self.get_submodule(name + "_copy"), self.get_submodule(name), 1.0)

    def extra(self) -> Arrays:
        """Return all that :meth:`load_extra` needs beside the weights."""
        return {"critic_random": self._random.get_state().numpy().copy()}

    def load_extra(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from :meth:`extra`."""
        self._random.set_state(torch.from_numpy(np.array(arrays["critic_random"])))


def sample_beta(alpha: torch.Tensor, beta: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a draw of Beta(alpha, beta) from a generator of its own, strictly between 0 and 1."""
    one, two = (torch._standard_gamma(p, generator=generator) for p in (alpha, beta))
    return (one / (one + two)).clamp(1e-4, 1.0 - 1e-4)
