"""Every row of the golden values, and that no row is left untested."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cosim.network import fading, los, pathloss, pathloss_3gpp, queues, rates, shadowing
from cosim.network.blockage import obstacle_loss
from cosim.network.geo import NLOS, Geo
from cosim.network.interference import sinr_links
from cosim.network.models import PATHLOSS, RadioParams

Floats = NDArray[np.float64]
FILE = Path(__file__).parents[1] / "golden" / "network_golden.csv"
THERMAL_180K = rates.noise_power(180e3)


def _rows() -> dict[str, tuple[Floats, Floats]]:
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with FILE.open() as stream:
        for row in csv.DictReader(stream):
            rows[row["model"]].append((float(row["arg"] or "nan"), float(row["value"])))
    return {name: tuple(np.array(v).T) for name, v in rows.items()}  # type: ignore[misc]


ROWS = _rows()


def loss(
    name: str, f: float = 5.9e9, h_bs: float = 1.5, h_ut: float = 1.5, **params: float
) -> Callable[[Floats], Floats]:
    model = PATHLOSS.get(name)
    return lambda d: model(Geo.at(d, f, h_ut, h_bs), model.params(**params))


def blocked(name: str, f: float, h_bs: float, h_ut: float = 1.5) -> Callable[[Floats], Floats]:
    model = PATHLOSS.get(name)
    return lambda d: model(Geo.at(d, f, h_ut, h_bs, los=np.full(d.shape, NLOS, np.uint8)))


def gain(function: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    return lambda d: 10.0 ** (-function(d) / 10.0)


def b1(f: float) -> Callable[[Floats], Floats]:
    return lambda d: pathloss.winner_b1_los(Geo.at(d, f))


def corner(d: Floats) -> Floats:
    return pathloss.winner_b1_nlos(d / 2, d / 2, Geo.at(d, 5.9e9))


def shannon(
    bandwidth: float, power: float, noise: float, function: Callable[[Floats], Floats]
) -> Callable[[Floats], Floats]:
    return lambda d: rates.shannon(bandwidth, power * gain(function)(d) / noise)


def snr_db(power_dbm: float, function: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    return lambda d: power_dbm - function(d) - rates.dbm(THERMAL_180K)


def three_links(alloc: list[int]) -> Callable[[Floats], Floats]:
    tx, rx = np.array([[0, 0], [100, 0], [0, 80.0]]), np.array([[20, 0], [100, 15], [10, 80.0]])
    model = PATHLOSS.get("power_law")

    def sinr(i: Floats) -> Floats:
        def gains(t: NDArray[np.int64], r: NDArray[np.int64], _: NDArray[np.int64]) -> Floats:
            offset = tx[t] - rx[r]
            return 10.0 ** (-model(Geo(offset[..., 0], offset[..., 1], 1.5, 1.5, 5.9e9)) / 10.0)

        power = np.full(3, rates.watts(13.0))
        links = np.arange(3)
        result = sinr_links(links, links, power, np.array(alloc), THERMAL_180K, gains)
        return rates.decibel(result)[i.astype(int)]

    return sinr


def wired(_: Floats) -> Floats:
    link = queues.WorkQueue(100_000_000)
    link.push(queues.Work("bits", 8_000_000), 0)
    (done,) = link.advance(10**9)
    return np.array([(done.t_us + 1000) * 1e-6])


CHECKS: dict[str, Callable[[Floats], Floats]] = {
    "fs_gain_A4.11_2GHz": gain(loss("free_space_gain", 2e9)),
    "friis_2GHz_dB": loss("friis", 2e9),
    "friis_5.9GHz_dB": loss("friis"),
    "powerlaw_n4_k1": gain(loss("power_law")),
    "logdist_n2.75_47.86dB": loss("log_distance"),
    "macro_15.3_37.6_dB": loss("macro"),
    "d2d_148_40_dB": loss("d2d_148_40"),
    "tr37885_highway_los_5.9": loss("tr37885"),
    "tr37885_urban_los_5.9": loss("tr37885", scene="urban"),  # type: ignore[arg-type]
    "tr37885_nlos_5.9": blocked("tr37885", 5.9e9, 1.5),
    "winner_b1_los_5.9": b1(5.9e9),
    "winner_b1_los_2.0": b1(2.0e9),
    "winner_b1_nlos_corner_d1=d2=d/2_5.9": corner,
    "umi_los_5.9": loss("tr38901_umi", 5.9e9, 10.0),
    "umi_nlos_5.9": blocked("tr38901_umi", 5.9e9, 10.0),
    "uma_los_2.0": loss("tr38901_uma", 2e9, 25.0),
    "uma_nlos_2.0": blocked("tr38901_uma", 2e9, 25.0),
    "rma_los_2.0": loss("tr38901_rma", 2e9, 35.0),
    "rma_nlos_2.0": blocked("tr38901_rma", 2e9, 35.0),
    "tworay_interf_5.9_h1.5_er1.02": loss("two_ray_interference"),
    "tworay_ground_5.9_h1.5": loss("two_ray_ground"),
    "plos_tr37885_highway": los.LOS_LAWS["tr37885_highway"],
    "plos_tr37885_urban": los.LOS_LAWS["tr37885_urban"],
    "plos_umi": los.LOS_LAWS["tr38901_umi"],
    "plos_uma": los.LOS_LAWS["tr38901_uma"],
    "plos_rma": los.LOS_LAWS["tr38901_rma"],
    "nlosv_mean_case2_dB": lambda d: pathloss_3gpp.blocker_mean(d, 2),
    "nlosv_mean_case3_dB": lambda d: pathloss_3gpp.blocker_mean(d, 1),
    "noise_180kHz_W": lambda _: np.array([THERMAL_180K]),
    "noise_dBm_180kHz_NF9": lambda _: rates.dbm([rates.noise_power(180e3, 9.0)]),
    "noise_dBm_10MHz_NF9": lambda _: rates.dbm([rates.noise_power(10e6, 9.0)]),
    "d2d_13dBm_50m_powerlaw4_180kHz_snr_dB": snr_db(13.0, loss("power_law")),
    "d2d_same_rate_bps": shannon(180e3, rates.watts(13.0), THERMAL_180K, loss("power_law")),
    "bs_46dBm_macro_180kHz_snr_dB": snr_db(46.0, loss("macro")),
    "bs_46dBm_macro_180kHz_rate_bps": shannon(180e3, rates.watts(46.0), THERMAL_180K, loss("macro")),
    "rsu_1W_20MHz_A4.11_2GHz_rate_bps": shannon(
        20e6, 1.0, rates.noise_power(20e6), loss("free_space_gain", 2e9)
    ),
    "otfs_B1MHz_p0.2_h1_eps2_N0_1e-9_rate_bps": shannon(1e6, 0.2, 1e-9, loss("otfs")),
    "sinr3_rb000_dB": three_links([0, 0, 0]),
    "sinr3_rb001_dB": three_links([0, 0, 1]),
    "per_LTE_MCS7_350B_hwLOS_s50=2.09_w=1.45": rates.error_curve("lte_v2x_mcs7"),
    "nist_per_qpsk12_2800bit": lambda snr: rates.nist_per_qpsk_half(10.0 ** (snr / 10.0), 2800),
    "gudmundson_rho_dcorr25": lambda d: shadowing.correlation(d, 25.0),
    "gudmundson_rho_dcorr10": lambda d: shadowing.correlation(d, 10.0),
    "wall_26dB: 2 cuts*9+20m*0.4": lambda _: obstacle_loss(np.array([2]), np.array([20.0])),
    "wired_8Mbit_100Mbps_1ms_s": wired,
}


def test_every_golden_model_is_checked() -> None:
    assert set(CHECKS) == set(ROWS)
    assert sum(len(v) for _, v in ROWS.values()) == 306


@pytest.mark.parametrize("name", sorted(ROWS))
def test_model_gives_its_golden_values(name: str) -> None:
    argument, value = ROWS[name]
    np.testing.assert_allclose(CHECKS[name](argument), value, rtol=1e-9, atol=0.0)


def test_default_parameters_are_a_radio_at_5_9_ghz() -> None:
    assert RadioParams().frequency == 5.9e9
    assert fading.FADING.get("none")(None, None) == 1.0
