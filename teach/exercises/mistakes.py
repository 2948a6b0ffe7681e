"""Mistakes that an exercise's author foresaw: the solution with one piece of text replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.pair.candidates import FunctionPair
from compare.pair.inputs import fresh, specify
from compare.running.cases.outcome import quiet
from teach.exercises.definition import Exercise, WrongVersion

if TYPE_CHECKING:
    from compare.running.cases.outcome import Outcome

CLOSE = 1e-9


def known_mistake(exercise: Exercise, outcome: Outcome, quantity: str) -> str:
    """Return what the author says of the mistake that gives these very numbers; else nothing."""
    mine = outcome.manual.get(quantity)
    if mine is None or quantity[:5] != "grad:":
        return ""
    hinted = [version for version in exercise.about.wrong if version.hint]
    for version in hinted:
        if version.tensor == quantity[5:] and _fits(version, exercise, outcome, [quantity]):
            return version.hint
    wrong = [q for q in outcome.bad if q[:5] == "grad:"]
    return next((v.hint for v in hinted if _fits(v, exercise, outcome, wrong)), "")


def _fits(
    version: WrongVersion, exercise: Exercise, outcome: Outcome, quantities: list[str]
) -> bool:
    """Return whether a wrong version gives these very gradients of the submission."""
    found = _gradients(exercise, version, outcome)
    return all(
        q in found and q in outcome.manual and _equal(outcome.manual[q], np.asarray(found[q]))
        for q in quantities
    )


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    room = CLOSE * float(np.max(np.abs(b), initial=0.0))
    return bool(np.allclose(a, b, rtol=CLOSE, atol=room))


def _gradients(exercise: Exercise, version: WrongVersion, outcome: Outcome) -> dict[str, Any]:
    """Run a wrong version on the case's inputs."""
    try:
        with quiet():
            pair = pair_of(exercise, version)
            return pair.run(fresh(outcome.values), list(outcome.upstreams)).named()
    except Exception:  # wrong versions may fail: then they are not what was handed in
        return {}


def pair_of(exercise: Exercise, version: WrongVersion) -> FunctionPair:
    """Return a wrong version as a candidate in this process: it is the author's own text."""
    space: dict = {"__name__": exercise.name}
    about, specification = exercise.about, specify(exercise.inputs, exercise.about.no_grad)
    source = exercise.text("solution.py").replace(version.replace, version.by)
    exec(compile(source, f"<wrong {exercise.name}>", "exec"), space)
    functions = space[about.forward], space[about.backward]
    return FunctionPair(*functions, specification.names, specification.differentiable)
