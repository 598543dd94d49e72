"""What a training is asked to do: its own numbers, the recipe it starts from, and both resolved into a plan.

A recipe is a named set of values that a method ships (``recipes`` of the agent's class) or a YAML file of the same
shape: ``extends`` names a shipped recipe, ``agent``, ``training`` and ``settings`` hold what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cosim.assembly import plan
from cosim.errors import ScenarioError, nearest
from cosim.lockstep.learner import Recipe, Trainable, trainable
from cosim.lockstep.protocol import EpisodeInfo
from cosim.scenario import Scenario, Section, Whole
from cosim.scenario.messages import validate
from cosim.scenario.source import Document, Source, override, read_yaml

DEFAULT = "default"
_WINDOW = 100
"""Decisions of a window where neither the user nor the task says."""

Count = Annotated[Whole, Field(ge=1)]


class TrainingConfig(Section):
    """How a training proceeds; everything here changes its result, everything else does not.

    A *window* is a stretch of decisions without a break; a *round* is what every worker collects between two
    updates; a *leg* is a number of rounds between two fresh starts of SUMO.  Evaluations and checkpoints are made
    at the end of a leg.
    """

    steps: Count = Field(100_000, description="environment steps: decisions of all workers together")
    workers: Count = Field(2, description="simulations that collect side by side")
    window: Count | None = Field(None, description="decisions of a window; default: the task's episode")
    round: Count = Field(1, description="windows that each worker collects between two updates")
    leg: Count = Field(20, description="rounds between two fresh starts of SUMO")
    overlap: bool = Field(False, description="collect a round while learning from the one before")
    eval_every: Annotated[Whole, Field(ge=0)] = Field(20_000, description="steps; 0: at the end only")
    eval_seeds: Count = Field(2, description="runs of the scenario an evaluation")
    checkpoint_every: Count = Field(20_000, description="steps between checkpoints")
    keep: Count = Field(2, description="checkpoints kept")
    best_by: str = Field(
        "",
        description="evaluation result by which the best policy is chosen; -NAME: the smallest; A,B: by B where A is"
        " equal; default: return_per_episode, or reward where a task has none",
    )


@dataclass(frozen=True)
class TrainPlan:
    """A checked training: nothing is started yet.

    ``collect`` and ``evaluate`` are the two scenarios, ``info`` the trained task's episode, ``config`` the
    method's configuration, ``window`` the decisions of a window.
    """

    collect: Scenario
    evaluate: Scenario
    task: str
    agent: str
    seed: int
    training: TrainingConfig
    config: Any
    info: EpisodeInfo
    kind: Trainable
    window: int

    @property
    def round_steps(self) -> int:
        """Environment steps of a round."""
        return self.window * self.training.round * self.training.workers


def make_plan(
    scenario: Scenario,
    agent: str,
    *,
    task: str | None,
    recipe: str | Path | Recipe,
    seed: int | None,
    training: Mapping[str, Any],
    agent_settings: Sequence[str] = (),
    collect_settings: Sequence[str] = (),
    evaluate_settings: Sequence[str] = (),
) -> TrainPlan:
    """Resolve what was asked for and check that it fits together; ScenarioError if it does not.

    Args:
        scenario: the scenario with the settings that hold throughout.
        recipe: a shipped recipe's name, a YAML file, or a recipe.
        training: values of :class:`TrainingConfig`, above the recipe's.
        agent_settings: ``key=value`` for the method's configuration, above the recipe's.
        collect_settings: scenario settings while collecting only, above the recipe's.
        evaluate_settings: scenario settings while evaluating only.
    """
    kind = trainable(agent)
    name = _task_name(scenario, task)
    chosen = read_recipe(recipe, kind, agent)
    settings = [text.replace("{task}", name) for text in chosen.settings]
    # Warm-up is traffic like any other to a learner, so collecting begins at once.
    collect = scenario.with_overrides(["warmup=0", *settings, *collect_settings])
    evaluate = scenario.with_overrides(list(evaluate_settings))
    return resolve(
        collect,
        evaluate,
        name,
        agent,
        scenario.seed if seed is None else seed,
        training=validate(TrainingConfig, {**chosen.training, **training}, Source("training")),
        config=_overridden(chosen.agent, agent_settings),
    )


def resolve(
    collect: Scenario,
    evaluate: Scenario,
    task: str,
    agent: str,
    seed: int,
    *,
    training: TrainingConfig,
    config: Mapping[str, Any],
) -> TrainPlan:
    """Check both scenarios and the method's configuration, and return the plan."""
    kind = trainable(agent)
    info = plan(collect).infos[task]
    evaluated = next(s.task for s in plan(evaluate).tasks if s.name == task)
    results = {*evaluated.totals(), *evaluated.metrics(), "reward"}
    if not training.best_by:
        default = "return_per_episode" if "return_per_episode" in results else "reward"
        training = training.model_copy(update={"best_by": default})
    for name in ranked_by(training.best_by):
        if name not in results:
            raise ScenarioError(f"best_by: an evaluation gives no '{name}'{nearest(name, results)}")
    episode = info.options.get("episode")
    window = training.window or (episode if isinstance(episode, int) else _WINDOW)
    checked = validate(kind.Config, dict(config), Source(f"agent '{agent}'"))
    return TrainPlan(collect, evaluate, task, agent, seed, training, checked, info, kind, window)


def ranked_by(best_by: str) -> dict[str, int]:
    """Read ``best_by``: result names in order of weight, with 1 where more is better and -1 where less is."""
    names = [name.strip() for name in best_by.split(",")]
    return {name.lstrip("-"): -1 if name.startswith("-") else 1 for name in names}


def read_recipe(recipe: str | Path | Recipe, kind: Trainable, agent: str) -> Recipe:
    """Return a recipe by name or file; ScenarioError with the nearest name if there is none."""
    if isinstance(recipe, Recipe):
        return recipe
    known = kind.recipes
    if str(recipe) in known:
        return known[str(recipe)]
    if str(recipe) == DEFAULT:
        return Recipe()
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        return _recipe_file(path, kind, agent)
    raise ScenarioError(
        f"--config {recipe}: agent '{agent}' has no recipe '{recipe}'{nearest(str(recipe), known)}; "
        f"recipes: {', '.join(known) or 'none'}; or name a .yaml file"
    )


class _RecipeFile(Section):
    """The keys of a recipe's file."""

    about: str = ""
    extends: str | None = None
    agent: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    settings: tuple[str, ...] = ()


def _recipe_file(path: Path, kind: Trainable, agent: str) -> Recipe:
    document = read_yaml(path)
    found = validate(_RecipeFile, document.data, document.source)
    base = read_recipe(found.extends, kind, agent) if found.extends else Recipe()
    return Recipe(
        about=found.about or base.about,
        agent={**base.agent, **found.agent},
        training={**base.training, **found.training},
        settings=(*base.settings, *found.settings),
    )


def _overridden(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    document = Document(dict(values), Source("agent"))
    for text in settings:
        document = override(document, text)
    return document.data


def _task_name(scenario: Scenario, task: str | None) -> str:
    known = ", ".join(scenario.tasks) or "none"
    if task is None and len(scenario.tasks) == 1:
        return next(iter(scenario.tasks))
    if task is None:
        raise scenario.error("tasks", f"say which task is to be trained: --task NAME; tasks: {known}")
    if task not in scenario.tasks:
        raise scenario.error(
            "tasks", f"there is no task '{task}'{nearest(task, scenario.tasks)}; tasks: {known}"
        )
    return task
