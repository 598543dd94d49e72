"""The examples of docs/environments.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_page_run(number: int) -> None:
    names: dict[str, object] = {}
    exec("import cosim\n" + EXAMPLES[number], names)


def test_the_page_has_its_three_examples() -> None:
    assert len(EXAMPLES) == 3
