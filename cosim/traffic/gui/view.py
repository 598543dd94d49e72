"""The look of the shipped nets in sumo-gui, as the view settings that it reads."""

from __future__ import annotations

VIEW = "View #0"
"""sumo-gui's name of its first view."""
WINDOW_SIZE = (1280, 800)
NEAR, FAR = "cosim", "cosim_far"
"""Names of the two view schemes: vehicles in their true size, and never shorter than some 14 pixels."""
POI_TEXT = "cosim.text"
"""Parameter of a point of interest that is written beside its name."""


def view_settings_text() -> str:
    """Return the view settings of the shipped nets: grey roads on light ground, and two schemes of vehicle size.

    The agent's last action (vehicle parameter ``cosim.action``) is written beside selected vehicles.
    """
    near = 'vehicleQuality="2" vehicle_constantSize="0" vehicle_exaggeration="1"'
    far = 'vehicleQuality="1" vehicle_constantSize="1" vehicle_exaggeration="0.5"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<viewsettings>\n{_scheme(FAR, far)}{_scheme(NEAR, near)}"
        '    <delay value="100"/>\n</viewsettings>\n'
    )


def _scheme(name: str, vehicle_size: str) -> str:
    return (
        f'    <scheme name="{name}">\n'
        '        <opengl antialiase="1" dither="0"/>\n'
        '        <background backgroundColor="243,242,236" showGrid="0"/>\n'
        '        <edges laneEdgeMode="0" laneShowBorders="1" showLinkDecals="1">\n'
        '            <colorScheme name="uniform"><entry color="91,99,107" name="road"/></colorScheme>\n'
        "        </edges>\n"
        '        <junctions junctionMode="0" drawShape="1">\n'
        '            <colorScheme name="uniform"><entry color="107,115,123"/></colorScheme>\n'
        "        </junctions>\n"
        f'        <vehicles vehicleMode="0" showBlinker="1" vehicle_minSize="0" {vehicle_size}\n'
        '                  vehicleTextParam="cosim.action" vehicleText_show="1" vehicleText_onlySelected="1"\n'
        '                  vehicleText_size="60" vehicleText_constantSize="1"\n'
        '                  vehicleText_color="20,20,20" vehicleText_bgColor="255,255,255,200"/>\n'
        '        <pois poi_minSize="0" poi_exaggeration="1" poi_constantSize="1"\n'
        '              poiName_show="1" poiName_size="50" poiName_constantSize="1" poiName_color="20,20,20"\n'
        f'              poiTextParam="{POI_TEXT}" poiText_show="1" poiText_size="50" poiText_constantSize="1"\n'
        '              poiText_color="20,20,20"/>\n'
        '        <legend showSizeLegend="1"/>\n'
        "    </scheme>\n"
    )
