"""The agents of docs/ do what the docs say, attached as the docs say."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lockstep_questions import episode, question

from cosim import registry
from cosim.lockstep import AgentHost, open_host, parse_agent_option
from cosim.testing import check_agent

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(autouse=True)
def _at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))


def answers(host: AgentHost, headways: list[float]) -> list[int]:
    """The choices for vehicles with these distances (m) to the one ahead, all choices allowed."""
    n = len(headways)
    obs = np.zeros((n, 38), dtype=np.float32)
    obs[:, 6] = 50.0 / np.array(headways)
    asked = replace(question(n), obs=obs, mask=np.ones((n, 9), dtype=bool))
    try:
        host.reset(episode())
        empty = replace(
            question(0, left=0), obs=np.zeros((0, 38), dtype=np.float32), mask=np.ones((0, 9), dtype=bool)
        )
        assert host.act(empty).values.shape == (0,)
        return [int(v) for v in host.act(asked).values]
    finally:
        host.close()


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize(
    "option",
    ["driving=cmd:python docs/examples/my_agent.py", "driving=mine.eager"],
)
def test_the_python_example_is_attached_by_command_and_by_name(option: str, inline: bool) -> None:
    plugins = ["docs/examples/my_agent.py"] if "mine" in option else []
    host = open_host(parse_agent_option(option), "driving", inline=inline, plugins=plugins)
    assert answers(host, [1000.0, 20.0, 8.0]) == [5, 4, 3]


def test_the_python_example_is_about_forty_lines_and_passes_the_check() -> None:
    assert len((DOCS / "examples" / "my_agent.py").read_text().splitlines()) <= 42
    check_agent("cmd:python docs/examples/my_agent.py", steps=10)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, which is not on this machine")
@pytest.mark.parametrize("unix", [True, False])
def test_an_agent_in_another_language_drives(unix: bool) -> None:
    from cosim.lockstep import ProcessHost

    spec = parse_agent_option("driving=cmd:node docs/examples/keep_lane_agent.js")
    host = ProcessHost(spec, "driving", unix=unix, close_grace_s=2.0)
    assert answers(host, [1000.0, 20.0, 8.0]) == [4, 4, 3]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, which is not on this machine")
def test_an_agent_in_another_language_passes_the_check() -> None:
    check_agent("cmd:node docs/examples/keep_lane_agent.js", steps=10)


def test_the_guide_names_files_that_exist() -> None:
    for page in ("write_an_agent.md", "wire.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / page).read_text()):
            assert (DOCS / target).exists(), target
