"""Where tasks and agents meet: the protocol of questions and answers, and the hosts that agents run in.

``protocol`` has the arrays that flow, ``inline`` and ``process`` the two kinds of host, ``launch`` the
operating-system side of a process, ``wire`` and ``messages`` the format between processes (``docs/wire.md``),
``client`` and ``worker`` the agent's end of it, ``registry`` agents by name, ``learner`` what training needs.
"""

from cosim.lockstep.client import log, serve
from cosim.lockstep.hosts import open_host
from cosim.lockstep.inline import InlineHost
from cosim.lockstep.learner import Decision, Learner, LearnerState, Rows, Transitions, rows
from cosim.lockstep.process import ProcessHost
from cosim.lockstep.protocol import (
    LEAVE_IT,
    Actions,
    ActionSpec,
    Agent,
    AgentHost,
    EpisodeInfo,
    Observations,
    RoleSpec,
    check_actions,
)
from cosim.lockstep.registry import (
    AGENTS,
    AgentSpec,
    check_spec,
    create_agent,
    find_weights,
    parse_agent_option,
    register_agent,
)

__all__ = [
    "AGENTS",
    "LEAVE_IT",
    "ActionSpec",
    "Actions",
    "Agent",
    "AgentHost",
    "AgentSpec",
    "Decision",
    "EpisodeInfo",
    "InlineHost",
    "Learner",
    "LearnerState",
    "Observations",
    "ProcessHost",
    "RoleSpec",
    "Rows",
    "Transitions",
    "check_actions",
    "check_spec",
    "create_agent",
    "find_weights",
    "log",
    "open_host",
    "parse_agent_option",
    "register_agent",
    "rows",
    "serve",
]
