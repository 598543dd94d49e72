"""An agent process that goes wrong in the way its argument names, some from the fifth answer on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cosim.lockstep import Actions, EpisodeInfo, Observations, client, serve
from cosim.lockstep.wire import Array, Channel, connected

MODE = sys.argv[1]
GOOD_ANSWERS = 4


class Misbehaving:
    def __init__(self) -> None:
        self.answers = 0

    def reset(self, info: EpisodeInfo) -> None:
        if MODE == "raise at reset":
            raise ValueError("no such\nlayer")

    def act(self, observations: Observations) -> Actions:
        self.answers += 1
        n = observations.active
        if self.answers <= GOOD_ANSWERS:
            return Actions(np.full(n, 4))
        return self.misbehave(n)

    def misbehave(self, n: int) -> Actions:
        match MODE:
            case "raise":
                raise ValueError("the sky is falling")
            case "exit":
                print("leaving now", file=sys.stderr)
                os._exit(7)
            case "hang":
                print("thinking hard")
                time.sleep(60)
            case "busy":
                while True:
                    pass
            case "shape":
                return Actions(np.zeros(n + 1, dtype=np.int64))
            case "nan":
                return Actions(np.full(n, np.nan))
            case "range":
                return Actions(np.full(n, 9))
            case "fraction":
                return Actions(np.full(n, 1.5))
            case "notes":
                return Actions(np.full(n, 4), {"value": np.zeros(n + 2)})
            case "chatter":
                print("x" * 1_000_000)
            case "log":
                client.log("half way", "warning")
            case "log for ever":
                while True:
                    client.log("still here")
            case "child":
                subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        return Actions(np.full(n, 4))

    def close(self) -> None:
        if MODE == "slow close":
            time.sleep(0.1)
            Path(os.environ["CLOSED_FILE"]).write_text("closed")
        if MODE == "no close":
            time.sleep(60)


class CorruptChannel(Channel):
    """Sends good frames, but a corrupt one in the place of the fifth answer."""

    answers = 0

    def send(self, header: dict[str, object], arrays: dict[str, Array] | None = None) -> None:  # type: ignore[override]
        if header["type"] == "actions":
            CorruptChannel.answers += 1
            if self.answers > GOOD_ANSWERS:
                header, arrays = self.corrupt(header, dict(arrays or {}))
        if header:
            super().send(header, arrays)

    def corrupt(
        self, header: dict[str, object], arrays: dict[str, Array]
    ) -> tuple[dict[str, object], dict[str, Array]]:
        nothing: tuple[dict[str, object], dict[str, Array]] = {}, {}
        match MODE:
            case "garbage":
                self._sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 4)
                return nothing
            case "huge":
                self._sock.sendall(b"CSM1" + b"\xf8\xff\xff\xff" * 3)
                return nothing
            case "half":
                self._sock.sendall(b"CSM1" + b"\x08\0\0\0" + bytes(8) + b"{}")
                return nothing
            case "wrong instant":
                return {**header, "t_us": 5}, arrays
            case "wrong ids":
                return header, {**arrays, "ids": ("v0", "v2", "v1")}
            case "right ids":
                return header, {**arrays, "ids": ("v0", "v1", "v2")}
            case "no values":
                return header, {}
            case "hang up":
                self._sock.close()
                time.sleep(60)
        return header, arrays


def main() -> None:
    address = os.environ[client.ADDRESS]
    match MODE:
        case "wrong token":
            os.environ[client.TOKEN] = "0" * 64
        case "old version":
            client.VERSION = 99  # type: ignore[attr-defined]
        case "never connects":
            time.sleep(60)
        case "garbage hello":
            connected(address).sendall(b"GET / HTTP/1.1\r\n\r\n")
            sys.exit("giving up")
        case "strangers first":
            for stranger in (connected(address), connected(address)):
                stranger.sendall(b"CSM1" + b"\xff" * 12)
                stranger.shutdown(socket.SHUT_WR)
    client.Channel = CorruptChannel  # type: ignore[misc, attr-defined]
    serve(Misbehaving)


if __name__ == "__main__":
    main()
