"""`handgrad exercise progress`: what is remembered of grades, and what spoils it."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compare.errors import UserError
from teach.exercises import progress
from teach.exercises.cli import _remember, exercise
from teach.exercises.definition import exercises
from teach.exercises.grade import RIGHT, WRONG, Grade
from teach.exercises.tensor import Tensor

MONDAY, TUESDAY, FRIDAY = date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 20)


def graded(*right: bool, name: str = "linear") -> Grade:
    tensors = tuple(Tensor(f"grad:{i}", ok, "", "", "") for i, ok in enumerate(right))
    return Grade(f"{name}.py", name, RIGHT if all(right) else WRONG, tensors)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data" / "progress.json"
    monkeypatch.setenv(progress.VARIABLE, str(path))
    return path


def call(*arguments: str) -> str:
    result = CliRunner().invoke(exercise, ["progress", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_tries_are_counted_and_the_best_is_kept_with_its_day(file: Path) -> None:
    for right, day in (([True, False], MONDAY), ([True, True], TUESDAY), ([False, True], FRIDAY)):
        assert progress.remember(graded(*right), file, day) == ""
    kept = progress.read(file)["linear"]

    assert (kept.tries, kept.best, kept.solved, kept.day) == (3, 1.0, True, TUESDAY)
    assert [p.name for p in file.parent.iterdir()] == ["progress.json"]


def test_it_is_shown_in_the_order_of_the_lessons_with_what_comes_next(file: Path) -> None:
    progress.remember(graded(True, name="descent"), file, MONDAY)
    progress.remember(graded(True, False), file, TUESDAY)
    out = call()

    assert out.index("descent") < out.index("swish") < out.index("linear") < out.index("adam")
    assert "     1  ✓ descent" in out
    assert "1   50%  2026-11-17" in out
    assert f"1 of {len(exercises())} solved. Remembered in {file}." in out
    assert "Next: handgrad exercise start swish" in out
    rows = {row["exercise"]: row for row in json.loads(call("--json"))}
    assert rows["linear"] == {
        "exercise": "linear", "lesson": 6, "tries": 1, "best": 0.5, "solved": False,
        "day": "2026-11-17",
    }  # fmt: skip
    assert rows["adam"]["tries"] == 0


def test_reset_forgets(file: Path) -> None:
    progress.remember(graded(True), file, MONDAY)

    assert str(file) in call("--reset")
    assert not file.exists()
    assert f"0 of {len(exercises())} solved" in call()
    call("--reset")  # nothing there: nothing to do


@pytest.mark.parametrize("text", ["{", "[]", '{"exercises": {"linear": {"tries": -1}}}', "\x00"])
def test_a_spoilt_file_is_told_and_kept_aside(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(UserError, match=r"progress\.json cannot be used"):
        call()
    told = progress.remember(graded(True), file, MONDAY)

    assert "It is kept as" in told
    assert file.with_name("progress.json.unusable").read_text() == text
    assert progress.read(file)["linear"].tries == 1


def test_a_file_that_cannot_be_written_spoils_no_grade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "file" / "progress.json"))
    _remember(graded(True))

    assert "Your progress is not remembered" in capsys.readouterr().err


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress.remember(graded(True), file, MONDAY)
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            progress.remember(graded(True), file, TUESDAY)

    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["progress.json"]


def test_set_to_nothing_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, "")
    _remember(graded(True))

    assert progress.place() is None
    with pytest.raises(UserError, match="nothing is remembered"):
        call()


@pytest.mark.parametrize(
    ("system", "environment", "end"),
    [
        ("linux", {"XDG_DATA_HOME": "/x"}, "/x/handgrad/progress.json"),
        ("linux", {}, ".local/share/handgrad/progress.json"),
        ("darwin", {}, "Library/Application Support/handgrad/progress.json"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/handgrad/progress.json"),
    ],
)
def test_the_file_lies_where_the_systems_data_lies(
    monkeypatch: pytest.MonkeyPatch, system: str, environment: dict[str, str], end: str
) -> None:
    monkeypatch.setattr("sys.platform", system)

    assert str(progress.place(environment)).endswith(end)
