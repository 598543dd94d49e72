"""Real agent processes, well and badly behaved."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lockstep_questions import MISBEHAVING, episode, question

from cosim.errors import AgentError, ScenarioError
from cosim.lockstep import AgentSpec, InlineHost, ProcessHost, create_agent, open_host

HostOf = Callable[..., ProcessHost]
GOOD = 4  # answers that a misbehaving agent gives before it misbehaves


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone_within(pid: int, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


def run_into_failure(host: ProcessHost) -> AgentError:
    """Ask until the agent misbehaves; check that its process is ended and stays so."""
    host.reset(episode())
    for step in range(GOOD):
        assert host.act(question(t_us=step)).values.tolist() == [4, 4, 4]
    with pytest.raises(AgentError) as caught:
        host.act(question(t_us=1_500_000))
    assert gone_within(host.pid, 1.0)
    with pytest.raises(AgentError, match="is not there any more"):
        host.act(question())
    return caught.value


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("raise", r"failed at t = 1\.5 s: ValueError: the sky is falling \(.*misbehaving\.py:\d+\)$"),
        ("exit", r"exited with status 7 at t = 1\.5 s; its last words: leaving now"),
        ("hang", r"did not answer within 0\.25 s at t = 1\.5 s; its last words: thinking hard"),
        ("log for ever", r"did not answer within 0\.25 s at t = 1\.5 s"),
        ("shape", r"answered an array of shape \(4,\), expected \(3,\) \(at t = 1\.5 s\)"),
        ("nan", r"answered NaN or infinity \(at t = 1\.5 s\)"),
        ("range", r"answered a choice outside -1\.\.8: \[9, 9, 9\]"),
        ("fraction", r"answered a choice that is not a whole number"),
        ("notes", r"note 'value' has shape \(5,\), expected a row for each of 3"),
        ("garbage", r"answered nonsense at t = 1\.5 s: a frame begins with b'CSM1', this one with b'HTTP'"),
        ("huge", r"answered nonsense at t = 1\.5 s: a frame of \d+ \+ \d+ \+ \d+ bytes is too large"),
        ("half", r"did not answer within 0\.25 s"),
        ("wrong instant", r"answered nonsense at t = 1\.5 s: an answer for t_us 5 when asked at 1500000"),
        ("wrong ids", r"an answer for 3 ids \(v0, v2, v1\) when asked for 3 ids \(v0, v1, v2\)"),
        ("no values", r"a message without the array 'values'"),
        ("hang up", r"closed its connection at t = 1\.5 s"),
    ],
)
def test_a_misbehaving_agent_is_ended_and_named(host_of: HostOf, mode: str, message: str) -> None:
    error = run_into_failure(host_of(mode))
    text = str(error)
    assert text.startswith("agent 'cmd:")
    assert "of task 'driving'" in text
    assert "\n" not in text
    assert re.search(message, text), text
    assert error.exit_code == 4


def test_a_traceback_is_kept_whole_beside_the_message(host_of: HostOf) -> None:
    error = run_into_failure(host_of("raise"))
    assert "Traceback (most recent call last)" in error.__notes__[0]


def test_a_killed_agent_is_reported_with_its_signal(host_of: HostOf) -> None:
    host = host_of("good")
    host.reset(episode())
    host.act(question())
    os.kill(host.pid, signal.SIGKILL)
    with pytest.raises(AgentError, match=r"was killed by signal SIGKILL at t = 0\.1 s"):
        host.act(question())
    assert gone_within(host.pid, 1.0)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("wrong token", r"before it connected \(a connection with a wrong token was refused\)"),
        ("garbage hello", r"exited with status 1 before it connected \(a connection without a proper hello"),
        ("old version", r"before it connected \(wire format version 99 is not spoken here, 1 is\)"),
        ("raise at reset", r"failed at reset \(episode 0\): ValueError: no such layer"),
    ],
)
def test_an_agent_that_does_not_start_says_why(host_of: HostOf, mode: str, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        host_of(mode).reset(episode())


def test_an_agent_that_never_connects_is_waited_for_only_so_long(host_of: HostOf) -> None:
    host = host_of("never connects", start_deadline_s=0.3)
    with pytest.raises(AgentError, match=r"did not connect within 0\.3 s"):
        host.reset(episode())
    assert gone_within(host.pid, 1.0)


def test_strangers_cannot_keep_an_agent_from_connecting(host_of: HostOf) -> None:
    host = host_of("strangers first")
    host.reset(episode())
    assert len(host.act(question()).values) == 3


def test_ids_in_an_answer_are_welcome_if_right(host_of: HostOf) -> None:
    host = host_of("right ids")
    host.reset(episode())
    for _ in range(GOOD + 2):
        host.act(question())


def test_printing_much_does_not_block_an_agent(host_of: HostOf, tmp_path: Path) -> None:
    host = host_of("chatter", log=tmp_path / "agent.log")
    host.reset(episode())
    for _ in range(GOOD + 3):
        host.act(question())
    host.close()
    assert (tmp_path / "agent.log").stat().st_size == 3_000_003


def test_what_an_agent_logs_reaches_the_log(host_of: HostOf, caplog: pytest.LogCaptureFixture) -> None:
    host = host_of("log")
    host.reset(episode())
    with caplog.at_level(logging.INFO, "cosim.agent"):
        for _ in range(GOOD + 1):
            host.act(question())
    assert [(r.levelname, r.getMessage().rpartition(": ")[2]) for r in caplog.records] == [
        ("WARNING", "half way")
    ]


def test_an_agent_may_take_its_time_to_close(
    host_of: HostOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSED_FILE", str(tmp_path / "closed"))
    host = host_of("slow close")
    host.reset(episode())
    host.close()
    assert (tmp_path / "closed").read_text() == "closed"
    assert gone_within(host.pid, 0.1)


def test_closing_waits_no_longer_than_the_grace_and_twice_is_once(host_of: HostOf) -> None:
    host = host_of("no close", close_grace_s=0.2)
    host.reset(episode())
    began = time.monotonic()
    host.close()
    host.close()
    assert time.monotonic() - began < 1.0
    assert gone_within(host.pid, 0.1)


def test_closing_ends_what_the_agent_started(host_of: HostOf) -> None:
    host = host_of("child")
    host.reset(episode())
    for _ in range(GOOD + 1):
        host.act(question())
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(host.pid)], capture_output=True, text=True)
    (child,) = map(int, found.stdout.split())
    assert alive(child)
    host.close()
    assert gone_within(child, 1.0)


def test_nothing_is_left_behind(host_of: HostOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    open_files = len(os.listdir("/proc/self/fd"))
    for mode in ("good", "exit", "wrong token"):
        host = host_of(mode)
        try:
            host.reset(episode())
            assert list(tmp_path.iterdir()) == [], "an engine that is killed now would leave this behind"
            for _ in range(GOOD + 1):
                host.act(question())
        except AgentError:
            pass
        host.close()
        assert not Path(f"/proc/{host.pid}").exists(), "a zombie"
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_the_socket_is_private_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_of: HostOf
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    host_of("never connects")
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_an_agent_serves_over_loopback_where_there_are_no_unix_sockets(host_of: HostOf) -> None:
    host = host_of(name="common.random", unix=False, deadline_s=5.0)
    host.reset(episode(seed=3))
    inline = InlineHost(create_agent("common.random"), "common.random", "driving")
    inline.reset(episode(seed=3))
    assert host.act(question(20)).values.tolist() == inline.act(question(20)).values.tolist()


def test_observations_arrive_as_they_were_sent(tmp_path: Path) -> None:
    script = tmp_path / "dump.py"
    script.write_text(
        "import json, numpy as np\n"
        "from cosim.lockstep import Actions, serve\n"
        "class Dump:\n"
        "    def reset(self, info): self.info = info\n"
        "    def act(self, o):\n"
        "        print(json.dumps([o.t_us, o.role, o.ids, o.active, str(o.obs.dtype), o.obs.tolist(),"
        " o.mask.tolist(), {k: [v.dtype.kind, v.tolist()] for k, v in o.shared.items()}, o.reward.tolist(),"
        " o.terminated.tolist(), o.truncated.tolist(), self.info.options, self.info.roles['cav'].low]),"
        " flush=True)\n"
        "        return Actions(np.zeros(o.active, dtype=int), {'value': np.arange(o.active) / 7})\n"
        "    def close(self): pass\n"
        "serve(Dump())\n"
    )
    log = tmp_path / "log"
    host = ProcessHost(AgentSpec(command=f"python {script}"), "driving", log=log)
    o = question(2, left=1)
    try:
        host.reset(episode())
        answered = host.act(o)
    finally:
        host.close()
    assert answered.notes["value"].tolist() == [0.0, 1 / 7]
    assert o.mask is not None
    assert json.loads(log.read_text()) == [
        o.t_us,
        o.role,
        list(o.ids),
        2,
        "float32",
        o.obs.tolist(),
        o.mask.tolist(),
        {"inflow": ["f", list(range(8))], "zone_ids": ["U", ["z0", "z1", "z2", "z3", "z4"]]},
        o.reward.tolist(),
        [False, False, True],
        [False, False, False],
        {"weights": [1, 2.5], "kind": "ä"},
        -np.inf,
    ]


PARENT = """
import sys, time
from lockstep_questions import episode, question
from cosim.lockstep import AgentSpec, ProcessHost
host = ProcessHost(AgentSpec(command=sys.argv[1]), "driving", deadline_s=60.0, close_grace_s=0.2)
host.reset(episode())
for step in range(4):
    host.act(question())
