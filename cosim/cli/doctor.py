"""``cosim doctor``: is everything here that a run needs, and if not, what is missing?"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

_NEEDED = (
    "eclipse-sumo",
    "libsumo",
    "traci",
    "sumolib",
    "numpy",
    "torch",
    "gymnasium",
    "pettingzoo",
    "pydantic",
    "polars",
)
_OPTIONAL = {"ray": "cosim batch --engine ray", "tensorboard": "training curves in TensorBoard"}


def doctor_command() -> None:
    """Show versions, SUMO, display and optional parts; exit code 2 if something that is needed is missing."""
    rows: list[tuple[str, str, str]] = [("ok", "python", platform.python_version())]
    rows += [_package(name) for name in _NEEDED]
    rows += [_program("sumo"), _program("netconvert"), _libsumo()]
    rows.append(_display())
    for name, use in _OPTIONAL.items():
        there = find_spec(name) is not None
        rows.append(("ok" if there else "--", name, version(name) if there else f"not installed ({use})"))
    rows.append(_scenarios())
    for mark, name, text in rows:
        print(f"{mark:>7}  {name:14} {text}")
    if any(mark == "missing" for mark, _, _ in rows):
        sys.exit(2)


def _package(name: str) -> tuple[str, str, str]:
    try:
        return "ok", name, version(name)
    except PackageNotFoundError:
        return "missing", name, "not installed: pip install cosim again"


def _program(name: str) -> tuple[str, str, str]:
    from cosim.errors import TrafficError
    from cosim.traffic.programs import sumo_binary

    try:
        path = sumo_binary(name)
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (TrafficError, OSError, ImportError, subprocess.TimeoutExpired) as why:
        return "missing", name, str(why)
    if done.returncode:
        return "missing", name, (done.stderr or done.stdout).strip().splitlines()[-1]
    return "ok", name, f"{done.stdout.splitlines()[0]} ({path})"


def _libsumo() -> tuple[str, str, str]:
    code = "import libsumo; print(libsumo.simulation.getVersion()[1])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        return "missing", "libsumo loads", done.stderr.strip().splitlines()[-1]
    return "ok", "libsumo loads", done.stdout.strip()


def _display() -> tuple[str, str, str]:
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        helper = (
            "start it under xvfb-run"
            if shutil.which("xvfb-run")
            else "install xvfb to run it without a screen"
        )
        return "--", "display", f"none: cosim run --gui needs one ({helper})"
    return "ok", "display", os.environ.get("DISPLAY", "the system's")


def _scenarios() -> tuple[str, str, str]:
    from cosim.resources import share
    from cosim.scenario import list_scenarios

    found = list_scenarios()
    return ("ok" if found else "missing"), "scenarios", f"{len(found)} in {share() / 'scenarios'}"
