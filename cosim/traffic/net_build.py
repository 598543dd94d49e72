"""Build nets from their plain-XML source with the netconvert of the eclipse-sumo wheel.

Reads a net folder's ``net.yaml`` and source files; writes ``NAME[.VARIANT].net.xml`` and ``.sumocfg``, and
``gui.settings.xml``.  The dates, versions and paths that netconvert writes as comments are stripped, so the
same source gives the same bytes everywhere and a test can compare what is committed with what is built.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from cosim.errors import ScenarioError
from cosim.traffic.gui import view_settings_text
from cosim.traffic.nets import file_stem, find_spec, read_spec
from cosim.traffic.programs import sumo_binary, sumo_home
from cosim.traffic.schematic import write_plain_xml

GUI_SETTINGS = "gui.settings.xml"
BUILDINGS = "buildings.add.xml"

_BUILDING_TYPES = """<polygonTypes>
    <polygonType id="building" name="building" color="190,182,168" layer="-1"/>
</polygonTypes>
"""


def run_tool(tool: str, arguments: list[str], folder: Path) -> str:
    """Run netconvert or polyconvert in *folder* and return what it printed.

    SUMO_HOME is set for the child only, so type maps and XML schemas are the wheel's own.

    Raises:
        ScenarioError: the tool refused its input; carries its first error lines.
    """
    done = subprocess.run(
        [sumo_binary(tool), *arguments],
        cwd=folder,
        env={**os.environ, "SUMO_HOME": str(sumo_home())},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode:
        errors = [line for line in said.splitlines() if line.startswith("Error")] or said.splitlines()[-2:]
        raise ScenarioError(f"{folder}: {tool} failed: {' '.join(errors[:2]).strip()}")
    return said


def strip_comments(xml: str) -> str:
    """Drop XML comments and the empty lines that they leave at the top."""
    return re.sub(r"(<\?xml[^>]*\?>)\s*", r"\1\n\n", re.sub(r"<!--.*?-->", "", xml, flags=re.S), count=1)


def build_net(name_or_folder: str | Path, out: Path | None = None) -> list[Path]:
    """Build every variant of a net from its source; returns the files written.

    Args:
        name_or_folder: a net's name, or its folder.
        out: write there instead of into the net's own folder.

    Raises:
        ScenarioError: no such net, or netconvert refused the source.
    """
    spec_file = find_spec(name_or_folder)
    folder, spec = spec_file.parent, read_spec(spec_file)
    target = out or folder
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    if spec["table"]:
        written += write_plain_xml(folder / spec["table"], spec["name"], target)
    for variant in spec["variants"] or (None,):
        stem = file_stem(spec["name"], variant)
        net_file = target / f"{stem}.net.xml"
        source = target if spec["table"] else folder
        net_file.write_text(_convert(source, spec, variant), encoding="utf-8")
        sumocfg = target / f"{stem}.sumocfg"
        sumocfg.write_text(sumocfg_text(net_file.name, spec["additional"]), encoding="utf-8")
        written += [net_file, sumocfg]
    if spec["buildings"]:
        buildings = target / BUILDINGS
        buildings.write_text(_buildings(folder / spec["buildings"], net_file), encoding="utf-8")
        written.append(buildings)
    settings = target / GUI_SETTINGS
    settings.write_text(view_settings_text(), encoding="utf-8")
    return [*written, settings]


def check_net(name_or_folder: str | Path) -> list[str]:
    """Build a net elsewhere; return the names of files beside its source that differ from that."""
    folder = find_spec(name_or_folder).parent
    with tempfile.TemporaryDirectory() as scratch:
        built = build_net(folder, Path(scratch))
        return [
            file.name
            for file in built
            if not (folder / file.name).is_file() or (folder / file.name).read_bytes() != file.read_bytes()
        ]


def _convert(source: Path, spec: dict[str, Any], variant: str | None) -> str:
    options: dict[str, Any] = dict(spec["build"])
    options.update((spec["variants"].get(variant) or {}).get("build", {}) if variant else {})
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "built.net.xml"
        run_tool("netconvert", [*netconvert_options(options), "--output-file", str(result)], source)
        return strip_comments(result.read_text(encoding="utf-8"))


def _buildings(osm_file: Path, net_file: Path) -> str:
    """Return an additional file with the buildings of an OSM file, in the net's coordinates."""
    with tempfile.TemporaryDirectory() as scratch:
        types, result = Path(scratch) / "types.xml", Path(scratch) / "built.xml"
        types.write_text(_BUILDING_TYPES, encoding="utf-8")
        files = {"net-file": net_file, "osm-files": osm_file, "type-file": types, "output-file": result}
        options = {key: file.resolve() for key, file in files.items()} | {"discard": True}
        run_tool("polyconvert", netconvert_options(options), Path(scratch))
        return strip_comments(result.read_text(encoding="utf-8"))


def netconvert_options(options: dict[str, Any]) -> list[str]:
    """Turn a mapping of netconvert's options into its arguments; lists become comma lists.

    ``$SUMO_HOME`` in a value stands for the folder of the installed SUMO.
    """
    arguments: list[str] = []
    for key, value in options.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        text = text.replace("$SUMO_HOME", str(sumo_home()))
        arguments += [f"--{key}", text.lower() if isinstance(value, bool) else text]
    return arguments


def sumocfg_text(net_file: str, additional: list[str]) -> str:
    """Return a configuration that opens the net, its stations and buildings in sumo and sumo-gui."""
    extra = f"        <additional-files value={quoteattr(','.join(additional))}/>\n" if additional else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<sumoConfiguration>\n"
        "    <input>\n"
        f"        <net-file value={quoteattr(net_file)}/>\n"
        f"{extra}"
        "    </input>\n"
        "    <gui_only>\n"
        f'        <gui-settings-file value="{GUI_SETTINGS}"/>\n'
        "    </gui_only>\n"
        "</sumoConfiguration>\n"
    )
