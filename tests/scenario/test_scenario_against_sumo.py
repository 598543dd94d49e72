"""What a scenario may pass to SUMO, checked against the installed SUMO itself."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import sumo

from cosim import resources
from cosim.scenario import SUMO_MODELS
from cosim.scenario.sumo_options import _FAMILIES, _OWNED, check_option

SUMO = str(Path(sumo.SUMO_HOME) / "bin" / "sumo")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """SUMO's options by name, with their types."""
    path = tmp_path_factory.mktemp("sumo") / "template.xml"
    subprocess.run([SUMO, "--save-template", str(path)], check=True, capture_output=True)
    return {o.tag: o.get("type", "") for group in ET.parse(path).getroot() for o in group}


def _allowed(name: str) -> bool:
    try:
        check_option(name)
    except ValueError:
        return False
    return True


def test_no_option_that_names_a_file_is_allowed(options: dict[str, str]) -> None:
    files = {name for name, kind in options.items() if kind == "FILE"} | {
        "device.ssm.file",
        "device.toc.file",
    }
    assert len(files) > 60
    assert {name for name in files if _allowed(name)} == set()


def test_no_option_that_cosim_sets_is_allowed(options: dict[str, str]) -> None:
    assert set(_OWNED) <= set(options)
    for name in [*_OWNED, "remote-port", "num-clients", "output-prefix", "threads", "mesosim", "verbose"]:
        assert name in options
        assert not _allowed(name)


def test_every_allowed_option_is_one_of_sumos(options: dict[str, str]) -> None:
    for family in _FAMILIES:
        assert family in options or any(name.startswith(family + ".") for name in options), family
    assert sum(_allowed(name) for name in options) > 150


def _sumo_takes(folder: Path, models: list[str]) -> bool:
    net = resources.share() / "sumo_networks/highway_trifurcation/highway_trifurcation.uni.net.xml"
    types = folder / "types.add.xml"
    rows = [f'<vType id="{model}" carFollowModel="{model}"/>' for model in models]
    types.write_text(f"<additional>{''.join(rows)}</additional>")
    done = subprocess.run(
        [SUMO, "-n", str(net), "-a", str(types), "--end", "1", "--xml-validation", "never", "--no-step-log"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0 and "arFollow" not in done.stderr


def test_sumo_knows_every_car_following_model(tmp_path: Path) -> None:
    assert _sumo_takes(tmp_path, sorted(set(SUMO_MODELS.values())))
    assert not _sumo_takes(tmp_path, ["NoSuchModel"])
