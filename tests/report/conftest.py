"""Real runs of a few simulated seconds, and how a page is read and checked without a browser."""

from __future__ import annotations

import itertools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import cosim
from cosim.lockstep import Actions
from cosim.lockstep.registry import register_agent
from cosim.report import write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}


@register_agent("tests.gives_up")
class GivesUp:
    """Answers until it is asked the hundredth time, then not a number."""

    def __init__(self, weights: Path | None = None) -> None:
        self.asked = 0

    def reset(self, info: object) -> None:
        """Nothing is remembered."""

    def act(self, observations) -> Actions:
        self.asked += 1
        value = np.nan if self.asked > 100 else 4
        return Actions(np.full(observations.active, value))

    def close(self) -> None:
        """Nothing is held."""


def run_highway(folder: Path, *overrides: str, agent: str = "common.rule_based", seed: int = 0) -> Path:
    """Run the highway for 15 s after 5 s of warm-up into *folder*."""
    options = cosim.RunOptions(inline=True, agents=[agent], out=folder)
    dense = ["warmup=5 s", "duration=15 s", "traffic.inflow.rate=900 veh/h"]
    return cosim.run("highway_350vph", options, seed=seed, overrides=[*dense, *overrides]).dir


@pytest.fixture(scope="session")
def highway(tmp_path_factory) -> Path:
    """A completed run, sampled every 0.5 s."""
    return run_highway(tmp_path_factory.mktemp("report") / "highway", "record.vehicles=500 ms")


@pytest.fixture(scope="session")
def highway_page(highway) -> Path:
    """The page of its report."""
    return write_report(highway)


@pytest.fixture(scope="session")
def short_run():
    """Return the function that makes such a run."""
    return run_highway


NOTHING_BUT_EVENTS = ("record.steps=off", "record.vehicles=off", "record.links=off", "record.commands=false")


@pytest.fixture(scope="session")
def quiet(tmp_path_factory) -> Path:
    """A run that recorded events only: its report is quickly made."""
    return run_highway(tmp_path_factory.mktemp("report") / "quiet", *NOTHING_BUT_EVENTS, "duration=5 s")


@pytest.fixture
def bare(quiet, tmp_path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(quiet, tmp_path / "bare", ignore=shutil.ignore_patterns("report")))


@pytest.fixture
def copied(highway, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(highway, tmp_path / "copy", ignore=shutil.ignore_patterns("report")))


class Page(HTMLParser):
    """A page taken apart; ``problems`` lists what is not well formed."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.problems: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len({name for name, _ in attrs}) < len(attrs):
            self.problems.append(f"<{tag}> repeats an attribute")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self._open[-1:] or 'nothing'}")
        else:
            self._open.pop()
            self.text += " " if tag not in ("code", "strong", "a") else ""

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())

    def check(self) -> None:
        """Well formed, self-contained, and usable without seeing the pictures."""
        assert self.source.startswith("<!DOCTYPE html>")
        assert not self.problems
        ids = [a["id"] for _, a in self.tags if a.get("id")]
        assert len(set(ids)) == len(ids)
        for link in self.all("a"):
            assert str(link["href"]).removeprefix("#") in ids
        assert not self.all("script")
        assert not self.all("link")
        for image in self.all("img"):
            assert str(image["src"]).startswith("data:image/png;base64,")
            assert len(str(image["alt"])) > 20
        assert not re.search(r"url\(|@import|@font-face", self.source)
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", self.source)
        levels = [int(tag[1]) for tag, _ in self.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
        assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in self.tags}
        assert self.all("html") == [{"lang": "en"}]


@pytest.fixture
def read_page():
    """Return a function that reads a page and checks it."""

    def read(path: Path) -> Page:
        page = Page(path)
        page.check()
        return page

    return read
