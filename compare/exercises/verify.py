"""Is an exercise sound? Its solution passes, its stub is empty, its wrong versions are caught."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from compare.exercises.definition import Exercise, WrongVersion
from compare.exercises.grade import EMPTY, MEMORY, RIGHT, TIMEOUT, WRONG, Grade, grade_source


class Row(NamedTuple):
    """One version of one exercise, what was expected of it, and what was found."""

    exercise: str
    version: str
    expected: str
    found: str
    passed: bool


def verified(exercise: Exercise, seed: int = 0) -> list[Row]:
    """Grade the solution, the stub and every wrong version of an exercise."""
    return [*_sources(exercise), *_whole(exercise, seed), *_wrong(exercise, seed)]


def _sources(exercise: Exercise) -> Iterator[Row]:
    """Demand the same forward in stub and solution."""
    name = exercise.about.forward
    forms = [_function(exercise.text(file), name) for file in ("stub.py", "solution.py")]
    same = forms[0] == forms[1] != ""
    found = "the same in stub and solution" if same else "not the same in stub and solution"
    yield Row(exercise.name, name, "the same in stub and solution", found, same)


def _function(source: str, name: str) -> str:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.dump(node)
    return ""


def _whole(exercise: Exercise, seed: int) -> Iterator[Row]:
    for version, source, status in (
        ("solution.py", exercise.text("solution.py"), RIGHT),
        ("stub.py", exercise.stub, EMPTY),
    ):
        result = _graded(source, exercise, seed)
        found = result.status + (f": {result.message}" if result.status != status else "")
        yield Row(exercise.name, version, status, found, result.status == status)


def _wrong(exercise: Exercise, seed: int) -> Iterator[Row]:
    solution = exercise.text("solution.py")
    for version in exercise.about.wrong:
        title = f"{version.replace!r} → {version.by!r}"
        expected = f"d{version.tensor} wrong" + (f", {version.cause}" if version.cause else "")
        if solution.count(version.replace) != 1:
            times = f"{version.replace!r} is {solution.count(version.replace)} times in solution.py"
            yield Row(exercise.name, title, f"{expected}; the text once", times, False)
            continue
        source = solution.replace(version.replace, version.by)
        yield _row(exercise, version, title, expected, _graded(source, exercise, seed))


def _row(
    exercise: Exercise, version: WrongVersion, title: str, expected: str, result: Grade
) -> Row:
    wrong = {t.symbol: t for t in result.tensors if not t.right}
    found = ", ".join(f"{s} wrong{f', {t.kind}' if t.kind else ''}" for s, t in wrong.items())
    tensor = wrong.get(f"d{version.tensor}")
    passed = result.status == WRONG and tensor is not None
    if version.cause and tensor is not None:
        passed = passed and tensor.kind == version.cause
    if version.hint and tensor is not None:
        passed = passed and tensor.cause.endswith(version.hint)
    return Row(exercise.name, title, expected, found or result.status, passed)


def _graded(source: str, exercise: Exercise, seed: int) -> Grade:
    return grade_source(source, exercise, exercise.name, seed=seed, timeout=TIMEOUT, memory=MEMORY)
