"""What the manual says about the network works as written."""

from __future__ import annotations

import re
from pathlib import Path

from network_worlds import Road, net, somewhere

from cosim.network import ALLOCATORS, FADING, LOS_MODELS, PATHLOSS, POLICIES, Network, NetworkConfig
from cosim.network.los import LOS_LAWS
from cosim.network.rates import ERROR_CURVES
from cosim.scenario import load_scenario

TEXT = (Path(__file__).parents[2] / "docs" / "network.md").read_text()
POIS = {"rsu_0": (100.0, 30.0), "rsu_1": (500.0, -30.0), "rsu_2": (900.0, 30.0)}


def test_every_example_builds_and_runs(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(network:.*?)```", TEXT, re.DOTALL)
    assert examples
    for text in examples:
        file = tmp_path / "example.yaml"
        file.write_text(f"name: example\nduration: 10 s\ntraffic: {{net: urban_rsu}}\n{text}")
        config = load_scenario(str(file)).parse("network", NetworkConfig)
        network, road = (
            Network.build(config, net(POIS, [[[200, 40], [260, 40], [260, 90], [200, 90]]]), 1),
            Road(),
        )
        for k in range(5):
            state = network.step(road.at(k * 100_000, somewhere(30, 2)))
        assert state.equipped.any()


def test_every_model_is_in_the_manual() -> None:
    ours = [m for r in (PATHLOSS, LOS_MODELS, FADING, ALLOCATORS, POLICIES) for m in r.names()]
    names = [n for n in [*ours, *LOS_LAWS] if not n.startswith("test_") and n != "max_rx"]
    assert [n for n in names if f"`{n}`" not in TEXT] == []
    assert all(curve.rpartition("_")[2] in TEXT for curve in ERROR_CURVES)


def test_the_models_of_the_example_can_be_registered() -> None:
    code = next(c for c in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "@pathloss" in c)
    exec(compile(code.replace("my_street", "test_street"), "manual", "exec"), {"__name__": "manual"})
    assert "test_street" in PATHLOSS
