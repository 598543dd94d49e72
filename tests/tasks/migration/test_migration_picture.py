"""What a window shows of the migration task, over a real SUMO: lines to RSUs, and loads that sink as work is done."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.assembly import assemble, plan
from cosim.lockstep import Actions
from cosim.scenario import load_scenario
from cosim.traffic.gui import POI_TEXT, Canvas, station_marks
from cosim.traffic.nets import load_geometry
from cosim.window import Shows, draw_task


class Viewer:
    """Draws at every instant from 436 s on, as a window does, and remembers what SUMO then holds."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, object]] = {}
        self.assembly = None

    def actions(self, *_: object) -> None:
        """Nothing of it is drawn."""

    def instant(self, now) -> None:
        t = now.t_us // 1_000_000
        if t < 436:
            return
        task, api = self.assembly.plan.tasks[0].task, self.assembly.traffic.api
        assert isinstance(task, Shows)
        canvas = self.canvas
        draw_task(canvas, now, task)
        self.seen[t] = {
            "xy": dict(zip(now.traffic.ids, now.traffic.xy.tolist(), strict=True)),
            "shapes": {p: api.polygon.getShape(p) for p in api.polygon.getIDList() if p.startswith("link.")},
            "loads": [api.poi.getParameter(f"rsu_{m}.load", POI_TEXT) for m in range(6)],
            "queues": np.array(task.step_values()[-6:]),
            "slot": task._slot,
            "decision": task._decision,
        }


@pytest.fixture(scope="module")
def seen():
    viewer = Viewer()
    whole = load_scenario("urban_avatar", ["warmup=440 s", "duration=60 s"])
    assembly = viewer.assembly = assemble(plan(whole), recorder=viewer)
    viewer.canvas = Canvas(assembly.traffic.api)
    viewer.canvas.box = (0.0, -200.0, 2490.0, 200.0)
    viewer.canvas.draw_stations(station_marks(load_geometry(assembly.plan.net)))
    loop = assembly.engine.decisions()
    rng = np.random.default_rng(4)
    try:
        question = next(loop)
        while True:
            n = question.observations.active
            share = np.where(rng.random(n) < 0.3, 0.0, rng.random(n))
            question = loop.send(Actions(np.stack([rng.integers(0, 6, n), share], axis=1)))
    except StopIteration:
        return viewer.seen, {p.id: (p.x, p.y) for p in load_geometry(assembly.plan.net).stations()}
    finally:
        loop.close()
        assembly.close()


def ends(seen, kind):
    return sorted(shape for name, shape in seen["shapes"].items() if name.startswith(f"link.{kind}."))


def test_before_the_first_decision_there_are_no_lines_and_the_first_loads(seen):
    frames, _ = seen
    assert frames[439]["shapes"] == {}
    assert frames[439]["loads"] == [f"{q / 300e9:.0%}" for q in frames[440]["slot"].queue[0]]


@pytest.mark.parametrize("t", [440, 447, 460, 479])
def test_lines_lead_from_where_vehicles_are_now_to_serving_rsu_and_target(t, seen):
    frames, stations = seen
    decision, xy = frames[t]["decision"], frames[t]["xy"]
    names = list(stations)
    at = [stations[names[m]] for m in decision.slot.serving[0]]
    wanted = [(tuple(xy[v]), place) for v, place in zip(decision.vehicles, at, strict=True)]
    assert len(wanted) == 10
    assert ends(frames[t], "avatar") == sorted(wanted)
    moves = np.flatnonzero(decision.share[0] > 0)
    assert 0 < len(moves) < 10
    wanted = [(tuple(xy[decision.vehicles[v]]), stations[names[decision.target[0, v]]]) for v in moves]
    assert ends(frames[t], "pre_migration") == sorted(wanted)


def test_loads_jump_with_a_slot_and_sink_at_the_rate_of_the_processors(seen):
    frames, _ = seen
    cpu = frames[440]["slot"].cpu[0]
    for begin in (440, 460, 480):
        full = frames[begin]["queues"]
        assert (full > frames[begin - 1]["queues"]).any()
        for t in range(begin, begin + 20):
            np.testing.assert_allclose(
                frames[t]["queues"], np.maximum(full - cpu * (t - begin), 0.0), rtol=1e-12
            )
            assert frames[t]["loads"] == [f"{q / 300e9:.0%}" for q in frames[t]["queues"]]
    # What is left when a slot is over is L of the next one.
    for begin in (460, 480):
        left = np.maximum(frames[begin - 20]["queues"] - 20 * cpu, 0.0)
        np.testing.assert_allclose(left, frames[begin]["slot"].queue[0], rtol=1e-12, atol=1e-3)
