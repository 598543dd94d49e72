"""Keyed, order-free random numbers: a draw depends on (seed, domain, step, two entity keys) and nothing else.

Philox4x32-10 (Salmon et al., SC'11) with the entities in the counter and the rest hashed into the key, so
that adding, removing or reordering entities changes no other entity's draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Words = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = 0x9E3779B9
_W1 = 0xBB67AE85
_MASK = 0xFFFFFFFF
_LOW = np.uint64(_MASK)
_32 = np.uint64(32)


def entity_key(entity_id: str) -> int:
    """Return the 64-bit key of an entity: BLAKE2b-64 of its utf-8 id, little endian."""
    return int.from_bytes(blake2b(entity_id.encode(), digest_size=8).digest(), "little")


_remembered = lru_cache(maxsize=1 << 16)(entity_key)


def entity_keys(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Return the keys (n,) of entities, in order; those met before cost a look-up."""
    return np.array(list(map(_remembered, ids)), dtype=np.uint64)


def stream_key(seed: int, domain: str, step: int) -> int:
    """Return the 64-bit Philox key of a stream: BLAKE2b-64 of ``seed|domain|step``, little endian."""
    return int.from_bytes(blake2b(f"{seed}|{domain}|{step}".encode(), digest_size=8).digest(), "little")


def packed_words(
    a: NDArray[np.uint64], b: NDArray[np.uint64], key: int, out: NDArray[np.uint64] | None = None
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the output words of Philox4x32-10 in pairs, the fastest form for arrays.

    Args:
        a: counter words 0 (low half) and 1 (high half), any shape.
        b: counter words 2 and 3, broadcastable with ``a``.
        key: 64 bits, low word first.
        out: room to work in, (4, *shape); its first two layers become the result.

    Returns:
        Two uint64 arrays of the broadcast shape: words (0, 1) and (2, 3), the first of each in the high half.
    """
    a, b = np.asarray(a, dtype=np.uint64), np.asarray(b, dtype=np.uint64)
    # A 64-bit lane holds two words.  With products p0 = M0 c0 and p1 = M1 c2 a round is
    # (c0, c1) <- p1 ^ (c1 << 32) ^ (k0 << 32) and (c2, c3) <- p0 ^ (c3 << 32) ^ (k1 << 32).
    # The first round's products depend on one entity each, so they are taken before broadcasting.
    keys0, keys1 = _round_keys(key & _MASK, _W0), _round_keys(key >> 32, _W1)
    shape = np.broadcast_shapes(a.shape, b.shape)
    out = np.empty((4, *shape), np.uint64) if out is None else out
    x, y, p, q = (out[i, ...] for i in range(4))
    np.bitwise_xor((b & _LOW) * _M1, (a & ~_LOW) ^ keys0[0], out=x)
    np.bitwise_xor((a & _LOW) * _M0, (b & ~_LOW) ^ keys1[0], out=y)
    for k0, k1 in zip(keys0[1:], keys1[1:], strict=True):
        np.right_shift(x, _32, out=p)
        np.multiply(p, _M0, out=p)
        np.right_shift(y, _32, out=q)
        np.multiply(q, _M1, out=q)
        np.left_shift(x, _32, out=x)
        np.bitwise_xor(x, q, out=x)
        np.bitwise_xor(x, k0, out=x)
        np.left_shift(y, _32, out=y)
        np.bitwise_xor(y, p, out=y)
        np.bitwise_xor(y, k1, out=y)
    return x, y


def _round_keys(half: int, weyl: int) -> list[np.uint64]:
    """Return half a key for each of the ten rounds, in the high half of its lane."""
    return [np.uint64((half + r * weyl & _MASK) << 32) for r in range(10)]


def philox(a: NDArray[np.uint64], b: NDArray[np.uint64], key: int) -> Words:
    """Return the four output words of Philox4x32-10 as uint32 arrays; arguments as :func:`packed_words`."""
    first, second = packed_words(a, b, key)
    return (
        (first >> _32).astype(np.uint32),
        (first & _LOW).astype(np.uint32),
        (second >> _32).astype(np.uint32),
        (second & _LOW).astype(np.uint32),
    )


def uniforms(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return words as uniforms strictly between 0 and 1: (w + 0.5) / 2^32."""
    return (words.astype(np.float64) + 0.5) * 2.0**-32


_MIX0, _MIX1 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)


def quick_words(keys: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Return one 64-bit word for each entity key, a tenth of Philox's cost for a few rows.

    SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA'14) over entity key xor stream key: good enough to explore
    with, not meant for physics.
    """
    z = keys ^ np.uint64(key)
    z = (z ^ (z >> _30)) * _MIX0
    z = (z ^ (z >> _27)) * _MIX1
    words: NDArray[np.uint64] = z ^ (z >> _31)
    return words
