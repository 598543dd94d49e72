"""Pieces of HTML, each made from plain values, everything escaped: tables, facts, pictures, and the page around them.

The page is one file: its style is inside, pictures are data URIs, and a content security policy forbids browsers to
load anything else.  No scripts.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

from cosim.plots.quantities import number

Cell = object
"""A value of a table: text as it is, numbers in four digits, None as a dash; `Raw` is HTML already."""


class Raw(str):
    """A piece of HTML that is not escaped again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: a heading and pieces of HTML below it."""

    title: str
    parts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says: ``status`` is ``completed``, ``failed`` …, ``remark`` one sentence beside it."""

    title: str
    lead: str
    status: str
    remark: str
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: str = ""
    good: bool = True


def render(page: Page, generator: str) -> str:
    """Return the whole page as HTML 5."""
    here = files("cosim.report")
    template = Template((here / "page.html").read_text(encoding="utf-8"))
    anchors = _anchors([section.title for section in page.sections])
    contents = "\n".join(
        f'<li><a href="#{anchor}">{escape(section.title)}</a></li>'
        for anchor, section in zip(anchors, page.sections, strict=True)
    )
    body = "\n".join(
        f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{escape(section.title)}</h2>\n'
        + "\n".join(section.parts)
        + "\n</section>"
        for anchor, section in zip(anchors, page.sections, strict=True)
    )
    return template.substitute(
        generator=escape(generator),
        title=escape(page.title),
        style=(here / "page.css").read_text(encoding="utf-8").strip(),
        lead=escape(page.lead),
        status=status_box(page.status, page.remark, good=page.good),
        contents=contents,
        sections=body,
        footer=escape(page.footer),
    )


def _anchors(titles: Sequence[str]) -> list[str]:
    """Return an id for each title, no two alike."""
    found: list[str] = []
    for title in titles:
        plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        anchor, k = plain, 2
        while anchor in found:
            anchor, k = f"{plain}-{k}", k + 1
        found.append(anchor)
    return found


def status_box(status: str, remark: str, *, good: bool) -> str:
    """Return the box that says how it went, in words and not by colour alone."""
    text = f": {escape(remark)}" if remark else ""
    return f'<p class="status {"good" if good else "bad"}"><strong>{escape(status)}</strong>{text}</p>'


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def code(text: object) -> Raw:
    """Return *text* as code, for a name, path or hash."""
    return Raw(f"<code>{escape(str(text))}</code>")


def facts(pairs: Mapping[str, Cell]) -> str:
    """Return names and values as a description list; without pairs, nothing."""
    if not pairs:
        return ""
    items = "\n".join(f"<dt>{escape(name)}</dt><dd>{_cell(value)}</dd>" for name, value in pairs.items())
    return f"<dl>\n{items}\n</dl>"


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], *, caption: str) -> str:
    """Return a table; columns of numbers are set flush right, the first column heads its row."""
    numeric = [_is_numeric([row[k] for row in rows]) for k in range(len(head))]
    kinds = [' class="number"' if n else "" for n in numeric]
    top = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True)
    )
    body = []
    for row in rows:
        first = f'<th scope="row"{kinds[0]}>{_cell(row[0])}</th>'
        rest = "".join(f"<td{kind}>{_cell(v)}</td>" for v, kind in zip(row[1:], kinds[1:], strict=True))
        body.append(f"<tr>{first}{rest}</tr>")
    return (
        f'<div class="wide"><table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(body)}\n</tbody>\n</table></div>"
    )


def _is_numeric(values: Sequence[Cell]) -> bool:
    there = [v for v in values if v is not None]
    return bool(there) and all(
        (isinstance(v, int | float) and not isinstance(v, bool))
        or (isinstance(v, str) and _NUMBER.fullmatch(v))
        for v in there
    )


_NUMBER = re.compile(r"[-–+]?[\d.]*(e[-+]?\d+)?( ± [\d.e+-]+)?( ?%)?( \(n = \d+\))?")


def _cell(value: Cell) -> str:
    return str(value) if isinstance(value, Raw) else escape(number(value))


def preformatted(text: str) -> str:
    """Return *text* line by line as it is."""
    return f"<pre>{escape(text)}</pre>"


def folded(summary: str, inside: str) -> str:
    """Return *inside* hidden until the reader opens it."""
    return f"<details><summary>{escape(summary)}</summary>\n{inside}\n</details>"


def picture(png: bytes, *, alt: str, caption: str, broad: bool) -> str:
    """Return a PNG as part of the page, with what it shows in words; a *broad* one takes the full width."""
    width, height = (int.from_bytes(png[k : k + 4], "big") for k in (16, 20))  # of the header chunk
    data = base64.b64encode(png).decode("ascii")
    kind = ' class="broad"' if broad else ""
    return (
        f'<figure{kind}><img src="data:image/png;base64,{data}" width="{width}" height="{height}"'
        f' alt="{escape(alt)}">\n<figcaption>{escape(caption)}</figcaption></figure>'
    )


def pictures(parts: Sequence[str]) -> str:
    """Return pictures side by side where there is room."""
    return '<div class="figures">\n' + "\n".join(parts) + "\n</div>"
