"""Hybrid-MAPPO's parts: losses, baselines, distributions, rules; what is on paper, brute force, and torchrl."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from migration_tapes import BruteForceBatch, a_tape, info_for

from agents.common.ppo import clipped_policy_loss
from agents.hybrid_mappo import deciders
from agents.hybrid_mappo.acting import PolicyNet, explore, probabilities, settle_on
from agents.hybrid_mappo.central_state import central_state, state_length
from agents.hybrid_mappo.config import HybridConfig
from agents.hybrid_mappo.critics import ActionValues, action_value_targets, counterfactual, sample_beta
from agents.hybrid_mappo.foresight import Foresight
from agents.hybrid_mappo.nets import ActorPair, CopiesNet, beta_log_prob, log_probabilities
from agents.hybrid_mappo.playing import Player
from agents.hybrid_mappo.reading import sizes_of
from agents.hybrid_mappo.rivals import RuleAgent, SoftPerfect
from agents.hybrid_mappo.sizes import Sizes
from cosim.errors import ScenarioError
from cosim.tasks.migration import TapeBatch, observation_length
from cosim.testing import check_agent

# -- section 9.6 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective"), [(1.3, 2, 2.4), (1.3, -2, -2.6), (0.7, 2, 1.4), (0.7, -2, -1.6)]
)
def test_the_objective_is_clipped_as_on_paper(ratio: float, advantage: float, objective: float) -> None:
    loss, _ = clipped_policy_loss(
        torch.tensor([ratio]).log(), torch.zeros(1), torch.tensor([float(advantage)]), 0.2
    )
    assert -loss.item() == pytest.approx(objective, abs=1e-6)


def test_action_value_targets_are_those_on_paper() -> None:
    reward, value = torch.tensor([-5.0, -4, -3]).double(), torch.tensor([-10.0, -7, -3]).double()
    found = action_value_targets(reward, value, 0.95, 0.95)
    np.testing.assert_allclose(found.numpy(), [-11.514625, -6.85, -3.0], atol=1e-12)


def test_torchrl_agrees_on_action_value_targets() -> None:
    functional = pytest.importorskip("torchrl.objectives.value.functional")
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn((5, 7, 1), generator=generator)
    value = torch.randn((5, 7, 1), generator=generator)
    done = torch.zeros((5, 7, 1), dtype=torch.bool)
    done[:, -1] = True
    after = torch.cat([value[:, 1:], torch.zeros((5, 1, 1))], dim=1)
    advantage, _ = functional.generalized_advantage_estimate(
        0.95, 0.5, value, after, reward, done=done, terminated=done
    )
    ours = action_value_targets(reward[..., 0], value[..., 0], 0.95, 0.5)
    torch.testing.assert_close(ours, (advantage + value)[..., 0])


def test_the_counterfactual_baseline_is_the_expected_action_value() -> None:
    b = counterfactual(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([-8.0, -6.0, -10.0]))
    assert b.item() == pytest.approx(-7.8, abs=1e-6)


def test_the_baseline_changes_one_vehicles_action_and_leaves_the_others() -> None:
    """Q's weights are set so that it adds up which targets are taken: its entries can be read back."""
    width, targets, agents = 2, 3, 4
    critic = ActionValues(width, targets, agents, (), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name in ("discrete", "discrete_copy"):
            layer = critic.get_submodule(name).layers[0]
            weight = layer.get_parameter("weight").zero_()
            weight[:, 0, agents * width :] = torch.tensor([1.0, 10.0, 100.0]).repeat(agents)
            layer.get_parameter("bias").zero_()
    batch = a_batch(agents, targets, width)
    values = critic._by_target(batch)
    worth = torch.tensor([1.0, 10.0, 100.0])
    taken = worth[batch.target]
    expected = taken.sum(dim=1)[:, None, None] - taken[:, :, None] + worth
    torch.testing.assert_close(values, expected)


def a_batch(agents: int, targets: int, width: int, instants: int = 6) -> Any:
    from agents.hybrid_mappo.critics import Batch

    rng = np.random.default_rng(0)
    return Batch(
        inputs=torch.from_numpy(rng.random((instants, agents, width), dtype=np.float32)),
        state=torch.zeros((instants, 1)),
        allowed=torch.ones((instants, agents, targets), dtype=torch.bool),
        present=torch.ones((instants, agents), dtype=torch.bool),
        target=torch.from_numpy(rng.integers(targets, size=(instants, agents))),
        share=torch.from_numpy(rng.random((instants, agents), dtype=np.float32)),
        moves=torch.ones((instants, agents), dtype=torch.bool),
        reward=torch.zeros((instants, agents)),
        slots=3,
    )


# -- distributions and networks ----------------------------------------------------------------------------------


def test_the_shares_density_is_the_beta_distributions() -> None:
    generator = torch.Generator().manual_seed(1)
    alpha, beta = 1 + 5 * torch.rand((2, 200), generator=generator)
    share = 0.001 + 0.998 * torch.rand(200, generator=generator)
    torch.testing.assert_close(
        beta_log_prob(alpha, beta, share), torch.distributions.Beta(alpha, beta).log_prob(share)
    )


def test_drawn_shares_have_the_beta_distributions_mean_and_variance() -> None:
    generator = torch.Generator().manual_seed(2)
    alpha, beta = torch.full((40_000,), 3.0), torch.full((40_000,), 2.0)
    drawn = sample_beta(alpha, beta, generator)
    assert drawn.mean().item() == pytest.approx(0.6, abs=0.005)
    assert drawn.var().item() == pytest.approx(0.04, abs=0.002)


def test_copies_learn_apart_from_each_other() -> None:
    net = CopiesNet(3, (2, 4, 1), torch.Generator().manual_seed(0))
    x = torch.rand((5, 3, 2))
    net(x)[:, 1].sum().backward()
    for parameter in net.parameters():
        assert parameter.grad is not None
        assert parameter.grad[1].abs().sum() > 0
        assert parameter.grad[[0, 2]].abs().sum() == 0


CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {"observation": "pilot"},
    "guided": {"observation": "own_latency", "guide": 1.5},
    "apart": {"observation": "paper", "shared": False},
}


