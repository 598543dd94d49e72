"""SUMO, spoken to through libsumo (in this process) or TraCI (a SUMO of its own, with or without a window).

Both give the same small surface, :class:`Backend`: bare functions for what the bridge calls each step.  libsumo's
own wrappers cost 50 ns a call, so the functions behind them are taken; TraCI costs 25 us a call, so there a
subscription brings all vehicles' values with the step.  The values are the same doubles either way.

One libsumo simulation can live in a process; :func:`claim` keeps count and a second start is a TrafficError.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cosim.errors import TrafficError
from cosim.traffic.programs import error_in, in_one_line, last_error, sumo_binary

READ_VARS = (0x43, 0x40, 0x72, 0x56, 0x39, 0x51)
"""TraCI codes read of each vehicle: angle, speed, acceleration, lane position, position (3-D), lane id."""

# TraCI codes of the simulation's lists of ids (and collisions) of the last step.
_DEPARTED, _ARRIVED, _COLLISIONS, _TELEPORTS, _TELEPORTED = 0x74, 0x7A, 0x23, 0x76, 0x78

_START_S, _GOODBYE_S = 30.0, 1.0
# Words of failures that may be gone at the next attempt: a port just taken, an X server that is restarting.
_PASSING = ("bind", "open display")
ERROR_LOG = "--error-log"
QUIT_AT_END = "--quit-on-end"
"""sumo-gui's option that closes its window with the connection."""

_lock = threading.Lock()
_libsumo_owner: object | None = None


def libsumo_is_free() -> bool:
    """Whether a libsumo simulation can be started in this process now."""
    return _libsumo_owner is None


def claim(owner: object) -> None:
    """Reserve this process's libsumo for *owner*; TrafficError if another simulation lives."""
    global _libsumo_owner
    with _lock:
        if _libsumo_owner is not None:
            raise TrafficError(
                "a libsumo simulation is already running in this process: close it first, use backend: traci,"
                " or start the second one in a process of its own"
            )
        _libsumo_owner = owner


def release(owner: object) -> None:
    """Give libsumo back; does nothing if *owner* does not hold it."""
    global _libsumo_owner
    with _lock:
        if _libsumo_owner is owner:
            _libsumo_owner = None


