"""What is printed, in the reader's language: gettext's domain `handgrad`; English unless asked.

Most of the harness speaks English alone, and its reports do. The commands for learners call
`speak`; from then on `_` and `said` translate, and so do typer's own words.
"""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

DOMAIN, LOCALE = "handgrad", str(Path(__file__).parents[1] / "teach" / "locale")
VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts
SLOT = re.compile(r"\{\d+\}")
WORDS = re.compile(r"[A-Za-z]{2}")
BREAK = re.compile(r"(?<=[.?!;:,=/×·+−']) | (?=[=/×·+−(])")
NAMES = ("input", "loss", "output", "sum")  # of nodes and functions: typed as they are
NODE = re.compile(r"\b(?:node|layer) $")  # before a slot: what fills it is a name
MARKS = tuple(".?!;:,")
NESTED = r"(?:\((?:[^()]|\([^()]*\))*\)|(?![ENDS] ).)"  # a character, or all in brackets
LONG = 60  # characters of a phrase beside its slots
DEPTH = 6  # phrases inside phrases


class Phrase(NamedTuple):
    """A phrase of the catalogue: what it matches, which slots are names, and its translation."""

    pattern: re.Pattern[str]
    named: list[bool]
    translated: str


_spoken: list[str] = []  # languages in the order of preference; none: English


def speak(language: str = "") -> None:
    """Translate from now on: into this language, or the one that the environment asks for."""
    if language:
        os.environ["LANGUAGE"] = language  # for gettext's other callers: typer
    _spoken[:] = wanted(os.environ)
    if _spoken:
        gettext.bindtextdomain(DOMAIN, LOCALE)
        gettext.textdomain(DOMAIN)


def hush() -> None:
    """Speak English again."""
    _spoken.clear()
    gettext.textdomain("messages")


def wanted(environment: Mapping[str, str]) -> list[str]:
    """Return the languages asked for, up to English, which needs no catalogue.

    >>> wanted({"LANG": "vi_VN.UTF-8"}), wanted({"LANGUAGE": "en:vi", "LANG": "vi_VN"})
    (['vi_VN.UTF-8'], [])
    """
    asked = next((environment[name] for name in VARIABLES if environment.get(name)), "")
    languages = asked.split(":")
    stop = (n for n, one in enumerate(languages) if re.match(r"(en|C|POSIX)\b|en_|$", one))
    return languages[: next(stop, len(languages))]


def spoken() -> str:
    """Return the languages as `LANGUAGE` has them; nothing for English."""
    return ":".join(_spoken)


def _(message: str) -> str:
    """Return the message in the reader's language."""
    return _catalogue(spoken()).gettext(message) if message else ""


def said(text: str, depth: int = DEPTH) -> str:
    """Return a text that the harness has made, in the reader's language.

    It is looked for among the catalogue's phrases with numbered slots, then piece by piece; what
    fills a slot is translated in the same way. Unknown text stays as it is.
    """
    if not _spoken or not depth or not WORDS.search(text):
        return text
    if text != text.strip():
        core = text.strip()
        return text.replace(core, said(core, depth))
    whole = _whole(text, depth)
    if whole is not None:
        return whole
    if text[0] == "(" and text[-1] == ")":
        return f"({said(text[1:-1], depth)})"
    ends = [match.start() for match in BREAK.finditer(text)]
    for end in reversed(ends):  # the longest beginning that is known, then the rest
        head = _whole(text[:end], depth)
        if head is not None or end == ends[0]:
            return f"{head or text[:end]} {said(text[end + 1 :], depth)}"
    return text


def _whole(text: str, depth: int) -> str | None:
    """Return a phrase in the reader's language, whatever mark is behind it; None if it is new."""
    found = _phrase(text, depth)
    if found is None and text[-1:] in MARKS:
        found = _phrase(text[:-1], depth)
        return found and found + text[-1]
    if found is None:
        found = _phrase(f"{text}.", depth)
        return found and found.removesuffix(".")
    return found


def _phrase(text: str, depth: int) -> str | None:
    if text in NAMES:
        return None
    found = _(text)
    if found != text:
        return found
    matches = ((phrase, phrase.pattern.fullmatch(text)) for phrase in _phrases(spoken()))
    known = [(phrase, match.groups()) for phrase, match in matches if match]
    for phrase, slots in sorted(known, key=lambda one: sum(map(_is_new, one[1]))):
        pairs = zip(slots, phrase.named, strict=True)
        return _filled(phrase.translated, [s if name else said(s, depth - 1) for s, name in pairs])
    return None


def _is_new(slot: str) -> bool:
    """Return whether nothing is known of what would fill a slot, and it has words in it."""
    return bool(WORDS.search(slot)) and said(slot, 2) == slot


def _filled(translated: str, slots: list[str]) -> str:
    return SLOT.sub(lambda slot: slots[int(slot[0][1:-1])], translated)


@cache
def _catalogue(languages: str) -> gettext.NullTranslations:
    if not languages:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, LOCALE, languages.split(":"), fallback=True)


@cache
def _phrases(languages: str) -> list[Phrase]:
    """Return the phrases with slots, those that say most first."""
    known = getattr(_catalogue(languages), "_catalog", {})
    phrases = [(k, v) for k, v in known.items() if isinstance(k, str) and SLOT.search(k)]
    phrases.sort(key=lambda pair: -len(SLOT.sub("", pair[0])))
    return [Phrase(_pattern(text), _named(text), translated) for text, translated in phrases]


def _named(text: str) -> list[bool]:
    """Return for each slot whether a node's name fills it."""
    return [bool(NODE.search(before)) for before in SLOT.split(text)[:-1]]


def _pattern(text: str) -> re.Pattern[str]:
    """Return what a phrase matches: a slot holds no end of a clause, but in brackets or last."""
    parts = SLOT.split(text)
    ends = ".?!" if sum(map(len, parts)) > LONG else ".?!:;"
    slots = [f"({NESTED.replace('ENDS', ends)}*?)"] * (len(parts) - 1)
    if re.search(r"[.:] \{\d\}$", text):
        slots[-1] = "(.*)"  # what comes last may be a paragraph
    joined = (re.escape(part) + slot for part, slot in zip(parts, [*slots, ""], strict=True))
    return re.compile("".join(joined), re.DOTALL)