def a_pair(config: HybridConfig, vehicles: int = 4, certain: bool = False) -> tuple[ActorPair, Sizes]:
    sizes = sizes_of(info_for(vehicles, 3), config)
    pair = ActorPair(
        sizes.width, sizes.targets, (8, 8), torch.Generator().manual_seed(3),
        agents=0 if config.shared else vehicles, guide=sizes.guide, certain=certain,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.mul_(3.0)
    return pair, sizes


@pytest.mark.parametrize("certain", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_actors_in_numpy_say_what_those_in_torch_say(name: str, certain: bool) -> None:
    pair, sizes = a_pair(HybridConfig(**CONFIGS[name]), certain=certain)
    x = np.random.default_rng(0).random((7, 4, sizes.width), dtype=np.float32)
    said = PolicyNet(pair.arrays(), sizes.guide, "test", certain)(x)
    with torch.no_grad():
        wanted = pair(torch.from_numpy(x))
    for ours, theirs in zip((said.scores, said.alpha, said.beta), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=2e-5, atol=2e-5)


def test_guided_actors_begin_as_the_soft_rule() -> None:
    config = HybridConfig(**CONFIGS["guided"])
    sizes = sizes_of(info_for(4, 3), config)
    pair = ActorPair(sizes.width, 3, (8, 8), torch.Generator().manual_seed(3), guide=sizes.guide)
    player = Player(TapeBatch([a_tape(1)]), Foresight(), "own_latency")
    player.start([0], [0])
    question = player.question()
    said = PolicyNet(pair.arrays(), sizes.guide, "test")(player.batch.observe("own_latency", question.loads))
    least, share = deciders.best_replies(question)
    wanted = np.exp(-(least - least.min(axis=-1, keepdims=True)) / 1.5)
    wanted /= wanted.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(probabilities(said.scores, question.mask), wanted, atol=0.02)
    high, low = said.mean_share[share > 0.7], said.mean_share[share < 0.3]
    assert high.min() > 0.5
    assert not low.size or low.max() < 0.5


def test_a_guide_needs_what_it_reads() -> None:
    with pytest.raises(ScenarioError, match="own_latency"):
        sizes_of(info_for(4, 3), HybridConfig(observation="pilot", guide=1.0))


# -- rules -------------------------------------------------------------------------------------------------------


def latencies(rule: Any, batch: TapeBatch | None = None) -> Any:
    player = Player(batch or BruteForceBatch(), Foresight(), "extended")
    return player.play(rule, [0], [0])[0]


def constant(target: tuple[int, int], share: tuple[float, float]) -> Any:
    return lambda question: (np.array([target]), np.array([share]))


def test_no_joint_decision_of_one_slot_is_better_than_the_known_one() -> None:
    grid = [(1, 0.0), *product((1, 2), (0.25, 0.5, 0.75, 1.0))]
    found = sorted(
        (float(latencies(constant((a[0], b[0]), (a[1], b[1])))[0].sum()), a, b)
        for a, b in product(grid, grid)
    )
    assert found[0][0] == pytest.approx(9.871667, abs=1e-6)
    assert found[0][1:] == ((2, 1.0), (1, 0.75))
    assert found[1][0] == pytest.approx(10.205, abs=1e-6)
    assert found[-1][0] == pytest.approx(24.83, abs=1e-6)


def test_rules_cost_what_they_cost_by_hand() -> None:
    def quarters(question: Any) -> Any:
        # The grid of the brute force: shares in quarters.
        before, deciders.SHARES = deciders.SHARES, np.linspace(0.0, 1.0, 5)
        try:
            return deciders.greedy(question)
        finally:
            deciders.SHARES = before

    assert latencies(quarters).sum() == pytest.approx(20.889167, abs=1e-6)
    assert latencies(constant((2, 2), (1.0, 1.0))).sum() == pytest.approx(27.16, abs=1e-6)
    assert latencies(deciders.none).sum() == pytest.approx(74.66, abs=1e-6)
    # Best replies one after the other with finer shares come close to the joint optimum of quarters.
    assert latencies(deciders.sequential).sum() < 19.9


@pytest.mark.parametrize("name", deciders.RULES)
@pytest.mark.parametrize("remote", [False, True])
def test_rules_choose_what_is_open_and_decide_episodes_apart(name: str, remote: bool) -> None:
    tapes = [a_tape(seed, remote=remote) for seed in range(3)]
    rule = deciders.RULES[name]
    together = Player(TapeBatch(tapes), Foresight(), "extended")
    together.start([0, 1, 2, 1], [0, 0, 0, 7])
    alone = Player(TapeBatch(tapes), Foresight(), "extended")
    moved = 0
    for _ in range(tapes[0].decisions):
        question = together.question()
        choice, share = rule(question)
        there = question.slot.has_task
        assert np.take_along_axis(question.mask, choice[..., None], axis=-1)[..., 0][there].all()
        assert ((share >= 0) & (share <= 1)).all()
        if not remote:
            assert (choice != question.slot.serving).all()
        moved += int((share > 0).sum())
        together.batch.step(choice, share)
    assert (moved > 0) == (name != "npm")
    many = together.play(rule, [0, 1, 2, 1], [0, 0, 0, 7])
    for i, (which, draw) in enumerate([(0, 0), (1, 0), (2, 0), (1, 7)]):
        np.testing.assert_array_equal(alone.play(rule, [which], [draw])[0], many[i])


def test_a_random_target_is_any_other_rsu_equally_often() -> None:
    tape = a_tape(3, vehicles=10, slots=200)
    player = Player(TapeBatch([tape]), Foresight(), "extended")
    player.start([0], [0])
    counts, shares = np.zeros((3, 3)), []
    while not player.batch.over:
        question = player.question()
        choice, share = deciders.random(question)
        np.add.at(counts, (question.slot.serving[0], choice[0]), 1)
        shares.append(share)
        player.batch.step(choice, share)
    assert np.diag(counts).sum() == 0
    for row in counts:
        first, second = row[row > 0]
        assert abs(first - second) < 4 * np.sqrt(first + second)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)


def test_foreseeing_where_nobody_else_is_changes_nothing() -> None:
    """Section 9.8: L_pre = L makes both observations equal."""
    lonely = TapeBatch([a_tape(5, vehicles=1)])
    player = Player(lonely, Foresight.named("perfect"), "own_latency")
    player.start([0], [0])
    question = player.question()
    np.testing.assert_array_equal(
        lonely.observe("own_latency", question.loads), lonely.observe("own_latency")
    )


def test_perfect_foresight_counts_the_others_that_an_rsu_serves() -> None:
    batch = TapeBatch([a_tape(6, vehicles=5)])
    player = Player(batch, Foresight.named("perfect"), "pilot")
    player.start([0], [0])
    slot, loads = batch.slot, player.question().loads
    for v, m in product(range(5), range(3)):
        others = sum(int(slot.serving[0, u] == m) for u in range(5) if u != v)
        assert loads[0, v, m] == slot.queue[0, m] + 10e9 * others


RULE_AGENTS = sorted({f"hybrid_mappo.{name}" for name in deciders.RULES} | {SoftPerfect.name})


@pytest.mark.parametrize("name", RULE_AGENTS)
def test_rule_agents_are_fit_for_use(name: str) -> None:
    check_agent(name, task="migration", in_process=name == "hybrid_mappo.greedy", steps=8)


def test_rule_agents_have_no_weights() -> None:
    from agents.hybrid_mappo.rivals import Greedy

    with pytest.raises(ScenarioError, match="has no weights"):
        Greedy("x.safetensors")  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match="migration task"):
        RuleAgent.reset(Greedy(), replace(info_for(2, 3), options={}))


