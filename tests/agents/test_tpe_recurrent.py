"""Stays and the recurrent network: against a loop over vehicles, and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.common.networks import module_arrays
from agents.common.recurrent import RecurrentNet, Stays, on_grid
from agents.common.recurrent_policy import RecurrentPolicy

# -- stays --

B, T, N, WIDTH = 3, 7, 5, 6


def traffic(seed: int, share: float = 0.6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Alive and entered cells with exits, re-entries and changes without a gap; inputs with NaN where nobody is."""
    g = torch.Generator().manual_seed(seed)
    alive = torch.rand(B, T, N, generator=g) < share
    entered = alive & (torch.rand(B, T, N, generator=g) < 0.2)
    entered[:, 1:] |= alive[:, 1:] & ~alive[:, :-1]
    entered[:, 0] = alive[:, 0]
    x = torch.randn(B, T, N, WIDTH, generator=g)
    return alive, entered, torch.where(alive.unsqueeze(-1), x, torch.nan)


def one_by_one(
    net: RecurrentNet, x: torch.Tensor, alive: torch.Tensor, entered: torch.Tensor
) -> torch.Tensor:
    """The network's outputs a vehicle and a step at a time, the memory zeroed at entry."""
    cell = torch.nn.GRUCell(net.gru.input_size, net.gru.hidden_size)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, name).data = getattr(net.gru, f"{name}_l0").data
    out = torch.zeros(*alive.shape, net.heads[0].out_features)
    for b in range(alive.shape[0]):
        for n in range(alive.shape[2]):
            memory = torch.zeros(1, net.gru.hidden_size)
            for t in range(alive.shape[1]):
                if not alive[b, t, n]:
                    continue
                if entered[b, t, n]:
                    memory = torch.zeros_like(memory)
                memory = cell(torch.relu(net.embed(x[b, t, n][None])), memory)
                out[b, t, n] = sum(head(memory)[0] for head in net.heads)
    return out


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("heads", [1, 2])
def test_one_call_over_all_stays_equals_a_loop_over_vehicles(seed: int, heads: int) -> None:
    alive, entered, x = traffic(seed)
    net = RecurrentNet(WIDTH, 4, torch.Generator().manual_seed(seed), hidden=8, heads=heads)
    with torch.no_grad():
        rows = net(x[alive], Stays.of_grid(alive, entered))
        grid = on_grid(rows, alive)
        torch.testing.assert_close(grid, one_by_one(net, x, alive, entered), atol=1e-6, rtol=1e-5)
    assert torch.equal(grid[alive], rows)


def test_a_stay_begins_after_a_gap_even_if_nobody_says_so() -> None:
    alive = torch.tensor([[True, False, True, True]]).unsqueeze(-1)
    stays = Stays.of_grid(alive, torch.zeros_like(alive))
    assert (stays.length, stays.count) == (2, 2)
    assert stays.place.tolist() == [0, 1, 3]  # step * 2 + stay


def test_rows_come_back_from_the_table_where_they_were() -> None:
    alive, entered, x = traffic(4)
    stays = Stays.of_grid(alive, entered)
    rows = x[alive]
    table = stays.table(rows)
    assert table.shape == (stays.length, stays.count, WIDTH)
    assert torch.equal(stays.rows(table), rows)
    assert table.count_nonzero() == rows.count_nonzero()
    by_number = Stays.of_rows(stays.place % stays.count, stays.place // stays.count)
    assert torch.equal(by_number.place, stays.place)


def test_no_vehicles_no_rows() -> None:
    nobody = torch.zeros(2, 3, 4, dtype=torch.bool)
    net = RecurrentNet(WIDTH, 9, torch.Generator().manual_seed(0))
    assert net(torch.zeros(0, WIDTH), Stays.of_grid(nobody, nobody)).shape == (0, 9)


def test_slots_permuted_give_permuted_values() -> None:
    alive, entered, x = traffic(5)
    net = RecurrentNet(WIDTH, 9, torch.Generator().manual_seed(5))
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        straight = on_grid(net(x[alive], Stays.of_grid(alive, entered)), alive)
        alive, entered, x = alive[:, :, order], entered[:, :, order], x[:, :, order]
        permuted = on_grid(net(x[alive], Stays.of_grid(alive, entered)), alive)
    torch.testing.assert_close(permuted, straight[:, :, order], atol=1e-6, rtol=1e-5)


def test_weights_come_from_the_generator_alone() -> None:
    def drawn(seed: int) -> dict[str, np.ndarray]:
        return module_arrays(RecurrentNet(WIDTH, 9, torch.Generator().manual_seed(seed)), "q")

    torch.manual_seed(1)
    one = drawn(3)
    torch.manual_seed(2)
    two = drawn(3)
    assert all((one[name] == two[name]).all() for name in one)
    assert any((one[name] != other).any() for name, other in drawn(4).items())
    assert max(np.abs(array).max() for name, array in one.items() if "gru" in name) <= 1 / 8


# -- acting in NumPy --


@pytest.mark.parametrize("heads", [1, 2])
def test_numpy_acts_as_torch_learns(heads: int) -> None:
    net = RecurrentNet(WIDTH, 9, torch.Generator().manual_seed(0), heads=heads)
    policy = RecurrentPolicy(module_arrays(net, "agent"), "agent")
    assert (policy.inputs, policy.hidden) == (WIDTH, 64)
    x = torch.randn(1, T, N, WIDTH, generator=torch.Generator().manual_seed(1))
    alive = torch.ones(1, T, N, dtype=torch.bool)
    with torch.no_grad():
        expected = net(x[alive], Stays.of_grid(alive, torch.zeros_like(alive))).view(T, N, 9).numpy()
    memory = np.zeros((N, policy.hidden), dtype=np.float32)
    for t in range(T):
        before = memory.copy()
        scores, memory = policy(x[0, t].numpy(), memory)
        np.testing.assert_allclose(scores, expected[t], atol=2e-6)
        assert scores.dtype == memory.dtype == np.float32
        assert t == 0 or (before != memory).any()
    assert policy(np.zeros((0, WIDTH), np.float32), np.zeros((0, 64), np.float32))[0].shape == (0, 9)


def test_huge_inputs_do_not_make_nan() -> None:
    net = RecurrentNet(WIDTH, 9, torch.Generator().manual_seed(0))
    policy = RecurrentPolicy(module_arrays(net, "agent"), "agent")
    with np.errstate(all="raise"):
        scores, memory = policy(np.full((2, WIDTH), 1e6, np.float32), np.zeros((2, 64), np.float32))
    assert np.isfinite(scores).all()
    assert (np.abs(memory) <= 1).all()


def test_missing_weights_are_named() -> None:
    with pytest.raises(ValueError, match=r"no weights 'agent\.embed\.weight' among nothing"):
        RecurrentPolicy({}, "agent")
