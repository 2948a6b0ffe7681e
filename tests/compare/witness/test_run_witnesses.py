"""When a run disagrees, witnesses that need no torch say whose gradient is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compare
import manual
from compare.report.rendering.verdict import verdict_dict
from compare.witness.lockstep import Pair, hear


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("plant", ["2.weight.grad*=1.01", "1.grad_input*=-1", "loss.grad_input*=2"])
def test_two_witnesses_side_with_torch_against_a_planted_gradient(plant: str, dtype: str) -> None:
    report = compare.run("digits", steps=1, dtype=dtype, plant=plant)

    first = report.first_divergence
    assert first is not None
    assert first.witnesses is not None
    assert first.witnesses.side == "torch"
    assert first.witnesses.text.startswith("Two independent witnesses: directional derivatives")
    assert first.witnesses.text in str(report)
    assert verdict_dict(report)["first_divergence"]["witnesses"]["side"] == "torch"


@pytest.mark.parametrize("plant", ["2.output*=1.01", "2.weight*=1.01"])
def test_no_witness_is_heard_where_the_forward_pass_or_the_update_is_wrong(plant: str) -> None:
    first = compare.run("digits", steps=1, plant=plant).first_divergence

    assert first is not None
    assert first.witnesses is None


def test_they_side_with_the_hand_written_gradient_against_a_wrong_torch(monkeypatch) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(torch.tanh(x))
            return torch.tanh(x)

        @staticmethod
        def backward(ctx, grad):
            (y,) = ctx.saved_tensors
            return 1.01 * grad * (1 - y * y)

    monkeypatch.setattr(torch.nn.Tanh, "forward", lambda self, x: Wrong.apply(x))
    report = compare.run("iris", steps=1)

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.witnesses is not None
    assert report.first_divergence.witnesses.side == "manual"
    assert "own mistake" not in str(report)
    told = "agrees in its forward pass; of its grad_input, on torch's own inputs, the hand-written "
    assert told + "one is the derivative and torch's is not" in str(report)


def pair(manual_factor: float, torch_factor: float) -> Pair:
    layer = manual.Tanh()

    def backward(factor: float):
        return lambda dout, cache: {"x": factor * layer.backward(dout, cache)[0][0]}

    x = np.random.default_rng(0).standard_normal((4, 3))
    return Pair(layer.forward, backward(manual_factor), backward(torch_factor), {"x": x})


@pytest.mark.parametrize(
    ("factors", "side"),
    [((1, 1), "both"), ((1, 2), "manual"), ((2, 1), "torch"), ((2, 3), "neither")],
)
def test_the_side_follows_from_what_is_planted(factors: tuple[float, float], side: str) -> None:
    hearing = hear(pair(*factors), "float64")

    assert hearing is not None
    assert hearing.side == side


def test_at_a_kink_nobody_is_heard() -> None:
    layer = manual.ReLU()

    def backward(dout, cache):
        return {"x": layer.backward(dout, cache)[0][0]}

    assert hear(Pair(layer.forward, backward, backward, {"x": np.zeros((2, 3))}), "float64") is None
