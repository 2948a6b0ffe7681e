"""The words that lessons print, in the reader's language: gettext's domain `handgrad`."""

from __future__ import annotations

from gettext import bindtextdomain, dgettext
from pathlib import Path

from compare.words import said, speak

speak()  # lessons show what the commands for learners print
bindtextdomain("handgrad", str(Path(__file__).parents[1] / "locale"))


def _(message: str) -> str:
    """Return the message in the language that LANGUAGE, LC_ALL or LANG asks for, else as it is."""
    found = dgettext("handgrad", message) if message else ""
    return said(message) if found == message else found
