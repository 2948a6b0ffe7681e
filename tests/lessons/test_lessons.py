"""The lessons run as plain scripts."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from teach.kit.diff import LESSONS

FILES = sorted(LESSONS.glob("[0-9]*.py"))


@pytest.mark.parametrize("lesson", FILES, ids=lambda file: file.stem)
def test_a_lesson_runs_as_a_script_and_its_assertions_hold(lesson: Path, capsys) -> None:
    runpy.run_path(str(lesson), run_name="__main__")

    assert "same: " in capsys.readouterr().out


@pytest.mark.parametrize("lesson", FILES, ids=lambda file: file.stem)
def test_a_lesson_ends_with_what_changed_and_what_torch_does(lesson: Path) -> None:
    headings = re.findall(r"^# ## (.+)$", lesson.read_text("utf-8"), re.MULTILINE)

    assert headings[-3:] == [
        "What changed in the code", "What torch now does for you", "Your turn",
    ]  # fmt: skip


def test_lessons_are_numbered_without_gaps_and_stand_in_their_readme() -> None:
    readme = (LESSONS / "README.md").read_text("utf-8")
    titles = [re.match(r"# %% \[markdown\]\n# # (\d+) · ", f.read_text("utf-8")) for f in FILES]
    numbers = list(range(1, len(FILES) + 1))

    assert [int(title[1]) if title else None for title in titles] == numbers
    assert [int(file.name[:2]) for file in FILES] == numbers
    assert [f"[{n}]({file.name})" in readme for n, file in zip(numbers, FILES, strict=True)] == [
        True for _ in FILES
    ]


def test_a_lesson_is_a_plain_script_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "error", str(LESSONS / "08_students.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=LESSONS.parent, check=False,
                          env={"PYTHONPATH": str(LESSONS.parent), "PATH": ""})  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
