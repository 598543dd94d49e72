"""QMIX for a varying number of vehicles: one mixer input a slot, empty slots as if they were not there.

Each vehicle's recurrent network values its actions; the mixer adds the chosen values up to Q_tot with weights that
depend on the state and are never negative (Rashid et al., arXiv 1803.11485).  Experience comes as flat rows of the
vehicles that were there, so an empty slot has no data at all; a value in one is cut off before the mixer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from agents.common.networks import PerceptronNet
from agents.common.recurrent import RecurrentNet, Stays, on_grid
from agents.common.td import chosen, double_q_value, td_loss


class Mixer(nn.Module):
    """Q_tot = elu(q |W1(s)| + b1(s)) |w2(s)| + V(s), with W1 and w2 from networks of one hidden layer."""

    def __init__(
        self, state: int, slots: int, generator: torch.Generator, embed: int = 32, hidden: int = 64
    ) -> None:
        super().__init__()
        self.slots, self.embed = slots, embed
        self.first_weight = PerceptronNet((state, hidden, slots * embed), generator)
        self.first_bias = PerceptronNet((state, embed), generator)
        self.last_weight = PerceptronNet((state, hidden, embed), generator)
        self.value = PerceptronNet((state, embed, 1), generator)

    def forward(self, q: torch.Tensor, state: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        """Return Q_tot (…,) of values (…, slots) where *alive* (…, slots), given the state (…, state).

        What stands in a slot that is not alive is not looked at: it may be anything, NaN too.
        """
        q = torch.where(alive, q, 0.0).unsqueeze(-2)
        first = self.first_weight(state).abs().unflatten(-1, (self.slots, self.embed))
        inner = nn.functional.elu((q @ first).squeeze(-2) + self.first_bias(state))
        outer = self.last_weight(state).abs()
        total: torch.Tensor = (inner * outer).sum(-1) + self.value(state).squeeze(-1)
        return total


@dataclass(frozen=True, slots=True)
class TeamBatch:
    """B stretches of T decisions, T + 1 instants; N slots; R vehicles and instants in the order of ``grid[alive]``.

    ============  =====================  ============================================================
    ``inputs``    (R, d) float           input rows of the vehicles that are there
    ``allowed``   (R, A) bool            actions allowed
    ``action``    (R,) int64             actions taken; anything at the last instant
    ``alive``     (B, T + 1, N) bool     which slots hold a vehicle
    ``entered``   (B, T + 1, N) bool     which have just got theirs
    ``state``     (B, T + 1, S) float    what the mixer sees
    ``reward``    (B, T) float           team reward of each decision
    ``own``       (R,) float             each vehicle's own reward of its decision; None where it is not learnt from
    ============  =====================  ============================================================
    """

    inputs: torch.Tensor
    allowed: torch.Tensor
    action: torch.Tensor
    alive: torch.Tensor
    entered: torch.Tensor
    state: torch.Tensor
    reward: torch.Tensor
    own: torch.Tensor | None = None

    def stays(self) -> Stays:
        """Return which rows follow each other."""
        return Stays.of_grid(self.alive, self.entered)

    def counts(self, burn_in: int = 0) -> torch.Tensor:
        """Return (B, T) bool: there is a vehicle, and the memories have seen *burn_in* instants before."""
        counts = self.alive[:, :-1].any(dim=-1)
        counts[:, :burn_in] = False
        return counts


@dataclass(frozen=True, slots=True)
class TeamNets:
    """An agent network and a mixer: those being learnt, or their target copies."""

    agent: RecurrentNet
    mixer: Mixer


@dataclass(frozen=True, slots=True)
class QmixLoss:
    """The loss to minimise and what the learning curve shows of it."""

    loss: torch.Tensor
    td: torch.Tensor
    q_total: torch.Tensor
    """Mean of Q_tot over the steps that count."""
    own: torch.Tensor
    """Loss of the vehicles' own values, before it is weighed."""


def qmix_loss(
    nets: TeamNets,
    target: TeamNets,
    batch: TeamBatch,
    gamma: float = 0.99,
    huber: float | None = None,
    burn_in: int = 0,
    head_penalty: float = 0.0,
    own_weight: float = 0.0,
) -> QmixLoss:
    """Return the loss of Q_tot against r + gamma Q_tot^-, eq (37), over steps with a vehicle.

    A window's end terminates nothing, so its last state is bootstrapped from.  ``head_penalty`` weighs the mean size
    of the second head's output, where there is one; ``own_weight`` that of :func:`own_loss`.
    """
    stays = batch.stays()
    outputs = nets.agent.head_outputs(batch.inputs, stays)
    q = sum(outputs[1:], start=outputs[0])
    with torch.no_grad():
        following = double_q_value(q, target.agent(batch.inputs, stays), batch.allowed)
        next_values = on_grid(following, batch.alive)[:, 1:]
        next_total = target.mixer(next_values, batch.state[:, 1:], batch.alive[:, 1:])
        goal = batch.reward + gamma * next_total
    taken = on_grid(chosen(q, batch.action), batch.alive)[:, :-1]
    total = nets.mixer(taken, batch.state[:, :-1], batch.alive[:, :-1])
    counts = batch.counts(burn_in)
    td = td_loss(total, goal, counts, huber)
    loss = td
    if head_penalty and len(outputs) > 1:
        loss = loss + head_penalty * outputs[1].abs().mean()
    own = torch.zeros((), device=td.device)
    if own_weight:
        own = own_loss(taken, next_values, batch, gamma, huber, burn_in)
        loss = loss + own_weight * own
    mean_total = torch.where(counts, total, 0.0).sum() / counts.sum().clamp(min=1)
    return QmixLoss(loss, td.detach(), mean_total.detach(), own.detach())


def own_loss(
    taken: torch.Tensor,
    next_values: torch.Tensor,
    batch: TeamBatch,
    gamma: float,
    huber: float | None,
    burn_in: int,
) -> torch.Tensor:
    """Return the loss of each vehicle's value (B, T, N) against its own reward and what follows; 0 after it has left.

    Not in the paper: the team's reward alone leaves open how much of it each vehicle has earned, and what a vehicle
    gains by a lane change at 0.1 s a decision is far below what the others' actions scatter.
    """
    if batch.own is None:
        raise ValueError("a batch without the vehicles' own rewards")
    stays_on = batch.alive[:, 1:] & ~batch.entered[:, 1:]
    goal = on_grid(batch.own, batch.alive)[:, :-1] + gamma * torch.where(stays_on, next_values, 0.0)
    counts = batch.alive[:, :-1].clone()
    counts[:, :burn_in] = False
    return td_loss(taken, goal, counts, huber)
