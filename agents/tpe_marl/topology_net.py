"""TopologyNet: what each vehicle's recent past says about the topology around it, and who matters to whom.

An encoder turns the last inputs tau of one vehicle into a distribution of z; from the z of a vehicle and its topology
set one decoder predicts the topology tensor one step later, from the vehicle's own z another gives tau back.  How
much worse the prediction gets when one vehicle's z is replaced by noise is that vehicle's influence (TPE-MARL,
eqs (27) to (35)).  All rows are those of vehicles that are there: nothing is computed for empty slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from agents.common.networks import PerceptronNet
from agents.common.recurrent import draw_weights


@dataclass(frozen=True, slots=True)
class TopologyRows:
    """R vehicles and instants.

    ============  =================  ===========================================================
    ``past``      (R, L, d) float    inputs of the vehicle, oldest first, zeros behind the last
    ``length``    (R,) int64         how many of them there are, 1 to L
    ``member``    (R, k) int64       row of each member of the topology set, -1: none
    ``later``     (R, 2k) float      T^i one instant later towards the same members
    ``known``     (R,) bool          ``later`` is known: all are still there
    ============  =================  ===========================================================
    """

    past: torch.Tensor
    length: torch.Tensor
    member: torch.Tensor
    later: torch.Tensor
    known: torch.Tensor


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """How eq (30) is read; the defaults are what worked, the paper's literal reading is ``kl_weight`` 1, ``decay``.

    ``rg_sign`` -1 is the paper's: the encoder is to forget the past, +1 to keep it.  ``decay`` shrinks the encoder
    by the learning rate at every step: (1 - a) phi.
    """

    rg_sign: float = -1.0
    rg_weight: float = 0.01
    kl_weight: float = 0.001
    decay: bool = False
    clip: float = 10.0


DEFAULT_RULE = UpdateRule()


@dataclass(frozen=True, slots=True)
class TopologyLosses:
    """``prediction`` L_TP, ``reconstruction`` L_RG and ``divergence`` L_KL (eqs (27) to (29)), and what to minimise."""

    total: torch.Tensor
    prediction: torch.Tensor
    reconstruction: torch.Tensor
    divergence: torch.Tensor


class TopologyNet(nn.Module):
    """Encoder q(z | tau), decoder of the next topology, decoder of the past."""

    def __init__(
        self,
        members: int,
        generator: torch.Generator,
        inputs: int = 55,
        observed: int = 38,
        past: int = 10,
        latent: int = 16,
        hidden: int = 64,
        decoder: int = 128,
    ) -> None:
        super().__init__()
        self.observed = observed
        self.encoder = nn.ModuleDict(
            {
                "gru": nn.GRU(inputs, hidden),
                "mean": nn.Linear(hidden, latent),
                "log_variance": nn.Linear(hidden, latent),
            }
        )
        draw_weights(self.encoder, generator)
        sizes = ((members + 1) * latent, decoder, decoder, 2 * members)
        self.topology_decoder = PerceptronNet(sizes, generator)
        self.past_decoder = PerceptronNet((latent, decoder, past * observed), generator)

    def encode(self, past: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance (R, latent) of q(z | tau)."""
        states, _ = self.encoder["gru"](past.transpose(0, 1))
        last = states[length - 1, torch.arange(len(past), device=past.device)]
        return self.encoder["mean"](last), self.encoder["log_variance"](last)

    def predict(self, group: torch.Tensor) -> torch.Tensor:
        """Return That (…, 2k) from the z of a vehicle and its members (…, k + 1, latent), in this order."""
        result: torch.Tensor = self.topology_decoder(group.flatten(-2))
        return result

    def reconstruct(self, z: torch.Tensor) -> torch.Tensor:
        """Return the observations of the past (R, L, observed) from z (R, latent)."""
        past: torch.Tensor = self.past_decoder(z)
        return past.view(len(z), -1, self.observed)

    def losses(
        self, rows: TopologyRows, generator: torch.Generator, rule: UpdateRule = DEFAULT_RULE
    ) -> TopologyLosses:
        """Return the losses; ``total.backward()`` gives each part of the net its own gradient, eq (30).

        The encoder follows grad(L_TP + kl_weight L_KL + rg_sign rg_weight L_RG), the topology decoder grad L_TP, the
        past decoder grad L_RG.
        """
        mean, log_variance = self.encode(rows.past, rows.length)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        z = mean + noise * (0.5 * log_variance).exp()
        there = member_mask(rows.member)
        predicted = self.predict(groups(z, rows.member, there))
        prediction = topology_loss(predicted, rows.later, there, rows.known)  # Eq. (27)
        past = self.reconstruct(_scaled_gradient(z, rule.rg_sign * rule.rg_weight))
        reconstruction = past_loss(past, rows.past[..., : self.observed], rows.length)  # Eq. (28)
        divergence = kl_loss(mean, log_variance)  # Eq. (29)
        total = prediction + rule.kl_weight * divergence + reconstruction
        return TopologyLosses(total, prediction, reconstruction, divergence)

    @torch.no_grad()
    def influence(self, rows: TopologyRows, generator: torch.Generator, samples: int = 4) -> torch.Tensor:
        """Return I_ij (R, k + 1) for j = i and each member of i, eqs (31) to (34); 0 where unknown.

        The z are the encoder's means; the replaced one is drawn from N(0, I), *samples* times.
        """
        mean, _ = self.encode(rows.past, rows.length)
        there = member_mask(rows.member)
        group = groups(mean, rows.member, there)
        whole = log_likelihood(rows.later, self.predict(group), there)
        width = group.shape[-2]
        one = torch.eye(width, dtype=torch.bool, device=group.device)[:, :, None]  # which z is replaced
        total = torch.zeros(len(mean), width, device=group.device, dtype=group.dtype)
        for _ in range(samples):
            noise = torch.randn(group.shape, generator=generator, device=group.device, dtype=group.dtype)
            without = torch.where(one, noise.unsqueeze(1), group.unsqueeze(1))  # (R, k + 1, k + 1, latent)
            partly = log_likelihood(rows.later.unsqueeze(1), self.predict(without), there.unsqueeze(1))
            total += whole.unsqueeze(1) - partly
        counts = group_mask(there) & rows.known.unsqueeze(1)
        return torch.where(counts, total / samples, 0.0)


