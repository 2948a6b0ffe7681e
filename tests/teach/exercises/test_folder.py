"""Grading a folder: bad submissions neither stop nor falsify the others."""

from __future__ import annotations

import csv
import os
import stat
from pathlib import Path

import pytest

from compare.errors import UserError
from compare.report.rendering.spreadsheet import check_writable, harmless, write_rows
from teach.exercises.definition import BUILT_IN, exercises
from teach.exercises.folder import grade_folder, random_seed, submissions
from teach.exercises.grade import Grade, Tensor
from teach.exercises.show import summary
from teach.exercises.table import COLUMNS, cells

RIGHT = "return dout @ w.T, x.T @ dout, dout.sum(axis=0)"
ESCAPE = "def hidden(v: \"__import__('os')._exit(0)\"): pass\ntyping.get_type_hints(hidden)\n"
EXPECTED = {
    "=1+1.py": ("error", 0.0),
    "ana/linear.py": ("right", 1.0),
    "ana/tanh.py": ("right", 1.0),
    "ben/linear.py": ("wrong", 2 / 3),
    "cheat.py": ("not allowed", 0.0),
    "endless.py": ("timeout", 0.0),
    "escape.py": ("not allowed", 0.0),
    "exits.py": ("error", 0.0),
    "memory.py": ("error", 0.0),
    "notes.py": ("unusable", 0.0),
    "prints.py": ("wrong", 0.0),
    "stub.py": ("not filled in", 0.0),
    "syntax.py": ("error", 0.0),
    "zoe/linear.py": ("right", 1.0),
}


@pytest.fixture
def folder(written) -> Path:
    written("=1+1.py", "raise ValueError('=cmd')")
    root = written("ana/linear.py").parents[1]
    (root / "ana" / "tanh.py").write_text(exercises()["tanh"].text("solution.py"))
    written("ben/linear.py", "return dout @ w.T, x.T @ dout, dout.mean(axis=0)")
    written("cheat.py", f"import torch\n{RIGHT}")
    written("endless.py", "while True: pass")
    written("escape.py", ESCAPE + RIGHT, head="import typing")
    written("exits.py", "raise SystemExit(0)")
    written("memory.py", "return bytearray(2**44)")
    (root / "notes.py").write_text("# to do\n")
    written("prints.py", "print('right ' * 10**6)\nreturn dout, x, w")
    (root / "stub.py").write_text(exercises()["linear"].stub)
    written("syntax.py", "return (")
    written("zoe/linear.py")
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "old.py").write_text("no")
    (root / "readme.txt").write_text("no")
    return root


def test_every_submission_gets_its_own_grade_whatever_the_others_do(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    grades = grade_folder(folder, seed=3, jobs=1, timeout=1.5, progress=lambda *t: told.append(t))

    assert {g.file: (g.status, pytest.approx(g.score)) for g in grades} == EXPECTED
    assert [g.file for g in grades] == sorted(EXPECTED, key=lambda f: tuple(f.split("/")))
    assert told[-1] == (len(EXPECTED), len(EXPECTED))
    assert {g.seed for g in grades} == {3}
    _check_table(folder.parent / "grades.csv", grades)


def _check_table(path: Path, grades: list[Grade]) -> None:
    write_rows(path, COLUMNS, map(cells, grades))
    rows = {
        row["file"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    }

    assert len(rows) == len(grades)
    assert all(tuple(row) == COLUMNS for row in rows.values())
    assert rows["ben/linear.py"]["tensors"] == "dx✓ dw✓ db✗"
    assert rows["ben/linear.py"]["score"] == "0.6667"
    assert rows["ben/linear.py"]["causes"].startswith("db: batch size")
    assert rows["'=1+1.py"]["error"].startswith("ValueError: =cmd (line 15")
    assert float(rows["endless.py"]["seconds"]) >= 1.5
    text = summary(grades, 3)
    assert "14 submissions: " in text
    assert "3 right" in text


def test_several_at_a_time_give_the_same(written) -> None:
    folder = written("a.py").parent
    written("b.py", "while True: pass")
    written("c.py", "return dout @ w.T, -x.T @ dout, dout.sum(axis=0)")
    grades = grade_folder(folder, seed=0, jobs=2, timeout=1.0)

    assert [(g.file, g.status) for g in grades] == [
        ("a.py", "right"), ("b.py", "timeout"), ("c.py", "wrong")
    ]  # fmt: skip


def test_links_out_of_the_folder_pipes_and_devices_are_not_opened(written, tmp_path: Path) -> None:
    folder = written("a.py").parent
    (tmp_path / "secret.py").write_text((folder / "a.py").read_text())
    (folder / "out.py").symlink_to(tmp_path / "secret.py")
    (folder / "solution.py").symlink_to(BUILT_IN / "linear" / "solution.py")
    (folder / "zero.py").symlink_to("/dev/zero")
    (folder / "again.py").symlink_to("a.py")
    os.mkfifo(folder / "pipe.py")
    grades = {g.file: g for g in grade_folder(folder, seed=0, jobs=1)}

    assert {n for n, g in grades.items() if g.status == "right"} == {"a.py", "again.py"}
    assert {g.status for n, g in grades.items() if n not in ("a.py", "again.py")} == {"unusable"}
    assert "leads out of the folder" in grades["solution.py"].message
    assert "no regular file" in grades["pipe.py"].message


def test_a_mistake_of_the_graders_own_is_one_row(written, monkeypatch) -> None:
    folder = written("a.py").parent
    monkeypatch.setattr("teach.exercises.folder.grade", lambda *_, **__: 1 / 0)
    (result,) = grade_folder(folder, seed=0, jobs=1)

    assert result.status == "unusable"
    assert "The grader failed on it: ZeroDivisionError" in result.message


def test_a_folder_without_python_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to grade"):
        submissions(tmp_path)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1"])
def test_formulas_are_made_harmless(cell: str, tmp_path: Path) -> None:
    tensor = Tensor("grad:x", False, cause=cell)
    grade = Grade(cell, cell, "wrong", (tensor,), message=f"{cell}\nsecond line", error=cell)
    write_rows(tmp_path / "g.csv", COLUMNS, map(cells, [grade]))
    (row,) = list(csv.reader((tmp_path / "g.csv").read_text(encoding="utf-8").splitlines()))[1:]

    assert harmless(cell) == f"'{cell}"
    assert not any(c.startswith(("=", "+", "-", "@", "＝")) for c in row)
    assert row[COLUMNS.index("message")] == f"'{cell} second line"


def test_the_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_rows(path, COLUMNS, ([str(1 / 0)] for _ in range(1)))

    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["g.csv"]


def test_the_table_has_the_usual_permissions(tmp_path: Path) -> None:
    write_rows(tmp_path / "g.csv", COLUMNS, map(cells, [Grade("a.py", "linear", "right")]))
    (tmp_path / "plain").write_text("")

    modes = {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("g.csv", "plain")}
    assert len(modes) == 1


def test_an_unwritable_place_is_refused_before_the_grading(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        check_writable(tmp_path / "none" / "g.csv")


def test_the_seed_of_a_folder_cannot_be_guessed() -> None:
    assert len({random_seed() for _ in range(5)}) > 1
