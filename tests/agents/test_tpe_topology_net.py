"""TopologyNet: its losses, which gradient reaches which part, influence and its reward."""

from __future__ import annotations

import pytest
import torch

from agents.tpe_marl.topology_net import (
    TopologyNet,
    TopologyRows,
    UpdateRule,
    groups,
    kl_loss,
    log_likelihood,
    past_loss,
    topology_loss,
    topology_reward,
    update,
)

INPUTS, OBSERVED, PAST, LATENT, K = 12, 6, 4, 5, 2


def net_of(seed: int = 0, members: int = K) -> TopologyNet:
    generator = torch.Generator().manual_seed(seed)
    return TopologyNet(members, generator, INPUTS, OBSERVED, PAST, LATENT, hidden=8, decoder=16)


def rows_of(seed: int = 0) -> TopologyRows:
    """Nine vehicles at three instants: of four, four, and one that is alone."""
    g = torch.Generator().manual_seed(seed)
    length = torch.tensor([4, 1, 2, 4, 3, 4, 4, 2, 4])
    past = torch.randn(9, PAST, INPUTS, generator=g)
    past[torch.arange(PAST) >= length[:, None]] = 0.0
    member = torch.tensor([[1, 3], [0, 3], [3, 0], [2, 1], [5, 7], [4, 6], [7, 4], [6, 5], [-1, -1]])
    known = torch.tensor([True, True, False, True, True, True, True, False, False])
    later = torch.where(known[:, None], torch.rand(9, 2 * K, generator=g), 0.0)
    return TopologyRows(past, length, member, later, known)


INSTANT = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2])


# -- losses --


def test_the_losses_are_means_over_what_is_there() -> None:
    net, rows = net_of(), rows_of()
    losses = net.losses(rows, torch.Generator().manual_seed(1))
    mean, log_variance = net.encode(rows.past, rows.length)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    z = mean + noise * torch.exp(0.5 * log_variance)
    errors = [
        (net.predict(torch.stack([z[i], *(z[j] for j in rows.member[i])])) - rows.later[i]).square().mean()
        for i in range(9)
        if rows.known[i]
    ]
    assert losses.prediction.item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)
    past = net.reconstruct(z)
    errors = [
        (past[i, : rows.length[i]] - rows.past[i, : rows.length[i], :OBSERVED]).square().mean()
        for i in range(9)
    ]
    assert losses.reconstruction.item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)
    q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    p = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(q, p).sum(dim=1).mean()
    assert losses.divergence.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_encoder_reads_up_to_the_last_input_and_not_what_stands_behind() -> None:
    net, rows = net_of(), rows_of()
    dirty = rows.past.clone()
    dirty[torch.arange(PAST) >= rows.length[:, None]] = 1e3
    assert torch.equal(net.encode(rows.past, rows.length)[0], net.encode(dirty, rows.length)[0])
    one = net.encode(rows.past[2:3, :2], rows.length[2:3])[0]
    torch.testing.assert_close(one, net.encode(rows.past, rows.length)[0][2:3])


def test_unknown_targets_and_absent_members_are_not_looked_at() -> None:
    predicted = torch.randn(3, 4, requires_grad=True)
    later = torch.tensor([[0.1, 0.2, 0.3, 0.4], [torch.nan] * 4, [0.5, 0.6, torch.nan, torch.nan]])
    there = torch.tensor([[True, True], [True, True], [True, False]])
    known = torch.tensor([True, False, True])
    loss = topology_loss(predicted, later, there, known)
    expected = (
        (predicted[0] - later[0]).square().mean() + (predicted[2, :2] - later[2, :2]).square().mean()
    ) / 2
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert not predicted.grad[1].any()
    assert topology_loss(predicted, later, there, torch.zeros(3, dtype=torch.bool)).item() == 0
    assert kl_loss(torch.zeros(0, 4), torch.zeros(0, 4)).item() == 0
    assert past_loss(torch.zeros(0, 4, 3), torch.zeros(0, 4, 3), torch.zeros(0, dtype=torch.long)).item() == 0


def test_a_group_is_the_vehicle_and_its_members_in_order_with_zeros_for_none() -> None:
    z = torch.arange(1.0, 7.0).view(3, 2)
    member = torch.tensor([[2, 1], [-1, 0], [-1, -1]])
    expected = [[[1, 2], [5, 6], [3, 4]], [[3, 4], [0, 0], [1, 2]], [[5, 6], [0, 0], [0, 0]]]
    assert groups(z, member, member >= 0).tolist() == expected


# -- eq (30) --


