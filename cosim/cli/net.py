"""``cosim net build|import|show``: make nets from their sources, from maps, and draw them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cosim.errors import ScenarioError
from cosim.traffic.nets import FOLDER, find_net, list_nets

app = typer.Typer(help="Nets from sources, OSM or GraphML; a PNG of a net.", no_args_is_help=True)


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Nets or their folders; all shipped nets if none is given.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; fail if a built file is not what its source gives."),
    ] = False,
) -> None:
    """Build nets from their plain-XML source with SUMO's netconvert."""
    from cosim.traffic.net_build import build_net, check_net

    differing: list[str] = []
    for name in names or list_nets():
        if check:
            stale = check_net(name)
            differing += [f"{name}/{file}" for file in stale]
            typer.echo(f"{name}: {'differs: ' + ', '.join(stale) if stale else 'as its source gives'}")
        else:
            files = build_net(name)
            typer.echo(f"{name}: {len(files)} files in {files[0].parent}")
    if differing:
        raise ScenarioError(f"{', '.join(differing)}: not what the source gives; run `cosim net build`")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An .osm, .osm.xml (or .gz) or OSMnx .graphml file.")],
    name: Annotated[str, typer.Option(help="The net's name.")],
    out: Annotated[
        Path | None, typer.Option(help=f"New or empty folder; default {FOLDER}/NAME in the working folder.")
    ] = None,
    proj: Annotated[
        str | None, typer.Option(help="PROJ string of the projection; default UTM of the map's middle.")
    ] = None,
    utm_zone: Annotated[
        int | None, typer.Option(help="Force this UTM zone (Futian lies on the edge of 49 and 50: force 50).")
    ] = None,
    guess_signals: Annotated[
        bool, typer.Option("--guess-signals", help="Put signals at large crossings where the map has none.")
    ] = False,
) -> None:
    """Make a net folder from a map: lanes, speed limits, one-way streets and geometry are kept."""
    from cosim.traffic.net_import import import_net
    from cosim.traffic.nets import load_geometry

    done = import_net(
        file, name, out or Path(FOLDER) / name, proj=proj, utm_zone=utm_zone, guess_signals=guess_signals
    )
    geometry = load_geometry(done.net)
    edges = geometry.edges.values()
    km, buildings = sum(edge.length for edge in edges) / 1000, len(geometry.buildings())
    size = f"{len(edges)} edges, {km:.1f} km" + (f", buildings: {buildings}" if buildings else "")
    typer.echo(f"{name}: {size}, in {done.net.folder}")
    typer.echo(f"projection: {geometry.projection}")
    for label, counts in (("left out", done.left_out), ("filled in by road class", done.filled_in)):
        if counts:
            typer.echo(f"{label}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="A net, its folder, or a .net.xml file; default: the scenario's net.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="One of the net's variants.")] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Add the coverage of this scenario's stations: SINR over the plane.")
    ] = None,
    spacing: Annotated[str, typer.Option(help="Distance of the points of a coverage map.")] = "10 m",
    out: Annotated[
        Path | None, typer.Option(help="PNG file; default NAME[.VARIANT].png in the working folder.")
    ] = None,
) -> None:
    """Draw a net as a PNG: lanes, junctions, signals, stations, buildings, a scale bar, and coverage if asked for."""
    from cosim.plots.net_map import save_net_map
    from cosim.traffic.nets import file_stem

    if out is not None and out.suffix.lower() != ".png":
        raise ScenarioError(f"--out should end in .png, not '{out.name}'")
    if scenario is not None:
        typer.echo(_show_coverage(scenario, name, spacing, out))
        return
    if name is None:
        raise ScenarioError("say which net to draw, or --scenario whose coverage")
    net = find_net(name, variant)
    typer.echo(save_net_map(net, out or Path(f"{file_stem(net.name, variant)}.png")))


def _show_coverage(scenario_name: str, net_name: str | None, spacing: str, out: Path | None) -> Path:
    """Draw the SINR that a vehicle would have over the plane of a scenario's net."""
    from cosim.network import NetworkConfig, coverage_map
    from cosim.plots.coverage import Coverage, coverage_overlay, stations_overlay
    from cosim.plots.net_map import save_net_map
    from cosim.scenario import load_scenario
    from cosim.scenario.units import LENGTH
    from cosim.traffic.nets import load_geometry

    scenario = load_scenario(scenario_name)
    net = find_net(scenario.traffic.net, scenario.traffic.variant)
    if net_name is not None and find_net(net_name).name != net.name:
        raise ScenarioError(f"scenario '{scenario.name}' is on net '{net.name}', not on '{net_name}'")
    if scenario.network is None:
        raise scenario.error("network", f"scenario '{scenario.name}' has no network, so no coverage")
    config = scenario.parse("network", NetworkConfig)
    try:
        step = LENGTH.read(spacing)
    except ValueError as error:
        raise ScenarioError(f"--spacing {spacing}: {error}") from None
    try:
        found = coverage_map(config, load_geometry(net), scenario.seed, spacing=step)
    except ScenarioError as error:
        raise scenario.locate_error(error) from None
    cells = Coverage(found.sinr_db, found.x[0] - step / 2, found.y[0] - step / 2, step, "downlink SINR [dB]")
    title = f"{net.name}: coverage of scenario {scenario.name}"
    target = out or Path(f"{scenario.name}.coverage.png")
    return save_net_map(
        net,
        target,
        [coverage_overlay(cells), stations_overlay(found.stations, found.station_xy)],
        title=title,
    )
