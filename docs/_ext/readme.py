"""The README in other languages: README.md with the sentences of its catalogue.

`python -m docs._ext.readme` writes README.vi.md; a test holds it up to date.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from babel.messages.pofile import read_po
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
WIDTH = 112
CONTENTS = re.compile(r"\n<!-- toctree\n.*?-->\n", re.DOTALL)  # the site's, of the English pages
LANGUAGES = "English · [Tiếng Việt](README.vi.md)\n\n"  # on GitHub; pages of the site have a switch
HERE = {"vi": "[English](README.md) · Tiếng Việt\n\n"}


def translated(text: str, catalogue: dict[str, str]) -> str:
    """Return a Markdown text with every block's words replaced that the catalogue has."""
    lines = text.split("\n")
    found: list[tuple[Token, list[int]]] = []
    row: list[int] = []
    for token in MarkdownIt().enable("table").parse(text):
        row = token.map or row  # a cell has none
        if token.type == "inline":
            found.append((token, row))
    for token, (first, last) in reversed(found):  # the last first: line numbers stay
        words = catalogue.get(token.content.replace("\n", " "))
        if words:
            lines[first:last] = _placed(token.content, lines[first:last], words)
    return "\n".join(lines)


def _placed(content: str, lines: list[str], words: str) -> list[str]:
    """Return the lines of a block with other words: in a table's row, or behind its indent."""
    if lines[0].startswith("|"):
        return [lines[0].replace(f"| {content} |", f"| {words} |")]
    before = lines[0].removesuffix(content.split("\n")[0])
    words = before + words
    indent = " " * len(before)
    return textwrap.wrap(
        words, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def readme(language: str) -> str:
    """Return README.md in another language."""
    file = ROOT / f"docs/locale/{language}/LC_MESSAGES/README.po"
    with file.open("rb") as source:
        catalogue = {str(m.id): str(m.string) for m in read_po(source) if m.id and m.string}
    text = CONTENTS.sub("", (ROOT / "README.md").read_text("utf-8"))
    return translated(text.replace(LANGUAGES, HERE[language]), catalogue)


if __name__ == "__main__":
    for tongue in HERE:
        (ROOT / f"README.{tongue}.md").write_text(readme(tongue), "utf-8")
