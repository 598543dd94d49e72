"""Proximal policy optimisation's parts, in torch: advantages, the clipped losses, masked choices.

Schulman et al., arXiv 1506.02438 (advantages) and 1707.06347 (losses).  Methods put them together themselves.
"""

from __future__ import annotations

import torch

Pair = tuple[torch.Tensor, torch.Tensor]


def generalized_advantages(
    reward: torch.Tensor,
    value: torch.Tensor,
    gamma: float,
    lam: float,
    terminated: torch.Tensor | None = None,
) -> Pair:
    """Return advantages (…, T) and returns (…, T), without gradient.

    Args:
        reward: (…, T) of each decision.
        value: (…, T + 1) of the state before each decision and after the last.
        gamma: discount.
        lam: weight of longer looks ahead, 0 to 1.
        terminated: (…, T) bool: what follows is worth nothing.  A window that merely ended is not terminated.
    """
    value = value.detach()
    goes_on = torch.ones_like(reward) if terminated is None else (~terminated).to(reward.dtype)
    # delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lambda A_{t+1}.  Eqs. (11), (12), (16) of 1506.02438
    delta = reward + gamma * goes_on * value[..., 1:] - value[..., :-1]
    advantage = torch.zeros_like(delta)
    running = torch.zeros_like(delta[..., 0])
    for t in range(reward.shape[-1] - 1, -1, -1):
        running = delta[..., t] + gamma * lam * goes_on[..., t] * running
        advantage[..., t] = running
    return advantage, advantage + value[..., :-1]


def normalized(advantage: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
    """Return *advantage* with mean 0 and standard deviation 1 over what *counts* (all, by default)."""
    sample = advantage if counts is None else advantage[counts]
    if sample.numel() < 2:
        return advantage
    return (advantage - sample.mean()) / (sample.std() + 1e-8)


def clipped_policy_loss(
    log_prob: torch.Tensor, old_log_prob: torch.Tensor, advantage: torch.Tensor, clip: float
) -> Pair:
    """Return the clipped surrogate loss (to be minimised) and the share of ratios that were clipped.

    All (n,): log probabilities of the actions taken, now and when they were taken.  Eq. (7) of 1707.06347.
    """
    ratio = (log_prob - old_log_prob).exp()
    bounded = ratio.clamp(1.0 - clip, 1.0 + clip)
    loss = -torch.minimum(ratio * advantage, bounded * advantage).mean()
    return loss, (ratio != bounded).float().mean().detach()


def clipped_value_loss(
    value: torch.Tensor, old_value: torch.Tensor, returns: torch.Tensor, clip: float
) -> torch.Tensor:
    """Return half the mean squared error of *value* (n,), the larger of as it is and moved at most *clip*."""
    moved = old_value + (value - old_value).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - returns) ** 2, (moved - returns) ** 2).mean()


def masked_log_probabilities(scores: torch.Tensor, allowed: torch.Tensor | None) -> torch.Tensor:
    """Return (…, A) log softmax over what is allowed; the lowest finite number for the others.

    Finite, so that probability times logarithm stays 0 and gradients stay numbers.
    """
    if allowed is not None:
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    return torch.log_softmax(scores, dim=-1)


def entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return (…,) the entropy of choices with these log probabilities (…, A)."""
    probability = log_probabilities.exp()
    return -torch.where(probability > 0, probability * log_probabilities, 0.0).sum(dim=-1)