print(host.pid, flush=True)
host.act(question())
time.sleep(60)
"""


@pytest.mark.parametrize("mode", ["good", "hang", "busy"])
def test_an_agent_ends_when_its_engine_is_killed(mode: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(MISBEHAVING.parent), "TMPDIR": str(tmp_path)}
    command = f"{sys.executable} '{MISBEHAVING}' {mode}"
    engine = subprocess.Popen(
        [sys.executable, "-c", PARENT, command], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert engine.stdout is not None
    agent = int(engine.stdout.readline())
    time.sleep(0.1)
    assert alive(agent)
    engine.kill()
    engine.wait()
    engine.stdout.close()
    assert gone_within(agent, 3.0)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_terminal_does_not_reach_agents(host_of: HostOf) -> None:
    host = host_of("good")
    host.reset(episode())
    assert os.getpgid(host.pid) == host.pid
    assert os.getsid(host.pid) != os.getsid(0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            AgentSpec(name="common.randon"),
            r"unknown agent 'common.randon' \(did you mean 'common.random'\?\)",
        ),
        (AgentSpec(name="common.random", weights="no.safetensors"), "no weights at 'no.safetensors'"),
        (AgentSpec(command="no_such_program_here x"), "'no_such_program_here': no such program"),
        (AgentSpec(command="python 'x"), "cannot be split: No closing quotation"),
        (AgentSpec(), "needs a name or a command"),
    ],
)
def test_what_cannot_be_started_is_wrong_use(spec: AgentSpec, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        ProcessHost(spec, "driving")


PLUGIN = """
import numpy as np
from cosim.lockstep import Actions, register_agent

