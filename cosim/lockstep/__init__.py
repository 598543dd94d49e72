"""Where tasks and agents meet: the protocol of questions and answers, and the hosts that agents run in.

``protocol`` has the arrays that flow, ``inline`` and ``process`` the two kinds of host (``hosts`` opens either),
``launch`` the operating-system side of a process, ``wire`` and ``messages`` the format between processes
(``docs/wire.md``), ``client`` and ``worker`` the agent's end of it, ``registry`` agents by name, ``weights`` trained
policies as files.  What training needs of a method is in ``cosim.lockstep.learner``, imported by name: an agent
process does without it.
"""

from cosim.lockstep.client import log, serve
from cosim.lockstep.hosts import open_host
from cosim.lockstep.inline import InlineHost
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
    "EpisodeInfo",
    "InlineHost",
    "Observations",
    "ProcessHost",
    "RoleSpec",
    "check_actions",
    "check_spec",
    "create_agent",
    "find_weights",
    "log",
    "open_host",
    "parse_agent_option",
    "register_agent",
    "serve",
]
