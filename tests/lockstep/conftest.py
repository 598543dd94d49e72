"""Process hosts for the tests of the lockstep, closed when a test ends."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lockstep_questions import MISBEHAVING

from cosim.lockstep import AgentSpec, ProcessHost


@pytest.fixture
def host_of() -> Iterator[Callable[..., ProcessHost]]:
    """Open a process host of ``misbehaving.py MODE``, or of a registered agent; all are closed at the end."""
    opened: list[ProcessHost] = []

    def open_one(mode: str = "", *, name: str | None = None, **options: Any) -> ProcessHost:
        command = shlex.join([sys.executable, str(MISBEHAVING), mode])
        spec = AgentSpec(name=name) if name else AgentSpec(command=command)
        settings = {"deadline_s": 0.25, "start_deadline_s": 20.0, "close_grace_s": 0.5, **options}
        opened.append(ProcessHost(spec, "driving", **settings))
        return opened[-1]

    yield open_one
    for host in opened:
        host.close()
