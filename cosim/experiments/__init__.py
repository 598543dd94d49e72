"""Experiments: many runs at once, trainings, and the papers' tables and figures.

``grid`` says which runs a batch is made of, ``grid_file`` and ``axes`` read what users write, ``batches`` runs them,
``pool`` keeps worker processes busy, ``batch_worker`` is what such a process does, ``ray_pool`` puts them on a Ray
cluster (``ray_cluster`` connects), ``results`` makes tables of what came out.  ``papers`` is the registry of the
papers' items with the verdicts, ``claims`` what papers say in words, ``reproduction`` runs one.  ``training`` trains
an agent: ``crew`` are its workers (``worker``, ``ray_worker``), ``rollout`` and ``windows`` what they collect,
``train_config`` says what it is asked to do, ``curve``, ``checkpoint`` and ``train_files`` what it writes.  ``tapes``
records traffic for tasks that need no SUMO (``tape_worker``: one process of it).  Everything is imported when it is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosim.experiments.batches import BatchOptions as BatchOptions
    from cosim.experiments.batches import BatchResult as BatchResult
    from cosim.experiments.batches import batch as batch
    from cosim.experiments.grid import Cell as Cell
    from cosim.experiments.grid import Grid as Grid
    from cosim.experiments.grid import Group as Group
    from cosim.experiments.grid_file import read_grid as read_grid
    from cosim.experiments.reproduction import Reproduced as Reproduced
    from cosim.experiments.reproduction import reproduce as reproduce

_WHERE = {
    "BatchOptions": "batches",
    "BatchResult": "batches",
    "Cell": "grid",
    "Grid": "grid",
    "Group": "grid",
    "Reproduced": "reproduction",
    "batch": "batches",
    "read_grid": "grid_file",
    "reproduce": "reproduction",
}

__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
