"""``check_agent``: what an agent must do to take part, tried out on it without SUMO.

It is asked about entities that come and go, twice from the same seed and once with the rows shuffled, inline
and in a process of its own.  What breaks a run is an AgentError; what is merely unwise is a warning.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import AgentError
from cosim.lockstep import (
    LEAVE_IT,
    Actions,
    ActionSpec,
    Agent,
    AgentHost,
    EpisodeInfo,
    InlineHost,
    Observations,
    ProcessHost,
    RoleSpec,
    create_agent,
    parse_agent_option,
)
from cosim.registry import plugins

DRIVING = RoleSpec("cav", 38, ActionSpec(n=9, leave_it=True))
"""The role of the driving task with discrete actions."""

Shared = Callable[[np.random.Generator], Mapping[str, NDArray[Any]]]


def check_agent(
    agent: str | Agent | Callable[[], Agent],
    *,
    roles: Sequence[RoleSpec] = (),
    task: str = "driving",
    options: Mapping[str, Any] | None = None,
    shared: Shared | None = None,
    steps: int = 30,
    seed: int = 0,
    in_process: bool = True,
) -> None:
    """Try an agent out; return if it is fit for use.

    Checked: it survives being reset again; gives well-formed answers for any number of rows, none included,
    and for entities that enter and leave; answers alike from equal seeds, whatever state the global random
    generators are in; does not write into what it is shown; and answers alike inline and in a process of its
    own.  Warned of: choices that the mask forbids, answers that depend on the order of rows.

    Args:
        agent: a name as after ``--agent`` (``common.random``, ``mine.agent:weights.safetensors``,
            ``cmd:python my_agent.py``), an agent, or a class or function that makes one.
        roles: what is asked, in the order of the task's phases; by default the one of driving or migration.
        task: name of the task that the agent is told.  Without *roles* and *shared*, ``migration`` asks questions
            whose arrays fit together as that task's do (:mod:`cosim.testing.migration`).
        options: the task's options that the agent is told; migration fills in its defaults.
        shared: makes the shared arrays of a question; by default those of driving if *task* is that.
        steps: decisions asked of each role.
        seed: of the questions and of the episode.
        in_process: compare with an agent process too (names only).

    Raises AgentError that says what the agent did wrong; ScenarioError if there is none of that name.

    >>> check_agent("common.keep_lane", steps=3, in_process=False)
    """
    told, period_us = dict(options or {}), 100_000
    if task == "migration" and not roles and shared is None:
        # Imported here: other agents are checked without that task.
        from cosim.tasks.migration import MigrationOptions
        from cosim.testing.migration import SLOT_US, migration_questions, migration_role

        known = MigrationOptions.model_validate(told)
        told, period_us, roles = known.model_dump(mode="json"), SLOT_US, (migration_role(known),)
        asked = migration_questions(known, steps, seed)
    else:
        roles = roles or (DRIVING,)
        make_shared = shared or (driving_shared if task == "driving" else _nothing)
        asked = questions(roles, steps, seed, make_shared)
    info = EpisodeInfo("check_agent", task, seed, 0, period_us, {role.name: role for role in roles}, told)
    hosts = _openers(agent, task)
    first = _answers(hosts[0], info, asked)
    again = _answers(hosts[0], info, asked, before=3)
    _compare(first, asked, again, "answers differently when reset with the same seed")
    if in_process and len(hosts) > 1:
        again = _answers(hosts[1], info, asked)
        _compare(first, asked, again, "answers differently in a process of its own")
    _warn_of_masked(first, asked)
    _warn_of_order(first, asked, hosts[0], info, seed)


def questions(roles: Sequence[RoleSpec], steps: int, seed: int, shared: Shared) -> list[Observations]:
    """Return *steps* questions of each role about entities that come and go: none, one, and many of them."""
    rng = np.random.default_rng(seed)
    asked: list[Observations] = []
    present: dict[str, list[str]] = {role.name: [] for role in roles}
    count = 0
    for step in range(steps):
        for role in roles:
            before = present[role.name]
            if step == steps // 2:
                stay, entered = [], 0  # the road empties once
            else:
                stay = [name for name in before if rng.random() < 0.9]
                entered = int(rng.integers(0, 4)) if step else 0
            now = sorted([*stay, *(f"{role.name}_{count + i}" for i in range(entered))])
            count += entered
            left = sorted(set(before) - set(now))
            present[role.name] = now
            ids = (*now, *left)
            asked.append(
                _question(role, ids, len(now), 100_000 * (step + 1), step == steps - 1, rng, shared(rng))
            )
    return asked


def driving_shared(rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    """Return shared arrays shaped as the driving task's: inflow (8,), zone_ids (N,), zone_features (N, 8)."""
    n = int(rng.integers(0, 12))
    return {
        "inflow": rng.integers(0, 3, 8).astype(np.float64),
        "zone_ids": rng.integers(0, 1 << 63, n).astype(np.uint64),
        "zone_features": rng.random((n, 8), dtype=np.float32),
    }


def _nothing(_: np.random.Generator) -> Mapping[str, NDArray[Any]]:
    return {}


