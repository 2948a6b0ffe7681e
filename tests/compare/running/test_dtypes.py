"""A float64 path hidden in a float32 run is a disagreement, however well the numbers agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compare
import manual


def test_a_layer_that_returns_float64_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, x: Any) -> Any:
        output, cache = original(self, x)
        return (np.multiply(output, np.float64(1)), cache)

    original = manual.Tanh.forward
    monkeypatch.setattr(manual.Tanh, "forward", forward)
    report = compare.run("iris", steps=1, dtype="float32")

    first = report.first_divergence
    assert report.verdict == "disagree"
    assert first is not None
    assert (first.layer, first.quantity, first.own_or_inherited) == ("1", "output", "own")
    assert "computes in float64 where torch computes in float32" in first.explanation


def test_a_backward_that_returns_float64_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(self: Any, grad_output: Any, cache: Any) -> Any:
        (grad, *rest), own = original(self, grad_output, cache)
        return (np.multiply(grad, np.float64(1)), *rest), own

    original = manual.Tanh.backward
    monkeypatch.setattr(manual.Tanh, "backward", backward)
    report = compare.run("iris", steps=1, dtype="float32")

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.layer == "1"
    assert compare.run("iris", steps=1).verdict == "agree"


@pytest.mark.parametrize("preset", ["digits", "maxout", "residual", "svm", "diabetes"])
def test_correct_networks_stay_in_float32(preset: str) -> None:
    assert compare.run(preset, steps=2, dtype="float32").verdict == "agree"
