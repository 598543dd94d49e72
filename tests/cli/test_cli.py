"""The command line from outside: exit codes, one line an error, what is printed where."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cosim.cli import main
from cosim.recording import load_run
from cosim.scenario import list_scenarios

GOOD = """
duration: 2 s
traffic:
  net: highway_trifurcation
  inflow: {rate: 350 veh/h, routes: {straight: 1}, cav_share: 1}
tasks:
  driving: {every: 100 ms, agent: common.keep_lane}
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def cosim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run a command in this process, in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["cosim", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return command


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


BILLION = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 10)}]\n" for k in range(8)
)

# What is wrong: the file, and words that the message must hold.
MALFORMED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is empty"),
    "no mapping": ("- a\n- b\n", "mapping"),
    "one word": ("highway\n", "mapping"),
    "open bracket": (changed("{straight: 1}", "{straight: 1"), ":"),
    "tab": (changed("  net", "\tnet"), ":"),
    "binary": (b"\x00\xff\xfe\x80rubbish", ":"),
    "latin 1": (GOOD.encode() + b"description: Stra\xdfe\n", "UTF-8"),
    "same key twice": (GOOD + "duration: 3 s\n", "duration"),
    "python tag": (GOOD + "name: !!python/object/apply:os.system ['true']\n", "tag"),
    "billion laughs": (BILLION + GOOD, ":"),
    "unknown key": (changed("rate:", "raet:"), "did you mean 'rate'?"),
    "unknown section": (GOOD + "trafic: {}\n", "did you mean 'traffic'?"),
    "unknown task option": (
        changed("every: 100 ms", "every: 100 ms, actoins: discrete"),
        "did you mean 'actions'?",
    ),
    "no duration": (changed("duration: 2 s", "warmup: 2 s"), "duration"),
    "no net": (changed("  net: highway_trifurcation\n", ""), "traffic.net"),
    "wrong net": (
        changed("highway_trifurcation", "highway_trifurction"),
        "did you mean 'highway_trifurcation'?",
    ),
    "wrong variant": (changed("trifurcation\n", "trifurcation\n  variant: unni\n"), "uni"),
    "unit of another kind": (changed("350 veh/h", "46 dBm"), "46 dBm"),
    "unknown unit": (changed("2 s", "2 parsecs"), "parsecs"),
    "not a number": (changed("350 veh/h", ".nan"), "rate"),
    "negative": (changed("350 veh/h", "-350 veh/h"), "rate"),
    "share above 1": (changed("cav_share: 1", "cav_share: 150 %"), "cav_share"),
    "shares do not sum to 1": (changed("{straight: 1}", "{straight: 0.5}"), "sum to 0.5"),
    "route that is none": (changed("{straight: 1}", "{strait: 1}"), "did you mean 'straight'?"),
    "rate that does not fit": (changed("every: 100 ms", "every: 150 ms"), "150 ms"),
    "duration between two steps": (changed("2 s", "2.05 s"), "duration"),
    "task that is none": (changed("driving:", "drivnig:"), "did you mean 'driving'?"),
    "agent that is none": (
        changed("common.keep_lane", "common.keep_lan"),
        "did you mean 'common.keep_lane'?",
    ),
    "command as agent": (changed("common.keep_lane", "cmd:rm"), "command"),
    "weights that are none": (changed("keep_lane}", "keep_lane, weights: nowhere.safetensors}"), "nowhere"),
    "refused SUMO option": (
        changed("tasks:", "  sumo: {options: {save-state.files: x}}\ntasks:"),
        "save-state",
    ),
    "seed that is none": (GOOD + "seed: -3\n", "seed"),
    "name with a slash": (GOOD + "name: ../../etc\n", "name"),
    "text for a section": (
        changed("driving: {every: 100 ms, agent: common.keep_lane}", "driving: yes please"),
        "driving",
    ),
    "base that is none": ("extends: highwya.yaml\n", "highwya.yaml"),
    "circle": ("extends: bad.yaml\n", "circle"),
    "vehicle type that is none": (changed("cav_share: 1", "cav_share: 1, cav_type: robot"), "robot"),
    "too many vehicles a step": (
        changed("cav_share: 1", "cav_share: 1, arrivals: bernoulli, rate: 9 veh/s"),
        "rate",
    ),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_scenario_is_one_line_with_its_place_and_exit_code_2(
    what: str, cosim: Callable[..., Said], tmp_path: Path
) -> None:
    text, words = MALFORMED[what]
    file = tmp_path / "bad.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    for command in ("run", "validate"):
        said = cosim(command, "bad.yaml")
        assert said.code == 2, said
        assert said.out == ""
        assert said.err.startswith("error: bad.yaml"), said.err
        assert said.err.count("\n") == 1
        assert words in said.err
        assert "Traceback" not in said.err
        assert "pydantic" not in said.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.yaml"]