def _question(
    role: RoleSpec,
    ids: tuple[str, ...],
    active: int,
    t_us: int,
    last: bool,
    rng: np.random.Generator,
    shared: Mapping[str, NDArray[Any]],
) -> Observations:
    n = len(ids)
    low, high = max(role.low, -1.0), min(role.high, 1.0)
    mask = None
    if role.action.n:
        mask = rng.random((n, role.action.n)) < 0.7
        mask[:, role.action.n // 2] = True  # there is always one that changes nothing; in driving it is 4
    asked = Observations(
        t_us=t_us,
        role=role.name,
        ids=ids,
        obs=rng.uniform(low, high, (n, role.obs_dim)).astype(np.float32),
        mask=mask,
        shared=shared,
        reward=rng.normal(size=n),
        terminated=np.arange(n) >= active,
        truncated=np.full(n, last),
        active=active,
    )
    for array in (asked.obs, mask, asked.reward, asked.terminated, asked.truncated, *shared.values()):
        if array is not None:
            array.flags.writeable = False
    return asked


def _openers(agent: str | Agent | Callable[[], Agent], task: str) -> list[Callable[[], AgentHost]]:
    """Return how to open the agent's hosts: inline if that is possible, then in a process if that is."""
    if not isinstance(agent, str):
        made = agent if isinstance(agent, Agent) and not isinstance(agent, type) else None
        label = getattr(agent, "__name__", type(agent).__name__)
        return [lambda: InlineHost(made or agent(), label, task)]  # type: ignore[operator]
    spec = parse_agent_option(agent)

    def process() -> AgentHost:
        return ProcessHost(spec, task, plugins=plugins())

    if spec.name is None:
        return [process]
    name = spec.name
    return [lambda: InlineHost(create_agent(name, spec.weights), name, task), process]


def _answers(
    opened: Callable[[], AgentHost], info: EpisodeInfo, asked: Sequence[Observations], before: int = 8
) -> list[Actions]:
    """Return the answers of an agent's second episode; the first, of *before* questions, is soon over."""
    host = opened()
    generators = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        host.reset(replace(info, seed=info.seed + 1, episode=0))
        for observations in asked[:before]:
            host.act(observations)
        host.reset(replace(info, episode=1))
        answers = []
        for observations in asked:
            random.seed()  # what draws from the global generators differs from run to run
            np.random.seed()  # noqa: NPY002
            answers.append(host.act(observations))
        return answers
    finally:
        host.close()
        random.setstate(generators[0])
        np.random.set_state(generators[1])  # noqa: NPY002


def _compare(
    first: Sequence[Actions], asked: Sequence[Observations], second: Sequence[Actions], what: str
) -> None:
    for one, two, question in zip(first, second, asked, strict=True):
        if one.values.tobytes() != two.values.tobytes():
            at = int(np.flatnonzero((one.values != two.values).reshape(len(one.values), -1).any(axis=1))[0])
            raise AgentError(
                f"the agent {what}: at t = {question.t_us / 1e6:g} s, {question.ids[at]}:"
                f" {one.values[at].tolist()}, then {two.values[at].tolist()}"
            )


def _warn_of_masked(answers: Sequence[Actions], asked: Sequence[Observations]) -> None:
    masked = total = 0
    for actions, question in zip(answers, asked, strict=True):
        if question.mask is not None and question.active:
            choice = actions.values if actions.values.ndim == 1 else actions.values[:, 0]
            chosen = choice.astype(np.int64)
            allowed = question.mask[np.arange(question.active), chosen] | (chosen == LEAVE_IT)
            masked += int((~allowed).sum())
            total += question.active
    if masked:
        warnings.warn(
            f"{masked} of {total} choices are forbidden by the mask; a task does nothing in their place",
            stacklevel=3,
        )


def _warn_of_order(
    first: Sequence[Actions],
    asked: Sequence[Observations],
    opened: Callable[[], AgentHost],
    info: EpisodeInfo,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed + 1)
    orders = [rng.permutation(question.active) for question in asked]
    shuffled = [_shuffled(question, order) for question, order in zip(asked, orders, strict=True)]
    answers = _answers(opened, info, shuffled)
    for one, two, order, question in zip(first, answers, orders, asked, strict=True):
        if not np.allclose(one.values[order], two.values, rtol=1e-4, atol=1e-6):
            warnings.warn(
                f"an answer depends on the order of the rows (at t = {question.t_us / 1e6:g} s)", stacklevel=3
            )
            return


def _shuffled(question: Observations, order: NDArray[np.intp]) -> Observations:
    """Return the question with the rows that are asked in another order."""
    rows = np.concatenate([order, np.arange(question.active, len(question))]).astype(np.intp)
    by_row = {"vehicle": order, "own_reward": rows}  # shared arrays with a row each
    return replace(
        question,
        shared={
            name: array[by_row[name]] if name in by_row else array for name, array in question.shared.items()
        },
        ids=tuple(question.ids[i] for i in rows.tolist()),
        obs=question.obs[rows],
        mask=None if question.mask is None else question.mask[rows],
        reward=question.reward[rows],
        terminated=question.terminated[rows],
        truncated=question.truncated[rows],
    )
