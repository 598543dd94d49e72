"""A session in an operating-system process of its own, for an environment that finds libsumo in use.

:class:`WorkerSession` is this process's end, ``python -m cosim.envs.worker`` the other.  They speak the wire format
of agent processes (:mod:`cosim.lockstep.wire`), so nothing is unpickled, the user's script is not imported again,
Ctrl-C stays here, and the worker ends when this process does, however that happens.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from cosim import errors
from cosim.assembly import agents_of
from cosim.envs.session import Seat, Session, Turn, take_seat
from cosim.errors import CosimError, ScenarioError, TrafficError
from cosim.lockstep.client import connect
from cosim.lockstep.launch import AgentProcess, Ended
from cosim.lockstep.messages import pack_observations, unpack_observations
from cosim.lockstep.registry import AGENTS
from cosim.lockstep.wire import Array, Channel, Closed, WireError
from cosim.registry import load_plugins, plugins
from cosim.scenario import scenario_from_resolved
from cosim.tasks import tasks

_START_S = 120.0
_GRACE_S = 2.0
"""How long a worker may go on after it was told to close, or after this process is gone."""

Message = tuple[dict[str, Any], dict[str, Array]]


class WorkerSession:
    """A seat taken in a worker process; answers as :class:`~cosim.envs.session.Session` does, to the bit.

    What goes wrong there is raised here: the same CosimError with the same words, or a TrafficError with the
    worker's last words if it died.
    """

    def __init__(self, seat: Seat, backend: str | None = None) -> None:
        self._over: str | None = None
        self._channel: Channel | None = None
        self._opening = {
            "type": "open",
            "scenario": seat.scenario.resolved(),
            "task": seat.task,
            "backend": backend,
            "path": [p for p in sys.path if isinstance(p, str)],
            "plugins": list(plugins()),
            "modules": _modules(seat),
        }
        self._process = AgentProcess([sys.executable, "-m", "cosim.envs.worker"], grace_s=_GRACE_S)

    @property
    def pid(self) -> int:
        """The operating system's number of the worker."""
        return self._process.pid

    def reset(self, seed: int, episode: int) -> Turn:
        """As :meth:`Session.reset`."""
        if self._channel is None:
            try:
                self._channel = self._process.connect(_START_S)
            except (Ended, TimeoutError) as why:
                self._fail(str(why) or f"did not start within {_START_S:g} s")
            self._channel.bound(None)
            self._ask(self._opening)
        return self._turn({"type": "reset", "seed": seed, "episode": episode})

    def go_on(self) -> Turn:
        """As :meth:`Session.go_on`."""
        return self._turn({"type": "go_on"})

    def step(self, values: NDArray[Any]) -> Turn:
        """As :meth:`Session.step`."""
        return self._turn({"type": "step"}, {"values": values})

    def metrics(self) -> dict[str, float | None]:
        """As :meth:`Session.metrics`."""
        return dict(self._ask({"type": "metrics"})[0]["metrics"])

    def close(self) -> None:
        """End the worker; never raises."""
        if self._over is None:
            self._over = "was closed"
            grace_s = 0.0
            if self._channel is not None:
                with suppress(Closed, TimeoutError, WireError):
                    self._channel.bound(_GRACE_S)
                    self._channel.send({"type": "close"})
                    grace_s = _GRACE_S
            self._clean_up(grace_s)

    def _turn(self, header: dict[str, Any], arrays: dict[str, Array] | None = None) -> Turn:
        """Send one message and return the turn that answers it, which is one frame or two."""
        answer, values = self._ask(header, arrays)
        now = after = unpack_observations(answer, values)
        if answer["skipped"]:
            now = unpack_observations(*self._receive())
        return Turn(after, now, answer["decisions"], answer["over"])

    def _ask(self, header: dict[str, Any], arrays: dict[str, Array] | None = None) -> Message:
        channel = self._open_channel()
        try:
            channel.send(header, arrays)
        except Closed:
            self._died()
        return self._receive()

    def _receive(self) -> Message:
        channel = self._open_channel()
        try:
            header, arrays = channel.receive()
        except Closed:
            self._died()
        except BaseException:  # Ctrl-C: the answer that is still to come would be taken for the next one's
            self.close()
            raise
        if header.get("type") == "error":
            _raise(header)
        return header, arrays

    def _open_channel(self) -> Channel:
        if self._channel is None or self._over is not None:
            raise TrafficError(f"the environment's worker process {self._over or 'was not started'}")
        return self._channel

    def _died(self) -> NoReturn:
        self._fail(self._process.how_it_ended(1.0) or "closed its connection")

    def _fail(self, what: str) -> NoReturn:
        self._over = what
        words = self._process.last_words()
        self._clean_up(0.0)
        raise TrafficError(
            f"the environment's worker process {what}" + (f"; its last words: {words}" if words else "")
        )

    def _clean_up(self, grace_s: float) -> None:
        self._process.end(grace_s)
        self._process.forget()
        if self._channel is not None:
            self._channel.close()


