"""Which of SUMO's own options a scenario may set under ``traffic.sumo.options``.

A scenario is data: options that read, write or run something are refused, and so are
those that cosim sets itself (time, seed, demand, outputs, teleports, collisions).  What remains is a list of
families: an option belongs if it is one of them or starts with ``family.``, and no part of it names a file.
"""

from __future__ import annotations

from cosim.errors import nearest

_FAMILY_TEXT = """
    step-method.ballistic lateral-resolution ignore-junction-blocker ignore-route-errors
    intermodal-collision.action intermodal-collision.stoptime collision.stoptime
    keep-after-arrival max-num-vehicles max-num-persons max-num-teleports
    time-to-teleport.highways time-to-teleport.disconnected time-to-teleport.remove time-to-teleport.ride
    time-to-teleport.bidi waiting-time-memory startup-wait-threshold max-depart-delay sloppy-insert
    eager-insert emergency-insert insertion-checks lanechange.duration lanechange.overtake-right
    tls.all-off tls.actuated tls.delay_based tls.yellow slope-centered time-to-impatience
    default.action-step-length default.emergencydecel emergencydecel.warning-threshold parking.maneuver
    pedestrian.model pedestrian.timegap-crossing pedestrian.striping weights.turnaround-penalty
    weights.reversal-penalty weights.random-factor weights.minor-penalty weights.tls-penalty
    weights.priority-factor weights.separate-turns routing-algorithm
    device.rerouting device.emissions device.battery device.ssm device.toc device.driverstate
    device.bluelight device.fcd device.glosa device.friction device.tripinfo device.vehroute
    emissions.volumetric-fuel phemlight-year phemlight-temperature
    fcd-output.geo fcd-output.utm fcd-output.signals fcd-output.distance fcd-output.acceleration
    fcd-output.speed-relative fcd-output.max-leader-distance fcd-output.params fcd-output.attributes
    fcd-output.skip-empty tripinfo-output.write-unfinished tripinfo-output.write-undeparted
    emission-output.precision emission-output.attributes vehroute-output.exit-times
    vehroute-output.last-route vehroute-output.sorted vehroute-output.route-length
    lanechange-output.started lanechange-output.ended lanechange-output.xy precision precision.geo
    human-readable-time
"""
_FAMILIES = tuple(_FAMILY_TEXT.split())

_FILE_WORDS = frozenset({"file", "files", "input-file", "output", "path", "prefix", "save", "load", "log"})
_BELOW = frozenset({"pedestrian.model", "routing-algorithm", "precision", "phemlight-year"})

_OWNED = {
    "step-length": "traffic.step",
    "seed": "seed",
    "random": "seed",
    "begin": "warmup and duration",
    "end": "warmup and duration",
    "net-file": "traffic.net",
    "route-files": "traffic.inflow, traffic.vehicles and traffic.routes",
    "scale": "traffic.inflow.rate",
    "time-to-teleport": "traffic.sumo.time_to_teleport",
    "collision.action": "traffic.sumo.collision_action",
    "collision.check-junctions": "traffic.sumo.collision_check_junctions",
    "collision.mingap-factor": "traffic.sumo.collision_mingap_factor",
    "default.carfollowmodel": "traffic.types.NAME.car_following",
    "default.speeddev": "traffic.types.NAME.speed_dev",
    "fcd-output": "traffic.outputs.fcd",
    "tripinfo-output": "traffic.outputs.tripinfo",
    "collision-output": "traffic.outputs.collisions",
    "device.ssm.file": "traffic.outputs.ssm",
}


def check_option(name: str) -> None:
    """Raise ValueError, in words for the user, if a scenario may not set SUMO's option *name*."""
    if name in _OWNED:
        raise ValueError(f"is set by cosim; use the key {_OWNED[name]}")
    allowed = name in _FAMILIES or any(
        name.startswith(family + ".") and family not in _BELOW for family in _FAMILIES
    )
    if allowed and not _FILE_WORDS & set(name.split(".")[1:]):
        return
    raise ValueError(
        f"is not an option that a scenario may set{nearest(name, _FAMILIES)}: options that read, write"
        " or run something, or that cosim sets itself, are refused"
    )
