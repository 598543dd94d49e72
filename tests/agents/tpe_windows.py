"""Windows of driving-like questions for the tests of TPE-MARL's learners, made without SUMO."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cosim.experiments.windows import make_window
from cosim.lockstep import EpisodeInfo, Observations
from cosim.lockstep.learner import Window
from cosim.testing.agents import DRIVING, driving_shared, questions


def info_of(seed: int = 5) -> EpisodeInfo:
    return EpisodeInfo("test", "driving", seed, 0, 100_000, {"cav": DRIVING}, {})


def some_questions(count: int, seed: int = 4) -> list[Observations]:
    return questions((DRIVING,), count, seed, driving_shared)


def window_by(actor: Any, seed: int, steps: int = 30, explore: bool = True) -> Window:
    """A window of driving-like questions, answered by *actor*."""
    info = info_of(seed)
    actor.reset(info)
    random = np.random.default_rng(seed)
    asked = [
        replace(
            o,
            truncated=np.zeros(len(o), dtype=np.bool_),
            shared={**o.shared, "own_reward": random.normal(11.0, 1.0, len(o))},
        )
        for o in some_questions(steps + 1, seed)
    ]
    answered = [actor.act(o, explore) for o in asked[:-1]]
    return make_window(0, info, asked, answered)
