"""QMIX: monotone mixing, slots of nobody, and the TD loss against a loop over steps and torchrl."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.common.recurrent import RecurrentNet, Stays, on_grid
from agents.common.schedules import linear
from agents.common.td import double_q_value, td_loss
from agents.tpe_marl.qmix import Mixer, QmixLoss, TeamBatch, TeamNets, qmix_loss

B, T, N, WIDTH, STATE, ACTIONS = 4, 6, 5, 7, 11, 9


def nets(seed: int, heads: int = 1) -> TeamNets:
    g = torch.Generator().manual_seed(seed)
    return TeamNets(
        RecurrentNet(WIDTH, ACTIONS, g, hidden=8, heads=heads), Mixer(STATE, N, g, embed=6, hidden=10)
    )


def dense(seed: int = 0) -> dict[str, torch.Tensor]:
    """Grids with vehicles that come and go; one stretch is empty at two instants."""
    g = torch.Generator().manual_seed(seed)
    alive = torch.rand(B, T + 1, N, generator=g) < 0.6
    alive[0, 2:4] = False
    entered = alive.clone()
    entered[:, 1:] &= ~alive[:, :-1] | (torch.rand(B, T, N, generator=g) < 0.1)
    allowed = torch.rand(B, T + 1, N, ACTIONS, generator=g) < 0.7
    allowed[..., 4] = True
    return {
        "inputs": torch.randn(B, T + 1, N, WIDTH, generator=g),
        "allowed": allowed,
        "action": torch.randint(0, ACTIONS, (B, T + 1, N), generator=g),
        "alive": alive,
        "entered": entered,
        "state": torch.randn(B, T + 1, STATE, generator=g),
        "reward": torch.randn(B, T, generator=g),
    }


def batch_of(grids: dict[str, torch.Tensor]) -> TeamBatch:
    alive = grids["alive"]
    rows = {name: grids[name][alive] for name in ("inputs", "allowed", "action")}
    return TeamBatch(**{**grids, **rows})


def gradients(loss: QmixLoss, net: TeamNets) -> list[torch.Tensor]:
    parameters = [*net.agent.parameters(), *net.mixer.parameters()]
    return list(torch.autograd.grad(loss.loss, parameters, allow_unused=True))


# -- the mixer --


def test_q_total_never_falls_when_a_vehicles_value_rises() -> None:
    g = torch.Generator().manual_seed(0)
    for seed in range(5):
        mixer = Mixer(STATE, N, torch.Generator().manual_seed(seed))
        q = (10 * torch.randn(200, N, generator=g)).requires_grad_()
        alive = torch.rand(200, N, generator=g) < 0.7
        (slope,) = torch.autograd.grad(mixer(q, torch.randn(200, STATE, generator=g), alive).sum(), q)
        assert (slope >= 0).all()
        assert (slope[~alive] == 0).all()
        assert (slope[alive] > 0).float().mean() > 0.9


def test_q_total_is_what_the_formula_says() -> None:
    mixer = Mixer(STATE, 2, torch.Generator().manual_seed(1), embed=3, hidden=4).double()
    q, s = torch.tensor([0.7, -1.3], dtype=torch.float64), torch.linspace(-1, 1, STATE, dtype=torch.float64)
    w1 = mixer.first_weight(s).abs().reshape(2, 3)
    b1, w2, v = mixer.first_bias(s), mixer.last_weight(s).abs(), mixer.value(s)
    total = v[0]
    for e in range(3):
        inner = sum(q[n] * w1[n, e] for n in range(2)) + b1[e]
        total = total + w2[e] * (inner if inner > 0 else torch.expm1(inner))
    assert mixer(q, s, torch.ones(2, dtype=torch.bool)).item() == pytest.approx(total.item(), abs=1e-12)


def test_the_mixer_is_torchrls() -> None:
    multiagent = pytest.importorskip("torchrl.modules.models.multiagent")
    mixer = Mixer(STATE, N, torch.Generator().manual_seed(2))
    other = multiagent.QMixer((STATE,), 32, N, "cpu")
    other.hyper_w_1, other.hyper_b_1 = mixer.first_weight, mixer.first_bias
    other.hyper_w_final, other.V = mixer.last_weight, mixer.value
    q, s = torch.randn(50, N), torch.randn(50, STATE)
    mixed = mixer(q, s, torch.ones(50, N, dtype=torch.bool))
    torch.testing.assert_close(mixed, other.mix(q.unsqueeze(-1), s).squeeze(-1))


# -- slots of nobody --


@pytest.mark.parametrize("garbage", [1e6, torch.nan, torch.inf])
def test_a_slot_of_nobody_changes_nothing_bit_for_bit(garbage: float) -> None:
    net, target = nets(0, heads=2), nets(1, heads=2)
    grids = dense()
    dead = ~grids["alive"]
    before = qmix_loss(net, target, batch_of(grids), head_penalty=0.1)
    changed = dict(grids)
    changed["inputs"] = torch.where(dead.unsqueeze(-1), garbage, grids["inputs"])
    changed["action"] = torch.where(dead, ACTIONS - 1, grids["action"])
    changed["allowed"] = grids["allowed"] & ~dead.unsqueeze(-1)
    after = qmix_loss(net, target, batch_of(changed), head_penalty=0.1)
    assert torch.equal(before.loss, after.loss)
    for one, other in zip(gradients(before, net), gradients(after, net), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("garbage", [-1e6, torch.nan, torch.inf])
def test_a_value_in_a_slot_of_nobody_is_cut_off_before_the_mixer(garbage: float) -> None:
    mixer = nets(0).mixer
    grids = dense(1)
    alive, state = grids["alive"], grids["state"]
    q = torch.randn(alive.shape, generator=torch.Generator().manual_seed(3))

    def mixed(values: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        values = values.clone().requires_grad_()
        total = mixer(values, state, alive)
        return total, list(torch.autograd.grad(total.square().sum(), [values, *mixer.parameters()]))

    total, slopes = mixed(torch.where(alive, q, 0.0))
    total_dirty, slopes_dirty = mixed(torch.where(alive, q, garbage))
    assert torch.equal(total, total_dirty)
    for one, other in zip(slopes, slopes_dirty, strict=True):
        assert torch.equal(one, other)


def test_steps_without_a_vehicle_leave_the_loss() -> None:
    net, target = nets(0), nets(1)
    grids = dense()
    batch = batch_of(grids)
    assert not batch.counts()[0, 2:4].any()
    reward = grids["reward"].clone()
    reward[0, 2:4] = torch.nan
    loss = qmix_loss(net, target, batch).loss
    assert torch.equal(loss, qmix_loss(net, target, replace(batch, reward=reward)).loss)
    empty = torch.zeros_like(grids["alive"])
    nobody = batch_of({**grids, "alive": empty, "entered": empty})
    assert qmix_loss(net, target, nobody).loss.item() == 0.0


def test_slots_permuted_with_the_mixers_inputs_change_nothing() -> None:
    grids = dense(2)
    net = nets(4)
    order = torch.tensor([2, 4, 1, 0, 3])
    batch = batch_of(grids)
    q = on_grid(net.agent(batch.inputs, batch.stays()), batch.alive)
    permuted = {k: v[:, :, order] if v.dim() > 2 and k != "state" else v for k, v in grids.items()}
    other = batch_of(permuted)
    q_other = on_grid(net.agent(other.inputs, other.stays()), other.alive)
    torch.testing.assert_close(q_other, q[:, :, order], atol=1e-6, rtol=1e-5)


# -- the loss --


def loss_by_loops(
    net: TeamNets,
    target: TeamNets,
    g: dict[str, torch.Tensor],
    gamma: float,
    huber: float | None,
    burn_in: int,
) -> float:
    """QMIX's TD loss a window, a step and a slot at a time."""

    def values(nets_: TeamNets, b: int) -> dict[tuple[int, int], torch.Tensor]:
        agent, out = nets_.agent, {}
        for n in range(N):
            memory = None
            for t in range(T + 1):
                if not g["alive"][b, t, n]:
                    memory = None
                    continue
                if g["entered"][b, t, n]:
                    memory = None
                x = torch.relu(agent.embed(g["inputs"][b, t, n]))[None, None]
                states, memory = agent.gru(x, memory)
                out[t, n] = agent.heads[0](states[0, 0])
        return out

    def mixed(nets_: TeamNets, chosen: list[float], b: int, t: int) -> float:
        alive = g["alive"][b, t]
        return float(nets_.mixer(torch.tensor(chosen), g["state"][b, t], torch.ones_like(alive)))

    errors = []
    for b in range(B):
        q, q_target = values(net, b), values(target, b)
        for t in range(burn_in, T):
            if not g["alive"][b, t].any():
                continue
            now = [float(q[t, n][g["action"][b, t, n]]) if (t, n) in q else 0.0 for n in range(N)]
            then = []
            for n in range(N):
                if (t + 1, n) not in q:
                    then.append(0.0)
                    continue
                choices = [a for a in range(ACTIONS) if g["allowed"][b, t + 1, n, a]]
                best = max(choices, key=lambda a: float(q[t + 1, n][a]))
                then.append(float(q_target[t + 1, n][best]))
            goal = float(g["reward"][b, t]) + gamma * mixed(target, then, b, t + 1)
            error = abs(mixed(net, now, b, t) - goal)
            if huber is None:
                errors.append(error**2)
            else:
                errors.append(0.5 * error**2 if error <= huber else huber * (error - 0.5 * huber))
    return sum(errors) / len(errors)


