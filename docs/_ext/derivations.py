"""Docstrings as the pages show them: prose as prose, a derivation line by line."""

from __future__ import annotations

import re
from typing import Any

SECTIONS = {
    "Args", "Attributes", "Example", "Examples", "Note", "Raises", "Returns", "Warning", "Yields",
}  # fmt: skip
_LABEL = re.compile(r"[A-Z][\w ,.'-]{0,40}:(\s|$)")  # Shapes: …, Index form: …


def to_rst(lines: list[str]) -> list[str]:
    """Return a plain-text docstring as reStructuredText that Napoleon goes on with.

    A paragraph with lines further in, or whose lines begin with labels, keeps its line breaks.
    Sections (Args, Raises, …) stay what they are; nothing else in the text is markup.
    """
    found: list[str] = []
    for paragraph in _paragraphs(lines):
        head = paragraph[0].rstrip(":").strip()
        if head in SECTIONS and paragraph[0].strip() == f"{head}:":
            found += [paragraph[0], *(_escaped(line) for line in _names_joined(paragraph[1:]))]
        elif paragraph[0].lstrip().startswith((">>> ", "```")):
            found += paragraph
        elif _keeps_lines(paragraph):
            found += [".. code-block:: text", "   :class: derivation", ""]
            found += [f"   {line}".rstrip() for line in paragraph]
        else:
            found += [_escaped(line) for line in paragraph]
        found.append("")
    return found


def _paragraphs(lines: list[str]) -> list[list[str]]:
    """Split at empty lines; a derivation's indented lines after an empty one belong to it."""
    groups: list[list[str]] = []
    open_group = False
    for line in lines:
        if not line.strip():
            open_group = False
        elif open_group:
            groups[-1].append(line)
        elif groups and line.startswith(" "):
            groups[-1] += ["", line]
            open_group = True
        else:
            groups.append([line])
            open_group = True
    return groups


def _keeps_lines(paragraph: list[str]) -> bool:
    labels = sum(bool(_LABEL.match(line)) for line in paragraph)
    return labels > 1 or any(line.startswith(" ") for line in paragraph)


def _names_joined(lines: list[str]) -> list[str]:
    """Join the names of arguments that go on in the next line: Napoleon wants them on one."""
    found: list[str] = []
    names = re.compile(r" +[*\w]+(, [*\w]+)*,")
    for line in lines:
        if found and names.fullmatch(found[-1]):
            found[-1] += f" {line.strip()}"
        else:
            found.append(line)
    return found


def _escaped(line: str) -> str:
    """Escape what reStructuredText would read; `code` becomes ``code``."""
    parts = re.split(r"(`[^`\s](?:[^`]*[^`\s])?`)", line)
    return "".join(
        f"`{part}`" if i % 2 else re.sub(r"([\\*|`]|_(?!\w)|(?<!\w)_)", r"\\\1", part)
        for i, part in enumerate(parts)
    )


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", process, priority=400)  # before Napoleon, at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
