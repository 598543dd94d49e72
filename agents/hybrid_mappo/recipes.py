"""The named ways to train Hybrid-MAPPO and MAPPO-DDPG: ours, the pilot's, and the paper's as literally as can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cosim.lockstep.learner import Recipe

ROUND = 24 * 41
"""Environment steps of a round: 24 tapes of 41 slots."""
TRAINING: dict[str, Any] = {
    "steps": 100 * ROUND,
    "workers": 24,
    "leg": 10,
    "eval_every": 10 * ROUND,
    "eval_seeds": 24,
    "checkpoint_every": 40 * ROUND,
    "best_by": "-task_latency",
}
LSTM, AR = "lstm-urban_avatar-20s-s0", "ar-urban_avatar-20s-s0"
"""The shipped predictors of positions a slot ahead."""

PILOT: dict[str, Any] = {"observation": "pilot", "epochs": 5, "minibatches": 10}
EXTENDED: dict[str, Any] = {**PILOT, "observation": "extended"}
OURS: dict[str, Any] = {"observation": "own_latency", "guide": 1.5}
PAPER: dict[str, Any] = {
    "observation": "paper",
    "shared": False,
    "critic": "action_values",
    "critic_hidden": (64, 64),
    "gae": 0.95,
    "last_learning_rate": 1.0,
    "epochs": 10,
    "minibatches": 41,
    "entropy": 0.01,
    "last_entropy": 0.01,
}


def recipes(prediction: str) -> Mapping[str, Recipe]:
    """Return the recipes with that prediction."""

    def recipe(about: str, agent: Mapping[str, Any], **training: Any) -> Recipe:
        return Recipe(about, {**agent, "prediction": prediction}, {**TRAINING, **training})

    return {
        "default": recipe(
            "59 inputs, shared actors that start from the rule 'soft' and learn to deviate from it, V(s)",
            OURS,
        ),
        "pilot": recipe(
            "the specification, section 12: 47 inputs, shared actors, V(s), lambda .5",
            PILOT,
            steps=200 * ROUND,
        ),
        "extended": recipe("the same with 19 inputs", EXTENDED, steps=200 * ROUND),
        "paper": recipe(
            "as the paper: 9 inputs, actors of their own, Q(o, a) and counterfactual baselines, lambda .95",
            PAPER,
            steps=60 * ROUND,
        ),
    }


RECIPES = recipes(LSTM)
WITHOUT = recipes("none")


def _ddpg(found: Mapping[str, Recipe]) -> Mapping[str, Recipe]:
    """Return what MAPPO-DDPG has of recipes; a round costs it about twice the time, so it takes 40 of them."""
    ours = found["default"]
    short = replace(ours, training={**ours.training, "steps": 40 * ROUND})
    return {**{name: recipe for name, recipe in found.items() if name != "paper"}, "default": short}


DDPG, DDPG_WITHOUT = _ddpg(RECIPES), _ddpg(WITHOUT)
