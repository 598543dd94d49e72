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
    ``seen``          (V, S) float          what the central value sees: of each row or of each instant
    ``value``         (V,) float            its value when it was decided
    ``advantage``     (R,) float            of the decision
    ``returns``       (V,) float            what the value should have been
    ================  ====================  =======================================================
    """

    inputs: torch.Tensor
    allowed: torch.Tensor
    action: torch.Tensor
    log_prob: torch.Tensor
    alive: torch.Tensor
    entered: torch.Tensor
    seen: torch.Tensor
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
    """Return V: a value (…, 1) of what is seen (…, state)."""
    return PerceptronNet((state, hidden, hidden, 1), generator)


def mappo_loss(
    actor: RecurrentNet | PerceptronNet,
    critic: nn.Module,
    batch: PolicyBatch,
    clip: float = 0.2,
    entropy_weight: float = 0.01,
    value_weight: float = 0.5,
    value_clip: float | None = None,
) -> PolicyLoss:
    """Return MAPPO's loss (Yu et al., arXiv 2103.01955)."""
    if isinstance(actor, RecurrentNet):
        scores = actor(batch.inputs, Stays.of_grid(batch.alive, batch.entered))
    else:
        scores = actor(batch.inputs)
    logs = masked_log_probabilities(scores, batch.allowed)
    policy, clipped = clipped_policy_loss(chosen(logs, batch.action), batch.log_prob, batch.advantage, clip)
    spread = entropy(logs).mean()
    loss, value_loss = policy - entropy_weight * spread, torch.zeros_like(policy)
    if value_weight:
        value = critic(batch.seen).squeeze(-1)
        far = torch.inf if value_clip is None else value_clip
        value_loss = clipped_value_loss(value, batch.value, batch.returns, far)
        loss = loss + value_weight * value_loss
    return PolicyLoss(loss, policy.detach(), value_loss.detach(), spread.detach(), clipped)


# -- MADDPG --


class MixedActor(nn.Module):
    """Actions from a vehicle's input row: acceleration and lateral movement in -1 … 1, or scores of three choices."""

    def __init__(self, inputs: int, generator: torch.Generator, hidden: int = 64, outputs: int = 2) -> None:
        super().__init__()
        self.layers = PerceptronNet((inputs, hidden, hidden, outputs), generator)
        self.outputs = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return actions (R, outputs) for rows (R, d), as a critic knows them."""
        return self.acts(self.layers(x))

    def acts(self, before: torch.Tensor) -> torch.Tensor:
        """Return the actions of the layers' output (R, outputs): all in -1 … 1, or one and a one-hot of three."""
        if self.outputs == 2:
            return torch.tanh(before)
        best = nn.functional.one_hot(before[..., 1:].argmax(dim=-1), self.outputs - 1)
        return torch.cat([torch.tanh(before[..., :1]), best.to(before.dtype)], dim=-1)


def as_known(action: torch.Tensor, outputs: int) -> torch.Tensor:
    """Return actions (R, 2) of the task as a critic knows them (R, outputs)."""
    if outputs == 2:
        return action
    lateral = nn.functional.one_hot(action[:, 1].round().long() + 1, outputs - 1)
    return torch.cat([action[:, :1], lateral.to(action.dtype)], dim=1)


