"""Names from entry points and plugins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosim import registry
from cosim.errors import ScenarioError
from cosim.registry import Registry, load_plugins, plugins


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts without plugins and leaves no module or path behind."""
    before = set(sys.modules)
    monkeypatch.setattr(registry, "_plugins", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def make_package(folder: Path, name: str, body: str, entries: str) -> None:
    """An installed distribution as importlib.metadata sees it: a module and its dist-info."""
    (folder / f"{name}.py").write_text(body)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


def test_an_installed_package_adds_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path, "pack_a", "class Thing: pass\n", "[test.kind]\nmy.thing = pack_a:Thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    things: Registry[type] = Registry("test.kind", "thing")
    assert things.names() == ("my.thing",)
    assert things.origin("my.thing") == "pack_a:Thing"
    assert "pack_a" not in sys.modules, "listing must not import"
    assert things.get("my.thing").__name__ == "Thing"


def test_a_module_entry_point_registers_by_decorator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    things: Registry[object] = Registry("test.kind2", "thing")
    (tmp_path / "holder_a.py").write_text("things = None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import holder_a  # type: ignore[import-not-found]

    holder_a.things = things
    body = "import holder_a\n@holder_a.things.register('late')\ndef f(): return 7\n"
    make_package(tmp_path, "pack_b", body, "[test.kind2]\nwhole = pack_b\n")
    assert things.get("late")() == 7  # type: ignore[operator]
    assert things.names() == ("late",)


def test_an_unknown_name_is_told_the_nearest() -> None:
    things: Registry[object] = Registry("test.none", "thing")
    things.register("common.random")(object())
    with pytest.raises(
        ScenarioError, match=r"unknown thing 'common.randon' \(did you mean 'common.random'\?\)"
    ):
        things.get("common.randon")


def test_a_name_cannot_stand_for_two_things() -> None:
    things: Registry[object] = Registry("test.none", "thing")
    things.register("x")(int)
    things.register("x")(int)
    with pytest.raises(ScenarioError, match="registered twice: builtins:int and builtins:str"):
        things.register("x")(str)


def test_an_entry_point_that_cannot_be_imported_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(tmp_path, "pack_c", "import not_there_at_all\n", "[test.kind3]\nc = pack_c:C\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ScenarioError, match=r"thing 'c' \(pack_c:C\) cannot be loaded: ModuleNotFoundError"):
        Registry("test.kind3", "thing").get("c")


def test_a_plugin_is_found_in_the_working_folder_and_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plug_a.py").write_text("LOADED = 1\n")
    (tmp_path / "plug_b.py").write_text("LOADED = 2\n")
    monkeypatch.chdir(tmp_path)
    load_plugins(["plug_a", "plug_b.py", "plug_a"])
    assert sys.modules["plug_a"].LOADED == 1
    assert sys.modules["plug_b"].LOADED == 2
    assert plugins() == ("plug_a", str(tmp_path / "plug_b.py"))


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("no_such_module_here", "--plugin no_such_module_here: cannot be imported: ModuleNotFoundError"),
        ("nowhere.py", r"--plugin .*nowhere.py: no such file"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_an_error(plugin: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_plugins([plugin])


def test_the_module_that_registered_a_name_is_known_but_not_of_an_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(tmp_path, "pack_h", "class Thing: pass\n", "[test.home]\nmy.thing = pack_h:Thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    things: Registry[type] = Registry("test.home", "thing")

    @things.register("my.other")
    class Other:
        pass

    assert things.registered_in("my.other") == __name__
    assert things.get("my.thing").__name__ == "Thing"
    assert things.registered_in("my.thing") is None
    assert things.registered_in("nothing") is None
