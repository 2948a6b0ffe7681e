"""Vietnamese: every string is translated, and keeps its code, formulas, links and placeholders."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the docs extra is not installed")
pytest.importorskip("py_mini_racer", reason="the docs extra is not installed")

from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "locale" / "vi" / "LC_MESSAGES"
WORDS = ROOT / "teach" / "locale" / "vi" / "LC_MESSAGES" / "handgrad.po"
THEME = PAGES / "sphinx.po"  # what Furo says
KEPT = {"code": r"`+[^`]+`+", "formula": r"\$+[^$]+\$+", "link": r"\]\([^)]*\)"}


def catalogue(path: Path) -> Catalog:
    return read_po(io.BytesIO(path.read_bytes()), locale="vi")


def faults(asked: Catalog, given: Catalog) -> Iterator[str]:
    """Yield what keeps `given` from being the translation of the strings of `asked`."""
    found = {message.id: message for message in given if message.id}
    wanted = {message.id for message in asked if message.id}
    yield from (f"no longer said: {text}" for text in [*(found.keys() - wanted), *given.obsolete])
    for text in sorted(wanted):
        if text not in found or not found[text].string:
            yield f"not translated: {text}"
        elif found[text].fuzzy:
            yield f"fuzzy: {text}"
        else:
            yield from (f"another {what}: {text}" for what in _changed(text, found[text].string))


def _changed(text: str, translated: str) -> list[str]:
    kept, others = _kept(text), _kept(translated)
    return [what for what in kept if kept[what] != others[what]]


def _kept(text: str) -> dict[str, Counter[str]]:
    """Return what a translation leaves as it is: of a formula by itself all but its words."""
    kept: dict[str, Counter[str]] = {}
    for what, pattern in KEPT.items():
        kept[what] = Counter(re.findall(pattern, text))
        text = re.sub(pattern, "", text)
    symbols = re.sub(r"\\text\{[^}]*\}", r"\\text{}", text)
    alone = [symbols] if re.search(r"\\[a-zA-Z]", text) else []
    kept["formula"].update(alone)
    kept["placeholder"] = Counter([] if alone else re.findall(r"\{\w*\}", text))
    return kept


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Catalog]:
    """Return the catalogues as the sources are now, by the path of their translation."""
    folder = tmp_path_factory.mktemp("pot")
    pages = ["sphinx", "-q", "-c", "docs", "-b", "gettext", "-t", "gettext", "-D",
             "nb_execution_mode=off", "-d", str(folder / "trees"), ".", str(folder)]  # fmt: skip
    words = ["babel.messages.frontend", "-q", "extract", "-F", "docs/babel.cfg", "--no-location",
             "-o", str(folder / "handgrad.pot"), "teach", "lessons", "docs/_ext", "docs/conf.py",
             "compare", "handgrad", "manual/expression"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT / "docs" / "_ext")}
    for module in (pages, words):
        command = [sys.executable, "-m", *module]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    places = {pot: pot.relative_to(folder).with_suffix(".po") for pot in folder.rglob("*.pot")}
    return {
        WORDS if place.stem == "handgrad" else PAGES / place: catalogue(pot)
        for pot, place in places.items()
    }


def test_every_page_and_what_the_code_prints_is_in_vietnamese(asked: dict[Path, Catalog]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path, strings in sorted(asked.items())
        for fault in faults(strings, catalogue(path) if path.exists() else Catalog())
    ]

    assert len(asked) > 30
    assert not wrong, "\n".join(wrong)
    assert set(PAGES.rglob("*.po")) - set(asked) == {THEME}


def test_what_the_code_prints_is_compiled_from_its_catalogue() -> None:
    compiled = read_mo(io.BytesIO(WORDS.with_suffix(".mo").read_bytes()))

    assert {m.id: m.string for m in compiled if m.id} == {
        m.id: m.string for m in catalogue(WORDS) if m.id
    }, "run pybabel compile -D handgrad -d teach/locale"


TEXT = "It is `a`, $x^2$, [here](a.md), {n}"
RIGHT = "Là `a`, $x^2$, [đây](a.md), {n}"
PLANTED = [
    (RIGHT, "", ""),
    (RIGHT.replace("`a`", "`b`"), "", "another code"),
    (RIGHT.replace("x^2", "x^3"), "", "another formula"),
    (RIGHT.replace("a.md", "b.md"), "", "another link"),
    (RIGHT.replace("{n}", "{m}"), "", "another placeholder"),
    ("", "", "not translated"),
    (RIGHT, "#, fuzzy", "fuzzy"),
    (RIGHT, '#~ msgid "old"\n#~ msgstr "cũ"\n\n', "no longer said"),
    (RIGHT, 'msgid "old"\nmsgstr "cũ"\n\n', "no longer said"),
]


@pytest.mark.parametrize(("translated", "before", "fault"), PLANTED)
def test_a_planted_fault_is_named(translated: str, before: str, fault: str) -> None:
    string = translated.replace("\\", r"\\")
    entry = f'{before}\nmsgid "{TEXT}"\nmsgstr "{string}"\n'.encode()
    strings = Catalog()
    strings.add(TEXT)

    found = [text.split(":")[0] for text in faults(strings, read_po(io.BytesIO(entry)))]
    assert found == ([fault] if fault else [])


def test_a_changed_formula_on_lines_of_its_own_is_named() -> None:
    assert _changed(r"y = \frac{a}{b}", r"y = \frac{a}{c}") == ["formula"]
    assert not _changed(r"\frac{a}{b} \text{ if } b", r"\frac{a}{b} \text{ nếu } b")
