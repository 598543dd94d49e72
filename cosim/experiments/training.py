"""Training an agent: collect, learn, evaluate, save, and go on exactly where a checkpoint left off.

:func:`train` is ``cosim train``.  A training is a sequence of legs.  Each begins with SUMO started afresh in every
worker, under a seed made from (training seed, worker, leg), and with nothing else carried over but the learner; so
the learner's state at the end of a leg is all that a later resume needs to write the same curve, bit for bit.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosim.assembly import reseeded
from cosim.errors import AgentError, CosimError, ScenarioError
from cosim.experiments import checkpoint as checkpoints
from cosim.experiments.checkpoint import Checkpoint
from cosim.experiments.crew import Collecting, Crew, Engine
from cosim.experiments.curve import CSV, Curve, tensorboard_writer
from cosim.experiments.rollout import EVALUATION_SEED, Haul, Job, Numbers
from cosim.experiments.train_config import DEFAULT, TrainingConfig, TrainPlan, make_plan, ranked_by, resolve
from cosim.experiments.train_files import TrainFolder
from cosim.lockstep.inline import one_torch_thread
from cosim.lockstep.learner import Learner, Recipe, SelfCollecting, Setup, Window
from cosim.registry import load_plugins
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved

_log = logging.getLogger("cosim.train")

SNAPSHOTS = 5
"""How often, spread evenly over a training, what workers explore with is kept."""


@dataclass(frozen=True)
class TrainOptions:
    """Where and how a training runs; nothing here changes its result."""

    engine: Engine = "process"
    ray_address: str | None = None
    device: str = "auto"
    """auto, cpu or cuda; only on one kind of device are two trainings equal to the bit."""
    out: str | Path | None = None
    tensorboard: bool = False
    plugins: Sequence[str] = ()
    progress: Callable[[int, int, str], None] | None = None
    """Called with environment steps done, those to do, and a few words."""
    watch: Callable[[int, Sequence[Window]], None] | None = None
    """Called after each round with the environment steps so far and what was collected, in worker order."""
    command: Sequence[str] = field(default_factory=tuple)
    """The command line, for the records."""


@dataclass(frozen=True)
class TrainResult:
    """What a training ended with: ``status`` is completed, interrupted or failed; ``evaluation`` that of ``policy``."""

    dir: Path
    status: str
    steps: int
    evaluation: dict[str, float | None]
    policy: Path | None
    error: CosimError | None = None


def train(
    scenario: Scenario | str | Path,
    agent: str,
    options: TrainOptions | None = None,
    *,
    task: str | None = None,
    recipe: str | Path | Recipe = DEFAULT,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    collect_settings: Sequence[str] = (),
    evaluate_settings: Sequence[str] = (),
    agent_settings: Sequence[str] = (),
    **training: Any,
) -> TrainResult:
    """Train *agent* on a task of *scenario* into a new folder.

    Args:
        recipe: a name that the agent ships, a YAML file, or a :class:`~cosim.lockstep.learner.Recipe`.
        seed: of the training; None takes the scenario's.
        overrides: scenario settings (``key=value``) for collecting and evaluating; ``collect_settings`` and
            ``evaluate_settings`` for one of them only.
        agent_settings: ``key=value`` for the method's configuration.
        **training: values of :class:`~cosim.experiments.train_config.TrainingConfig`: steps, workers, ….

    Returns:
        How it ended; a training that SUMO or the agent ended, or that was interrupted, is a result too.

    Raises:
        ScenarioError: what was asked for does not fit together; nothing was written.
        RecordingError: the folder cannot be made.
    """
    options = options or TrainOptions()
    load_plugins(options.plugins)
    whole = scenario if isinstance(scenario, Scenario) else load_scenario(scenario, overrides)
    if isinstance(scenario, Scenario) and overrides:
        whole = scenario.with_overrides(overrides)
    plan = make_plan(
        whole if seed is None else reseeded(whole, seed),
        agent,
        task=task,
        recipe=recipe,
        seed=seed,
        training=training,
        agent_settings=agent_settings,
        collect_settings=collect_settings,
        evaluate_settings=evaluate_settings,
    )
    folder = TrainFolder.create(options.out, plan, recipe=str(recipe), command=options.command)
    result = _run(plan, folder, options, horizon=plan.training.steps, last=None)
    if isinstance(result.error, ScenarioError) and not result.steps:
        folder.discard()
        raise result.error
    return result


def resume_training(
    folder: str | Path, options: TrainOptions | None = None, *, steps: int | None = None
) -> TrainResult:
    """Go on with a training from its last checkpoint, in its own folder, as if it had never stopped.

    ``steps`` lengthens the training; schedules keep the length they were made for.  ScenarioError if the folder
    holds no training; RecordingError if another process is at it.
    """
    options = options or TrainOptions()
    load_plugins(options.plugins)
    home = TrainFolder.reopen(folder)
    about = home.about
    training = dict(about["training"])
    if steps is not None:
        if steps < training["steps"]:
            raise ScenarioError(f"--steps {steps}: this training was to take {training['steps']} already")
        training["steps"] = steps
        home.lengthen(steps)
    origin = f"{folder}/training.json"
    plan = resolve(
        scenario_from_resolved(about["collect"], origin),
        scenario_from_resolved(about["evaluate"], origin),
        about["task"],
        about["agent"],
        about["seed"],
        training=TrainingConfig.model_validate(training),
        config=about["config"],
    )
    return _run(plan, home, options, horizon=about["horizon"], last=checkpoints.load_last(home.dir))


def _run(
    plan: TrainPlan, folder: TrainFolder, options: TrainOptions, *, horizon: int, last: Checkpoint | None
) -> TrainResult:
    status, error = "failed", None
    training: _Training | None = None
    try:
        with _terminable(), folder:
            training = _Training(plan, folder, options, horizon, last)
            training.run()
            status = "completed"
    except KeyboardInterrupt:
        status = "interrupted"
        _log.warning("interrupted; go on with --resume %s", folder.dir)
    except CosimError as why:
        error = why
    best = training.best if training else {}
    steps = training.steps if training else 0
    policy = folder.policy_file(plan) if status == "completed" else None
    folder.summarize(status, steps, best, policy, error)
    return TrainResult(folder.dir, status, steps, dict(best.get("evaluation", {})), policy, error)


class _Training:
    """One training under way."""

    def __init__(
        self,
        plan: TrainPlan,
        folder: TrainFolder,
        options: TrainOptions,
        horizon: int,
        last: Checkpoint | None,
    ) -> None:
        self.plan, self._folder, self._options, self._horizon = plan, folder, options, horizon
        config = plan.training
        self._rounds = math.ceil(config.steps / plan.round_steps)
        self._legs = math.ceil(self._rounds / config.leg)
        self._tensorboard = tensorboard_writer(folder.dir / "tensorboard") if options.tensorboard else None
        self._curve = Curve(folder.dir, self._tensorboard)
        self._last = last
        self._first_leg = last.legs if last else 0
        self.steps = int(last.about["steps"]) if last else 0
        self._round = int(last.about["rounds"]) if last else 0
        self.best: dict[str, Any] = dict(last.about["best"]) if last else {}
        self._curve.go_back(int(last.about["curve_rows"]) if last else 0)

    def run(self) -> None:
        """Train to the end and write the policy."""
        plan, options = self.plan, self._options
        job = Job(
            collect=plan.collect,
            evaluate=plan.evaluate,
            task=plan.task,
            agent=plan.agent,
            config=plan.config.model_dump(mode="json"),
            seed=plan.seed,
            steps=self._horizon,
            window=plan.window,
            windows=plan.training.leg * plan.training.round,
        )
        with self._crew(job) as crew:
            learner = plan.kind.learner(
                Setup(plan.info, plan.config, plan.seed, self._horizon, options.device)
            )
            one_torch_thread()
            if self._last is not None:
                learner.load(self._last.learner)
            crew.open()
            for leg in range(self._first_leg, self._legs):
                self._leg(leg, crew, learner)
        self._finish(learner)

    def _crew(self, job: Job) -> Collecting:
        plan, options = self.plan, self._options
        if isinstance(plan.kind, SelfCollecting):
            own: Collecting = plan.kind.crew(job, plan.info, plan.training.workers)
            return own
        return Crew(job, plan.info, plan.training.workers, options.engine, options.ray_address)

    def _leg(self, leg: int, crew: Collecting, learner: Learner) -> None:
        config, before = self.plan.training, self.steps
        rounds = min(config.leg, self._rounds - leg * config.leg)
        crew.begin(leg)
        for number, row in enumerate(self._collected(leg, rounds, crew, learner)):
            final = number == rounds - 1
            if final and self._due(before, config.eval_every, leg):
                row |= self._evaluated(leg, crew, learner)
            self._curve.append(row)
        if self._due(before, max(self._horizon // SNAPSHOTS, 1), leg):
            self._folder.save_snapshot(self.steps, learner.policy(explore=True))
        if self._due(before, config.checkpoint_every, leg):
            self._save(leg, learner)

    def _due(self, before: int, every: int, leg: int) -> bool:
        """Whether a multiple of *every* steps was passed in this leg, or the training ends with it."""
        return leg == self._legs - 1 or (every > 0 and self.steps // every > before // every)

    def _collected(
        self, leg: int, rounds: int, crew: Collecting, learner: Learner
    ) -> Iterator[dict[str, Any]]:
        """Collect and learn, round by round; give a row of the curve for each."""
        config = self.plan.training
        crew.start(learner.policy(explore=True), config.round)
        for number in range(rounds):
            began = time.perf_counter()
            hauls = crew.hauls()
            more = number < rounds - 1
            if more and config.overlap:
                # The next round is collected meanwhile, with the weights from before this update.
                crew.start(learner.policy(explore=True), config.round)
            learnt_from = time.perf_counter()
            windows = [window for haul in hauls for window in haul.windows]
            learner.add(windows)
            signals = learner.update()
            ended = time.perf_counter()
            self._round += 1
            self.steps += self.plan.round_steps
            _check(signals, self.steps)
            if self._options.watch is not None:
                self._options.watch(self.steps, windows)
            self._folder.time(self._round, self.steps, learnt_from - began, ended - learnt_from)
            if self._options.progress is not None:
                self._options.progress(self.steps, self._rounds * self.plan.round_steps, self._words())
            if more and not config.overlap:
                crew.start(learner.policy(explore=True), config.round)
            yield {
                "round": self._round,
                "leg": leg,
                "steps": self.steps,
                **_collected_numbers(hauls),
                **{name: float(value) for name, value in signals.items()},
            }

    def _words(self) -> str:
        key = next(iter(ranked_by(self.plan.training.best_by)))
        value = self.best.get("evaluation", {}).get(key)
        return "" if value is None else f"best {key} {value:.4g}"

    # -- evaluating and saving --

    def _evaluated(self, leg: int, crew: Collecting, learner: Learner) -> dict[str, float | None]:
        """Evaluate greedily, keep the policy if it is the best, and return the columns of the curve."""
        weights = learner.policy()
        seeds = [EVALUATION_SEED + k for k in range(self.plan.training.eval_seeds)]
        evaluation = _means(crew.evaluate(weights, seeds))
        by = self.plan.training.best_by
        better = not self.best or _rank(evaluation, by) > _rank(self.best["evaluation"], by)
        _log.info(
            "step %d: %s",
            self.steps,
            ", ".join(f"{k} {v:.4g}" for k, v in evaluation.items() if v is not None),
        )
        if better:
            self.best = {"leg": leg, "steps": self.steps, "evaluation": evaluation}
            self._folder.save_candidate(leg, weights)
        return {f"eval_{name}": value for name, value in evaluation.items()}

    def _save(self, leg: int, learner: Learner) -> None:
        rows = self._curve.cut(leg)
        about = {"steps": self.steps, "rounds": self._round, "curve_rows": rows, "best": self.best}
        checkpoints.save(
            self._folder.dir, Checkpoint(leg + 1, learner.state(), about), self.plan.training.keep
        )
        self._folder.drop_candidates(keep=self.best.get("leg"))

    def _finish(self, learner: Learner) -> None:
        self._curve.finish()
        weights = self._folder.candidate(self.best["leg"]) if self.best else learner.policy()
        self._folder.save_policy(self.plan, weights, self.best, self._folder.dir / CSV)
        if self._tensorboard is not None:
            self._tensorboard.close()


def _check(signals: Mapping[str, float], steps: int) -> None:
    for name, value in signals.items():
        if not math.isfinite(value):
            raise AgentError(f"the learner's signal '{name}' is {value} after {steps} steps: it diverged")


def _collected_numbers(hauls: Sequence[Haul]) -> dict[str, float | int | None]:
    """Return the columns that say what came in: entity decisions, their mean reward, and the task's counts."""
    windows = [window for haul in hauls for window in haul.windows]
    rows = sum(int(window.decided.sum()) for window in windows)
    reward = sum(float(window.reward.sum()) for window in windows)
    counts: dict[str, int] = {}
    for haul in hauls:
        for name, count in haul.counts.items():
            counts[f"collect_{name}"] = counts.get(f"collect_{name}", 0) + count
    return {"collect_rows": rows, "collect_reward": reward / rows if rows else None, **counts}


def _means(results: Sequence[Numbers]) -> dict[str, float | None]:
    """Return the mean of each result over the runs that have it."""
    means: dict[str, float | None] = {}
    for name in {name: None for numbers in results for name in numbers}:
        known = [value for numbers in results if (value := numbers.get(name)) is not None]
        means[name] = math.fsum(known) / len(known) if known else None
    return means


def _rank(evaluation: Mapping[str, float | None], best_by: str) -> list[float]:
    """Return what evaluations are compared by, larger is better."""
    values = [(evaluation.get(name), sign) for name, sign in ranked_by(best_by).items()]
    return [-math.inf if value is None else sign * value for value, sign in values]


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a batch system's stop ends a training tidily."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
