"""The documentation of the run directory names every standard table and column."""

from __future__ import annotations

from pathlib import Path

from cosim.recording import STANDARD


def test_the_documentation_lists_each_standard_table_with_its_columns():
    page = (Path(__file__).parents[2] / "docs" / "run_directory.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for table, schema in STANDARD.items():
        assert [column for column in schema if f"`{column}`" not in rows[table]] == []
