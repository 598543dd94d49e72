"""Frames as docs/wire.md describes them, whole and broken."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lockstep_questions import episode, question

from cosim.lockstep import Actions, ActionSpec
from cosim.lockstep.messages import (
    pack_actions,
    pack_episode,
    pack_observations,
    unpack_actions,
    unpack_episode,
    unpack_observations,
)
from cosim.lockstep.wire import DTYPES, Channel, Closed, WireError, connected

DOC = Path(__file__).parents[2] / "docs" / "wire.md"


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel and the bare socket at its other end."""
    near, far = socket.socketpair()
    channel = Channel(near, timeout=0.3)
    yield channel, far
    channel.close()
    far.close()


def over_the_wire(header: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    near, far = socket.socketpair()
    sender, receiver = Channel(near, 2.0), Channel(far, 2.0)
    thread = threading.Thread(target=sender.send, args=(header, arrays))
    thread.start()
    try:
        return receiver.receive()
    finally:
        thread.join()
        sender.close()
        receiver.close()


def frame(header: bytes, layout: bytes = b"", body: bytes = b"") -> bytes:
    parts = [part + b" " * (-len(part) % 8) for part in (header, layout)] + [body]
    return struct.pack("<4sIII", b"CSM1", *map(len, parts)) + b"".join(parts)


arrays = st.one_of(
    [
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        for dtype in DTYPES.values()
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=8), arrays | st.lists(st.text()).map(tuple), max_size=5))
def test_arrays_arrive_as_they_were_sent(sent: dict[str, Any]) -> None:
    header, got = over_the_wire({"type": "act"}, sent)
    assert header == {"type": "act"}
    assert list(got) == list(sent)
    for name, array in sent.items():
        if isinstance(array, tuple):
            assert got[name] == array
        else:
            assert got[name].dtype == array.dtype
            assert got[name].shape == array.shape
            assert got[name].tobytes() == array.tobytes()


def test_odd_arrays_are_sent_as_plain_ones() -> None:
    sent = {
        "strided": np.arange(12).reshape(3, 4)[:, ::2],
        "big endian": np.arange(3, dtype=">f8"),
        "half": np.ones(2, dtype=np.float16),
        "names": np.array(["a", "ö"]),
        "none": np.array([], dtype="U4"),
    }
    _, got = over_the_wire({}, sent)
    assert got["strided"].tolist() == [[0, 2], [4, 6], [8, 10]]
    assert got["big endian"].tolist() == [0, 1, 2]
    assert got["half"].dtype == np.float64
    assert got["names"] == ("a", "ö")
    assert got["none"] == ()
    with pytest.raises(WireError, match="'x' has type object"):
        over_the_wire_nothing({"x": np.array([None])})


def over_the_wire_nothing(sent: dict[str, Any]) -> None:
    near, far = socket.socketpair()
    with near, far:
        Channel(near).send({}, sent)


def test_a_frame_larger_than_the_buffer_arrives_whole() -> None:
    big = np.arange(300_000)
    _, got = over_the_wire({}, {"big": big})
    assert (got["big"] == big).all()


