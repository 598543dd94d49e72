"""The game topology tensor, visits and heat map against the worked examples of the specification and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.tpe_marl.heatmap import cells, diversity_hash, heat_map, random_signs
from agents.tpe_marl.topology import (
    NOBODY,
    OBS_DIM,
    SimHash,
    Topology,
    next_topology,
    relate,
    set_size,
    topology,
    window_ranks,
    window_topology,
    window_vectors,
)
from agents.tpe_marl.visits import VisitTable, visit_reward, window_visit_keys
from cosim.errors import AgentError
from cosim.tasks.driving.observation import features, observe
from cosim.tasks.driving.zone import Zone

COSINES = SimHash.of(np.cos(np.outer(np.arange(1, 9), np.arange(1, OBS_DIM + 1))))
SETS = ("nearest_farthest", "two_and_two", "all")


def example() -> np.ndarray:
    """Observations of the specification's CAVs A, B and C (beside two HDVs), (3, 38)."""
    cav = np.array([True, True, True, False, False])
    lane = np.array([2, 2, 1, 3, 1], dtype=np.int32)
    s = np.array([100.0, 130.0, 40.0, 90.0, 249.0])
    v = np.array([15.0, 12.0, 10.0, 18.0, 20.0])
    target = np.array([2, 1, 0, 0, 1], dtype=np.int8)
    near = [[-1, -1, 0, -1, -1], [3, 3, -1, -1, 1], [1, -1, 4, -1, -1]]  # left front, left rear, front
    near += [[-1, 0, -1, -1, 2], [4, 4, -1, 0, -1], [2, 2, -1, -1, -1]]  # rear, right front, right rear
    zone = Zone(np.arange(5), s, lane, v, cav, target, np.array(near))
    return observe(zone, features(zone), np.arange(3))


def some_obs(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, OBS_DIM)).astype(np.float32)


def vector(tensor: np.ndarray, s: np.ndarray) -> np.ndarray:
    """The vector of one instant at which all are there."""
    instant = np.zeros(len(s), dtype=np.intp)
    return window_vectors(tensor, window_ranks(s, instant, np.ones(len(s), dtype=bool)), instant, 1)[0]


def visit_key(one: Topology, order: np.ndarray) -> int:
    """The key of one instant, whose vehicles stand in *order* along the road."""
    return int(window_visit_keys(one, np.argsort(order), np.array([0, len(order)]))[0])


# -- SimHash --


def test_the_hash_of_the_worked_directions() -> None:
    u = np.sin(np.arange(1, OBS_DIM + 1))
    assert np.linalg.norm(u) == pytest.approx(4.3535094, abs=5e-8)
    directions = np.stack([np.eye(OBS_DIM)[0], u, -u, np.zeros(OBS_DIM)])
    assert COSINES.code(directions @ COSINES.planes.T).tolist() == [142, 198, 57, 255]


def test_a_hash_has_1_to_32_bits() -> None:
    with pytest.raises(ValueError, match="1 to 32 bits, not 33"):
        SimHash.random(0, bits=33)
    assert SimHash.random(0, bits=32).code(np.zeros(32)) == SimHash.random(0, bits=32).largest == 2**32 - 1


@given(st.integers(0, 1000), st.floats(1e-3, 1e3), st.integers(1, 32))
def test_the_hash_of_the_opposite_is_the_complement_and_length_does_not_matter(
    seed: int, scale: float, bits: int
) -> None:
    simhash = SimHash.random(seed, bits)
    u = np.random.default_rng(seed).normal(size=OBS_DIM)
    code = simhash.code(simhash.planes @ u)
    assert 0 <= code <= simhash.largest
    assert simhash.code(simhash.planes @ -u) == simhash.largest - code
    assert simhash.code(simhash.planes @ (scale * u)) == code


def test_the_hash_reads_bits_from_the_most_significant_on() -> None:
    planes = np.random.default_rng(5).normal(size=(8, OBS_DIM))
    u = np.random.default_rng(6).normal(size=OBS_DIM)
    bits = "".join(str(int(float(plane @ u) >= 0)) for plane in planes)
    assert SimHash.of(planes).code(planes @ u) == int(bits, 2)


# -- topology sets --


def test_the_relations_of_the_worked_example() -> None:
    one = topology(example(), COSINES)
    assert one.member.tolist() == [[1, 2], [0, 2], [1, 0]]
    np.testing.assert_allclose(one.distance[0], [3.2809706, 4.3669582], atol=5e-7)
    assert one.code[0].tolist() == [133, 15]
    assert one.code[1, 0] == 122  # B-A
    assert one.code[2, 1] == 240  # C-A
    assert one.distance[1, 0] == one.distance[0, 0]


