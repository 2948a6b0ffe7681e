"""An object that has seen another batch: a gradient must be that of the batch that it sees now."""

from __future__ import annotations

import numpy as np
import pytest

import compare


class Right:
    def __init__(self) -> None:
        self.W = np.array([[0.3, -0.2], [0.5, 0.7], [0.1, 0.9]])

    def forward(self, x):
        self.x, self.y = x, x @ self.W
        return np.tanh(self.y)

    def backward(self, dy):
        d = dy * (1 - np.tanh(self.y) ** 2)
        self.dW = self.x.T @ d
        return d @ self.W.T


class KeepsTheFirstSlope(Right):
    slope: np.ndarray | None = None

    def backward(self, dy):
        if self.slope is None or self.slope.shape != dy.shape:
            self.slope = 1 - np.tanh(self.y) ** 2
        d = dy * self.slope
        self.dW = self.x.T @ d
        return d @ self.W.T


class Adds(Right):
    def backward(self, dy):
        before = getattr(self, "dW", 0.0)
        dx = super().backward(dy)
        self.dW = before + self.dW
        return dx


class Draws(Right):
    """A dropout whose forward is another one every time: it promises nothing of the next batch."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        self.kept = 2.0 * (self.rng.random(x.shape) < 0.5)
        return super().forward(x * self.kept)

    def backward(self, dy):
        return super().backward(dy) * self.kept


class Descends:
    """What an update with momentum subtracts is the gradient in the first step alone."""

    factor, velocity = 1.0, 0.0

    def __init__(self) -> None:
        self.W = np.ones((3, 2))

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dy, learning_rate):
        dx = dy @ self.W.T
        step = learning_rate * self.factor * self.x.T @ dy
        self.velocity = 0.9 * self.velocity - step
        self.W = self.W + self.velocity
        return dx


class DescendsTwice(Descends):
    factor = 2.0


def check(layer, **options):
    return compare.check(layer, inputs={"x": (4, 3)}, shrink=False, **options)


def test_a_slope_kept_from_the_first_batch_is_caught() -> None:
    report = check(KeepsTheFirstSlope())

    bad = report.differences.query("verdict == 'disagree'")
    assert set(bad["quantity"]) == {"repeated:x", "repeated:W"}
    assert "once the object has seen another batch" in report.first_divergence.explanation


@pytest.mark.parametrize("layer", [Right, Adds, Draws, Descends])
def test_what_keeps_to_its_own_batch_is_no_broken_promise(layer: type) -> None:
    quantities = check(layer()).differences.query("verdict == 'disagree'")["quantity"]

    assert not [name for name in quantities if name.startswith("repeated")]
    assert layer is Draws or check(layer()).agrees


def test_gradients_that_add_up_over_batches_are_told() -> None:
    assert any("adds to layer.dW instead of replacing it" in note for note in check(Adds()).notes)
    assert check(Adds(), purity="fail").verdict == "disagree"


def test_of_an_update_with_momentum_the_first_step_is_judged() -> None:
    bad = check(DescendsTwice()).differences.query("verdict == 'disagree'")

    assert set(bad["quantity"]) == {"grad:W"}
