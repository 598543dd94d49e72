"""Frames on a local socket: a JSON header and little-endian arrays, nothing that could be executed.

``docs/wire.md`` describes the format byte by byte; this module reads and writes it.  A frame is

    magic "CSM1" | header bytes H | layout bytes L | body bytes B      16 bytes, three uint32, little endian
    header       JSON object: what the message is                      H bytes, padded with spaces
    layout       JSON list: name, dtype, shape, bytes of each array    L bytes, padded with spaces
    body         the arrays, one behind the other                      B bytes, each padded with zero bytes

with each part padded to a multiple of 8.  The layout is a part of its own because it changes only when
vehicles come or go: both ends keep what they made of it last.
"""

from __future__ import annotations

import json
import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

MAGIC = b"CSM1"
VERSION = 1
"""Version of the messages; the first one of a connection names it."""

MAX_HEADER = 1 << 20
MAX_LAYOUT = 1 << 20
MAX_BODY = 1 << 28
"""Largest parts that are accepted (bytes); what claims more is refused before memory is set aside."""
MAX_HELLO = 1 << 14
"""Largest frame accepted of someone who has not shown the token yet."""
MAX_DIMENSIONS = 8

DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "bool": "?",
        "uint8": "u1",
        "int8": "i1",
        "int32": "<i4",
        "uint32": "<u4",
        "int64": "<i8",
        "uint64": "<u8",
        "float32": "<f4",
        "float64": "<f8",
    }.items()
}
"""Element types by their name on the wire; one more, ``str``, is a JSON list of strings."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

_PREFIX = struct.Struct("<4sIII")
_ZEROS = tuple(bytes(n) for n in range(8))
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_TEXT_KEPT = 16


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not allowed")


_READER = json.JSONDecoder(parse_constant=_no_constant)

Array = NDArray[Any] | tuple[str, ...]
"""What an array may be.  Strings arrive as a tuple, sent as one or as an array of kind U."""


class WireError(Exception):
    """What came is not a frame of this format, or breaks its bounds."""


class Closed(Exception):
    """The other end closed the connection (also by dying)."""


class Channel:
    """One connected socket that sends and receives frames.

    ``timeout`` seconds bound each call (None waits for ever); Python's TimeoutError says it was too long.
    For ``spin`` seconds a read asks again and again before it sleeps, giving the processor to whoever wants
    it in between: being woken from sleep costs more than most answers take.
    """

    def __init__(self, sock: socket.socket, timeout: float | None = None, spin: float = 0.0) -> None:
        self._sock = sock
        self._timeout: float | None = None
        self._spin = spin if hasattr(os, "sched_yield") else 0.0
        self._buffer = bytearray(1 << 16)
        self._view = memoryview(self._buffer)
        self._held = 0  # bytes at the start of the buffer that belong to the next frame
        self._texts: dict[int, tuple[Any, bytes]] = {}
        self._strings: dict[bytes, tuple[str, ...]] = {}
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(None)
        self.bound(timeout)

    def bound(self, seconds: float | None) -> None:
        """Let each later call last that many seconds at most."""
        if seconds == self._timeout:
            return
        self._timeout = seconds
        if os.name == "nt":
            self._sock.settimeout(seconds)
            return
        # The kernel's own deadline; Python's settimeout would poll before each read, 25 us of a round trip.
        whole = int(seconds or 0)
        span = struct.pack("ll", whole, max(1, int(((seconds or 0) - whole) * 1e6)) if seconds else 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)

    def close(self) -> None:
        """Close the socket; never raises."""
        try:
            self._sock.close()
        except OSError:
            pass

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        """Send one frame.

        Raises Closed if the other end has gone, TimeoutError if it does not read, and WireError if the
        frame would break the format's bounds.
        """
        head = _padded(_JSON.encode(header).encode())
        parts: list[Any] = [b"", head, b""]
        layout: list[str] = []
        body = 0
        for name, array in (arrays or {}).items():
            data, text = self._array(name, array)
            parts.append(data)
            layout.append(text)
            size = data.nbytes if isinstance(data, np.ndarray) else len(data)
            if size & 7:
                parts.append(_ZEROS[-size & 7])
                size += -size & 7
            body += size
        if layout:
            parts[2] = _padded(("[" + ",".join(layout) + "]").encode())
        if len(head) > MAX_HEADER or len(parts[2]) > MAX_LAYOUT or body > MAX_BODY:
            raise WireError(f"a message of {len(head)} + {len(parts[2])} + {body} bytes is too large")
        parts[0] = _PREFIX.pack(MAGIC, len(head), len(parts[2]), body)
        try:
            self._sock.sendall(b"".join(parts))
        except (TimeoutError, BlockingIOError) as error:
            raise TimeoutError from error
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self, limit: int | None = None) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the next frame's header and arrays (fresh memory that nobody else holds).

        ``limit`` bounds the whole frame in bytes.  Raises Closed, TimeoutError, or WireError.
        """
        ends = None if self._timeout is None else time.monotonic() + self._timeout
        while self._held < 16:
            self._held += self._read(self._view[self._held :], ends)
        magic, head, layout, body = _PREFIX.unpack_from(self._buffer)
        if magic != MAGIC:
            raise WireError(f"a frame begins with {MAGIC!r}, this one with {bytes(magic)!r}")
        total = 16 + head + layout + body
        if head > MAX_HEADER or layout > MAX_LAYOUT or body > MAX_BODY or total > (limit or total):
            raise WireError(f"a frame of {head} + {layout} + {body} bytes is too large")
        if (head | layout | body) & 7:
            raise WireError(f"parts of {head}, {layout} and {body} bytes: each must be a multiple of 8")
        frame = self._frame(total, ends)
        header = _loads(frame[16 : 16 + head])
        if not isinstance(header, dict):
            raise WireError("a header must be a JSON object")
        split = 16 + head + layout
        return header, self._arrays(bytes(frame[16 + head : split]), frame[split:])

    def _frame(self, size: int, ends: float | None) -> memoryview:
        """Collect *size* bytes and give them memory of their own; what came behind them stays held."""
        if size > len(self._buffer):
            frame = memoryview(bytearray(size))
            got = self._held
            frame[:got] = self._view[:got]
            while got < size:
                got += self._read(frame[got:], ends)
            self._held = 0
            return frame
        while self._held < size:
            self._held += self._read(self._view[self._held :], ends)
        frame = memoryview(bytearray(self._view[:size]))
        self._held -= size
        if self._held:
            self._view[: self._held] = bytes(self._view[size : size + self._held])
        return frame

    def _read(self, into: memoryview, ends: float | None) -> int:
        try:
            got = self._spun(into) if self._spin else None
            if got is None:
                got = self._sock.recv_into(into)
        except (TimeoutError, BlockingIOError) as error:
            raise TimeoutError from error
        except OSError as error:
            raise Closed(str(error)) from error
        if not got:
            raise Closed("end of stream")
        if ends is not None and time.monotonic() > ends:
            raise TimeoutError
        return got

    def _spun(self, into: memoryview) -> int | None:
        """Read without sleeping; None if nothing came within the time for that."""
        ends = time.perf_counter() + self._spin
        while time.perf_counter() < ends:
            try:
                return self._sock.recv_into(into, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                os.sched_yield()
        return None

    def _array(self, name: str, array: Array) -> tuple[Any, str]:
        """Return the bytes of one array and its entry in the layout."""
        if isinstance(array, np.ndarray):
            dtype = _NAMES.get(array.dtype)
            if dtype is not None:
                if not array.flags.c_contiguous:
                    array = np.ascontiguousarray(array)
                return array, _entry(name, dtype, array.shape, array.nbytes)
            if array.dtype.kind != "U":
                return self._array(name, _plain(name, array))
        text = self._text(array)
        return text, _entry(name, "str", (len(array),), len(text))

    def _text(self, strings: Array) -> bytes:
        """Return strings as JSON; the text of an object sent again and again is made once."""
        known = self._texts.get(id(strings))
        if known is not None and known[0] is strings:
            return known[1]
        text = _padded(_JSON.encode(strings if isinstance(strings, tuple) else strings.tolist()).encode())
        if isinstance(strings, tuple) or (not strings.flags.writeable and strings.base is None):
            # What could change under our feet is written anew each time.
            if len(self._texts) >= _TEXT_KEPT:
                self._texts.clear()
            self._texts[id(strings)] = (strings, text)
        return text

    def _arrays(self, layout: bytes, body: memoryview) -> dict[str, Array]:
        """Cut the body into arrays as the layout says."""
        entries, total = _layout(layout) if layout else ((), 0)
        if total != len(body):
            raise WireError(f"a layout of {total} bytes for a body of {len(body)}")
        arrays: dict[str, Array] = {}
        for name, dtype, shape, at, size in entries:
            if dtype is None:
                arrays[name] = self._unpack_strings(bytes(body[at : at + size]), name, shape)
            else:
                arrays[name] = np.ndarray(shape, dtype, body, at)
        return arrays

    def _unpack_strings(self, text: bytes, name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
        strings = self._strings.get(text)
        if strings is None:
            found = _loads(text)
            if not isinstance(found, list) or not all(isinstance(s, str) for s in found):
                raise WireError(f"array '{name}': not a JSON list of strings")
            strings = tuple(found)
            if len(self._strings) >= _TEXT_KEPT:
                self._strings.clear()
            self._strings[text] = strings
        if shape != (len(strings),):
            raise WireError(f"array '{name}': {len(strings)} strings for shape {list(shape)}")
        return strings


def _padded(text: bytes) -> bytes:
    return text + b" " * (-len(text) & 7)


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of a type that is not on the wire (float16, big endian …) as one that is."""
    kind = {"f": "<f8", "i": "<i8", "u": "<u8", "b": "?"}.get(array.dtype.kind)
    if kind is None:
        raise WireError(f"array '{name}' has type {array.dtype}, which cannot be sent")
    return array.astype(kind)


@lru_cache(maxsize=4096)
def _entry(name: str, dtype: str, shape: tuple[int, ...], size: int) -> str:
    return _JSON.encode({"name": name, "dtype": dtype, "shape": shape, "bytes": size})


_Entry = tuple[str, np.dtype[Any] | None, tuple[int, ...], int, int]


@lru_cache(maxsize=256)
def _layout(text: bytes) -> tuple[tuple[_Entry, ...], int]:
    """Read and check a layout: (name, dtype or None for str, shape, offset, bytes) of each, and the total."""
    found = _loads(text)
    if not isinstance(found, list):
        raise WireError("a layout must be a JSON list")
    entries: list[_Entry] = []
    at = 0
    for item in found:
        name, dtype, shape, size = _checked(item)
        entries.append((name, dtype, shape, at, size))
        at += size + (-size & 7)
    if len({entry[0] for entry in entries}) != len(entries):
        raise WireError("two arrays of one name")
    return tuple(entries), at


def _checked(item: Any) -> tuple[str, np.dtype[Any] | None, tuple[int, ...], int]:
    if not isinstance(item, dict):
        raise WireError("a layout entry must be a JSON object")
    name, kind, shape, size = (item.get(key) for key in ("name", "dtype", "shape", "bytes"))
    if not isinstance(name, str) or not isinstance(shape, list) or type(size) is not int:
        raise WireError("a layout entry needs name, dtype, shape and bytes")
    if kind != "str" and (not isinstance(kind, str) or kind not in DTYPES):
        raise WireError(f"array '{name}': unknown dtype {kind!r}")
    if not _is_count(size) or len(shape) > MAX_DIMENSIONS or not all(_is_count(n) for n in shape):
        raise WireError(f"array '{name}': {shape} is not a shape")
    dtype = None if kind == "str" else DTYPES[kind]
    if dtype is not None and math.prod(shape) * dtype.itemsize != size:
        raise WireError(f"array '{name}': {size} bytes do not hold {kind} {shape}")
    return name, dtype, tuple(shape), size


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_BODY


def _loads(text: bytes | memoryview) -> Any:
    try:
        return _READER.decode(str(text, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error


def listening(unix: str | None) -> tuple[socket.socket, str]:
    """Return a listening socket and its address as agents read it (``unix:PATH`` or ``tcp:HOST:PORT``).

    *unix* is the path of a Unix socket to make, None asks for a free loopback port.
    """
    if unix is not None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(unix)
        address = f"unix:{unix}"
    else:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.bind(("127.0.0.1", 0))
        address = f"tcp:127.0.0.1:{server.getsockname()[1]}"
    server.listen(4)
    return server, address


def connected(address: str) -> socket.socket:
    """Return a socket connected to *address*; ValueError if that is not an address, OSError if it fails."""
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: Any = rest
    elif kind == "tcp" and rest.rpartition(":")[2].isdigit():
        host, _, port = rest.rpartition(":")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        target = (host, int(port))
    else:
        raise ValueError(f"'{address}' is neither unix:PATH nor tcp:HOST:PORT")
    try:
        sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock
