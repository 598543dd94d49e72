"""What a run shows in sumo-gui: the agents' last actions in words, stations with their coverage, links.

:class:`Window` stands between the engine and the recorder of a run that has a window.  It passes on everything it is
told and draws; what it orders of sumo-gui is neither in the simulation nor in the record.  A task says its actions in
words if it has a method ``describe`` (:class:`Describes`), and shows lines and the load of stations if it has a method
``picture`` (:class:`Shows`).  An agent's class that has ``partners`` (:class:`Relates`) gets lines from the chosen
vehicles to those that their decisions look at.  All three are called only when there is a window.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cosim.engine import Recorder, Scheduled
from cosim.errors import TrafficError
from cosim.lockstep.protocol import Actions, Observations
from cosim.lockstep.registry import AGENTS
from cosim.tasks import Instant, Picture
from cosim.traffic.gui import Canvas, GuiOptions, LeftWindow, StationMark, station_marks, view_box
from cosim.traffic.nets import load_geometry
from cosim.traffic.sumo import Traffic

Layer = Callable[[Canvas, Instant], None]
"""Draws what is to be seen at an instant, such as the serving links."""

_FRAME_S = 0.04
"""Layers are drawn at most this often in wall time: nobody sees more, and each shape costs a message to SUMO."""
_PICTURE_S = 10.0


@runtime_checkable
class Describes(Protocol):
    """A task that says in words what was decided."""

    def describe(self, actions: Actions) -> Sequence[str]:
        """Return one short text a row of *actions*, such as ``accelerate, keep lane``."""


@runtime_checkable
class Shows(Protocol):
    """A task that shows lines and how full stations are."""

    def picture(self, now: Instant) -> Picture:
        """Return what to draw at this instant; called only when there is a window."""


@runtime_checkable
class Relates(Protocol):
    """What stands behind an agent's name, if it can say at whom each decision looks."""

    def partners(self, observations: Observations) -> Mapping[str, NDArray[np.intp]]:
        """Return, by kind of relation, the row (n,) of each active row's partner, -1 for none (a static method)."""


