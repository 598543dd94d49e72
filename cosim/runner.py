"""Running a scenario from beginning to end: agents started, the engine driven, everything recorded, all of it closed.

:func:`run` is ``cosim run``.  A run ends completed, interrupted (Ctrl-C) or failed (SUMO or an agent), and in each
case what was recorded can be read.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosim.assembly import Assembly, agents_of, assemble, check_agents, plan, reseeded
from cosim.errors import CosimError, Interrupted, RecordingError
from cosim.lockstep.hosts import open_host
from cosim.lockstep.protocol import AgentHost
from cosim.lockstep.registry import AgentSpec, find_weights, parse_agent_option
from cosim.recorded import Ended, Recorded, RecordedHost
from cosim.recorder import RunRecorder
from cosim.recording import RunWriter, hash_files, load_run
from cosim.registry import load_plugins
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved
from cosim.traffic.backend import interrupt
from cosim.traffic.gui import GuiOptions, LeftWindow, check_gui

_log = logging.getLogger("cosim.run")


@dataclass(frozen=True)
class RunResult:
    """What a run ended with; ``metrics`` in SI units, ``tasks`` what each task says of itself."""

    dir: Path
    status: str
    metrics: dict[str, float | None]
    tasks: dict[str, Any]
    error: CosimError | None = None
    window: LeftWindow | None = None
    """sumo-gui's window, if it stays open: everything else is finished; ``wait_for_window`` or close it."""


@dataclass(frozen=True)
class RunOptions:
    """How to run, beside what to run.  ``gui`` says how to show it in sumo-gui (None: no window)."""

    agents: Sequence[AgentSpec | str] = ()
    inline: bool = False
    backend: str | None = None
    gui: GuiOptions | None = None
    out: str | Path | None = None
    plugins: Sequence[str] = ()
    progress: Callable[[int, int], None] | None = None
    """Called with (instant, end), microseconds."""
    command: Sequence[str] = field(default_factory=tuple)
    """The command line, for the manifest."""


def run(
    scenario: Scenario | str | Path,
    options: RunOptions | None = None,
    *,
    seed: int | None = None,
    overrides: Sequence[str] = (),
) -> RunResult:
    """Run *scenario* into a new run directory.

    A run that SUMO or an agent ended, or that was interrupted, is a result too: its ``status`` and ``error``
    say so.

    Raises:
        ScenarioError: the scenario or an agent cannot be used; nothing was written.
        RecordingError: the run directory cannot be made.
    """
    options = options or RunOptions()
    _prepare(options)
    whole = scenario if isinstance(scenario, Scenario) else load_scenario(scenario, overrides)
    if seed is not None:
        whole = reseeded(whole, seed)
    specs = agents_of(whole, [parse_agent_option(a) if isinstance(a, str) else a for a in options.agents])
    ready = plan(whole)
    check_agents(whole, specs)
    hosts = _hosts(specs, whole, options)
    with _closing(hosts):
        writer = RunWriter.create(
            options.out,
            name=whole.name,
            seed=whole.seed,
            manifest={
                "command": list(options.command),
                "scenario": whole.resolved(),
                "agents": {t: s.label for t, s in specs.items()},
                "agent_options": {t: s.option for t, s in specs.items()},
                "hashes": _hashes(specs, ready.net.net_file, _data(whole)),
            },
        )
        return _drive(
            whole, writer, hosts, options, agents={t: s.label for t, s in specs.items()}, ready=ready
        )


def replay(folder: str | Path, options: RunOptions | None = None) -> RunResult:
    """Run a recorded run again from its recorded actions, without its agents, into a new directory.

    The new run's tables equal the old one's byte for byte.  RecordingError if the simulation does not repeat
    what was recorded (another version of SUMO, an edited net).
    """
    options = options or RunOptions()
    _prepare(options)
    old = load_run(folder)
    scenario = scenario_from_resolved(old.scenario, f"{folder}/manifest.json")
    recorded = Recorded(folder)
    hosts: dict[str, AgentHost] = {name: RecordedHost(name, recorded) for name in scenario.tasks}
    agents = dict(old.manifest.get("agents", {}))
    writer = RunWriter.create(
        options.out,
        name=scenario.name,
        seed=scenario.seed,
        manifest={
            "command": list(options.command),
            "scenario": scenario.resolved(),
            "agents": agents,
            "replay_of": str(Path(folder).resolve()),
            "hashes": old.manifest.get("hashes", {}),
        },
    )
    return _drive(scenario, writer, hosts, options, agents=agents)