def _modules(seat: Seat) -> list[str]:
    """Return the modules that define the scenario's tasks and agents: importing them registers what a decorator does.

    ScenarioError for one defined in the main script, which a second process cannot import.
    """
    found = {tasks.origin(name).partition(":")[0]: f"task '{name}'" for name in seat.scenario.tasks}
    for name, spec in agents_of(seat.scenario).items():
        if name != seat.task and spec.name is not None:
            found[AGENTS.origin(spec.name).partition(":")[0]] = f"agent '{spec.name}'"
    if "__main__" in found:
        raise ScenarioError(
            f"{found['__main__']} is defined in the main script, where the second environment's process cannot"
            " find it: put it into a module, or close the first environment first"
        )
    return sorted(found)


def _raise(header: dict[str, Any]) -> NoReturn:
    """Raise what a worker's error message says."""
    kind = getattr(errors, str(header.get("error")), None)
    text = str(header.get("text"))
    if isinstance(kind, type) and issubclass(kind, CosimError):
        raise ScenarioError(text, key=header.get("key")) if kind is ScenarioError else kind(text)
    raise RuntimeError(f"in the environment's worker process:\n{text}")


# -- the worker's side ----------------------------------------------------------------------------------------


def main() -> None:
    """Connect to the process that started this one and serve it until it closes or is gone."""
    channel = connect()
    session: Session | None = None
    try:
        while True:
            header, arrays = channel.receive()
            kind = header["type"]
            if kind == "close":
                return
            try:
                if kind == "open":
                    session = _opened(header)
                    channel.send({"type": "ready"})
                elif session is not None:
                    _serve(channel, session, header, arrays)
            except CosimError as error:
                key = getattr(error, "key", None)
                channel.send({"type": "error", "error": type(error).__name__, "text": str(error), "key": key})
            except (Closed, TimeoutError):
                raise
            except Exception:
                channel.send({"type": "error", "error": "", "text": traceback.format_exc()})
    except Closed:
        pass
    finally:
        if session is not None:
            session.close()
        channel.close()


def _opened(header: dict[str, Any]) -> Session:
    sys.path[:] = header["path"]
    load_plugins(header["plugins"])
    for module in header["modules"]:
        importlib.import_module(module)
    scenario = scenario_from_resolved(header["scenario"], str(header["scenario"]["name"]))
    return Session(take_seat(scenario, header["task"]), header["backend"])


def _serve(channel: Channel, session: Session, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    kind = header["type"]
    if kind == "metrics":
        channel.send({"type": "metrics", "metrics": session.metrics()})
        return
    if kind == "step":
        turn = session.step(np.asarray(arrays["values"]))
    elif kind == "go_on":
        turn = session.go_on()
    else:
        turn = session.reset(header["seed"], header["episode"])
    skipped = turn.now is not turn.after
    first, values = pack_observations(turn.after)
    channel.send({**first, "skipped": skipped, "decisions": turn.decisions, "over": turn.over}, values)
    if skipped:
        channel.send(*pack_observations(turn.now))


if __name__ == "__main__":
    main()
