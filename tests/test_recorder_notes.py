"""What an agent notes beside its actions reaches the run directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.common.rule_based import RuleBased
from cosim.lockstep import Actions, Observations, register_agent
from cosim.recording import load_run
from cosim.runner import RunOptions, run


@register_agent("test.noting")
class Noting(RuleBased):
    """Drives by rules and notes how fast each vehicle is, and two more numbers."""

    def act(self, observations: Observations) -> Actions:
        n = observations.active
        speed = observations.obs[:n, 2].astype(float)
        notes = {"speed": speed, "pair": np.column_stack([speed, -speed])}
        return Actions(super().act(observations).values, notes)


def test_notes_are_recorded_beside_the_actions(tmp_path: Path) -> None:
    options = RunOptions(agents=("test.noting",), inline=True, out=tmp_path / "run")
    result = run("highway_350vph", options, overrides=["warmup=0", "duration=15 s"])
    found = load_run(result.dir)
    notes = found.tables["notes"]
    assert len(notes) == 2 * len(found.actions) > 0
    pairs = notes.filter(notes["name"] == "pair")["value"].to_list()
    assert all(a == -b for a, b in pairs)
