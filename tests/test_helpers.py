"""The checks themselves: what the shared helpers must reject."""

from __future__ import annotations

import numpy as np
import pytest

from manual.activations import Tanh
from tests.helpers import (
    assert_close,
    check_pure,
    draw,
    vjp_by_central_differences,
    vjp_by_complex_step,
)

ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    "actual",
    [ONES[0], ONES.astype(np.float32), ONES * (1 + 1e-9), ONES * np.nan, ONES * np.inf],
    ids=["shape", "dtype", "value", "nan", "inf"],
)
def test_assert_close_rejects(actual: np.ndarray) -> None:
    with pytest.raises(AssertionError, match="it:"):
        assert_close("it", actual, ONES, 1e-10)


def test_assert_close_accepts_what_is_within_rtol_of_the_largest_element() -> None:
    assert_close("it", ONES * (1 + 1e-11), ONES, 1e-10)


def test_both_numerical_derivatives_find_a_known_one() -> None:
    a, b, dy = draw(0, (2, 3)), draw(1, (2, 3)), draw(2, (2, 3))

    for vjp, rtol in [(vjp_by_complex_step, 1e-14), (vjp_by_central_differences, 1e-8)]:
        da, db = vjp(lambda a, b: a * a * b, [a, b], dy)
        assert_close("da", da, 2 * a * b * dy, rtol)
        assert_close("db", db, a * a * dy, rtol)


@pytest.mark.parametrize(
    "what", ["the inputs", "the cache", "the upstream gradient", "backward, done twice,"]
)
def test_the_purity_check_rejects_a_layer_that_changes(what: str) -> None:
    class Impure(Tanh):
        calls = 0

        def forward(self, x):
            if what == "the inputs":
                x *= 2
            return super().forward(x)

        def backward(self, grad_output, cache):
            (dx,), grads = super().backward(grad_output, cache)
            if what == "the cache":
                cache.y[:] = 0
            if what == "the upstream gradient":
                grad_output *= 1 + self.calls
            self.calls += 1
            return (dx * (1 + self.calls * (what == "backward, done twice,")),), grads

    with pytest.raises(AssertionError, match=what + "|backward, done twice,"):
        check_pure(Impure(), [draw(0, (2, 3))])