@register_agent("mine.five")
class Five:
    needs_weights = {needs}
    def __init__(self, weights=None): pass
    def reset(self, info): pass
    def act(self, o): return Actions(np.full(o.active, 5))
    def close(self): pass
"""


@pytest.mark.parametrize("inline", [True, False])
def test_a_plugin_registers_agents_here_and_in_agent_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"plug_five_{inline}.py").write_text(
        PLUGIN.format(needs=False).replace("mine.five", f"mine.five{inline}")
    )
    host = open_host(
        AgentSpec(name=f"mine.five{inline}"), "driving", inline=inline, plugins=[f"plug_five_{inline}.py"]
    )
    host.reset(episode())
    assert host.act(question()).values.tolist() == [5, 5, 5]
    host.close()


@pytest.mark.parametrize("wait_s", [0.0, 0.5])
def test_missing_weights_are_wrong_use_also_in_an_agent_process(tmp_path: Path, wait_s: float) -> None:
    name = f"mine.weights{wait_s}"
    plugin = tmp_path / f"plug_weights_{wait_s:g}".replace(".", "_")
    plugin = plugin.with_suffix(".py")
    plugin.write_text(PLUGIN.format(needs=True).replace("mine.five", name))
    host = open_host(AgentSpec(name=name), "driving", plugins=[str(plugin)])
    time.sleep(wait_s)  # the agent has given up before or after it is asked
    with pytest.raises(ScenarioError, match=r"agent 'mine\.weights.*' needs trained weights"):
        host.reset(episode())
    host.close()


def test_agents_calculate_on_one_thread(host_of: HostOf) -> None:
    from cosim.lockstep.launch import environment_of_agents

    assert environment_of_agents()["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")
