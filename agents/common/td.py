"""Temporal differences: double Q-learning's values and the loss over the steps that count, in torch."""

from __future__ import annotations

import torch
from torch import nn


def double_q_value(online: torch.Tensor, target: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Return (…,): the target network's value of the choice that the online network prefers.

    ``online`` and ``target`` (…, A) are values, ``allowed`` (…, A) bool (van Hasselt, Guez and Silver, AAAI'16).
    """
    best = online.masked_fill(~allowed, -torch.inf).argmax(dim=-1, keepdim=True)
    return target.gather(-1, best).squeeze(-1)


def chosen(values: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
    """Return (…,): of *values* (…, A) those of *choice* (…,) int64."""
    return values.gather(-1, choice.unsqueeze(-1)).squeeze(-1)


def td_loss(
    value: torch.Tensor, goal: torch.Tensor, counts: torch.Tensor, huber: float | None = None
) -> torch.Tensor:
    """Return the mean loss of *value* against *goal* where *counts* is True, 0 if it nowhere is.

    Squared error, or with *huber* half the squared error that turns linear beyond that size.  What does not count
    is not looked at: it may be anything, NaN too.
    """
    value, goal = torch.where(counts, value, 0.0), torch.where(counts, goal, 0.0).detach()
    if huber is None:
        errors = nn.functional.mse_loss(value, goal, reduction="none")
    else:
        errors = nn.functional.huber_loss(value, goal, reduction="none", delta=huber)
    return errors.sum() / counts.sum().clamp(min=1)
