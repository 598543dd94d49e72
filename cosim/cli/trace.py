"""``cosim trace convert|match|replay|synthesise|show``: GPS traces of taxis to vehicles on a net."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosim.cli.options import AsJson
from cosim.errors import ScenarioError

if TYPE_CHECKING:
    from cosim.traffic.traces.cleaning import Rules
    from cosim.traffic.traces.matched import MatchedTraces
    from cosim.traffic.traces.report import Report

app = typer.Typer(help="GPS traces of taxis: clean, match to a net, replay.", no_args_is_help=True)

Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="The file's columns: 'lon=x,lat=y' by name, or all in order, such as 'id,time,lon,lat,-,speed'.",
    ),
]
Date = Annotated[str | None, typer.Option(help="Day of times that have none, such as 2013-10-22.")]
Box = Annotated[
    str,
    typer.Option(help="West,south,east,north in degrees, 'shenzhen', or 'none'; fixes outside are dropped."),
]
Gap = Annotated[str, typer.Option(help="A longer pause between two fixes cuts a trace in two segments.")]
MaxSpeed = Annotated[str, typer.Option(help="A fix that could only be reached faster is dropped.")]


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="Raw GPS file, text or gzipped text.")],
    out: Annotated[
        Path, typer.Option(help="New folder, or new file ending in .parquet or .csv.", show_default=False)
    ],
    columns: Columns = None,
    date: Date = None,
    box: Box = "shenzhen",
    gap: Gap = "300 s",
    max_speed: MaxSpeed = "120 km/h",
    strict: Annotated[bool, typer.Option("--strict", help="A damaged row is an error.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read a raw GPS file, clean it, and say what was dropped and why."""
    from cosim.traffic.traces.cleaning import convert as convert_file
    from cosim.traffic.traces.tables import check_new, write_fixes

    check_new(out)
    fixes = convert_file(file, columns=columns, date=date, rules=_rules(box, gap, max_speed), strict=strict)
    written = write_fixes(fixes, out)
    _show_report(fixes.report, written, as_json)


