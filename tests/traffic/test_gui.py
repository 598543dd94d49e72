"""sumo-gui: what it shows, that it changes nothing, and how it is opened and left.

The tests of the marker ``gui`` start an Xvfb of their own and look at what real windows show; they take about
twenty seconds together.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from ruamel.yaml import YAML

from agents.common.keep_lane import KeepLane
from cosim import runner
from cosim.assembly import assemble
from cosim.errors import ScenarioError
from cosim.lockstep import Actions
from cosim.lockstep.inline import InlineHost
from cosim.lockstep.registry import create_agent, register_agent
from cosim.network.config import NetworkConfig
from cosim.network.network import Network
from cosim.recording import digest, load_run
from cosim.scenario import load_scenario
from cosim.tasks import Instant
from cosim.tasks.driving.observation import describe_continuous, describe_discrete
from cosim.traffic.commands import Commands
from cosim.traffic.gui import (
    LINK_COLOURS,
    POI_TEXT,
    STATION_COLOURS,
    VIEW,
    Canvas,
    GuiOptions,
    StationMark,
    check_gui,
    gui_arguments,
    station_marks,
    view_box,
    view_settings_text,
)
from cosim.traffic.nets import find_net, load_geometry
from cosim.traffic.sumo import Traffic
from cosim.window import draw_network, plain_words

SHORT = ("warmup=0", "duration=12 s", "traffic.inflow.rate=1500 veh/h")
CAV, HDV = (0, 160, 255), (240, 160, 0)
URBAN = """
name: urban
warmup: 0
duration: 15 s
traffic:
  net: urban_rsu
  step: 1 s
  inflow: {edge: east_0, rate: 1200 veh/h, routes: {east: 1}}
