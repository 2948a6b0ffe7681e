"""The commands for learners in Vietnamese: nothing is left in English."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer.rich_utils  # noqa: F401  some of its words are settled when it is imported
from typer.testing import CliRunner

from compare import words
from compare.words import said, speak
from handgrad.cli import app
from teach.exercises.definition import exercises
from teach.exercises.grade import EMPTY, FAILED, WRONG, Grade
from teach.exercises.show import shown
from teach.exercises.tensor import Tensor

ENGLISH = re.compile(r"\b(the|is|are|of|and|it|with|where|wrong|right|only|in the|should be)\b")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.setenv("COLUMNS", "100")
    yield
    words.hush()


def printed(*arguments: str) -> str:
    return CliRunner().invoke(app, [*arguments]).output


SAID = [
    "sign: manual is torch × -1 in every element. Look for a lost minus, such as target − output "
    "for output − target.",
    "missing sum: manual has shape (7, 5) instead of (5,), and summed over axis 0 it is torch. "
    "Broadcasting repeats a tensor along an axis, so its gradient sums over that axis.",
    "batch size: manual is torch × 0.2 = 1 / the batch size in every element.",
    "another tensor: manual is exactly the gradient of x, not of y. The same numbers fit: sign.",
    "in the case 'random' element [3, 1] is -1.5, and should be 0.5",
    "only in the cases 'batch of 1', 'zeros'",
    "known mistake: at a tie both get the whole gradient: what the two get must add up to dout.",
    "size in the code: right in the sizes that the exercise names, wrong only in the case 'zeros' "
    "(shape: it is (5, 3), and should be (5, 1). A gradient has the shape of its input). Is a size "
    "written as a number where the code should ask for a length, or is an axis of length 1 "
    "dropped?",
    "The file is no valid Python. SyntaxError: invalid syntax (line 3: def f(:)",
    "Not allowed: import torch (line 2), eval (line 3), and 2 more of them. Imports: numpy, math.",
    "Column 1 of \"(x + y * z\": '(' was never closed. Allowed are names, numbers, + - * / @ **, "
    "parentheses and functions.",
    "Column 1 of \"x[0]\": 'x[0]' is not allowed (an index). Allowed are names, numbers, + - * / @ "
    "**, parentheses and functions.",
    "'x * y' has no value for y. Give one to every input: x=…, y=….",
    "There is no exercise 'lineal'. Did you mean 'linear'? Exercises: linear, bce.",
]


@pytest.mark.parametrize("text", SAID)
def test_what_the_grader_says_is_translated_whole(text: str) -> None:
    assert said(text) == text
    speak("vi")

    left = re.sub(r"'[^']*'", "", said(text)).replace("linear, bce", "")
    assert left != text
    assert not ENGLISH.search(left), left


def test_an_unknown_sentence_stays_and_is_what_the_check_above_would_catch() -> None:
    speak("vi")
    text = "sign: manual is torch × -1 in every element. This one is of no catalogue."

    assert said(text) == "dấu: manual bằng torch × -1 ở mọi phần tử. This one is of no catalogue."
    assert ENGLISH.search(said(text))


def test_names_stay() -> None:
    speak("vi")

    assert [name for name in exercises() if said(name) != name] == []
    assert said("Functions: exp, sum, tanh.") == "Các hàm: exp, sum, tanh."

    assert said("Nodes: 0, loss, input.") == "Các nút: 0, loss, input."
    assert said("Linear.backward of node 4") == "Linear.backward của nút 4"


def test_a_node_keeps_its_name_though_it_is_a_word_too() -> None:
    speak("vi")

    assert said("attention") != "attention"
    assert said("Linear.backward of node attention").endswith("attention")


def test_a_word_of_two_meanings_has_one_that_fits_both() -> None:
    """What a gate passes on, and what a check passes, is let through; it is no number of passes."""
    assert "cho qua" in printed("trace", "x + 1", "x=2", "--lang", "vi")
    assert said("passes") == "cho qua"


def test_a_grade_and_its_hints() -> None:
    speak("vi")
    linear = exercises()["linear"]
    told = "in the case 'random' it is 2, and should be 1"
    tensors = (Tensor("grad:x", True), Tensor("grad:w", False, "in every case", told, SAID[0]))

    for grade in (
        Grade("a.py", "linear", WRONG, tensors),
        Grade("a.py", "linear", EMPTY, message="Nothing is filled in yet: backward still raises "
              "NotImplementedError."),
        Grade("a.py", "linear", FAILED, message="The submission fails: ValueError: x"),
    ):  # fmt: skip
        text = shown(grade, linear, 4)
        assert "Gợi ý 3" in text
        assert not ENGLISH.search(re.sub(r"'[^']*'", "", text)), text


COMMANDS = [
    ("exercise", "list", "--lang", "vi"),
    ("exercise", "--lang=vi", "list"),
    ("exercise", "progress", "--lang", "vi"),
    ("exercise", "grade", "--help", "--lang", "vi"),
    ("exercise", "--lang", "vi", "--help"),
    ("trace", "x * y + max(x, y)", "x=2", "y=3", "--lang", "vi"),
    ("trace", "sum(W @ x)", "W=[[1,2],[3,4]]", "x=[1,2]", "--lang", "vi"),
    ("trace", "--help", "--lang", "vi"),
    ("explain", "--help", "--lang", "vi"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_speaks_vietnamese(arguments: tuple[str, ...]) -> None:
    text = printed(*arguments)

    assert re.search("[ạảãấầẩẫậắằẳẵặẹẻẽếềểễệịỉọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹđ]", text)
    assert not ENGLISH.search(text), text


@pytest.mark.parametrize(
    ("environment", "spoken"),
    [
        ({"LANGUAGE": "vi"}, "khớp"),
        ({"LANGUAGE": "", "LC_ALL": "vi_VN.UTF-8"}, "khớp"),
        ({"LANGUAGE": "", "LC_ALL": "", "LANG": "vi_VN.UTF-8"}, "khớp"),
        ({"LANGUAGE": "en:vi", "LANG": "vi_VN.UTF-8"}, "agree"),
        ({"LANGUAGE": "fr"}, "agree"),
    ],
)
def test_the_language_of_the_environment(
    environment: dict[str, str], spoken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert f"{spoken}: " in printed("trace", "x * y", "x=2", "y=3")
    assert "agree: " in printed("trace", "x * y", "x=2", "y=3", "--lang", "en")