@app.command()
def match(
    file: Annotated[Path, typer.Argument(help="A converted table, its folder, or a raw GPS file.")],
    net: Annotated[
        str, typer.Option(help="The net: a name, a folder, or a .net.xml file.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="New or empty folder.", show_default=False)],
    variant: Annotated[str | None, typer.Option(help="One of the net's variants.")] = None,
    radius: Annotated[str, typer.Option(help="How far from a road a fix may lie.")] = "50 m",
    columns: Columns = None,
    date: Date = None,
    box: Box = "net",
    gap: Gap = "300 s",
    max_speed: MaxSpeed = "120 km/h",
    as_json: AsJson = False,
) -> None:
    """Find the roads that traces drove along, and say how far the fixes lie from them."""
    from cosim.traffic.traces.tables import check_new

    check_new(out)
    traces = _matched(file, net, variant, out, columns, date, (box, gap, max_speed), radius, quiet=as_json)
    _show_matched(traces, as_json)


@app.command()
def replay(
    traces: Annotated[Path, typer.Argument(help="Matched traces (folder), or a file to match first.")],
    net: Annotated[str | None, typer.Option(help="The net; needed unless TRACES are matched.")] = None,
    mode: Annotated[str, typer.Option(help="replay: where the trace was; routes: SUMO drives.")] = "replay",
    begin: Annotated[
        str | None, typer.Option(help="Time of day at which to start; default: the first.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="Simulated time; default: to the last trace's end.")
    ] = None,
    step: Annotated[str, typer.Option(help="Traffic step.")] = "1 s",
    gap: Gap = "300 s",
    backend: Annotated[str | None, typer.Option(help="libsumo (default) or traci.")] = None,
    gui: Annotated[bool, typer.Option("--gui", help="Open sumo-gui.")] = False,
    gui_quit: Annotated[bool, typer.Option("--gui-quit", help="Close sumo-gui at the end.")] = False,
    screenshot: Annotated[Path | None, typer.Option(help="PNG of sumo-gui's view at the end.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory (new or empty); default: runs/replay/s0-UTC.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Drive matched traces in SUMO and write a run directory; FILE --net NET does everything from the raw file on."""
    from cosim.cli.run import finish_run, gui_options, progress_bar
    from cosim.runner import RunOptions, run, terminable
    from cosim.traffic.gui import check_gui

    if backend not in (None, "libsumo", "traci"):
        raise ScenarioError(f"--backend {backend}: must be libsumo or traci")
    window = gui_options(gui or screenshot is not None, "100 ms", gui_quit, screenshot)
    if window is not None:
        check_gui(window)
    folder = _matched_or_match(traces, net, gap, quiet=as_json)
    scenario = _replay_scenario(folder, net, mode, begin, duration, step)
    with terminable(), progress_bar(quiet=as_json) as progress:
        options = RunOptions(backend=backend, gui=window, out=out, progress=progress)
        result = run(scenario, options)
    finish_run(result, as_json)


@app.command()
def synthesise(
    out: Annotated[Path, typer.Option(help="New CSV file.", show_default=False)],
    net: Annotated[str, typer.Option(help="A geo-referenced net.")] = "shenzhen_futian",
    vehicles: Annotated[int, typer.Option(help="Number of taxis.")] = 24,
    duration: Annotated[str, typer.Option(help="Time that the traces span.")] = "1 h",
    seed: Annotated[int, typer.Option(help="Other seeds give other traces.")] = 0,
) -> None:
    """Make SYNTHETIC look-alike traces: simulated taxis, sampled and damaged as real ones are."""
    from cosim.traffic.nets import find_net
    from cosim.traffic.traces.synthetic import synthesise as make
    from cosim.traffic.traces.tables import check_new

    check_new(out)
    made = make(find_net(net), vehicles=vehicles, duration=_time("--duration", duration), seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(made.text, encoding="utf-8")
    on_road = sum(bool(edges) for edges in made.driven.values())
    typer.echo(f"{out}: {made.rows} synthetic fixes of {on_road} vehicles")
    if on_road < vehicles:
        typer.echo(f"note: {vehicles - on_road} vehicles could not enter the net")


@app.command()
def show(
    traces: Annotated[str, typer.Argument(help="Matched traces (folder).")],
    net: Annotated[
        str | None, typer.Option(help="The net, if it is not known by the name in the traces.")
    ] = None,
    vehicle: Annotated[
        list[str] | None, typer.Option("--vehicle", help="Only this vehicle's; may be given often.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="PNG file; default NAME.traces.png.")] = None,
) -> None:
    """Draw matched traces over their net as a PNG: routes, fixes, and how far they lie apart."""
    from cosim.plots.net_map import save_net_map
    from cosim.plots.traces import traces_overlay
    from cosim.traffic.nets import find_net
    from cosim.traffic.traces.matched import check_net, load_matched

    if out is not None and out.suffix.lower() != ".png":
        raise ScenarioError(f"--out should end in .png, not '{out.name}'")
    matched = load_matched(traces)
    found = find_net(net or str(matched.meta["net"]), matched.meta["variant"])
    check_net(matched, found)
    if vehicle:
        matched = matched.only(vehicle)
    away = matched.fixes["residual"].to_numpy()
    middle, largest = sorted(away.tolist())[len(away) // 2], max(away.tolist())
    title = (
        f"{matched.meta['source']} on {found.name}: trips: {len(matched.trips)}, fixes: {len(away)},"
        f" {middle:.1f} m from their place (median), {largest:.1f} m at most"
    )
    typer.echo(
        save_net_map(found, out or Path(f"{found.name}.traces.png"), [traces_overlay(matched)], title=title)
    )


# -- options ----------------------------------------------------------------------------------------------------


def _time(option: str, text: str) -> float:
    from cosim.scenario.units import TIME

    try:
        return TIME.read(text)
    except ValueError as error:
        raise ScenarioError(f"{option} {text}: {error}") from None


def _rules(box: str, gap: str, max_speed: str, net: str | None = None, variant: str | None = None) -> Rules:
    from cosim.scenario.units import SPEED
    from cosim.traffic.traces.cleaning import Rules

    try:
        fastest = SPEED.read(max_speed)
    except ValueError as error:
        raise ScenarioError(f"--max-speed {max_speed}: {error}") from None
    seconds = _time("--gap", gap)
    if fastest <= 0 or seconds <= 0:
        raise ScenarioError("--gap and --max-speed must be above 0")
    return Rules(box=_box(box, net, variant), max_speed=fastest, gap=seconds)


def _box(text: str, net: str | None, variant: str | None) -> tuple[float, float, float, float] | None:
    from cosim.traffic.traces.cleaning import SHENZHEN

    if text == "none":
        return None
    if text == "shenzhen":
        return SHENZHEN
    if text == "net" and net is not None:
        return _around(net, variant)
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ScenarioError(f"--box {text}: must be W,S,E,N in degrees, 'shenzhen' or 'none'") from None
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ScenarioError(f"--box {text}: west < east and south < north are needed, in degrees")
    return west, south, east, north


def _around(net: str, variant: str | None) -> tuple[float, float, float, float]:
    """Return the box of a net with 500 m around it, degrees."""
    from cosim.traffic.nets import find_net, load_geometry
    from cosim.traffic.traces.projection import check_projection

    found = find_net(net, variant)
    check_projection(found)
    geometry = load_geometry(found)
    xmin, ymin, xmax, ymax = geometry.boundary
    corners = geometry.to_lonlat(
        [xmin - 500, xmax + 500, xmin - 500, xmax + 500], [ymin - 500, ymin - 500, ymax + 500, ymax + 500]
    )
    (west, south), (east, north) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return west, south, east, north


# -- steps ------------------------------------------------------------------------------------------------------


def _matched(
    file: Path,
    net: str,
    variant: str | None,
    out: Path,
    columns: str | None,
    date: str | None,
    cleaning: tuple[str, str, str],
    radius: str,
    *,
    quiet: bool,
) -> MatchedTraces:
    from cosim.scenario.units import LENGTH
    from cosim.traffic.nets import find_net
    from cosim.traffic.traces.matched import match_to
    from cosim.traffic.traces.matching import MatchRules
    from cosim.traffic.traces.tables import load_fixes

    try:
        reach = LENGTH.read(radius)
    except ValueError as error:
        raise ScenarioError(f"--radius {radius}: {error}") from None
    if reach <= 0:
        raise ScenarioError(f"--radius {radius}: must be above 0")
    rules = _rules(*cleaning, net, variant)
    fixes = load_fixes(file, columns=columns, date=date, rules=rules)
    if fixes.report.dropped and not quiet:
        _show_report(fixes.report, [], as_json=False)
    return match_to(fixes, find_net(net, variant), out, rules=MatchRules(radius=reach), source=file)


def _matched_or_match(traces: Path, net: str | None, gap: str, *, quiet: bool) -> Path:
    """Return a folder of matched traces; what is not matched yet is matched into ``NAME.matched`` beside it."""
    from cosim.resources import locate
    from cosim.traffic.traces.matched import META, find_matched

    if traces.is_file() and traces.name != META:
        if net is None:
            raise ScenarioError(f"{traces}: is not matched; say the net: --net NET")
        out = Path(f"{traces.name.partition('.')[0]}.matched")
        if (out / META).is_file():
            raise ScenarioError(f"{out} is there already: replay that, or delete it")
        _matched(traces, net, None, out, None, None, ("net", gap, "120 km/h"), "50 m", quiet=quiet)
        logging.getLogger("cosim.trace").info("matched traces: %s", out)
        return out
    if locate(traces, "data") is None:
        raise ScenarioError(f"{traces}: no such file or folder")
    return find_matched(traces)


def _replay_scenario(
    folder: Path, net: str | None, mode: str, begin: str | None, duration: str | None, step: str
) -> Any:
    """Return the scenario that replays *folder* and nothing else."""
    from cosim.clock import US
    from cosim.scenario import scenario_from_resolved
    from cosim.traffic.nets import find_net
    from cosim.traffic.replay_plan import replay_plan
    from cosim.traffic.traces.matched import load_matched

    traces = load_matched(folder)
    replay: dict[str, Any] = {"traces": str(folder), "mode": mode, "type": "taxi", "begin": begin}
    traffic = {
        "net": net or traces.meta["net"],
        "variant": traces.meta["variant"],
        "step": step,
        "types": {"taxi": {"like": "passenger"}},
        "replay": replay,
    }
    data: dict[str, Any] = {"name": "replay", "duration": step, "traffic": traffic}
    scenario = scenario_from_resolved(data, "cosim trace replay")
    plan = replay_plan(scenario.traffic, find_net(scenario.traffic.net, scenario.traffic.variant))
    assert plan is not None
    steps = -(-max(trip.end_us for trip in plan.trips) // scenario.step_us)
    data["duration"] = duration or steps * scenario.step_us / US
    return scenario_from_resolved(data, "cosim trace replay")


# -- reports ----------------------------------------------------------------------------------------------------


def _show_report(report: Report, written: list[Path], as_json: bool) -> None:
    if as_json:
        print(json.dumps({**report.as_dict(), "files": [str(path) for path in written]}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    from cosim.traffic.traces.report import REASONS

    console = Console(highlight=False)
    dropped = sum(report.dropped.values())
    size = f"{report.vehicles} vehicles, {report.segments} segments"
    title = f"{report.source}: {report.rows} rows, {report.kept} kept, {dropped} dropped; {size}"
    console.print(title, soft_wrap=True, markup=False)
    if dropped:
        table = Table()
        table.add_column("dropped")
        table.add_column("rows", justify="right")
        table.add_column("first lines")
        for reason in REASONS:
            if reason in report.dropped:
                lines = ", ".join(str(line) for line, _ in report.examples[reason])
                table.add_row(f"{reason}: {REASONS[reason]}", str(report.dropped[reason]), lines)
        console.print(table)
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    for path in written:
        console.print(str(path), soft_wrap=True, markup=False)


def _show_matched(traces: MatchedTraces, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**traces.meta, "dir": str(traces.folder)}, ensure_ascii=False))
        return
    from rich.console import Console

    counts, residual = traces.meta["counts"], traces.meta["residual_m"]
    console = Console(highlight=False)
    edges = sum(len(way) for way in traces.trips["edges"].to_list())
    km = traces.trips["length"].sum() / 1000
    lines = (
        f"{counts['trips']} trips from {counts['segments']} segments on {traces.meta['net']}:"
        f" {edges} edges, {km:.1f} km",
        f"fixes: {counts['fixes']}, matched {counts['matched']}, off the road {counts['off_road']},"
        f" far from all roads {counts['no_road']}, too few to drive {counts['alone']}; segments cut {counts['cuts']}",
        f"distance from their place: mean {residual['mean']:.1f} m, median {residual['median']:.1f} m,"
        f" 95 % {residual['p95']:.1f} m, largest {residual['max']:.1f} m",
        str(traces.folder),
    )
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
