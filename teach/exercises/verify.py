"""Is an exercise sound? Its solution passes, its stub is empty, its wrong versions are caught."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from teach.exercises.definition import Exercise, WrongVersion
from teach.exercises.grade import EMPTY, MEMORY, RIGHT, TIMEOUT, Grade, Tensor, grade_source


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
        yield _row(exercise, version, title, expected, *_judged(exercise, version, seed))


def _judged(exercise: Exercise, version: WrongVersion, seed: int) -> tuple[dict[str, Tensor], str]:
    """Return the wrong tensors, and what stopped the judging, of the author's own wrong version."""
    from teach.exercises.judging import session_of, tensors_of
    from teach.exercises.mistakes import pair_of

    try:
        session = session_of(exercise, pair_of(exercise, version), seed)
        tensors = tensors_of(session, exercise, session.verdict())
    except Exception as error:
        return {}, f"{type(error).__name__}: {error}"
    return {t.symbol: t for t in tensors if not t.right}, ""


def _row(
    exercise: Exercise, version: WrongVersion, title: str, expected: str,
    wrong: dict[str, Tensor], failure: str,
) -> Row:  # fmt: skip
    found = ", ".join(f"{s} wrong{f', {t.kind}' if t.kind else ''}" for s, t in wrong.items())
    tensor = wrong.get(f"d{version.tensor}")
    passed = tensor is not None
    if tensor is not None and version.cause:
        passed = tensor.kind == version.cause
    if tensor is not None and version.hint:
        passed = passed and tensor.cause.endswith(version.hint)
    return Row(exercise.name, title, expected, found or failure or "right", passed)


def _graded(source: str, exercise: Exercise, seed: int) -> Grade:
    return grade_source(source, exercise, exercise.name, seed=seed, timeout=TIMEOUT, memory=MEMORY)
