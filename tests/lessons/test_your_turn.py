"""Each lesson ends with an exercise, a question with a folded answer, and a mistake to find."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from teach.exercises.definition import exercises

LESSONS = Path(__file__).parents[2] / "lessons"
FILES = sorted(LESSONS.glob("[0-9]*.py"))
KNOWN = exercises()


def turn(lesson: Path) -> str:
    """Return the lesson's last section, as Markdown."""
    text = lesson.read_text("utf-8").partition("# ## Your turn\n")[2]
    return "\n".join(line.removeprefix("# ").removeprefix("#") for line in text.splitlines())


def lacking(text: str) -> list[str]:
    """Return what a section does not have."""
    found = re.search(r"exercise start (\w+)\nhandgrad exercise grade \1\.py\n", text)
    code = re.search(r"```python\n(.+?)\n```", text, re.DOTALL)
    named = KNOWN.get(found[1]) if found else None
    caught = [w.by for w in named.about.wrong] if named else []
    return [
        what
        for what, there in {
            "an exercise": named is not None,
            "a question on paper": "**On paper.**" in text and "?" in text,
            "two folded answers": text.count("<details><summary>Answer</summary>\n\n") == 2
            and text.count("\n\n</details>") == 2,
            "a mistake that grading catches": code is not None
            and any(code[1] == by.strip() for by in caught),
        }.items()
        if not there
    ]


@pytest.mark.parametrize("lesson", FILES, ids=lambda file: file.stem)
def test_a_lesson_ends_with_something_to_do(lesson: Path) -> None:
    assert lacking(turn(lesson)) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("start linear", "start lineal", "an exercise"),
        ("**On paper.**", "", "a question on paper"),
        ("<details>", "", "two folded answers"),
        ("dw = dout.T @ x", "dw = x.T @ dout", "a mistake that grading catches"),
    ],
)
def test_a_section_without_it_is_rejected(old: str, new: str, what: str) -> None:
    text = turn(LESSONS / "06_neuron.py")
    assert old in text

    assert what in lacking(text.replace(old, new, 1))


def test_every_exercise_is_named_by_the_lesson_that_leads_to_it() -> None:
    for name, found in KNOWN.items():
        (lesson,) = LESSONS.glob(f"{found.about.lesson:02}_*.py")
        assert re.search(rf"`{name}`|start {name}\n", turn(lesson)), name


def test_the_numbers_of_the_answers() -> None:
    hours, points = np.array([1.0, 2, 3]), np.array([2.0, 3, 7])
    slope = np.mean(2 * (2 * hours - points) * hours)
    s, x = 1 / (1 + np.exp(0.567143)), -0.567143
    step = np.array([1.0, 2]) + 0.1 * np.array([3, -1])

    assert slope == pytest.approx(-2 / 3)
    assert 2 - 0.1 * slope == pytest.approx(2.0667, abs=5e-5)
    assert pytest.approx(2.0714, abs=5e-5) == 29 / 14
    assert pytest.approx(0.01) == (1.1**3 - 0.9**3) / 0.2 - 3
    assert step @ [3, -1] + 0.1 == pytest.approx(2.1)
    assert pytest.approx([0.009, 0.081]) == [0.1 * 0.9 * 0.1, 0.9 * 0.9 * 0.1]
    assert (1000 * 100 + 100 * 10, 64 * 100, 4**10) == (101_000, 6400, 1_048_576)
    assert np.maximum(0, np.array([5, 2]) - 3 + 1).tolist() == [3, 0]
    assert pytest.approx(0.12, abs=0.005) == 0.9**20
    assert 0.5e-12 < 0.25**20 < 2e-12
    assert (63 + 4 - 11) // 4 + 1 == 15
    assert 4096**2 == 16_777_216
    assert s + x * s * (1 - s) == pytest.approx(s * (1 - s), abs=1e-6)
    assert np.log2(1e-8) == pytest.approx(-26.6, abs=0.05)
    assert np.float16(1e-8) == np.float16(2e-8) == 0 < np.float16(4e-8)
    assert 1e-8 * 2**12 < 2.0**-14 < 1e-8 * 2**13