@contextmanager
def _stderr_into(file: int) -> Iterator[None]:
    """Let this process's standard error, also what libsumo's C++ prints there, go into an open file."""
    sys.stderr.flush()
    try:
        before = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    try:
        os.dup2(file, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


Values = tuple[NDArray[np.float64], NDArray[np.float64], Sequence[str]]
"""(4, n) angle, speed, acceleration, lane position; (n, 3) position; n lane ids."""


class Backend(Protocol):
    """What the bridge needs of SUMO.  ``api`` is the libsumo or traci module (connection) for rare calls."""

    name: str
    api: Any
    fatal: tuple[type[BaseException], ...]
    error: tuple[type[BaseException], ...]

    def step(self) -> None:
        """Advance one step."""

    def departed(self) -> Sequence[str]:
        """Ids that entered in the last step."""

    def arrived(self) -> Sequence[str]:
        """Ids that left at the end of their route in the last step."""

    def collisions(self) -> Sequence[Any]:
        """SUMO's collision objects of the last step (repeated for as long as a contact lasts)."""

    def teleports(self) -> Sequence[str]:
        """Ids that SUMO took off the road to teleport them."""

    def teleported(self) -> Sequence[str]:
        """Ids that came back from a teleport."""

    def watch(self, vehicle: str) -> None:
        """Begin reading a vehicle that entered."""

    def unwatch(self, vehicle: str) -> None:
        """Stop reading a vehicle that is about to be removed."""

    def read(self, ids: Sequence[str]) -> Values:
        """Return the values of *ids* (n > 0)."""

    def last_words(self) -> str:
        """Return SUMO's last error line, or an empty string."""

    def close(self) -> None:
        """End SUMO; never raises."""


class LibsumoBackend:
    """libsumo in this process."""

    name = "libsumo"

    def __init__(self, arguments: Sequence[str], seed_owner: object) -> None:
        claim(seed_owner)
        self._owner = seed_owner
        self._log_path = Path(arguments[arguments.index(ERROR_LOG) + 1]) if ERROR_LOG in arguments else None
        try:
            import libsumo
            import libsumo._libsumo as raw

            self.api: Any = libsumo
            self.error: tuple[type[BaseException], ...] = (libsumo.TraCIException,)
            self.fatal: tuple[type[BaseException], ...] = (libsumo.FatalTraCIError,)
            with tempfile.TemporaryFile() as said:
                try:
                    with _stderr_into(said.fileno()):
                        libsumo.start(["sumo", *arguments])
                except Exception as why:
                    said.seek(0)
                    words = error_in(said.read().decode(errors="replace")) or in_one_line(why)
                    raise TrafficError(f"SUMO could not be started: {words}") from why
        except BaseException:
            release(seed_owner)
            raise
        self.step: Callable[[], None] = partial(raw.simulation_step, 0.0)
        self.departed: Callable[[], Sequence[str]] = raw.simulation_getDepartedIDList
        self.arrived: Callable[[], Sequence[str]] = raw.simulation_getArrivedIDList
        self.collisions: Callable[[], Sequence[Any]] = raw.simulation_getCollisions
        self.teleports: Callable[[], Sequence[str]] = raw.simulation_getStartingTeleportIDList
        self.teleported: Callable[[], Sequence[str]] = raw.simulation_getEndingTeleportIDList
        self._angle = raw.vehicle_getAngle
        self._speed = raw.vehicle_getSpeed
        self._accel = raw.vehicle_getAcceleration
        self._lane_position = raw.vehicle_getLanePosition
        self._position = raw.vehicle_getPosition3D
        self._lane = raw.vehicle_getLaneID

    def watch(self, vehicle: str) -> None:
        """Nothing to do: libsumo is asked directly."""

    def unwatch(self, vehicle: str) -> None:
        """Nothing to do: libsumo is asked directly."""

    def read(self, ids: Sequence[str]) -> Values:
        values = np.array(
            [
                *map(self._angle, ids),
                *map(self._speed, ids),
                *map(self._accel, ids),
                *map(self._lane_position, ids),
            ]
        )
        n = len(ids)
        xyz = np.fromiter(chain.from_iterable(map(self._position, ids)), np.float64, 3 * n)
        return values.reshape(4, n), xyz.reshape(n, 3), list(map(self._lane, ids))

    def last_words(self) -> str:
        return last_error(self._log_path)

    def close(self) -> None:
        if _libsumo_owner is not self._owner:
            return
        try:
            self.api.close()
        except Exception:
            pass
        finally:
            release(self._owner)


class TraciBackend:
    """A SUMO process of its own over a loopback socket; with ``gui`` it has a window."""

    name = "traci"

    def __init__(self, arguments: Sequence[str], *, gui: bool, log: Path | None) -> None:
        import traci
        from sumolib.miscutils import getFreeSocketPort

        self.error: tuple[type[BaseException], ...] = (traci.TraCIException,)
        self.fatal: tuple[type[BaseException], ...] = (traci.FatalTraCIError, OSError)
        binary = sumo_binary("sumo-gui" if gui else "sumo")
        self._log = open(log, "ab") if log else open(os.devnull, "ab")  # noqa: SIM115 - lives as long as SUMO
        self._log_path = log
        self.gui = gui
        self._stays = gui and QUIT_AT_END not in arguments
        connection = None
        for attempt in range(3):  # another program may take the free port before SUMO does
            port = getFreeSocketPort()
            self.process = subprocess.Popen(
                [binary, *arguments, "--remote-port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C reaches cosim alone, which then closes SUMO tidily
            )
            try:
                connection = _connect(port, self.process)
                # SUMO reads its net after it has taken the connection: only an answer says that it runs.
                connection.simulation.subscribe((_DEPARTED, _ARRIVED, _COLLISIONS, _TELEPORTS, _TELEPORTED))
                break
            except BaseException as why:
                self.process.kill()
                self.process.wait()
                if not isinstance(why, (*self.fatal, traci.TraCIException)):
                    self._log.close()
                    raise
                if attempt == 2 or not any(w in self.last_words() for w in _PASSING):
                    self._log.close()
                    words = self.last_words()
                    raise TrafficError(f"SUMO could not be started: {words or in_one_line(why)}") from why
        assert connection is not None
        if not gui:  # sumo-gui may be paused for hours, in the middle of an exchange
            connection._sendCmd = _whole(connection._sendCmd)
        self.api: Any = connection
        self._vehicle = connection.vehicle
        self._news: dict[int, Any] = {}

    def last_words(self) -> str:
        return last_error(self._log_path)

    def step(self) -> None:
        self.api.simulationStep()
        self._news = self.api.simulation.getSubscriptionResults()

    def _list(self, code: int) -> Sequence[Any]:
        found: Sequence[Any] = self._news.get(code, ())
        return found

    def departed(self) -> Sequence[str]:
        return self._list(_DEPARTED)

    def arrived(self) -> Sequence[str]:
        return self._list(_ARRIVED)

    def collisions(self) -> Sequence[Any]:
        return self._list(_COLLISIONS)

    def teleports(self) -> Sequence[str]:
        return self._list(_TELEPORTS)

    def teleported(self) -> Sequence[str]:
        return self._list(_TELEPORTED)

    def watch(self, vehicle: str) -> None:
        self._vehicle.subscribe(vehicle, READ_VARS)

    def unwatch(self, vehicle: str) -> None:
        self._vehicle.unsubscribe(vehicle)

    def read(self, ids: Sequence[str]) -> Values:
        results = self._vehicle.getAllSubscriptionResults()
        rows = [results[i] for i in ids]
        values = np.array([[row[code] for row in rows] for code in READ_VARS[:4]])
        xyz = np.array([row[READ_VARS[4]] for row in rows], dtype=np.float64)
        return values, xyz, [row[READ_VARS[5]] for row in rows]

    def window_closed(self) -> bool:
        """Whether the user closed the window: the connection broke, and SUMO ended of its own accord."""
        try:
            return self.process.wait(timeout=2) == 0
        except subprocess.TimeoutExpired:
            return False

    def leave(self) -> subprocess.Popen[bytes]:
        """End the simulation but leave the window, if it stays, to the user."""
        # In a thread, because an answer that Ctrl-C cut short leaves traci waiting for bytes that never come.
        goodbye = threading.Thread(target=self._say_goodbye, daemon=True)
        goodbye.start()
        goodbye.join(timeout=_GOODBYE_S)
        self._log.close()
        return self.process

    def _say_goodbye(self) -> None:
        try:
            self.api.close(False)
        except Exception:
            pass

    def close(self) -> None:
        end_window(self.leave(), 0.5 if self._stays else 10.0)


def _connect(port: int, process: subprocess.Popen[bytes]) -> Any:
    """Return the connection as soon as SUMO listens; traci's own retries would each print a line."""
    import traci

    give_up = time.monotonic() + _START_S
    while True:
        try:
            return traci.connect(port, numRetries=0, proc=process)
        except traci.FatalTraCIError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


class _Exchange:
    """Whether an exchange with a SUMO process is under way, and whether it shall be the last."""

    under_way = False
    interrupted = False


def interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt: at once, or as soon as the exchange with SUMO that is under way is over.

    An answer read by half would leave the connection useless, also for closing SUMO tidily.  A second call is not
    held back.  Fit to be a signal's handler.
    """
    if _Exchange.under_way and not _Exchange.interrupted:
        _Exchange.interrupted = True
        return
    raise KeyboardInterrupt


def _whole(exchange: Callable[..., Any]) -> Callable[..., Any]:
    """Return *exchange* so that :func:`interrupt` meanwhile takes effect after it."""

    def whole(*arguments: Any) -> Any:
        _Exchange.under_way = True
        try:
            return exchange(*arguments)
        finally:
            _Exchange.under_way = False
            if _Exchange.interrupted:
                _Exchange.interrupted = False
                raise KeyboardInterrupt

    return whole


def end_window(process: subprocess.Popen[bytes], patience_s: float = 0.0) -> None:
    """End a SUMO whose connection is closed, and wait for it; it may end by itself within *patience_s*.

    sumo-gui shows a question when its simulation is over and completes SUMO's own outputs only as it quits, which
    an interrupt makes it do.
    """
    give_up = time.monotonic() + patience_s + 5.0
    while time.monotonic() < give_up:
        try:
            process.wait(timeout=patience_s or 0.01)
            return
        except subprocess.TimeoutExpired:
            patience_s = 0.5
            process.send_signal(signal.SIGINT) if os.name == "posix" else process.terminate()
    process.kill()
    process.wait()
