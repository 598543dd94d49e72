"""Things that users may add under a name: agents, tasks, channel models, papers.

A :class:`Registry` knows one kind.  Names come from two places: the entry-point group of that kind (installed
packages, also our own), and decorators run by a module that the user named with ``--plugin MODULE``.  Nothing
is ever loaded from a scenario file.  An object is imported when it is first asked for, so that listing agents
does not import torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from cosim.errors import ScenarioError, nearest

T = TypeVar("T")
U = TypeVar("U")

_plugins: dict[str, ModuleType] = {}


class Registry(Generic[T]):
    """Names and what they stand for.

    ``group`` is the entry-point group (``cosim.agents``), ``word`` what one member is called in messages
    (``agent``).  An entry point with an attribute (``name = "package.module:Thing"``) gives one name; one
    without (``anything = "package.module"``) is imported whole and registers by decorator, which also lets
    several registries share a group.
    """

    def __init__(self, group: str, word: str) -> None:
        self.group = group
        self.word = word
        self._objects: dict[str, T] = {}
        self._entries: dict[str, EntryPoint] | None = None

    def register(self, name: str) -> Callable[[U], U]:
        """Return a decorator that adds its class or function under *name*.

        ScenarioError if the name already stands for something else; running the same module again is allowed.
        """

        def add(thing: U) -> U:
            known = self._objects.get(name)
            if known is not None and _label(known) != _label(thing):
                raise ScenarioError(
                    f"{self.word} '{name}' is registered twice: {_label(known)} and {_label(thing)}"
                )
            self._objects[name] = thing  # type: ignore[assignment]
            return thing

        return add

    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        return tuple(sorted({*self._found(), *self._objects}))

    def __contains__(self, name: object) -> bool:
        return name in self._objects or name in self._found()

    def get(self, name: str) -> T:
        """Return what *name* stands for; ScenarioError if unknown (with the nearest name) or broken."""
        if name in self._objects:
            return self._objects[name]
        entry = self._found().get(name)
        if entry is not None:
            thing: T = self._load(entry)
            return self._objects.setdefault(name, thing)
        if name in self._objects:  # a module entry point registered it just now
            return self._objects[name]
        known = self.names()
        hint = nearest(name, known) or f"; known: {', '.join(known) or 'none'}"
        raise ScenarioError(f"unknown {self.word} '{name}'{hint}")

    def origin(self, name: str) -> str:
        """Where *name* comes from, as ``module:Thing``, for listings; nothing is imported for it."""
        if name in self._objects:
            return _label(self._objects[name])
        entry = self._found().get(name)
        return entry.value if entry else ""

    def registered_in(self, name: str) -> str | None:
        """Return the module whose decorator registered *name*; None if an installed package gives it.

        A new process knows such a name only after it has imported that module.
        """
        if name in self._found() or name not in self._objects:
            return None
        return _label(self._objects[name]).partition(":")[0]

    def _found(self) -> dict[str, EntryPoint]:
        """Entry points that name an object; those that name a module are imported here, once."""
        if self._entries is None:
            found = sorted(entry_points(group=self.group), key=lambda e: (e.name, e.value))
            self._entries = {e.name: e for e in found if e.attr}
            for entry in found:
                if not entry.attr:
                    self._load(entry)
        return self._entries

    def _load(self, entry: EntryPoint) -> T:
        try:
            return entry.load()  # type: ignore[no-any-return]
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".replace("\n", " ")
            raise ScenarioError(
                f"{self.word} '{entry.name}' ({entry.value}) cannot be loaded: {reason}"
            ) from error


def load_plugins(modules: Iterable[str]) -> None:
    """Import the modules named with ``--plugin``: dotted names, or paths ending in ``.py``.

    The working folder is searched after the installed packages.  Loading a plugin again does nothing, so a
    worker process may be handed :func:`plugins` of its parent.  ScenarioError if one cannot be imported.
    """
    for name in modules:
        path = Path(name).resolve() if name.endswith(".py") else None
        key = str(path or name)
        if key in _plugins:
            continue
        try:
            _plugins[key] = _import_file(path) if path else _import_name(name)
        except ScenarioError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".replace("\n", " ")
            raise ScenarioError(f"--plugin {name}: cannot be imported: {reason}") from error


def plugins() -> tuple[str, ...]:
    """The plugins loaded so far, in order, files as absolute paths: what a worker process needs to load."""
    return tuple(_plugins)


def _import_name(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # a console script's path holds its own folder, not the user's
        sys.path.append(here)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ScenarioError(f"--plugin {path}: no such file")
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "") == path:
        return loaded
    if loaded is not None:
        raise ScenarioError(f"--plugin {path}: a module named '{name}' is loaded already; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ScenarioError(f"--plugin {path}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _label(thing: object) -> str:
    module = getattr(thing, "__module__", type(thing).__module__)
    return f"{module}:{getattr(thing, '__qualname__', type(thing).__qualname__)}"
