"""The rivals' networks and losses: graph attention against a loop, PPO against torchrl, MADDPG against its formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.common.networks import module_arrays
from agents.common.ppo import (
    clipped_policy_loss,
    clipped_value_loss,
    entropy,
    generalized_advantages,
    masked_log_probabilities,
    normalized,
)
from agents.common.recurrent import RecurrentNet, Stays, on_grid
from agents.common.sampling import log_probabilities, normal, sample_choice
from agents.tpe_marl.actor_critic import (
    CentralCritic,
    JointBatch,
    MixedActor,
    PolicyBatch,
    as_known,
    central_value,
    maddpg_actor_loss,
    maddpg_critic_loss,
    mappo_loss,
)
from agents.tpe_marl.gat import Edges, GatNet, GraphBatch, gat_loss
from agents.tpe_marl.gat_learner import edges_of
from agents.tpe_marl.graph_policy import GraphPolicy, differences, sees

# -- graph attention --


def roads(count: int, most: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of vehicles on some roads one behind the other, the road of each, and where the roads begin."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, count)
    features = rng.random((sizes.sum(), 8), dtype=np.float32)
    features[:, 1] = rng.integers(0, 4, len(features))
    return features, np.repeat(np.arange(count), sizes), np.cumsum(sizes) - sizes


def graph(features: np.ndarray, cell: np.ndarray, first: np.ndarray) -> tuple[torch.Tensor, Edges]:
    edges = Edges(*map(torch.from_numpy, edges_of(features, cell, first)))
    return torch.from_numpy(features), edges


def test_who_sees_whom() -> None:
    features = np.zeros((5, 8), dtype=np.float32)
    features[:, 0] = np.array([0, 100, 100.5, 50, 50]) / 250
    features[:, 1] = [0, 0, 0, 1, 2]
    expected = [[1, 1, 0, 1, 0], [1, 1, 1, 1, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 1]]
    assert sees(features[:, None], features[None]).astype(int).tolist() == expected
    everyone = np.concatenate(
        [features, features[:3]]
    )  # two roads with the same vehicles do not see each other
    one, other, _ = edges_of(everyone, np.array([0] * 5 + [1] * 3), np.array([0, 5]))
    found = np.zeros((8, 8), dtype=int)
    found[one, other] = 1
    assert found[:5, :5].tolist() == expected
    assert found[5:, 5:].tolist() == [row[:3] for row in expected[:3]]
    assert not found[:5, 5:].any()
    assert not found[5:, :5].any()


def test_how_one_vehicle_lies_to_another() -> None:
    me = np.array([0.4, 1, 0.6], dtype=np.float32)
    right_ahead, same_behind, far = [0.48, 0, 0.7], [0.32, 1, 0.5], [0.4, 3, 0.6]
    others = np.array([right_ahead, same_behind, far, me], dtype=np.float32)
    found = differences(me, others)
    expected = np.zeros((4, 12))
    expected[0, [0, 6]] = 1 / 3, 0.1 / 3  # 20 m ahead on the right, 2.5 m/s faster
    expected[1, [3, 9]] = 1 / 3, -0.1 / 3  # 20 m behind on the same lane
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("relative", [False, True])
def test_graph_attention_equals_a_loop_over_nodes_and_heads(relative: bool) -> None:
    net = GatNet(torch.Generator().manual_seed(0), relative=relative)
    features, cell, first = roads(3, 7)
    with torch.no_grad():
        x, edges = graph(features, cell, first)
        got = net(x, edges)
        h = torch.relu(net.encoder(x))
        w = net.project(h).view(-1, 4, 8)
        for i in range(len(x)):
            near = [j for j in np.flatnonzero(cell == cell[i]) if sees(features[i], features[j])]
            apart = torch.from_numpy(differences(features[i], features[near]))
            extra = (
                net.between(apart).view(-1, 4, 8) if net.between is not None else torch.zeros(len(near), 4, 8)
            )
            heard, parts = w[near] + extra, []
            for head in range(4):
                e = torch.stack([net.sink[head] @ w[i, head] + net.source[head] @ one[head] for one in heard])
                alpha = torch.softmax(torch.nn.functional.leaky_relu(e, 0.2), 0)  # Eqs (1) to (3)
                parts.append(torch.nn.functional.elu((alpha[:, None] * heard[:, head]).sum(0)))
            torch.testing.assert_close(got[i], net.head(torch.cat([h[i], *parts])), atol=1e-6, rtol=1e-5)


def test_who_is_not_seen_changes_no_value() -> None:
    net = GatNet(torch.Generator().manual_seed(1), relative=True)
    features, cell, first = roads(1, 9, seed=4)
    far = features[0] + np.array([0.5, 0, 9, 9, 9, 9, 9, 9], dtype=np.float32)
    features[0, 0] = 0.0
    near = sees(features, features[0])
    with torch.no_grad():
        before = net(*graph(features, cell, first))
        alone = net(*graph(features[near], cell[near], first))
        more = net(*graph(np.vstack([features, far]), np.append(cell, 0), first))
    torch.testing.assert_close(alone[0], before[0])
    torch.testing.assert_close(more[0], before[0])


@pytest.mark.parametrize("relative", [False, True])
def test_numpy_acts_on_graphs_as_torch_learns(relative: bool) -> None:
    net = GatNet(torch.Generator().manual_seed(2), relative=relative)
    policy = GraphPolicy(module_arrays(net, "q"), "q")
    assert policy.inputs == 8
    for seed in range(4):
        features, cell, first = roads(1, 25, seed)
        rows = np.arange(0, len(features), 2)
        with torch.no_grad():
            expected = net(*graph(features, cell, first)).numpy()
        got = policy(features, rows)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected[rows], atol=3e-6)
    assert policy(np.zeros((3, 8), np.float32), np.empty(0, np.intp)).shape == (0, 9)
    assert policy(np.zeros((0, 8), np.float32), np.empty(0, np.intp)).shape == (0, 9)


def test_the_graph_loss_is_double_dqn_of_each_cav() -> None:
    net, target = (GatNet(torch.Generator().manual_seed(s)) for s in (3, 4))
    now, then = graph(*roads(3, 7, 1)), graph(*roads(3, 7, 2))
    at, next_at = torch.tensor([0, 7, 5, 3]), torch.tensor([1, 5, 0, 4])
    allowed = torch.rand(4, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    allowed[:, 4] = True
    batch = GraphBatch(
        *now, *then, at, next_at,
        action=torch.tensor([0, 4, 8, 5]),
        reward=torch.tensor([1.0, -2.0, 0.5, 3.0]),
        next_allowed=allowed,
        terminated=torch.tensor([False, False, True, False]),
    )  # fmt: skip
    errors = []
    with torch.no_grad():
        q, online, judged = net(*now), net(*then), target(*then)
        for i in range(4):
            after = online[next_at[i]]
            best = max((a for a in range(9) if allowed[i, a]), key=lambda a: float(after[a]))
            goal = batch.reward[i] + (0 if batch.terminated[i] else 0.99 * judged[next_at[i], best])
            errors.append((q[at[i], batch.action[i]] - goal) ** 2)
    assert gat_loss(net, target, batch).item() == pytest.approx(float(sum(errors) / 4), rel=1e-5)


# -- PPO's parts --


def test_advantages_are_the_sum_of_discounted_differences() -> None:
    g = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 5, generator=g), torch.randn(2, 6, generator=g)
    advantage, returns = generalized_advantages(reward, value, 0.9, 0.8)
    for b in range(2):
        delta = [float(reward[b, t] + 0.9 * value[b, t + 1] - value[b, t]) for t in range(5)]
        for t in range(5):
            expected = sum((0.9 * 0.8) ** k * delta[t + k] for k in range(5 - t))
            assert advantage[b, t].item() == pytest.approx(expected, abs=1e-5)
            assert returns[b, t].item() == pytest.approx(expected + value[b, t].item(), abs=1e-5)


def test_advantages_are_torchrls() -> None:
    functional = pytest.importorskip("torchrl.objectives.value.functional")
    g = torch.Generator().manual_seed(1)
    reward, value = torch.randn(3, 20, generator=g), torch.randn(3, 21, generator=g)
    terminated = torch.rand(3, 20, generator=g) < 0.15
    ours = generalized_advantages(reward, value, 0.99, 0.95, terminated)
    columns = [x.unsqueeze(-1) for x in (value[:, :-1], value[:, 1:], reward, terminated, terminated)]
    theirs = functional.generalized_advantage_estimate(0.99, 0.95, *columns)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.squeeze(-1), atol=1e-5, rtol=1e-5)


def test_the_clipped_losses_are_torchrls() -> None:
    pytest.importorskip("torchrl")
    from tensordict import TensorDict
    from tensordict.nn import (
        ProbabilisticTensorDictModule,
        ProbabilisticTensorDictSequential,
        TensorDictModule,
    )
    from torchrl.objectives import ClipPPOLoss

    g = torch.Generator().manual_seed(2)
    n = 200
    scores, old_scores = torch.randn(n, 9, generator=g), torch.randn(n, 9, generator=g)
    action = torch.randint(0, 9, (n,), generator=g)
    advantage, returns = torch.randn(n, generator=g), torch.randn(n, generator=g)
    value, old_value = torch.randn(n, generator=g), torch.randn(n, generator=g)
    old_log = masked_log_probabilities(old_scores, None).gather(1, action[:, None]).squeeze(1)
    logs = masked_log_probabilities(scores, None)
    log = logs.gather(1, action[:, None]).squeeze(1)
    policy, clipped = clipped_policy_loss(log, old_log, advantage, 0.2)

    class Column(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.shift

    actor = ProbabilisticTensorDictSequential(
        TensorDictModule(Column(), in_keys=["scores"], out_keys=["logits"]),
        ProbabilisticTensorDictModule(
            in_keys=["logits"], out_keys=["action"], distribution_class=torch.distributions.Categorical
        ),
    )
    critic = TensorDictModule(Column(), in_keys=["value"], out_keys=["state_value"])
    loss = ClipPPOLoss(
        actor,
        critic,
        clip_epsilon=0.2,
        entropy_coeff=1.0,
        critic_coeff=0.5,
        loss_critic_type="l2",
        clip_value=0.2,
    )
    data = TensorDict(
        {
            "scores": scores,
            "action": action,
            "action_log_prob": old_log,
            "advantage": advantage[:, None],
            "value": value[:, None],
            "state_value": old_value[:, None],
            "value_target": returns[:, None],
        },
        [n],
    )
    theirs = loss(data)
    assert policy.item() == pytest.approx(theirs["loss_objective"].item(), abs=1e-6)
    assert clipped.item() == pytest.approx(theirs["clip_fraction"].item(), abs=1e-6)
    assert entropy(logs).mean().item() == pytest.approx(theirs["entropy"].item(), abs=1e-5)
    ours = clipped_value_loss(value, old_value, returns, 0.2)
    assert ours.item() == pytest.approx(theirs["loss_critic"].item(), rel=1e-5)


def test_clipping_stops_the_gradient_where_the_ratio_has_gone_far_enough() -> None:
    old = torch.log(torch.tensor([0.5, 0.5, 0.5, 0.5]))
    log = torch.log(torch.tensor([0.7, 0.3, 0.7, 0.3])).requires_grad_()
    loss, share = clipped_policy_loss(log, old, torch.tensor([1.0, 1.0, -1.0, -1.0]), 0.2)
    loss.backward()
    assert log.grad is not None
    assert (log.grad != 0).tolist() == [False, True, True, False]
    assert share.item() == 1.0


def test_masked_choices_have_no_probability_and_finite_gradients() -> None:
    scores = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    allowed = torch.zeros(6, 9, dtype=torch.bool)
    allowed[:, [1, 4]] = True
    allowed[0, 4] = False
    logs = masked_log_probabilities(scores, allowed)
    assert (logs.exp()[~allowed] == 0).all()
    spread = entropy(logs)
    assert spread[0].item() == 0.0
    expected = torch.distributions.Categorical(logits=scores[1:, [1, 4]]).entropy()
    torch.testing.assert_close(spread[1:], expected)
    (spread.sum() + logs[allowed].sum()).backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_normalized_advantages_have_mean_0_and_deviation_1_where_they_count() -> None:
    advantage = 3 + 2 * torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    counts = torch.rand(4, 50, generator=torch.Generator().manual_seed(1)) < 0.5
    scaled = normalized(advantage, counts)[counts]
    assert scaled.mean().item() == pytest.approx(0, abs=1e-5)
    assert scaled.std().item() == pytest.approx(1, abs=1e-5)
    assert normalized(torch.tensor([[5.0]])).tolist() == [[5.0]]


# -- sampling --


def test_choices_are_drawn_with_their_probabilities_and_never_masked_ones() -> None:
    n = 20_000
    scores = np.tile(np.array([0.0, 1.0, 2.0, 5.0]), (n, 1))
    mask = np.tile(np.array([True, True, True, False]), (n, 1))
    keys = np.random.default_rng(0).integers(0, 2**64, n, dtype=np.uint64)
    choice, log = sample_choice(scores, mask, keys, seed=0, t_us=100_000)
    probability = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    counts = np.bincount(choice, minlength=4)
    assert counts[3] == 0
    chi2 = ((counts[:3] - n * probability) ** 2 / (n * probability)).sum()
    assert chi2 < 13.8  # 0.1 % point of chi-square with 2 degrees of freedom
    np.testing.assert_allclose(log, np.log(probability)[choice])
    few = sample_choice(scores[:5], mask[:5], keys[::4000], 0, 100_000)[0]
    np.testing.assert_array_equal(few, choice[::4000])  # nobody else matters
    torch_logs = masked_log_probabilities(torch.from_numpy(scores[:1]), torch.from_numpy(mask[:1]))
    np.testing.assert_allclose(torch_logs[0, :3].numpy(), log_probabilities(scores[:1], mask[:1])[0, :3])


def test_normal_noise_is_normal_and_keyed() -> None:
    keys = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
    noise = normal(keys, 2, seed=3, t_us=0)
    assert np.abs(noise.mean(axis=0)).max() < 0.03
    assert np.abs(np.cov(noise.T) - np.eye(2)).max() < 0.04
    np.testing.assert_array_equal(normal(keys[5:8], 2, 3, 0), noise[5:8])
    assert (normal(keys, 2, 4, 0) != noise).all()


# -- MAPPO --

B, T, N, WIDTH, STATE = 3, 5, 4, 7, 10


def policy_batch(seed: int = 0) -> tuple[PolicyBatch, dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(seed)
    alive = torch.rand(B, T, N, generator=g) < 0.6
    alive[1, 2] = False
    entered = alive.clone()
    entered[:, 1:] &= ~alive[:, :-1]
    allowed = torch.rand(B, T, N, 9, generator=g) < 0.7
    allowed[..., 4] = True
    grids = {
        "inputs": torch.randn(B, T, N, WIDTH, generator=g),
        "allowed": allowed,
        "action": torch.full((B, T, N), 4),
        "log_prob": -2 + torch.rand(B, T, N, generator=g),
    }
    flat = {name: grid[alive] for name, grid in grids.items()}
    value, returns = (torch.randn(8, generator=g) for _ in range(2))
    batch = PolicyBatch(
        **flat, alive=alive, entered=entered, seen=torch.randn(8, STATE, generator=g), value=value,
        advantage=torch.randn(int(alive.sum()), generator=g), returns=returns,
    )  # fmt: skip
    return batch, grids


def test_the_loss_of_mappo_is_its_formula() -> None:
    batch, grids = policy_batch()
    g = torch.Generator().manual_seed(0)
    actor, critic = RecurrentNet(WIDTH, 9, g), central_value(STATE, g)
    with torch.no_grad():
        got = mappo_loss(actor, critic, batch, value_clip=0.2)
        scores = on_grid(actor(batch.inputs, Stays.of_grid(batch.alive, batch.entered)), batch.alive)
        gains, spreads = [], []
        for number, (b, t, n) in enumerate(batch.alive.nonzero().tolist()):
            logits = scores[b, t, n].masked_fill(~grids["allowed"][b, t, n], -torch.inf)
            choice = torch.distributions.Categorical(logits=logits)
            ratio = torch.exp(choice.log_prob(torch.tensor(4)) - grids["log_prob"][b, t, n]).item()
            a = batch.advantage[number].item()
            gains.append(min(ratio * a, min(max(ratio, 0.8), 1.2) * a))
            spreads.append(choice.entropy().item())
        v = critic(batch.seen).squeeze(-1)
        moved = batch.value + (v - batch.value).clamp(-0.2, 0.2)
        squares = torch.maximum((v - batch.returns) ** 2, (moved - batch.returns) ** 2)
        free = mappo_loss(actor, critic, batch)
        alone = mappo_loss(actor, critic, batch, value_weight=0.0)
    assert got.policy.item() == pytest.approx(-np.mean(gains), rel=1e-4)
    assert got.entropy.item() == pytest.approx(np.mean(spreads), rel=1e-4)
    assert got.value.item() == pytest.approx(0.5 * squares.mean().item(), rel=1e-4)
    assert free.value.item() == pytest.approx(0.5 * (v - batch.returns).square().mean().item(), rel=1e-4)
    whole = got.policy - 0.01 * got.entropy + 0.5 * got.value
    assert got.loss.item() == pytest.approx(whole.item(), rel=1e-5)
    assert alone.loss.item() == pytest.approx((got.policy - 0.01 * got.entropy).item(), rel=1e-5)


# -- MADDPG --


def joint_batch(seed: int = 0, outputs: int = 2) -> JointBatch:
    g = torch.Generator().manual_seed(seed)
    alive, next_alive = (torch.rand(6, N, generator=g) < 0.6 for _ in range(2))
    alive[0] = False
    rows, next_rows = int(alive.sum()), int(next_alive.sum())
    left = torch.rand(rows, generator=g) < 0.3
    return JointBatch(
        inputs=torch.randn(rows, WIDTH, generator=g),
        action=as_known(2 * torch.rand(rows, 2, generator=g) - 1, outputs),
        alive=alive,
        state=torch.randn(6, STATE, generator=g),
        reward=torch.randn(6, generator=g),
        next_inputs=torch.randn(next_rows, WIDTH, generator=g),
        next_alive=next_alive,
        next_state=torch.randn(6, STATE, generator=g),
        own=torch.randn(rows, generator=g),
        after=torch.randint(0, next_rows, (rows,), generator=g),
        left=left,
    )


def team(seed: int, outputs: int = 2, own: int = 0) -> tuple[MixedActor, CentralCritic]:
    g = torch.Generator().manual_seed(seed)
    return MixedActor(WIDTH, g, 16, outputs), CentralCritic(STATE, N, g, 16, outputs, own)


def worth(critic: CentralCritic, row: torch.Tensor, state: torch.Tensor, joint: torch.Tensor) -> torch.Tensor:
    """The value of one row (its input and own action; empty of a team) at one instant."""
    first = critic.shared(torch.cat([state, joint.flatten()]))
    if critic.own is not None:
        first = first + critic.own(row)
    return critic.layers(torch.relu(first))[0]


def test_the_critics_loss_is_its_formula() -> None:
    (_, critic), (target_actor, target_critic), batch = team(0), team(1), joint_batch()
    errors, row, next_row = [], 0, 0
    with torch.no_grad():
        for b in range(6):
            actions, following = torch.zeros(N, 2), torch.zeros(N, 2)
            for n in range(N):
                if batch.alive[b, n]:
                    actions[n], row = batch.action[row], row + 1
                if batch.next_alive[b, n]:
                    following[n] = torch.tanh(target_actor.layers(batch.next_inputs[next_row]))
                    next_row += 1
            later = worth(target_critic, torch.empty(0), batch.next_state[b], following)
            now = worth(critic, torch.empty(0), batch.state[b], actions)
            if batch.alive[b].any():
                errors.append((now - batch.reward[b] - 0.99 * later).square().item())
        got = maddpg_critic_loss(critic, target_critic, target_actor, batch)
    assert got.item() == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("outputs", [2, 4])
def test_the_loss_of_a_critic_of_each_is_its_formula(outputs: int) -> None:
    (_, critic), (target_actor, target_critic) = (team(seed, outputs, WIDTH) for seed in (0, 1))
    batch = joint_batch(outputs=outputs)
    errors = []
    with torch.no_grad():
        following = target_actor(batch.next_inputs)
        if outputs == 4:
            assert following[:, 1:].sum(dim=1).tolist() == [1.0] * len(following)
        joint, next_joint = on_grid(batch.action, batch.alive), on_grid(following, batch.next_alive)
        owners, next_owners = batch.alive.nonzero()[:, 0], batch.next_alive.nonzero()[:, 0]
        for i, b in enumerate(owners.tolist()):
            goal = batch.own[i]
            if not batch.left[i]:
                j = int(batch.after[i])
                c, row = int(next_owners[j]), torch.cat([batch.next_inputs[j], following[j]])
                goal = goal + 0.9 * worth(target_critic, row, batch.next_state[c], next_joint[c])
            row = torch.cat([batch.inputs[i], batch.action[i]])
            errors.append((worth(critic, row, batch.state[b], joint[b]) - goal).square().item())
        got = maddpg_critic_loss(critic, target_critic, target_actor, batch, 0.9)
    assert got.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_a_choice_is_graded_by_the_mean_over_its_probabilities() -> None:
    (actor, critic), batch = team(0, 4, WIDTH), joint_batch(outputs=4)
    with torch.no_grad():
        before = actor.layers(batch.inputs)
        joint = on_grid(actor(batch.inputs), batch.alive)
        values, spread = [], []
        for i, b in enumerate(batch.alive.nonzero()[:, 0].tolist()):
            chances = before[i, 1:].softmax(0)
            rows = [torch.cat([batch.inputs[i], before[i, :1].tanh(), one]) for one in torch.eye(3)]
            q = torch.stack([worth(critic, row, batch.state[b], joint[b]) for row in rows])
            values.append(float(chances @ q))
            spread.append(float(-(chances * chances.log()).sum()))
        got = maddpg_actor_loss(actor, critic, batch, 0.0, 0.5)
    assert got.item() == pytest.approx(-np.mean(values) - 0.5 * np.mean(spread), rel=1e-5)


@pytest.mark.parametrize("own", [0, WIDTH])
@pytest.mark.parametrize("outputs", [2, 4])
def test_every_output_of_the_actor_has_a_slope(outputs: int, own: int) -> None:
    (actor, critic), batch = team(0, outputs, own), joint_batch(outputs=outputs)
    maddpg_actor_loss(actor, critic, batch, 0.0).backward()
    last = actor.layers.layers[-1].weight.grad
    assert (last.abs().sum(dim=1) > 0).tolist() == [True] * outputs


class LikesSpeed(CentralCritic):
    """Worth most when everybody accelerates fully and stays in lane."""

    def forward(self, state: torch.Tensor, actions: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        return (actions[..., 0] - actions[..., 1].square()).sum(dim=-1)


def test_the_actor_climbs_the_critic() -> None:
    (actor, _), batch = team(0), joint_batch()
    critic = LikesSpeed(STATE, N, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(actor.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        maddpg_actor_loss(actor, critic, batch).backward()
        optimizer.step()
    accel, lateral = actor(batch.inputs).detach().T
    assert accel.min() > 0.9
    assert lateral.abs().max() < 0.1


def test_saturation_is_penalized() -> None:
    (actor, critic), batch = team(0), joint_batch()
    plain, penalized = (maddpg_actor_loss(actor, critic, batch, weight).item() for weight in (0.0, 1.0))
    assert penalized - plain == pytest.approx(actor.layers(batch.inputs).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("garbage", [1e6, torch.nan])
def test_a_slot_of_nobody_does_not_reach_the_critic(garbage: float) -> None:
    _, critic = team(0)
    batch = joint_batch()
    actions = on_grid(batch.action, batch.alive)
    dirty = torch.where(batch.alive.unsqueeze(-1), actions, garbage)

    def slopes(a: torch.Tensor) -> list[torch.Tensor]:
        total = critic(batch.state, a, batch.alive).square().sum()
        return [total, *torch.autograd.grad(total, list(critic.parameters()))]

    assert all(torch.equal(a, b) for a, b in zip(slopes(actions), slopes(dirty), strict=True))
