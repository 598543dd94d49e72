"""Keyed random numbers: the published Philox vectors, a scalar reimplementation, and independence of order."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.randomness import packed_words, philox, stream_key, uniforms

U64 = st.integers(0, 2**64 - 1)

# Random123's known-answer file, lines "philox4x32 10": counter (4 words), key (2 words), output (4 words).
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def scalar_philox(counter: list[int], key: list[int]) -> list[int]:
    """The ten rounds word by word, as Salmon et al. (SC'11) print them."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def halves(x: int) -> list[int]:
    return [x & 0xFFFFFFFF, x >> 32]


def ours(a: int, b: int, key: int) -> list[int]:
    words = philox(np.array([a], dtype=np.uint64), np.array([b], dtype=np.uint64), key)
    return [int(w[0]) for w in words]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_vectors(counter: str, key: str, expected: str) -> None:
    c = [int(x, 16) for x in counter.split()]
    k = [int(x, 16) for x in key.split()]
    got = ours(c[0] | c[1] << 32, c[2] | c[3] << 32, k[0] | k[1] << 32)
    assert got == [int(x, 16) for x in expected.split()]


@given(U64, U64, U64)
@settings(max_examples=200)
def test_philox_equals_a_scalar_reimplementation(a: int, b: int, key: int) -> None:
    assert ours(a, b, key) == scalar_philox([*halves(a), *halves(b)], halves(key))


@given(st.lists(U64, min_size=1, max_size=40, unique=True), U64, U64, st.randoms(use_true_random=False))
def test_a_draw_depends_on_its_entity_alone_whatever_else_is_drawn_in_whatever_order(
    entities: list[int], b: int, key: int, random: object
) -> None:
    shuffled = list(entities)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    both = np.array(b, dtype=np.uint64)
    together = philox(np.array(entities, dtype=np.uint64), both, key)
    again = philox(np.array(shuffled[: len(shuffled) // 2 + 1], dtype=np.uint64), both, key)
    for k, entity in enumerate(shuffled[: len(shuffled) // 2 + 1]):
        assert [int(w[k]) for w in again] == [int(w[entities.index(entity)]) for w in together]


def test_arguments_broadcast_and_packed_words_hold_the_same_words() -> None:
    a = np.arange(6, dtype=np.uint64).reshape(2, 3, 1)
    b = np.arange(4, dtype=np.uint64)
    first, second = packed_words(a, b, 7)
    words = philox(a, b, 7)
    assert first.shape == words[0].shape == (2, 3, 4)
    assert (first >> np.uint64(32) == words[0]).all()
    assert (second & np.uint64(0xFFFFFFFF) == words[3]).all()


def test_nothing_drawn_is_nothing() -> None:
    words = philox(np.empty(0, dtype=np.uint64), np.array(1, dtype=np.uint64), 3)
    assert [w.shape for w in words] == [(0,)] * 4


def test_the_stream_key_is_the_hash_of_seed_domain_and_step() -> None:
    expected = int.from_bytes(blake2b(b"3|demand/arrival|0", digest_size=8).digest(), "little")
    assert stream_key(3, "demand/arrival", 0) == expected
    keys = {stream_key(s, d, t) for s in range(5) for d in ("a", "b", "a|1") for t in range(5)}
    assert len(keys) == 75


def test_uniforms_stay_strictly_between_zero_and_one() -> None:
    ends = uniforms(np.array([0, 2**32 - 1], dtype=np.uint32))
    assert 0 < ends[0] < 2.0**-32
    assert 1 - 2.0**-32 < ends[1] < 1


def test_a_long_stream_is_uniform_and_its_four_words_are_uncorrelated() -> None:
    n = 200_000
    draws = np.array([uniforms(w) for w in philox(np.arange(n, dtype=np.uint64), np.array(9, np.uint64), 1)])
    # Chi-square over 100 cells a word: mean 99, standard deviation 14.1; six deviations are 1e-9.
    for row in draws:
        counts = np.histogram(row, bins=100, range=(0, 1))[0]
        assert ((counts - n / 100) ** 2 / (n / 100)).sum() < 99 + 6 * 14.1
    correlation = np.corrcoef(np.vstack([draws, draws[:, ::-1][:1], np.roll(draws[:1], 1)]))
    assert np.abs(correlation - np.eye(6)).max() < 6 / np.sqrt(n)
