"""Where torch loses digits, its number is passed on, and everything else is judged as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
from compare.report.report import Report
from compare.running.adopted import Adopted
from manual.activations import Hardsigmoid
from manual.gates.arithmetic import MultiplyGate
from manual.norm import BatchNorm1d

LOST = "Reference inaccurate: torch's float64 loses digits in '1' (Hardsigmoid)"


def linear(factor: float) -> dict[str, tuple[Any, Any]]:
    """The first layer in NumPy; its gradients are right if the factor is 1."""

    def forward(x: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
        return x @ weight.T + bias, (x, weight)

    def backward(dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        x, weight = cache
        return dy @ weight, factor * (dy.T @ x), dy.sum(0)

    return {"0": (forward, backward)}


def mirrored(**options: Any) -> Report:
    """Torch's float64 gradient of hardsigmoid multiplies by float32's 1/6."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Hardsigmoid(), nn.Linear(6, 3))
        x = torch.randn(5, 4)
    return compare.mirror(model, (x,), **options)


def test_what_follows_from_lost_digits_is_judged_with_torchs_number_passed_on() -> None:
    report = mirrored()
    rows = report.differences
    lost = rows.query("verdict == 'inaccurate'")

    assert report.verdict == "agree", str(report)
    assert LOST in report.reason
    assert list(lost["layer"] + "." + lost["quantity"]) == ["0.grad_output"]
    assert lost["budget_used"].isna().all()
    assert (lost["max_rel_diff"] > 1e-9).all()
    assert (rows.drop(lost.index)["budget_used"] <= 1).all()
    assert "not judged 1" in str(report)


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-9])
def test_a_mistake_smaller_than_what_torch_lost_is_still_found(factor: float) -> None:
    report = mirrored(twin=linear(factor))

    assert report.verdict == ("agree" if factor == 1 else "disagree")
    if factor != 1:
        assert report.first_divergence is not None
        assert report.first_divergence.layer == "0"
        assert report.first_divergence.quantity == "grad:weight"
        assert report.first_divergence.own_or_inherited == "own"


def planted(monkeypatch: pytest.MonkeyPatch, layer: type, change: Callable[[Any], Any]) -> None:
    """Change what a layer's backward returns for its last input."""
    backward = layer.backward  # type: ignore[attr-defined]

    def wrong(self: Any, grad_output: Any, cache: Any) -> tuple[tuple[Any, ...], Any]:
        grads, own = backward(self, grad_output, cache)
        return (*grads[:-1], change(grads[-1])), own

    monkeypatch.setattr(layer, "backward", wrong)


def where(condition: Callable[[Any], Any], factor: float) -> Callable[[Any], Any]:
    return lambda grad: np.where(condition(np.abs(getattr(grad, "v", grad))), factor * grad, grad)


@pytest.mark.parametrize(
    "change",
    [
        lambda grad: grad * (1 + 1e-8),  # less than torch is off
        where(lambda size: size == size.max(), 1 + 1e-8),  # in one element
        where(lambda size: size == size[size > 0].min(), 0.0),
    ],
)
def test_a_mistake_in_the_piece_where_torch_lost_digits_is_found(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]
) -> None:
    planted(monkeypatch, Hardsigmoid, change)

    assert mirrored().verdict == "disagree"


class Product(nn.Module):
    """A value that two read: one of them loses digits on its way back."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.gate = nn.Linear(4, 6), nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return self.gate(y) * y


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-9])
def test_a_mistake_that_is_added_to_lost_digits_is_none_of_them(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    planted(monkeypatch, MultiplyGate, lambda grad: factor * grad)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        report = compare.mirror(Product(), (torch.randn(5, 4),))

    assert report.verdict == ("agree" if factor == 1 else "disagree")
    assert report.differences["verdict"].eq("inaccurate").sum() == (factor == 1)


def test_buffers_are_passed_on_as_well() -> None:
    own = BatchNorm1d(2).with_buffers(BatchNorm1d(2).buffers)
    layer = Adopted(own, {"buffer:running_var": np.full(2, 7.0)})
    _, cache = layer.forward(np.arange(6.0).reshape(3, 2))

    assert layer.next_buffers(cache)["running_var"].tolist() == [7, 7]
    assert layer.next_buffers(cache)["running_mean"].tolist() != [7, 7]