LINES = {
    "unknown key": 5,
    "unit of another kind": 5,
    "wrong net": 4,
    "rate that does not fit": 7,
    "agent that is none": 7,
    "seed that is none": 8,
    "route that is none": 5,
}


@pytest.mark.parametrize("what", LINES)
def test_the_place_names_the_line(what: str, cosim: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(str(MALFORMED[what][0]))
    assert cosim("validate", "bad.yaml").err.startswith(f"error: bad.yaml:{LINES[what]}: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give one of: a SCENARIO, --resume DIR, --replay DIR"),
        (("good.yaml", "--replay", "x"), "give one of"),
        (("nowhere.yaml",), "no scenario 'nowhere.yaml'"),
        (("highway_350vhp",), "did you mean 'highway_350vph'?"),
        (("good.yaml", "--backend", "libsomu"), "must be libsumo or traci"),
        (("good.yaml", "--seed", "-1"), "seed -1"),
        (("good.yaml", "--duration", "0 s"), "duration"),
        (("good.yaml", "--duration", "soon"), "duration"),
        (("good.yaml", "--set", "nonsense"), "--set nonsense"),
        (("good.yaml", "--set", "traffic.nte=x"), "did you mean 'net'?"),
        (("good.yaml", "--agent", "common.keeplane"), "did you mean 'common.keep_lane'?"),
        (("good.yaml", "--agent", "pricing=common.human"), "no such task"),
        (("good.yaml", "--agent", "cmd:"), "a command must follow"),
        (("good.yaml", "--agent", "cmd:no-such-program-here x"), "no such program"),
        (("good.yaml", "--agent", "common.human:missing.safetensors"), "missing.safetensors"),
        (("good.yaml", "--plugin", "no_such_module_here"), "no_such_module_here"),
        (("good.yaml", "--out", "full"), "not empty"),
        (("good.yaml", "--out", "good.yaml"), "is a file"),
        (("--resume", "nowhere"), "nowhere: no such folder"),
        (("--replay", "full"), "not a run directory"),
        (("--replay", "full", "--set", "seed=1"), "do not apply"),
        (("good.yaml", "--gui", "--backend", "libsumo"), "has no window"),
        (("good.yaml", "--gui"), "DISPLAY"),
        (("good.yaml", "--gui", "--gui-delay", "later"), "--gui-delay later"),
    ],
)
def test_a_command_that_cannot_be_followed_is_one_line_and_writes_nothing(
    arguments: tuple[str, ...],
    words: str,
    cosim: Callable[..., Said],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("mine")
    said = cosim("run", *arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert words in said.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "good.yaml"]
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["kept.txt"]


def test_json_is_one_object_on_standard_output_and_nothing_else(
    cosim: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    said = cosim("run", "good.yaml", "--inline", "--json", "--out", "run")
    assert said.code == 0
    assert said.err == ""
    assert said.out.count("\n") == 1
    data = json.loads(said.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert set(data) == {"dir", "status", "metrics", "tasks", "error"}
    assert data["status"] == "completed"
    assert data["dir"] == str(tmp_path / "run")
    assert data["metrics"] == load_run(tmp_path / "run").metrics
    assert data["metrics"]["min_ttc"] is None
    assert data["tasks"]["driving"]["agent"] == "common.keep_lane"


def test_a_run_ends_with_its_metrics_and_its_directory_named_by_scenario_seed_and_time(
    cosim: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    said = cosim("run", "mine.yaml", "--inline", "--seed", "7", "--duration", "1 s")
    assert said.code == 0
    assert said.err == ""  # no progress bar in a pipe
    last = said.out.strip().splitlines()[-1]
    assert last.startswith("run directory: ")
    folder = Path(last.removeprefix("run directory: "))
    assert folder.parent == tmp_path / "runs" / "mine"
    assert folder.name.startswith("s7-20")
    assert "avg_velocity" in said.out
    assert "km/h" in said.out
    manifest = load_run(folder).manifest
    assert manifest["seed"] == manifest["scenario"]["seed"] == 7
    assert manifest["scenario"]["duration"] == 1.0


def test_settings_change_the_run_and_are_in_the_manifest(cosim: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    settings = ("--set", "traffic.inflow.rate=900 veh/h", "--set", "seed=3", "--agent", "common.random")
    assert cosim("run", "good.yaml", "--inline", "--json", "--out", "run", *settings).code == 0
    manifest = load_run(tmp_path / "run").manifest
    assert manifest["scenario"]["traffic"]["inflow"][0]["rate"] == 0.25
    assert manifest["seed"] == 3
    assert manifest["agents"] == {"driving": "common.random"}


def test_validate_checks_every_file_and_says_which_are_good(
    cosim: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(changed("rate", "rat"))
    (tmp_path / "worse.yaml").write_text("]")
    said = cosim("validate", "bad.yaml", "good.yaml", "worse.yaml")
    assert said.code == 2
    assert said.out == "good.yaml: valid\n"
    assert [line.split(":")[1].strip() for line in said.err.splitlines()] == ["bad.yaml", "worse.yaml"]
    assert cosim("validate", "good.yaml").code == 0
    said = cosim("validate", "good.yaml", "--set", "tasks.driving.agent=common.nobody")
    assert said.code == 2
    assert said.err.count("\n") == 1


def test_every_shipped_scenario_is_valid(cosim: Callable[..., Said]) -> None:
    names = [name for name, _ in list_scenarios()]
    assert len(names) >= 18
    said = cosim("validate", *names)
    assert said.err == ""
    assert said.code == 0
    assert said.out.count(": valid") == len(names)


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("scenarios", "highway_350vph"),
        ("nets", "highway_trifurcation"),
        ("tasks", "driving"),
        ("agents", "common.rule_based"),
        ("channels", ""),
        ("metrics", "avg_velocity"),
        ("papers", ""),
    ],
)
def test_every_kind_of_name_can_be_listed(kind: str, known: str, cosim: Callable[..., Said]) -> None:
    said = cosim("list", kind)
    assert said.code == 0
    assert said.err == ""
    assert known in said.out
    assert "torch" not in said.out
    names = [line.split()[0] for line in said.out.splitlines()]
    assert kind in ("metrics", "papers", "channels") or names == sorted(names)


def test_listing_something_else_is_refused(cosim: Callable[..., Said]) -> None:
    said = cosim("list", "wishes")
    assert said.code == 2
    assert "scenarios" in said.err


def test_the_doctor_finds_everything_here_and_says_what_is_missing(
    cosim: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = cosim("doctor")
    assert said.code == 0, said.out
    assert "missing" not in said.out
    for word in ("python", "eclipse-sumo", "libsumo", "torch", "sumo", "netconvert", "display", "scenarios"):
        assert word in said.out
    from cosim.cli import doctor

    monkeypatch.setattr(doctor, "_NEEDED", (*doctor._NEEDED, "no-such-package-here"))
    said = cosim("doctor")
    assert said.code == 2
    (line,) = [row for row in said.out.splitlines() if "no-such-package-here" in row]
    assert line.split()[0] == "missing"


def test_help_names_every_command(cosim: Callable[..., Said]) -> None:
    said = cosim("--help")
    assert said.code == 0
    commands = "run", "validate", "list", "doctor", "net", "tapes", "train", "batch", "report", "reproduce"
    for command in commands:
        assert f" {command} " in said.out
        assert cosim(command, "--help").code == 0
    assert cosim("dance").code == 2


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m cosim list scenarios | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cosim", "list", "nets"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot write: No space left on device\n"


def on_a_terminal(*arguments: str, folder: Path, press: bool = False) -> tuple[int, str]:
    """Run ``cosim`` with a terminal of its own, and *press* Ctrl-C there as soon as the bar moves."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "cosim", *arguments])
    shown, ends = b"", time.monotonic() + 60
    while time.monotonic() < ends:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that nobody has the terminal open any more
            break
        if not piece:
            break
        shown += piece
        if press and b" of " in shown:
            os.write(terminal, b"\x03")
            press = False
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_a_terminal_shows_a_bar_that_goes_away_and_ctrl_c_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    code, shown = on_a_terminal("run", "good.yaml", "--inline", "--duration", "60 s", folder=tmp_path)
    assert code == 0
    assert "60 of 60 s" in shown
    assert "Traceback" not in shown
    assert "run directory: " in shown.splitlines()[-1]
    code, shown = on_a_terminal("run", "good.yaml", "--duration", "10 h", folder=tmp_path, press=True)
    assert code == 130
    assert "interrupted" in shown
    assert "Traceback" not in shown
    assert load_run(
        next(p for p in tmp_path.glob("runs/good/*") if load_run(p).status != "completed")
    ).status == ("interrupted")
