"""Agents of no paper (``human``, ``keep_lane``, ``random``, ``rule_based``) and parts that methods share.

Each agent has a module of its own, so that naming one imports that one only.
"""
