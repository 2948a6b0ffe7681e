"""Documents point at things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("examples/*/*.md")])
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def broken(document: Path, text: str) -> list[str]:
    return [link for link in LINK.findall(text) if not (document.parent / link).exists()]


@pytest.mark.parametrize(
    "document", [p for p in DOCUMENTS if ".venv" not in p.parts], ids=lambda p: p.name
)
def test_every_link_leads_to_a_file(document: Path) -> None:
    assert broken(document, document.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_found() -> None:
    assert broken(ROOT / "README.md", "see [this](docs/nowhere.md), [that](LICENSE)") == [
        "docs/nowhere.md"
    ]
