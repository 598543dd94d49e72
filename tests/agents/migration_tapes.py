"""Small mobility tapes made without SUMO, and the brute-force instance, for the tests of migration agents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cosim.lockstep import ActionSpec, EpisodeInfo, RoleSpec
from cosim.tasks.migration import (
    Layout,
    MigrationOptions,
    MobilityTape,
    Rules,
    Slot,
    TapeBatch,
    observation_length,
    remaining_distance,
    serving_station,
    station_ahead,
)

MB = 8e6
G = 1e9


def a_layout(stations: int = 3, remote: bool = False) -> Layout:
    """RSUs along a road of 600 m a piece."""
    xy = np.array([[300.0 + 600.0 * j, 20.0] for j in range(stations)])
    box = np.array([[0.0, -50.0], [600.0 * stations, 50.0]])
    ids = tuple(f"rsu_{j}" for j in range(stations))
    return Layout(ids, xy, box, reach=200.0 if remote else None, remote=remote)


def a_tape(
    seed: int, vehicles: int = 4, slots: int = 6, stations: int = 3, remote: bool = False, history: int = 12
) -> MobilityTape:
    """Vehicles at constant speed that turn round at the ends."""
    rng, layout = np.random.default_rng(seed), a_layout(stations, remote)
    length = layout.box[1, 0]
    speed = rng.uniform(5.0, 20.0, vehicles)
    way = rng.uniform(0.0, 2.0 * length, vehicles) + speed * 20.0 * np.arange(history + slots)[:, None]
    x = way % (2.0 * length)
    east = x < length
    xy = np.stack([np.where(east, x, 2.0 * length - x), np.where(east, -5.0, 5.0)], axis=-1)
    heading = np.where(east, 90.0, 270.0)
    serving = serving_station(layout, xy)
    return MobilityTape(
        layout=layout,
        vehicles=tuple(f"car.{i:03d}" for i in range(vehicles)),
        seed=seed,
        xy=xy,
        speed=np.broadcast_to(speed, serving.shape).copy(),
        remaining=remaining_distance(layout, xy, heading, serving),
        serving=serving,
        ahead=station_ahead(layout, xy, heading, serving),
        track=xy.copy(),
        history=history,
    )


def info_for(vehicles: int, stations: int, seed: int = 5, **options: Any) -> EpisodeInfo:
    """What an agent is told of a migration task."""
    chosen = MigrationOptions(vehicles=vehicles, **options)
    count = 2 if chosen.space == "remote" else stations
    width = observation_length(chosen.observation, stations, vehicles)
    role = RoleSpec("vehicle", width, ActionSpec(n=count, low=(0.0,), high=(1.0,)))
    told = chosen.model_dump(mode="json")
    return EpisodeInfo("test", "migration", seed, 0, 20_000_000, {"vehicle": role}, told)


class BruteForceBatch(TapeBatch):
    """The instance of the specification, 9.3: two vehicles at RSU 0, two slots of 5 s, the same tasks in both."""

    decisions = 2

    def __init__(self) -> None:
        still = replace(a_tape(0, vehicles=2, slots=2), serving=np.zeros((14, 2), dtype=np.int64))
        super().__init__([still], Rules(slot=5.0))
        self.decisions = 2

    def _at(self, t: int, queue: Any, last: Any) -> Slot:
        many = len(self._which)
        rate = np.broadcast_to(np.array([400.0, 200.0, 100.0]) * MB, (many, 2, 3)).copy()
        migration = np.full((3, 3), 800e6)
        np.fill_diagonal(migration, np.inf)
        return Slot(
            t=t,
            xy=np.zeros((many, 2, 2)),
            speed=np.full((many, 2), 10.0),
            duration=np.full((many, 2), 40.0),
            serving=np.zeros((many, 2), dtype=np.int64),
            ahead=np.ones((many, 2), dtype=np.int64),
            input_bits=np.full((many, 2), 16.0 * MB),
            task_bits=np.broadcast_to(np.array([100.0, 200.0]) * MB, (many, 2)).copy(),
            rate=rate,
            cpu=np.broadcast_to(np.array([10.0, 20.0, 30.0]) * G, (many, 3)).copy(),
            cpu_cloud=np.full(many, 80 * G),
            migration=np.broadcast_to(migration, (many, 3, 3)).copy(),
            queue=np.broadcast_to(np.array([20.0, 0.0, 0.0]) * G, (many, 3)).copy() if t == 0 else queue,
            last=last,
        )
