"""Several environments in one process: the first takes libsumo, others have a worker, and nobody can tell."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cosim
from cosim.envs import ParallelTaskEnv
from cosim.envs.worker import WorkerSession
from cosim.errors import TrafficError
from cosim.traffic.backend import libsumo_is_free

CROWD = ("traffic.inflow.cav_share=1", "tasks.driving.episode=250")

Opener = Callable[..., ParallelTaskEnv]


@pytest.fixture
def open_env() -> Iterator[Opener]:
    opened: list[ParallelTaskEnv] = []

    def open_one(*overrides: str, **options: Any) -> ParallelTaskEnv:
        opened.append(cosim.parallel_env("highway_350vph", overrides, **{"warmup": 0, **options}))
        return opened[-1]

    yield open_one
    for env in opened:
        env.close()


def worker_pid(env: ParallelTaskEnv) -> int:
    session = env._episodes._session
    assert isinstance(session, WorkerSession)
    return session.pid


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether the process has ended (a zombie has)."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def told(step: Any) -> list[Any]:
    """Everything that step() or reset() gave, as bytes and plain values."""
    if isinstance(step, dict):
        return [(key, told(value)) for key, value in step.items()]
    if isinstance(step, tuple):
        return [told(part) for part in step]
    if isinstance(step, np.ndarray):
        return [step.dtype, step.shape, step.tobytes()]
    return [type(step), step]


def test_two_environments_at_once_give_the_same_bytes_in_this_process_and_in_a_worker(
    open_env: Opener,
) -> None:
    here, there = open_env(*CROWD), open_env(*CROWD)
    assert told(here.reset(seed=4)) == told(there.reset(seed=4))
    assert (here.in_worker, there.in_worker) == (False, True)
    rng = np.random.default_rng(0)
    while here.agents:
        assert here.agents == there.agents
        actions = {name: int(rng.integers(9)) for name in here.agents}
        assert told(here.step(actions)) == told(there.step(actions))
        assert here.possible_agents == there.possible_agents
    assert here.metrics() == there.metrics()
    assert told(here.reset()) == told(there.reset())
    keep = {"keep_traffic": True}
    assert told(here.reset(options=keep)) == told(there.reset(options=keep))


def test_an_environment_over_traci_needs_no_worker(open_env: Opener) -> None:
    first, second = open_env(*CROWD), open_env(*CROWD, backend="traci")
    assert told(first.reset(seed=4)) == told(second.reset(seed=4))
    assert not second.in_worker
    for _ in range(20):
        actions = dict.fromkeys(first.agents, 5)
        assert told(first.step(actions)) == told(second.step(actions))


def test_a_second_environment_that_may_have_no_worker_is_refused(open_env: Opener) -> None:
    open_env().reset()
    with pytest.raises(TrafficError, match="already running in this process"):
        open_env(worker=False).reset()


def test_libsumo_is_taken_again_when_it_was_lost_to_another(open_env: Opener) -> None:
    first, second = open_env(), open_env()
    first.reset(seed=1)
    first.close()
    second.reset(seed=1)
    first.reset(seed=1)
    assert (first.in_worker, second.in_worker) == (True, False)


def test_a_killed_worker_is_an_error_of_its_own_environment_and_a_reset_starts_another(
    open_env: Opener,
) -> None:
    envs = [open_env(*CROWD) for _ in range(3)]
    before = [told(env.reset(seed=seed)) for seed, env in enumerate(envs)]
    assert [env.in_worker for env in envs] == [False, True, True]
    os.kill(worker_pid(envs[1]), signal.SIGKILL)
    with pytest.raises(TrafficError, match="worker process was killed by signal SIGKILL"):
        envs[1].step(dict.fromkeys(envs[1].agents, 4))
    for env in (envs[0], envs[2]):
        env.step(dict.fromkeys(env.agents, 4))
    assert told(envs[1].reset(seed=1)) == before[1]


def test_closing_or_forgetting_an_environment_ends_its_worker() -> None:
    pids = []
    for close in (True, False):
        env = cosim.parallel_env("highway_350vph", warmup=0, worker=True)
        env.reset()
        pids.append(worker_pid(env))
        if close:
            env.close()
        del env
        gc.collect()
    assert all(gone(pid) for pid in pids)
    assert libsumo_is_free()


def script(tmp_path: Path, *lines: str) -> Path:
    """Write a user's script with no ``if __name__ == "__main__"``, two environments, and then *lines*."""
    file = tmp_path / "mine.py"
    head = """
        import os, signal
        import cosim
        envs = [cosim.parallel_env("highway_350vph", warmup=0) for _ in range(2)]
        for env in envs:
            env.reset(seed=3)
        print(envs[1]._episodes._session.pid, envs[0].agents == envs[1].agents, flush=True)
    """
    file.write_text(textwrap.dedent(head) + "\n".join(lines) + "\n")
    return file


def test_a_script_that_forgets_to_close_ends_and_takes_its_workers_along(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, script(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    pid, same = done.stdout.split()
    assert same == "True"
    assert done.stderr == ""
    assert gone(int(pid))


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    file = script(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert gone(int(done.stdout.split()[0]))
