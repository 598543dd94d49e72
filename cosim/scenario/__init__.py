"""Scenario files: schema, loading (``extends``, ``--set``), units, and messages with file and line.

``load_scenario(name)`` gives a frozen :class:`Scenario`; a section that another part of cosim knows
(``network``, a task's options) stays plain data until ``Scenario.parse`` reads it with that part's own
pydantic model, which should derive from :class:`Section` and take its numbers from ``cosim.scenario.units`` (or, where
they may be drawn, ``spans``).

``load`` finds and loads (``source`` is YAML with the place of every key, ``messages`` are pydantic's findings in a
user's words), ``schema`` is the whole scenario, with ``traffic``, ``vehicles``, ``replay`` and ``sumo_options`` as
parts; ``base`` is what every section stands on.
"""

from cosim.scenario.base import KeyedError, Section, Whole
from cosim.scenario.load import find_scenario, list_scenarios, load_scenario
from cosim.scenario.replay import ReplayConfig
from cosim.scenario.schema import RecordConfig, Scenario, TaskConfig, scenario_from_resolved
from cosim.scenario.traffic import (
    DepartConfig,
    InflowConfig,
    OutputsConfig,
    SumoConfig,
    TimeDraw,
    TrafficConfig,
    VehicleGroupConfig,
)
from cosim.scenario.vehicles import SUMO_MODELS, VehicleTypeConfig

__all__ = [
    "SUMO_MODELS",
    "DepartConfig",
    "InflowConfig",
    "KeyedError",
    "OutputsConfig",
    "RecordConfig",
    "ReplayConfig",
    "Scenario",
    "Section",
    "SumoConfig",
    "TaskConfig",
    "TimeDraw",
    "TrafficConfig",
    "VehicleGroupConfig",
    "VehicleTypeConfig",
    "Whole",
    "find_scenario",
    "list_scenarios",
    "load_scenario",
    "scenario_from_resolved",
]
