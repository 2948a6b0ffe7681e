"""The course's formulas and numbers for losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from manual.activations import Sigmoid
from manual.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    MulticlassHingeLoss,
    NLLLoss,
    SquaredErrorLoss,
)
from manual.softmax import LogSoftmax, Softmax
from tests.manual.loss_checks import manual_run


def through(layer: Any, loss: Any, z: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray, Any]:
    """Return the loss of layer(z), the layer's output, and the gradient of z."""
    a, cache = layer.forward(z)
    value, grad = manual_run(loss, a, y, 1.0)
    return value, a, layer.backward(grad, cache)[0][0]


def test_sigmoid_with_binary_cross_entropy_collapses_to_prediction_minus_target() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(6, 1)), rng.integers(0, 2, (6, 1)).astype(float)
    value, a, grad = through(Sigmoid(), BCELoss(reduction="sum"), z, y)
    fused, fused_grad = manual_run(BCEWithLogitsLoss(reduction="sum"), z, y, 1.0)

    np.testing.assert_allclose(grad, a - y, rtol=1e-13)
    np.testing.assert_allclose(fused_grad, a - y, rtol=1e-13)
    np.testing.assert_allclose(value, fused, rtol=1e-13)


def test_softmax_with_cross_entropy_collapses_to_s_minus_one_hot() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(5, 3)), rng.integers(0, 3, 5)
    s = Softmax(dim=1).forward(z)[0]
    value, grad = manual_run(CrossEntropyLoss(), z, y, 1.0)
    steps, log_s, steps_grad = through(LogSoftmax(dim=1), NLLLoss(), z, y)

    np.testing.assert_allclose(grad, (s - np.eye(3)[y]) / 5, rtol=1e-13)
    np.testing.assert_allclose(steps_grad, grad, rtol=1e-13)
    np.testing.assert_allclose([value, -log_s[np.arange(5), y].mean()], steps, rtol=1e-13)


def test_half_the_squared_error_has_the_residual_as_its_gradient() -> None:
    output, target = np.array([[0.9, 0.2]]), np.array([[4.0, 5.0]])
    value, grad = manual_run(SquaredErrorLoss(factor=0.5), output, target, 1.0)

    assert value == pytest.approx(0.5 * (3.1**2 + 4.8**2))
    np.testing.assert_array_equal(grad, output - target)


def test_nielsens_quadratic_cost_is_half_the_mean_over_samples() -> None:
    rng = np.random.default_rng(0)
    a, y = rng.normal(size=(2, 4, 3))
    value, grad = manual_run(SquaredErrorLoss(factor=0.5, reduction="mean"), a, y, 1.0)

    assert value == pytest.approx(
        sum(np.linalg.norm(t - o) ** 2 for t, o in zip(y, a, strict=True)) / 8
    )
    np.testing.assert_allclose(grad, (a - y) / 4)


def test_the_svm_loss_of_the_three_image_example() -> None:
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    loss, y = MulticlassHingeLoss(reduction="sum"), np.array([0, 1, 2])
    each = [loss.forward(scores[[i]], y[[i]])[0] for i in range(3)]

    np.testing.assert_allclose(each, [2.9, 0, 12.9], atol=1e-12)
    assert MulticlassHingeLoss().forward(scores, y)[0] == pytest.approx(15.8 / 3)


def test_the_svm_loss_is_torchs_multi_margin_loss_times_the_classes() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    value, grad = manual_run(MulticlassHingeLoss(margin=0.7), z, y, 1.0)
    scores = torch.tensor(z, requires_grad=True)
    theirs = 5 * torch.nn.MultiMarginLoss(margin=0.7)(scores, torch.tensor(y))
    (expected,) = torch.autograd.grad(theirs, scores)

    np.testing.assert_allclose(value, theirs.item(), rtol=1e-14)
    np.testing.assert_allclose(grad, expected.numpy(), rtol=1e-14)
