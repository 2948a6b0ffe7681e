"""Python floats among the inputs: a number that a gradient is returned for is differentiated."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from compare.pair.adapt import adapt
from compare.pair.inputs import Inputs, Specification, fresh


def with_scalars(
    specification: Specification, forward: Any, backward: Any, no_grad: Collection[str]
) -> Specification:
    """Return a specification whose floats are differentiable if backward has gradients for them.

    Each is an array of its gradient's shape then; those in `no_grad` stay numbers.
    """
    scalars = {
        name: np.float64(value)
        for name, value in specification.given.items()
        if type(value) is float and name not in no_grad
    }
    if not scalars:
        return specification
    try:
        with np.errstate(all="ignore"):
            found = _gradients(_promoted(specification, scalars), forward, backward)
    except Exception:  # backward has none for them, or is told by the first case
        return specification
    return _promoted(specification, {
        name: np.full(np.shape(found[name]), value)
        for name, value in scalars.items()
        if found[name] is not None and np.size(found[name]) == 1
    })  # fmt: skip


def _promoted(specification: Specification, values: Inputs) -> Specification:
    floats = {*specification.differentiable, *values}
    return replace(
        specification,
        given={**specification.given, **values},
        differentiable=tuple(name for name in specification.names if name in floats),
    )


def _gradients(specification: Specification, forward: Any, backward: Any) -> dict[str, Any]:
    candidate = adapt(forward, backward, specification.names, specification.differentiable)
    values = fresh(specification.draw(np.random.default_rng(0)))
    started = candidate.start(values)
    return candidate.finish([np.ones(np.shape(y)) for y in started.outputs], started)
