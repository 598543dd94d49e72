"""An agent's operating-system process: started, connected, watched and ended, nothing left behind.

The process is told by its environment where to connect and which token to show.  It has a session of its own
(Ctrl-C in the terminal reaches the engine only), its standard input is a pipe that closes when the engine is
gone, and what it prints goes to a file, so that printing never blocks it and its last words are known.
"""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from cosim.errors import ScenarioError
from cosim.lockstep.client import ADDRESS, LIFELINE, TOKEN
from cosim.lockstep.wire import MAX_HELLO, VERSION, Channel, Closed, WireError, listening

_HELLO_S = 2.0
"""How long someone who connected may take to show the token."""
_GOODBYE_S = 0.2
"""How long a process that is dismissed may take to take note of it."""
_SPIN_S = 200e-6
_WORDS_MAX = 1 << 26
_UNIX_PATH_MAX = 100


class Ended(Exception):
    """The process is gone, or never came; the text says how."""


class AgentProcess:
    """One started process.

    ``log`` keeps what it prints; without it that is held aside and forgotten.  ``grace_s`` is how long the
    process may outlive an engine that is suddenly gone.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: Path | None = None,
        *,
        grace_s: float = 5.0,
        unix: bool = os.name == "posix",
    ) -> None:
        self._grace_s = grace_s
        self._token = secrets.token_hex(32)
        self._refused = ""
        self._kept = log is not None
        with ExitStack() as undo:
            self._folder = Path(tempfile.mkdtemp(prefix="cosim-"))  # mode 0700
            undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            path = str(self._folder / "agent.sock")
            self._server, address = listening(path if unix and len(path) < _UNIX_PATH_MAX else None)
            undo.callback(self._server.close)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._words = os.open(log or self._folder / "words", flags, 0o644)
            undo.callback(os.close, self._words)
            self._process = self._start(argv, address)
            undo.pop_all()

    def _start(self, argv: Sequence[str], address: str) -> subprocess.Popen[bytes]:
        environment = environment_of_agents() | {
            ADDRESS: address,
            TOKEN: self._token,
            LIFELINE: f"{self._grace_s:g}",
        }
        program = shutil.which(argv[0], path=environment["PATH"])
        if program is None:
            raise ScenarioError(f"cannot start an agent with '{argv[0]}': no such program")
        group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        return subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=self._words,
            stderr=self._words,
            env=environment,
            start_new_session=True,
            creationflags=group,
        )

    @property
    def pid(self) -> int:
        """The operating system's number of the process."""
        return self._process.pid

    def connect(self, within_s: float) -> Channel:
        """Wait until the process has connected and shown its token; Ended or TimeoutError if it does not."""
        ends = time.monotonic() + within_s
        self._server.settimeout(0.05)
        while (left := ends - time.monotonic()) > 0:
            try:
                sock, _ = self._server.accept()
            except TimeoutError:
                if self._status() is not None:
                    raise Ended(self.how_it_ended(0.0) + " before it connected" + self._refused) from None
                continue
            channel = Channel(sock, timeout=min(_HELLO_S, left), spin=_SPIN_S)
            if self._is_ours(channel):
                self._server.close()
                if os.name == "posix":  # the open file lives on without its name; nothing to sweep up later
                    shutil.rmtree(self._folder, ignore_errors=True)
                return channel
            channel.close()
        raise TimeoutError(self._refused)

    def _is_ours(self, channel: Channel) -> bool:
        """Read a hello and compare its token; remember why one was refused."""
        try:
            header, _ = channel.receive(limit=MAX_HELLO)
        except (WireError, Closed, TimeoutError) as error:
            self._refused = f" (a connection without a proper hello was refused: {error or 'too late'})"
            return False
        token = header.get("token")
        if header.get("type") != "hello" or not isinstance(token, str):
            self._refused = " (a connection without a hello was refused)"
        elif not hmac.compare_digest(token.encode(), self._token.encode()):
            self._refused = " (a connection with a wrong token was refused)"
        elif header.get("version") != VERSION:
            text = f"wire format version {header.get('version')!r} is not spoken here, {VERSION} is"
            self._refused = f" ({text})"
            try:
                channel.send({"type": "error", "text": text})
            except (Closed, TimeoutError):
                pass
        else:
            return True
        return False

    def how_it_ended(self, wait_s: float) -> str:
        """Say how the process ended, waiting for that a little; an empty string while it lives."""
        status = self._wait(wait_s)
        if status is None:
            return ""
        if status >= 0:
            return f"exited with status {status}"
        try:
            return f"was killed by signal {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"

    def last_words(self, lines: int = 3, characters: int = 400) -> str:
        """Return the last lines that the process printed, in one line."""
        found = [line.strip() for line in self.output().splitlines() if line.strip()]
        words = " | ".join(found[-lines:])
        return words if len(words) <= characters else "… " + words[-characters:]

    def output(self, most: int = 8192) -> str:
        """Return the end of what the process printed."""
        try:
            size = os.lseek(self._words, 0, os.SEEK_END)
            os.lseek(self._words, max(0, size - most), os.SEEK_SET)
            return os.read(self._words, most).decode(errors="replace")
        except OSError:
            return ""

    def trim(self) -> None:
        """Drop what was printed if it is very much and nobody keeps it."""
        if not self._kept and os.fstat(self._words).st_size > _WORDS_MAX:
            os.ftruncate(self._words, 0)

    def end(self, grace_s: float) -> None:
        """End the process and its descendants, after *grace_s* seconds to go by itself; never raises."""
        self._wait(grace_s)
        with suppress(OSError):
            self._kill()
        with suppress(OSError, subprocess.SubprocessError):
            self._process.wait(5.0)
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def dismiss(self, channel: Channel | None, grace_s: float) -> None:
        """Say ``close`` over *channel*, if there is one, and end the process *grace_s* later; never raises."""
        if channel is not None:
            with suppress(Closed, TimeoutError, WireError):
                channel.bound(_GOODBYE_S)
                channel.send({"type": "close"})
            channel.close()
        self.end(grace_s if channel is not None else 0.0)
        self.forget()

    def forget(self) -> None:
        """Close the file of the last words, after :meth:`end`; on Windows only then the folder can go."""
        if self._words >= 0:
            os.close(self._words)
            self._words = -1
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, seconds: float) -> int | None:
        """Wait for the process to end, but leave it to be reaped; return its status, None while it lives."""
        ends, pause = time.monotonic() + seconds, 0.001
        while (status := self._status()) is None and time.monotonic() < ends:
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        return status

    def _status(self) -> int | None:
        """Return the exit status, minus the signal's number if one ended it, None while it lives.

        The process is not reaped here: until it is, its number cannot become another process's, so that
        :meth:`_kill` signals the right group.
        """
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return self._process.poll()
        try:
            found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self._process.poll()
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _kill(self) -> None:
        """Kill the process and its descendants."""
        if os.name != "posix":
            self._process.kill()
        elif self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)


def environment_of_agents() -> dict[str, str]:
    """Return the environment that agents start with.

    The folder of this Python comes first on the path (``python`` in a command is then the one with cosim in
    it), mathematics runs on one thread, strings hash alike in every run; the user's own settings win.
    """
    environment = {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        **os.environ,
    }
    own = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([own, environment.get("PATH", os.defpath)])
    return environment
