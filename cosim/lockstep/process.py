"""An agent in an operating-system process of its own: asked over a socket, with a deadline for every answer.

Whatever goes wrong there (it dies, hangs, answers nonsense) ends it and becomes one AgentError that says what
happened, how the process ended and what it printed last.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.inline import who
from cosim.lockstep.launch import AgentProcess, Ended
from cosim.lockstep.messages import need, pack_episode, pack_observations, unpack_actions
from cosim.lockstep.protocol import Actions, ActionSpec, EpisodeInfo, Observations, check_actions
from cosim.lockstep.registry import AgentSpec, check_spec, find_weights
from cosim.lockstep.wire import Array, Channel, Closed, WireError

_LOG = logging.getLogger("cosim.agent")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_TRIM_EVERY = 4096


class ProcessHost:
    """Satisfies :class:`~cosim.lockstep.protocol.AgentHost` with a process.

    The process starts at once and is waited for at the first reset, so that several start side by side.

    Args:
        spec: the agent: a registered name (run by :mod:`cosim.lockstep.worker`), or a command (split as a
            shell would, but run without one).
        task: the name of the task that it serves.
        plugins: ``--plugin`` modules that the process loads.
        deadline_s: the longest that an answer may take.
        start_deadline_s: the longest that starting and the first reset may take together.
        close_grace_s: how long the agent may go on after it was told to close.
        log: file that gets what the agent prints; without it only the last words are kept.

    Raises ScenarioError if the name, the weights or the program do not exist.  Lines that an agent logs go to
    the logger ``cosim.agent``.
    """

    def __init__(
        self,
        spec: AgentSpec,
        task: str,
        *,
        plugins: Sequence[str] = (),
        deadline_s: float = 10.0,
        start_deadline_s: float = 120.0,
        close_grace_s: float = 5.0,
        log: Path | None = None,
        unix: bool = os.name == "posix",
    ) -> None:
        self.name = spec.label
        self.task = task
        self._deadline_s = deadline_s
        self._start_deadline_s = start_deadline_s
        self._grace_s = close_grace_s
        self._specs: dict[str, ActionSpec] = {}
        self._channel: Channel | None = None
        self._over: str | None = None
        self._asked = 0
        self._process = AgentProcess(command_line(spec, plugins), log, grace_s=close_grace_s, unix=unix)

    @property
    def pid(self) -> int:
        """The operating system's number of the agent's process."""
        return self._process.pid

    def reset(self, info: EpisodeInfo) -> None:
        """Hand the episode to the agent and wait until it is ready; AgentError if it does not get so far."""
        self._check_open()
        self._specs = {name: role.action for name, role in info.roles.items()}
        when = f"at reset (episode {info.episode})"
        left = self._deadline_s
        if self._channel is None:
            ends = time.monotonic() + self._start_deadline_s
            try:
                self._channel = self._process.connect(self._start_deadline_s)
            except Ended as error:
                self._fail(str(error))
            except TimeoutError as error:
                self._fail(f"did not connect within {self._start_deadline_s:g} s{error}")
            left = max(0.1, ends - time.monotonic())
        try:
            header, _ = self._ask(pack_episode(info), {}, left, when)
            if need(header, "type", str) != "ready":
                raise WireError(f"expected a message 'ready', got '{header['type']}'")
        except WireError as error:
            self._fail(f"answered nonsense {when}: {error}")

    def act(self, observations: Observations) -> Actions:
        """Return the agent's checked answer; AgentError if there is none in time."""
        self._check_open()
        if self._channel is None:
            raise RuntimeError("reset() comes before act()")
        when = f"at t = {observations.t_us / 1e6:g} s"
        self._asked += 1
        if self._asked % _TRIM_EVERY == 0:
            self._process.trim()
        try:
            message, arrays = pack_observations(observations)
            header, arrays = self._ask(message, arrays, self._deadline_s, when)
            if header.get("type") != "actions":
                raise WireError(f"expected a message 'actions', got {header.get('type')!r}")
            actions = unpack_actions(header, arrays, observations)
        except WireError as error:
            self._fail(f"answered nonsense {when}: {error}")
        try:
            spec = self._specs[observations.role]
            return check_actions(actions, spec, observations.active, who(self.name, self.task))
        except AgentError as error:
            what = str(error).removeprefix(f"{who(self.name, self.task)}: ")
            self._fail(f"{what} ({when})")

    def close(self) -> None:
        """Tell the agent to close, give it time to do so, and end its process; never raises."""
        if self._over is not None:
            return
        self._over = "was closed"
        grace_s = 0.0
        try:
            if self._channel is not None:
                ends = time.monotonic() + self._grace_s
                self._channel.bound(self._grace_s)
                self._channel.send({"type": "close"})
                self._listen_out()
                self._channel.close()  # or a program that half-closed its side would wait for ours
                grace_s = max(0.0, ends - time.monotonic())
        except (Closed, TimeoutError, WireError):
            grace_s = 0.1
        self._clean_up(grace_s)

    def _listen_out(self) -> None:
        """Take what the agent still logs, until it hangs up."""
        assert self._channel is not None
        try:
            while True:
                header, _ = self._channel.receive()
                self._logged(header)
        except Closed:
            pass

    def _ask(
        self, message: dict[str, Any], arrays: dict[str, Array], within_s: float, when: str
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Send one message and return the answer to it; WireError if that is no frame."""
        channel = self._channel
        assert channel is not None
        try:
            channel.bound(within_s)
            try:
                channel.send(message, arrays)
            except Closed:  # it may have said why before it hung up, so listen all the same
                pass
            except WireError as error:  # ours to repair, not the agent's
                raise ValueError(f"{when}: {error}") from error
            ends = time.monotonic() + within_s
            while True:
                answer = channel.receive()
                if answer[0].get("type") == "error":
                    self._gave_up(answer[0], when)
                if not self._logged(answer[0]):
                    return answer
                if time.monotonic() > ends:
                    raise TimeoutError
        except TimeoutError:
            self._fail(f"did not answer within {within_s:g} s {when}")
        except Closed:
            self._fail(f"{self._process.how_it_ended(1.0) or 'closed its connection'} {when}")

    def _logged(self, header: dict[str, Any]) -> bool:
        """Pass on a line that the agent logs; say whether the message was one."""
        if header.get("type") != "log":
            return False
        _LOG.log(_LEVELS.get(str(header.get("level")), 20), "%s: %s", self.name, header.get("text"))
        return True

    def _gave_up(self, header: dict[str, Any], when: str) -> NoReturn:
        """Raise what the agent's last message says: wrong use (code 2), or its own failure."""
        text = " ".join(str(header.get("text")).split())
        self._process.how_it_ended(1.0)
        if header.get("code") == 2:
            self._over = text
            self._clean_up(0.0)
            raise ScenarioError(text)
        self._fail(f"failed {when}: {text}", words=False)

    def _fail(self, what: str, words: bool = True) -> NoReturn:
        """End the process and raise AgentError with its last words, all of them in a note."""
        self._over = what
        self._process.end(0.0)
        last, output = self._process.last_words(), self._process.output()
        self._clean_up(0.0)
        message = f"{who(self.name, self.task)} {what}"
        error = AgentError(f"{message}; its last words: {last}" if words and last else message)
        if output.strip():
            error.add_note(f"output of {self.name}:\n{output.rstrip()}")
        raise error from None

    def _check_open(self) -> None:
        if self._over is not None:
            raise AgentError(f"{who(self.name, self.task)} is not there any more: it {self._over}")

    def _clean_up(self, grace_s: float) -> None:
        self._process.end(grace_s)
        self._process.forget()
        if self._channel is not None:
            self._channel.close()


def command_line(spec: AgentSpec, plugins: Sequence[str] = ()) -> list[str]:
    """Return the program and arguments that start an agent; ScenarioError if it cannot be started."""
    if spec.command is not None:
        try:
            words = shlex.split(spec.command, posix=os.name == "posix")
        except ValueError as error:
            raise ScenarioError(f"agent command '{spec.command}' cannot be split: {error}") from error
        if not words:
            raise ScenarioError("an agent's command is empty")
        return words
    if spec.name is None:
        raise ScenarioError("an agent needs a name or a command")
    check_spec(spec)
    # -P: a json.py in the working folder must not stand in for Python's own.
    words = [sys.executable, "-P", "-m", "cosim.lockstep.worker", spec.name]
    if spec.weights is not None:
        words += ["--weights", str(find_weights(spec.weights, spec.name))]
    for plugin in plugins:
        words += ["--plugin", plugin]
    return words