# -- rollouts ----------------------------------------------------------------------------------------------------


def test_a_rollout_holds_what_was_seen_and_paid() -> None:
    config = HybridConfig(**CONFIGS["guided"])
    pair, sizes = a_pair(config)
    net = PolicyNet(pair.arrays(), sizes.guide, "test")
    player = Player(TapeBatch([a_tape(1), a_tape(2)]), Foresight(), "own_latency")
    rollout = player.rollout(net, explore, np.array([0, 1]), [0, 3], np.random.default_rng(0))
    assert rollout.inputs.shape == (2, 6, 4, observation_length("own_latency", 3, 4))
    assert rollout.state.shape == (2, 6, state_length(sizes.width, 4, 3))
    assert rollout.steps == 12
    assert rollout.moves.all()
    # The same decisions on the same draws cost the same.
    at = iter(range(6))

    def again(question: Any) -> Any:
        t = next(at)
        return rollout.target[:, t], rollout.share[:, t].astype(np.float64)

    np.testing.assert_array_equal(-player.play(again, [0, 1], [0, 3]), rollout.reward)
    x = player.batch.observe("own_latency")
    assert central_state(x, player.batch.rules, player.batch.slot, 6).shape == (2, sizes.state)


def test_vehicles_in_gaps_neither_decide_nor_count() -> None:
    config = HybridConfig(observation="pilot")
    sizes = sizes_of(info_for(4, 3, space="remote", observation="pilot"), config)
    assert (sizes.targets, sizes.width) == (2, observation_length("pilot", 3, 4))
    pair = ActorPair(sizes.width, 2, (8,), torch.Generator().manual_seed(0))
    net = PolicyNet(pair.arrays(), None, "test")
    tape = a_tape(4, remote=True, slots=12)
    player = Player(TapeBatch([tape]), Foresight(), "pilot")
    rollout = player.rollout(net, explore, np.array([0]), [0], np.random.default_rng(0))
    gaps = tape.serving[12:] < 0
    assert 0 < gaps.sum() < gaps.size
    np.testing.assert_array_equal(rollout.present[0], ~gaps)
    assert (rollout.reward[0][gaps] == 0).all()
    assert not rollout.moves[0][gaps].any()
    assert not rollout.moves[rollout.target == 0].any()
    latency = player.play(player.trained(net, True), [0], [0])
    np.testing.assert_array_equal(np.isnan(latency[0]), gaps)


