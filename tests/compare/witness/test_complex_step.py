"""The witness by complex steps: exact to rounding, and kept out of what is not analytic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compare.witness.complex_step import complex_step
from tests.compare.witness.witness_pairs import (
    RIGHT,
    changed,
    gelu,
    gelu_backward,
    into_floats,
    point,
)


def test_complex_steps_are_exact_to_rounding() -> None:
    found = complex_step(*RIGHT["batchnorm"])

    assert found.relative_error < 1e-14
    assert complex_step(*RIGHT["affine"]).relative_error < 1e-14


def test_complex_steps_see_what_differences_cannot() -> None:
    wrong = changed(gelu_backward, 0, lambda g: g * (1 + 3e-8))

    assert not complex_step(gelu, wrong, RIGHT["gelu"][2]).agrees


@pytest.mark.parametrize(
    ("forward", "slope", "why"),
    [
        (lambda x: (np.abs(x), x), np.sign, "its output is real"),
        (lambda x: (np.abs(x) * x, x), lambda x: 2 * np.abs(x), "not analytic"),
        (lambda x: (x.real * x, x), lambda x: 2 * x, "not analytic"),
        (lambda x: (x * x.var(), x), lambda x: 2 * x, "not analytic"),  # var squares |x|
        (into_floats, lambda x: 2 * x, "cannot carry complex numbers"),
    ],
)
def test_complex_steps_keep_out_of_code_that_is_not_analytic(
    forward: Callable, slope: Callable, why: str
) -> None:
    found = complex_step(forward, lambda dout, x: dout * slope(x), point((3, 4)))

    assert found.agrees
    assert not found.conclusive
    assert why in found.evidence
