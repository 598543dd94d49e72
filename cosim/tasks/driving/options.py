"""What a scenario may set of the driving task, with the paper's values as defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cosim.scenario.units import Acceleration, Length, Number, Speed

RIGHT, STRAIGHT, LEFT = 0, 1, 2
"""Codes of a vehicle's target branch, the observation's I_targ."""


class DrivingOptions(BaseModel):
    """Options of ``tasks.driving`` (the specification, sections 1 to 3 and 8)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actions: Literal["discrete", "continuous"] = "discrete"
    zone: str | None = Field(None, description="edge whose vehicles are coordinated; default: the net's zone")
    targets: dict[str, tuple[int, ...]] = Field(
        default={"right": (0,), "straight": (1, 2), "left": (3,)},
        description="target lanes of each route; the names right, straight, left give I_targ 0, 1, 2",
    )
    mask: Literal["safe", "edges"] = Field(
        "safe",
        description="safe: also forbid a side with a neighbour within 6 m; edges: only lanes that do not exist",
    )
    mask_distance: Length = Field(6.0, ge=0)
    accel_step: Acceleration = Field(
        2.0, gt=0, description="acceleration of the accelerating and braking actions"
    )
    max_speed: Speed = Field(20.0, gt=0)
    episode: int = Field(180, ge=1, description="decisions of a learning window")
    max_cavs: int | None = Field(None, ge=1, description="further CAVs are removed as they enter")
    remove_slow: Speed | None = Field(None, description="CAVs slower than this are removed (training)")
    remove_slow_above: int = Field(
        15, ge=0, description="... but only while more CAVs than this are in the zone"
    )
    kappa: Number = Field(1.0, description="scale of the position reward r_p")
    reward_weights: tuple[Number, Number, Number, Number, Number] = Field(
        (10.0, 2.0, 1.0, -50.0, 8.0), description="of r_a, r_p, r_flow, r_safe, r_complete"
    )
    complete_at: Length = Field(
        20.0, description="distance to the zone's end within which r_complete is paid"
    )
    ttc_cap: Number = Field(30.0, gt=0, description="cap of min_ttc_capped, s")
    human_modes: tuple[int, int] = Field(
        (25, 1), description="speed mode and lane-change mode of a CAV that an agent leaves to SUMO"
    )
