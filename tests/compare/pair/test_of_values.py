"""Losses whose backward takes the predictions in place of an upstream gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compare

LABELS = np.array([0, 2, 1, 2])
ONE_HOT = np.eye(3)[LABELS]
P = np.random.default_rng(0).dirichlet(np.ones(3), 4)


class Averaged:
    """Losses of samples, and their mean by another method."""

    count = 1  # wrong by so much
    forward: Any

    def calculate(self, predicted, target):
        return np.mean(self.forward(predicted, target))


class CrossEntropy(Averaged):
    def forward(self, predicted, target):
        return -np.log((predicted * target).sum(axis=1))

    def backward(self, dvalues, target):
        self.dinputs = -target / dvalues * self.count / len(dvalues)


class Squared(Averaged):
    def forward(self, predicted, target):
        return ((predicted - target) ** 2).mean(axis=1)

    def backward(self, dvalues, target):
        return -2 * (target - dvalues) / dvalues.size * self.count


class Counting(Squared):
    """Its mean adds to what training keeps, and fails before training."""

    def calculate(self, predicted, target):
        self.total += 1  # type: ignore[attr-defined]
        return super().calculate(predicted, target)


class Summed:
    """No mean is defined."""

    count = 1

    def forward(self, predicted, target):
        return ((predicted - target) ** 2).sum(axis=1)

    def backward(self, dvalues, target):
        return 2 * self.count * (dvalues - target)


class SoftmaxCrossEntropy:
    """Backward takes what the softmax in it gave."""

    count = 1

    def forward(self, inputs, labels):
        e = np.exp(inputs - inputs.max(axis=1, keepdims=True))
        self.output = e / e.sum(axis=1, keepdims=True)
        chosen = inputs[np.arange(len(labels)), labels] - inputs.max(axis=1)
        return np.mean(np.log(e.sum(axis=1)) - chosen)

    def backward(self, dvalues, labels):
        self.dinputs = dvalues.copy()
        self.dinputs[np.arange(len(labels)), labels] -= 1
        self.dinputs *= self.count / len(labels)


class WithUpstream:
    """The same arguments, and an upstream gradient."""

    count = 1

    def forward(self, predicted, target):
        self.predicted = predicted
        return ((predicted - target) ** 2).sum(axis=1)

    def backward(self, dout, target):
        return 2 * self.count * dout[:, None] * (self.predicted - target)


LOSSES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "the mean by another method": (
        CrossEntropy, {"predicted": P, "target": ONE_HOT}, "what calculate returns",
    ),
    "gradients returned": (
        Squared, {"predicted": (4, 3), "target": P}, "what calculate returns",
    ),
    "a mean that fails": (
        Counting, {"predicted": (4, 3), "target": P}, "the mean of what forward returns",
    ),
    "no mean": (Summed, {"predicted": (4, 3), "target": P}, "the sum of what forward returns"),
    "a softmax in it": (
        SoftmaxCrossEntropy, {"inputs": (4, 3), "labels": LABELS}, "what forward returns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_goes_back_from_predictions_is_judged_by_its_number(name: str) -> None:
    cls, inputs, told = LOSSES[name]
    no_grad = {"target"} & inputs.keys()

    report = compare.check(cls(), inputs=inputs, no_grad=no_grad)

    assert report.agrees, str(report)
    assert any(told in note and "got the predictions" in note for note in report.notes)
    wrong = type("Wrong", (cls,), {"count": 4})
    bad = compare.check(wrong(), inputs=inputs, no_grad=no_grad)
    assert bad.verdict == "disagree"
    assert "replay.py" in bad.attachments


def test_a_backward_that_takes_an_upstream_gradient_still_gets_one() -> None:
    inputs = {"predicted": (4, 3), "target": P}

    report = compare.check(WithUpstream(), inputs=inputs, no_grad=["target"])

    assert report.agrees, str(report)
    assert not any("got the predictions" in note for note in report.notes)
    wrong = type("Wrong", (WithUpstream,), {"count": 1.01})
    assert compare.check(wrong(), inputs=inputs, no_grad=["target"]).verdict == "disagree"
