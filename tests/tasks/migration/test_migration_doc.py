"""The manual of the migration task names every option and metric, and its examples run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cosim.assembly import plan
from cosim.scenario import load_scenario
from cosim.tasks.migration import MigrationOptions, MigrationTask, Slot, TapeBatch
from cosim.testing import check_agent
from cosim.testing.migration import SLOT_US, migration_questions

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "migration.md").read_text()


def test_every_option_and_metric_is_in_the_manual():
    names = [*MigrationOptions.model_fields, *MigrationTask.metric_names]
    assert [name for name in names if f"`{name}`" not in TEXT] == []
    assert [name for name in Slot.__slots__ if f"`{name}`" not in TEXT] == []


def test_the_scenario_of_the_manual_fits(tmp_path: Path):
    text = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL).group(1)
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("urban_avatar.yaml", str(ROOT / "scenarios" / "urban_avatar.yaml")))
    assert plan(load_scenario(str(file))).tasks[0].task.options.task_size.low == 1.2e9


def test_the_python_of_the_manual_runs():
    reading, stepping = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    asked = migration_questions(MigrationOptions(), 6, 0)[4]

    class Info:
        options = MigrationOptions().model_dump(mode="json")
        period_us = SLOT_US

    known = {"info": Info, "observations": asked, "shares": np.linspace(0, 1, 3)}
    known["loads"] = np.zeros((1, 6))
    exec(reading, known)
    assert known["latency"].shape == (1, 10, 6, 3)
    assert known["predicted"].shape == (1, 10, 47)
    assert "while not batch.over" in stepping
    assert all(hasattr(TapeBatch, name) for name in ("start", "over", "observe", "step"))


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_the_javascript_agent_gives_hybrid_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    check_agent("cmd:node docs/examples/least_loaded_agent.js", task="migration", steps=10)
