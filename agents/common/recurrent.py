"""A recurrent network (Linear, ReLU, GRU, linear heads) over the stays of vehicles that come and go, in torch.

Training data are flat rows, one for each vehicle and instant.  :class:`Stays` says which rows follow each other: the
rows between a vehicle's entry and its exit are one stay, and the memory is empty at its beginning.  Stays are laid
side by side, each from its own first step, so one fused GRU call goes over all of them, no memory needs zeroing on
the way, and what is not there costs nothing: for slots a third full a quarter of the time of a GRU over all slots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Stays:
    """Where R rows stand in a table of ``length`` steps by ``count`` stays.

    ``place`` (R,) int64 is ``step * count + stay`` of each row.
    """

    place: torch.Tensor
    length: int
    count: int

    @staticmethod
    def of_grid(alive: torch.Tensor, entered: torch.Tensor) -> Stays:
        """Return the stays of the alive cells of (B, T, N) grids, rows in the order of ``grid[alive]``.

        A stay begins where a cell is *entered*, where the cell before it in time is not alive, and at the first
        instant.
        """
        here = alive.transpose(1, 2)  # (B, N, T): the steps of a stay follow each other
        begins = entered.transpose(1, 2).clone()
        begins[..., 0] = True
        begins[..., 1:] |= ~here[..., :-1]
        begins &= here
        instant = torch.arange(alive.shape[1], device=alive.device).expand_as(here)
        began = torch.where(begins, instant, 0).cummax(dim=-1).values
        stay = begins.flatten().cumsum(0).view_as(begins) - 1
        rows = alive.nonzero(as_tuple=True)
        step = (instant - began).transpose(1, 2)[rows]
        return Stays.of_rows(stay.transpose(1, 2)[rows], step)

    @staticmethod
    def of_rows(stay: torch.Tensor, step: torch.Tensor) -> Stays:
        """Return the stays of rows that know the number of their stay (R,) and their step in it (R,), both from 0."""
        if not stay.numel():
            return Stays(stay, 0, 0)
        length, count = int(step.max()) + 1, int(stay.max()) + 1
        return Stays(step * count + stay, length, count)

    def table(self, rows: torch.Tensor) -> torch.Tensor:
        """Return (length, count, …): *rows* (R, …) by step and stay, zeros after a stay's end."""
        flat = rows.new_zeros(self.length * self.count, *rows.shape[1:])
        return flat.index_copy(0, self.place, rows).view(self.length, self.count, *rows.shape[1:])

    def rows(self, table: torch.Tensor) -> torch.Tensor:
        """Return (R, …), the inverse of :meth:`table`."""
        return table.flatten(0, 1).index_select(0, self.place)


class RecurrentNet(nn.Module):
    """Linear, ReLU, GRU and ``heads`` linear heads whose outputs are added.

    :class:`agents.common.recurrent_policy.RecurrentPolicy` runs the same weights in NumPy, a step at a time.
    """

    def __init__(
        self, inputs: int, outputs: int, generator: torch.Generator, hidden: int = 64, heads: int = 1
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, hidden)
        self.gru = nn.GRU(hidden, hidden)
        self.heads = nn.ModuleList(nn.Linear(hidden, outputs) for _ in range(heads))
        draw_weights(self, generator)

    def forward(self, x: torch.Tensor, stays: Stays) -> torch.Tensor:
        """Return (R, outputs) for rows *x* (R, inputs)."""
        outputs = self.head_outputs(x, stays)
        return sum(outputs[1:], start=outputs[0])

    def head_outputs(self, x: torch.Tensor, stays: Stays) -> list[torch.Tensor]:
        """Return the output (R, outputs) of each head, for a penalty on one of them."""
        memory = self.memory(x, stays)
        return [head(memory) for head in self.heads]

    def memory(self, x: torch.Tensor, stays: Stays) -> torch.Tensor:
        """Return the GRU's state (R, hidden) after each row."""
        embedded = torch.relu(self.embed(x))
        if not len(x):
            return embedded
        states, _ = self.gru(stays.table(embedded))
        return stays.rows(states)


def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all Linear and GRU layers uniformly within ±1/sqrt(fan-in), GRUs by their hidden size."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.GRU):
            width = part.in_features if isinstance(part, nn.Linear) else part.hidden_size
            bound = 1.0 / math.sqrt(width)
            for parameter in part.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)


def on_grid(rows: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """Return *rows* (R, …) in the alive cells of a grid shaped as *alive*, zeros elsewhere: undoes ``grid[alive]``."""
    cells = alive.flatten().nonzero().squeeze(1)
    flat = rows.new_zeros(alive.numel(), *rows.shape[1:]).index_copy(0, cells, rows)
    return flat.view(*alive.shape, *rows.shape[1:])
