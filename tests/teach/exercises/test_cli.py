"""`handgrad exercise`: what is printed, what is written, and the exit statuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compare.errors import UserError
from teach.exercises.cli import exercise
from teach.exercises.definition import exercises


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(exercise, [*arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run


def test_list_shows_levels_titles_and_what_is_learned(call) -> None:
    status, out = call("list")

    assert status == 0
    assert out.index("Gates") < out.index("multiply") < out.index("Linear\n  linear")
    assert exercises()["linear"].about.summary in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_list_as_json(call) -> None:
    rows = json.loads(call("list", "--json")[1])

    assert [r["name"] for r in rows] == list(exercises())
    assert rows[0].keys() == {"name", "level", "title", "learned", "gradients"}


def test_start_then_grade_then_solve(call) -> None:
    started, out = call("start", "linear", "--dir", "work")
    path = Path("work/linear.py")

    assert started == 0
    assert "handgrad exercise grade work/linear.py" in out
    assert path.read_text() == exercises()["linear"].stub
    status, out = call("grade", str(path))
    assert (status, "not filled in" in out) == (1, True)
    body = "return dout @ w.T, x.T @ dout, dout.mean(axis=0)"
    path.write_text(path.read_text().replace(
        'raise NotImplementedError("fill in linear_backward")', body
    ))  # fmt: skip
    status, out = call("grade", str(path), "--hint")
    assert status == 1
    assert "✗ db" in out
    assert "Hint 1" in out
    assert "Hint 2" not in out
    assert "db = dout.sum(axis=0)" not in out
    status, out = call("grade", str(path), "--solution")
    assert "db = dout.sum(axis=0)" in out
    path.write_text(path.read_text().replace("mean", "sum"))
    status, out = call("grade", str(path))
    assert (status, "all right" in out) == (0, True)


def test_the_guide_shows_what_is_printed(call) -> None:
    text = (Path(__file__).parents[3] / "docs" / "exercises.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```\n(Linear layer.*?)^```", text, re.DOTALL | re.MULTILINE)[0]
    linear = exercises()["linear"].text("solution.py")
    Path("linear.py").write_text(linear.replace("dout.sum(axis=0)", "dout.mean(axis=0)"))
    _, out = call("grade", "linear.py")

    assert out.startswith(shown)


def test_start_never_overwrites_work(call) -> None:
    call("start", "tanh")
    Path("tanh.py").write_text("mine")
    with pytest.raises(UserError, match="may hold your work"):
        call("start", "tanh")

    assert Path("tanh.py").read_text() == "mine"
    assert call("start", "tanh", "--force")[0] == 0
    assert Path("tanh.py").read_text() == exercises()["tanh"].stub


def test_start_prints_a_command_that_a_shell_can_run(call) -> None:
    _, out = call("start", "linear", "--dir", "a b/c")

    assert "handgrad exercise grade 'a b/c/linear.py'\n" in out


def test_a_folder_leaves_a_table_and_exits_with_1(call) -> None:
    Path("class").mkdir()
    Path("class/a.py").write_text(exercises()["tanh"].text("solution.py"))
    Path("class/b.py").write_text(exercises()["tanh"].stub)
    status, out = call("grade", "class", "--csv", "g.csv", "--jobs", "1", "--seed", "5")

    assert status == 1
    assert "2 submissions: 1 right, 1 not filled in; mean score 50%. Seed 5." in out
    assert len(Path("g.csv").read_text().splitlines()) == 3


def test_a_folder_of_right_answers_exits_with_0_and_speaks_json(call) -> None:
    Path("class").mkdir()
    Path("class/a.py").write_text(exercises()["tanh"].text("solution.py"))
    status, out = call("grade", "class", "--jobs", "1", "--json")
    (row,) = json.loads(out)

    assert status == 0
    assert (row["status"], row["score"], row["file"]) == ("right", 1.0, "a.py")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grade", "none.py"], "There is no file or folder none.py"),
        (["grade", "a.py"], "Which exercise is it"),
        (["grade", "a.py", "--exercise", "lineal"], "Did you mean 'linear'"),
        (["grade", "a.py", "--csv", "g.csv"], "--csv is for a folder"),
        (["grade", ".", "--hint"], "are for one file"),
        (["grade", ".", "--csv", "none/g.csv"], "there is no folder none"),
        (["start", "lineal"], "Did you mean 'linear'"),
        (["start", "linear", "--dir", "a.py"], "--dir a.py is no folder"),
        (["list", "--exercises", "none"], "there is no such folder"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(call, arguments: list[str], said: str) -> None:
    Path("a.py").write_text("x = 1\n")

    with pytest.raises(UserError, match=said):
        call(*arguments)