@pytest.mark.parametrize(("huber", "burn_in"), [(None, 0), (0.3, 0), (None, 2)])
def test_the_loss_equals_a_loop_over_windows_steps_and_slots(huber: float | None, burn_in: int) -> None:
    net, target, grids = nets(0), nets(1), dense(3)
    with torch.no_grad():
        ours = qmix_loss(net, target, batch_of(grids), 0.9, huber, burn_in)
        expected = loss_by_loops(net, target, grids, 0.9, huber, burn_in)
    assert ours.loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(ours.td, ours.loss)


@pytest.mark.parametrize("burn_in", [0, 2])
def test_own_rewards_add_the_loss_of_each_vehicles_value_and_leave_nothing_after_it_has_left(
    burn_in: int,
) -> None:
    net, target, grids = nets(0), nets(1), dense(3)
    own = torch.randn(B, T + 1, N, generator=torch.Generator().manual_seed(5))
    batch = replace(batch_of(grids), own=own[grids["alive"]])
    alive, entered, action = grids["alive"], grids["entered"], grids["action"]
    with torch.no_grad():
        ours = qmix_loss(net, target, batch, 0.9, None, burn_in, own_weight=0.5)
        stays = batch.stays()
        online = on_grid(net.agent(batch.inputs, stays), alive)
        old = on_grid(target.agent(batch.inputs, stays), alive)
    errors = []
    for b, t, n in np.ndindex(B, T, N):
        if t < burn_in or not alive[b, t, n]:
            continue
        goal = float(own[b, t, n])
        if alive[b, t + 1, n] and not entered[b, t + 1, n]:
            may = grids["allowed"][b, t + 1, n]
            best = int(online[b, t + 1, n].masked_fill(~may, -torch.inf).argmax())
            goal += 0.9 * float(old[b, t + 1, n, best])
        errors.append((float(online[b, t, n, action[b, t, n]]) - goal) ** 2)
    assert ours.own.item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    assert ours.loss.item() == pytest.approx(ours.td.item() + 0.5 * ours.own.item(), rel=1e-6)
    with pytest.raises(ValueError, match="own rewards"):
        qmix_loss(net, target, batch_of(grids), own_weight=0.5)


