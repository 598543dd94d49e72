"""The game topology tensor: how far and in which direction each vehicle's observation lies from others'.

For every pair of CAVs D_ij = (||o_i - o_j||, SimHash(o_i - o_j)) (TPE-MARL eqs (18), (19)); each vehicle keeps those
to a few others, its topology set.  :func:`topology` does one instant and serves acting, :func:`window_topology` all
instants of a learning window; both give one row a vehicle, in the order of the observations.  :func:`relate` is the
same relation for pairs already chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from cosim.errors import AgentError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TopologySet = Literal["nearest_farthest", "two_and_two", "all"]
"""The paper's (a), (b) and (c): nearest and farthest; two nearest and two farthest; all others."""

SLOTS = 25
BITS = 8
OBS_DIM = 38
NOBODY = -1
DISTANCE_SCALE = 10.0
"""By which networks see distances divided: they lie between 1.5 and 11."""


def set_size(kind: TopologySet, slots: int = SLOTS) -> int:
    """Return k, how many others a topology set names."""
    return {"nearest_farthest": 2, "two_and_two": 4, "all": slots - 1}[kind]


@dataclass(frozen=True, slots=True)
class SimHash:
    """``planes`` (m, d) whose sides make the bits, and what each bit counts, ``weights`` (m,), first = most."""

    planes: Floats
    weights: NDArray[np.int64]

    @staticmethod
    def of(planes: NDArray[np.floating[Any]]) -> SimHash:
        """Return the hash with these planes; ValueError for more bits than 32."""
        bits = len(planes)
        if not 1 <= bits <= 32:
            raise ValueError(f"a hash has 1 to 32 bits, not {bits}")
        return SimHash(np.asarray(planes, dtype=np.float64), 1 << np.arange(bits - 1, -1, -1))

    @staticmethod
    def random(seed: int, bits: int = BITS, dimensions: int = OBS_DIM) -> SimHash:
        """Return the hash with standard normal planes of that seed."""
        return SimHash.of(np.random.default_rng([seed, 19]).standard_normal((bits, dimensions)))

    @property
    def largest(self) -> int:
        """The largest code, 2^m - 1."""
        return (1 << len(self.weights)) - 1

    def code(self, projections: Floats) -> NDArray[np.int64]:
        """Return the integer of each sign pattern (…, m); 0 counts as positive.

        The length of what is projected does not matter, so nothing is divided by it: eq (19) without its norm.
        """
        return np.asarray(((projections >= 0) * self.weights).sum(-1))  # Eq. (19)


@dataclass(frozen=True, slots=True)
class Topology:
    """The topology sets of n vehicles, one row each.

    ``member`` (n, k) is the row of each member (:data:`NOBODY`: none), ``distance`` (n, k) and ``code`` (n, k) the
    relation to it, both 0 where there is none.
    """

    member: Ints
    distance: Floats
    code: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.member)

    def tensor(self, hash_: SimHash, distance_scale: float = DISTANCE_SCALE) -> Floats:
        """Return T^i of each row, (n, 2k): distance and code of each member in turn, codes from 0 to 1."""
        out = np.empty((*self.member.shape, 2))
        np.divide(self.distance, distance_scale, out=out[..., 0])
        np.divide(self.code, hash_.largest, out=out[..., 1])
        return out.reshape(len(self), 2 * self.member.shape[1])


def relate(own: Floats, others: Floats, hash_: SimHash) -> tuple[Floats, NDArray[np.int64]]:
    """Return distance (…, k) and code (…, k) of *own* (…, d) to *others* (…, k, d): D_ij of eq (18)."""
    difference = own[..., None, :] - others
    distance = (difference * difference).sum(-1) ** 0.5
    return distance, hash_.code(difference @ hash_.planes.T)


def topology(
    obs: NDArray[np.floating[Any]], hash_: SimHash, kind: TopologySet = "nearest_farthest", slots: int = SLOTS
) -> Topology:
    """Return the topology sets among vehicles with observations (n, d) at one instant.

    Of equally far vehicles the one in the lower row is taken.  Where there are too few others, members repeat; a
    vehicle alone has none.
    """
    n, k = len(obs), set_size(kind, slots)
    if n < 2:
        return Topology(np.full((n, k), NOBODY), np.zeros((n, k)), np.zeros((n, k), dtype=np.int64))
    obs = obs.astype(np.float64)
    squares = cdist(obs, obs, "sqeuclidean")
    member = _choose(squares, kind, k)
    chosen = squares[np.arange(n)[:, None], member]  # row -1 where there is nobody: cleared below
    projected = obs @ hash_.planes.T
    code = hash_.code(projected[:, None] - projected[member])
    distance = np.sqrt(chosen)
    if not distance.all():
        # Equal observations: no direction, all bits one, whatever rounding left of the projections.
        code[chosen == 0] = hash_.largest
    if kind == "all":
        nobody = member == NOBODY
        distance[nobody], code[nobody] = 0.0, 0
    return Topology(member, distance, code)


