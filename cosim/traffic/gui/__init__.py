"""sumo-gui: how it is opened, what is drawn in it beside SUMO's own picture, and how it is left at the end.

``program`` has :class:`GuiOptions`, which become sumo-gui's options, and :class:`LeftWindow`; ``view`` is the look of
the shipped nets; ``canvas`` draws stations, coverage discs and links.  Nothing here changes the simulation: a run with
a window has the same tables as one without.  What a running scenario shows (the agents' last actions) is
:mod:`cosim.window`.
"""

from cosim.traffic.gui.canvas import (
    LINK_COLOURS,
    STATION_COLOURS,
    Canvas,
    StationMark,
    station_marks,
    view_box,
)
from cosim.traffic.gui.program import GuiOptions, LeftWindow, check_gui, gui_arguments
from cosim.traffic.gui.view import POI_TEXT, VIEW, WINDOW_SIZE, view_settings_text

__all__ = [
    "LINK_COLOURS",
    "POI_TEXT",
    "STATION_COLOURS",
    "VIEW",
    "WINDOW_SIZE",
    "Canvas",
    "GuiOptions",
    "LeftWindow",
    "StationMark",
    "check_gui",
    "gui_arguments",
    "station_marks",
    "view_box",
    "view_settings_text",
]
