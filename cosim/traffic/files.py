"""The files and options that SUMO is started with, made from the scenario's traffic section.

Vehicle types and named routes go into one additional file in a scratch folder; SUMO's own outputs that the
scenario asked for go into the run directory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from cosim.clock import US
from cosim.traffic.backend import ERROR_LOG
from cosim.traffic.nets import Net
from cosim.traffic.routes import group_route, known_routes
from cosim.traffic.state import VehicleType

if TYPE_CHECKING:
    from cosim.scenario import TrafficConfig, VehicleTypeConfig

FLOW_IDM = "flow_idm"

# SUMO's own model, which caps the ordered speed and drives on junctions, under Flow's controller: Flow sets minGap 0,
# so that SUMO does not keep a second distance, and leaves decel at its default; the law's own values are ordered.
_UNDER_FLOW_IDM = {"minGap": "0", "decel": "4.5"}

_ATTRIBUTES = {
    "accel": "accel",
    "decel": "decel",
    "tau": "tau",
    "min_gap": "minGap",
    "delta": "delta",
    "sigma": "sigma",
    "max_speed": "maxSpeed",
    "length": "length",
    "width": "width",
    "height": "height",
    "color": "color",
}

# All of SUMO's but laneChange, which does not make a vehicle wait but drops it: one that enters at 20 m/s with three
# lanes to cross would silently not come.
_INSERTION_CHECKS = (
    "collision leaderGap followerGap junction stop arrivalSpeed oncomingTrain speedLimit pedestrian"
)

_OUTPUTS = {
    "fcd": ("--fcd-output", "fcd.xml"),
    "tripinfo": ("--tripinfo-output", "tripinfo.xml"),
    "collisions": ("--collision-output", "collisions.xml"),
    "summary": ("--summary-output", "summary.xml"),
    "lanechange": ("--lanechange-output", "lanechange.xml"),
    "statistics": ("--statistic-output", "statistics.xml"),
    "vehroute": ("--vehroute-output", "vehroute.xml"),
    "queue": ("--queue-output", "queue.xml"),
    "emission": ("--emission-output", "emission.xml"),
    "netstate": ("--netstate-dump", "netstate.xml"),
}


def vehicle_types(config: TrafficConfig) -> tuple[VehicleType, ...]:
    """Return the scenario's vehicle types, in the order of the scenario."""
    return tuple(
        VehicleType(
            id=name,
            length=t.length,
            width=t.width,
            height=t.height,
            cav=t.cav,
        )
        for name, t in config.types.items()
    )


def modes(config: TrafficConfig) -> dict[str, tuple[int, int]]:
    """Return SUMO's speed mode and lane-change mode of each type."""
    return {name: (t.speed_mode, t.lane_change_mode) for name, t in config.types.items()}


def _type_xml(name: str, t: VehicleTypeConfig, ssm: Path | None) -> str:
    attributes = {
        "id": name,
        "carFollowModel": t.sumo_model,
        # Speed factors are drawn by cosim, vehicle by vehicle.
        "speedFactor": "1",
        "speedDev": "0",
    }
    for field, attribute in _ATTRIBUTES.items():
        value = getattr(t, field)
        if value is not None:
            attributes[attribute] = str(value)
    if t.car_following == FLOW_IDM:
        attributes |= _UNDER_FLOW_IDM
    attributes.update({k: str(v) for k, v in t.params.items()})
    head = " ".join(f"{k}={quoteattr(v)}" for k, v in attributes.items())
    if ssm is None:
        return f"    <vType {head}/>"
    device = {"has.ssm.device": "true", "device.ssm.file": str(ssm)}
    inner = "".join(f'<param key="{k}" value={quoteattr(v)}/>' for k, v in device.items())
    return f"    <vType {head}>{inner}</vType>"


def write_additional(path: Path, config: TrafficConfig, net: Net, work: Path | None) -> None:
    """Write vehicle types and routes for SUMO."""
    ssm = work / "ssm.xml" if config.outputs.ssm and work else None
    rows = [_type_xml(name, t, ssm) for name, t in config.types.items()]
    routes: dict[str, Sequence[str]] = dict(known_routes(config, net))
    for group in config.vehicles:
        routes[f"group:{group.name}"] = group_route(group, config, net)
    if config.replay is not None:
        from cosim.traffic.replay import replay_routes

        routes |= replay_routes(config, net)
    for name, edges in routes.items():
        rows.append(f"    <route id={quoteattr(name)} edges={quoteattr(' '.join(edges))}/>")
    path.write_text("<additional>\n" + "\n".join(rows) + "\n</additional>\n")


def sumo_arguments(config: TrafficConfig, net: Net, seed: int, scratch: Path, work: Path | None) -> list[str]:
    """Return the options SUMO is started with; writes the additional file into *scratch*.

    *work* receives the outputs of ``traffic.outputs`` and SUMO's log; None switches the outputs off.
    """
    additional = scratch / "types.add.xml"
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    write_additional(additional, config, net, work)
    s = config.sumo
    options: dict[str, str] = {
        "--net-file": str(net.net_file),
        "--additional-files": ",".join(map(str, (*net.additional_files, additional))),
        "--step-length": f"{config.step_us / US:g}",
        "--seed": str(seed % 2**31),
        "--no-step-log": "true",
        "--duration-log.disable": "true",
        "--time-to-teleport": f"{s.time_to_teleport:g}",
        "--collision.action": s.collision_action,
        "--collision.check-junctions": str(s.collision_check_junctions).lower(),
        "--collision.mingap-factor": f"{s.collision_mingap_factor:g}",
        "--insertion-checks": _INSERTION_CHECKS,
        # Contacts are cosim's events; as warnings they would fill the terminal.
        "--no-warnings": "true",
        ERROR_LOG: str((work or scratch) / "sumo.log"),
    }
    if work is not None:
        for name, (option, file) in _OUTPUTS.items():
            if getattr(config.outputs, name, False):
                options[option] = str(work / file)
    for name, value in _free_options(s.options):
        options[name] = value
    return [part for pair in options.items() for part in pair]


def _free_options(options: Mapping[str, object]) -> list[tuple[str, str]]:
    return [
        (f"--{name}", str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in options.items()
    ]
