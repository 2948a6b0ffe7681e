"""What else `check` is given: upstream gradients, tolerances, cases, names; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compare
from compare.errors import UserError
from manual.linear import Linear
from tests.compare.pair.gradient_pairs import (
    AFFINE,
    X,
    affine,
    affine_backward,
    affine_forward,
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare.check(affine_forward, affine_backward, affine), "needs inputs"),
        (
            lambda: compare.check(affine_forward, affine_backward, affine, ((4, 3), (3, 5), (5,))),
            r"needs inputs by name: pass inputs=\{'x': \(4, 3\)",
        ),
        (
            lambda: compare.check(affine_forward, lambda d, c: (d, d), affine, AFFINE),
            r"returned 2 gradients for 3 differentiable inputs \(x, w, b\)",
        ),
        (
            lambda: compare.check(affine_forward, lambda d, c: d, affine, AFFINE),
            "returned 1 gradient for 3 differentiable inputs",
        ),
        (
            lambda: compare.check(affine_forward, lambda a, b, c, d, e: a, affine, AFFINE),
            "cannot be called after a forward pass that returned a tuple of 2",
        ),
        (
            lambda: compare.check(affine_forward, lambda cache: cache, affine, AFFINE),
            "takes no upstream gradient, but forward's output is no scalar",
        ),
        (
            lambda: compare.check(lambda x: 1 / 0, lambda d, c: d, torch.relu, X),
            r"ZeroDivisionError: division by zero \(line \d+ of .*test_check_arguments.py",
        ),
        (
            lambda: compare.check(lambda x: (x, x), lambda d, x: d, lambda x, y: x, X),
            r"reference .* takes \(x, y\), but the inputs are \(x\)",
        ),
        (
            lambda: compare.check(
                lambda x: (x, x), lambda d, x: d, lambda x: x.numpy(force=True), X
            ),
            "must return a torch tensor",
        ),
        (lambda: compare.check(lambda x: x, None, None, X), "must return a scalar loss"),
        (lambda: compare.check(Linear, None, None, X), "cannot be made without arguments"),
        (lambda: compare.check(3, None, None, X), "cannot be checked"),
        (lambda: compare.check(lambda n: n, lambda d, n: d, None, {"n": 3}), "No input can have"),
        (lambda: compare.check(lambda x: x, lambda d: d, None, {"x": [4, 3]}), r"tuples, \(4, 3\)"),
        (
            lambda: compare.check(affine_forward, affine_backward, affine, AFFINE, dtype="float"),
            "Did you mean 'float64'",
        ),
        (
            lambda: compare.check(affine_forward, affine_backward, None, AFFINE, no_grad=["y"]),
            "no_grad names 'y'",
        ),
        (
            lambda: compare.check(affine_forward, affine_backward, None, AFFINE, cases=["square"]),
            "No case begins with square. Cases: random",
        ),
        (
            lambda: compare.check(affine_forward, affine_backward, None, {**AFFINE, "x": (0, 3)}),
            "must be at least 1",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused_with_a_reason(call, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


# ── an upstream gradient, a tolerance ───────────────────────────────────────────────────────────
def test_an_upstream_gradient_of_the_users_is_used_on_the_users_inputs() -> None:
    seen = []

    def backward(dout, cache):
        seen.append(dout.copy())
        return affine_backward(dout, cache)

    given = np.full((4, 5), 0.5)
    report = compare.check(affine_forward, backward, affine, AFFINE, upstream=given)

    assert report.agrees
    assert (seen[0] == given).all()
    assert any((dout != 0.5).all() for dout in seen)
    for wrong in (np.ones((4, 3)), (given, given)):
        with pytest.raises(UserError, match="The upstream gradient has the shape"):
            compare.check(affine_forward, affine_backward, affine, AFFINE, upstream=wrong)


def test_a_tolerance_of_the_users_is_said_first() -> None:
    def backward(dout, cache):
        return tuple(1.0005 * grad for grad in affine_backward(dout, cache))

    how = {"shrink": False}
    assert not compare.check(affine_forward, backward, affine, AFFINE, **how).agrees
    assert not compare.check(affine_forward, backward, affine, AFFINE, rtol=1e-4, **how).agrees
    report = compare.check(affine_forward, backward, affine, AFFINE, rtol=1e-3)
    first, second, *_ = str(report).splitlines()

    assert first == "AGREE: affine_forward (within a tolerance chosen by the user)"
    assert second.endswith("within rtol = 0.001.")
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        compare.check(affine_forward, affine_backward, affine, AFFINE, rtol=1)


def test_cases_can_be_left_out() -> None:
    report = compare.check(
        affine_forward, affine_backward, affine, AFFINE, cases=["-large", "-tiny"]
    )

    assert report.config["check"]["cases"][0] == "random"
    assert not [c for c in report.config["check"]["cases"] if c.startswith(("large", "tiny"))]


def test_an_input_that_is_nearly_an_argument_beside_others_that_are_is_refused() -> None:
    given = {"x": (4, 3), "w": (3, 5), "B": (5,)}
    with pytest.raises(UserError, match=r"affine_forward has no argument 'B'. Did you mean 'b'\?"):
        compare.check(affine_forward, affine_backward, affine, given)


def test_inputs_may_have_names_of_their_own_as_they_are_given_by_position() -> None:
    for first, last in (("points", "shift"), ("x", "shift")):
        given = {first: (4, 3), "slope": (3, 5), last: (5,)}

        assert compare.check(affine_forward, affine_backward, inputs=given, shrink=False).agrees
