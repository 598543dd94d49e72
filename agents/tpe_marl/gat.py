"""The rival GAT-MADQN: every vehicle of the zone a node, graph attention between those near each other, double DQN.

Graph attention of Velickovic et al., arXiv 1710.10903, eqs (1) to (5), over dense graphs padded to the same size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from agents.common.networks import PerceptronNet
from agents.common.recurrent import draw_weights
from agents.common.td import chosen, double_q_value, td_loss
from agents.tpe_marl.graph_policy import SLOPE, linked


class GatNet(nn.Module):
    """Features 8 -> 32 -> 32, four attention heads of 8, both side by side -> 32 -> 32 -> 9 values."""

    def __init__(
        self,
        generator: torch.Generator,
        features: int = 8,
        actions: int = 9,
        hidden: int = 32,
        heads: int = 4,
        width: int = 8,
    ) -> None:
        super().__init__()
        self.encoder = PerceptronNet((features, hidden, hidden), generator)
        self.project = nn.Linear(hidden, heads * width, bias=False)
        draw_weights(self.project, generator)
        bound = (6.0 / (width + 1)) ** 0.5  # Glorot's, of a row of the attention vector
        self.source = nn.Parameter(torch.empty(heads, width))
        self.sink = nn.Parameter(torch.empty(heads, width))
        for attention in (self.source, self.sink):
            nn.init.uniform_(attention, -bound, bound, generator=generator)
        self.head = PerceptronNet((hidden + heads * width, hidden, hidden, actions), generator)

    def forward(self, features: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return values (B, N, A) for features (B, N, 8) of nodes that are *present* (B, N).

        Nobody sees an absent node; its features are not looked at and its values mean nothing.
        """
        features = torch.where(present.unsqueeze(-1), features, 0.0)
        encoded = torch.relu(self.encoder(features))
        heads, width = self.source.shape
        values = self.project(encoded).unflatten(-1, (heads, width))  # (B, N, heads, width)
        to_others, from_others = (values * self.source).sum(-1), (values * self.sink).sum(-1)
        scores = nn.functional.leaky_relu(from_others.unsqueeze(2) + to_others.unsqueeze(1), SLOPE)
        edges = linked(features) & present.unsqueeze(1)
        edges = edges | torch.eye(edges.shape[-1], dtype=torch.bool, device=edges.device)
        share = scores.masked_fill(~edges.unsqueeze(-1), -torch.inf).softmax(dim=2)
        gathered = torch.einsum("bijh,bjhw->bihw", share, values).flatten(-2)
        result: torch.Tensor = self.head(torch.cat([encoded, nn.functional.elu(gathered)], dim=-1))
        return result


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """B instants and the instants after; k decisions of CAVs in them.

    ``features`` (B, N, 8) and ``present`` (B, N), ``next_features`` and ``next_present`` likewise.  Of decision i:
    ``at`` and ``next_at`` (k,) the node as ``instant * N + node`` before and after (anything if it left), ``action``,
    ``reward``, ``next_allowed`` (k, A) and ``terminated`` (k,).
    """

    features: torch.Tensor
    present: torch.Tensor
    next_features: torch.Tensor
    next_present: torch.Tensor
    at: torch.Tensor
    next_at: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    next_allowed: torch.Tensor
    terminated: torch.Tensor


def gat_loss(
    net: GatNet, target: GatNet, batch: GraphBatch, gamma: float = 0.99, huber: float | None = None
) -> torch.Tensor:
    """Return the double-DQN loss, each CAV learning from its own transition; one that left is worth nothing then."""
    q = net(batch.features, batch.present).flatten(0, 1)[batch.at]
    with torch.no_grad():
        online = net(batch.next_features, batch.next_present).flatten(0, 1)[batch.next_at]
        judged = target(batch.next_features, batch.next_present).flatten(0, 1)[batch.next_at]
        following = double_q_value(online, judged, batch.next_allowed)
        goal = batch.reward + gamma * torch.where(batch.terminated, 0.0, following)
    return td_loss(chosen(q, batch.action), goal, torch.ones_like(batch.terminated), huber)