def resume(folder: str | Path, options: RunOptions | None = None) -> RunResult:
    """Go on with a run that was killed, interrupted or failed, in its own directory.

    The simulation is run again up to the last complete part with the recorded actions (agents are asked too, so
    that their memory is what it was, but their answers are not used), and from there as usual.  Without recorded
    actions (``record.commands: false``) the agents answer all along.
    """
    options = options or RunOptions()
    _prepare(options)
    old = load_run(folder)
    scenario = scenario_from_resolved(old.scenario, f"{folder}/manifest.json")
    given = options.agents or [f"{t}={text}" for t, text in old.manifest.get("agent_options", {}).items()]
    specs = agents_of(scenario, [parse_agent_option(a) if isinstance(a, str) else a for a in given])
    live = _hosts(specs, scenario, options)
    with _closing(live):
        writer = RunWriter.resume(folder)
        hosts: dict[str, AgentHost] = dict(live)
        if writer.resumed_us and scenario.record.commands:
            recorded = Recorded(folder, writer.resumed_us)
            hosts = {name: RecordedHost(name, recorded, live[name], writer.resumed_us) for name in live}
        return _drive(scenario, writer, hosts, options, agents={t: s.label for t, s in specs.items()})


def _drive(
    scenario: Scenario,
    writer: RunWriter,
    hosts: Mapping[str, AgentHost],
    options: RunOptions,
    *,
    agents: Mapping[str, str],
    ready: Any = None,
) -> RunResult:
    assembly: Assembly | None = None
    status, error, defect = "failed", None, ""
    recorder = None
    window: LeftWindow | None = None
    quits = options.gui is None or options.gui.quit_at_end
    try:
        ready = ready or plan(scenario)
        recorder = RunRecorder(writer, scenario.record, ready.tasks)
        end = scenario.warmup_us + scenario.duration_us
        progress = options.progress
        with terminable():
            assembly = assemble(
                ready,
                backend=options.backend,
                gui=options.gui,
                agents=agents,
                work=writer.dir / "sumo",
                recorder=recorder,
                progress=None if progress is None else (lambda t_us: progress(t_us, end)),
            )
            for name, info in ready.infos.items():
                hosts[name].reset(info)
            assembly.engine.run(hosts)
        status = "completed"
        if assembly.window is not None:
            assembly.window.finish()
    except (KeyboardInterrupt, Ended):
        status = "interrupted"
        _log.warning("interrupted")
    except Interrupted as why:
        status = "interrupted"
        _log.warning("interrupted: %s", why)
    except CosimError as why:
        error = why
        _log.error("%s", why)
    except Exception as why:
        defect = f"{type(why).__name__}: {why}"
        raise
    finally:
        with _uninterrupted():
            for host in hosts.values():
                host.close()
            metrics = assembly.metrics() if assembly else {}
            tasks = _task_summaries(assembly, agents)
            if assembly and assembly.window is not None and status == "completed" and not quits:
                window = assembly.window.leave()
            elif assembly:
                assembly.close()
            try:
                writer.finish(status, metrics, tasks, str(error or defect) or None)  # type: ignore[arg-type]
            except RecordingError as why:
                error = error or why
                status = "failed"
    return RunResult(writer.dir, status, metrics, tasks, error, window)


def wait_for_window(result: RunResult) -> None:
    """Return when the user has closed the window that the run left open, if it did; Ctrl-C closes it too."""
    if result.window is not None:
        with terminable():
            result.window.wait()


def _prepare(options: RunOptions) -> None:
    """Load plug-ins, and check that a window can be opened, before anything is written."""
    load_plugins(options.plugins)
    if options.gui is not None:
        check_gui(options.gui)


def _task_summaries(assembly: Assembly | None, agents: Mapping[str, str]) -> dict[str, Any]:
    if assembly is None:
        return {name: {"agent": agent} for name, agent in agents.items()}
    return {s.name: {"agent": agents.get(s.name, ""), **s.task.totals()} for s in assembly.plan.tasks}


def _hosts(specs: Mapping[str, AgentSpec], scenario: Scenario, options: RunOptions) -> dict[str, AgentHost]:
    hosts: dict[str, AgentHost] = {}
    try:
        for task, spec in specs.items():
            hosts[task] = open_host(
                spec,
                task,
                inline=options.inline,
                plugins=options.plugins,
                deadline_s=scenario.tasks[task].deadline,
            )
    except BaseException:
        for host in hosts.values():
            host.close()
        raise
    return hosts


def _hashes(specs: Mapping[str, AgentSpec], net_file: Path, data: Sequence[Path]) -> dict[str, str]:
    weights = [find_weights(s.weights, s.label) for s in specs.values() if s.weights]
    return hash_files([net_file, *weights, *data])


def _data(scenario: Scenario) -> tuple[Path, ...]:
    """Return the files of data that a scenario's traffic is made from."""
    if scenario.traffic.replay is None:
        return ()
    from cosim.traffic.replay import replay_files

    return replay_files(scenario.traffic)


@contextmanager
def _closing(hosts: Mapping[str, AgentHost]) -> Iterator[None]:
    try:
        yield
    finally:
        for host in hosts.values():
            host.close()


@contextmanager
def terminable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a batch system's stop ends a run tidily; neither cuts SUMO's answers short."""
    with _handling(interrupt):
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while a run's last rows are written; it takes well under a second."""
    with _handling(signal.SIG_IGN):
        yield


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    """Give SIGINT and SIGTERM another handler; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
