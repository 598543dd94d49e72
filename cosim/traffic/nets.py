"""Nets by name: find one, describe it, and read its geometry.

A net is a folder of ``sumo_networks/`` (or anywhere) that holds a ``net.yaml`` beside its plain-XML source
and what ``cosim net build`` made of it: one ``NAME[.VARIANT].net.xml`` and ``.sumocfg`` a variant.
``net.yaml`` says what the XML cannot: which edges traffic enters by, which routes have names, which files
hold stations and buildings, how each variant is built.  A plain ``.net.xml`` from elsewhere works too,
without those.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cosim.errors import ScenarioError, nearest
from cosim.resources import locate, share
from cosim.traffic.geometry import NetGeometry, read_geometry

FOLDER = "sumo_networks"
NET_YAML = "net.yaml"
_NET_SUFFIXES = (".net.xml", ".net.xml.gz")


@dataclass(frozen=True)
class Net:
    """A net ready to be used, one variant of it.

    ``variant`` is None for a net without variants.  ``routes`` are the named routes as edge ids; a closed
    one (its last edge leads to its first) may be repeated: ``routes["ring"] * 20`` is twenty laps.
    ``entries`` are the edges that traffic enters by, ``zone`` the edges in which a task coordinates vehicles
    (empty: all).
    ``schematic`` says that the roads were drawn by hand and do not claim to be a map.
    """

    name: str
    folder: Path
    variant: str | None
    variants: tuple[str, ...]
    net_file: Path
    additional_files: tuple[Path, ...] = ()
    sumocfg: Path | None = None
    gui_settings: Path | None = None
    routes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    entries: tuple[str, ...] = ()
    zone: tuple[str, ...] = ()
    description: str = ""
    source: str = ""
    schematic: bool = False

    def sha256(self) -> str:
        """Return the SHA-256 of the built net file, in hexadecimal, for the manifest."""
        return hashlib.sha256(self.net_file.read_bytes()).hexdigest()


def find_net(name_or_path: str | Path, variant: str | None = None) -> Net:
    """Find a net by name, by its folder, or as a ``.net.xml`` file.

    Args:
        name_or_path: ``highway_trifurcation``, a folder with a ``net.yaml``, or a net file.
        variant: one of the net's variants; None takes the default one.

    Raises:
        ScenarioError: no such net or variant, or the net has not been built.
    """
    name = str(name_or_path)
    if name.endswith(_NET_SUFFIXES):
        return _from_net_file(name, variant)
    spec_file = find_spec(name)
    spec = read_spec(spec_file)
    variants = tuple(spec["variants"])
    if variant is not None and variant not in variants:
        has = f"variants: {', '.join(variants)}" if variants else "it has no variants"
        raise ScenarioError(
            f"net '{spec['name']}' has no variant '{variant}'{nearest(variant, variants)}; {has}"
        )
    net = _describe(spec, spec_file.parent, variant or spec["default"])
    if not net.net_file.is_file():
        raise ScenarioError(f"net '{net.name}' is not built: run `cosim net build {name}`")
    return net


def find_spec(name_or_folder: str | Path) -> Path:
    """Return the ``net.yaml`` of a net given by name, by its folder or by that file itself.

    Raises:
        ScenarioError: there is no such net; names the nearest one.
    """
    name = str(name_or_folder)
    spec_file = locate(name.removesuffix(NET_YAML).rstrip("/") or ".", FOLDER, (f"/{NET_YAML}",))
    if spec_file is None:
        known = list_nets()
        raise ScenarioError(f"there is no net '{name}'{nearest(name, known)}; nets: {', '.join(known)}")
    return spec_file


def list_nets() -> list[str]:
    """Return the names of the nets in ``./sumo_networks`` and in the shipped folder, sorted."""
    roots = (Path(FOLDER), share() / FOLDER)
    return sorted({spec.parent.name for root in roots for spec in root.glob(f"*/{NET_YAML}")})


def load_geometry(net: Net) -> NetGeometry:
    """Return *net*'s lanes, junctions, stations and buildings; read once and cached.

    Raises:
        ScenarioError: a file is missing or is not SUMO XML.
    """
    return read_geometry(net.net_file, net.additional_files)


def file_stem(name: str, variant: str | None) -> str:
    """Return what a variant's built files are called: ``NAME`` or ``NAME.VARIANT``."""
    return f"{name}.{variant}" if variant else name


def _describe(spec: dict[str, Any], folder: Path, variant: str | None) -> Net:
    name = spec["name"]
    stem = file_stem(name, variant)
    return Net(
        name=name,
        folder=folder,
        variant=variant,
        variants=tuple(spec["variants"]),
        net_file=folder / f"{stem}.net.xml",
        additional_files=tuple(folder / file for file in spec["additional"]),
        sumocfg=folder / f"{stem}.sumocfg",
        gui_settings=folder / "gui.settings.xml",
        routes={key: tuple(map(str, edges)) for key, edges in spec["routes"].items()},
        entries=tuple(map(str, spec["entries"])),
        zone=tuple(map(str, spec["zone"])),
        description=" ".join(spec["description"].split()),
        source=" ".join(spec["source"].split()),
        schematic=spec["schematic"],
    )


def _from_net_file(name: str, variant: str | None) -> Net:
    file = locate(name, FOLDER)
    if file is None:
        raise ScenarioError(f"{name}: no such net file")
    if variant is not None:
        raise ScenarioError(f"{name} is a single net file and has no variant '{variant}'")
    stem = file.name.removesuffix(".gz").removesuffix(".net.xml")
    return Net(stem, file.parent, None, (), file, entries=read_geometry(file).entries())


# Keys of net.yaml with their defaults. cosim.traffic.net_build reads `table` (road axes of a schematic net),
# `build` (netconvert's options), the variants' own `build`, and `buildings` (an OSM file to take them from).
_DEFAULTS: dict[str, Any] = {
    "name": None,
    "description": "",
    "source": "",
    "schematic": False,
    "default": None,
    "variants": {},
    "table": "",
    "build": {},
    "buildings": "",
    "additional": [],
    "entries": [],
    "zone": [],
    "routes": {},
}


def read_spec(file: Path) -> dict[str, Any]:
    """Read a ``net.yaml``: every key present, absent ones with their default.

    Raises:
        ScenarioError: not YAML, an unknown key, or a value of the wrong kind; names the file and the key.
    """
    try:
        data = YAML(typ="safe").load(file)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise ScenarioError(f"{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(data, dict):
        raise ScenarioError(f"{file}: should be a mapping with keys such as 'description' and 'routes'")
    for key in data:
        if key not in _DEFAULTS:
            raise ScenarioError(f"{file}: unknown key '{key}'{nearest(key, _DEFAULTS)}")
    spec = {key: data.get(key, default) for key, default in _DEFAULTS.items()}
    spec["name"] = spec["name"] or file.parent.name
    for key, default in _DEFAULTS.items():
        if default is not None and not isinstance(spec[key], type(default)):
            kind = {dict: "a mapping", list: "a list", bool: "true or false", str: "a text"}[type(default)]
            raise ScenarioError(f"{file}: '{key}' should be {kind}, not {spec[key]!r}")
    if spec["variants"]:
        spec["default"] = spec["default"] or next(iter(spec["variants"]))
        if spec["default"] not in spec["variants"]:
            raise ScenarioError(f"{file}: 'default' names '{spec['default']}', which is not a variant")
    return spec
