"""Degrees to metres for traces: UTM zone 50 on WGS-84, and the check that a net is projected in a usable way.

The fixes of the Shenzhen releases are WGS-84 and are never shifted to the Chinese GCJ-02 datum: read as WGS-84 they
lie 5 m from the roads of OpenStreetMap, read as GCJ-02 38 m.  114 E is the edge between the UTM zones 49 and 50;
zone 50 is used on both sides.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.errors import ScenarioError
from cosim.traffic.nets import Net, load_geometry

SHENZHEN_EPSG = 32650
UTM_50 = "+proj=utm +zone=50 +datum=WGS84 +units=m +no_defs"
"""What EPSG:32650 is, in the only form that a net for libsumo 1.28 may carry."""
GLOBE_RADIUS = 6371008.8
"""Mean radius of the earth, m (IUGG)."""


@lru_cache(maxsize=4)
def _transformer(epsg: int) -> Any:
    import pyproj

    return pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)


def to_utm(lon: ArrayLike, lat: ArrayLike, epsg: int = SHENZHEN_EPSG) -> NDArray[np.float64]:
    """Project WGS-84 degrees, two arrays of shape (...), to easting and northing (..., 2) in m."""
    x, y = _transformer(epsg).transform(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    return np.stack([np.asarray(x), np.asarray(y)], axis=-1)


def check_projection(net: Net) -> None:
    """Raise ScenarioError if *net* cannot take fixes: not geo-referenced, or by an EPSG code."""
    projection = load_geometry(net).projection
    if projection is None:
        raise ScenarioError(
            f"net '{net.name}' is not geo-referenced, so GPS fixes have no place on it; make one from a map with"
            " `cosim net import MAP --utm-zone 50`"
        )
    if "+proj=" not in projection or "+proj=longlat" in projection:
        raise ScenarioError(
            f"net '{net.name}' is projected by '{projection}', which libsumo 1.28 cannot load; build it with"
            f" --proj '{UTM_50}'"
        )