def brute_sets(obs: np.ndarray, i: int, kind: str) -> list[int]:
    """The members of i's set by looking at everybody; row order breaks ties."""
    obs = obs.astype(float)
    others = [j for j in range(len(obs)) if j != i]
    distance = {j: ((obs[i] - obs[j]) ** 2).sum() for j in others}
    near = sorted(others, key=lambda j: (distance[j], j))
    far = sorted(others, key=lambda j: (-distance[j], j))
    if not others:
        return [NOBODY] * set_size(kind)  # type: ignore[arg-type]
    if kind == "nearest_farthest":
        return [near[0], far[0]]
    if kind == "two_and_two":
        second = min(1, len(others) - 1)
        return [near[0], near[second], far[0], far[second]]
    return near + [NOBODY] * (24 - len(near))


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 9, 25])
def test_topology_sets_equal_a_search_over_everybody(kind: str, n: int) -> None:
    obs = some_obs(n, seed=n)
    simhash = SimHash.random(3)
    one = topology(obs, simhash, kind)  # type: ignore[arg-type]
    assert len(one) == n
    assert (
        one.member.shape
        == one.distance.shape
        == one.code.shape
        == (n, {SETS[0]: 2, SETS[1]: 4, SETS[2]: 24}[kind])
    )
    for i in range(n):
        assert one.member[i].tolist() == brute_sets(obs, i, kind)
        for j, distance, code in zip(one.member[i], one.distance[i], one.code[i], strict=True):
            if j == NOBODY:
                assert distance == code == 0
                continue
            u = obs[i].astype(float) - obs[j]
            assert distance == pytest.approx(np.linalg.norm(u), rel=1e-12)
            bits = simhash.planes @ (u / np.linalg.norm(u)) >= 0
            assert code == int("".join("01"[b] for b in bits.astype(int)), 2)


def test_of_two_vehicles_each_has_the_other_in_all_places() -> None:
    for kind in SETS[:2]:
        member = topology(some_obs(2), COSINES, kind).member  # type: ignore[arg-type]
        assert (member[0] == 1).all()
        assert (member[1] == 0).all()


def test_a_vehicle_alone_has_a_topology_of_zeros() -> None:
    one = topology(some_obs(1), COSINES)
    assert (one.member == NOBODY).all()
    assert not one.tensor(COSINES).any()


def test_equal_observations_are_at_distance_0_with_all_bits_one() -> None:
    obs = np.repeat(some_obs(1), 11, axis=0)
    one = topology(obs, SimHash.random(0))
    assert not one.distance.any()
    assert (one.code == 255).all()
    assert one.member[0].tolist() == [1, 1]  # ties: the lowest other row
    assert one.member[5].tolist() == [0, 0]


@given(st.integers(2, 12), st.integers(0, 50))
@settings(max_examples=40)
def test_distance_is_symmetric_and_opposite_codes_complement(n: int, seed: int) -> None:
    simhash = SimHash.random(seed)
    one = topology(some_obs(n, seed), simhash, "all")
    seen = {
        (i, j): (d, c)
        for i in range(n)
        for j, d, c in zip(
            one.member[i].tolist(), one.distance[i].tolist(), one.code[i].tolist(), strict=True
        )
        if j != NOBODY
    }
    assert len(seen) == n * (n - 1)
    for (i, j), (distance, code) in seen.items():
        assert seen[j, i] == (distance, 255 - code)


def test_more_vehicles_than_slots_are_refused() -> None:
    with pytest.raises(AgentError, match="26 vehicles at once, more than 25 slots"):
        topology(some_obs(26), COSINES, "all")
    with pytest.raises(AgentError, match="26 vehicles at once"):
        vector(np.zeros((26, 4)), np.arange(26.0))


def test_pairs_already_chosen_are_related_as_all_are() -> None:
    obs = some_obs(40).astype(np.float64).reshape(8, 5, OBS_DIM)
    distance, code = relate(obs[:, 0], obs[:, 1:], COSINES)
    one = topology(obs[0], COSINES, "all")
    assert one.distance[0, :4].tolist() == pytest.approx(sorted(distance[0]))
    assert sorted(one.code[0, :4].tolist()) == sorted(code[0].tolist())


# -- the vector --


