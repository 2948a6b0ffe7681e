"""exercise.toml, the built-in exercises, and a teacher's own, as docs/exercises.md shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compare.errors import UserError
from teach.exercises.definition import LEVELS, MARKER, exercises, named, read
from teach.exercises.verify import verified

DOCS = Path(__file__).parents[3] / "docs" / "exercises.md"
TOML = (exercises()["linear"].folder / "exercise.toml").read_text(encoding="utf-8")

HEAD, *MISTAKES = TOML.split("\n[[wrong]]")
SHORT = "\n[[wrong]]".join([HEAD, *(m for m in MISTAKES if "sign" in m)])


@pytest.fixture
def own(tmp_path: Path):
    """Write the linear exercise with another exercise.toml; return its folder."""

    def write(toml: str) -> Path:
        folder = tmp_path / "own" / "layer"
        folder.mkdir(parents=True)
        for file in ("stub.py", "reference.py", "solution.py"):
            (folder / file).write_text(exercises()["linear"].text(file), encoding="utf-8")
        (folder / "exercise.toml").write_text(toml, encoding="utf-8")
        return folder

    return write


def test_every_level_has_an_exercise_and_they_come_in_order() -> None:
    levels = [e.about.level for e in exercises().values()]

    assert list(dict.fromkeys(levels)) == list(LEVELS)
    assert list(exercises())[:3] == ["descent", "multiply", "maximum"]


@pytest.mark.parametrize("name", exercises())
def test_a_built_in_exercise_is_sound(name: str) -> None:
    """The solution passes, the stub is not filled in, every wrong version is caught."""
    rows = verified(exercises()[name])

    assert len(rows) >= 5
    assert [r for r in rows if not r.passed] == []


def test_a_stub_does_not_hold_its_solution() -> None:
    for found in exercises().values():
        assert found.stub.startswith(f"{MARKER} {found.name}\n")
        solution = found.text("solution.py").splitlines()
        formulas = [line.strip() for line in solution if line.startswith("    return")][-1:]
        assert formulas[0] not in found.stub
        assert "raise NotImplementedError" in found.stub


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Linear layer"', "", "key 'title' is missing."),
        ("[shapes]", "[shape]", "key 'shapes' is missing. key 'shape': there is no such key. Did"),
        ("w = [3, 5]", 'w = "3,5"', "key 'shapes.w' should be a valid tuple, received '3,5'."),
        ("w = [3, 5]", 'w = ["a"]', "key 'shapes.w.0'"),
        ("w = [3, 5]", "", "[index_form] must have one line per gradient: b, x; received b, w, x"),
        ('forward = "linear_forward"', 'forward = "a b"', "'a b' is no name of a function"),
        ('tensor = "w"', 'tensor = "v"', "[[wrong]] tensor 'v'."),
        ('cause = "sign"', 'cuase = "sign"', "key 'wrong.1.cuase': there is no such key. Did you"),
        ("[shapes]", 'no_grad = ["y"]\n[shapes]', "no_grad names 'y'."),
        ("[shapes]", 'order = ["x", "w"]\n[shapes]', "order must name every input once: x, w, b"),
        ("[shapes]", "[shapes", "is not valid TOML"),
        ("[shapes]", "[labels]\ny = { shape = [4] }\n[shapes]", "key 'labels.y.below' is missing."),
        (
            "[shapes]",
            "[labels]\ny = { shape = [4], under = 3, below = 3 }\n[shapes]",
            "key 'labels.y.under': there is no such key. Keys: shape, below.",
        ),
        (
            "[shapes]",
            "[labels]\nx = { shape = [4], below = 3 }\n[shapes]",
            "'x' is in two of [shapes], [values] and [labels]",
        ),
    ],
)
def test_a_mistake_in_exercise_toml_is_told_with_its_key(
    own, old: str, new: str, said: str
) -> None:
    assert old in TOML
    with pytest.raises(UserError) as error:
        read(own(TOML.replace(old, new, 1)))

    assert said in str(error.value)
    assert "exercise.toml" in str(error.value)


def test_a_missing_file_is_named(own) -> None:
    folder = own(TOML)
    (folder / "solution.py").unlink()

    with pytest.raises(UserError, match=r"has no solution\.py"):
        exercises(folder.parent)


def test_a_folder_without_exercises_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no exercise"):
        exercises(tmp_path)
    with pytest.raises(UserError, match="there is no such folder"):
        exercises(tmp_path / "none")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'batch_norm'"):
        named("batchnorm", exercises())


@pytest.mark.parametrize(
    ("file", "old", "new", "version"),
    [
        ("solution.py", "dout.sum(axis=0)", "dout.mean(axis=0)", "solution.py"),
        ("solution.py", "x @ w + b, (x, w)", "x @ w + b, [x, w]", "linear_forward"),
        ("stub.py", 'raise NotImplementedError("fill in linear_backward")', "return x", "stub.py"),
        ("exercise.toml", 'by = "dw = -x.T @ dout"', 'by = "dw = +x.T @ dout"', "+x.T"),
        ("exercise.toml", 'cause = "sign"', 'cause = "transpose"', "-x.T"),
        ("exercise.toml", 'cause = "sign"', 'cause = "sign"\nhint = "see"', ""),
        ("exercise.toml", 'replace = "dw = x.T @ dout"', 'replace = "dz"', "'dz'"),
    ],
)
def test_verify_finds_an_unsound_exercise(own, file: str, old: str, new: str, version: str) -> None:
    folder = own(SHORT)
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    bad = [r for r in verified(read(folder)) if not r.passed]

    assert bool(bad) is bool(version)
    assert all(version in r.version for r in bad)


def test_the_example_of_the_guide_is_sound(tmp_path: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    folder = tmp_path / "my_exercises" / "softplus"
    folder.mkdir(parents=True)
    blocks = re.findall(
        r"`softplus/([\w.]+)`:\n\n```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    for name, content in blocks:
        (folder / name).write_text(content, encoding="utf-8")
    found = exercises(folder.parent)
    rows = verified(found["softplus"])

    assert {name for name, _ in blocks} == {
        "exercise.toml",
        "stub.py",
        "reference.py",
        "solution.py",
    }
    assert len(rows) == 5
    assert [r for r in rows if not r.passed] == []
