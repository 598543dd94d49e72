"""The agent's side of the wire: a Python program calls :func:`serve` with its agent and is one.

It reads where to connect and the token from the environment that the engine gave it, answers until the engine
closes the connection or is gone, and returns.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from cosim.errors import CosimError
from cosim.lockstep.inline import described, one_torch_thread
from cosim.lockstep.messages import need, pack_actions, unpack_episode, unpack_observations
from cosim.lockstep.protocol import Agent
from cosim.lockstep.wire import VERSION, Channel, Closed, WireError, connected

ADDRESS = "COSIM_AGENT_ADDRESS"
TOKEN = "COSIM_AGENT_TOKEN"
LIFELINE = "COSIM_AGENT_LIFELINE"

_channel: Channel | None = None


def serve(agent: Agent | Callable[[], Agent]) -> None:
    """Connect to the engine that started this program and answer it until it closes.

    ``agent`` may also be a class or function that makes the agent; it is called after connecting, so that an
    error in it reaches the user of the engine.  If the agent raises, the engine is told and the program ends
    with status 1, its traceback on standard error.
    """
    global _channel
    _channel = connect()
    made: Agent | None = None
    try:
        # A class has the methods too, so it would pass for an agent.
        made = agent if isinstance(agent, Agent) and not isinstance(agent, type) else agent()
        one_torch_thread()
        _answer(_channel, made)
    except Closed:
        pass
    except Exception as error:
        traceback.print_exc()
        _tell(_channel, error)
        sys.exit(1)
    finally:
        if made is not None:
            made.close()
        _channel.close()
        _channel = None


def connect() -> Channel:
    """Return a channel to the engine, the token shown; SystemExit if no engine started this program."""
    address, token = os.environ.pop(ADDRESS, ""), os.environ.pop(TOKEN, "")
    if not address or not token:
        sys.exit(
            f"{ADDRESS} and {TOKEN} are not set: this program is an agent that the engine starts,"
            " for instance with: cosim run SCENARIO --agent TASK=cmd:'python my_agent.py'"
        )
    try:
        channel = Channel(connected(address))
        channel.send({"type": "hello", "version": VERSION, "token": token})
    except (OSError, ValueError, Closed) as error:
        sys.exit(f"cannot connect to the engine at {address}: {error}")
    if grace := os.environ.pop(LIFELINE, ""):
        threading.Thread(target=_end_with_engine, args=(float(grace),), daemon=True).start()
    return channel


def log(text: str, level: str = "info") -> None:
    """Write a line to the run's log; levels are debug, info, warning, error.  Only while serving."""
    if _channel is not None:
        _channel.send({"type": "log", "level": level, "text": text})


def _answer(channel: Channel, agent: Agent) -> None:
    while True:
        header, arrays = channel.receive()
        kind = need(header, "type", str)
        if kind == "act":
            asked = unpack_observations(header, arrays)
            channel.send(*pack_actions(agent.act(asked), asked))
        elif kind == "reset":
            agent.reset(unpack_episode(header))
            one_torch_thread()
            channel.send({"type": "ready"})
        elif kind == "close":
            return
        elif kind == "error":
            raise WireError(f"refused by the engine: {header.get('text')}")
        else:
            raise WireError(f"a message of unknown type '{kind}'")


def _tell(channel: Channel, error: Exception) -> None:
    """Tell the engine why this agent ends, if it still listens."""
    wrong_use = isinstance(error, CosimError) and error.exit_code == 2
    text = str(error) if wrong_use else described(error)
    try:
        channel.send({"type": "error", "text": text, "code": 2 if wrong_use else 4})
    except (Closed, TimeoutError, WireError):
        pass


def _end_with_engine(grace_s: float) -> None:
    """End the process some seconds after the engine is gone, even if the agent never comes back.

    Standard input is a pipe that the engine holds open and never writes to.
    """
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    time.sleep(grace_s)
    os._exit(1)
