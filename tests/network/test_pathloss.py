"""Path loss beyond the golden values: continuity, floors, reciprocity, and models from outside."""

from __future__ import annotations

import numpy as np
import pytest
from network_worlds import Road, build, net, v2i

from cosim.errors import ScenarioError
from cosim.network.geo import LOS, NLOS, Geo
from cosim.network.los import LOS_LAWS
from cosim.network.models import PATHLOSS, FreeParams, RadioParams, pathloss
from cosim.network.pathloss import C_3GPP, C, winner_b1_los
from cosim.network.pathloss_3gpp import (
    antennas_below,
    blocker_loss,
    rma_sigma,
    tr37885,
    uma_los,
    umi_los,
)


def around(d: float, h_tx: float, h_rx: float, f: float) -> Geo:
    return Geo.at(np.array([d * (1 - 1e-9), d * (1 + 1e-9)]), f, h_tx, h_rx)


def test_loss_is_continuous_at_breakpoints() -> None:
    for h_bs, model in ((10.0, umi_los), (25.0, uma_los)):
        d = 4 * (h_bs - 1) * 0.5 * 5.9e9 / C_3GPP
        assert abs(np.diff(model(around(d, 1.5, h_bs, 5.9e9)))[0]) < 0.01
    d = 4 * 0.5 * 0.5 * 5.9e9 / C_3GPP
    assert abs(np.diff(winner_b1_los(around(d, 1.5, 1.5, 5.9e9)))[0]) < 0.01
    rma, d = PATHLOSS.get("tr38901_rma"), 2 * np.pi * 35 * 1.5 * 2e9 / C_3GPP
    assert abs(np.diff(rma(around(d, 1.5, 35.0, 2e9)))[0]) < 0.01
    two_rays, d = PATHLOSS.get("two_ray_ground"), 4 * np.pi * 1.5 * 1.5 * 5.9e9 / C
    assert abs(np.diff(two_rays(around(d, 1.5, 1.5, 5.9e9)))[0]) < 0.01


def test_rma_falls_with_the_fourth_power_beyond_its_breakpoint() -> None:
    rma = PATHLOSS.get("tr38901_rma")
    loss = rma(Geo.at(np.array([3000.0, 30_000.0]), 2e9, 1.5, 35.0))
    assert loss[1] - loss[0] == pytest.approx(40.0, abs=0.01)
    assert list(rma_sigma(Geo.at(np.array([100.0, 3000.0]), 2e9, 1.5, 35.0), rma.params())) == [4.0, 6.0]


@pytest.mark.parametrize("name", ["tr38901_umi", "tr38901_uma", "tr38901_rma", "winner_b1", "tr37885"])
def test_a_blocked_link_loses_at_least_as_much(name: str) -> None:
    d = np.geomspace(10.0, 4000.0, 200)
    model = PATHLOSS.get(name)
    clear = model(Geo.at(d, 5.9e9, 1.5, 10.0, np.full(200, LOS, np.uint8)))
    blocked = model(Geo.at(d, 5.9e9, 1.5, 10.0, np.full(200, NLOS, np.uint8)))
    assert (blocked >= clear).all()


@pytest.mark.parametrize("name", sorted(PATHLOSS.names()))
def test_every_model_is_reciprocal_and_elementwise(name: str) -> None:
    rng = np.random.default_rng(3)
    dx, dy = rng.uniform(20, 900, 50), rng.uniform(20, 900, 50)
    h_a, h_b = rng.uniform(1.5, 3.0, 50), rng.uniform(5.0, 30.0, 50)
    los = rng.integers(0, 3, 50).astype(np.uint8)
    model = PATHLOSS.get(name)
    loss = model(Geo(dx, dy, h_a, h_b, 5.9e9, los))
    np.testing.assert_allclose(model(Geo(-dx, -dy, h_b, h_a, 5.9e9, los)), loss, rtol=1e-12)
    one = model(Geo(dx[7:8], dy[7:8], float(h_a[7]), float(h_b[7]), 5.9e9, los[7:8]))
    assert one[0] == loss[7]


def test_distances_below_the_least_are_clamped_and_counted() -> None:
    geo = Geo(np.array([0.0, 0.5, 2.0]), np.zeros(3), 1.5, 1.5, 2e9, d_min=1.0)
    assert list(geo.d2) == [1.0, 1.0, 2.0]
    assert geo.clamped == 2


def test_probabilities_of_sight_are_probabilities_that_fall() -> None:
    d = np.linspace(1.0, 5000.0, 5000)
    for name, law in LOS_LAWS.items():
        p = law(d)
        assert p.min() >= 0.0, name
        assert p.max() <= 1.0
        assert (np.diff(p) <= 1e-3).all()


def test_vehicle_blockage_follows_its_means() -> None:
    z = np.random.default_rng(0).standard_normal(200_000)
    near = np.full(z.shape, 50.0)
    # E max(0, N(9, 4.5)) and E max(0, N(5, 4)).
    assert blocker_loss(near, 2, z).mean() == pytest.approx(9.0382, abs=0.05)
    assert blocker_loss(near, 1, z).mean() == pytest.approx(5.2023, abs=0.05)
    assert not blocker_loss(near, 0, z).any()
    log_normal = blocker_loss(near, 2, z, "lognormal_db")
    assert log_normal.min() > 0.0
    assert log_normal.mean() == pytest.approx(9.0, abs=0.05)
    assert log_normal.std() == pytest.approx(4.5, abs=0.1)


def test_how_many_antennas_are_below_a_roof() -> None:
    assert antennas_below(1.5, 1.5, 3.0) == 2
    assert antennas_below(1.5, 5.0, 3.0) == 1
    assert antennas_below(4.0, 5.0, 3.0) == 0


def test_tr37885_takes_the_distance_between_antennas() -> None:
    loss = tr37885(Geo.at(np.array([30.0]), 5.9e9, 1.6, 41.6))
    assert loss[0] == pytest.approx(32.4 + 20 * np.log10(50.0) + 20 * np.log10(5.9))


def test_a_model_from_outside_works_like_our_own() -> None:
    class Params(RadioParams):
        slope: float = 30.0

    @pathloss("test_slope", params=Params, sigma=(2.0, 2.0, 2.0))
    def test_slope(geo: Geo, p: Params) -> np.ndarray:
        return p.slope * np.log10(geo.d2)

    @pathloss("test_free")
    def test_free(geo: Geo, p: FreeParams) -> np.ndarray:
        return np.full(1, float(p.flat))  # type: ignore[attr-defined]

    world = net({"rsu_0": (0.0, 0.0)})
    for choice, expected in (
        ({"model": "test_slope", "slope": 20}, 40.0),
        ({"model": "test_free", "flat": 7}, 7.0),
    ):
        state = build(v2i({"pathloss": choice}), world).step(Road().at(0, {"veh0": (100.0, 0.0)}))
        assert state.loss_db[0, 0] == pytest.approx(expected)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ScenarioError, match="registered twice"):
        pathloss("macro")(lambda geo, p: geo.lg2)