"""


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server of our own on a free display, with DISPLAY set to it."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1400x900x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert server.stdout is not None
    name = f":{server.stdout.readline().decode().strip()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", name)
        yield name
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def shown(display, tmp_path_factory) -> tuple[runner.RunResult, np.ndarray]:
    """A short run of the highway with a window, and the picture of its end."""
    folder = tmp_path_factory.mktemp("shown")
    gui = GuiOptions(delay_s=0.0, quit_at_end=True, screenshot=folder / "end.png")
    options = runner.RunOptions(inline=True, gui=gui, out=folder / "run")
    result = runner.run("highway_350vph", options, overrides=SHORT)
    return result, picture(folder / "end.png")


@pytest.fixture
def canvas() -> Iterator[Canvas]:
    """A canvas over a real SUMO; shapes need no window to exist."""
    scenario = load_scenario("highway_350vph")
    net = find_net("highway_trifurcation")
    with Traffic(scenario.traffic, net, 0) as traffic:
        yield Canvas(traffic.api)


def picture(file: Path) -> np.ndarray:
    """Red, green and blue of each pixel, 0 to 255, (height, width, 3)."""
    return np.rint(255 * imread(file)[:, :, :3]).astype(int)


def like(pixels: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    """Which pixels have about that colour."""
    return (np.abs(pixels - np.array(colour[:3])) <= 24).all(axis=-1)


# --- what is seen ----------------------------------------------------------------------------------------------


@pytest.mark.gui
def test_a_window_changes_no_byte_of_the_tables(shown, tmp_path):
    result, _ = shown
    plain = runner.run(
        "highway_350vph", runner.RunOptions(inline=True, out=tmp_path / "plain"), overrides=SHORT
    )
    assert result.status == plain.status == "completed"
    assert result.metrics == plain.metrics
    assert digest(result.dir) == digest(plain.dir)


@pytest.mark.gui
def test_nothing_that_is_drawn_is_recorded_as_a_command(shown):
    kinds = set(load_run(shown[0].dir).commands["kind"].unique())
    assert kinds
    assert not kinds & {"note", "colour"}


@pytest.mark.gui
def test_the_picture_shows_cavs_and_hdvs_in_their_colours(shown):
    _, pixels = shown
    assert pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    # A car in full view has some 100 pixels of its colour.
    assert like(pixels, CAV).sum() > 200
    assert like(pixels, HDV).sum() > 200


@pytest.mark.gui
def test_the_picture_shows_the_vehicles_where_the_last_state_has_them(shown):
    result, pixels = shown
    last = load_run(result.dir).vehicles.filter(t_us=12_000_000)
    assert len(last) > 5
    box = view_box(find_net("highway_trifurcation"), marks("highway_trifurcation"))
    for kind, x, y in last.select("type", "x", "y").iter_rows():
        row, column = place(pixels, box, x - 2.5, y)  # x is the front bumper; all drive east
        around = pixels[row - 8 : row + 8, column - 12 : column + 12]
        assert like(around, CAV if kind == "cav" else HDV).any(), (kind, x, y)


def marks(net: str) -> tuple[StationMark, ...]:
    return station_marks(load_geometry(find_net(net)))


def place(pixels: np.ndarray, box: tuple[float, ...], x: float, y: float) -> tuple[int, int]:
    """Row and column of a point: the view holds the whole box, centred, the same scale both ways."""
    height, width = pixels.shape[:2]
    scale = min(width / (box[2] - box[0]), height / (box[3] - box[1]))
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return round(height / 2 - (y - middle[1]) * scale), round(width / 2 + (x - middle[0]) * scale)


@pytest.mark.gui
def test_migrations_are_seen_as_gauges_and_lines_and_change_no_byte(display, tmp_path):
    gui = GuiOptions(delay_s=0.0, quit_at_end=True, screenshot=tmp_path / "end.png")
    short = [f"traffic.vehicles.{g}.depart=0" for g in (0, 1)] + ["warmup=40", "duration=23"]
    short += ["traffic.inflow=null", "tasks.migration.agent=common.random"]
    options = {"inline": True}
    with_window = runner.run(
        "urban_avatar", runner.RunOptions(gui=gui, out=tmp_path / "a", **options), overrides=short
    )
    without = runner.run("urban_avatar", runner.RunOptions(out=tmp_path / "b", **options), overrides=short)
    assert with_window.status == without.status == "completed"
    assert digest(with_window.dir) == digest(without.dir)
    pixels, loads = picture(tmp_path / "end.png"), load_run(without.dir).steps.filter(t_us=62_000_000)
    box = view_box(find_net("urban_rsu"), marks("urban_rsu"))
    # The gauge of an RSU stands above or below it, 24 to 72 pixels away.
    for mark in marks("urban_rsu"):
        load = loads[f"migration_load_{mark.id}"][0] / 300e9
        row, column = place(pixels, box, mark.x, mark.y)
        low, high = (row - 100, row - 20) if mark.y > 0 else (row + 20, row + 100)
        bar = like(pixels[low:high, column - 2 : column + 3], (231, 148, 23)).any(axis=1).sum()
        assert bar == pytest.approx(
            load * 0.04 * (box[2] - box[0]) * pixels.shape[1] / (box[2] - box[0]), abs=4
        )
    for kind in ("avatar", "pre_migration"):
        assert like(pixels, LINK_COLOURS[kind]).any()


@pytest.mark.gui
def test_stations_and_their_coverage_discs_are_seen(display, tmp_path):
    (tmp_path / "urban.yaml").write_text(URBAN)
    gui = GuiOptions(delay_s=0.0, quit_at_end=True, screenshot=tmp_path / "end.png")
    runner.run(tmp_path / "urban.yaml", runner.RunOptions(gui=gui, out=tmp_path / "run"))
    pixels = picture(tmp_path / "end.png")
    stations = marks("urban_rsu")
    assert len(stations) == 6
    box = view_box(find_net("urban_rsu"), stations)
    ground = pixels[4, 4]
    for mark in stations:
        row, column = place(pixels, box, mark.x, mark.y)
        around = pixels[row - 9 : row + 9, column - 9 : column + 9]
        assert like(around, (230, 60, 40)).sum() > 40, mark.id
        away = np.sign(mark.y)
        inside = pixels[place(pixels, box, mark.x, away * (abs(mark.y) + 0.9 * mark.range_m))]
        outside = pixels[place(pixels, box, mark.x, away * (abs(mark.y) + 1.05 * mark.range_m))]
        assert (outside == ground).all(), mark.id
        assert inside[0] - inside[2] > ground[0] - ground[2], mark.id  # redder


@pytest.mark.gui
def test_the_last_action_is_a_parameter_and_is_written_beside_a_selected_vehicle(display, tmp_path):
    scenario = load_scenario("highway_350vph", SHORT)
    gui = GuiOptions(delay_s=0.0, quit_at_end=True)
    assembly = assemble(scenario, gui=gui, agents={"driving": "common.keep_lane"}, endless=True)
    try:
        host = InlineHost(create_agent("common.keep_lane"), "common.keep_lane", "driving")
        host.reset(assembly.plan.infos["driving"])
        loop = assembly.engine.decisions()
        question = next(loop)
        while assembly.engine.t_us < 6_000_000:
            question = loop.send(host.act(question.observations))
        vehicle = question.observations.ids[0]
        api = assembly.traffic.api
        words = api.vehicle.getParameter(vehicle, "cosim.action")
        assert words in describe_discrete(np.arange(9))
        assert words.endswith("keep lane")
        assert api.vehicle.getParameter(vehicle, "cosim.agent") == "common.keep_lane"
        hdv = next(i for i in assembly.traffic.state.ids if api.vehicle.getTypeID(i) == "hdv")
        assert api.vehicle.getParameter(hdv, "cosim.action") == ""
        labels = []
        for name in ("plain.png", "selected.png"):
            api.gui.screenshot(VIEW, str(tmp_path / name))
            question = loop.send(host.act(question.observations))
            labels.append((picture(tmp_path / name).min(axis=-1) > 226).sum())  # the label's white ground
            api.gui.toggleSelection(vehicle)
        assert labels[1] > labels[0] + 500
    finally:
        assembly.close()


class Relating(KeepLane):
    """Keeps its lane and looks at the vehicle in the next row, the last one at nobody."""

    @staticmethod
    def partners(observations):
        rows = np.arange(1, observations.active + 1)
        return {"nearest": np.where(rows < observations.active, rows, -1)}


@pytest.mark.gui
def test_lines_lead_from_chosen_vehicles_to_those_that_their_agent_looks_at(display, monkeypatch):
    monkeypatch.setattr("cosim.window._FRAME_S", 0.0)
    register_agent("test.relating")(Relating)
    gui = GuiOptions(delay_s=0.0, quit_at_end=True, follow="veh.000004")
    scenario = load_scenario("highway_350vph", [*SHORT, "traffic.inflow.cav_share=1"])
    assembly = assemble(scenario, gui=gui, agents={"driving": "test.relating"}, endless=True)
    try:
        host = InlineHost(Relating(None), "test.relating", "driving")
        host.reset(assembly.plan.infos["driving"])
        loop = assembly.engine.decisions()
        traffic, api = assembly.traffic, assembly.traffic.api

        def drive(seconds: float) -> tuple[str, ...]:
            """Go on, and return who was asked at the instant that is drawn now."""
            question, end = drive.question, assembly.engine.t_us + seconds * 1e6
            while assembly.engine.t_us < end:
                asked = question.observations
                question = loop.send(host.act(asked))
            drive.question = question
            return asked.ids[: asked.active]

        def lines() -> list[tuple[int, int]]:
            """Each line as the vehicles that its ends lie on."""
            xy = dict(zip(traffic.state.ids, traffic.state.xy, strict=True))
            shapes = [
                api.polygon.getShape(p) for p in api.polygon.getIDList() if p.startswith("link.nearest")
            ]
            at = lambda end: min(xy, key=lambda name: np.hypot(*(xy[name] - end)))  # noqa: E731
            return [tuple(at(np.array(end)) for end in shape) for shape in shapes]

        drive.question = next(loop)
        asked = drive(8.0)
        assert api.gui.getTrackedVehicle(VIEW) == "veh.000004"
        followed = asked.index("veh.000004")
        expected = [asked[followed : followed + 2]] if followed + 1 < len(asked) else []
        assert lines() == expected
        for name in asked[:-1]:
            api.gui.toggleSelection(name)
        asked = drive(0.1)
        chosen = [k for k, name in enumerate(asked[:-1]) if api.gui.isSelected(name) or name == "veh.000004"]
        assert lines() == [asked[k : k + 2] for k in chosen]
    finally:
        assembly.close()


# --- how it is opened and left ---------------------------------------------------------------------------------


def cosim(*arguments: str, out: Path, **environment: str) -> subprocess.Popen[str]:
    """Start ``cosim run`` as a user does; Ctrl-C reaches it even where the tests run in the background."""
    code = "import sys; from cosim.cli import main; sys.argv[0] = 'cosim'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", *arguments, "--out", str(out)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=out.parent,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def close_windows(display: str) -> None:
    """Ask sumo-gui's window, and its question at the end, to close, as their close buttons do."""
    script = Path(__file__).parent / "close_windows.py"
    subprocess.run([sys.executable, str(script), display], capture_output=True, check=False)


