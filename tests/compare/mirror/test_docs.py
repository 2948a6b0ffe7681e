"""docs/mirror.md: its examples run, one after another, and print what is shown there."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs" / "mirror.md"


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


def test_the_examples_print_what_the_guide_shows(capsys) -> None:
    space = {"__name__": "guide"}
    pairs = list(zip(blocks("python"), blocks(""), strict=False))
    for code, told in pairs:
        exec(compile(code, str(DOCS), "exec"), space)
        printed = capsys.readouterr().out.splitlines()
        shown = [line for line in told.splitlines() if line not in ("", "…")]

        assert len(shown) >= 2
        assert [line for line in shown if line not in printed] == []

    assert len(pairs) == 6
