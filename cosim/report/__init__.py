"""Reports: what a run, a batch or a training gave, as figures and one self-contained HTML page.

``write_report`` is ``cosim report``.  `run_figures` (with `network_figures`, `migration_figures`, `samples`), `batch`
and `training` read a folder and choose its figures (drawn by `cosim.plots`), the three ``…_page`` modules say what
stands on the page, `html` makes it, `album` puts the figures in, `write` puts it all into a folder.

The folder has the name of the command, so ``cosim.report`` is this package and not a function as ``cosim.batch`` is;
it can be called all the same: after ``from cosim import report``, ``report(dir)`` is ``write_report(dir)``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

__all__ = ["write_report"]


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run, batch or training; see `cosim.report.write.write_report`."""
    from cosim.report.write import write_report as write

    return write(folder, out)


class _Callable(ModuleType):
    def __call__(self, folder: str | Path, out: str | Path | None = None) -> Path:
        return write_report(folder, out)


sys.modules[__name__].__class__ = _Callable
