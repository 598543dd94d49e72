"""Small-scale fading: laws, and one draw a tick and resource block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from network_worlds import Road, build, net, v2i
from scipy import stats

from cosim.network.fading import FADING
from cosim.network.randomness import Draws

KEYS = np.arange(300, dtype=np.uint64)[:, None], np.arange(400, dtype=np.uint64)


def gains(model: str, **params: Any) -> np.ndarray:
    known = FADING.get(model)
    return np.asarray(known(Draws(*KEYS, 11), known.params(**params))).ravel()


def test_rayleigh_power_is_exponential() -> None:
    assert stats.kstest(gains("rayleigh"), "expon").pvalue > 1e-3


def test_rayleigh_power_is_that_of_its_two_normals() -> None:
    draws = Draws(*KEYS, 11)
    np.testing.assert_allclose(gains("rayleigh"), (0.5 * (draws.z2**2 + draws.z3**2)).ravel(), rtol=1e-12)


def test_rician_power_has_its_moments() -> None:
    k = 10 ** (6.0 / 10)
    found = gains("rician", K=6.0)
    assert found.mean() == pytest.approx(1.0, abs=0.01)
    assert found.var() == pytest.approx((1 + 2 * k) / (1 + k) ** 2, abs=0.01)


def test_nakagami_power_is_gamma() -> None:
    assert stats.kstest(gains("nakagami", m=2.5), "gamma", args=(2.5, 0, 1 / 2.5)).pvalue > 1e-3
    assert stats.kstest(gains("nakagami", m=1.0), "expon").pvalue > 1e-3


def test_fading_moves_snr_but_neither_loss_nor_received_power() -> None:
    world, road = (
        net({"rsu_0": (0.0, 0.0), "rsu_1": (300.0, 0.0)}),
        Road().at(0, {"a": (90.0, 0.0), "b": (7.0, 30.0)}),
    )
    plain = build(v2i(), world).step(road)
    faded = build(
        v2i({"pathloss": {"model": "macro", "frequency": "2 GHz"}, "fading": "rayleigh"}), world
    ).step(road)
    assert np.array_equal(plain.loss_db, faded.loss_db)
    assert np.array_equal(plain.rx_dbm, faded.rx_dbm)
    assert not np.isclose(plain.snr, faded.snr).any()


def test_fading_is_drawn_anew_each_tick_and_block() -> None:
    channel = {"pathloss": "macro", "fading": "rayleigh"}
    network = build(v2i(channel), net({"rsu_0": (0.0, 0.0)}))
    road = Road()
    first = network.step(road.at(0, {"a": (90.0, 0.0)})).snr[0, 0]
    assert network.step(road.at(100_000, {"a": (90.0, 0.0)})).snr[0, 0] != first
    inner = network._links.cells[0][2].channel
    a, b = np.arange(5, dtype=np.uint64)[:, None], np.arange(3, dtype=np.uint64)
    together = inner.fade(a[:, :, None], b[None, :, None], np.arange(4)[None, None, :])
    for k in range(4):
        assert np.array_equal(together[:, :, k], inner.fade(a, b, np.int64(k)))
    assert len(np.unique(together)) == 60
