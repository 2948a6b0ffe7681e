"""Objects whose backward updates their parameters, at a learning rate that they keep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compare

INPUTS = {"x": (4, 3)}


class Dense:
    """Takes the gradients off its own parameters; their factor is 1 if they are right."""

    factor = 1.0

    def __init__(self, width: int = 3, out: int = 2, lr: float = 0.1) -> None:
        rng = np.random.default_rng(0)
        self.W, self.b, self.lr = rng.standard_normal((width, out)), np.zeros(out), lr

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def step(self, dy):
        return self.factor * self.x.T @ dy

    def backward(self, dy):
        dx = dy @ self.W.T
        self.W -= self.lr * self.step(dy)
        self.b = self.b - self.lr * dy.sum(axis=0)
        return dx


class Alpha(Dense):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = vars(self).pop("lr")

    def backward(self, dy):
        dx = dy @ self.W.T
        self.W -= self.alpha * self.step(dy)
        self.b -= self.alpha * dy.sum(axis=0)
        return dx


class Momentum(Dense):
    def __init__(self) -> None:
        super().__init__()
        self.velocity, self.calls = np.zeros((3, 2)), np.zeros(2)

    def step(self, dy):
        self.calls += 1
        self.velocity = 0.9 * self.velocity + super().step(dy)
        return self.velocity


class Adam(Dense):
    def step(self, dy):
        dW = super().step(dy)
        return dW / (np.sqrt(dW**2) + 1e-8)


class Hidden(Dense):
    """Its learning rate is a number in its code."""

    def backward(self, dy):
        dx = dy @ self.W.T
        self.W -= 0.01 * self.step(dy)
        return self.factor * dx


class Kept(Adam):
    def step(self, dy):
        self.dW = Dense.step(self, dy)
        return super().step(dy)


class Apart(Dense):
    """Has a learning rate, and another method that uses it."""

    def backward(self, dy):
        self.dW, self.db = self.step(dy), dy.sum(axis=0)
        return dy @ self.W.T

    def update(self):
        self.W -= self.lr * self.dW


class TooLate(Dense):
    def backward(self, dy):
        super().backward(dy)
        return dy @ self.W.T


class Scaled:
    """Divides by what is left, as a dropout does: its rate is none of learning."""

    def __init__(self) -> None:
        self.rate = 0.25

    def forward(self, x):
        return np.tanh(x / (1 - self.rate))

    def forward_and_keep(self, x):
        self.y = self.forward(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2) / (1 - self.rate)


class Network:
    """Two layers that update themselves; what it returns may be nothing."""

    def __init__(self, factor: float, returns: bool = True) -> None:
        self.layers: list[Any] = [Dense(3, 4), Scaled(), Dense(4, 2)]
        self.layers[0].factor, self.returns = factor, returns

    def forward(self, x):
        first, middle, last = self.layers
        return last.forward(middle.forward_and_keep(first.forward(x)))

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy if self.returns else None


def with_factor(layer: Dense, factor: float) -> Dense:
    layer.factor = factor
    return layer


def blamed(report: compare.Report) -> set[str]:
    table = report.differences
    return set(table.quantity[table.verdict == "disagree"])


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("kind", [Dense, Alpha, Momentum, Apart, Kept])
@pytest.mark.parametrize("named", [False, True])
def test_what_an_object_takes_off_its_parameters_is_checked(kind: type, named: bool) -> None:
    inputs = INPUTS | ({"W": (3, 2), "b": (2,)} if named else {})
    right = compare.check(kind(), inputs=inputs, shrink=False)
    wrong = compare.check(with_factor(kind(), 1.1), inputs=inputs, shrink=False)

    assert right.agrees, str(right)
    assert {"grad:W", "grad:b"} <= set(right.differences.quantity)
    assert wrong.verdict == "disagree"
    assert blamed(wrong) == {"grad:W"}


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("returns", [True, False])
def test_a_network_of_such_layers_is_checked_as_a_whole(returns: bool) -> None:
    no_grad = [] if returns else ["x"]
    right, wrong = (
        compare.check(Network(factor, returns), inputs=INPUTS, no_grad=no_grad, shrink=False)
        for factor in (1.0, 1.1)
    )

    assert right.agrees, str(right)
    assert wrong.verdict == "disagree"
    assert blamed(wrong) == {"grad:layers[0].W"}


@pytest.mark.usefixtures("verdict_alone")
def test_a_gradient_by_parameters_that_were_updated_already_is_wrong() -> None:
    assert compare.check(TooLate(), inputs=INPUTS, shrink=False).verdict == "disagree"


@pytest.mark.usefixtures("verdict_alone")
def test_an_update_by_more_than_a_gradient_is_no_agreement_and_no_mistake() -> None:
    report = compare.check(Adam(), inputs=INPUTS, shrink=False)
    left = compare.check(Adam(), inputs=INPUTS, no_grad=["W"], shrink=False)

    assert report.verdict == "incomplete"
    assert "Keep the gradient itself in dW" in str(report)
    assert left.agrees, str(left)


def test_the_replay_updates_at_the_same_rate(tmp_path: Path) -> None:
    report = compare.check(with_factor(Dense(), 1.1), inputs=INPUTS)
    script = report.save(tmp_path / "report") / "replay.py"
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert "layer.lr = 2.0**40" in script.read_text()
    assert "grad:W is wrong." in ran.stdout, ran.stderr


@pytest.mark.usefixtures("verdict_alone")
def test_an_update_at_a_rate_that_cannot_be_seen_is_asked_about() -> None:
    report = compare.check(Hidden(), inputs=INPUTS, shrink=False)
    wrong = compare.check(with_factor(Hidden(), 1.1), inputs=INPUTS, shrink=False)

    assert report.verdict == "incomplete"
    assert "Keep it in self.lr" in report.reason
    assert "grad:x" in blamed(wrong)
