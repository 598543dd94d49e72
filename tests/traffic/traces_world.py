"""Where the real Shenzhen material is, if it is there, and traces on the shipped schematic whose truth is known."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from cosim.traffic.net_import import import_net
from cosim.traffic.nets import Net, find_net, load_geometry
from cosim.traffic.traces.cleaning import Rules, convert
from cosim.traffic.traces.matched import MatchedTraces, match_to
from cosim.traffic.traces.paths import path_along

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "shenzhen"
SAMPLE, GRAPH = REAL / "taxi_1_sample.csv", REAL / "futian_west_osmnx.graphml"
needs_real_material = pytest.mark.skipif(
    not (SAMPLE.is_file() and GRAPH.is_file()), reason="the real Shenzhen sample and road graph are not here"
)


@lru_cache(maxsize=1)
def real_roads() -> Net:
    """Import the real road graph, once in a process."""
    return import_net(GRAPH, "futian", Path(tempfile.mkdtemp()) / "futian", utm_zone=50).net


NET = "shenzhen_futian"
ROUTES = {
    "a": ("binhe_e2", "binhe_e3", "binhe_e4", "caitian_n3", "caitian_n4", "caitian_n5", "shennan_w5"),
    "b": ("xinzhou_n2", "xinzhou_n3", "xinzhou_n4", "fuhua_e1", "fuhua_e2", "yitian_s4", "yitian_s3"),
}
START = datetime(2014, 10, 22, 8, 0, 0)


def write_traces(
    file: Path,
    *,
    speed: float = 8.0,
    every: float = 30.0,
    routes: dict[str, tuple[str, ...]] = ROUTES,
) -> Path:
    """Write fixes of vehicles that drive *routes* at a constant *speed*, rounded as the release is, 60 s apart."""
    geometry = load_geometry(find_net(NET))
    lines = ["id,lon,lat,time,speed"]
    for k, (name, edges) in enumerate(routes.items()):
        path = path_along(geometry, edges)
        times = np.arange(0, path.length / speed, every)
        xy = path.points(times * speed)
        lonlat = np.round(geometry.to_lonlat(xy[:, 0], xy[:, 1]), 4)
        for t, (lon, lat) in zip(times.tolist(), lonlat.tolist(), strict=True):
            moment = START + timedelta(seconds=t + 60 * k)
            lines.append(f"{name},{lon:.4f},{lat:.4f},{moment:%Y-%m-%d %H:%M:%S},{speed * 3.6:.1f}")
    file.write_text("\n".join([*lines, ""]))
    return file


def matched(folder: Path, **options: float) -> MatchedTraces:
    """Return traces of ROUTES matched to the schematic, in ``folder/matched``."""
    file = write_traces(folder / "taxis.csv", **options)  # type: ignore[arg-type]
    return match_to(convert(file, rules=Rules()), find_net(NET), folder / "matched", source=file)
