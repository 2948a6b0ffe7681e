"""docs/course.md names what exists; docs/errata.md and the course's claims are run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from compare.description.presets import presets
from manual.activations import Sigmoid
from manual.graph import Sequential
from manual.linear import Linear

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "course.md").read_text(encoding="utf-8")
ERRATA = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
SECTION = re.compile(r"\[(\d+), ([^\]]+)\]\(\.\./lessons/((\d+)_\w+\.py)\)")


def rows(page: str) -> list[list[str]]:
    """Return the cells of every table of a page, without the headings."""
    lines = [line.strip("| ") for line in page.splitlines() if line.startswith("| ")]
    cells = [re.split(r"\s+\|\s+", line) for line in lines]
    return [row for row in cells if row[0] != "item" and not set(row[0]) <= set("- ")]


@cache
def test_names() -> frozenset[str]:
    files = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(name for text in files for name in re.findall(r"^def (test_\w+)", text, re.M))


@cache
def headings(lesson: str) -> tuple[str, ...]:
    path = ROOT / "lessons" / lesson
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return tuple(re.findall(r"^# ## (.+)$", text, re.MULTILINE))


def mistakes(page: str) -> Iterator[str]:
    """Yield whatever a page of such tables names that there is not."""
    for item, preset, lesson, test in rows(page):
        for name in re.findall(r"`([^`]+)`", preset):
            if name not in presets():
                yield f"{item}: no preset {name}"
        for name in re.findall(r"`([^`]+)`", test):
            if name not in test_names():
                yield f"{item}: no test {name}"
        sections = SECTION.findall(lesson)
        if not sections or lesson.count("](") != len(sections):
            yield f"{item}: {lesson} is no section of a lesson"
        for number, title, file, prefix in sections:
            if title not in headings(file) or int(number) != int(prefix):
                yield f"{item}: no section {number}, {title} in {file}"


test_names.__test__ = False  # type: ignore[attr-defined]


def test_every_preset_section_and_test_of_the_table_exists() -> None:
    assert len(rows(PAGE)) > 70
    assert list(mistakes(PAGE)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("`twenty-lines`", "`thirty-lines`"),
        ("[4, Why they add]", "[4, Why they multiply]"),
        ("[4, Why they add]", "[5, Why they add]"),
        ("04_branches.py", "04_twigs.py"),
        ("`test_worked_example_3`", "`test_worked_example_9`"),
    ],
)
def test_a_row_that_names_what_is_not_there_is_rejected(old: str, new: str) -> None:
    assert old in PAGE

    assert len(list(mistakes(PAGE.replace(old, new)))) >= 1


def test_every_preset_that_the_course_names_is_in_the_table() -> None:
    text = " ".join(row[1] for row in rows(PAGE))
    course = [n for n in presets() if n.startswith(("students", "three", "twenty", "svm", "two"))]

    assert [name for name in course if f"`{name}`" not in text] == []


# -------------------------------------------------------------------------------------- the errata

BLOCKS = re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", ERRATA, re.MULTILINE | re.DOTALL)


def test_every_claim_of_the_errata_has_code_that_is_run() -> None:
    assert len(BLOCKS) == ERRATA.count("\n## ") == ERRATA.count("```python") >= 10


@pytest.mark.parametrize(("claim", "code"), BLOCKS, ids=[title for title, _ in BLOCKS])
def test_a_claim_of_the_errata_holds(claim: str, code: str) -> None:
    """Both that what is printed is wrong, and what is right, stand in the block."""
    assert re.search(r"^assert not ", code, re.MULTILINE), claim
    assert len(re.findall(r"^assert ", code, re.MULTILINE)) >= 2, claim

    exec(compile(code, "docs/errata.md", "exec"), {"__name__": "errata"})


# -------------------------------------------------------------------------------------- the claims


def test_a_bias_is_the_weight_of_a_constant_1() -> None:
    rng = np.random.default_rng(0)
    x, w, b, dy = (rng.normal(size=s) for s in ((5, 3), (2, 3), (2,), (5, 2)))
    biased = Sequential(Linear(3, 2), Sigmoid()).with_params({"0.weight": w, "0.bias": b})
    weight = np.column_stack([w, b])
    plain = Sequential(Linear(4, 2, bias=False), Sigmoid()).with_params({"0.weight": weight})
    ones = np.column_stack([x, np.ones(5)])
    tapes = biased.run(x), plain.run(ones)
    found = biased.gradients(tapes[0], dy).params
    both = plain.gradients(tapes[1], dy).params["0.weight"]

    np.testing.assert_allclose(tapes[1].output, tapes[0].output, rtol=1e-14)
    np.testing.assert_allclose(both[:, :3], found["0.weight"], rtol=1e-13)
    np.testing.assert_allclose(both[:, 3], found["0.bias"], rtol=1e-13)


def test_as_many_mistakes_are_planted_as_the_lesson_says() -> None:
    lesson = (ROOT / "lessons" / "23_trust.py").read_text(encoding="utf-8")
    said = re.search(r"has over ([\d,]+) such\s+(?:# )?mutants", lesson)
    report = (ROOT / "docs" / "mutation.md").read_text(encoding="utf-8")
    counted = re.search(r"of ([\d,]+) mutants are no mistakes", report)

    assert said
    assert counted
    assert int(counted[1].replace(",", "")) > int(said[1].replace(",", ""))
