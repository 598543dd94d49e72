"""The house style of all figures: sizes, colours, the caption that names a figure's runs, and saving.

Figures are drawn with matplotlib's object interface on Agg canvases: no window, no pyplot, and the settings of the
user's own matplotlib are as they were when a figure function returns.  The colours are those of Okabe and Ito
("Color Universal Design", 2008), which people with any colour vision can tell apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

INK, FAINT, GRID = "#22262a", "#5b636b", "#d9dce0"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of series, in the order in which they are used."""
DASHES = ("-", "--", ":", "-.")
"""Line styles: the next one each time that the colours have been used up."""
MAP = "cividis"
"""Colour map of quantities; it reads the same with and without colour vision, and in grey."""
TYPE_COLOURS = {"hdv": COLOURS[0], "cav": COLOURS[1], "passenger": COLOURS[2]}
"""Colours of the built-in vehicle types; others take the next free colour."""

WIDTH, NARROW = 7.0, 5.4
"""Widths of figures, inches: a whole column of text, and one of two beside each other on a page."""
_FOOTER = 17  # letters an inch below a figure

_HOUSE = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.dpi": 150,
    "figure.titlesize": 11,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters on every machine
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "image.cmap": MAP,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "savefig.dpi": 150,
    "svg.fonttype": "path",
    "svg.hashsalt": "cosim",
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Within it matplotlib draws in the house style; the settings of before come back at its end."""
    # Not "backend": to set it would choose one for the user's pyplot.
    plain = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    with mpl.rc_context():
        mpl.rcParams.update({**plain, **_HOUSE})
        yield


def drawn_in_house_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Make a figure function draw in the house style."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> T:
        with house_style():
            return draw(*args, **kwargs)

    return styled


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = NARROW, height: float = 3.4, **subplots: Any
) -> tuple[Figure, Any]:
    """Return a figure on an Agg canvas and its axes, an array (rows, columns).  Sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    return figure, axes


def series_style(index: int) -> dict[str, Any]:
    """Return colour and line style of series number *index*."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def lighter(colour: str, share: float = 0.25) -> tuple[float, float, float]:
    """Return *colour* mixed with that *share* of white: an area on which lines and dots can be seen."""
    red, green, blue = (part + (1.0 - part) * share for part in to_rgb(colour))
    return red, green, blue


def type_colours(types: Iterable[str]) -> dict[str, str]:
    """Return a colour for each vehicle type; the built-in types always have their own."""
    names = sorted(set(types))
    taken = {TYPE_COLOURS[name] for name in names if name in TYPE_COLOURS}
    free = [colour for colour in COLOURS if colour not in taken] or list(COLOURS)
    others = [name for name in names if name not in TYPE_COLOURS]
    found = {name: free[k % len(free)] for k, name in enumerate(others)}
    return {name: TYPE_COLOURS.get(name) or found[name] for name in names}


def finish(figure: Figure, *, title: str = "", runs: Sequence[str] = (), note: str = "") -> Figure:
    """Give *figure* its title, and below everything a *note* and the names of the runs that it shows; return it.

    Long lists of runs are shortened in the picture; `save` writes all of them into the file's metadata.
    """
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    lines = [note] * bool(note) + [_shortened(runs, int(_FOOTER * figure.get_figwidth()))] * bool(runs)
    if lines:
        below = figure.supxlabel("\n".join(lines), x=0.99, ha="right", fontsize=6.5, color=FAINT)
        below.set_multialignment("right")
    if runs:
        figure.set_label("\n".join(runs))  # an artist's label travels with it, also through pickle
    return figure


def _shortened(runs: Sequence[str], letters: int) -> str:
    """Return the names of *runs* in about that many letters: all, or the first and the last, or parts of these."""
    whole = ("run: " if len(runs) == 1 else "runs: ") + "; ".join(runs)
    if len(whole) <= letters:
        return whole
    half = (letters - 14) // 2
    if len(runs) == 1:
        return f"{whole[:half]} … {whole[-half:]}"
    ends = [run if len(run) <= half else f"…{run[1 - half :]}" for run in (runs[0], runs[-1])]
    return f"{len(runs)} runs: {ends[0]} … {ends[1]}"


def runs_of(figure: Figure) -> tuple[str, ...]:
    """Return the names of the runs that *figure* shows."""
    return tuple(str(figure.get_label()).splitlines())


def to_bytes(figure: Figure, form: str = "png") -> bytes:
    """Return *figure* as ``png`` or ``svg``, its title and runs in the metadata; equal figures, equal bytes.

    The layout is settled when a figure is written first.
    """
    title = figure.get_suptitle() or next((a.get_title("left") for a in figure.axes), "")
    # The program's version and the date would make equal figures differ.
    metadata: dict[str, Any] = {"Software": None} if form == "png" else {"Creator": None, "Date": None}
    if title:
        metadata["Title"] = title
    if runs_of(figure):
        metadata["Description"] = "runs: " + "; ".join(runs_of(figure))
    buffer = BytesIO()
    with house_style():
        engine = figure.get_layout_engine()
        if engine is not None:
            # Laid out again, an already laid out figure would shift by a fraction of a pixel.
            engine.execute(figure)
            figure.set_layout_engine("none")
        # The canvases' own methods: savefig would draw everything one more time to lay it out.
        if form == "svg":
            dpi = figure.dpi
            FigureCanvasSVG(figure).print_svg(buffer, metadata=metadata)
            figure.dpi = dpi  # SVG counts in points and leaves the figure so
        canvas = FigureCanvasAgg(figure)
        if form == "png":
            canvas.print_png(buffer, metadata=metadata)
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write *figure* to *path*, a ``.png`` or ``.svg`` file (folders are made); return the path.

    Raises:
        ValueError: another ending.
    """
    path = Path(path)
    form = path.suffix.lower().removeprefix(".")
    if form not in ("png", "svg"):
        raise ValueError(f"{path}: a figure's file ends in .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(figure, form))
    return path
