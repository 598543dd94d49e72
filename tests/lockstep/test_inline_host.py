"""Agents in the engine's own process, and what counts as an answer."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from lockstep_questions import episode, question

from cosim.errors import AgentError
from cosim.lockstep import Actions, ActionSpec, EpisodeInfo, InlineHost, Observations, check_actions


class Answers:
    """Gives a ready answer, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.closed = 0

    def reset(self, info: EpisodeInfo) -> None:
        pass

    def act(self, observations: Observations) -> Actions:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed += 1
        raise OSError("disk full")


def ask(answer: Any) -> Actions:
    host = InlineHost(Answers(answer), "mine.agent", "driving")
    host.reset(episode())
    return host.act(question(3))


def test_what_an_agent_raises_becomes_an_agent_error_with_the_place() -> None:
    with pytest.raises(
        AgentError,
        match=r"^agent 'mine\.agent' of task 'driving' failed at t = 0\.1 s: "
        r"KeyError: 'x' \(.*test_inline_host\.py:\d+\)$",
    ):
        ask(KeyError("x"))


def test_closing_closes_once_and_never_raises(capsys: pytest.CaptureFixture[str]) -> None:
    agent = Answers(None)
    host = InlineHost(agent, "mine.agent", "driving")
    host.close()
    host.close()
    assert agent.closed == 1
    assert "failed at close: OSError: disk full" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "answered NoneType, expected cosim.lockstep.Actions"),
        ([4, 4, 4], "answered list, expected"),
        (Actions([[1], [2, 3]]), "answered values that are no array"),  # type: ignore[arg-type]
        (Actions(np.zeros((3, 1))), r"answered an array of shape \(3, 1\), expected \(3,\)"),
        (Actions(np.array(["a", "b", "c"])), "answered values of type <U1, expected numbers"),
        (Actions(np.array([None, 1, 2])), "answered values of type object, expected numbers"),
        (Actions(np.array([True, False, True])), "answered values of type bool"),
        (Actions(np.array([1j, 0, 0])), "answered values of type complex128"),
        (Actions(np.array([-2, 0, 0])), r"answered a choice outside -1\.\.8"),
        (
            Actions(np.zeros(3), {"q": np.zeros(2)}),
            r"note 'q' has shape \(2,\), expected a row for each of 3",
        ),
    ],
)
def test_what_is_no_answer_is_named(answer: Any, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        ask(answer)


def test_an_answer_comes_in_the_dtype_of_its_kind() -> None:
    assert ask(Actions(np.array([4.0, -1.0, 8.0]))).values.dtype == np.int64
    both = ActionSpec(n=2, low=(-1.0,), high=(1.0,))
    checked = check_actions(Actions(np.array([[1, 0], [0, -1]])), both, 2, "x")
    assert checked.values.dtype == np.float64
    for wrong, message in [
        ([[2, 0.0]], "choice outside"),
        ([[0, 1.5]], "value outside"),
        ([[0.5, 0]], "whole"),
    ]:
        with pytest.raises(AgentError, match=message):
            check_actions(Actions(np.array(wrong)), both, 1, "x")


def test_naming_hosts_does_not_import_torch() -> None:
    import subprocess

    code = "import sys, cosim.lockstep, cosim.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