def test_the_vector_lists_vehicles_from_the_foremost_on() -> None:
    obs = example()
    one = topology(obs, COSINES)
    raw = vector(one.tensor(COSINES, distance_scale=1.0), obs[:, 0])
    assert raw.shape == (100,)
    b_a, b_c = one.distance[1]
    a = [3.2809706, 133 / 255, 4.3669582, 15 / 255]
    np.testing.assert_allclose(raw[:8], [b_a, 122 / 255, b_c, one.code[1, 1] / 255, *a], atol=1e-6)
    assert not raw[12:].any()
    scaled = vector(one.tensor(COSINES), obs[:, 0])
    np.testing.assert_allclose(scaled[:12:2], raw[:12:2] / 10, rtol=1e-6)
    np.testing.assert_array_equal(scaled[1:12:2], raw[1:12:2])


def test_vehicles_side_by_side_keep_the_order_of_their_rows() -> None:
    s = np.array([5.0, 7.0, 5.0, 7.0, 5.0])
    assert window_ranks(s, np.zeros(5, dtype=np.intp), np.ones(5, dtype=bool)).tolist() == [2, 0, 3, 1, 4]
    assert not vector(np.zeros((0, 8)), np.empty(0)).any()


# -- whole windows --


def window(
    sizes: list[tuple[int, int]], seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Observations, offsets, active and instants of instants with (there, just left) vehicles."""
    first = np.concatenate([[0], np.cumsum([here + gone for here, gone in sizes])])
    active = np.concatenate([np.arange(here + gone) < here for here, gone in sizes])
    return some_obs(int(first[-1]), seed), first, active, np.repeat(np.arange(len(sizes)), np.diff(first))


@pytest.mark.parametrize("kind", SETS)
def test_a_window_is_its_instants(kind: str) -> None:
    obs, first, active, instant = window([(0, 0), (3, 1), (0, 2), (1, 0), (5, 0), (0, 0)])
    simhash = SimHash.random(1)
    whole = window_topology(obs, first, active, simhash, kind)  # type: ignore[arg-type]
    rank = window_ranks(obs[:, 0], instant, active)
    vectors = window_vectors(whole.tensor(simhash), rank, instant, 6)
    keys = window_visit_keys(whole, rank, first)
    for t in range(6):
        here = np.arange(first[t], first[t + 1])[active[first[t] : first[t + 1]]]
        one = topology(obs[here], simhash, kind)  # type: ignore[arg-type]
        at = np.where(one.member == NOBODY, NOBODY, one.member + first[t])
        np.testing.assert_array_equal(whole.member[here], at)
        np.testing.assert_array_equal(whole.code[here], one.code)
        np.testing.assert_array_equal(whole.distance[here], one.distance)
        order = np.argsort(-obs[here, 0], kind="stable")
        ahead_first = one.tensor(simhash)[order].astype(np.float32).ravel()
        np.testing.assert_array_equal(
            vectors[t], np.pad(ahead_first, (0, vectors.shape[1] - ahead_first.size))
        )
        assert int(keys[t]) == visit_key(one, order)
    assert (whole.member[~active] == NOBODY).all()


def test_the_next_topology_is_towards_the_same_members_and_unknown_if_one_left() -> None:
    # Three vehicles; at t+1 the rows stand in another order and the last of them has left.
    obs = some_obs(6)
    active = np.array([True, True, True, True, True, False])
    following = np.array([4, 3, 5, -1, -1, -1])
    member = np.array([[1, 1], [0, 2], [1, 0], *[[NOBODY] * 2] * 3])
    later, known = next_topology(obs, following, active, member, COSINES)
    assert known.tolist() == [True, False, False, False, False, False]
    distance, code = relate(obs[4].astype(float), obs[[3, 3]].astype(float), COSINES)
    np.testing.assert_allclose(later[0], np.stack([distance / 10, code / 255], axis=1).ravel(), rtol=1e-6)
    assert not later[1:].any()
    alone = np.full((6, 2), NOBODY)
    assert not next_topology(obs, following, active, alone, COSINES)[1].any()


def test_in_the_set_of_all_missing_members_are_zero_and_do_not_make_a_row_unknown() -> None:
    obs, first, active, _ = window([(3, 0), (3, 0)])
    following = np.array([3, 4, 5, -1, -1, -1])
    whole = window_topology(obs, first, active, COSINES, "all")
    later, known = next_topology(obs, following, active, whole.member, COSINES)
    assert known.tolist() == [True] * 3 + [False] * 3
    assert later.shape == (6, 48)
    assert not later[:, 4:].any()
    assert later[:3, 0].all()


# -- visits --


def test_visit_rewards_of_the_worked_example() -> None:
    np.testing.assert_allclose(visit_reward(np.array([1, 2, 4])), [1, 0.70711, 0.5], atol=5e-6)


def counted(batches: list[list[int]]) -> tuple[list[list[int]], dict[int, int]]:
    """What a dictionary would count."""
    table: dict[int, int] = {}
    out = []
    for batch in batches:
        out.append([])
        for key in batch:
            table[key] = table.get(key, 0) + 1
            out[-1].append(table[key])
    return out, table


@given(st.lists(st.lists(st.sampled_from([0, 1, 7, 8, 2**64 - 1, 2**63, 12345]), max_size=8), max_size=6))
def test_the_table_counts_as_a_dictionary_does(batches: list[list[int]]) -> None:
    expected, whole = counted(batches)
    table = VisitTable()
    assert [table.visit(np.array(batch, dtype=np.uint64)).tolist() for batch in batches] == expected
    assert len(table) == len(whole)
    again = VisitTable()
    again.load(table.state())
    for key, visits in whole.items():
        assert again.visit(np.array([key], dtype=np.uint64)).tolist() == [visits + 1]


def with_relations(distance: list[list[float]], code: list[list[int]]) -> Topology:
    return Topology(np.zeros((len(distance), 2), dtype=np.intp), np.array(distance), np.array(code))


def test_the_key_rounds_distances_and_minds_codes_places_and_number() -> None:
    distance, code = [[3.2, 4.4], [1.0, 2.0]], [[133, 15], [1, 2]]
    order = np.array([0, 1])
    base = visit_key(with_relations(distance, code), order)
    assert visit_key(with_relations([[2.6, 4.49], [0.51, 2.4]], code), order) == base
    assert (
        visit_key(with_relations([[2.5, 4.5], [1.5, 2.5]], code), order) != base
    )  # halves to even, as round()
    assert visit_key(with_relations([[2.5, 4.5], [1.5, 2.5]], code), order) == visit_key(
        with_relations([[2.0, 4.0], [2.0, 2.0]], code), order
    )
    assert visit_key(with_relations(distance, [[132, 15], [1, 2]]), order) != base
    assert visit_key(with_relations(distance, code), order[::-1]) != base
    # The same vehicles in other rows: order along the road decides, not rows.
    assert visit_key(with_relations(distance[::-1], code[::-1]), order[::-1]) == base
    empty, one, two = (visit_key(topology(some_obs(n), COSINES), np.arange(n)) for n in (0, 1, 2))
    assert len({empty, one, two}) == 3


def test_many_keys_do_not_collide() -> None:
    rng = np.random.default_rng(0)
    distance, code = rng.integers(0, 12, (3000, 3, 2)), rng.integers(0, 4, (3000, 3, 2))
    keys = {
        visit_key(Topology(np.zeros((3, 2), np.intp), d.astype(float), c), np.arange(3))
        for d, c in zip(distance, code, strict=True)
    }
    distinct = {(d.tobytes(), c.tobytes()) for d, c in zip(distance, code, strict=True)}
    assert len(keys) == len(distinct)


# -- heat map --


SIGNS = np.where(np.cos(np.outer(np.arange(1, 65), np.arange(1, 101))) >= 0, 1, -1).astype(np.int8)


def test_the_heat_map_of_the_worked_example() -> None:
    v = np.zeros((2, 100))
    v[1, :8] = [3.28, 0.52, 4.37, 0.06, 3.28, 0.48, 5.1, 0.7]
    assert diversity_hash(v, SIGNS).tolist() == [[2**32 - 1] * 2, [3351306464, 4236016654]]
    assert (cells(v, SIGNS) + 1).tolist() == [[32, 32], [25, 32]]
    np.testing.assert_array_equal(diversity_hash(2 * v, SIGNS), diversity_hash(v, SIGNS))


def test_counts_of_cells_sum_to_the_samples() -> None:
    v = np.random.default_rng(0).normal(size=(500, 100)).astype(np.float32)
    signs = random_signs(7)
    assert set(np.unique(signs)) == {-1, 1}
    counts = heat_map(v, signs)
    assert counts.shape == (32, 32)
    assert counts.sum() == 500
    x, y = cells(v, signs)[0]
    assert counts[x, y] >= 1
    assert heat_map(np.zeros((0, 100)), signs).sum() == 0
