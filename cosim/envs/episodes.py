"""Episodes one after another: seeds, and which process simulates them.

libsumo allows one simulation a process.  The first environment takes it; one that finds it taken gets a worker
process, and its caller sees no difference.  Both kinds of environment (:mod:`cosim.envs.parallel`,
:mod:`cosim.envs.slots`) stand on this.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cosim.envs.session import Seat, Session, Simulated, Turn, take_seat
from cosim.envs.worker import WorkerSession
from cosim.errors import AgentError, ScenarioError
from cosim.lockstep.protocol import Actions, check_actions
from cosim.randomness import stream_key
from cosim.registry import load_plugins
from cosim.scenario import Scenario, load_scenario
from cosim.traffic.backend import libsumo_is_free


def episode_seed(seed: int, episode: int) -> int:
    """Return the seed of an episode: *seed* itself for episode 0, then keyed draws of 63 bits."""
    return stream_key(seed, "episode", episode) >> 1 if episode else seed


class Episodes:
    """The episodes of one task; arguments as :func:`cosim.parallel_env`."""

    def __init__(
        self,
        scenario: Scenario | str | Path,
        overrides: Sequence[str] = (),
        *,
        task: str | None = None,
        seed: int | None = None,
        warmup: float | str | None = None,
        backend: str | None = None,
        worker: bool | None = None,
        plugins: Sequence[str] = (),
    ) -> None:
        load_plugins(plugins)
        changes = [*overrides, *([] if warmup is None else [f"warmup={warmup}"])]
        if isinstance(scenario, Scenario):
            whole = scenario.with_overrides(changes) if changes else scenario
        else:
            whole = load_scenario(scenario, changes)
        self.seat: Seat = take_seat(whole, task)
        self._backend = backend
        self._uses_libsumo = (backend or whole.traffic.backend) == "libsumo"
        self._worker = worker
        self._seed = whole.seed if seed is None else _checked(seed)
        self._episode = -1
        self._session: Simulated | None = None
        self._closing: weakref.finalize[..., Episodes] | None = None
        self.turn: Turn | None = None
        """Where the running episode stands; None before the first reset and after closing."""

    @property
    def seed(self) -> int:
        """The seed of the running episode, which ``cosim run --seed`` takes too."""
        return episode_seed(self._seed, max(0, self._episode))

    @property
    def in_worker(self) -> bool:
        """Whether the running episode is simulated in a process of its own."""
        return isinstance(self._session, WorkerSession)

    def reset(self, seed: int | None = None, *, keep_traffic: bool = False) -> Turn:
        """Begin an episode and return its first turn.

        A *seed* begins a new series: this episode has that seed and those after it without one follow from it.
        With *keep_traffic* the road stays as it is (no seed then); AgentError if nothing is running.
        """
        if keep_traffic:
            if seed is not None:
                raise AgentError(
                    "reset(): keep_traffic goes on with the running traffic, so it takes no seed"
                )
            if self._session is None or self.turn is None:
                raise AgentError("reset(): there is no running traffic to keep")
            return self._advance(self._session.go_on)
        if seed is not None:
            self._seed, self._episode = _checked(seed), 0
        else:
            self._episode += 1
        session = self._seated()
        return self._advance(lambda: session.reset(self.seed, self._episode))

    def step(self, values: NDArray[Any]) -> Turn:
        """Answer the batch that waits; AgentError if *values* are not an answer to it, then nothing happened."""
        session, turn = self._running()
        checked = check_actions(Actions(values), self.seat.role.action, turn.now.active, "step()")
        return self._advance(lambda: session.step(checked.values))

    def metrics(self) -> dict[str, float | None]:
        """Return the task's metrics since the warm-up, SI; AgentError before the first reset."""
        if self._session is None or self.turn is None:
            raise AgentError("the environment is not running: call reset() first")
        return self._session.metrics()

    def close(self) -> None:
        """End the simulation and the worker; may be called again, and reset() may follow."""
        self.turn = None
        self._session = None
        if self._closing is not None:
            self._closing()
            self._closing = None

    # -- inside --

    def _running(self) -> tuple[Simulated, Turn]:
        if self._session is None or self.turn is None:
            raise AgentError("the environment is not running: call reset() first")
        if self.turn.over:
            raise AgentError("the episode is over: call reset() first")
        return self._session, self.turn

    def _advance(self, how: Any) -> Turn:
        try:
            turn: Turn = how()
        except ScenarioError as error:
            self.close()
            raise self.seat.scenario.locate_error(error) from None
        except BaseException:
            self.close()
            raise
        self.turn = turn
        return turn

    def _seated(self) -> Simulated:
        """Return a session that can start a simulation: the one there is, or a new one where there is room."""
        self.turn = None
        session = self._session
        if isinstance(session, Session) and self._uses_libsumo:
            session.stop()  # gives libsumo back, so that the question below is about others
        elsewhere = self._worker
        if elsewhere is None:
            elsewhere = self._uses_libsumo and not libsumo_is_free()
        if session is None or (elsewhere and isinstance(session, Session)):
            self.close()
            session = (WorkerSession if elsewhere else Session)(self.seat, self._backend)
            self._session = session
            # Also run when this object is forgotten without close(), and at the interpreter's end.
            self._closing = weakref.finalize(self, session.close)
        return session


def _checked(seed: int) -> int:
    if not 0 <= int(seed) < 2**63:
        raise ScenarioError(f"a seed is a whole number from 0 to 2^63 - 1, got {seed}")
    return int(seed)
