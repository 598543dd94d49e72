"""Loading: extends, overrides, built-in types, resolving, and every shipped scenario."""

from __future__ import annotations

import json
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cosim import resources
from cosim.errors import ScenarioError
from cosim.scenario import (
    RecordConfig,
    Scenario,
    TaskConfig,
    TrafficConfig,
    VehicleTypeConfig,
    list_scenarios,
    load_scenario,
    scenario_from_resolved,
)
from cosim.scenario.source import Document, Source, merge, override

BASE = """\
name: base
description: the base
duration: 2 min
traffic:
  net: highway_trifurcation
  inflow:
    rate: 350 veh/h
    routes: {left: 0.25, straight: 0.5, right: 0.25}
tasks:
  driving: {every: 100 ms, agent: common.random, actions: discrete}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def _load(folder: Path, text: str, overrides: tuple[str, ...] = ()) -> Scenario:
    (folder / "child.yaml").write_text(text)
    return load_scenario(folder / "child.yaml", overrides)


def test_a_child_changes_what_it_names_and_keeps_the_rest(folder: Path) -> None:
    child = _load(
        folder,
        "extends: base.yaml\nseed: 5\ntasks: {driving: {every: 1 s}}\n"
        "traffic: {inflow: {rate: 2}, step: 200 ms}\n",
    )
    assert (child.seed, child.traffic.inflow[0].rate, child.traffic.step_us) == (5, 2.0, 200_000)
    assert child.traffic.inflow[0].routes == {"left": 0.25, "straight": 0.5, "right": 0.25}
    assert child.tasks["driving"].options == {"actions": "discrete"}
    assert child.tasks["driving"].every_us == 1_000_000


def test_name_and_description_are_not_inherited(folder: Path) -> None:
    child = _load(folder, "extends: base")
    assert (child.name, child.description) == ("child", "")


def test_lists_are_replaced_and_null_removes(folder: Path) -> None:
    child = _load(
        folder,
        "extends: base\ntraffic:\n  inflow: [{rate: 1, routes: {a: 1}}]\ntasks: {driving: null}\n",
    )
    assert child.traffic.inflow[0].routes == {"a": 1.0}
    assert child.tasks == {}
    routes = _load(folder, "extends: base\ntraffic: {inflow: {routes: {left: null, straight: 0.75}}}")
    assert routes.traffic.inflow[0].routes == {"straight": 0.75, "right": 0.25}


def test_extends_goes_through_folders_and_names(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "middle.yaml").write_text("extends: ../base.yaml\nwarmup: 3 s\n")
    child = _load(folder, "extends: sub/middle.yaml\n")
    assert (child.warmup_us, child.duration_us) == (3_000_000, 120_000_000)
    assert _load(folder, "extends: highway_150vph").traffic.net == "highway_trifurcation"


def test_a_shorter_way_to_write_the_same(folder: Path) -> None:
    plain = _load(folder, BASE)
    numeric = _load(folder, BASE.replace("350 veh/h", "'9.722222222222222e-2'").replace("2 min", "1.2e2"))
    listed = _load(folder, BASE.replace("inflow:\n    rate", "inflow:\n  - rate"))
    merged = _load(
        folder, "x_: &a {every: 100 ms}\n" + BASE.replace("{every: 100 ms,", "{<<: *a,"), ("x_=null",)
    )
    assert plain == numeric == listed == merged


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=3", {"seed": 3}),
        ("traffic.inflow.rate=150 veh/h", {"rate": 150 / 3600}),
        ("traffic.inflow.0.rate=1", {"rate": 1.0}),
        ("traffic.inflow.cav_share=25 %", {"cav_share": 0.25}),
        ("traffic.sumo.options={precision: 4}", {"options": {"precision": 4}}),
        ("tasks.driving.agent=common.human", {"agent": "common.human"}),
        ("tasks.driving=null", {"tasks": {}}),
        ("tasks.driving.reach=[1, 2]", {"reach": [1, 2]}),
        ("network.tick=100 ms", {"tick": "100 ms"}),
        ("record.steps=off", {"steps": 0.0}),
        ("traffic.types.truck={length: 12 m, like: hdv}", {"truck": ...}),
    ],
)
def test_an_override_sets_one_key_before_and_after_loading(
    text: str, expected: dict[str, object], folder: Path
) -> None:
    before = load_scenario("base.yaml", [text])
    after = load_scenario("base.yaml").with_overrides([text])
    assert before == after

    def find(data: object, key: str) -> list[object]:
        if isinstance(data, dict):
            return [v for k, v in data.items() if k == key] + [x for v in data.values() for x in find(v, key)]
        return [x for v in data for x in find(v, key)] if isinstance(data, list) else []

    for key, value in expected.items():
        found = find(after.resolved(), key)
        assert found
        assert value is ... or value in found


def test_an_override_from_elsewhere_is_named_by_its_place() -> None:
    with pytest.raises(ScenarioError, match=r"^study.yaml:7: duraton: unknown key"):
        load_scenario("highway_350vph", ["duration=5 s", "duraton=6 s"], ["study.yaml:6", "study.yaml:7"])
    loaded = load_scenario("highway_350vph")
    with pytest.raises(ScenarioError, match=r"^here: duration: "):
        loaded.with_overrides(["duration=soon"], ["here"])


def test_later_overrides_win_and_the_original_stays(folder: Path) -> None:
    scenario = load_scenario("base.yaml")
    changed = scenario.with_overrides(["seed=1", "seed=2"])
    assert (scenario.seed, changed.seed) == (0, 2)


_keys = st.sampled_from("abcd")
_data = st.dictionaries(
    _keys,
    st.recursive(
        st.integers() | st.text(max_size=3),
        lambda x: st.dictionaries(_keys, x, max_size=3) | st.lists(x, max_size=2),
    ),
    max_size=4,
)


def _document(data: dict[str, object], name: str) -> Document:
    places: dict[tuple[str | int, ...], str] = {(): name}

    def walk(value: object, path: tuple[str | int, ...]) -> None:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, inner in items:
            places[(*path, key)] = name
            walk(inner, (*path, key))

    walk(data, ())
    return Document(data, Source(name, places))


@given(base=_data, child=_data)
def test_merging_keeps_every_key_of_the_child_and_its_place(
    base: dict[str, object], child: dict[str, object]
) -> None:
    merged = merge(_document(base, "base"), _document(child, "child"))
    known = set()

    def walk(value: object, path: tuple[str | int, ...]) -> None:
        known.add(path)
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, inner in items:
            walk(inner, (*path, key))

    walk(merged.data, ())
    assert set(merged.source.places) == known
    assert {p for p, place in merged.source.places.items() if place == "child"} == set(
        _document(child, "child").source.places
    )
    assert merge(merged, _document(child, "child")).data == merged.data


@given(base=_data, path=st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), value=st.integers())
def test_an_override_reads_back(base: dict[str, object], path: list[str], value: int) -> None:
    document = _document(base, "base")
    before = json.dumps(base)
    here: object = document.data
    for part in path[:-1]:
        if not isinstance(here, dict):
            return
        here = here.get(part, {})
    if not isinstance(here, dict):
        return
    changed = override(document, f"{'.'.join(path)}={value}")
    found: object = changed.data
    for part in path:
        assert isinstance(found, dict)
        found = found[part]
    assert found == value
    assert changed.source.place(tuple(path)).startswith("--set")
    assert json.dumps(base) == before


def test_resolving_gives_plain_json_that_loads_to_the_same(folder: Path) -> None:
    scenario = load_scenario("base.yaml", ["network={radios: {rsu: {tx_power: 30 dBm}}}", "record.links=off"])
    text = json.dumps(scenario.resolved(), allow_nan=False)
    again = scenario_from_resolved(json.loads(text))
    assert again == scenario
    assert json.dumps(again.resolved()) == text
    (folder / "resolved.yaml").write_text(text)
    assert load_scenario("resolved.yaml") == scenario
    assert again.record.links_us is None


def test_a_scenario_crosses_to_another_process(folder: Path) -> None:
    scenario = load_scenario("base.yaml")
    again = pickle.loads(pickle.dumps(scenario))
    assert again == scenario
    assert str(again.error("duration", "x")) == "base.yaml:3: duration: x"


def test_a_scenario_cannot_be_changed_in_place(folder: Path) -> None:
    scenario = load_scenario("base.yaml")
    with pytest.raises(ValidationError):
        scenario.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        scenario.traffic.step = 3.0  # type: ignore[misc]


def test_hdv_and_cav_are_the_papers(folder: Path) -> None:
    types = load_scenario("base.yaml").traffic.types
    hdv, cav = types["hdv"], types["cav"]
    assert (hdv.car_following, hdv.accel, hdv.decel, hdv.min_gap, hdv.delta, hdv.max_speed) == (
        "idm",
        3.5,
        1.5,
        2,
        4,
        20,
    )
    assert (hdv.tau, hdv.speed_dev, hdv.length, hdv.speed_mode, hdv.lane_change_mode) == (
        1.0,
        0.1,
        5.0,
        25,
        1,
    )
    assert (cav.speed_mode, cav.lane_change_mode, cav.cav, hdv.cav) == (0, 0, True, False)
    ours = {"cav", "speed_mode", "lane_change_mode", "color"}
    assert cav.model_dump(exclude=ours) == hdv.model_dump(exclude=ours)


def test_a_type_takes_what_it_does_not_say_from_a_built_in_one(folder: Path) -> None:
    scenario = load_scenario(
        "base.yaml",
        [
            "traffic.types.hdv={tau: 2 s}",
            "traffic.types.bot={cav: true, length: 4 m}",
            "traffic.types.truck={length: 12 m, car_following: Krauss}",
            "traffic.types.car={like: passenger}",
        ],
    )
    types = scenario.traffic.types
    assert (types["hdv"].tau, types["hdv"].accel) == (2.0, 3.5)
    assert (types["bot"].speed_mode, types["bot"].length) == (0, 4.0)
    assert (types["truck"].car_following, types["truck"].sumo_model, types["truck"].min_gap) == (
        "krauss",
        "Krauss",
        2.0,
    )
    assert (types["car"].accel, types["car"].speed_mode, types["car"].lane_change_mode) == (None, 31, 1621)


def test_groups_depart_as_drawn(folder: Path) -> None:
    scenario = load_scenario(
        "base.yaml",
        [
            "traffic.vehicles=[{name: east, route: ring, repeat: 20, count: 3,"
            " depart: {group: {uniform: [0 s, 150 s]}, each: {normal: [0, 15 s]}}},"
            " {name: west, route: [a, b], count: 2, depart: [1 s, 2.5]}, {name: one, route: r, depart: 7 s}]"
        ],
    )
    east, west, one = scenario.traffic.vehicles
    u = np.array([0.5, 0.8413447460685429, 0.15865525393145707])
    np.testing.assert_allclose(east.departure_times([0.2], u), [30.0, 45.0, 15.0], rtol=1e-12)
    np.testing.assert_array_equal(west.departure_times([0.2], [0.1, 0.9]), [1.0, 2.5])
    np.testing.assert_array_equal(one.departure_times([0.2], [0.1]), [7.0])
    assert (east.repeat, west.route, scenario_from_resolved(scenario.resolved()) == scenario) == (
        20,
        ("a", "b"),
        True,
    )


@pytest.mark.parametrize("text", ["off", "false", "0", "0 s"])
def test_recording_can_be_switched_off(text: str, folder: Path) -> None:
    assert load_scenario("base.yaml", [f"record.vehicles={text}"]).record.vehicles_us is None


@given(step_ms=st.integers(1, 2000), factor=st.integers(1, 50), slower=st.booleans())
@settings(max_examples=50)
def test_multiples_and_divisors_of_the_step_are_the_periods(step_ms: int, factor: int, slower: bool) -> None:
    period = step_ms * factor / 1000 if slower else step_ms / 1000 / factor
    whole = abs(period * 1e6 - round(period * 1e6)) < 1e-3
    data = {
        "name": "x",
        "duration": step_ms,
        "traffic": {"net": "n", "step": step_ms / 1000},
        "tasks": {"t": {"every": period, "agent": "a.b"}},
        "record": {"steps": "off", "vehicles": "off", "links": "off"},
    }
    if whole:
        assert scenario_from_resolved(data).tasks["t"].every_us == round(period * 1e6)
    else:
        with pytest.raises(ValueError):
            Scenario.model_validate(data)


SHIPPED = sorted((resources.share() / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_scenario_loads_is_described_and_resolves(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert scenario.description
    assert scenario_from_resolved(scenario.resolved()) == scenario


def test_the_highway_family_says_what_its_names_say() -> None:
    for flow in (150, 250, 350):
        shares = {"": 0.5, "_hdv": 0.0, "_cav025": 0.25, "_cav050": 0.5, "_cav075": 0.75, "_cav100": 1.0}
        for suffix, share in shares.items():
            scenario = load_scenario(f"highway_{flow}vph{suffix}")
            (inflow,) = scenario.traffic.inflow
            assert (inflow.rate * 3600, inflow.per) == (pytest.approx(flow, rel=1e-12), "lane")
            assert (inflow.cav_share, inflow.arrivals, inflow.depart_speed) == (share, "poisson", 10.0)
            assert inflow.routes == {"left": 0.25, "straight": 0.5, "right": 0.25}
            assert (scenario.traffic.variant, scenario.step_us) == ("uni", 100_000)
            assert (scenario.warmup_us, scenario.duration_us) == (60_000_000, 180_000_000)
            driver = "tpe_marl.tpe_qmix" if flow == 350 else "common.rule_based"
            task = scenario.tasks["driving"]
            assert task.agent == ("common.human" if suffix == "_hdv" else driver)
            assert (task.weights is None) == (task.agent != "tpe_marl.tpe_qmix")


def test_the_list_of_scenarios_holds_own_ones_before_shipped_ones(folder: Path) -> None:
    (folder / "scenarios").mkdir()
    (folder / "scenarios" / "mine.yaml").write_text(BASE.replace("the base", "my own"))
    (folder / "scenarios" / "highway.yaml").write_text("a: [\n")
    listed = dict(list_scenarios())
    assert listed["mine"] == "my own"
    assert listed["highway"].startswith("(cannot be read: ")
    assert {p.stem for p in SHIPPED} < set(listed)
    assert load_scenario("mine").name == "base"


def _documented(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scenario.md").read_text()
    named = set(re.findall(r"^\| `([a-z_]+)`", text, flags=re.MULTILINE))
    keys: set[str] = set()
    models: list[type[BaseModel]] = [Scenario, TrafficConfig, TaskConfig, RecordConfig, VehicleTypeConfig]
    for model in models:
        keys |= _documented(model)
    for _, field in TrafficConfig.model_fields.items():
        for inner in re.findall(r"(\w+Config)", str(field.annotation)):
            keys |= _documented(getattr(__import__("cosim.scenario", fromlist=[inner]), inner))
    assert keys - named == set()


def test_durations_are_seconds_in_print_and_microseconds_inside(folder: Path) -> None:
    scenario = load_scenario("base.yaml", ["traffic.step=0.05"])
    assert math.isclose(scenario.resolved()["traffic"]["step"], 0.05)
    assert scenario.step_us == 50_000
