"""Where torch loses digits, its number is passed on, and everything else is judged as ever."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import compare
from compare.report.report import Report

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
