"""Learning of ``tpe_marl.gat_madqn``: double Q-learning on the graphs of two instants, with torch.

Windows are held with a row for each vehicle of the zone and instant; a gradient step takes some instants and those
after them, and learns from all decisions made in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.common.learning import NetLearner, descend
from agents.common.networks import (
    load_module,
    module_arrays,
    soft_copy,
)
from agents.common.trained import EPSILON
from agents.common.window_memory import Draw, Held, WindowMemory, gather
from agents.tpe_marl.gat import Edges, GatNet, GraphBatch, gat_loss
from agents.tpe_marl.gat_agent import NAME, NET, GatActor, GatConfig
from agents.tpe_marl.graph_policy import Floats, differences, sees
from agents.tpe_marl.recurrent_actor import driving_role
from agents.tpe_marl.team_rows import own_reward, window_guard
from cosim.errors import AgentError
from cosim.lockstep.learner import Setup, Window

Arrays = dict[str, NDArray[Any]]
EdgeArrays = tuple[NDArray[np.int64], NDArray[np.int64], Floats]
_ROWS = ("features", "decided", "action", "reward", "ahead", "allowed", "terminated")


def zone_rows(window: Window) -> NDArray[np.int64]:
    """Return (V,) for each vehicle of the zone and instant its row in the window, -1 if it has none.

    AgentError if a vehicle that decides is not in the zone.
    """
    zone = window.shared["zone_ids"]
    at = np.repeat(np.arange(len(window.t_us)), np.diff(zone.first))
    rows = window.active.nonzero()[0]
    key = np.concatenate([zone.values, window.key[rows]])
    instant = np.concatenate([at, window.instants()[rows]])
    # Sorting is stable, so a zone's entry comes right before the window's row of the same vehicle and instant.
    order = np.lexsort((key, instant))
    one, two = order[:-1], order[1:]
    same = (key[one] == key[two]) & (instant[one] == instant[two])
    found = np.full(len(zone.values), -1, dtype=np.int64)
    found[one[same]] = rows[two[same] - len(zone.values)]
    if np.count_nonzero(same) != len(rows):
        raise AgentError(f"{NAME}: a vehicle that decides is not among the zone's vehicles")
    return found


def graph_rows(window: Window, config: GatConfig) -> Held:
    """Return what is held of a window, a row for each vehicle of the zone and instant.

    ``features`` (V, d), ``decided`` whether it decided, ``action``, ``reward`` as it is learnt from, ``ahead`` how many
    rows later the same vehicle stands one instant later (0 if it left), ``allowed`` (V, 9), ``terminated``.
    """
    zone, row = window.shared["zone_features"], zone_rows(window)
    node = np.full(len(window) + 1, -1, dtype=np.int64)
    node[row[row >= 0]] = (row >= 0).nonzero()[0]
    paid = own_reward(window).astype(np.float64) if config.reward == "own" else window.reward
    reward = (paid + config.reward_shift) * config.reward_scale
    reward = reward - config.lane_change_cost * (window.values // 3 != 1)
    mask = np.ones((len(window), 9), dtype=np.bool_) if window.mask is None else window.mask
    if config.guard:
        mask = mask & window_guard(window)
    # One row of nobody behind the window's: where who does not decide finds what it is said not to be.
    there = row >= 0
    following = np.append(window.next, -1)[row]
    settled = there & (following >= 0)
    later = np.where(settled, node[following], -1)
    goes_on = settled & ~np.append(window.terminated, True)[row] & (later >= 0)
    rows: Arrays = {
        "features": config.nodes()(zone.values.astype(np.float32)),
        "decided": settled & np.append(window.decided, False)[row],
        "action": np.append(window.values, 0)[row].astype(np.int8),
        "reward": np.append(reward, 0.0)[row].astype(np.float32),
        "ahead": np.where(goes_on, later - np.arange(len(row)), 0).astype(np.int16),
        "allowed": np.concatenate([mask, np.ones((1, 9), dtype=np.bool_)])[row],
        "terminated": ~goes_on,
    }
    return Held(zone.first, rows, {})


def edges_of(features: Floats, cell: NDArray[np.int64], first: NDArray[np.int64]) -> EdgeArrays:
    """Return the fields of :class:`agents.tpe_marl.gat.Edges`, in order, of nodes one graph behind the other.

    ``features`` (R, d) of the nodes, ``cell`` (R,) the graph of each, ``first`` (G,) where the graphs begin.
    """
    count = np.diff(first, append=len(cell))[cell]
    one = np.repeat(np.arange(len(cell)), count)
    other = np.arange(len(one)) - np.repeat(np.cumsum(count) - count - first[cell], count)
    seen = sees(features[one], features[other]).nonzero()[0]
    one, other = one[seen], other[seen]
    return one, other, differences(features[one], features[other])


def graph_batch(draw: Draw) -> tuple[Any, ...]:
    """Return the fields of :class:`agents.tpe_marl.gat.GraphBatch`, in order, from stretches of two instants."""
    rows, now = draw.rows, draw.cell % 2 == 0
    number = np.where(now, np.cumsum(now), np.cumsum(~now)) - 1  # of a row among those of its kind
    sizes = np.diff(draw.first, append=len(draw.cell))
    graphs: list[Any] = []
    for kind, which in ((0, now), (1, ~now)):
        features, size = rows["features"][which], sizes[kind::2]
        graphs += [features, edges_of(features, draw.cell[which] // 2, np.cumsum(size) - size)]
    at = (now & rows["decided"]).nonzero()[0]
    left = rows["terminated"][at]
    after = np.where(left, at, at + rows["ahead"][at])
    return (
        *graphs,
        number[at],
        np.where(left, 0, number[after]),
        rows["action"][at].astype(np.int64),
        rows["reward"][at],
        rows["allowed"][after],
        left,
    )


class GatLearner(NetLearner[WindowMemory]):
    """Satisfies :class:`cosim.lockstep.learner.Learner`."""

    def __init__(self, setup: Setup) -> None:
        config: GatConfig = setup.config
        super().__init__(setup, GatActor(setup.info, config), WindowMemory(config.memory))
        choices = driving_role(setup.info, NAME).action.n
        self._config = config

        def net() -> GatNet:
            made = GatNet(
                self._weights,
                features=config.nodes().size,
                actions=choices,
                hidden=config.hidden,
                heads=config.heads,
                width=config.width,
                relative=config.relative,
            )
            return made.to(self._device)

        self._net, self._target, self._average = net(), net(), net()
        for copy in (self._target, self._average):
            soft_copy(copy, self._net, 1.0)
            copy.requires_grad_(False)
        self._optimizer = torch.optim.Adam(self._net.parameters(), lr=config.learning_rate, fused=True)

    # -- acting --

    def load_policy(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Begin to learn from these weights."""
        for net in (self._net, self._target, self._average):
            load_module(net, weights, NET)

    def policy(self, explore: bool = False) -> Arrays:
        """Return the averaged weights, or those being learnt and epsilon."""
        if not explore:
            return module_arrays(self._average, NET)
        return {**module_arrays(self._net, NET), EPSILON: np.array([self._epsilon()])}

    def _epsilon(self) -> float:
        return self.now(*self._config.epsilon, self._config.epsilon_steps)

    # -- learning --

    def add(self, windows: Sequence[Window]) -> None:
        """Take in whole windows."""
        for window in windows:
            self._memory.add(graph_rows(window, self._config))
            self.took(window, self._config.steps_per_update)

    def update(self) -> dict[str, float]:
        """Make the gradient steps that are due; signals are means over them."""
        config = self._config
        signals = {"epsilon": self._epsilon(), "memory_windows": float(len(self._memory))}
        due = self.due(config.learn_from)
        if self._steps < config.learn_from:
            return {**signals, "updates": float(self._updates)}
        rate = self.set_rates(config)
        sums = torch.zeros(3, device=self._device)
        for _ in range(due):
            sums += self._step()
            self._updates += 1
            if self._updates % config.target_every == 0:
                soft_copy(self._target, self._net, 1.0)
        signals |= {"updates": float(self._updates), "learning_rate": rate}
        if due:
            names = ("td_loss", "learner_reward", "gradient_norm")
            signals |= dict(zip(names, (sums / due).tolist(), strict=True))
        return signals

    def _step(self) -> torch.Tensor:
        """One gradient step; returns (3,) loss, mean reward learnt from, and the gradient's norm."""
        config = self._config
        draw = gather(self._memory.picks(self._random, config.batch, 2), _ROWS, ())
        batch = GraphBatch(*(self._tensors(a) for a in graph_batch(draw)))
        if not len(batch.action):
            return torch.zeros(3, device=self._device)
        loss = gat_loss(self._net, self._target, batch, config.gamma, config.huber)
        norm = descend(self._optimizer, loss, [*self._net.parameters()], config.clip)
        soft_copy(self._average, self._net, config.average)
        return torch.stack([loss.detach(), batch.reward.mean(), norm])

    def _tensors(self, arrays: Any) -> Any:
        if isinstance(arrays, tuple):
            return Edges(*(self._tensors(a) for a in arrays))
        return self.tensor(arrays)

    # -- what is saved --

    def nets(self) -> dict[str, nn.Module]:
        """Return all networks by name."""
        return {"net": self._net, "target": self._target, "average": self._average}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizer."""
        return {"optimizer": self._optimizer}
