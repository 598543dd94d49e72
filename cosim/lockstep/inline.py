"""An agent inside the engine's own process: no socket, no deadline, the quickest way to ask.

Batches and trainings run agents so.  An agent answers the same here and in a process of its own; what it
raises becomes an AgentError, as there.
"""

from __future__ import annotations

import sys

from cosim.errors import AgentError, CosimError
from cosim.lockstep.protocol import Actions, ActionSpec, Agent, EpisodeInfo, Observations, check_actions


class InlineHost:
    """Satisfies :class:`~cosim.lockstep.protocol.AgentHost` with a plain call."""

    def __init__(self, agent: Agent, name: str, task: str) -> None:
        self.name = name
        self.task = task
        self._agent = agent
        self._closed = False
        self._specs: dict[str, ActionSpec] = {}

    def reset(self, info: EpisodeInfo) -> None:
        """Hand the episode to the agent; AgentError if it fails."""
        self._specs = {name: role.action for name, role in info.roles.items()}
        try:
            self._agent.reset(info)
        except CosimError:
            raise
        except Exception as error:
            raise AgentError(f"{who(self.name, self.task)} failed at reset: {described(error)}") from error
        one_torch_thread()

    def act(self, observations: Observations) -> Actions:
        """Return the agent's checked answer; AgentError if it fails or gives no answer."""
        try:
            actions = self._agent.act(observations)
        except CosimError:
            raise
        except Exception as error:
            raise AgentError(
                f"{who(self.name, self.task)} failed at t = {observations.t_us / 1e6:g} s: {described(error)}"
            ) from error
        spec = self._specs[observations.role]
        return check_actions(actions, spec, observations.active, who(self.name, self.task))

    def close(self) -> None:
        """Close the agent; never raises."""
        if not self._closed:
            self._closed = True
            try:
                self._agent.close()
            except Exception as error:
                print(f"{who(self.name, self.task)} failed at close: {described(error)}", file=sys.stderr)


def who(name: str, task: str) -> str:
    """Return how messages name an agent."""
    return f"agent '{name}' of task '{task}'"


def described(error: BaseException) -> str:
    """Return an exception in one line: its type, its text, and the line of code that raised it."""
    text = " ".join(str(error).split())
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {text}{place}"


def one_torch_thread() -> None:
    """Keep torch, if anyone imported it, to one thread: for small networks more are slower.

    Sums then also have the same order wherever the agent runs.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
