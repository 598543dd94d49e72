"""Starting, ending and losing SUMO: one libsumo a process, many after another, several processes side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from bridge import BACKENDS, FLOW, config, running, steps

from cosim.errors import TrafficError
from cosim.traffic.backend import TraciBackend, libsumo_is_free
from cosim.traffic.nets import find_net
from cosim.traffic.programs import sumo_binary
from cosim.traffic.sumo import Traffic

HERE = Path(__file__).parent


def script(text: str) -> list[str]:
    """A Python child that can import the tests' helpers."""
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{text}"]


def test_a_second_libsumo_in_one_process_is_refused_and_the_first_goes_on() -> None:
    with running("libsumo", inflow=FLOW) as first:
        steps(first, 50)
        assert not libsumo_is_free()
        with pytest.raises(TrafficError, match=r"already running in this process: close it first") as caught:
            Traffic(config(inflow=FLOW), find_net("highway_trifurcation"), 1)
        assert caught.value.exit_code == 3
        assert steps(first, 50)
        assert first.state.t_us == 10_000_000
    assert libsumo_is_free()
    with running("libsumo", inflow=FLOW) as again:
        steps(again, 1)


def test_libsumo_and_two_traci_simulations_live_side_by_side_in_one_process() -> None:
    with (
        running("libsumo", seed=1, inflow=FLOW) as a,
        running("traci", seed=1, inflow=FLOW) as b,
        running("traci", seed=2, inflow=FLOW) as c,
    ):
        for _ in range(150):
            x, y, z = a.step(), b.step(), c.step()
            assert x.ids == y.ids
            assert (x.xy == y.xy).all()
        assert x.ids != z.ids or (x.xy != z.xy).any()


def broken_net(folder: Path) -> Path:
    net = folder / "broken.net.xml"
    good = find_net("highway_trifurcation").net_file.read_text()
    net.write_text(good.replace('to="end_1"', 'to="end_7"'))
    return net


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sumo_that_cannot_start_says_why_in_one_line_and_leaves_room_for_the_next(
    backend: str, tmp_path: Path
) -> None:
    net = find_net(str(broken_net(tmp_path)))
    for _ in range(2):
        with pytest.raises(TrafficError, match=r"SUMO could not be started: .*end_7") as caught:
            Traffic(config(), net, 0, backend=backend)
        assert "\n" not in str(caught.value)
    assert libsumo_is_free()
    with running(backend, inflow=FLOW) as traffic:
        steps(traffic, 5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_closing_is_final_may_be_repeated_and_leaves_no_files_behind(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with running(backend, inflow=FLOW) as traffic:
        steps(traffic, 5)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    traffic.close()
    if isinstance(traffic.backend, TraciBackend):
        assert traffic.backend.process.returncode == 0
    with running(backend, inflow=FLOW) as other:
        traffic.close()  # must not end what another one runs
        assert other.step().t_us == 100_000


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_sumo_is_a_traffic_error_that_names_the_instant(sent: signal.Signals) -> None:
    with running("traci", inflow=FLOW) as traffic:
        steps(traffic, 30)
        assert isinstance(traffic.backend, TraciBackend)
        traffic.backend.process.send_signal(sent)
        traffic.backend.process.wait()
        with pytest.raises(TrafficError, match=r"^SUMO failed at 3\.1 s: \S") as caught:
            traffic.step()
        assert "\n" not in str(caught.value)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    with running("traci") as traffic:
        assert traffic.step().t_us == 100_000


def test_a_hundred_runs_in_one_process_do_not_grow() -> None:
    """Bounded growth over 100 starts and ends; a leak of one net would be about 50 MB, of one state 1 MB."""
    text = """
from bridge import FLOW, running, steps
def rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096
for k in range(100):
    with running('libsumo', inflow={**FLOW, 'rate': '1000 veh/h'}, seed=k) as traffic:
        steps(traffic, 15)
    if k == 20: before = rss()
print((rss() - before) / 80)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    done = subprocess.run(script(text), capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 50_000, "bytes a run"


SIDE_BY_SIDE = """
import hashlib
from bridge import FLOW, running
total = hashlib.sha256()
with running(sys.argv[1], inflow=FLOW, seed=int(sys.argv[2])) as traffic:
    for _ in range(200):
        state = traffic.step()
        total.update(state.xy.tobytes() + state.speed.tobytes())
print(total.hexdigest())
"""


def test_simulations_in_several_processes_at_once_do_not_touch_each_other() -> None:
    kinds = [("libsumo", "1"), ("traci", "1"), ("libsumo", "2"), ("traci", "1"), ("libsumo", "1")]
    children = [
        subprocess.Popen([*script(SIDE_BY_SIDE), *kind], stdout=subprocess.PIPE, text=True) for kind in kinds
    ]
    found = [child.communicate(timeout=60)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0] * 5
    assert len(found[0]) == 64
    assert found[0] == found[1] == found[3] == found[4] != found[2]


def test_a_process_that_forgets_to_close_ends_and_takes_its_sumo_along() -> None:
    text = """
from bridge import FLOW, config, find_net, Traffic
t = Traffic(config(inflow=FLOW), find_net('highway_trifurcation'), 0, backend=sys.argv[1])
t.step()
print(t.backend.process.pid if sys.argv[1] == 'traci' else 0)
"""
    for backend in BACKENDS:
        done = subprocess.run(
            [*script(text), backend], capture_output=True, text=True, timeout=30, check=True
        )
        pid = int(done.stdout)
        if pid:
            for _ in range(50):
                if not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text():
                    break
                time.sleep(0.1)
            else:
                os.kill(pid, signal.SIGKILL)
                pytest.fail("SUMO lives on without its master")


def test_sumos_programs_come_from_the_package_and_a_missing_one_is_named() -> None:
    assert os.access(sumo_binary("sumo"), os.X_OK)
    with pytest.raises(TrafficError, match=r"sumo-xyz is not at .*reinstall the package eclipse-sumo"):
        sumo_binary("sumo-xyz")


def test_values_read_are_those_of_single_questions() -> None:
    """The bulk reading of both backends against SUMO's getters, one by one."""
    for backend in BACKENDS:
        with running(backend, inflow=FLOW) as traffic:
            steps(traffic, 300)
            state, api = traffic.state, traffic.api.vehicle
            assert len(state) >= 3
            for row, vehicle in enumerate(state.ids):
                assert state.speed[row] == api.getSpeed(vehicle)
                assert state.accel[row] == api.getAcceleration(vehicle)
                assert state.angle[row] == api.getAngle(vehicle)
                assert state.s[row] == api.getLanePosition(vehicle)
                assert tuple(np.append(state.xy[row], state.z[row])) == tuple(api.getPosition3D(vehicle))
                assert f"{state.edges[state.edge[row]]}_{state.lane[row]}" == api.getLaneID(vehicle)
                assert state.types[state.type[row]].id == api.getTypeID(vehicle)
            assert state.row("nobody") == -1
