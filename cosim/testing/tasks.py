"""``check_task``: what a task must do to take part, tried out on it with real traffic.

It is driven for some simulated seconds by an agent that chooses at random, now and then what the mask forbids,
twice from the same seed; a third time along with a twin that sees every vehicle renamed.  Each breach of the
contract of :mod:`cosim.tasks.base` is an AssertionError that says when, what, and what to mend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from cosim.assembly import Plan, assemble, plan, reseeded
from cosim.clock import US
from cosim.engine import Question, Scheduled
from cosim.errors import CosimError
from cosim.lockstep.protocol import LEAVE_IT, Actions, Observations, RoleSpec, check_actions
from cosim.randomness import philox, stream_key, uniforms
from cosim.scenario import Scenario, list_scenarios, load_scenario
from cosim.tasks import Task, tasks
from cosim.testing.probe import Digest, Probe, require
from cosim.testing.twin import Twin
from cosim.traffic.state import entity_key

_FORBIDDEN_SHARE = 0.125
"""How often a choice is one that the mask forbids."""


def check_task(
    scenario: Scenario | str | Path,
    task: str | None = None,
    *,
    overrides: Sequence[str] = (),
    seconds: float | None = None,
    seed: int = 0,
    order_free: bool = True,
) -> None:
    """Try a task out; return if it is fit for use.

    Checked: what it declares; metrics that are None while nothing is measured, and finite numbers afterwards;
    shapes, types and bounds of observations, masks, rewards and executed actions; that whoever leaves is
    reported once with its last observation and never asked again; that an allowed choice is executed as it is, a
    forbidden one as something allowed and counted in ``totals()["masked_actions"]``; that orders are for
    vehicles on the road; that a seed gives the same bytes twice; and that nothing depends on the order of rows.

    Args:
        scenario: a scenario in which the task plays, or the name of a task (then the first shipped one with it).
        task: which task of the scenario; may be left out if there is only one.
        overrides: ``key.path=value`` texts, as ``--set`` takes them.
        seconds: simulated time of each of the three runs; None takes 30 s, or ten decisions if that is longer.
        seed: of the traffic and of the choices.
        order_free: whether to compare with a renamed twin; a task that means names to matter (draws by key) or
            reads the network is not compared.

    Raises AssertionError that says what the task does wrong; ScenarioError if the scenario cannot be used.
    """
    whole, name = _scenario_of(scenario, task, overrides)
    wanted_us = max(30 * US, 10 * whole.tasks[name].every_us) if seconds is None else seconds * US
    span = max(1, round(wanted_us / whole.step_us)) * whole.step_us / US
    whole = reseeded(whole.with_overrides([f"duration={span:.6f}", "warmup=0"]), seed)
    _declared(name, tasks.get(name))
    _before_measuring(whole, name, span)
    first = _drive(whole, name, seed, twin=order_free and whole.network is None)
    second = _drive(whole, name, seed, twin=False)
    _compare(name, first.transcript, second.transcript)


def _scenario_of(
    scenario: Scenario | str | Path, task: str | None, overrides: Sequence[str]
) -> tuple[Scenario, str]:
    """Return the scenario and the name of the task in it."""
    if isinstance(scenario, Scenario):
        whole = scenario.with_overrides(overrides) if overrides else scenario
    elif isinstance(scenario, str) and task is None and scenario in tasks:
        task = scenario
        whole = _first_with(task, overrides)
    else:
        whole = load_scenario(scenario, overrides)
    names = list(whole.tasks)
    if task is None:
        require(len(names) == 1, f"check_task: say which task: {', '.join(names) or 'the scenario has none'}")
        task = names[0]
    require(task in names, f"check_task: the scenario has no task '{task}'; tasks: {', '.join(names)}")
    return whole, task


def _first_with(task: str, overrides: Sequence[str]) -> Scenario:
    for name, _ in list_scenarios():
        try:
            if task in load_scenario(name).tasks:
                return load_scenario(name, overrides)
        except CosimError:
            continue
    raise AssertionError(f"check_task: no shipped scenario has a task '{task}': pass one of yours")


def _declared(name: str, kind: type[Task]) -> None:
    """Check what the class says of itself."""
    where = f"task '{name}'"
    require(
        getattr(kind, "name", None) == name,
        f"{where}: its class has the name {getattr(kind, 'name', None)!r}",
    )
    options = getattr(kind, "Options", None)
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise AssertionError(f"{where}: Options is no pydantic model")
    try:
        options.model_validate({"no_such_option": 1})
    except ValidationError:
        pass
    else:
        raise AssertionError(
            f"{where}: its Options take any key, so a misspelt one goes unnoticed; set extra='forbid'"
        )
    metric_names = list(getattr(kind, "metric_names", ()))
    require(len(set(metric_names)) == len(metric_names), f"{where}: metric_names has a name twice")


def _built(whole: Scenario, name: str) -> tuple[Plan, Scheduled]:
    ready = plan(whole)
    return ready, next(s for s in ready.tasks if s.name == name)


def _before_measuring(whole: Scenario, name: str, span: float) -> None:
    """Check that metrics are None over nothing: before the first step, and at the end of a warm-up."""
    _, fresh = _built(whole, name)
    _metrics(name, fresh.task, "before the first step", measured=False)
    phases, roles = tuple(fresh.task.phases), fresh.task.roles
    require(
        phases and set(phases) <= set(roles), f"task '{name}': phases {phases} are not roles {tuple(roles)}"
    )
    for key, role in roles.items():
        spec = role.action
        require(key == role.name, f"task '{name}': role '{role.name}' is listed as '{key}'")
        require(
            spec.n or spec.k, f"task '{name}', role '{key}': an action needs a choice or continuous values"
        )
        require(len(spec.low) == len(spec.high), f"task '{name}', role '{key}': as many lows as highs")
        require(
            all(a < b for a, b in zip(spec.low, spec.high, strict=True)),
            f"task '{name}', role '{key}': each low must be below its high",
        )
    warm = whole.with_overrides([f"warmup={span:.6f}", f"duration={whole.step_us / US:.6f}"])
    ready, scheduled = _built(warm, name)
    probe = Probe(scheduled.task, name, scheduled.rate.period_us)
    _run(ready, scheduled, probe, whole.seed, until_us=warm.warmup_us)
    _metrics(name, scheduled.task, "after a warm-up alone", measured=False)


def _drive(whole: Scenario, name: str, seed: int, *, twin: bool) -> Probe:
    """Run the scenario once to its end and check the task all the way."""
    ready, scheduled = _built(whole, name)
    period = scheduled.rate.period_us
    probe = Probe(scheduled.task, name, period)
    if twin:
        probe = Twin(scheduled.task, _built(whole, name)[1].task, name, period)
    _run(ready, scheduled, probe, seed)
    require(
        probe.asked,
        f"task '{name}' asked nothing within {whole.duration:g} s: check it with a scenario that brings somebody"
        " to decide for, or for longer (seconds=…)",
    )
    _metrics(name, scheduled.task, "at the end", measured=True)
    _totals(name, scheduled.task, probe)
    return probe


def _run(ready: Plan, scheduled: Scheduled, probe: Probe, seed: int, until_us: int | None = None) -> None:
    """Drive the engine with the probe in the task's place and no other task."""
    alone = replace(ready, tasks=(replace(scheduled, task=cast(Task, probe)),))
    assembly = assemble(alone)
    loop = assembly.engine.decisions()
    try:
        question: Question | None = next(loop, None)
        while question is not None and (until_us is None or question.observations.t_us < until_us):
            role = probe.roles[question.phase]
            try:
                question = loop.send(_answer(seed, question.observations, role))
            except StopIteration:
                return
    finally:
        loop.close()
        assembly.close()


