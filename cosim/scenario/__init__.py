"""Scenario files: schema, loading (``extends``, ``--set``), units, and messages with file and line."""
