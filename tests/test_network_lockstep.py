"""The network layer in lockstep with real SUMO: what a run records, and what may not depend on what."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cosim.errors import ScenarioError
from cosim.recording import Run, digest, load_run
from cosim.runner import RunOptions, run
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved

SHORT = ["warmup=10 s", "duration=20 s"]

HIGHWAY_NETWORK = {
    "channels": {
        "v2i": {
            "pathloss": {"model": "tr37885", "scene": "highway", "frequency": "5.9 GHz"},
            "shadowing": {"model": "field"},
            "fading": {"model": "rayleigh"},
        }
    },
    "radios": {
        "rsu": {"attach": {"poi": "rsu_*"}, "tx_power": "30 dBm", "bandwidth": "20 MHz"},
        "obu": {"attach": {"vtype": "*"}, "tx_power": "23 dBm"},
    },
    "links": [{"from": "obu", "to": "rsu", "channel": "v2i"}],
}


def highway(**changes: object) -> Scenario:
    data = load_scenario("highway_350vph", [*SHORT, "record.links=0.1", "record.vehicles=0.1"]).resolved()
    return scenario_from_resolved({**data, "network": HIGHWAY_NETWORK, **changes})


def ran(
    scenario: Scenario | str, out: Path, agent: str | None = None, *overrides: str, **options: object
) -> Run:
    agents = (agent,) if agent else ()
    given = RunOptions(agents=agents, out=out, inline=True, **options)  # type: ignore[arg-type]
    result = run(scenario, given, overrides=overrides)
    assert result.status == "completed", result.error
    return load_run(result.dir)


@pytest.mark.parametrize("name", ["urban_rsu", "remote_rsu", "d2d_cell"])
def test_a_shipped_network_scenario_repeats_to_the_byte(name: str, tmp_path: Path) -> None:
    first = ran(name, tmp_path / "a", None, *SHORT)
    ran(name, tmp_path / "b", None, *SHORT)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert len(first.links) > 50
    rate = first.metrics["mean_rate_up"]
    assert rate is not None
    assert rate > 0


def test_network_runs_are_equal_on_both_backends(tmp_path: Path) -> None:
    ran("urban_rsu", tmp_path / "a", None, "warmup=0", "duration=15 s")
    ran("urban_rsu", tmp_path / "b", None, "warmup=0", "duration=15 s", backend="traci")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_two_agents_meet_the_same_channel_at_the_same_place(tmp_path: Path) -> None:
    def places(out: str, agent: str) -> pl.DataFrame:
        found = ran(highway(), tmp_path / out, agent)
        return found.links.join(found.vehicles, left_on=["t_us", "vehicle"], right_on=["t_us", "id"])

    by_rules, at_random = places("a", "common.rule_based"), places("b", "common.random")
    same = by_rules.join(at_random, on=["t_us", "vehicle", "station", "x", "y"], suffix="_other")
    assert len(same) > 30  # those that nobody's decision has moved yet
    for column in ("loss_db", "rx_dbm", "snr_db", "los"):
        assert same[column].equals(same[f"{column}_other"]), column
    # … and they do part ways elsewhere.
    assert not by_rules["loss_db"].head(2000).equals(at_random["loss_db"].head(2000))


def test_another_channel_model_moves_no_vehicle_when_no_agent_reads_the_radio(tmp_path: Path) -> None:
    one = ran(highway(), tmp_path / "a", "common.rule_based")
    channels = {"v2i": {"pathloss": {"model": "friis", "frequency": "2 GHz"}}}
    other = ran(
        highway(network={**HIGHWAY_NETWORK, "channels": channels}), tmp_path / "b", "common.rule_based"
    )
    assert one.vehicles.equals(other.vehicles)
    assert not one.links["loss_db"].equals(other.links["loss_db"])


def test_a_network_faster_than_the_traffic_ticks_between_steps(tmp_path: Path) -> None:
    fast = {**HIGHWAY_NETWORK, "tick": "20 ms"}
    data = highway().resolved()
    data["record"]["links"] = 0.02
    found = ran(scenario_from_resolved({**data, "network": fast}), tmp_path / "a", "common.human")
    times = found.links["t_us"].unique().sort()
    assert times.diff().drop_nulls().min() == 20_000


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("network.channels.v2i.pathloss.model=tr38901_um", "tr38901_umi"),
        ("network.radios.rsu.bandwidth=-20 MHz", "bandwidth"),
        ("network.radios.rsu.attach.poi=rsu*x", "rsu*x"),
        ("network.links.0.channel=v2", "v2i"),
        ("network.association.policy=a4", "a3"),
        ("network.radios.rsu.atach=1", "attach"),
    ],
)
def test_a_network_that_does_not_fit_is_one_line_with_its_key(override: str, words: str) -> None:
    from cosim.assembly import plan

    with pytest.raises(ScenarioError) as caught:
        plan(load_scenario("urban_rsu", [override]))
    message = str(caught.value)
    assert words in message
    assert "network" in message
    assert "\n" not in message
