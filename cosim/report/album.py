"""The figures of a report: each is written as PNG and SVG beside the page, and becomes a picture in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.report.html import picture, pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, slots=True)
class Drawing:
    """A figure, the stem of its files' names, its caption, and ``alt``: what one who cannot see it should know.

    A ``broad`` one takes the whole width of the page.
    """

    name: str
    figure: Figure
    caption: str
    alt: str
    broad: bool = True


@dataclass
class Album:
    """Where figures are put: files under ``folder``; ``written`` lists them."""

    folder: Path
    written: list[Path] = field(default_factory=list)

    def add(self, drawings: Sequence[Drawing]) -> str:
        """Write the figures and return them as HTML, side by side where there is room."""
        from cosim.plots.style import to_bytes

        parts = []
        for drawing in drawings:
            png = to_bytes(drawing.figure, "png")
            self._write(f"{drawing.name}.png", png)
            self._write(f"{drawing.name}.svg", to_bytes(drawing.figure, "svg"))
            parts.append(picture(png, alt=drawing.alt, caption=drawing.caption, broad=drawing.broad))
        return pictures(parts) if parts else ""

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.written.append(path)
