"""Compliance checks shipped to users: run them on agents, tasks and scenarios of your own.

``agents`` asks an agent without SUMO (``migration``: about that task's vehicles), ``tasks`` drives a task on real
traffic (``probe`` watches it, ``twin`` shows it the same road under other names), ``scenarios`` runs a scenario and
compares the bytes.
"""

from cosim.testing.agents import check_agent
from cosim.testing.scenarios import check_scenario
from cosim.testing.tasks import check_task

__all__ = ["check_agent", "check_scenario", "check_task"]
