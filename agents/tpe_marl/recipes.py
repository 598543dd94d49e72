"""The ways in which every method of driving can be trained: one that learns, and the paper's settings as printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cosim.lockstep.learner import Recipe

SLOW = "tasks.{task}.remove_slow=1 m/s"
"""Who stands in the zone while collecting is taken off the road."""
COLLECTING = (SLOW, "tasks.{task}.max_cavs=25")
"""While collecting, for methods with slots."""
BEST = {"best_by": "success_rate,-vehicles_collided"}


def driving_recipes(
    about: str,
    literal_about: str,
    literal: Mapping[str, Any],
    *,
    training: Mapping[str, Any] | None = None,
    collecting: tuple[str, ...] = COLLECTING,
) -> dict[str, Recipe]:
    """Return the recipes ``default`` (also called ``recipe``), with kappa 30, and ``literal``.

    Args:
        about: of the default, which takes the configuration as it is.
        literal_about: of the literal recipe.
        literal: what is different there.
        training: how the default training proceeds, beyond :data:`BEST`.
        collecting: scenario settings while collecting, of both.
    """
    default = Recipe(
        about=about,
        training={**BEST, **(training or {})},
        settings=("tasks.{task}.kappa=30", *collecting),
    )
    printed = Recipe(about=literal_about, agent=dict(literal), training=BEST, settings=collecting)
    return {"default": default, "recipe": default, "literal": printed}
