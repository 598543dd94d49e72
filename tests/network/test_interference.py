"""SINR on shared resource blocks against plain double loops, and its invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.network.interference import sensed, sinr_links

NOISE = 1e-13


class Plane:
    """Devices in the plane with gains d^-4, clamped at 1 m."""

    def __init__(self, n: int, seed: int, size: float = 500.0) -> None:
        self.xy = np.random.default_rng(seed).uniform(0, size, (n, 2))

    def __call__(self, tx: np.ndarray, rx: np.ndarray, block: np.ndarray) -> np.ndarray:
        d = np.hypot(*np.moveaxis(self.xy[tx] - self.xy[rx], -1, 0))
        return np.maximum(d, 1.0) ** -4.0 * (1.0 + 0.1 * np.asarray(block))


def loops(tx, rx, power, alloc, gains, same="interferes", half_duplex=False, split=True):  # type: ignore[no-untyped-def]
    """The definition, one link and block at a time; ``alloc`` is bool (L, K)."""
    uses = alloc.sum(axis=1)
    result = np.zeros(alloc.shape)
    sent = np.array(power, float)
    for l in range(len(tx)):
        if same == "shared":
            sent[l] = power[l] / max(1, sum(uses[i] for i in range(len(tx)) if tx[i] == tx[l]))
        elif split:
            sent[l] = power[l] / max(1, uses[l])
    for l in range(len(tx)):
        for k in range(alloc.shape[1]):
            if not alloc[l, k] or (half_duplex and any(uses[i] and tx[i] == rx[l] for i in range(len(tx)))):
                continue
            noise = NOISE
            for i in range(len(tx)):
                own = tx[i] == tx[l] and same != "interferes"
                if i == l or not alloc[i, k] or tx[i] == rx[l] or own:
                    continue
                copies = sum(tx[o] == tx[i] and alloc[o, k] for o in range(len(tx))) if same == "once" else 1
                noise += sent[i] * float(gains(tx[i], rx[l], k)) / copies
            result[l, k] = sent[l] * float(gains(tx[l], rx[l], k)) / noise
    return result


def links(n: int, devices: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    tx = rng.integers(0, devices, n)
    return tx, (tx + rng.integers(1, devices, n)) % devices


def one_hot(block: np.ndarray, blocks: int) -> np.ndarray:
    return (block[:, None] == np.arange(blocks)) & (block >= 0)[:, None]


@pytest.mark.parametrize("same", ["interferes", "once", "shared"])
@pytest.mark.parametrize("half_duplex", [False, True])
@pytest.mark.parametrize(("n", "devices", "blocks"), [(60, 30, 1), (60, 200, 7), (130, 300, 2), (9, 5, 3)])
def test_grouped_dense_and_matrix_agree(
    same: str, half_duplex: bool, n: int, devices: int, blocks: int
) -> None:
    gains, (tx, rx) = Plane(devices, 1), links(n, devices, 2)
    rng = np.random.default_rng(3)
    power, block = rng.uniform(0.01, 0.3, n), rng.integers(-1, blocks, n)
    options = {"same_transmitter": same, "half_duplex": half_duplex}
    grouped = sinr_links(tx, rx, power, block, NOISE, gains, **options)
    matrix = sinr_links(tx, rx, power, one_hot(block, blocks), NOISE, gains, **options)
    expected = loops(tx, rx, power, one_hot(block, blocks), gains, same, half_duplex)
    np.testing.assert_allclose(matrix, expected, rtol=1e-9)
    np.testing.assert_allclose(grouped, expected.sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("same", ["interferes", "once", "shared"])
@pytest.mark.parametrize("split", [True, False])
def test_links_on_several_blocks(same: str, split: bool) -> None:
    gains, (tx, rx) = Plane(40, 4), links(50, 40, 5)
    rng = np.random.default_rng(6)
    alloc, power = rng.random((50, 5)) < 0.4, rng.uniform(0.01, 0.3, 50)
    found = sinr_links(tx, rx, power, alloc, NOISE, gains, same_transmitter=same, split_power=split)
    np.testing.assert_allclose(found, loops(tx, rx, power, alloc, gains, same, split=split), rtol=1e-9)


def test_foreign_interference_adds_to_the_noise() -> None:
    gains, (tx, rx) = Plane(40, 4), links(50, 40, 5)
    block, power = np.arange(50) % 6, np.full(50, 0.1)
    plain = sinr_links(tx, rx, power, block, NOISE, gains, among=False)
    loud = sinr_links(tx, rx, power, block, NOISE, gains, among=False, foreign=np.full(50, NOISE))
    np.testing.assert_allclose(loud, plain / 2, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), blocks=st.integers(1, 4))
def test_one_more_link_raises_no_other_links_sinr(seed: int, n: int, blocks: int) -> None:
    gains, (tx, rx) = Plane(2 * n, seed), links(n, 2 * n, seed)
    block = np.random.default_rng(seed).integers(0, blocks, n)
    power = np.full(n, 0.02)
    less = block.copy()
    less[-1] = -1
    before = sinr_links(tx, rx, power, less, NOISE, gains)[:-1]
    after = sinr_links(tx, rx, power, block, NOISE, gains)[:-1]
    assert (after <= before * (1 + 1e-12)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 120))
def test_the_order_of_links_does_not_touch_a_bit(seed: int, n: int) -> None:
    gains, (tx, rx) = Plane(2 * n, seed), links(n, 2 * n, seed)
    rng = np.random.default_rng(seed)
    block, power, order = rng.integers(0, 2, n), rng.uniform(0.01, 0.1, n), rng.permutation(n)
    straight = sinr_links(tx, rx, power, block, NOISE, gains)
    shuffled = sinr_links(tx[order], rx[order], power[order], block[order], NOISE, gains)
    assert np.array_equal(straight[order], shuffled)


def test_a_strong_link_keeps_its_digits() -> None:
    """At SINR 1e12 a total minus the own power would be lost in rounding."""
    place = np.array([[0.0, 0.0], [1.0, 0.0], [1e4, 0.0], [1e4, 1.0]])

    def gains(tx: np.ndarray, rx: np.ndarray, block: np.ndarray) -> np.ndarray:
        return np.maximum(np.hypot(*np.moveaxis(place[tx] - place[rx], -1, 0)), 1.0) ** -4.0

    tx, rx = np.array([0, 2]), np.array([1, 3])
    sinr = sinr_links(tx, rx, np.ones(2), np.zeros(2, int), 1e-18, gains)
    assert sinr[0] == pytest.approx(1.0 / (1e-18 + 9999.0**-4), rel=1e-12)


def test_half_duplex_devices_hear_nothing_while_they_send() -> None:
    gains = Plane(4, 1)
    tx, rx = np.array([0, 1, 2]), np.array([1, 2, 3])
    sinr = sinr_links(tx, rx, np.ones(3), np.array([0, 1, 2]), NOISE, gains, half_duplex=True)
    assert list(sinr > 0) == [False, False, True]
    silent = sinr_links(tx, rx, np.ones(3), np.array([0, -1, -1]), NOISE, gains, half_duplex=True)
    assert list(silent > 0) == [True, False, False]


def test_sensing_is_the_sum_of_what_others_send() -> None:
    gains, (tx, _) = Plane(30, 7), links(25, 30, 8)
    block, power = np.random.default_rng(9).integers(-1, 3, 25), np.full(25, 0.1)
    heard = sensed(tx, np.arange(30), power, block, 3, gains)
    for device in (0, 11, 29):
        for k in range(3):
            senders = [i for i in range(25) if block[i] == k and tx[i] != device]
            expected = sum(0.1 * float(gains(tx[i], device, k)) for i in senders)
            assert heard[device, k] == pytest.approx(expected, rel=1e-9)
