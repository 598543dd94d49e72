"""A testbed in which real SUMO traffic, a radio and edge network, and learning agents advance in lockstep.

The rooms: ``scenario`` (files, units, messages), ``traffic`` (SUMO, demand, nets), ``network`` (radio, wired links,
edge servers), ``tasks`` (decision problems), ``lockstep`` (agents and their processes), ``recording`` (run
directories), ``engine`` (the loop), ``recorder`` and ``recorded`` (writing a run directory, and answers from one),
``window`` (what sumo-gui shows of a run), ``assembly`` and ``runner`` (a scenario from beginning to end), ``envs``
(PettingZoo and Gymnasium), ``experiments`` (batch, train, reproduce), ``plots``, ``report``, ``testing``, ``cli``.
Below them all: ``errors``, ``clock``, ``randomness`` (draws by key), ``registry`` (parts by name), ``resources``
(files that ship).

What most users need is here::

    import cosim
    result = cosim.run("highway_350vph")
    frames = cosim.load_run(result.dir)
    env = cosim.parallel_env("highway_350vph")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosim.envs import gym_env as gym_env
    from cosim.envs import parallel_env as parallel_env
    from cosim.experiments.batches import BatchOptions as BatchOptions
    from cosim.experiments.batches import BatchResult as BatchResult
    from cosim.experiments.batches import batch as batch
    from cosim.experiments.reproduction import reproduce as reproduce
    from cosim.experiments.training import TrainOptions as TrainOptions
    from cosim.experiments.training import TrainResult as TrainResult
    from cosim.experiments.training import resume_training as resume_training
    from cosim.experiments.training import train as train
    from cosim.recording import load_run as load_run
    from cosim.report import write_report as write_report
    from cosim.runner import RunOptions as RunOptions
    from cosim.runner import RunResult as RunResult
    from cosim.runner import replay as replay
    from cosim.runner import resume as resume
    from cosim.runner import run as run
    from cosim.scenario import load_scenario as load_scenario

__version__ = "0.1.0"

# Imported when first used: `cosim --help` should not wait for polars and pydantic.
_WHERE = {
    "batch": "cosim.experiments.batches",
    "BatchOptions": "cosim.experiments.batches",
    "BatchResult": "cosim.experiments.batches",
    "gym_env": "cosim.envs",
    "load_run": "cosim.recording",
    "load_scenario": "cosim.scenario",
    "parallel_env": "cosim.envs",
    "replay": "cosim.runner",
    "reproduce": "cosim.experiments.reproduction",
    "resume": "cosim.runner",
    "resume_training": "cosim.experiments.training",
    "run": "cosim.runner",
    "write_report": "cosim.report",
    "RunOptions": "cosim.runner",
    "RunResult": "cosim.runner",
    "train": "cosim.experiments.training",
    "TrainOptions": "cosim.experiments.training",
    "TrainResult": "cosim.experiments.training",
}

__all__ = [*_WHERE, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'cosim' has no attribute '{name}'")
