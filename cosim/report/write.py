"""Writing a report: look at what a folder holds, build its page, and put page and figures into a folder.

The folder of a report carries ``report.json``, which lists what the report wrote: a later one replaces exactly these
files, and a folder that holds something else is left alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cosim
from cosim.errors import RecordingError
from cosim.recording import load_run
from cosim.recording.files import read_json, to_json, write_atomically
from cosim.report.album import Album
from cosim.report.batch import GRID, RESULTS, find_runs, read_batch
from cosim.report.html import Page, render
from cosim.report.training import find_trainings, is_training

PAGE = "report.html"
LIST = "report.json"
DEFAULT = "report"


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run, a batch or a training and return the path of its page.

    The page is one self-contained HTML file; its figures also lie beside it, in ``figures/``, as PNG and SVG.
    Works on runs that failed, were killed or still run, and on tables without rows.

    Args:
        folder: a run directory, a batch directory or any folder of runs, a training or a folder of trainings.
        out: where to write; default ``report/`` in *folder*.  An earlier report there is replaced.

    Raises:
        RecordingError: *folder* is none of these or cannot be read; *out* holds something else than a report,
            or cannot be written.
    """
    folder = Path(folder).expanduser()
    target = Path(out).expanduser() if out is not None else folder / DEFAULT
    kind = kind_of(folder)
    before = _earlier(target)
    album = Album(target / "figures")
    try:
        _remove(target, before)
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / LIST, to_json({"cosim_report": 1, "files": []}, sort=True), sync=False)
        page = render(_page(kind, folder, album), f"cosim {cosim.__version__}")
        write_atomically(target / PAGE, page.encode(), sync=False)
        files = [PAGE, *(path.relative_to(target).as_posix() for path in album.written)]
        write_atomically(target / LIST, to_json({"cosim_report": 1, "files": files}, sort=True), sync=False)
    except OSError as error:
        raise RecordingError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target / PAGE


def kind_of(folder: Path) -> str:
    """Return ``run``, ``batch`` or ``training``; RecordingError, saying what is missing, for anything else."""
    if not folder.is_dir():
        raise RecordingError(f"{folder}: no such folder; give the directory of a run, a batch or a training")
    if is_training(folder):
        return "training"
    if any((folder / name).is_file() for name in (*RESULTS, GRID)):
        return "batch"
    if (folder / "manifest.json").is_file():
        return "run"
    if find_runs(folder):
        return "batch"
    if find_trainings(folder):
        return "training"
    raise RecordingError(
        f"{folder}: neither a run (manifest.json) nor a batch (results.parquet) nor a training (curve.parquet)"
    )


def _page(kind: str, folder: Path, album: Album) -> Page:
    if kind == "run":
        from cosim.report.run_page import run_page

        return run_page(load_run(folder), album)
    if kind == "batch":
        from cosim.report.batch_page import batch_page

        return batch_page(read_batch(folder), album)
    from cosim.report.training_page import training_page

    return training_page(find_trainings(folder), f"Training {folder.resolve().name}", album)


def _earlier(target: Path) -> list[Path]:
    """Return the files of an earlier report in *target*; RecordingError if it holds something else."""
    if not target.exists():
        return []
    if not target.is_dir():
        raise RecordingError(f"{target}: is a file; give a folder for the report")
    if not (target / LIST).is_file():
        if any(target.iterdir()):
            raise RecordingError(
                f"{target}: holds files that are no report; give a new or empty folder with --out"
            )
        return []
    root = target.resolve()
    listed = [target / str(name) for name in read_json(target / LIST).get("files", [])]
    return [path for path in listed if path.resolve().is_relative_to(root)]


def _remove(target: Path, files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
    figures = target / "figures"
    if figures.is_dir() and not any(figures.iterdir()):
        shutil.rmtree(figures)