def until(condition, seconds: float = 30.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def left_behind(out: Path) -> bool:
    """Whether a process still works for that run directory."""
    commands = (file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline"))
    return any(str(out).encode() in command for command in commands)


@pytest.mark.gui
@pytest.mark.parametrize("how", ["Ctrl-C", "closing it"])
def test_a_run_ended_by_the_user_keeps_its_rows_and_leaves_nothing_behind(display, tmp_path, how):
    out = tmp_path / "run"
    run = cosim("highway_350vph", "--gui", "--gui-delay", "5 ms", "--set", "warmup=0", out=out)
    until(lambda: any((out / "vehicles").glob("*.parquet")))
    if how == "Ctrl-C":
        run.send_signal(signal.SIGINT)
    else:
        close_windows(display)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 130
    (line,) = errors.splitlines()
    assert line.startswith("interrupted")
    assert ("window was closed at" in line) == (how == "closing it")
    assert load_run(out).status == "interrupted"
    assert len(load_run(out).vehicles) > 0
    assert not left_behind(out)


@pytest.mark.gui
@pytest.mark.parametrize("how", ["Ctrl-C", "closing it"])
def test_the_window_stays_when_everything_is_finished(display, tmp_path, how):
    arguments = ["--set", "warmup=0", "--duration", "2 s", "--set", "traffic.outputs.fcd=true", "--inline"]
    run = cosim("highway_350vph", "--gui", "--gui-delay", "0", *arguments, out=tmp_path / "run")
    assert run.stderr is not None
    assert "sumo-gui stays open" in run.stderr.readline()
    assert load_run(tmp_path / "run").status == "completed"
    time.sleep(0.3)
    assert run.poll() is None
    if how == "Ctrl-C":
        run.send_signal(signal.SIGINT)
    else:
        until(lambda: close_windows(display) or run.poll() is not None)
    run.communicate(timeout=30)
    assert run.returncode == 0
    # SUMO's own outputs are whole, so it was not killed.
    assert (tmp_path / "run/sumo/fcd.xml").read_text().rstrip().endswith("</fcd-export>")
    assert not left_behind(tmp_path / "run")


def test_without_a_display_one_line_says_so_and_nothing_is_written(tmp_path):
    run = cosim("highway_350vph", "--gui", out=tmp_path / "run", DISPLAY="")
    output, errors = run.communicate(timeout=30)
    assert run.returncode == 2
    assert output == ""
    (line,) = errors.splitlines()
    assert line.startswith("error: sumo-gui needs a display")
    assert list(tmp_path.iterdir()) == []


def test_a_display_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":65000")
    with pytest.raises(ScenarioError, match="none answers at DISPLAY=:65000"):
        check_gui(GuiOptions())


@pytest.mark.parametrize("name", ["end.jpg", "missing/end.png"])
def test_a_screenshot_that_cannot_be_written_is_refused_at_once(name, tmp_path):
    with pytest.raises(ScenarioError, match="--screenshot .*" + name):
        check_gui(GuiOptions(screenshot=tmp_path / name))


def test_options_become_those_of_sumo_gui(tmp_path):
    net = find_net("urban_rsu")
    given = gui_arguments(GuiOptions(delay_s=0.25), net, tmp_path)
    assert given[given.index("--delay") + 1] == "250"
    assert given[given.index("--gui-settings-file") + 1] == str(net.gui_settings)
    assert "--start" in given
    assert "--quit-on-end" not in given
    assert "--quit-on-end" in gui_arguments(GuiOptions(quit_at_end=True), net, tmp_path)


def test_a_net_without_view_settings_gets_ours(tmp_path):
    net = find_net(find_net("urban_rsu").net_file)
    given = gui_arguments(GuiOptions(), net, tmp_path)
    settings = Path(given[given.index("--gui-settings-file") + 1])
    assert settings.parent == tmp_path
    assert settings.read_text() == view_settings_text()


# --- words and shapes ------------------------------------------------------------------------------------------


def test_actions_are_told_in_words():
    assert describe_discrete(np.array([4, 5, 0, 8, -1])) == [
        "keep speed, keep lane",
        "accelerate, keep lane",
        "brake, change right",
        "accelerate, change left",
        "left to SUMO",
    ]
    assert describe_continuous(np.array([[0.5, 0.2], [-1.0, -0.9]]), 2.0) == [
        "+1.0 m/s2, keep lane",
        "-2.0 m/s2, change right",
    ]


def test_a_task_without_words_shows_its_numbers():
    assert plain_words(Actions(np.array([3, 0]))) == ["choice 3", "choice 0"]
    assert plain_words(Actions(np.array([[2.0, 0.125]]))) == ["2 0.125"]


def test_the_view_holds_all_of_a_small_net_and_every_disc_that_fits():
    xmin, ymin, xmax, ymax = view_box(find_net("highway_trifurcation"), marks("highway_trifurcation"))
    net = load_geometry(find_net("highway_trifurcation")).boundary
    assert xmin < net[0]
    assert ymin < net[1]
    assert xmax > net[2]
    assert ymax > net[3]
    assert xmax - xmin < 1.5 * (net[2] - net[0])  # its one disc, 600 m wide, is left out
    box = view_box(find_net("remote_rsu"), marks("remote_rsu"))
    assert all(box[0] < m.x - m.range_m and m.x + m.range_m < box[2] for m in marks("remote_rsu"))


def test_stations_come_move_and_go_with_their_discs(canvas):
    api = canvas.api
    canvas.draw_stations(
        [StationMark("rsu_0", 125.0, 20.0, "rsu", 300.0), StationMark("m", 1.0, 2.0, "bs", 50.0)]
    )
    assert set(api.poi.getIDList()) == {"rsu_0", "m"}
    assert api.poi.getColor("m") == STATION_COLOURS["bs"]
    disc = np.array(api.polygon.getShape("coverage.rsu_0"))
    np.testing.assert_allclose(np.hypot(*(disc - [125.0, 20.0]).T), 300.0)
    canvas.draw_stations([StationMark("m", 7.0, 2.0, "bs", 50.0)])
    assert set(api.poi.getIDList()) == {"m"}
    assert api.poi.getPosition("m") == (7.0, 2.0)
    assert set(api.polygon.getIDList()) == {"coverage.m", "coverage.m.edge"}
    np.testing.assert_allclose(np.array(api.polygon.getShape("coverage.m")).mean(axis=0)[1], 2.0)
    canvas.draw_stations([StationMark("m", 7.0, 2.0, "bs", float("inf"))])
    assert api.polygon.getIDList() == ()


def test_links_follow_their_segments_and_reuse_their_lines(canvas):
    api = canvas.api
    first = np.array([[0.0, 0.0, 10.0, 0.0], [5.0, 5.0, 6.0, 6.0], [np.nan, 0.0, 1.0, 1.0]])
    canvas.draw_links("serving", first)
    canvas.draw_links("d2d", first[:1], (1, 2, 3, 255))
    assert set(api.polygon.getIDList()) == {"link.serving.0", "link.serving.1", "link.d2d.0"}
    assert api.polygon.getColor("link.d2d.0") == (1, 2, 3, 255)
    moved = np.array([[0.0, 0.0, 10.0, 0.0], [5.0, 5.0, 8.0, 8.0], [1.0, 1.0, 2.0, 2.0]])
    canvas.draw_links("serving", moved)
    for k, (x1, y1, x2, y2) in enumerate(moved.tolist()):
        assert api.polygon.getShape(f"link.serving.{k}") == ((x1, y1), (x2, y2))
    canvas.draw_links("serving", np.empty((0, 4)))
    assert api.polygon.getIDList() == ("link.d2d.0",)


def test_a_gauge_fills_away_from_the_middle_and_goes_with_its_station(canvas):
    api = canvas.api
    canvas.box = (0.0, -50.0, 1000.0, 50.0)
    canvas.draw_stations([StationMark("north", 100.0, 20.0), StationMark("south", 100.0, -20.0)])
    canvas.draw_levels({"north": (0.25, "25%"), "south": (1.0, "100%"), "nowhere": (0.5, "50%")})
    gauges = {f"{s}.{part}" for s in ("north", "south") for part in ("level", "gauge")}
    assert {p for p in api.polygon.getIDList() if not p.startswith("coverage")} == gauges
    for name, sign, level in (("north", 1.0, 0.25), ("south", -1.0, 1.0)):
        y = sign * np.array(api.polygon.getShape(f"{name}.level"))[:, 1]
        whole = sign * np.array(api.polygon.getShape(f"{name}.gauge"))[:, 1]
        assert y.min() == whole.min() > 20.0
        assert np.ptp(y) == pytest.approx(level * np.ptp(whole))
        assert sign * api.poi.getPosition(f"{name}.load")[1] > whole.max()
        assert api.poi.getParameter(f"{name}.load", POI_TEXT) == f"{level:.0%}"
    canvas.draw_levels({"north": (0.5, "50%")})
    assert set(api.polygon.getIDList()) == {"north.level", "north.gauge"}
    y = np.array(api.polygon.getShape("north.level"))[:, 1]
    assert np.ptp(y) == pytest.approx(0.5 * np.ptp(whole))
    assert set(api.poi.getIDList()) == {"rsu_0", "north", "south", "north.load"}


NETWORK = """
channels: {air: {pathloss: {model: macro, frequency: 2 GHz}}}
radios:
  rsu: {attach: {poi: rsu_*}, tx_power: 30 dBm, bandwidth: 20 MHz}
  obu: {attach: {vtype: "*"}, tx_power: 23 dBm}
links:
  - {from: obu, to: rsu, channel: air}
  - {from: obu, to: obu, channel: air, mode: d2d, rb: {count: 4, bandwidth: 180 kHz}, pairs: {range: 100 m}}
"""


def test_a_network_is_drawn_as_its_state_has_it(tmp_path):
    (tmp_path / "urban.yaml").write_text(URBAN)
    scenario = load_scenario(tmp_path / "urban.yaml")
    net = find_net("urban_rsu")
    config = NetworkConfig.model_validate(YAML(typ="safe").load(NETWORK))
    network = Network.build(config, load_geometry(net), 0, scenario.step_us)
    with Traffic(scenario.traffic, net, 0) as traffic:
        api, canvas = traffic.api, Canvas(traffic.api)
        for _ in range(40):
            road = traffic.step()
            air = network.step(road)
            if road.t_us % 10_000_000 == 0:
                now = Instant(road.t_us, road, air, (), Commands(road), measured=True)
                draw_network(canvas, now, {"rsu_0": 415.0})
        lines = {name: np.array(api.polygon.getShape(name)) for name in api.polygon.getIDList()}
    assert len(road) > 5
    assert {"coverage.rsu_0", "coverage.rsu_0.edge"} == {n for n in lines if n.startswith("coverage")}
    serving = [shape for name, shape in lines.items() if name.startswith("link.serving")]
    assert len(serving) == (air.serving >= 0).sum() > 0
    drawn = {tuple(map(tuple, shape.round(6))) for shape in serving}
    assert drawn == {
        (tuple(road.xy[v].round(6)), tuple(air.station_xy[m].round(6)))
        for v, m in enumerate(air.serving)
        if m >= 0
    }
    d2d = [shape for name, shape in lines.items() if name.startswith("link.d2d")]
    assert len(d2d) == sum(len(group.tx) for group in air.d2d) > 0
    assert all(np.hypot(*(a - b)) <= 100.0 for a, b in d2d)
