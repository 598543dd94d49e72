"""Keyed, order-free random numbers: a draw depends on (seed, domain, step, two entity keys) and nothing else.

Philox4x32-10 (Salmon et al., SC'11) with the entities in the counter and the rest hashed into the key, so that
adding, removing or reordering entities changes no other entity's draw (network_layer.md, section 3).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Words = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = 0x9E3779B9
_W1 = 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def stream_key(seed: int, domain: str, step: int) -> int:
    """Return the 64-bit Philox key of a stream: BLAKE2b-64 of ``seed|domain|step``, little endian."""
    return int.from_bytes(blake2b(f"{seed}|{domain}|{step}".encode(), digest_size=8).digest(), "little")


def philox(a: NDArray[np.uint64], b: NDArray[np.uint64], key: int) -> Words:
    """Return the four output words of Philox4x32-10.

    Args:
        a: counter words 0 (low half) and 1 (high half), any shape.
        b: counter words 2 and 3, broadcastable with ``a``.
        key: 64 bits, low word first.

    Returns:
        Four uint32 arrays of the broadcast shape.
    """
    a, b = np.broadcast_arrays(np.asarray(a, dtype=np.uint64), np.asarray(b, dtype=np.uint64))
    # 64-bit lanes hold 32-bit words, so that a product keeps both of its halves.
    c0, c1, c2, c3 = a & _LOW, a >> _32, b & _LOW, b >> _32
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c2 = (p1 >> _32) ^ c1 ^ np.uint64(k0), (p0 >> _32) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return c0.astype(np.uint32), c1.astype(np.uint32), c2.astype(np.uint32), c3.astype(np.uint32)


def uniforms(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return words as uniforms strictly between 0 and 1: (w + 0.5) / 2^32."""
    return (words + 0.5) * 2.0**-32
