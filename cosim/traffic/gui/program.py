"""sumo-gui as a program: what it is told when it is opened, what it needs, and the window that is left at the end."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from cosim.errors import ScenarioError, TrafficError
from cosim.traffic.backend import QUIT_AT_END, end_window
from cosim.traffic.gui.view import WINDOW_SIZE, view_settings_text
from cosim.traffic.nets import Net
from cosim.traffic.programs import sumo_binary


@dataclass(frozen=True, slots=True)
class GuiOptions:
    """How a run is shown: pause after each step (s), whether the window closes at the end, a PNG of the end.

    ``follow`` is a vehicle that the view follows from when it is there.
    """

    delay_s: float = 0.1
    quit_at_end: bool = False
    screenshot: Path | None = None
    follow: str | None = None


def check_gui(options: GuiOptions) -> None:
    """Check what a window needs before anything is started or written.

    Raises:
        ScenarioError: there is no display, or the screenshot's name is not that of a PNG file.
        TrafficError: sumo-gui does not run on this machine.
    """
    picture = options.screenshot
    if picture is not None and picture.suffix.lower() != ".png":
        raise ScenarioError(f"--screenshot {picture}: the name must end in .png")
    if picture is not None and (picture.is_dir() or not os.access(picture.resolve().parent, os.W_OK)):
        raise ScenarioError(f"--screenshot {picture}: no file of that name can be written there")
    if os.name == "posix":
        display = os.environ.get("DISPLAY", "")
        if not display:
            raise ScenarioError(
                "sumo-gui needs a display and DISPLAY is not set: run in a desktop session, or put"
                " `xvfb-run -a` in front (with --gui-quit, as nobody sees that window)"
            )
        if not _display_answers(display):
            raise ScenarioError(f"sumo-gui needs a display and none answers at DISPLAY={display}")
    done = subprocess.run(
        [sumo_binary("sumo-gui"), "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise TrafficError(f"sumo-gui does not run here: {words[-1] if words else done.returncode}")


def _display_answers(display: str) -> bool:
    """Whether an X server can be reached; True also if libX11 is not found, as sumo-gui then says so itself."""
    library = find_library("X11")
    if library is None:
        return True
    x11 = ctypes.CDLL(library)
    x11.XOpenDisplay.argtypes = [ctypes.c_char_p]
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    for _ in range(3):  # a server that has just lost its last client restarts, and answers nobody meanwhile
        connection = x11.XOpenDisplay(display.encode())
        if connection:
            x11.XCloseDisplay(connection)
            return True
        time.sleep(0.1)
    return False


def gui_arguments(options: GuiOptions, net: Net, scratch: Path) -> list[str]:
    """Return sumo-gui's options; a net without view settings of its own gets ours, written into *scratch*."""
    settings = net.gui_settings
    if settings is None or not settings.is_file():
        settings = scratch / "gui.settings.xml"
        settings.write_text(view_settings_text(), encoding="utf-8")
    arguments = [
        "--start",
        "--delay",
        f"{1000 * options.delay_s:g}",
        "--gui-settings-file",
        str(settings),
        "--window-size",
        ",".join(map(str, WINDOW_SIZE)),
    ]
    return [*arguments, QUIT_AT_END] if options.quit_at_end else arguments


class LeftWindow:
    """A sumo-gui whose simulation is over and that now belongs to the user."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def open(self) -> bool:
        """Whether the window is still there."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Return when the user has closed the window; Ctrl-C closes it."""
        try:
            self._process.wait()
        except KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """Close the window; never raises, may be called again."""
        end_window(self._process)
