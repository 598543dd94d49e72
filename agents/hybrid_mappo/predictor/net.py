"""The predictor's network in torch, for training: LSTM(256), dropout 0.05, LSTM(256), dense layer of 2 [G].

Acting is :class:`agents.hybrid_mappo.predictor.Lstm`, which reads the same weights.
"""

from __future__ import annotations

import torch
from torch import nn

HIDDEN, DROPOUT = 256, 0.05


class PredictorNet(nn.Module):
    """Two LSTM and a dense layer; ReLU behind it where a share of the box is predicted.

    The network has the 791 042 parameters of the paper: torch's second bias of each LSTM (793 090 numbers in all)
    stays 0.  Initial weights are those of the library that the paper's count points to: Glorot, orthogonal for
    the memory, forget gates open [A].  The output begins at *bias*, so that the ReLU does not die at once [A].
    """

    def __init__(
        self, inputs: int, hidden: int, *, relu: bool, bias: float, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.first = nn.LSTM(inputs, hidden)
        self.second = nn.LSTM(hidden, hidden)
        self.dense = nn.Linear(hidden, 2)
        self._relu, self._dropout = relu, dropout
        with torch.no_grad():
            for lstm in (self.first, self.second):
                inner = dict(lstm.named_parameters())
                nn.init.xavier_uniform_(inner["weight_ih_l0"], generator=generator)
                nn.init.orthogonal_(inner["weight_hh_l0"], generator=generator)
                inner["bias_ih_l0"].zero_()
                inner["bias_ih_l0"][hidden : 2 * hidden] = 1.0
                inner["bias_hh_l0"].zero_().requires_grad_(False)
            nn.init.xavier_uniform_(self.dense.weight, generator=generator)
            self.dense.bias.fill_(bias)

    def forward(self, past: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Return (n, 2) for what is shown (n, 12, inputs); dropout only with a *generator*."""
        sequence, _ = self.first(past.transpose(0, 1))
        if generator is not None and self._dropout > 0.0:
            kept = torch.rand(sequence.shape, generator=generator) >= self._dropout
            sequence = sequence * kept / (1.0 - self._dropout)
        out: torch.Tensor = self.dense(self.second(sequence)[0][-1])
        return torch.relu(out) if self._relu else out

    def learnt(self) -> int:
        """Return how many numbers are learnt."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
