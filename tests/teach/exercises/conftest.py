"""Submissions for the exercise `linear`, with a body of backward of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from teach.exercises.definition import exercises
from teach.exercises.grade import Grade, grade

RIGHT = "return dout @ w.T, x.T @ dout, dout.sum(axis=0)"


def submission(body: str = RIGHT, *, head: str = "") -> str:
    """Return the stub of `linear` with this body; `head` stands before backward."""
    stub = exercises()["linear"].stub
    forward = stub[: stub.index("def linear_backward")]
    lines = "".join(f"    {line}\n" for line in ["x, w = cache", *body.splitlines()])
    return f"{forward}{head}\n\n\ndef linear_backward(dout, cache):\n{lines}"


@pytest.fixture(autouse=True)
def progress_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests grade out of the user's own progress."""
    monkeypatch.setenv("HANDGRAD_PROGRESS", str(tmp_path / "progress.json"))


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., Grade]:
    """Grade a submission of `linear`."""

    def graded(body: str = RIGHT, *, head: str = "", **how) -> Grade:
        path = tmp_path / "linear.py"
        path.write_text(submission(body, head=head), encoding="utf-8")
        return grade(path, exercises(), **{"timeout": 20.0, **how})

    return graded


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a submission into a folder of submissions; return its path."""

    def write(name: str, body: str = RIGHT, *, head: str = "") -> Path:
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(submission(body, head=head), encoding="utf-8")
        return path

    return write
