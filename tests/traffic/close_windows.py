"""Ask sumo-gui's windows on a display to close, as their close buttons do: ``python close_windows.py :7``.

A program of its own, because Xlib ends its process if a window has gone in the meantime.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p

_CLIENT_MESSAGE = 33


def main(display: str) -> None:
    """Send WM_DELETE_WINDOW to SUMO's main window and to its question at the end of a simulation."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = c_void_p
    x11.XDefaultRootWindow.restype = x11.XInternAtom.restype = c_ulong
    connection = c_void_p(x11.XOpenDisplay(display.encode()))
    if not connection:
        sys.exit(1)
    root, other = c_ulong(x11.XDefaultRootWindow(connection)), c_ulong()
    children, n = ctypes.POINTER(c_ulong)(), c_uint()
    x11.XQueryTree(connection, root, byref(other), byref(other), byref(children), byref(n))
    protocols, delete = (
        x11.XInternAtom(connection, name, c_int(0)) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
    )
    for window in children[: n.value]:
        title = c_char_p()
        x11.XFetchName(connection, c_ulong(window), byref(title))
        if title.value and (b"SUMO" in title.value or title.value == b"Simulation ended"):
            # An XClientMessageEvent: type, serial, send_event, display, window, message_type, format, data.
            message = (c_long * 24)(_CLIENT_MESSAGE, 0, 0, 0, window, protocols, 32, delete)
            x11.XSendEvent(connection, c_ulong(window), c_int(0), c_long(0), byref(message))
    x11.XSync(connection, c_int(0))
    x11.XCloseDisplay(connection)


if __name__ == "__main__":
    main(sys.argv[1])
