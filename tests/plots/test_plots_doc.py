"""The example of docs/report.md runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

from cosim import plots

DOC = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")


def test_the_example_of_a_figure_runs(highway, tmp_path):
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL) if "space_time" in block
    )
    code = code.replace("runs/highway_350vph/s0-20261120T094500Z", str(highway.dir))
    code = code.replace("figures/fig15.svg", str(tmp_path / "fig15.svg"))
    exec(compile(code, "docs/report.md", "exec"), {})
    assert (tmp_path / "fig15.svg").is_file()


def test_every_function_that_the_document_names_exists():
    for name in re.findall(r"^\| `(\w+)\(", DOC, re.MULTILINE):
        assert callable(getattr(plots, name))
    for name in ("cell_counts", "gathered", "intervals_by", "mean_interval", "lane_pieces", "distribution"):
        assert f"`{name}" in DOC
        assert callable(getattr(plots, name))
