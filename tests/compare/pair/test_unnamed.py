"""Gradients under names of an object's own are found by their numbers, or asked about."""

from __future__ import annotations

import numpy as np
import pytest

import compare

INPUTS = {"x": (4, 3)}


class Dense:
    """A layer that keeps gradients where nobody would look for them."""

    factor = 1.0

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.W, self.V = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
        self.b = np.zeros(5)
        self.table = rng.standard_normal(3)  # learns nothing

    def forward(self, x):
        self.x = x
        return x @ self.W + (x + self.table) ** 2 @ self.V + self.b

    def backward(self, dout):
        self.weight_update = self.x.T @ dout
        self.second = self.factor * ((self.x + self.table) ** 2).T @ dout
        self.sums = [dout.sum(axis=0)]
        return dout @ self.W.T + 2 * (self.x + self.table) * (dout @ self.V.T)


class LowerCase:
    factor = 1.0

    def __init__(self) -> None:
        self.W = np.ones((3, 5))

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dw = self.factor * self.x.T @ dout
        return dout @ self.W.T


def gradients(report: compare.Report) -> set[str]:
    return {q for q in report.differences["quantity"] if q.startswith("grad:")}


def test_gradients_under_other_names_are_checked_and_told() -> None:
    report = compare.check(Dense(), inputs=INPUTS, shrink=False)

    assert report.agrees, str(report)
    assert gradients(report) == {"grad:x", "grad:W", "grad:V", "grad:b"}
    assert "The gradient of W was taken from layer.weight_update." in report.notes
    assert "The gradient of b was taken from layer.sums[0]." in report.notes
    assert gradients(compare.check(LowerCase(), inputs=INPUTS)) == {"grad:x", "grad:W"}


@pytest.mark.parametrize(("cls", "name", "place"), [(Dense, "V", "second"), (LowerCase, "W", "dw")])
def test_what_has_the_shape_of_a_parameter_and_is_not_its_gradient_leaves_no_agreement(
    cls: type, name: str, place: str
) -> None:
    layer = cls()
    layer.factor = 1.001

    report = compare.check(layer, inputs=INPUTS, shrink=False)
    left_out = compare.check(layer, inputs=INPUTS, no_grad=[name], shrink=False)

    assert report.verdict == "incomplete"
    assert f"writes layer.{place}, which has the shape of the object's {name}" in report.reason
    assert f"name {name} in no_grad" in report.reason
    assert left_out.agrees


def test_a_wrong_gradient_that_is_returned_is_told_before() -> None:
    class Wrong(LowerCase):
        factor = 2.0

        def backward(self, dout):
            return 1.01 * super().backward(dout)

    assert compare.check(Wrong(), inputs=INPUTS, shrink=False).verdict == "disagree"


def test_a_slope_found_on_first_numbers_is_judged_in_every_case() -> None:
    class WrongForSmallBatches(LowerCase):
        def backward(self, dout):
            dx = super().backward(dout)
            self.dw = self.dw * (2.0 if len(dout) == 1 else 1.0)
            return dx

    report = compare.check(WrongForSmallBatches(), inputs=INPUTS, shrink=False)

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.layer == "batch of 1"
