"""The rivals with actors: MAPPO (recurrent actors, one central value) and MADDPG (continuous, one central critic).

Rows are as in :class:`agents.tpe_marl.qmix.TeamBatch`: flat over the vehicles that are there, in the order of
``grid[alive]``; states belong to instants.  Actors are shared by all vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from agents.common.networks import PerceptronNet
from agents.common.ppo import clipped_policy_loss, clipped_value_loss, entropy, masked_log_probabilities
from agents.common.recurrent import RecurrentNet, Stays, on_grid
from agents.common.td import chosen, td_loss

# -- MAPPO --


@dataclass(frozen=True, slots=True)
class PolicyBatch:
    """B windows of T decisions, R rows of vehicles that decided.

    ================  ====================  =======================================================
    ``inputs``        (R, d) float          input rows
    ``allowed``       (R, A) bool           actions allowed when it was decided
    ``action``        (R,) int64            actions taken
    ``log_prob``      (R,) float            log probability with which they were taken
    ``alive``         (B, T, N) bool        which slots hold a vehicle
    ``entered``       (B, T, N) bool        which have just got theirs
    ``state``         (B, T, S) float       what the central value sees
    ``value``         (B, T) float          its value when it was decided
    ``advantage``     (B, T) float          of the team's decision
    ``returns``       (B, T) float          what the value should have been
    ================  ====================  =======================================================
    """

    inputs: torch.Tensor
    allowed: torch.Tensor
    action: torch.Tensor
    log_prob: torch.Tensor
    alive: torch.Tensor
    entered: torch.Tensor
    state: torch.Tensor
    value: torch.Tensor
    advantage: torch.Tensor
    returns: torch.Tensor


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """The loss to minimise, its parts, and the share of probability ratios that were clipped."""

    loss: torch.Tensor
    policy: torch.Tensor
    value: torch.Tensor
    entropy: torch.Tensor
    clipped: torch.Tensor


def central_value(state: int, generator: torch.Generator, hidden: int = 64) -> PerceptronNet:
    """Return V(s): a value (…, 1) of the state (…, state)."""
    return PerceptronNet((state, hidden, hidden, 1), generator)


def mappo_loss(
    actor: RecurrentNet,
    critic: nn.Module,
    batch: PolicyBatch,
    clip: float = 0.2,
    entropy_weight: float = 0.01,
    value_weight: float = 0.5,
) -> PolicyLoss:
    """Return MAPPO's loss (Yu et al., arXiv 2103.01955): each vehicle's decision is graded by the team's advantage."""
    scores = actor(batch.inputs, Stays.of_grid(batch.alive, batch.entered))
    logs = masked_log_probabilities(scores, batch.allowed)
    advantage = batch.advantage.unsqueeze(-1).expand(batch.alive.shape)[batch.alive]
    policy, clipped = clipped_policy_loss(chosen(logs, batch.action), batch.log_prob, advantage, clip)
    spread = entropy(logs).mean()
    there = batch.alive.any(dim=-1)
    value = critic(batch.state).squeeze(-1)
    value_loss = clipped_value_loss(value[there], batch.value[there], batch.returns[there], clip)
    loss = policy - entropy_weight * spread + value_weight * value_loss
    return PolicyLoss(loss, policy.detach(), value_loss.detach(), spread.detach(), clipped)


# -- MADDPG --


class ContinuousActor(nn.Module):
    """Acceleration and lateral movement in -1 … 1 from a vehicle's input row."""

    def __init__(self, inputs: int, generator: torch.Generator, hidden: int = 64, actions: int = 2) -> None:
        super().__init__()
        self.layers = PerceptronNet((inputs, hidden, hidden, actions), generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return actions (R, 2) for rows (R, d)."""
        return torch.tanh(self.layers(x))


class CentralCritic(nn.Module):
    """Q(s, a_1 … a_N): a value of the state and the actions of all slots."""

    def __init__(
        self, state: int, slots: int, generator: torch.Generator, hidden: int = 64, actions: int = 2
    ) -> None:
        super().__init__()
        self.layers = PerceptronNet((state + slots * actions, hidden, hidden, 1), generator)

    def forward(self, state: torch.Tensor, actions: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        """Return (…,) for states (…, S) and actions (…, N, 2); those of slots not *alive* (…, N) count as 0."""
        actions = torch.where(alive.unsqueeze(-1), actions, 0.0)
        value: torch.Tensor = self.layers(torch.cat([state, actions.flatten(-2)], dim=-1))
        return value.squeeze(-1)


@dataclass(frozen=True, slots=True)
class JointBatch:
    """B transitions of the whole team: rows of the vehicles that are there before (R) and after (R').

    ``inputs`` (R, d), ``action`` (R, 2), ``alive`` (B, N), ``state`` (B, S), ``reward`` (B,); ``next_inputs`` (R', d),
    ``next_alive`` (B, N), ``next_state`` (B, S).  Rows in the order of ``grid[alive]``.
    """

    inputs: torch.Tensor
    action: torch.Tensor
    alive: torch.Tensor
    state: torch.Tensor
    reward: torch.Tensor
    next_inputs: torch.Tensor
    next_alive: torch.Tensor
    next_state: torch.Tensor


def maddpg_critic_loss(
    critic: CentralCritic,
    target_critic: CentralCritic,
    target_actor: ContinuousActor,
    batch: JointBatch,
    gamma: float = 0.99,
) -> torch.Tensor:
    """Return the loss of Q(s, a) against r + gamma Q^-(s', mu^-(o')) (Lowe et al., arXiv 1706.02275, eq (6))."""
    with torch.no_grad():
        following = on_grid(target_actor(batch.next_inputs), batch.next_alive)
        goal = batch.reward + gamma * target_critic(batch.next_state, following, batch.next_alive)
    value = critic(batch.state, on_grid(batch.action, batch.alive), batch.alive)
    return td_loss(value, goal, batch.alive.any(dim=-1))


def maddpg_actor_loss(
    actor: ContinuousActor, critic: CentralCritic, batch: JointBatch, saturation_weight: float = 1e-3
) -> torch.Tensor:
    """Return minus the critic's value of what the actor would do everywhere (arXiv 1706.02275, eq (5)).

    A small penalty on the actor's output before its tanh keeps it from saturating.  All vehicles share the actor, so
    all their actions are replaced at once.
    """
    before: torch.Tensor = actor.layers(batch.inputs)
    value = critic(batch.state, on_grid(torch.tanh(before), batch.alive), batch.alive)
    there = batch.alive.any(dim=-1)
    mean = torch.where(there, value, 0.0).sum() / there.sum().clamp(min=1)
    return -mean + saturation_weight * before.square().sum() / max(before.numel(), 1)
