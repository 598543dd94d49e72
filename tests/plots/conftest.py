"""A real run of a few simulated seconds, sampled at every step."""

from __future__ import annotations

import pytest

import cosim


@pytest.fixture(scope="session")
def highway(tmp_path_factory):
    """Twenty seconds of the highway with 350 veh/h a lane, all vehicles recorded every 0.1 s."""
    result = cosim.run(
        "highway_350vph",
        cosim.RunOptions(inline=True, out=tmp_path_factory.mktemp("plots") / "run"),
        overrides=["warmup=5 s", "duration=20 s", "record.vehicles=100 ms", "traffic.inflow.rate=900 veh/h"],
    )
    assert result.status == "completed"
    return cosim.load_run(result.dir)