@pytest.mark.filterwarnings("ignore:No target network updater")
def test_the_loss_is_torchrls_where_that_can_say_something() -> None:
    """torchrl knows no masks, no memory and no double Q: everybody there, values given, both nets alike."""
    pytest.importorskip("torchrl")
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule, TensorDictSequential
    from torchrl.modules import QValueModule
    from torchrl.objectives import ValueEstimators
    from torchrl.objectives.multiagent import QMixerLoss

    net = nets(0)
    grids = {k: v[:, :2] if v.shape[1] == T + 1 else v[:, :1] for k, v in dense(1).items()}
    grids["alive"] = torch.ones_like(grids["alive"])
    grids["entered"] = torch.zeros_like(grids["entered"])
    grids["allowed"] = torch.ones_like(grids["allowed"])
    batch = batch_of(grids)
    ours = qmix_loss(net, net, batch, gamma=0.9)
    q = on_grid(net.agent(batch.inputs, batch.stays()), batch.alive).detach()

    class Mix(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer = net.mixer

        def forward(self, values: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            values = values.squeeze(-1)
            return self.mixer(values, state, torch.ones_like(values, dtype=torch.bool)).unsqueeze(-1)

    class Given(torch.nn.Module):
        """The values are observed."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, observed: torch.Tensor) -> torch.Tensor:
            return observed * self.scale

    value_key, chosen_key = ("agents", "action_value"), ("agents", "chosen_action_value")
    local = TensorDictSequential(
        TensorDictModule(Given(), in_keys=[("agents", "observation")], out_keys=[value_key]),
        QValueModule(
            action_value_key=value_key,
            out_keys=[("agents", "action"), value_key, chosen_key],
            action_space="categorical",
        ),
    )
    mixer = TensorDictModule(Mix(), in_keys=[chosen_key, "state"], out_keys=["chosen_action_value"])
    loss = QMixerLoss(local, mixer, loss_function="l2", action_space="categorical", delay_value=True)
    loss.set_keys(
        action_value=value_key,
        local_value=chosen_key,
        global_value="chosen_action_value",
        action=("agents", "action"),
    )
    loss.make_value_estimator(ValueEstimators.TD0, gamma=0.9)
    done = torch.zeros(B, 1, dtype=torch.bool)
    data = TensorDict(
        {
            "agents": {"observation": q[:, 0], "action": grids["action"][:, 0]},
            "state": grids["state"][:, 0],
            "next": {
                "agents": {"observation": q[:, 1]},
                "state": grids["state"][:, 1],
                "reward": grids["reward"],
                "done": done,
                "terminated": done,
            },
        },
        [B],
    )
    assert loss(data)["loss"].item() == pytest.approx(ours.loss.item(), rel=1e-6)


def test_the_target_gets_no_gradient_and_the_online_net_does() -> None:
    net, target = nets(0), nets(1)
    loss = qmix_loss(net, target, batch_of(dense()))
    loss.loss.backward()
    assert all(p.grad is None for p in [*target.agent.parameters(), *target.mixer.parameters()])
    assert all(p.grad is not None for p in [*net.agent.parameters(), *net.mixer.parameters()])


def test_the_second_heads_penalty_is_its_mean_size() -> None:
    net, target, batch = nets(0, heads=2), nets(1, heads=2), batch_of(dense())
    plain = qmix_loss(net, target, batch)
    penalized = qmix_loss(net, target, batch, head_penalty=0.1)
    second = net.agent.head_outputs(batch.inputs, batch.stays())[1]
    difference = (penalized.loss - plain.loss).item()
    assert difference == pytest.approx(0.1 * second.abs().mean().item(), rel=1e-4)
    assert torch.equal(penalized.td, plain.td)


def test_a_team_that_is_rewarded_for_one_action_learns_it() -> None:
    net, target = nets(0), nets(0)
    parameters = [*net.agent.parameters(), *net.mixer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    grids = dense(6)
    grids["allowed"] = torch.ones_like(grids["allowed"])
    good = (grids["action"] == 5) & grids["alive"]
    grids["reward"] = (good.sum(-1) / grids["alive"].sum(-1).clamp(min=1)).float()[:, :-1]
    batch = batch_of(grids)
    first = qmix_loss(net, target, batch, gamma=0.0).loss.item()
    for _ in range(150):
        loss = qmix_loss(net, target, batch, gamma=0.0).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first


# -- parts --


def test_epsilon_falls_from_1_to_its_end_over_50_000_steps() -> None:
    values = [linear(1.0, 0.05, 50_000, step) for step in (0, 25_000, 50_000, 60_000)]
    assert values == pytest.approx([1.0, 0.525, 0.05, 0.05], abs=1e-15)


def test_double_q_takes_the_targets_value_of_the_online_nets_choice() -> None:
    online = torch.tensor([[1.0, 5.0, 3.0], [9.0, 8.0, 7.0]])
    target = torch.tensor([[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]])
    allowed = torch.tensor([[True, False, True], [True, True, True]])
    assert double_q_value(online, target, allowed).tolist() == [30.0, 40.0]


def test_what_does_not_count_may_be_nan() -> None:
    value = torch.tensor([1.0, torch.nan, 3.0], requires_grad=True)
    goal = torch.tensor([0.0, 1.0, torch.nan])
    loss = td_loss(value, goal, torch.tensor([True, False, False]))
    loss.backward()
    assert loss.item() == 1.0
    assert value.grad is not None
    assert value.grad.tolist() == [2.0, 0.0, 0.0]
    assert td_loss(value, goal, torch.zeros(3, dtype=torch.bool)).item() == 0.0


def test_the_paper_sized_nets_have_the_paper_sized_inputs() -> None:
    g = torch.Generator().manual_seed(0)
    for state in (111, 211):
        mixer = Mixer(state, 25, g)
        total = mixer(torch.zeros(2, 25), torch.zeros(2, state), torch.ones(2, 25, dtype=torch.bool))
        assert total.shape == (2,)
    agent = RecurrentNet(55, 9, g)
    alive = torch.ones(1, 1, 25, dtype=torch.bool)
    assert agent(torch.zeros(25, 55), Stays.of_grid(alive, alive)).shape == (25, 9)
    assert np.isclose(
        sum(p.numel() for p in agent.parameters()), 55 * 64 + 64 + 2 * (64 * 192 + 192) + 64 * 9 + 9
    )
