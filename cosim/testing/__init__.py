"""Compliance checks shipped to users: run them on agents (and tasks, scenarios) of your own."""

from cosim.testing.agents import check_agent

__all__ = ["check_agent"]
