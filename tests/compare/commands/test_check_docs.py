"""docs/check.md: its code runs and says what is printed there."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs" / "check.md"


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


def test_the_first_example_prints_what_the_guide_shows(capsys) -> None:
    example = DOCS.parent / "check.md"
    space: dict = {"__name__": "guide"}
    exec(compile(blocks("python")[0], str(example), "exec"), space)
    printed = capsys.readouterr().out

    shown = blocks("")[0].replace("…", "").strip().splitlines()

    assert len(shown) >= 6
    for line in filter(str.strip, shown):
        assert line.strip() in printed


def test_the_guide_names_what_exists() -> None:
    text = DOCS.read_text()

    for name in ("no_grad", "structural_zeros", "--handgrad-report", "examples/coursework"):
        assert name in text
    assert (DOCS.parent.parent / "examples" / "coursework").is_dir()