@pytest.mark.parametrize("draw", [True, False])
def test_a_trained_policy_decides_alike_alone_and_among_many(draw: bool) -> None:
    config = HybridConfig(**CONFIGS["guided"])
    pair, sizes = a_pair(config)
    net = PolicyNet(pair.arrays(), sizes.guide, "test")
    player = Player(TapeBatch([a_tape(s) for s in range(4)]), Foresight(), "own_latency")
    many = player.play(player.trained(net, draw), [0, 1, 2, 3], [0] * 4)
    for i in range(4):
        np.testing.assert_array_equal(player.play(player.trained(net, draw), [i], [0])[0], many[i])


def test_the_share_is_its_distributions_mean_and_the_target_is_open() -> None:
    pair, sizes = a_pair(HybridConfig(**CONFIGS["guided"]))
    player = Player(TapeBatch([a_tape(8)]), Foresight(), "own_latency")
    player.start([0], [0])
    question = player.question()
    said = PolicyNet(pair.arrays(), sizes.guide, "test")(player.batch.observe("own_latency"))
    choice, share = settle_on(said, question, draw=True)
    mean = said.alpha / (said.alpha + said.beta)
    np.testing.assert_allclose(share, np.take_along_axis(mean, choice[..., None], -1)[..., 0], rtol=1e-6)
    assert (choice != question.slot.serving).all()


def test_closed_targets_have_no_probability_in_the_losses() -> None:
    pair, sizes = a_pair(HybridConfig(**CONFIGS["plain"]))
    x = torch.rand((3, 4, sizes.width))
    allowed = torch.ones((3, 4, 3), dtype=torch.bool)
    allowed[..., 1] = False
    target, _, logs = log_probabilities(
        pair, x, allowed, torch.zeros((3, 4), dtype=torch.int64), torch.full((3, 4), 0.5)
    )
    assert (logs[..., 1].exp() == 0).all()
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones((3, 4)))
    torch.testing.assert_close(target, logs[..., 0])