def _answer(seed: int, asked: Observations, role: RoleSpec) -> Actions:
    """Return a random answer; a row's depends on seed, instant and id alone."""
    n, spec = asked.active, role.action
    keys = np.array([entity_key(name) for name in asked.ids[:n]], dtype=np.uint64)
    stream = stream_key(seed, f"check_task/{asked.role}", asked.t_us)

    def draw(column: int) -> NDArray[np.float64]:
        return uniforms(philox(keys, np.full(n, column, dtype=np.uint64), stream)[0])

    columns: list[NDArray[Any]] = []
    if spec.n:
        mask = np.ones((n, spec.n), dtype=bool) if asked.mask is None else asked.mask[:n]
        scores = np.stack([draw(2 + k) for k in range(spec.n)], axis=1) if n else np.empty((0, spec.n))
        allowed = np.argmax(np.where(mask, scores, -1.0), axis=1)
        forbidden = np.argmax(np.where(mask, -1.0, scores), axis=1)
        kind = draw(1)
        choice = np.where((kind < _FORBIDDEN_SHARE) & ~mask.all(axis=1), forbidden, allowed)
        if spec.leave_it:
            choice = np.where((kind > 0.9) | ~mask.any(axis=1), LEAVE_IT, choice)
        columns.append(choice)
    for k, (low, high) in enumerate(zip(spec.low, spec.high, strict=True)):
        columns.append(low + (high - low) * draw(2 + spec.n + k))
    values = columns[0] if not spec.k else np.stack(columns, axis=1)
    return check_actions(Actions(values), spec, n, "check_task")


def _metrics(name: str, task: Task, when: str, *, measured: bool) -> None:
    """Metrics have the declared names and are None or finite; None while nothing was measured."""
    values = task.metrics()
    require(
        list(values) == list(task.metric_names),
        f"task '{name}': metrics() gives {list(values)}, metric_names says {list(task.metric_names)}",
    )
    for key, value in values.items():
        require(
            value is None or (isinstance(value, int | float) and math.isfinite(value)),
            f"task '{name}': metric '{key}' is {value!r} {when}; a metric is a finite number, or None over nothing",
        )
        require(
            measured or value is None,
            f"task '{name}': metric '{key}' is {value!r} {when}, where nothing is measured: it must be None",
        )


def _totals(name: str, task: Task, probe: Probe) -> None:
    totals = task.totals()
    for key, value in totals.items():
        require(
            value is None or (isinstance(value, int | float | str) and not _bad(value)),
            f"task '{name}': totals()['{key}'] is {value!r}, not a number or text for JSON",
        )
    if any(role.action.n for role in probe.roles.values()):
        counted = totals.get("masked_actions")
        require(
            counted == probe.masked,
            f"task '{name}': {probe.masked} forbidden choices were made, totals()['masked_actions'] says {counted}",
        )


def _bad(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _compare(
    name: str, first: Sequence[tuple[int, str, Digest]], second: Sequence[tuple[int, str, Digest]]
) -> None:
    """Check that two runs of one seed were the same to the bit."""
    for (t_us, role, ours), (other_us, other_role, theirs) in zip(first, second, strict=False):
        require(
            (t_us, role) == (other_us, other_role),
            f"task '{name}': two runs of one seed ask at different times, {t_us / 1e6:g} s and {other_us / 1e6:g} s",
        )
        parts = [part for part in ours if ours[part] != theirs[part]]
        require(
            not parts,
            f"task '{name}', role '{role}' at t = {t_us / 1e6:g} s: two runs of one seed differ in"
            f" {', '.join(parts)}: draw by key (cosim.randomness), never from a global generator, set or clock",
        )
    require(
        len(first) == len(second),
        f"task '{name}': two runs of one seed ask {len(first)} and {len(second)} times",
    )
