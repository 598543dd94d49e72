"""check_agent with task="migration" asks what the task would ask: hybrid actions, masks, shared arrays that fit."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.errors import AgentError
from cosim.lockstep import Actions
from cosim.tasks.migration import Layout, MigrationOptions, Slot, observe, own_latency
from cosim.testing import check_agent
from cosim.testing.migration import migration_questions, migration_role


class Picky:
    """Picks the target of least own latency and 50 %, from shared arrays alone."""

    share = 0.5
    columns = 2

    def reset(self, info):
        self.options = MigrationOptions.model_validate(info.options)
        self.rules = self.options.rules(info.period_us / 1e6)

    def act(self, observations):
        shared, n = observations.shared, observations.active
        slot = Slot.from_shared(shared)
        total = own_latency(self.rules, slot, np.array([0.5]))[0, shared["vehicle"], :, 0]
        total = np.where(observations.mask[:n], total, np.inf)
        values = np.stack([total.argmin(axis=1), np.full(n, self.share)], axis=1)
        return Actions(values[:, : self.columns])

    def close(self):
        pass


@pytest.mark.filterwarnings("error")
def test_an_agent_that_reads_shared_arrays_is_fit():
    check_agent(Picky, task="migration", options={"observation": "pilot"})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("space", ["urban", "remote"])
def test_the_random_agent_gives_hybrid_actions(space):
    check_agent("common.random", task="migration", options={"space": space}, steps=10)


def test_a_share_beyond_one_is_refused():
    class Greedy(Picky):
        share = 1.5

    with pytest.raises(AgentError, match=r"a value outside \[0.0\]..\[1.0\]"):
        check_agent(Greedy, task="migration")


def test_an_answer_without_shares_is_refused():
    class Short(Picky):
        columns = 1

    with pytest.raises(AgentError, match=r"shape \(\d+, 1\), expected \(\d+, 2\)"):
        check_agent(Short, task="migration")


@pytest.mark.parametrize("space", ["urban", "remote"])
def test_questions_fit_together(space):
    options = MigrationOptions(space=space, observation="own_latency")
    asked = migration_questions(options, 30, 0)
    counts = [seen.active for seen in asked]
    assert 0 in counts[5:]
    assert max(counts) >= 3
    assert any(len(seen) > seen.active for seen in asked)
    for seen in asked:
        slot, layout = Slot.from_shared(seen.shared), Layout.from_shared(seen.shared)
        again = observe("own_latency", layout, options.rules(20.0), slot)[0, seen.shared["vehicle"]]
        assert np.array_equal(again, seen.obs[: seen.active])
        assert seen.obs.shape[1] == migration_role(options).obs_dim
