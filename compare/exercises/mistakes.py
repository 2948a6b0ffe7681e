"""Mistakes that an exercise's author foresaw: the solution with one piece of text replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.checking.candidates import FunctionPair
from compare.checking.inputs import fresh, specify
from compare.checking.outcome import quiet
from compare.exercises.definition import Exercise, WrongVersion

if TYPE_CHECKING:
    from compare.checking.outcome import Outcome

CLOSE = 1e-9


def known_mistake(exercise: Exercise, outcome: Outcome, quantity: str) -> str:
    """Return what the author says of the mistake that gives these very numbers; else nothing."""
    mine = outcome.manual.get(quantity)
    if mine is None or quantity[:5] != "grad:":
        return ""
    for version in exercise.about.wrong:
        if version.hint and version.tensor == quantity.removeprefix("grad:"):
            theirs = _gradient(exercise, version, outcome, quantity)
            if theirs is not None and theirs.shape == mine.shape and _equal(mine, theirs):
                return version.hint
    return ""


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    room = CLOSE * float(np.max(np.abs(b), initial=0.0))
    return bool(np.allclose(a, b, rtol=CLOSE, atol=room))


def _gradient(
    exercise: Exercise, version: WrongVersion, outcome: Outcome, quantity: str
) -> np.ndarray | None:
    """Run a wrong version on the case's inputs."""
    try:
        with quiet():
            pair = pair_of(exercise, version)
            found = pair.run(fresh(outcome.values), list(outcome.upstreams)).named()
    except Exception:  # wrong versions may fail: then they are not what was handed in
        return None
    return np.asarray(found[quantity]) if quantity in found else None


def pair_of(exercise: Exercise, version: WrongVersion) -> FunctionPair:
    """Return a wrong version as a candidate in this process: it is the author's own text."""
    space: dict = {"__name__": exercise.name}
    about, specification = exercise.about, specify(exercise.inputs, exercise.about.no_grad)
    source = exercise.text("solution.py").replace(version.replace, version.by)
    exec(compile(source, f"<wrong {exercise.name}>", "exec"), space)
    functions = space[about.forward], space[about.backward]
    return FunctionPair(*functions, specification.names, specification.differentiable)