def member_mask(member: torch.Tensor) -> torch.Tensor:
    """Return (R, k) bool, which members there are."""
    return member >= 0


def group_mask(there: torch.Tensor) -> torch.Tensor:
    """Return (R, k + 1) bool: the vehicle itself and which members there are."""
    return torch.cat([torch.ones_like(there[:, :1]), there], dim=1)


def groups(z: torch.Tensor, member: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return (R, k + 1, latent): each vehicle's z and those of its members, zeros for none."""
    others = torch.where(there.unsqueeze(-1), z[member.clamp(min=0)], 0.0)
    return torch.cat([z.unsqueeze(1), others], dim=1)


def topology_loss(
    predicted: torch.Tensor, later: torch.Tensor, there: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
    """Return L_TP: over known rows the mean of each row's mean squared error over its members' entries."""
    counts = there.repeat_interleave(2, dim=1) & known.unsqueeze(1)
    squares = torch.where(counts, predicted - later, 0.0).square().sum(dim=1)
    return (squares / counts.sum(dim=1).clamp(min=1)).sum() / known.sum().clamp(min=1)


def past_loss(reconstructed: torch.Tensor, past: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Return L_RG: the mean over rows of the mean squared error (R, L, d) over the steps that there were."""
    counts = torch.arange(past.shape[1], device=past.device) < length.unsqueeze(1)
    squares = torch.where(counts.unsqueeze(-1), reconstructed - past, 0.0).square().mean(dim=-1).sum(dim=1)
    return (squares / length).sum() / max(len(past), 1)


def kl_loss(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return L_KL: the mean over rows of KL(N(mean, variance) || N(0, I))."""
    each = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=-1)
    return each.sum() / max(len(mean), 1)


def log_likelihood(later: torch.Tensor, predicted: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return log p(T) up to a constant, (…,), of (…, 2k): a normal distribution of variance 1."""
    error = torch.where(there.repeat_interleave(2, dim=-1), later - predicted, 0.0)
    return -0.5 * error.square().sum(dim=-1)


def topology_reward(
    influence: torch.Tensor, rows: TopologyRows, instant: torch.Tensor, instants: int
) -> torch.Tensor:
    """Return r_topo (instants,): the mean influence in each vehicle's set, averaged over known vehicles, eq (35).

    ``influence`` (R, k + 1); ``instant`` (R,) int64 from 0 says to which instant (of which window) a row belongs.
    """
    counts = group_mask(member_mask(rows.member)) & rows.known.unsqueeze(1)
    each = torch.where(counts, influence, 0.0).sum(dim=1) / counts.sum(dim=1).clamp(min=1)
    total = each.new_zeros(instants).index_add(0, instant, each)
    vehicles = each.new_zeros(instants).index_add(0, instant, rows.known.to(each.dtype))
    return total / vehicles.clamp(min=1)


def update(
    net: TopologyNet,
    optimizer: torch.optim.Optimizer,
    rows: TopologyRows,
    generator: torch.Generator,
    rule: UpdateRule = DEFAULT_RULE,
) -> TopologyLosses:
    """Make one gradient step, eq (30), and return the losses before it."""
    losses = net.losses(rows, generator, rule)
    optimizer.zero_grad()
    losses.total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), rule.clip)
    if rule.decay:
        with torch.no_grad():
            rate = float(optimizer.param_groups[0]["lr"])
            torch._foreach_mul_(list(net.encoder.parameters()), 1.0 - rate)
    optimizer.step()
    return losses


def _scaled_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Return *x* as it is; its gradient arrives multiplied by *factor*."""
    return x.detach() + factor * (x - x.detach())
