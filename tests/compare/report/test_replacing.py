"""A directory in the place of another, whenever the process is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compare.report.rendering.replacing import AppearedError, put_right, replacing

ROOT = Path(__file__).parents[3]
KNOWN = {"a", "b"}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="no locks on directories")


def tree(root: Path) -> dict[str, str]:
    files = (p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_text() for p in files}


def left_at_moving_away(root: Path) -> None:
    made(root, ".r.0123abcd.old", "old")
    made(root, ".r.0123abcd.new", "new")


def left_without_a_new_one(root: Path) -> None:
    made(root, ".r.0123abcd.old", "old")


def left_while_writing(root: Path) -> None:
    made(root, "r", "old")
    made(root, ".r.0123abcd.new", "half")


def left_while_deleting(root: Path) -> None:
    made(root, "r", "new")
    made(root, ".r.0123abcd.old", "old")


def made(root: Path, name: str, text: str) -> None:
    (root / name).mkdir()
    (root / name / "a").write_text(text)


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (left_at_moving_away, "new"),
        (left_without_a_new_one, "old"),
        (left_while_writing, "old"),
        (left_while_deleting, "new"),
    ],
)
def test_what_a_kill_leaves_is_put_right(left: Callable, text: str, tmp_path: Path) -> None:
    left(tmp_path)
    put_right(tmp_path, KNOWN)

    assert tree(tmp_path) == {"r/a": text}
    assert os.listdir(tmp_path) == ["r"]


def test_a_directory_with_files_of_others_is_left_alone(tmp_path: Path) -> None:
    made(tmp_path, ".r.0123abcd.old", "old")
    (tmp_path / ".r.0123abcd.old" / "thesis").write_text("mine")
    put_right(tmp_path, KNOWN)

    assert os.listdir(tmp_path) == [".r.0123abcd.old"]


def test_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "r") as fresh:
        put_right(tmp_path, KNOWN)
        (fresh / "a").write_text("new")

    assert tree(tmp_path) == {"r/a": "new"}


def test_what_appears_while_another_is_written_stays(tmp_path: Path) -> None:
    writing = replacing(tmp_path / "r", over=False)
    (writing.__enter__() / "a").write_text("new")
    made(tmp_path, "r", "first")
    with pytest.raises(AppearedError):
        writing.__exit__(None, None, None)

    assert tree(tmp_path) == {"r/a": "first"}
    assert os.listdir(tmp_path) == ["r"]


WRITER = """
import itertools, pathlib, sys
from compare.report.rendering.replacing import put_right, replacing
root = pathlib.Path(sys.argv[1])
put_right(root, {"a", "b"})
for number in itertools.count():
    with replacing(root / "r") as fresh:
        (fresh / "a").write_text(str(number))
        (fresh / "b").write_text(str(number))
    if number == 0:
        print("begun", flush=True)
"""


def test_kills_at_random_moments_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        put_right(tmp_path, KNOWN)

        found = tree(tmp_path)
        assert set(found) == {"r/a", "r/b"}
        assert found["r/a"] == found["r/b"] != ""
        assert os.listdir(tmp_path) == ["r"]