class CentralCritic(nn.Module):
    """Q(s, a_1 … a_N) of the team, or with ``own`` > 0 inputs Q_i(o_i, a_i, s, a_1 … a_N) of each vehicle."""

    def __init__(
        self,
        state: int,
        slots: int,
        generator: torch.Generator,
        hidden: int = 64,
        actions: int = 2,
        own: int = 0,
    ) -> None:
        super().__init__()
        self.shared = PerceptronNet((state + slots * actions, hidden), generator)
        self.own = PerceptronNet((own + actions, hidden), generator) if own else None
        self.layers = PerceptronNet((hidden, hidden, 1), generator)

    def of_all(self, state: torch.Tensor, actions: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        """Return (…, hidden) what the first layer makes of states (…, S) and all actions (…, N, A).

        Actions of slots not *alive* (…, N) count as 0.
        """
        actions = torch.where(alive.unsqueeze(-1), actions, 0.0)
        first: torch.Tensor = self.shared(torch.cat([state, actions.flatten(-2)], dim=-1))
        return first

    def forward(self, state: torch.Tensor, actions: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        """Return the team's value (…,) of states (…, S) and actions (…, N, A)."""
        value: torch.Tensor = self.layers(torch.relu(self.of_all(state, actions, alive)))
        return value.squeeze(-1)

    def of_each(self, all_: torch.Tensor, inputs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return each vehicle's value (R,) of its instant's :meth:`of_all` (R, hidden), input and own action (R, A)."""
        assert self.own is not None
        first = all_ + self.own(torch.cat([inputs, action], dim=-1))
        value: torch.Tensor = self.layers(torch.relu(first))
        return value.squeeze(-1)


@dataclass(frozen=True, slots=True)
class JointBatch:
    """B transitions of the whole team: rows of the vehicles that are there before (R) and after (R').

    ``inputs`` (R, d), ``action`` (R, A), ``alive`` (B, N), ``state`` (B, S), ``reward`` (B,) of the team;
    ``next_inputs`` (R', d), ``next_alive`` (B, N), ``next_state`` (B, S).  Rows in the order of ``grid[alive]``.
    Of each vehicle: ``own`` (R,) its reward, ``after`` (R,) its row afterwards (anything if it left), ``left`` (R,).
    """

    inputs: torch.Tensor
    action: torch.Tensor
    alive: torch.Tensor
    state: torch.Tensor
    reward: torch.Tensor
    next_inputs: torch.Tensor
    next_alive: torch.Tensor
    next_state: torch.Tensor
    own: torch.Tensor
    after: torch.Tensor
    left: torch.Tensor


def maddpg_critic_loss(
    critic: CentralCritic,
    target_critic: CentralCritic,
    target_actor: MixedActor,
    batch: JointBatch,
    gamma: float = 0.99,
    huber: float | None = None,
) -> torch.Tensor:
    """Return the loss of Q(s, a) against r + gamma Q^-(s', mu^-(o')) (Lowe et al., arXiv 1706.02275, eq (6)).

    Of the team, or of each vehicle if the critic is; a vehicle that left is worth nothing then.
    """
    with torch.no_grad():
        following = target_actor(batch.next_inputs)
        joint = on_grid(following, batch.next_alive)
        if critic.own is None:
            goal = batch.reward + gamma * target_critic(batch.next_state, joint, batch.next_alive)
        else:
            all_ = target_critic.of_all(batch.next_state, joint, batch.next_alive)
            worth = target_critic.of_each(_to_rows(all_, batch.next_alive), batch.next_inputs, following)
            worth = torch.cat(
                [worth, worth.new_zeros(1)]
            )  # where nobody is left there is still a row to name
            goal = batch.own + gamma * torch.where(batch.left, 0.0, worth[batch.after])
    joint = on_grid(batch.action, batch.alive)
    if critic.own is None:
        return td_loss(critic(batch.state, joint, batch.alive), goal, batch.alive.any(dim=-1), huber)
    all_ = _to_rows(critic.of_all(batch.state, joint, batch.alive), batch.alive)
    value = critic.of_each(all_, batch.inputs, batch.action)
    return td_loss(value, goal, torch.ones_like(batch.left), huber)


def _to_rows(of_instants: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """Return (R, …): what belongs to each row's instant, *of_instants* (B, …)."""
    return of_instants[alive.nonzero(as_tuple=True)[0]]


def maddpg_actor_loss(
    actor: MixedActor,
    critic: CentralCritic,
    batch: JointBatch,
    saturation_weight: float = 1e-3,
    entropy_weight: float = 0.0,
) -> torch.Tensor:
    """Return minus the critic's value of what the actor would do (arXiv 1706.02275, eq (5)).

    All vehicles share the actor, so all their actions are replaced at once.  A critic of each vehicle passes on the
    slope by the vehicle's own action only, as eq (5) does.  Where the lateral movement is a choice the value is the
    mean over its probabilities softmax(scores), whose slope is exact and needs no sample.  A small penalty on the
    actor's output before its tanh keeps it from saturating.
    """
    before: torch.Tensor = actor.layers(batch.inputs)
    still = saturation_weight * before.square().sum() / max(before.numel(), 1)
    if critic.own is None:
        action = _weighed(actor, before)
        value = critic(batch.state, on_grid(action, batch.alive), batch.alive)
        there = batch.alive.any(dim=-1)
        return still - torch.where(there, value, 0.0).sum() / there.sum().clamp(min=1)
    joint = on_grid(actor.acts(before).detach(), batch.alive)
    all_ = _to_rows(critic.of_all(batch.state, joint, batch.alive), batch.alive)
    if actor.outputs == 2:
        return still - critic.of_each(all_, batch.inputs, torch.tanh(before)).mean()
    accel, logs = torch.tanh(before[:, :1]), torch.log_softmax(before[:, 1:], dim=-1)
    values = []
    for choice in range(actor.outputs - 1):
        lateral = before.new_zeros(len(before), actor.outputs - 1)
        lateral[:, choice] = 1.0
        values.append(critic.of_each(all_, batch.inputs, torch.cat([accel, lateral], dim=1)))
    value = (logs.exp() * torch.stack(values, dim=1)).sum(dim=1)
    return still - (value + entropy_weight * entropy(logs)).mean()


def _weighed(actor: MixedActor, before: torch.Tensor) -> torch.Tensor:
    """Return actions (R, A) with a slope by every output: of a choice, its one-hot with the slope of the softmax."""
    action = actor.acts(before)
    if actor.outputs == 2:
        return action
    soft = before[:, 1:].softmax(dim=-1)
    return torch.cat([action[:, :1], action[:, 1:] + soft - soft.detach()], dim=1)
