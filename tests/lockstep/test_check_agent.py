"""check_agent passes our own agents and catches what is wrong with bad ones."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from cosim.errors import AgentError, ScenarioError
from cosim.lockstep import LEAVE_IT, Actions, ActionSpec, EpisodeInfo, Observations, RoleSpec
from cosim.testing import check_agent


class Base:
    def reset(self, info: EpisodeInfo) -> None:
        self.rng = np.random.default_rng(info.seed)

    def act(self, observations: Observations) -> Actions:
        return Actions(np.full(observations.active, 4))

    def close(self) -> None:
        pass


def agent(act: Callable[[Base, Observations], Actions]) -> Base:
    made = type("Bad", (Base,), {"act": act})()
    assert isinstance(made, Base)
    return made


@pytest.mark.parametrize("name", ["common.human", "common.keep_lane", "common.random"])
def test_our_own_agents_are_fit_for_use(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_agent(name)


@pytest.mark.filterwarnings("ignore:.*forbidden by the mask")  # random masks contradict what it sees
def test_the_rule_based_agent_is_fit_for_use() -> None:
    check_agent("common.rule_based")


def test_continuous_and_mixed_roles_are_asked_too() -> None:
    mixed = RoleSpec("vehicle", 3, ActionSpec(n=5, low=(0.0, -2.0), high=(1.0, 2.0)), low=0.0, high=1.0)
    prices = RoleSpec("rsu", 2, ActionSpec(low=(1.0,), high=(20.0,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_agent("common.random", roles=[prices, mixed], task="pricing", in_process=False)
        check_agent("common.keep_lane", roles=[prices], task="pricing")
    with pytest.raises(AgentError, match="names no action of role 'vehicle' that changes nothing"):
        check_agent("common.keep_lane", roles=[mixed], task="pricing", in_process=False)
    check_agent("common.keep_lane", roles=[mixed], task="pricing", options={"no_op": 2}, in_process=False)
    with pytest.raises(AgentError, match="role 'rsu' of task 'pricing' cannot be left to humans"):
        check_agent("common.human", roles=[prices], task="pricing", in_process=False)


def test_an_instance_and_a_class_can_be_checked() -> None:
    check_agent(Base())
    check_agent(Base)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda self, o: Actions(np.full(len(o), 4)), "expected"),
        (lambda self, o: Actions(np.full(max(1, o.active), 4)), r"shape \(1,\), expected \(0,\)"),
        (lambda self, o: Actions(np.array([o.obs.argmax() % 9] * o.active)), "argmax of an empty sequence"),
        (lambda self, o: o.obs.sort(axis=0) or Actions(np.full(o.active, 4)), "read-only"),
        (
            lambda self, o: Actions(np.array([random.randrange(9) for _ in range(o.active)], dtype=int)),
            "same seed",
        ),
        (lambda self, o: Actions(np.random.randint(0, 9, o.active)), "same seed"),  # noqa: NPY002
    ],
)
def test_what_would_break_a_run_is_found(act: Callable[[Base, Observations], Actions], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        check_agent(agent(act))


@pytest.mark.filterwarnings("ignore:.*forbidden by the mask")
def test_memory_that_outlives_a_reset_is_found() -> None:
    class Remembers(Base):
        count = 0

        def act(self, observations: Observations) -> Actions:
            self.count += 1
            return Actions(np.full(observations.active, self.count % 9))

    with pytest.raises(AgentError, match="answers differently when reset with the same seed: at t ="):
        check_agent(Remembers())


@pytest.mark.filterwarnings("ignore:.*forbidden by the mask")
def test_unwise_answers_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"\d+ of \d+ choices are forbidden by the mask"):
        check_agent(agent(lambda self, o: Actions(np.full(o.active, 2))))
    with pytest.warns(UserWarning, match="depends on the order of the rows"):
        check_agent(agent(lambda self, o: Actions(np.where(np.arange(o.active) < 2, 4, LEAVE_IT))))


def test_an_unknown_agent_is_wrong_use() -> None:
    with pytest.raises(ScenarioError, match="unknown agent"):
        check_agent("mine.nothing")


def test_the_global_generators_are_left_as_they_were() -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    check_agent("common.keep_lane", in_process=False, steps=4)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
