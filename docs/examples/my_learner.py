"""An agent that can be trained: Q-learning with a table, in NumPy.

    cosim train highway_350vph_cav100 --plugin docs/examples/my_learner.py --agent mine.table --steps 20000
    cosim run highway_350vph_cav100 --plugin docs/examples/my_learner.py --agent mine.table:RUN/table-….safetensors

It looks at how far a vehicle has come (five stretches), where its target lane lies (right, here, left) and what the
mask allows, and learns one number for each of those states and each of the nine actions.
"""

import numpy as np
from pydantic import BaseModel

from cosim.lockstep import Actions, register_agent
from cosim.lockstep.learner import LearnerState, Recipe
from cosim.lockstep.weights import read_policy
from cosim.randomness import entity_keys, quick_words, stream_key

STRETCHES, SIDES, ACTIONS = 5, 3, 9
LOWEST, HIGHEST = np.array([0, 1, 3]), np.array([0, 2, 3])  # target lanes of right, straight, left


def states(obs):
    """Return the state's number of each row of driving observations (s / 250, lane, speed, type, target, …)."""
    stretch = np.clip(obs[:, 0] * STRETCHES, 0, STRETCHES - 1).astype(int)
    lane, target = obs[:, 1].astype(int), obs[:, 4].astype(int)
    side = np.sign(np.maximum(LOWEST[target] - lane, 0) - np.maximum(lane - HIGHEST[target], 0)) + 1
    return stretch * SIDES + side


class TableConfig(BaseModel, extra="forbid"):
    gamma: float = 0.8
    epsilon: float = 0.2
    rate: float = 0.02


class Learner:
    """Both halves: workers call reset, act and load_policy, the training calls the rest."""

    def __init__(self, setup):
        self.config, self.seed = setup.config, setup.seed
        self.table = np.zeros((STRETCHES * SIDES, ACTIONS))

    def reset(self, info):
        self.seed = info.seed

    def act(self, observations, explore):
        n = observations.active
        scores = np.where(observations.mask[:n], self.table[states(observations.obs[:n])], -np.inf)
        if explore:  # by key: what one vehicle tries depends on no other vehicle
            keys = entity_keys(observations.ids[:n])
            words = quick_words(keys, stream_key(self.seed, "explore", observations.t_us))
            tries = words < np.uint64(self.config.epsilon * 2**64)
            noise = np.stack([quick_words(words, action) for action in range(ACTIONS)], axis=1) / 2.0**64
            scores = np.where(tries[:, None] & observations.mask[:n], noise + 1e9, scores)
        return Actions(scores.argmax(axis=1))

    def load_policy(self, weights):
        self.table = np.array(weights["table"])

    def policy(self, explore=False):
        return {"table": self.table.copy()}

    def add(self, windows):
        self.windows = windows

    def update(self):
        total, count = 0.0, 0
        for window in self.windows:
            at = np.flatnonzero(window.next >= 0)  # decisions; `next` is where the vehicle was seen again
            after = window.next[at]
            here, there, action = states(window.obs[at]), states(window.obs[after]), window.values[at]
            reward = window.shared["own_reward"].values[after]
            best = np.where(window.mask[after], self.table[there], -np.inf).max(axis=1)
            goal = reward + self.config.gamma * np.where(window.terminated[at], 0.0, best)
            error = goal - self.table[here, action]
            np.add.at(self.table, (here, action), self.config.rate * error)
            total, count = total + np.abs(error).sum(), count + len(error)
        return {"td_error": float(total / max(count, 1)), "value": float(self.table.max())}

    def state(self):
        return LearnerState({"table": self.table})

    def load(self, state):
        self.table = np.array(state.arrays["table"])


@register_agent("mine.table")
class Table:
    """The agent: acts greedily with a trained table."""

    needs_weights = True
    Config = TableConfig
    recipes = {"default": Recipe(training={"window": 60}, settings=("tasks.{task}.kappa=30",))}  # noqa: RUF012
    learner = actor = staticmethod(Learner)

    def __init__(self, weights):
        self.table = read_policy(weights, "mine.table").arrays["table"]

    def reset(self, info):
        pass

    def act(self, observations):
        n = observations.active
        return Actions(
            np.where(observations.mask[:n], self.table[states(observations.obs[:n])], -np.inf).argmax(axis=1)
        )

    def close(self):
        pass
