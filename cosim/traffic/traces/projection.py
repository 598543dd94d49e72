"""What traces ask of a net's projection: UTM zone 50 on WGS-84 for Shenzhen, in a form that libsumo can load.

The fixes of the Shenzhen releases are WGS-84 and are never shifted to the Chinese GCJ-02 datum: read as WGS-84 they
lie 5 m from the roads of OpenStreetMap, read as GCJ-02 38 m.  114 E is the edge between the UTM zones 49 and 50;
zone 50 is used on both sides.
"""

from __future__ import annotations

from cosim.errors import ScenarioError
from cosim.traffic.nets import Net, load_geometry

UTM_50 = "+proj=utm +zone=50 +datum=WGS84 +units=m +no_defs"
"""What EPSG:32650 is, in the only form that a net for libsumo 1.28 may carry."""
GLOBE_RADIUS = 6371008.8
"""Mean radius of the earth, m (IUGG)."""


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