def _choose(squares: Floats, kind: TopologySet, k: int) -> Ints:
    """Return (n, k) who is in whose set, from squared distances (n, n), n >= 2; may change *squares*' diagonal."""
    n = len(squares)
    squares.flat[:: n + 1] = np.inf
    if kind == "nearest_farthest":
        member = np.empty((n, k), dtype=np.intp)
        squares.argmin(axis=1, out=member[:, 0])
        squares.flat[:: n + 1] = -np.inf
        squares.argmax(axis=1, out=member[:, 1])
        return member
    by_nearness = squares.argsort(axis=1, kind="stable")[:, : n - 1]
    if kind == "two_and_two":
        squares.flat[:: n + 1] = -np.inf
        by_farness = (-squares).argsort(axis=1, kind="stable")[:, : n - 1]
        first_two = [0, min(1, n - 2)]
        return np.concatenate([by_nearness[:, first_two], by_farness[:, first_two]], axis=1)
    if n - 1 > k:
        raise AgentError(f"{n} vehicles at once, more than {k + 1} slots")
    member = np.full((n, k), NOBODY)
    member[:, : n - 1] = by_nearness
    return member


def window_topology(
    obs: NDArray[np.float32],
    first: NDArray[np.int64],
    active: NDArray[np.bool_],
    hash_: SimHash,
    kind: TopologySet = "nearest_farthest",
    slots: int = SLOTS,
) -> Topology:
    """Return the topology sets of all instants of a window, one row for each of its M rows.

    Args:
        obs: (M, d) observations, ``first`` (T + 2,) and ``active`` (M,) as in
            :class:`cosim.lockstep.learner.Window`.  Rows that are not active have no set.

    ``member`` counts the window's rows.
    """
    k = set_size(kind, slots)
    whole = Topology(
        np.full((len(obs), k), NOBODY), np.zeros((len(obs), k)), np.zeros((len(obs), k), dtype=np.int64)
    )
    counts = np.add.reduceat(np.append(active.astype(np.int64), 0), first[:-1]) * (np.diff(first) > 0)
    for start, count in zip(first.tolist(), counts.tolist(), strict=False):
        here = slice(start, start + count)
        one = topology(obs[here], hash_, kind, slots)
        whole.member[here] = np.where(one.member == NOBODY, NOBODY, one.member + start)
        whole.distance[here], whole.code[here] = one.distance, one.code
    return whole


def next_topology(
    obs: NDArray[np.float32],
    following: NDArray[np.int64],
    active: NDArray[np.bool_],
    member: Ints,
    hash_: SimHash,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return T^i_{t+1} towards the set chosen at t, (M, 2k) in network scale, and for which rows it is known (M,).

    ``following`` (M,) is :attr:`Window.next`.  Known where the vehicle and all its members are still there one
    instant later, and there is a member at all; unknown rows are zero.
    """
    stays = (following >= 0) & active[np.maximum(following, 0)]
    there = member != NOBODY
    other = np.where(there, member, 0)
    known = stays & there.any(axis=1) & (stays[other] | ~there).all(axis=1)
    rows = known.nonzero()[0]
    out = np.zeros((*member.shape, 2), dtype=np.float32)
    later = obs.astype(np.float64)
    distance, code = relate(later[following[rows]], later[following[other[rows]]], hash_)
    out[rows, :, 0], out[rows, :, 1] = distance / DISTANCE_SCALE, code / hash_.largest
    out[~there] = 0.0
    return out.reshape(len(member), 2 * member.shape[1]), known


def window_ranks(s: NDArray[np.floating[Any]], instant: Ints, active: NDArray[np.bool_]) -> Ints:
    """Return (M,) the place of each active row among those of its instant from the foremost on; -1 for others."""
    rows = active.nonzero()[0]
    order = rows[np.lexsort((rows, -s[rows], instant[rows]))]
    at = instant[order]
    rank = np.full(len(s), -1)
    rank[order] = np.arange(len(order)) - np.searchsorted(at, at)
    return rank


def window_vectors(
    tensor: NDArray[np.floating[Any]], rank: Ints, instant: Ints, instants: int, slots: int = SLOTS
) -> NDArray[np.float32]:
    """Return v of each instant, (instants, slots * 2k), from the rows' T^i (M, 2k) and their ranks."""
    if len(rank) and rank.max() >= slots:
        raise AgentError(f"{rank.max() + 1} vehicles at once, more than {slots} slots")
    out = np.zeros((instants, slots, tensor.shape[1]), dtype=np.float32)
    there = rank >= 0
    out[instant[there], rank[there]] = tensor[there]
    return out.reshape(instants, slots * tensor.shape[1])
