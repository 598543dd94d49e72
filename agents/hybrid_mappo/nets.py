"""Torch networks of Hybrid-MAPPO: stacked perceptrons, the pair of actors, the share's Beta distribution.

The actors give, for each vehicle, a score for each target RSU and the two parameters of the share K of each target.
:mod:`agents.hybrid_mappo.acting` runs the same weights in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from agents.common.networks import PerceptronNet, load_module, module_arrays
from agents.common.ppo import masked_log_probabilities
from agents.hybrid_mappo.acting import SHARE, TARGET
from agents.hybrid_mappo.guide import Guide

HIDDEN_GAIN = math.sqrt(2.0)


class CopiesNet(nn.Module):
    """Perceptrons of one shape and different weights, one for each of *copies* rows; tanh between the layers.

    Weights are (copies, out, in), as :class:`agents.common.perceptron.Perceptron` reads them.
    """

    def __init__(
        self, copies: int, sizes: Sequence[int], generator: torch.Generator, last_gain: float = 1.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for a, b in pairwise(sizes):
            layer, bound = nn.Module(), 1.0 / math.sqrt(a)
            gain = last_gain if b == sizes[-1] and len(self.layers) == len(sizes) - 2 else 1.0
            for name, shape in (("weight", (copies, b, a)), ("bias", (copies, b))):
                values = (torch.rand(shape, generator=generator) * 2.0 - 1.0) * (bound * gain)
                layer.register_parameter(name, nn.Parameter(values))
            self.layers.append(layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, copies, out) for (n, copies, in), or for (n, in) that all copies read."""
        x = x.transpose(0, 1) if x.ndim == 3 else x
        for number, layer in enumerate(self.layers):
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            x = torch.matmul(x, weight.transpose(1, 2)) + bias[:, None, :]
            if number < len(self.layers) - 1:
                x = torch.tanh(x)
        return x.transpose(0, 1)


def orthogonal(net: PerceptronNet, generator: torch.Generator, last_gain: float) -> PerceptronNet:
    """Set orthogonal weights of gain sqrt 2 (the last layer: *last_gain*) and zero biases; return *net*."""
    last = len(net.layers) - 1
    for number, layer in enumerate(net.layers):
        assert isinstance(layer, nn.Linear)
        nn.init.orthogonal_(layer.weight, HIDDEN_GAIN if number < last else last_gain, generator=generator)
        nn.init.zeros_(layer.bias)
    return net


class ActorPair(nn.Module):
    """The discrete actor (target RSU) and the continuous one (share K for each target).

    Args:
        width: columns of the input.
        targets: M.
        agents: V for actors of their own, 0 for one pair that all vehicles share.
        guide: the rule that the actors start from; None: none.
        certain: the continuous actor gives the share itself (sigmoid), not a Beta distribution.
    """

    def __init__(
        self,
        width: int,
        targets: int,
        hidden: Sequence[int],
        generator: torch.Generator,
        agents: int = 0,
        guide: Guide | None = None,
        certain: bool = False,
    ) -> None:
        super().__init__()
        self._guide, self._certain = guide, certain
        self._targets = targets
        nets: list[nn.Module] = []
        for out in (targets, targets if certain else 2 * targets):
            sizes = (width, *hidden, out)
            if agents:
                nets.append(CopiesNet(agents, sizes, generator, 0.01))
            else:
                net = PerceptronNet(sizes, generator, torch.tanh)
                nets.append(orthogonal(net, generator, 0.01))
        self.target, self.share = nets

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scores, alpha and beta, each (n, V, M), for inputs (n, V, width); K and 1 - K if certain."""
        scores, raw = self.target(x), self.share(x)
        guide = self._guide
        if guide is not None:
            scores = scores - guide.slope * x[..., guide.latency]
        if self._certain:
            lean = 0.0 if guide is None else guide.weight * (x[..., guide.share] - 0.5)
            share = torch.sigmoid(raw + lean)
            return scores, share, 1.0 - share
        alpha, beta = raw[..., : self._targets], raw[..., self._targets :]
        if guide is not None:
            share = x[..., guide.share]
            alpha, beta = alpha + guide.weight * share, beta + guide.weight * (1.0 - share)
        return scores, beta_parameter(alpha), beta_parameter(beta)

    def nets(self) -> dict[str, nn.Module]:
        """Return both by name."""
        return {TARGET: self.target, SHARE: self.share}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return copies of all weights, as :class:`agents.hybrid_mappo.acting.PolicyNet` reads them."""
        return {**module_arrays(self.target, TARGET), **module_arrays(self.share, SHARE)}

    def load_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the weights; AgentError if one is missing or of another shape."""
        load_module(self.target, arrays, TARGET)
        load_module(self.share, arrays, SHARE)


def beta_parameter(x: torch.Tensor) -> torch.Tensor:
    """Return 1 + softplus(x): both parameters of the share's Beta distribution are above 1, so it has one peak."""
    return 1.0 + functional.softplus(x)


def taken(values: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
    """Return (…,) the entries of *values* (…, M) at *choice* (…,)."""
    return values.gather(-1, choice.unsqueeze(-1)).squeeze(-1)


def beta_log_prob(alpha: torch.Tensor, beta: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the density of Beta(alpha, beta) at *share*, all of one shape."""
    constant = torch.lgamma(alpha + beta) - torch.lgamma(alpha) - torch.lgamma(beta)
    return (alpha - 1.0) * torch.log(share) + (beta - 1.0) * torch.log1p(-share) + constant


def log_probabilities(
    pair: ActorPair, x: torch.Tensor, allowed: torch.Tensor, target: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (n, V) of the target taken, (n, V) of its share, and (n, V, M) of all targets."""
    scores, alpha, beta = pair(x)
    logs = masked_log_probabilities(scores, allowed)
    return taken(logs, target), beta_log_prob(taken(alpha, target), taken(beta, target), share), logs
