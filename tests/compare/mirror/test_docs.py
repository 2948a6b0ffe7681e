"""docs/mirror.md: its examples run, one after another, and print what is shown there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs" / "mirror.md"


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


@pytest.fixture(scope="module")
def space() -> dict:
    return {"__name__": "guide"}


@pytest.mark.parametrize("number", range(4))
def test_an_example_prints_what_the_guide_shows(number: int, space: dict, capsys) -> None:
    exec(compile(blocks("python")[number], str(DOCS), "exec"), space)
    printed = capsys.readouterr().out.splitlines()
    shown = [line for line in blocks("")[number].splitlines() if line not in ("", "…")]

    assert len(shown) >= 2
    assert [line for line in shown if line not in printed] == []
