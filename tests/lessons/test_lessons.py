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

    assert headings[-2:] == ["What changed in the code", "What torch now does for you"]


def test_a_lesson_is_a_plain_script_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "error", str(LESSONS / "08_students.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=LESSONS.parent, check=False,
                          env={"PYTHONPATH": str(LESSONS.parent), "PATH": ""})  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
