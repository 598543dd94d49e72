"""SUMO's programs: where the eclipse-sumo package put them, and what they say when they fail."""

from __future__ import annotations

from pathlib import Path

from cosim.errors import TrafficError


def sumo_home() -> Path:
    """Return the folder of the SUMO that the eclipse-sumo package brought."""
    import sumo

    return Path(sumo.SUMO_HOME)


def sumo_binary(name: str) -> str:
    """Return the path of a SUMO program (``sumo``, ``sumo-gui``, ``netconvert``); TrafficError if it is not there."""
    path = sumo_home() / "bin" / name
    for candidate in (path, path.with_suffix(".exe")):
        if candidate.exists():
            return str(candidate)
    raise TrafficError(f"{name} is not at {path}: reinstall the package eclipse-sumo")


def last_error(log: Path | None) -> str:
    """Return the last error line of a file that SUMO wrote, else its last line, or an empty string."""
    return "" if log is None or not log.exists() else error_in(log.read_text(errors="replace"))


def error_in(text: str) -> str:
    """Return the last error line of what SUMO printed, else its last line, or an empty string."""
    lines = text.strip().splitlines()
    lines = [line for line in lines if not line.startswith("Fontconfig ")]  # sumo-gui's fonts, always
    errors = [line for line in lines if line.startswith("Error")]
    return (errors or lines or [""])[-1].strip()


def in_one_line(why: BaseException) -> str:
    """Return what SUMO says of a failure, which may be several lines, as one."""
    return " ".join(str(why).split())
