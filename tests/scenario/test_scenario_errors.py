"""Every way to get a scenario wrong gives one line: file, line, key, what is wrong, what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from cosim.errors import ScenarioError
from cosim.scenario import Scenario, Section, load_scenario, scenario_from_resolved, units

GOOD = """\
duration: 10 s
traffic:
  net: highway_trifurcation
  inflow: {rate: 350 veh/h, routes: {left: 1}}
tasks:
  driving:
    every: 100 ms
    agent: common.random
"""


def _message(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario("bad.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


def _with(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


_VEHICLES = "vehicles: {name: a, route: x, count: 2, depart: %s}"
_INFLOW = "inflow: {rate: 350 veh/h, routes: {left: 1}}"

MALFORMED = {
    "a tab": ("traffic:\n\tnet: x\n", "bad.yaml:2: is not YAML: a tab character; indent with spaces"),
    "an open bracket": ("traffic: {net: x\nduration: 3\n", "bad.yaml:2: is not YAML: "),
    "two colons": ("a: 1\ntraffic: net: x\n", "bad.yaml:2: is not YAML: mapping values are not allowed"),
    "a control character": ("a: \x00\n", "bad.yaml:1: is not YAML: "),
    "a second document": (GOOD + "---\na: 1\n", "bad.yaml:9: is not YAML: a second document"),
    "brackets without end": ("a: " + "[" * 3000, "bad.yaml:1: is nested too deeply"),
    "an empty file": ("# nothing\n", "bad.yaml:1: is empty"),
    "a list": ("- a\n", "bad.yaml:1: must be a mapping of keys such as 'traffic:', not a list"),
    "one word": ("hello\n", "bad.yaml:1: must be a mapping"),
    "a key twice": (GOOD + "duration: 3\n", "bad.yaml:9: duration: is written twice (first in line 1)"),
    "a nested key twice": (
        _with("every: 100 ms", "every: 100 ms\n    every: 1 s"),
        "bad.yaml:8: tasks.driving.every: is written twice (first in line 7)",
    ),
    "a key that is a list": ("? [a, b]\n: 1\n", "bad.yaml:1: a key must be a plain word"),
    "a Python object": (
        GOOD + "network: !!python/object/apply:os.system ['true']\n",
        "bad.yaml:9: network: the tag '!!python/object/apply:os.system' is not allowed",
    ),
    "a tag of one's own": (GOOD + "network:\n  a: !x 1\n", "bad.yaml:10: network.a: the tag '!x' is not"),
    "infinity": (GOOD + "warmup: .inf\n", "bad.yaml:9: warmup: .inf is not a finite number"),
    "an alias inside its anchor": ("a: &a [*a]\n", "bad.yaml:1: a.0: contains itself"),
    "an unknown key": (
        GOOD + "durationn: 3\n",
        "bad.yaml:9: durationn: unknown key (did you mean 'duration'?)",
    ),
    "an unknown nested key": (
        _with("rate:", "raet:"),
        "bad.yaml:4: traffic.inflow.raet: unknown key (did you mean 'rate'?)",
    ),
    "an unknown key like no other": (
        GOOD + "record: {zzz: 1}\n",
        "bad.yaml:9: record.zzz: unknown key; known here: commands, links, steps, vehicles",
    ),
    "a missing key": (_with("duration: 10 s\n", ""), "bad.yaml:1: duration: is missing"),
    "a missing nested key": (_with("    every: 100 ms\n", ""), "bad.yaml:6: tasks.driving.every: is missing"),
    "a misspelt key among free ones": (
        _with("every:", "evry:"),
        "bad.yaml:6: tasks.driving.every: is missing (is it misspelt as 'evry'?)",
    ),
    "the wrong dimension": (
        _with("350 veh/h", "46 dBm"),
        "bad.yaml:4: traffic.inflow.rate: '46 dBm' is a power, not a vehicle rate; write",
    ),
    "an unknown unit": (_with("10 s", "10 sek"), "bad.yaml:1: duration: unknown unit 'sek' in '10 sek'"),
    "a negative rate": (
        _with("350 veh/h", "-3"),
        "bad.yaml:4: traffic.inflow.rate: must be at least 0, not -3",
    ),
    "no duration": (_with("10 s", "0"), "bad.yaml:1: duration: must be greater than 0, not 0"),
    "shares beyond one": (
        _with("{left: 1}", "{left: 0.5, right: 0.6}"),
        "bad.yaml:4: traffic.inflow.routes: the shares sum to 1.1, not to 1",
    ),
    "no routes": (_with("{left: 1}", "{}"), "bad.yaml:4: traffic.inflow.routes: must not be empty"),
    "a share above one": (
        _with("routes:", "cav_share: 1.5, routes:"),
        "bad.yaml:4: traffic.inflow.cav_share: a share lies between 0 and 1, not 1.5",
    ),
    "an unknown choice": (
        _with("routes:", "per: lan, routes:"),
        "bad.yaml:4: traffic.inflow.per: 'lan' is not one of lane, edge (did you mean 'lane'?)",
    ),
    "a number for a mapping": (
        "duration: 1\ntraffic: 5\n",
        "bad.yaml:2: traffic: must be a mapping of keys, not 5",
    ),
    "a list for a mapping": (
        _with("  driving:", "  - driving:"),
        "bad.yaml:5: tasks: must be a mapping of keys, not a list",
    ),
    "a number for inflows": (
        _with(_INFLOW, "inflow: 5"),
        "bad.yaml:4: traffic.inflow: must be a mapping or a list of mappings, not 5",
    ),
    "a number for a name": (
        "name: 350\n" + GOOD,
        "bad.yaml:1: name: must be text, not 350; put it in quotes",
    ),
    "a path for a name": ("name: ../x\n" + GOOD, "bad.yaml:1: name: '../x' must hold letters"),
    "half a seed": (GOOD + "seed: 1.5\n", "bad.yaml:9: seed: must be a whole number, not 1.5"),
    "a true seed": (GOOD + "seed: true\n", "bad.yaml:9: seed: must be a plain number, not true"),
    "a number for a switch": (
        _with(_INFLOW, "outputs: {fcd: 3}"),
        "bad.yaml:4: traffic.outputs.fcd: must be true or false, not 3",
    ),
    "a period beside the step": (
        _with("100 ms", "150 ms"),
        "bad.yaml:7: tasks.driving.every: period 150 ms is neither a whole multiple nor a whole divisor of"
        " the traffic step 100 ms",
    ),
    "a recording period beside the step": (
        GOOD + "record: {steps: 70 ms}\n",
        "bad.yaml:9: record.steps: period 70 ms is neither",
    ),
    "a duration beside the step": (
        _with("10 s", "10.05 s"),
        "bad.yaml:1: duration: 10.05 s is not a whole multiple of the traffic step of 100 ms",
    ),
    "a step finer than SUMO's": (
        _with(_INFLOW, "step: 0.5 ms"),
        "bad.yaml:4: traffic.step: 0.0005 s is not a whole number of milliseconds",
    ),
    "a command for an agent": (
        _with("common.random", "cmd:python x.py"),
        "bad.yaml:8: tasks.driving.agent: 'cmd:python x.py' is a command; a scenario only names agents",
    ),
    "half an agent's name": (
        _with("common.random", "random"),
        "bad.yaml:8: tasks.driving.agent: 'random' is not an agent's name, such as 'common.rule_based'",
    ),
    "a second list item": (
        _with(_INFLOW, "inflow:\n    - {rate: 1, routes: {a: 1}}\n    - {name: b, rte: 2, routes: {a: 1}}"),
        "bad.yaml:6: traffic.inflow.1.rte: unknown key (did you mean 'rate'?)",
    ),
    "one name for two inflows": (
        _with(_INFLOW, "inflow:\n    - {rate: 1, routes: {a: 1}}\n    - {rate: 2, routes: {a: 1}}"),
        "bad.yaml:6: traffic.inflow.1.name: 'veh' is used by inflow.0 too",
    ),
    "more than one vehicle a step": (
        _with("rate: 350 veh/h", "arrivals: bernoulli, rate: 11"),
        "bad.yaml:4: traffic.inflow.rate: 11 veh/s is more than one vehicle in a step of 0.1 s",
    ),
    "an inflow that ends before it begins": (
        _with("routes:", "begin: 5 s, end: 4 s, routes:"),
        "bad.yaml:4: traffic.inflow.end: 4 s is not after begin, 5 s",
    ),
    "an unknown vehicle type": (
        _with("routes:", "hdv_type: hvd, routes:"),
        "bad.yaml:4: traffic.inflow.hdv_type: unknown vehicle type 'hvd' (did you mean 'hdv'?)",
    ),
    "a human type for CAVs": (
        _with("routes:", "cav_type: hdv, routes:"),
        "bad.yaml:4: traffic.inflow.cav_type: 'hdv' is not a CAV type",
    ),
    "a misspelt type attribute": (
        _with(_INFLOW, "types: {hdv: {acel: 3}}"),
        "bad.yaml:4: traffic.types.hdv.acel: unknown key (did you mean 'accel'?)",
    ),
    "an unknown car-following model": (
        _with(_INFLOW, "types: {hdv: {car_following: kraus}}"),
        "bad.yaml:4: traffic.types.hdv.car_following: unknown car-following model 'kraus'",
    ),
    "an unknown type to be like": (
        _with(_INFLOW, "types: {truck: {like: hdvv}}"),
        "bad.yaml:4: traffic.types.truck.like: 'hdvv' is not a built-in type (did you mean 'hdv'?)",
    ),
    "an attribute that has its own key": (
        _with(_INFLOW, "types: {hdv: {params: {minGap: 3}}}"),
        "bad.yaml:4: traffic.types.hdv.params.minGap: is set by cosim; use min_gap",
    ),
    "a list for an attribute": (
        _with(_INFLOW, "types: {hdv: {params: {guiShape: [1]}}}"),
        "bad.yaml:4: traffic.types.hdv.params.guiShape: must be text, a whole number, a number or true or"
        " false, not a list",
    ),
    "two departures for three": (
        _with(_INFLOW, "vehicles: {name: a, route: x, count: 3, depart: [1, 2]}"),
        "bad.yaml:4: traffic.vehicles.depart: lists 2 times for 3 vehicles (count)",
    ),
    "a misspelt distribution": (
        _with(_INFLOW, _VEHICLES % "{group: {unifrm: [0, 1]}}"),
        "bad.yaml:4: traffic.vehicles.depart.group.unifrm: unknown key (did you mean 'uniform'?)",
    ),
    "half a distribution": (
        _with(_INFLOW, _VEHICLES % "{group: {uniform: [0]}}"),
        "bad.yaml:4: traffic.vehicles.depart.group.uniform: needs at least 2 items",
    ),
    "a distribution the wrong way round": (
        _with(_INFLOW, _VEHICLES % "{group: {uniform: [5, 1]}}"),
        "bad.yaml:4: traffic.vehicles.depart.group.uniform: 5 s is after 1 s",
    ),
    "an option of SUMO that runs a program": (
        _with(_INFLOW, "sumo:\n    options:\n      python-script: x.py"),
        "bad.yaml:6: traffic.sumo.options.python-script: is not an option that a scenario may set",
    ),
    "an option of SUMO that writes a file": (
        _with(_INFLOW, "sumo:\n    options:\n      device.toc.file: /tmp/x"),
        "bad.yaml:6: traffic.sumo.options.device.toc.file: is not an option that a scenario may set",
    ),
    "an option of SUMO that cosim sets": (
        _with(_INFLOW, "sumo:\n    options:\n      step-length: 1"),
        "bad.yaml:6: traffic.sumo.options.step-length: is set by cosim; use the key traffic.step",
    ),
    "a missing base": ("extends: nope.yaml\n" + GOOD, "bad.yaml:1: extends: there is no file 'nope.yaml'"),
    "a list of bases": (
        "extends: [a]\n" + GOOD,
        "bad.yaml:1: extends: must be the name of one scenario file",
    ),
    "itself as base": (
        "extends: bad.yaml\n" + GOOD,
        "bad.yaml:1: extends: goes round in a circle: bad.yaml -> bad.yaml",
    ),
}


@pytest.mark.parametrize(("text", "start"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_scenario_is_one_line_with_file_line_and_key(
    text: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _message(tmp_path, text, monkeypatch).startswith(start)


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    text = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    text += "".join(f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n" for old, new in pairs)
    assert "is too large for a scenario" in _message(tmp_path, text, monkeypatch)


def test_files_that_are_no_text_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\xfe")
    (tmp_path / "folder").mkdir()
    for name, words in [("latin.yaml", "is not a text file in UTF-8"), ("folder", "is a folder")]:
        with pytest.raises(ScenarioError, match=words):
            load_scenario(name)


def test_an_unknown_name_suggests_the_nearest_scenario() -> None:
    with pytest.raises(
        ScenarioError, match=r"no scenario 'highway_350vhp' \(did you mean 'highway_350vph'\?\)"
    ):
        load_scenario("highway_350vhp")
    with pytest.raises(ScenarioError, match="cosim list scenarios"):
        load_scenario("zzzzzz")


def test_an_error_in_a_base_names_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.yaml").write_text(_with("350 veh/h", "350 km"))
    message = _message(tmp_path, "\nextends: base.yaml\nseed: 3\n", monkeypatch)
    assert message.startswith("base.yaml:4: traffic.inflow.rate: '350 km' is a length")


def test_an_error_in_a_child_names_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.yaml").write_text(GOOD)
    text = "extends: base\ntraffic:\n  inflow:\n    rate: 350 km\n"
    assert _message(tmp_path, text, monkeypatch).startswith("bad.yaml:4: traffic.inflow.rate: '350 km'")


_OVERRIDES = {
    "traffic.stepp=1": "traffic.stepp: unknown key (did you mean 'step'?)",
    "duratoin=5": "duratoin: unknown key (did you mean 'duration'?)",
    "duration=": "duration: is missing",
    "duration": "write key=value, for example --set traffic.step=100ms",
    "=3": "write key=value",
    "traffic..x=3": "write key=value",
    "traffic.step=[": "is not YAML",
    "traffic.step=!x 3": "the tag '!x' is not allowed",
    "duration.x=1": "duration is '10 s', not a mapping with keys",
    "traffic.inflow.0.rate=5 m": "traffic.inflow.rate: '5 m' is a length, not a vehicle rate",
    "traffic.inflow.rat=5": "traffic.inflow.rat: unknown key (did you mean 'rate'?)",
    "traffic.inflow.0=5": "traffic.inflow is one mapping; name a key in it",
    "traffic.inflow=[{rate: 1, rte: 2}]": "traffic.inflow.0.rte: unknown key (did you mean 'rate'?)",
    "tasks.driving.every=30 ms": "tasks.driving.every: period 30 ms is neither",
    "tasks.driving.agent=cmd:rm": "tasks.driving.agent: 'cmd:rm' is a command",
}


@pytest.mark.parametrize(("override", "message"), _OVERRIDES.items())
def test_a_bad_override_is_named_as_it_was_written(
    override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    with pytest.raises(ScenarioError) as caught:
        load_scenario("good.yaml", [override])
    assert str(caught.value).startswith(f"--set {override}: {message}")
    with pytest.raises(ScenarioError) as again:
        load_scenario("good.yaml").with_overrides([override])
    assert str(again.value).startswith(f"--set {override}: ")


class _Disc(Section):
    kind: Literal["disc"]
    radius: units.Length


class _Box(Section):
    kind: Literal["box"]
    width: units.Length


class _Sized(Section):
    size: tuple[int, int]


class _Options(Section):
    shape: Annotated[_Disc | _Box, Field(discriminator="kind")] | None = None
    plain: _Disc | _Sized | None = None
    number: int | list[int] | None = None
    inner: dict[str, list[_Disc]] = Field(default_factory=dict)


_SECTIONS = {
    "shape: {kind: disk, radius: 3}": "5: network.shape: 'disk' is not one of disc, box (did you mean",
    "shape: {radius: 3}": "5: network.shape: needs the key 'kind'",
    "shape: {kind: disc, radius: 3 s}": "5: network.shape.radius: '3 s' is a time, not a length",
    "shape: {kind: disc, radios: 3}": "5: network.shape.radios: unknown key (did you mean 'radius'?)",
    "plain: {kind: disc, radius: 3 s}": "5: network.plain.radius: '3 s' is a time, not a length",
    "plain: {size: [1, x]}": "5: network.plain.size.1: must be a whole number, not 'x'",
    "plain: 5": "5: network.plain: must be a mapping of keys, not 5",
    "number: x": "5: network.number: must be a whole number or a list, not 'x'",
    "inner:\n    a:\n      - kind: disc\n        radius: 1 s": "8: network.inner.a.0.radius: '1 s' is a time",
    "inner:\n    a:\n      - kind: disc": "7: network.inner.a.0.radius: is missing",
    "inner: {a: {kind: disc}}": "5: network.inner.a: must be a list, not a mapping",
    "shap: 3": "5: network.shap: unknown key (did you mean 'shape'?)",
}


def _loaded(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.chdir(folder)
    (folder / "s.yaml").write_text(text)
    return load_scenario("s.yaml")


@pytest.mark.parametrize(("section", "message"), _SECTIONS.items())
def test_nested_and_union_models_speak_plainly_too(
    section: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "duration: 10\ntraffic:\n  net: x\nnetwork:\n  " + section + "\n"
    scenario = _loaded(tmp_path, text, monkeypatch)
    with pytest.raises(ScenarioError) as caught:
        scenario.parse("network", _Options)
    assert str(caught.value).startswith("s.yaml:" + message)


class _TaskOptions(Section):
    actions: Literal["discrete", "continuous"] = "discrete"
    reach: units.Length = 100.0


def test_a_task_reads_only_its_own_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _loaded(tmp_path, GOOD + "    reach: 2 km\n", monkeypatch)
    assert scenario.parse("tasks.driving", _TaskOptions) == _TaskOptions(reach=2000.0)
    assert scenario.parse("tasks.absent", _TaskOptions) == _TaskOptions()


def test_a_task_option_is_wrong_with_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _loaded(tmp_path, GOOD + "    reech: 2 km\n", monkeypatch)
    with pytest.raises(
        ScenarioError, match=r"^s.yaml:9: tasks.driving.reech: unknown key \(did you mean 'reach'"
    ):
        scenario.parse("tasks.driving", _TaskOptions)
    late = _loaded(tmp_path, GOOD + "    deadlin: 2\n", monkeypatch)
    with pytest.raises(ScenarioError, match=r"tasks.driving.deadlin: unknown key \(did you mean 'deadline'"):
        late.parse("tasks.driving", _TaskOptions)


def test_places_survive_copying_and_resolving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _loaded(tmp_path, GOOD, monkeypatch)
    copy = scenario.model_copy(update={"seed": 7}).with_overrides(["warmup=1 s"])
    assert str(copy.error("traffic.inflow.0.rate", "no")) == "s.yaml:4: traffic.inflow.rate: no"
    assert str(copy.error("warmup", "no")) == "--set warmup=1 s: warmup: no"
    assert copy.seed == 7
    plain = scenario_from_resolved(scenario.resolved(), "run x")
    assert str(plain.error("traffic.inflow.0.rate", "no")) == "run x: traffic.inflow.0.rate: no"


def test_an_error_with_a_key_gets_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _loaded(tmp_path, GOOD, monkeypatch)
    located = scenario.locate_error(ScenarioError("there is no net 'x'", key="traffic.net"))
    assert str(located) == "s.yaml:3: traffic.net: there is no net 'x'"
    plain = ScenarioError("no display")
    assert scenario.locate_error(plain) is plain


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("ab:-{}[],#&*!|> \n\t'\"0.~%@`?"), max_size=40))
def test_any_text_is_a_scenario_or_one_line(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)
