"""The advice of an incomplete verdict fits what makes it incomplete."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import compare
from compare.description.config import Config
from compare.report.report import Report

DATA = {"dataset": "random_classification", "n": 12, "d_in": 4, "classes": 3}
LAST = {"type": "Linear", "in_features": 4, "out_features": 3}


def run(layers: list[dict[str, Any]], dtype: str, **compared: Any) -> Report:
    tables: dict[str, Any] = {
        "data": DATA,
        "layers": [*layers, LAST],
        "train": {"steps": 2, "batch_size": 12, "dtype": dtype},
        "compare": {"drift": False, **compared},
    }
    return compare.run(Config.model_validate(tables))


def test_a_deep_saturated_network_is_told_to_be_judged_in_float64() -> None:
    deep = [{"type": "Linear", "in_features": 4, "out_features": 4}, {"type": "Sigmoid"}] * 8

    report = run(deep, "float32")

    assert report.verdict == "incomplete"
    assert "judge in float64, or use fewer layers" in report.reason
    assert run(deep, "float64").verdict == "agree"


def test_a_bias_before_a_batch_norm_is_told_to_be_left_out() -> None:
    normed = [{"type": "Linear", "in_features": 4, "out_features": 4},
              {"type": "BatchNorm1d", "num_features": 4}]  # fmt: skip

    report = run(normed, "float64")

    assert report.verdict == "incomplete"
    assert "A bias before a batch norm has no effect: set bias = false there." in report.reason
    assert run([{**normed[0], "bias": False}, normed[1]], "float64").verdict == "agree"


def test_what_is_exactly_zero_is_told_to_be_named() -> None:
    dropped = [{"type": "Linear", "in_features": 4, "out_features": 4},
               {"type": "Dropout", "p": 1.0}]  # fmt: skip

    report = run(dropped, "float64")

    assert report.verdict == "incomplete"
    assert "If they are zero by construction, name them" in report.reason
    assert "float64" not in report.reason


def test_a_tensor_that_is_zero_is_named() -> None:
    centred = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

    report = compare.mirror(centred, torch.randn(6, 3))

    assert "1 more is zero within its tolerance (0.grad:bias), " in report.reason
