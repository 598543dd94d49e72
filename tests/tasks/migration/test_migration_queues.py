"""Tasks through the network layer: against the equations where both models are equal, and against hand computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cosim
from cosim.assembly import assemble, plan
from cosim.errors import ScenarioError
from cosim.lockstep import Actions
from cosim.network import Network
from cosim.scenario import load_scenario
from cosim.tasks.base import Instant, TaskContext
from cosim.tasks.migration import (
    LATENCY_MODELS,
    Decision,
    Layout,
    MigrationOptions,
    ModelSetup,
    Slot,
    draw_parameters,
    link_rate,
    task_latency,
)
from cosim.traffic.commands import Commands
from cosim.traffic.geometry import NetGeometry, Poi
from cosim.traffic.state import TrafficState, VehicleType, entity_key

S = 1_000_000
MB, G = 8e6, 1e9
SITES = {"rsu_0": (415.0, 20.0), "rsu_1": (1245.0, 20.0), "rsu_2": (2075.0, 20.0)}
LAYOUT = Layout(tuple(SITES), np.array(list(SITES.values())), np.array([[0.0, -200.0], [2490.0, 200.0]]))
SECTION = {
    "channels": {"v2i": {"pathloss": {"model": "free_space_gain", "A": 4.11, "frequency": 2e9}}},
    "radios": {
        "rsu": {"attach": {"poi": "rsu_*"}, "tx_power": "100 mW"},
        "obu": {"attach": {"vtype": "*"}, "tx_power": "100 mW"},
    },
    "links": [{"from": "obu", "to": "rsu", "channel": "v2i", "share": "full", "noise": {"power": "1e-11 W"}}],
    "association": {"policy": "nearest"},
    "wired": [
        {"ends": ["rsu_*", "rsu_*"], "topology": "mesh", "rate": "1 Mbit/s"},
        {"ends": ["rsu_*", "cloud"], "topology": "star", "rate": "1 Mbit/s"},
    ],
    "servers": [{"at": "rsu_*", "cpu": "1 GHz"}, {"at": "cloud", "cpu": "1 GHz"}],
}
FIXED = {
    "bandwidth": 4e8, "migration_rate": 8e8, "cpu": 20 * G, "cloud_cpu": 80 * G, "initial_load": 0,
}  # fmt: skip
NEAR = 8e-6
"""The network counts whole microseconds, and rounds up at each stage."""


class World:
    """Vehicles put where a test wants them, on a network with three RSUs along a road, and the model under test."""

    def __init__(self, places, seed=1, section=SECTION, **options):
        geometry = NetGeometry(
            edges={}, internal={}, junctions={}, connections=(), polygons=(),
            pois=tuple(Poi(name, "rsu", x, y) for name, (x, y) in SITES.items()),
            boundary=(0.0, -200.0, 2490.0, 200.0), offset=(0.0, 0.0), projection=None,
        )  # fmt: skip
        self.places, self.t_us, self.t = dict(places), 0, 0
        self.names = tuple(places)
        self.options = MigrationOptions.model_validate({**options, "vehicles": len(self.names)})
        self.network = Network.build(section, geometry, seed, S)
        self.rules = self.options.rules(20.0)
        context = TaskContext("test", seed, 20 * S, S, None, (), {}, network=self.network)
        self.model = LATENCY_MODELS["queues"](ModelSetup(self.options, context, LAYOUT, self.rules))
        self._last_ids = ()
        self.slot = None
        self.step(0)

    def step(self, seconds=1, **moves):
        """Drive on, in steps of 1 s; who is moved jumps to x at the next one, None leaves."""
        for _ in range(max(seconds, 1)):
            self.t_us += S if seconds else 0
            for name, x in moves.items():
                if x is None:
                    self.places.pop(name, None)
                else:
                    self.places[name] = (x, 0.0)
            self.state = self._traffic()
            self.now = Instant(
                self.t_us, self.state, self.network.step(self.state), (), Commands(self.state), True
            )
            self.model.watch(self.now)

    def _traffic(self):
        ids = tuple(sorted(self.places, key=entity_key))
        self._last_ids = ids = self._last_ids if ids == self._last_ids else ids
        zeros, whole = np.zeros(len(ids)), np.zeros(len(ids), np.int32)
        return TrafficState(
            t_us=self.t_us, ids=ids, key=np.array([entity_key(i) for i in ids], np.uint64),
            slot=np.array([self.names.index(i) for i in ids], np.int32),
            xy=np.array([self.places[i] for i in ids], float).reshape(-1, 2), z=zeros, angle=zeros + 90.0,
            speed=zeros, accel=zeros, edge=whole, lane=whole, s=zeros, type=whole, edges=("road",),
            types=(VehicleType("cav", cav=True),),
        )  # fmt: skip

    def decide(self, target, share, task_mb, input_mb=16.0):
        """Start a slot: one target, share and task size a vehicle."""
        n, known = len(self.names), self.model.parameters
        rows = np.array([self.state.ids.index(v) if v in self.state.ids else -1 for v in self.names])
        xy = np.array([self.places.get(v, (0.0, 0.0)) for v in self.names])
        nearest = np.abs(xy[:, :1] - LAYOUT.xy[:, 0]).argmin(axis=1)
        serving = np.where(rows >= 0, nearest, -1)[None]
        self.slot = Slot(
            t=self.t, xy=xy[None], speed=np.zeros((1, n)), duration=np.full((1, n), 600.0), serving=serving,
            ahead=np.full((1, n), -1), input_bits=np.full((1, n), input_mb * MB),
            task_bits=np.asarray(task_mb, float).reshape(1, n) * MB, rate=self.model.rates(self.now, xy, rows),
            cpu=known.cpu, cpu_cloud=known.cpu_cloud, migration=known.migration,
            queue=self.model.loads(self.now), last=np.zeros((1, n)),
        )  # fmt: skip
        self.t += 1
        chosen = np.asarray(target).reshape(1, n), np.asarray(share, float).reshape(1, n)
        self.model.start(self.now, Decision(self.slot, *chosen, self.names, rows))
        return self.slot

    def outcome(self, seconds):
        """Drive for some seconds, settle, and return the outcome of the only slot that is told of."""
        self.step(seconds)
        (settled,) = self.model.settle(self.now)
        return settled.outcome


def rate(x, m=0, band=4e8):
    """Eq. (1) at (x, 0), from RSU m."""
    return float(link_rate(MigrationOptions().rules(20.0), band, np.hypot(x - LAYOUT.xy[m, 0], 20.0)))


# -- one vehicle alone --


@settings(max_examples=20, deadline=None)
@given(
    x=st.floats(0.0, 2490.0),
    task=st.floats(50.0, 250.0),
    given_input=st.floats(12.0, 20.0),
    seed=st.integers(0, 50),
)
def test_a_vehicle_alone_that_keeps_its_task_waits_as_long_as_the_equations_say(x, task, given_input, seed):
    world = World({"a": (x, 0.0)}, seed=seed, initial_load=0)
    slot = world.decide([0], [0.0], [task], given_input)
    known = draw_parameters(world.options.ranges(), [seed], [0], LAYOUT.ids)
    m = int(slot.serving[0, 0])
    closed = link_rate(world.rules, known.bandwidth[0, m], np.hypot(x - LAYOUT.xy[m, 0], 20.0))
    assert slot.rate[0, 0, m] == pytest.approx(float(closed), rel=1e-9)
    expected = task_latency(
        world.rules, 0.0, input_bits=given_input * MB, task_bits=task * MB, rate=closed, rate_target=closed,
        migration=np.inf, cpu=known.cpu[0, m], cpu_target=known.cpu[0, m], cpu_cloud=known.cpu_cloud[0],
        duration=600.0, queue=0.0, queue_target=0.0,
    )  # fmt: skip
    found = world.outcome(20)
    assert found.done.all()
    for name in ("total", "up", "processing", "cloud", "down"):
        value = float(getattr(found.latency, name)[0, 0])
        assert value == pytest.approx(float(getattr(expected, name)), rel=1e-8, abs=NEAR)
    assert found.kept[0, 0] == pytest.approx(task * MB * 62.5)
    assert found.reward[0, 0] == -found.latency.total[0, 0]


def test_a_task_moved_whole_takes_the_equations_time_once_its_vehicle_is_where_it_went():
    world = World({"a": (600.0, 0.0)}, **FIXED)
    world.decide([1], [1.0], [160.0])
    world.step(1, a=1200.0)
    up, there = 16 * MB / rate(600.0), 160 * MB / 8e8 + 160 * MB * 62.5 / (20 * G)
    found = world.outcome(19)
    down = 160 * MB / rate(1200.0, 1)
    assert found.latency.total[0, 0] == pytest.approx(up + there + down, abs=NEAR)
    assert found.latency.processing[0, 0] == pytest.approx(there, abs=NEAR)
    assert (found.kept[0, 0], found.latency.cloud_work[0, 0]) == (0.0, 0.0)
    assert found.taken[0, 0] == pytest.approx(80 * G)


def test_results_of_a_target_come_back_over_the_wire_to_who_stayed():
    world = World({"a": (600.0, 0.0)}, **FIXED)
    world.decide([1], [0.4], [100.0])
    up, radio = 16 * MB / rate(600.0), rate(600.0)
    local = up + 60 * MB * 62.5 / (20 * G)  # 1.5 s of work
    moved = up + 40 * MB / 8e8 + 40 * MB * 62.5 / (20 * G) + 40 * MB / 8e8  # 0.4 + 1.0 + 0.4 s
    first, second = sorted([(local, 60 * MB), (moved, 40 * MB)])
    end = max(first[0] + first[1] / radio, second[0]) + second[1] / radio
    found = world.outcome(20)
    assert found.latency.total[0, 0] == pytest.approx(end, abs=NEAR)
    assert (found.kept[0, 0], found.taken[0, 0]) == pytest.approx((30 * G, 20 * G))


def test_the_first_load_empties_while_the_input_comes_up():
    world = World({"a": (415.0, 0.0)}, **{**FIXED, "initial_load": 50 * G})
    world.decide([1], [0.0], [80.0])
    end = 50 / 20 + 80 * MB * 62.5 / (20 * G) + 80 * MB / rate(415.0)
    assert world.outcome(20).latency.total[0, 0] == pytest.approx(end, abs=NEAR)


# -- competition --


def test_two_vehicles_at_one_rsu_are_served_in_the_order_in_which_their_inputs_come():
    world = World({"a": (415.0, 0.0), "b": (800.0, 0.0)}, **FIXED)
    world.decide([1, 1], [0.0, 0.0], [80.0, 40.0])
    up = 16 * MB / rate(415.0), 16 * MB / rate(800.0)
    work = 80 * MB * 62.5 / (20 * G), 40 * MB * 62.5 / (20 * G)
    first = up[0] + work[0]  # a is nearer: its input is up first
    found = world.outcome(20).latency.total[0]
    assert found[0] == pytest.approx(first + 80 * MB / rate(415.0), abs=NEAR)
    assert found[1] == pytest.approx(first + work[1] + 40 * MB / rate(800.0), abs=NEAR)


def test_two_moves_share_one_wire_one_after_the_other():
    world = World({"a": (415.0, 0.0), "b": (500.0, 0.0)}, **FIXED)
    world.decide([1, 1], [1.0, 1.0], [80.0, 40.0])
    up = 16 * MB / rate(415.0), 16 * MB / rate(500.0)
    on_wire = up[0] + 0.8, max(up[0] + 0.8, up[1]) + 0.4
    computed = on_wire[0] + 2.0, max(on_wire[0] + 2.0, on_wire[1]) + 1.0
    back = computed[0] + 0.8, max(computed[0] + 0.8, computed[1]) + 0.4
    found = world.outcome(20).latency.total[0]
    assert found[0] == pytest.approx(back[0] + 80 * MB / rate(415.0), abs=2 * NEAR)
    assert found[1] == pytest.approx(back[1] + 40 * MB / rate(500.0), abs=2 * NEAR)


def test_what_is_not_done_when_the_vehicle_leaves_goes_to_the_cloud():
    world = World({"a": (700.0, 0.0)}, **FIXED)
    world.decide([1], [0.0], [240.0])
    up = 16 * MB / rate(700.0)
    world.step(2)
    world.step(1, a=1000.0)  # in the region of rsu_1 after 3 s
    rest = 240 * MB * 62.5 - 20 * G * (3.0 - up)
    late = rest / 62.5  # bits
    end = 3.0 + late / 2e8 + rest / (80 * G) + late / 2e8 + late / rate(1000.0, 1)
    world.step(37)
    (settled,) = world.model.settle(world.now)
    found = settled.outcome
    assert found.latency.total[0, 0] == pytest.approx(end, abs=NEAR)
    assert found.latency.cloud_work[0, 0] == pytest.approx(rest, abs=20 * G * NEAR)
    assert found.kept[0, 0] == pytest.approx(20 * G * (3.0 - up), abs=20 * G * NEAR)
    assert found.latency.processing[0, 0] == pytest.approx(3.0 - up, abs=NEAR)


def test_what_has_no_room_goes_to_the_cloud_at_once():
    world = World({"a": (415.0, 0.0), "b": (500.0, 0.0)}, load_max=30 * G, **FIXED)
    world.decide([1, 1], [0.0, 0.0], [240.0, 320.0])  # 120 and 160 Gcycle
    found = world.outcome(40)
    assert found.kept[0] == pytest.approx([30 * G, 0.0])
    assert found.latency.cloud_work[0] == pytest.approx([90 * G, 160 * G])
    assert found.seen[0].tolist() == [0.0, 30 * G]


# -- tasks that outlive their slot --


def test_a_task_that_outlives_its_slot_is_told_of_when_it_is_done():
    world = World({"a": (415.0, 0.0), "b": (2075.0, 0.0)}, **{**FIXED, "cpu": 5 * G})
    world.decide([1, 1], [0.0, 0.0], [240.0, 80.0])  # 24 s and 8 s of work
    world.step(20)
    (first,) = world.model.settle(world.now)
    assert first.outcome.done[0].tolist() == [False, True]
    assert first.outcome.latency.total[0, 0] == 20.0  # waited so far
    assert world.model.loads(world.now)[0, 0] == pytest.approx(
        120 * G - (20 - 16 * MB / rate(415.0)) * 5 * G, rel=1e-5
    )
    (open_task,) = world.model.unfinished()
    assert (open_task.outcome.done[0].tolist(), open_task.unfinished) == ([True, False], 1)
    world.decide([1, 1], [0.0, 0.0], [80.0, 80.0])
    world.step(20)
    old, new = world.model.settle(world.now)
    assert old.slot.t == 0
    assert old.outcome.done[0].tolist() == [True, False]
    up = 16 * MB / rate(415.0)
    assert old.outcome.latency.total[0, 0] == pytest.approx(up + 24 + 240 * MB / rate(415.0), abs=NEAR)
    # The second task waits for the first, 4 s and its upload.
    expected = up + 24 - 20 + 8 + 80 * MB / rate(415.0)
    assert new.outcome.latency.total[0, 0] == pytest.approx(expected, abs=NEAR)
    assert new.outcome.done.all()
    assert world.model.unfinished() == []


def test_a_task_whose_vehicle_leaves_the_road_counts_with_the_time_it_waited():
    world = World({"a": (415.0, 0.0), "b": (2075.0, 0.0)}, **FIXED)
    world.decide([1, 1], [0.0, 0.0], [240.0, 80.0])
    world.step(2)
    world.step(1, a=None)
    world.step(17)
    (settled,) = world.model.settle(world.now)
    assert settled.outcome.done.all()
    assert settled.unfinished == 1
    assert settled.outcome.latency.total[0, 0] == 3.0
    assert world.model.loads(world.now)[0].tolist() == [0.0, 0.0, 0.0]


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_no_work_is_lost_or_made(data):
    names = ["a", "b", "c", "d"]
    place = st.floats(0.0, 2490.0)
    world = World({n: (data.draw(place), 0.0) for n in names}, seed=data.draw(st.integers(0, 9)))
    found = []
    for _ in range(3):
        target = [data.draw(st.integers(0, 2)) for _ in names]
        share = [data.draw(st.sampled_from([0.0, 0.3, 1.0])) for _ in names]
        world.decide(target, share, [data.draw(st.floats(50.0, 250.0)) for _ in names])
        for _ in range(5):
            world.step(4, **{data.draw(st.sampled_from(names)): data.draw(place)})
        found += world.model.settle(world.now)
    for _ in range(20):
        world.step(20)
        found += world.model.settle(world.now)
    done = 0
    for settled in found:
        outcome, rows = settled.outcome, settled.outcome.done
        done += int(rows.sum())
        split = outcome.kept + outcome.taken + outcome.latency.cloud_work
        assert split[rows] == pytest.approx((settled.slot.task_bits * 62.5)[rows], abs=2.0)
        assert (outcome.latency.total[rows] > 0).all()
    assert done == 12
    for server in world.network.edge.servers.values():
        queue = server.queue
        assert (len(queue), server.coming) == (0, 0)
        assert queue.arrived == queue.completed + queue.removed


# -- in a run --


def test_a_network_that_does_not_fit_is_named():
    wireless = {**SECTION, "wired": SECTION["wired"][1:]}
    with pytest.raises(ScenarioError, match="no wired link leads from 'rsu_0' to 'rsu_1'"):
        World({"a": (0.0, 0.0)}, section=wireless)
    with pytest.raises(ScenarioError, match=r"must be a multiple of the network's tick, 5 s"):
        World({"a": (0.0, 0.0)}, section={**SECTION, "tick": "5 s"})
    with pytest.raises(ScenarioError, match="no server is at 'clud'"):
        World({"a": (0.0, 0.0)}, cloud="clud")
    with pytest.raises(ScenarioError, match="needs a network section"):
        plan(load_scenario("urban_avatar", ["tasks.migration.model=queues"]))


def test_a_run_through_the_network_gives_the_same_bytes_and_the_networks_own_latency(tmp_path: Path):
    from cosim.recording import digest

    short = ["warmup=300 s", "duration=100 s", "tasks.migration.agent=hybrid_mappo.random"]
    whole = load_scenario("urban_avatar_queues", short)
    one = cosim.run(whole, cosim.RunOptions(inline=True, out=tmp_path / "one"))
    two = cosim.run(whole, cosim.RunOptions(inline=False, out=tmp_path / "two"))
    assert digest(one.dir) == digest(two.dir)
    metrics = one.metrics
    assert metrics["jobs_done"] == one.tasks["migration"]["tasks"] == 50
    assert metrics["task_latency"] == pytest.approx(metrics["job_latency"], rel=1e-9)
    parts = ("upload_time", "processing_time", "cloud_time", "download_time")
    assert sum(metrics[p] for p in parts) == pytest.approx(metrics["task_latency"])


@pytest.mark.parametrize("kind", ["own", "team"])
def test_late_rewards_are_given_once(kind):
    short = ["warmup=300 s", "duration=100 s", "tasks.migration.cpu=8 GHz", f"tasks.migration.reward={kind}"]
    assembly = assemble(plan(load_scenario("urban_avatar_queues", short)))
    task = assembly.plan.tasks[0].task
    loop = assembly.engine.decisions()
    own = []
    try:
        question = next(loop)
        while True:
            seen = question.observations
            own += seen.shared["own_reward"].tolist()
            if seen.active and kind == "own":
                assert np.array_equal(seen.reward, seen.shared["own_reward"])
            values = np.zeros((seen.active, 2))  # nobody migrates
            question = loop.send(Actions(values))
    except StopIteration:
        metrics, totals = task.metrics(), task.totals()
    finally:
        loop.close()
        assembly.close()
    told = [-r for r in own if r < 0.0]
    last = -float(task._own.sum())
    assert max(told) > 20.0  # some outlived their slot
    assert totals["tasks"] + round(metrics["unfinished"] * 50) == 50
    assert totals["return_per_episode"] == pytest.approx(-(sum(told) + last) / 10 / 5 * 41)
