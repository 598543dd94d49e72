"""What TPE adds to QMIX while learning: topology as the mixer's state, TopologyNet, and two intrinsic rewards.

Visits are counted, and r_topo is computed with the TopologyNet of that time, when a window arrives; both rewards are
held with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.common.networks import load_module, load_optimizer, module_arrays, optimizer_arrays, pick_device
from agents.common.window_memory import Draw, Pick, WindowMemory
from agents.tpe_marl.inputs import TRAFFIC, Floats, gather_history, history, slot_state, topology_state
from agents.tpe_marl.qmix_agent import TPE, TpeConfig
from agents.tpe_marl.team_rows import TeamRows, flat_traffic, grid, slot_features
from agents.tpe_marl.topology import (
    NOBODY,
    SimHash,
    next_topology,
    set_size,
    window_ranks,
    window_topology,
    window_vectors,
)
from agents.tpe_marl.topology_net import TopologyNet, TopologyRows, UpdateRule, topology_reward, update
from agents.tpe_marl.visits import VisitTable, visit_reward, window_visit_keys
from cosim.lockstep.learner import Setup, Window
from cosim.tasks.driving.observation import FEATURES, OBS_DIM

Arrays = dict[str, NDArray[Any]]
_GENERATOR, _VISITS = "generator", "visits."


class TopologySide:
    """Satisfies :class:`agents.tpe_marl.qmix_learner.Side`.

    Rows held: ``topology`` (R, 2k) T^i, ``rank`` (R,) place on the road, ``later`` (R, 2k) and ``known`` (R,) T^i one
    instant later, ``member`` (R, k) rows of the set and ``past`` (R, L) rows of the vehicle's past, both as distances
    to the row itself; 0 in ``member`` means none, as does a positive number in ``past``.
    """

    rows: tuple[str, ...] = ("topology", "rank")
    instants: tuple[str, ...] = ("visit_reward", "topology_reward")

    def __init__(self, setup: Setup) -> None:
        config: TpeConfig = setup.config
        self._config = config
        self._members = set_size(config.topology_set, config.slots)
        self._plain = config.slots * FEATURES if config.state == "both" else 0
        self.size = config.slots * 2 * self._members + TRAFFIC + self._plain
        self._hash = SimHash.random(setup.seed, config.bits)
        self._device = pick_device(setup.device)
        self._net = TopologyNet(
            self._members,
            torch.Generator().manual_seed((setup.seed + 1) % 2**63),
            inputs=config.rows(TPE).size,
            observed=OBS_DIM,
            past=config.past,
            latent=config.latent,
        ).to(self._device)
        self._optimizer = torch.optim.RMSprop(
            self._net.parameters(), lr=config.topology_learning_rate, alpha=0.99, eps=1e-5
        )
        self._rule = UpdateRule(config.rg_sign, config.rg_weight, config.kl_weight, config.decay, config.clip)
        self._generator = torch.Generator(self._device).manual_seed((setup.seed + 2) % 2**63)
        self._visits = VisitTable()
        self._sums: dict[str, tuple[float, int]] = {}

    # -- what is held of a window --

    def keep(self, window: Window, team: TeamRows) -> tuple[Arrays, Arrays]:
        """Return topologies, visits' rewards and influence's rewards of a window."""
        order, config = team.order, self._config
        whole = window_topology(
            window.obs, window.first, window.active, self._hash, config.topology_set, config.slots
        )
        later, known = next_topology(window.obs, window.next, window.active, whole.member, self._hash)
        rank = window_ranks(window.obs[:, 0], window.instants(), window.active)
        # From rows of the window to rows held.
        place = np.full(len(window) + 1, -1)
        place[order] = np.arange(len(order))
        own = np.arange(len(order))[:, None]
        member = whole.member[order]
        past = place[history(window.next, window.decided, config.past)[order]]
        rows: Arrays = {
            "topology": whole.tensor(self._hash)[order].astype(np.float32),
            "rank": rank[order].astype(np.int8),
            "later": later[order],
            "known": known[order],
            "member": np.where(member == NOBODY, 0, place[member] - own).astype(np.int8),
            "past": np.where(past < 0, 1, past - own).astype(np.int16),
        }
        keys = window_visit_keys(whole, rank, window.first)[:-1]
        seen = np.append(visit_reward(self._visits.visit(keys)), 0.0).astype(np.float32)
        found = self._influence(team, rows)
        there = np.diff(team.held.first)[:-1] > 0
        self._note("r_vis", float(seen[:-1][there].sum()), int(there.sum()))
        self._note("r_topo", float(found[:-1][there].sum()), int(there.sum()))
        return rows, {"visit_reward": seen, "topology_reward": found}

    def _influence(self, team: TeamRows, rows: Arrays) -> Floats:
        """Return r_topo (T + 1,) of the window's instants."""
        instants = len(team.held)
        if not self._config.topology_weight or not len(team.order):
            return np.zeros(instants, dtype=np.float32)
        topology_rows = self._tensors(team.held.rows["inputs"], rows, np.arange(len(team.order)))
        influence = self._net.influence(topology_rows, self._generator)
        instant = torch.from_numpy(team.instant).to(self._device)
        reward: Floats = topology_reward(influence, topology_rows, instant, instants).cpu().numpy()
        return reward

    def _tensors(
        self, inputs: Floats, rows: Mapping[str, NDArray[Any]], at: NDArray[np.int64]
    ) -> TopologyRows:
        """Return whole instants of *rows* (R, …); *at* (R,) says which of the *inputs* is each row's own."""
        distance = rows["past"].astype(np.int64)
        past, length = gather_history(inputs, np.where(distance > 0, -1, distance + at[:, None]))
        to_member = rows["member"].astype(np.int64)
        member = np.where(to_member == 0, NOBODY, to_member + np.arange(len(at))[:, None])
        arrays = (past, length, member, rows["later"], rows["known"])
        return TopologyRows(*(torch.from_numpy(array).to(self._device) for array in arrays))

    # -- what the mixer sees and is paid --

    def state(self, draw: Draw) -> Floats:
        """Return v and the traffic, with the plain state before it if both are wanted."""
        slots, cells = self._config.slots, draw.count * draw.length
        vectors = window_vectors(draw.rows["topology"], draw.rows["rank"], draw.cell, cells, slots)
        whole = topology_state(vectors, flat_traffic(draw))
        if not self._plain:
            return whole
        alive = grid(draw, np.ones(len(draw.cell), dtype=np.bool_), slots).reshape(cells, slots)
        nothing = np.empty((cells, 0), dtype=np.float32)
        features = slot_state(slot_features(draw, slots), alive, nothing, self._config.scaled_state)
        return np.concatenate([features, whole], axis=1)

    def bonus(self, draw: Draw) -> Floats | None:
        """Return weighted r_vis and r_topo: r_tot - r_env."""
        visits, found = draw.instants["visit_reward"], draw.instants["topology_reward"]
        weighted = self._config.visit_weight * visits + self._config.topology_weight * found
        return weighted.astype(np.float32)

    # -- TopologyNet --

    def learn(self, memory: WindowMemory, random: np.random.Generator) -> None:
        """Make one step of eq (30) on some instants."""
        if not self._config.topology_weight:
            return
        picks = [
            p for p in memory.picks(random, self._config.topology_batch, 1) if p.where.start < p.where.stop
        ]
        if not picks:
            return
        losses = update(self._net, self._optimizer, self._joined(picks), self._generator, self._rule)
        self._note("topology_loss", float(losses.prediction.detach()))
        self._note("reconstruction_loss", float(losses.reconstruction.detach()))
        self._note("kl_loss", float(losses.divergence.detach()))

    def _joined(self, picks: list[Pick]) -> TopologyRows:
        """Return the rows of single instants of several windows."""
        inputs: list[Floats] = []
        at: list[NDArray[np.int64]] = []
        taken = 0
        for pick in picks:
            # The past of its vehicles stands no farther back than this.
            begin = int(pick.held.first[max(pick.start - self._config.past + 1, 0)])
            own = pick.where
            inputs.append(pick.held.rows["inputs"][begin : own.stop])
            at.append(np.arange(own.start, own.stop) + (taken - begin))
            taken += own.stop - begin
        rows = {
            name: np.concatenate([pick.held.rows[name][pick.where] for pick in picks])
            for name in ("past", "member", "later", "known")
        }
        return self._tensors(np.concatenate(inputs), rows, np.concatenate(at))

    # -- signals and saving --

    def _note(self, name: str, value: float, count: int = 1) -> None:
        total, before = self._sums.get(name, (0.0, 0))
        self._sums[name] = (total + value, before + count)

    def signals(self) -> dict[str, float]:
        """Return means of r_vis, r_topo, L_TP, L_RG and L_KL since the last call, and the topologies seen so far."""
        means = {name: total / max(count, 1) for name, (total, count) in self._sums.items()}
        self._sums.clear()
        return {**means, "topologies_seen": float(len(self._visits))}

    def saved(self) -> Arrays:
        """Return TopologyNet, its optimizer, the generator and the visits."""
        return {
            **module_arrays(self._net, "net"),
            **optimizer_arrays(self._optimizer, "optimizer"),
            _GENERATOR: self._generator.get_state().numpy(),
            **{_VISITS + name: array for name, array in self._visits.state().items()},
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from :meth:`saved`; AgentError if it is of another configuration."""
        load_module(self._net, arrays, "net")
        load_optimizer(self._optimizer, arrays, "optimizer")
        self._generator.set_state(torch.from_numpy(np.array(arrays[_GENERATOR])))
        self._visits.load({name: arrays[_VISITS + name] for name in ("keys", "visits")})
