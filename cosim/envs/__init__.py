"""Tasks as environments: the engine of ``cosim run``, answered by whoever calls ``step()``.

:func:`parallel_env` gives a PettingZoo ParallelEnv whose agents are the vehicles, coming and going;
:func:`gym_env` a Gymnasium Env that shows one learner all vehicles in fixed slots.  ``session`` is one simulation
that waits for answers, ``worker`` the same in another process, ``episodes`` seeds and which of the two,
``spaces`` the Gymnasium spaces of a role; ``parallel`` and ``slots`` are the two environments.
"""

from cosim.envs.episodes import Episodes, episode_seed
from cosim.envs.parallel import ParallelTaskEnv, parallel_env
from cosim.envs.slots import SlotsEnv, gym_env

__all__ = ["Episodes", "ParallelTaskEnv", "SlotsEnv", "episode_seed", "gym_env", "parallel_env"]
