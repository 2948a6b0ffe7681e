"""One argument has another value: which one makes torch compute what the candidate is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from compare.diagnose.causes.arguments import SKIP
from compare.diagnose.causes.cause import Cause
from compare.diagnose.causes.fit import Case

STEPS = 16  # of the secant method
FEWEST = 3  # elements that must confirm the value
ADVICE = "Compare the value with torch's, where it is set and at every place where it is used."


def numbers(owner: type, given: Mapping[str, Any]) -> Iterator[tuple[str, float, Callable]]:
    """Yield (name, value, what makes the arguments with another value) for every float."""
    for name, parameter in inspect.signature(owner).parameters.items():
        now = given.get(name, parameter.default)
        if name in SKIP:
            continue
        if isinstance(now, float) or (type(now) is int and "float" in str(parameter.annotation)):
            yield name, now, lambda v, name=name: {**given, name: v}
        elif isinstance(now, tuple | list) and all(isinstance(v, float) for v in now):
            for i, v in enumerate(now):
                yield f"{name}[{i}]", v, lambda v, name=name, i=i, now=tuple(now): {
                    **given, name: (*now[:i], v, *now[i + 1 :]),
                }  # fmt: skip


def another_value(case: Case) -> Iterator[Cause]:
    """Solve for the value of one argument in the most telling element; it must explain them all."""
    if case.context.settings is None or np.count_nonzero(case.telling) < FEWEST:
        return
    for name, now, compute in case.context.settings():
        value = _solved(case, now, compute)
        if value is None:
            continue
        text = f"manual is exactly what torch gives with {name}={value:.6g} instead of {now:.6g}."
        yield Cause("argument", text, ADVICE)


def _solved(case: Case, now: float, compute: Callable[[float], Any]) -> float | None:
    at = int(np.argmax(np.abs(case.diff)))
    aim = float(case.candidate.ravel()[at])

    def miss(value: float) -> float:
        found = compute(value)
        return np.nan if found is None else float(np.ravel(found)[at]) - aim

    a, b = now, now * 1.01 if now else 0.01
    miss_a, miss_b = miss(a), miss(b)
    for _ in range(STEPS):
        if not np.isfinite(miss_b) or miss_a == miss_b:
            break
        a, miss_a, b = b, miss_b, b - miss_b * (b - a) / (miss_b - miss_a)
        miss_b = miss(b)
        if miss_b == 0:
            break
    best = a if not np.isfinite(miss_b) or abs(miss_a) < abs(miss_b) else b
    found = compute(best)
    if (
        best in (0.0, 1.0)
        or found is None
        or abs(best - now) <= 1e-9 * abs(now)
        or not case.explains(found)
    ):
        return None
    return best