def test_frames_in_one_piece_and_byte_by_byte_are_the_same(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    one = frame(b'{"a":1}', b'[{"name":"x","dtype":"int8","shape":[3],"bytes":3}]', b"\1\2\3\0\0\0\0\0")
    two = frame(b'{"b":2}')
    far.sendall(one + two + one[:20])
    assert channel.receive()[1]["x"].tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert channel.receive()[0] == {"b": 2}
    for byte in one[20:]:
        far.send(bytes([byte]))
    assert channel.receive()[0] == {"a": 1}


def test_each_message_has_memory_of_its_own(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    other = Channel(far)
    other.send({}, {"x": np.ones(3)})
    first = channel.receive()[1]["x"]
    other.send({}, {"x": np.zeros(3)})
    channel.receive()
    assert list(first) == [1, 1, 1]


def test_ids_that_do_not_change_stay_the_same_object(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    other = Channel(far)
    ids = ("a", "b")
    got = []
    for sent in (ids, ids, ("a", "c"), ids):
        other.send({}, {"ids": sent})
        got.append(channel.receive()[1]["ids"])
    assert got[0] is got[1] is got[3]
    assert got[2] == ("a", "c")


ENTRY = {"name": "x", "dtype": "float32", "shape": [2], "bytes": 8}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame begins with b'CSM1', this one with b'GET '"),
        (b"CSM1" + b"\xff" * 12, "too large"),
        (b"CSM1" + struct.pack("<III", 8, 0, (1 << 28) + 8), "too large"),
        (b"CSM1" + struct.pack("<III", 7, 0, 0) + b"{}     ", "must be a multiple of 8"),
        (frame(b"{]"), "not JSON"),
        (frame(b"\xff\xff"), "not JSON"),
        (frame(b'{"a":NaN}'), "NaN is not allowed"),
        (frame(b"[" * 5000), "not JSON"),
        (frame(b"[1]"), "must be a JSON object"),
        (frame(b"{}", b"", bytes(8)), "a layout of 0 bytes for a body of 8"),
        (frame(b"{}", b"{}"), "must be a JSON list"),
        (frame(b"{}", b"[1]"), "must be a JSON object"),
        (frame(b"{}", b'[{"name":"x"}]'), "needs name, dtype, shape and bytes"),
        (frame(b"{}", json.dumps([ENTRY]).encode()), "a layout of 8 bytes for a body of 0"),
        (frame(b"{}", json.dumps([ENTRY, ENTRY]).encode(), bytes(16)), "two arrays of one name"),
        (
            frame(b"{}", json.dumps([ENTRY | {"dtype": "object"}]).encode(), bytes(8)),
            "unknown dtype 'object'",
        ),
        (frame(b"{}", json.dumps([ENTRY | {"dtype": ["f"]}]).encode(), bytes(8)), "unknown dtype"),
        (frame(b"{}", json.dumps([ENTRY | {"shape": [-2]}]).encode(), bytes(8)), "not a shape"),
        (frame(b"{}", json.dumps([ENTRY | {"shape": [1.5]}]).encode(), bytes(8)), "not a shape"),
        (frame(b"{}", json.dumps([ENTRY | {"shape": [True, 2]}]).encode(), bytes(8)), "not a shape"),
        (frame(b"{}", json.dumps([ENTRY | {"shape": [1] * 9}]).encode(), bytes(8)), "not a shape"),
        (frame(b"{}", json.dumps([ENTRY | {"shape": [1 << 27] * 8}]).encode(), bytes(8)), "do not hold"),
        (frame(b"{}", json.dumps([ENTRY | {"bytes": 1 << 60}]).encode(), bytes(8)), "not a shape"),
        (frame(b"{}", json.dumps([ENTRY | {"bytes": 4}]).encode(), bytes(8)), "4 bytes do not hold float32"),
        (
            frame(b"{}", json.dumps([ENTRY | {"dtype": "str"}]).encode(), b'["a"]   '),
            r"1 strings for shape \[2\]",
        ),
        (
            frame(b"{}", json.dumps([ENTRY | {"dtype": "str"}]).encode(), b"[1,2]   "),
            "not a JSON list of str",
        ),
    ],
)
def test_a_broken_frame_is_refused(pair: tuple[Channel, socket.socket], data: bytes, message: str) -> None:
    channel, far = pair
    far.sendall(data)
    with pytest.raises(WireError, match=message):
        channel.receive()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_anything_but_a_clean_refusal(data: bytes) -> None:
    near, far = socket.socketpair()
    channel = Channel(near, timeout=1.0)
    for start in (b"", b"CSM1", frame(b"{}", b'[{"name":"x","dtype":"str","shape":[1],"bytes":8}]')[:-8]):
        far.sendall(start + data)
    far.close()
    try:
        for _ in range(10):
            channel.receive()
    except (WireError, Closed):
        pass
    finally:
        channel.close()


def test_whoever_is_not_known_may_send_little(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    far.sendall(frame(b"{}", b"", bytes(1 << 15))[:100])
    with pytest.raises(WireError, match="too large"):
        channel.receive(limit=1 << 14)


def test_silence_ends_at_the_deadline_also_when_it_drips(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        channel.receive()
    assert 0.25 < time.monotonic() - began < 0.6

    def drip() -> None:
        for byte in frame(b'{"a":1}'):
            far.send(bytes([byte]))
            time.sleep(0.03)

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        channel.receive()
    assert time.monotonic() - began < 0.5
    thread.join()


def test_a_reader_that_stopped_reading_does_not_block_for_ever(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    with pytest.raises(TimeoutError):
        channel.send({}, {"x": np.zeros(10_000_000)})


def test_the_other_end_going_away_is_told_from_silence(pair: tuple[Channel, socket.socket]) -> None:
    channel, far = pair
    far.close()
    with pytest.raises(Closed):
        channel.receive()
    with pytest.raises(Closed):
        channel.send({"type": "act"})


@pytest.mark.parametrize("address", ["", "unix:", "tcp:localhost", "pipe:x", "tcp:127.0.0.1:x"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(ValueError, match="is neither unix:PATH nor tcp:HOST:PORT"):
        connected(address)


def test_an_episode_arrives_as_it_was_sent() -> None:
    info = episode(
        "mixed",
        a=ActionSpec(n=3, low=(-1.0, 0.0), high=(1.0, 2.5)),
        b=ActionSpec(n=2, leave_it=True),
        c=ActionSpec(low=(0.0,), high=(1.0,)),
    )
    header, _ = over_the_wire(pack_episode(info), {})
    assert unpack_episode(header) == info


def test_an_answer_must_be_to_the_question() -> None:
    asked = question(3)
    header, sent = pack_actions(Actions(np.array([1, 2, 3]), {"q": np.ones((3, 9))}), asked)
    answered = unpack_actions(header, sent, asked)
    assert answered.values.tolist() == [1, 2, 3]
    assert answered.notes["q"].shape == (3, 9)
    for change, message in [
        ({"t_us": 7}, "an answer for t_us 7"),
        ({"role": "rsu"}, "an answer for role 'rsu' when asked for 'cav'"),
        ({"t_us": "100000"}, r"without 't_us' \(int\)"),
        ({"t_us": True}, r"without 't_us' \(int\)"),
    ]:
        with pytest.raises(WireError, match=message):
            unpack_actions({**header, **change}, sent, asked)


def test_a_question_without_mask_has_none_there_either() -> None:
    from dataclasses import replace

    header, sent = pack_observations(replace(question(2), mask=None))
    assert unpack_observations(header, sent).mask is None


def test_the_documented_bytes_are_what_is_sent() -> None:
    text = DOC.read_text()
    dump = text.split("```hexdump\n")[1].split("```")[0]
    documented = bytes.fromhex("".join(line[8:57].replace(" ", "") for line in dump.splitlines()))
    near, far = socket.socketpair()
    with near, far:
        header = {"type": "actions", "t_us": 100000, "role": "cav"}
        Channel(near).send(header, {"values": np.array([4, 7, -1])})
        assert far.recv(4096) == documented


def test_the_documented_types_are_all_there_are() -> None:
    rows = [line.split("|")[1].strip(" `") for line in DOC.read_text().splitlines() if line.startswith("| `")]
    assert [name for name in rows if name in DTYPES] == list(DTYPES)