class Window:
    """The window of one run.

    Args:
        traffic: a running sumo-gui.
        tasks: what decides in this run.
        options: of which ``screenshot`` is taken at the end.
        end_us: the run's end, for the screenshot (None: without end, no screenshot).
        agents: name of the agent of each task.
        recorder: told of everything first.

    The network's stations, serving links and D2D links are drawn if the run has a network; ``ranges`` (m, by station
    id) are the radii of its coverage discs.  More layers may be added to ``layers``.

    Raises:
        TrafficError: SUMO died; Interrupted if the user closed the window.
    """

    def __init__(
        self,
        traffic: Traffic,
        tasks: Sequence[Scheduled],
        options: GuiOptions,
        *,
        end_us: int | None = None,
        agents: Mapping[str, str] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.canvas = Canvas(traffic.api)
        self.ranges: dict[str, float] = {}
        self.layers: list[Layer] = [lambda canvas, now: draw_network(canvas, now, self.ranges)]
        self.layers += [partial(draw_task, task=s.task) for s in tasks if isinstance(s.task, Shows)]
        relating: dict[str, Any] = {
            task: AGENTS.get(name) for task, name in (agents or {}).items() if name in AGENTS
        }
        self._partners = {t: _Partners(a) for t, a in relating.items() if isinstance(a, Relates)}
        self.layers += [partners.draw for partners in self._partners.values()]
        self._follow = options.follow
        self._traffic = traffic
        self._tasks = {s.name: s.task for s in tasks}
        self._agents = dict(agents or {})
        self._recorder = recorder
        self._options = options
        self._ids: tuple[str, ...] = ()
        self._there: set[str] = set()
        self._words: dict[str, dict[str, str]] = {}
        self._drawn_at = 0.0
        # sumo-gui saves a picture when the step that follows the order is done: the order comes one step early.
        step = traffic.step_us
        last_us = None if end_us is None else -(-end_us // step) * step
        self._picture_us = None if options.screenshot is None or last_us is None else last_us - step
        with traffic.reporting():
            stations = station_marks(load_geometry(traffic.net))
            self.canvas.show(view_box(traffic.net, stations), traffic.net.gui_settings)
            self.canvas.draw_stations(stations)
            self.ranges.update({mark.id: mark.range_m for mark in stations})
            if options.screenshot is not None:
                options.screenshot.unlink(missing_ok=True)
                self._take_picture(0)

    def actions(
        self, t_us: int, task: str, phase: str, asked: Observations, answered: Actions, done: Actions
    ) -> None:
        """Write each decision, in words, to the vehicle (or station) that it is about."""
        if self._recorder is not None:
            self._recorder.actions(t_us, task, phase, asked, answered, done)
        ids = asked.ids[: asked.active]
        if task in self._partners:
            self._partners[task].asked = asked
        if not ids:
            return
        self._see(self._traffic.state.ids)
        words = self._describe(task, answered, done)
        with self._traffic.reporting():
            for k, (name, text) in enumerate(zip(ids, words, strict=True)):
                if name in self._there or name in self.canvas.stations:
                    self._write(name, task, text)
                    if answered.notes:
                        notes = [(f"cosim.{key}", str(note[k])) for key, note in answered.notes.items()]
                        self.canvas.write(name, notes)

    def instant(self, now: Instant) -> None:
        """Draw the layers, if a frame is due."""
        if self._recorder is not None:
            self._recorder.instant(now)
        wall = time.monotonic()
        picture = now.t_us == self._picture_us
        if not picture and wall - self._drawn_at < _FRAME_S:
            return
        self._drawn_at = wall
        with self._traffic.reporting():
            self.canvas.follow_zoom()
            if self._follow is not None and self._follow in now.traffic.ids:
                self.canvas.follow(self._follow)
                self._follow = None
            for layer in self.layers:
                layer(self.canvas, now)
            self._take_picture(now.t_us)

    def finish(self) -> None:
        """Wait for the screenshot that the last step was to give; TrafficError if none came."""
        file = self._options.screenshot
        if file is None or self._picture_us is None:
            return
        give_up = time.monotonic() + _PICTURE_S
        while not _complete_png(file):
            if time.monotonic() > give_up:
                raise TrafficError(f"sumo-gui saved no screenshot as {file}: can it write there?")
            time.sleep(0.02)

    def leave(self) -> LeftWindow:
        """End the simulation and leave the window to the user."""
        return self._traffic.leave_window()

    def _take_picture(self, t_us: int) -> None:
        if self._options.screenshot is not None and t_us == self._picture_us:
            self.canvas.screenshot(self._options.screenshot)

    def _see(self, ids: tuple[str, ...]) -> None:
        """Take note of who is on the road, and forget those who left."""
        if ids is not self._ids:
            self._ids, self._there = ids, set(ids)
            known = self._there | self.canvas.stations.keys()
            self._words = {name: said for name, said in self._words.items() if name in known}

    def _describe(self, task: str, answered: Actions, done: Actions) -> list[str]:
        decider = self._tasks[task]
        describe = decider.describe if isinstance(decider, Describes) else plain_words
        was_done, was_asked = describe(done), describe(answered)
        return [d if d == a else f"{d} (asked: {a})" for d, a in zip(was_done, was_asked, strict=True)]

    def _write(self, name: str, task: str, text: str) -> None:
        said = self._words.setdefault(name, {})
        if said.get(task) == text:
            return
        new = task not in said
        said[task] = text
        several = len(self._tasks) > 1
        action = "; ".join(f"{t}: {words}" if several else words for t, words in said.items())
        parameters = [("cosim.action", action)]
        if new:
            agents = (self._agents.get(t, "") for t in said)
            parameters.append(("cosim.agent", "; ".join(a for a in agents if a)))
        self.canvas.write(name, parameters)


class _Partners:
    """Draws the partners of the chosen vehicles; without a choice, of one that is kept until it leaves."""

    def __init__(self, agent: Relates) -> None:
        self._agent = agent
        self._kept = ""
        self.asked: Observations | None = None

    def draw(self, canvas: Canvas, now: Instant) -> None:
        """Draw a line for each kind of relation and chosen vehicle."""
        asked = self.asked
        if asked is None:
            return
        names = asked.ids[: asked.active]
        row_of = {name: row for row, name in enumerate(now.traffic.ids)}
        chosen = canvas.chosen(names)
        if not chosen and names:
            # The one that came last is seen longest.
            self._kept = self._kept if self._kept in names else max(names)
            chosen = [self._kept]
        xy = now.traffic.xy
        for kind, partner in self._agent.partners(asked).items():
            ends = [
                (name, names[other]) for name in chosen if (other := int(partner[names.index(name)])) >= 0
            ]
            there = [(row_of[a], row_of[b]) for a, b in ends if a in row_of and b in row_of]
            canvas.draw_links(kind, np.array([[*xy[a], *xy[b]] for a, b in there]).reshape(-1, 4))


def draw_network(canvas: Canvas, now: Instant, ranges: Mapping[str, float]) -> None:
    """Draw the network's stations with discs of these *ranges* (m, by station id), serving links and D2D links."""
    network, xy = now.network, now.traffic.xy
    # The network may tick more slowly than the traffic steps: its rows may then be other vehicles.
    if network is None or network.ids != now.traffic.ids:
        return
    sites = zip(network.stations, network.station_xy.tolist(), network.station_kind, strict=True)
    canvas.draw_stations(
        [StationMark(name, x, y, kind, ranges.get(name, 0.0)) for name, (x, y), kind in sites]
    )
    served = np.flatnonzero(network.serving >= 0)
    canvas.draw_links("serving", np.hstack([xy[served], network.station_xy[network.serving[served]]]))
    ends = [np.hstack([xy[d2d.tx], xy[d2d.rx]]) for d2d in network.d2d]
    canvas.draw_links("d2d", np.concatenate([np.empty((0, 4)), *ends]))


def draw_task(canvas: Canvas, now: Instant, task: Shows) -> None:
    """Draw the lines and the gauges of stations that *task* shows."""
    picture = task.picture(now)
    for kind, segments in picture.links.items():
        canvas.draw_links(kind, segments)
    if picture.levels:
        canvas.draw_levels(picture.levels)


def plain_words(actions: Actions) -> list[str]:
    """Return the bare numbers of each row, for tasks that do not say more."""
    values = actions.values
    if values.ndim == 1:
        return [f"choice {value:g}" for value in values.tolist()]
    return [" ".join(f"{value:.3g}" for value in row) for row in values.tolist()]


def _complete_png(file: Path) -> bool:
    """Whether *file* is there and ends as every PNG file does, with an IEND chunk."""
    try:
        return file.read_bytes()[-8:-4] == b"IEND"
    except FileNotFoundError:
        return False
