"""The rival GAT-MADQN: every vehicle of the zone a node, graph attention between those near each other, double DQN.

Graph attention of Velickovic et al., arXiv 1710.10903, eqs (1) to (5), over the edges of many graphs at once.
Optionally with features of edges: how the seen vehicle lies to the one that sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from agents.common.networks import PerceptronNet
from agents.common.recurrent import draw_weights
from agents.common.td import chosen, double_q_value, td_loss
from agents.tpe_marl.graph_policy import RELATIVE, SLOPE


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
        relative: bool = False,
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
        self.between: nn.Linear | None = None
        if relative:
            self.between = nn.Linear(RELATIVE, heads * width, bias=False)
            draw_weights(self.between, generator)
        self.head = PerceptronNet((hidden + heads * width, hidden, hidden, actions), generator)

    def forward(self, features: torch.Tensor, edges: Edges) -> torch.Tensor:
        """Return values (R, A) for the features (R, d) of nodes."""
        encoded = torch.relu(self.encoder(features))
        shape = self.source.shape
        values = self.project(encoded).unflatten(-1, shape)  # (R, heads, width)
        heard = values[edges.seen]
        if self.between is not None:
            # How j lies to i has a part in what i hears of j, and in the weight it gives to it.
            heard = heard + self.between(edges.apart).unflatten(-1, shape)
        scores = (values * self.sink).sum(-1)[edges.sees] + (heard * self.source).sum(-1)
        share = softmax_of_each(nn.functional.leaky_relu(scores, SLOPE), edges.sees, len(features))
        gathered = torch.zeros_like(values).index_add(0, edges.sees, share.unsqueeze(-1) * heard).flatten(1)
        result: torch.Tensor = self.head(torch.cat([encoded, nn.functional.elu(gathered)], dim=-1))
        return result


@dataclass(frozen=True, slots=True)
class Edges:
    """Who sees whom: node ``sees`` (E,) sees node ``seen`` (E,), which lies to it as ``apart`` (E, 12) says.

    Every node sees itself.  Nodes of several graphs stand one behind the other; no edge leads from one to another.
    """

    sees: torch.Tensor
    seen: torch.Tensor
    apart: torch.Tensor


def softmax_of_each(scores: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """Return softmax of *scores* (E, h) over the entries of each of *count* owners (E,)."""
    index = owner.unsqueeze(-1).expand_as(scores)
    with torch.no_grad():
        top = scores.new_full((count, scores.shape[-1]), -torch.inf).scatter_reduce(0, index, scores, "amax")
    grown = (scores - top[owner]).exp()
    return grown / torch.zeros_like(top).index_add(0, owner, grown)[owner]


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """Graphs of some instants and of those after; k decisions of CAVs in them.

    ``features`` (R, d) and ``edges`` of all nodes, ``next_features`` (R', d) and ``next_edges`` likewise.  Of each
    decision: ``at`` and ``next_at`` (k,) the node before and after (anything if it left), ``action``, ``reward``,
    ``next_allowed`` (k, A) and ``terminated`` (k,).
    """

    features: torch.Tensor
    edges: Edges
    next_features: torch.Tensor
    next_edges: Edges
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
    q = net(batch.features, batch.edges)[batch.at]
    with torch.no_grad():
        if len(batch.next_features):
            online = net(batch.next_features, batch.next_edges)[batch.next_at]
            judged = target(batch.next_features, batch.next_edges)[batch.next_at]
            following = double_q_value(online, judged, batch.next_allowed)
        else:
            following = torch.zeros_like(batch.reward)
        goal = batch.reward + gamma * torch.where(batch.terminated, 0.0, following)
    return td_loss(chosen(q, batch.action), goal, torch.ones_like(batch.terminated), huber)