def parts(net: TopologyNet) -> dict[str, list[torch.nn.Parameter]]:
    return {
        "encoder": list(net.encoder.parameters()),
        "topology": list(net.topology_decoder.parameters()),
        "past": list(net.past_decoder.parameters()),
    }


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_each_part_follows_its_own_loss(sign: float) -> None:
    net, rows = net_of(), rows_of()
    rule = UpdateRule(rg_sign=sign, rg_weight=0.3, kl_weight=0.2)
    net.losses(rows, torch.Generator().manual_seed(2), rule).total.backward()
    got = {name: [p.grad.clone() for p in ps] for name, ps in parts(net).items()}  # type: ignore[union-attr]
    # The losses one by one, with gradients passing to all they depend on: rg_weight 1, rg_sign 1.
    plain = net.losses(rows, torch.Generator().manual_seed(2), UpdateRule(rg_sign=1.0, rg_weight=1.0))

    def slope(loss: torch.Tensor, name: str) -> list[torch.Tensor]:
        return list(torch.autograd.grad(loss, parts(net)[name], retain_graph=True))

    encoder = zip(
        *(slope(x, "encoder") for x in (plain.prediction, plain.divergence, plain.reconstruction)),
        strict=True,
    )
    for gradient, (tp, kl, rg) in zip(got["encoder"], encoder, strict=True):
        torch.testing.assert_close(gradient, tp + 0.2 * kl + sign * 0.3 * rg, atol=1e-6, rtol=1e-4)
    for gradient, expected in zip(got["topology"], slope(plain.prediction, "topology"), strict=True):
        torch.testing.assert_close(gradient, expected)
    for gradient, expected in zip(got["past"], slope(plain.reconstruction, "past"), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_the_literal_reading_shrinks_the_encoder_and_nothing_else() -> None:
    weights = []
    for rule in (UpdateRule(kl_weight=1.0), UpdateRule(kl_weight=1.0, decay=True)):
        net, rows = net_of(), rows_of()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        before = {name: [p.detach().clone() for p in ps] for name, ps in parts(net).items()}
        update(net, optimizer, rows, torch.Generator().manual_seed(0), rule)
        weights.append({name: [p.detach().clone() for p in ps] for name, ps in parts(net).items()})
    for plain, literal, start in zip(
        weights[0]["encoder"], weights[1]["encoder"], before["encoder"], strict=True
    ):
        torch.testing.assert_close(literal, plain - 0.1 * start)
    for name in ("topology", "past"):
        assert all(torch.equal(a, b) for a, b in zip(weights[0][name], weights[1][name], strict=True))


def test_updates_lower_the_prediction_loss() -> None:
    net, rows = net_of(), rows_of()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    first = update(net, optimizer, rows, generator).prediction.item()
    for _ in range(150):
        last = update(net, optimizer, rows, generator).prediction.item()
    assert last < 0.5 * first


# -- influence --


def test_the_information_of_the_worked_example() -> None:
    later = torch.tensor([0.3, 0.5, 0.5, 0.2])
    whole, partial = torch.tensor([0.3, 0.4, 0.5, 0.2]), torch.tensor([0.1, 0.4, 0.5, 0.2])
    there = torch.ones(2, dtype=torch.bool)
    information = log_likelihood(later, whole, there) - log_likelihood(later, partial, there)
    assert information.item() == pytest.approx(0.02, abs=1e-7)


def test_the_topology_reward_of_the_worked_example() -> None:
    member = torch.tensor([[1, 1], [0, 0]])
    rows = TopologyRows(
        torch.zeros(2, 1, 1), torch.ones(2).long(), member, torch.zeros(2, 4), torch.ones(2).bool()
    )
    reward = topology_reward(torch.full((2, 3), 0.02), rows, torch.zeros(2).long(), 1)
    assert reward.tolist() == pytest.approx([0.02])


def test_influence_equals_a_loop_over_pairs_and_samples() -> None:
    net, rows, samples = net_of(), rows_of(), 3
    got = net.influence(rows, torch.Generator().manual_seed(5), samples)
    assert not got.requires_grad
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        z, _ = net.encode(rows.past, rows.length)
        noise = [torch.randn(9, K + 1, LATENT, generator=generator) for _ in range(samples)]
        for i in range(9):
            if not rows.known[i]:
                assert not got[i].any()
                continue
            group = torch.stack([z[i], *(z[j] for j in rows.member[i])])
            whole = -0.5 * (rows.later[i] - net.predict(group)).square().sum()
            for j in range(K + 1):
                total = 0.0
                for drawn in noise:
                    replaced = group.clone()
                    replaced[j] = drawn[i, j]
                    total += (whole + 0.5 * (rows.later[i] - net.predict(replaced)).square().sum()).item()
                assert got[i, j].item() == pytest.approx(total / samples, abs=1e-6)


def test_who_the_prediction_does_not_depend_on_has_no_influence() -> None:
    net, rows = net_of(), rows_of()
    with torch.no_grad():
        net.topology_decoder.layers[0].weight[:, LATENT : 2 * LATENT] = 0.0  # blind to the first member
    influence = net.influence(rows, torch.Generator().manual_seed(0))
    assert not influence[:, 1].any()
    assert influence[rows.known][:, [0, 2]].all()


def test_the_reward_averages_over_sets_then_over_known_vehicles_of_an_instant() -> None:
    rows = rows_of()
    influence = torch.randn(9, K + 1, generator=torch.Generator().manual_seed(3))
    reward = topology_reward(influence, rows, INSTANT, 4)
    expected = [influence[[0, 1, 3]].mean().item(), influence[[4, 5, 6]].mean().item(), 0.0, 0.0]
    assert reward.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_set_with_absent_members_counts_those_that_are_there() -> None:
    member = torch.tensor([[1, -1, -1], [0, -1, -1]])
    rows = TopologyRows(
        torch.randn(2, PAST, INPUTS), torch.tensor([4, 2]), member, torch.rand(2, 6), torch.ones(2).bool()
    )
    net = net_of(members=3)
    influence = net.influence(rows, torch.Generator().manual_seed(0))
    assert influence[:, :2].all()
    assert not influence[:, 2:].any()
    reward = topology_reward(influence, rows, torch.zeros(2).long(), 1)
    assert reward.item() == pytest.approx(influence[:, :2].mean().item(), abs=1e-7)


def test_the_paper_sized_net() -> None:
    net = TopologyNet(2, torch.Generator().manual_seed(0))
    mean, log_variance = net.encode(torch.zeros(3, 10, 55), torch.tensor([1, 5, 10]))
    assert mean.shape == log_variance.shape == (3, 16)
    assert net.predict(torch.zeros(3, 3, 16)).shape == (3, 4)
    assert net.reconstruct(mean).shape == (3, 10, 38)
