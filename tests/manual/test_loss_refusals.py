"""What a loss refuses, and what its message says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from manual import losses
from manual.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    MultiMarginLoss,
    SmoothL1Loss,
)
from tests.manual.loss_checks import ALIKE, CLASSES, NUMBERS, manual_run


@pytest.mark.parametrize("name", ALIKE)
def test_another_reduction_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: reduction must be 'mean', .* received 'men'"):
        getattr(losses, name)(reduction="men")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_target_of_another_shape_is_refused_with_a_hint(name: str) -> None:
    x = np.full((4, 1), 0.5)
    with pytest.raises(ValueError, match=r"\(4, 1\) and target \(4,\).*reshape\(4, 1\).*\(4, 4\)"):
        getattr(losses, name)().forward(x, np.ones(4))
    with pytest.raises(ValueError, match=r"input \(4, 1\) and target \(4, 3\).*columns"):
        getattr(losses, name)().forward(x, np.ones((4, 3)))


@pytest.mark.parametrize("name", NUMBERS)
def test_a_target_that_would_promote_the_loss_is_refused(name: str) -> None:
    x = np.full(3, 0.5, np.float32)
    for dtype in (np.float64, np.int64, np.uint8, np.bool_):
        with pytest.raises(
            TypeError, match=rf"received dtype {np.dtype(dtype)}.*astype\('float32'"
        ):
            getattr(losses, name)().forward(x, np.ones(3, dtype))
    assert getattr(losses, name)().forward(x, np.ones(3, np.float16))[0].dtype == np.float32


@pytest.mark.parametrize("name", ALIKE)
def test_the_mean_of_an_empty_batch_is_refused(name: str) -> None:
    x, y = np.zeros((0, 3)), np.zeros(0, int) if name in CLASSES else np.zeros((0, 3))

    with pytest.raises(ValueError, match=rf"{name}: .*at least one element, received shape \(0, 3"):
        getattr(losses, name)(reduction="mean").forward(x, y)


@pytest.mark.parametrize("name", CLASSES)
def test_labels_that_are_no_class_indices_are_refused(name: str) -> None:
    loss, z = getattr(losses, name)(), np.zeros((2, 3))
    for bad, error, message in [
        ([0, 3], ValueError, "from 0 to 2.*received 3 in row 1"),
        ([-1, 0], ValueError, "from 0 to 2.*received -1 in row 0"),
        ([0.0, 1.0], TypeError, "integer dtype, received float64"),
        ([True, False], TypeError, "integer dtype, received bool"),
        ([[0], [1]], ValueError, r"target \(2, 1\). Drop the target's second axis"),
        ([[0, 0, 1], [1, 0, 0]], ValueError, r"target \(2, 3\). For one-hot rows pass .*argmax"),
        ([0, 1, 2], ValueError, r"input \(2, 3\) and target \(3,\). Both .* same N"),
    ]:
        with pytest.raises(error, match=f"{name}: .*{message}"):
            loss.forward(z, np.array(bad))
    if name == "MulticlassHingeLoss":
        with pytest.raises(ValueError, match=r"input \(3,\)"):
            loss.forward(np.zeros(3), np.array(0))


@pytest.mark.parametrize("name", CLASSES)
def test_labels_of_any_integer_dtype_count_alike(name: str) -> None:
    z, y = np.random.default_rng(0).normal(size=(4, 3)), np.array([2, 0, 1, 1])
    value, grad = manual_run(getattr(losses, name)(), z, y, 1.0)
    for dtype in (np.uint8, np.int32):
        again = manual_run(getattr(losses, name)(), z, y.astype(dtype), 1.0)

        assert again[0] == value
        assert np.array_equal(again[1], grad)


@pytest.mark.parametrize("name", ["NLLLoss", "CrossEntropyLoss", "MultiMarginLoss"])
def test_class_weights_of_another_length_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: weight .* shape \(3,\), received shape \(2,\)"):
        getattr(losses, name)(weight=[1, 2]).forward(np.zeros((2, 3)), np.array([0, 1]))


@pytest.mark.parametrize("key", ["weight", "pos_weight"])
def test_element_weights_that_do_not_broadcast_are_refused(key: str) -> None:
    shapes: Any = [(2,), (4, 2, 3)]
    for shape in shapes:
        with pytest.raises(ValueError, match=rf"{key} must broadcast .*\(2, 3\), received shape"):
            BCEWithLogitsLoss(**{key: np.ones(shape).tolist()}).forward(
                np.zeros((2, 3)), np.zeros((2, 3))
            )


def test_probabilities_outside_0_and_1_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\], .* from -0.5 to 0.5. Put a Sigmoid"):
        BCELoss().forward(np.array([-0.5, 0.5]), np.ones(2))
    with pytest.raises(ValueError, match=r"BCEWithLogitsLoss"):
        BCELoss().forward(np.array([1.5, 0.5]), np.ones(2))


@pytest.mark.parametrize("name", ["NLLLoss", "CrossEntropyLoss"])
def test_a_mean_of_no_weight_is_refused_and_a_sum_is_zero(name: str) -> None:
    cls, z, y = getattr(losses, name), np.log(np.full((2, 2), 0.5)), np.array([-100, -100])
    for loss, labels in [(cls(), y), (cls(weight=[0, 1]), np.array([0, 0]))]:
        with pytest.raises(ValueError, match="every sample is ignored or has weight 0"):
            loss.forward(z, labels)
        check = torch.nn.functional.cross_entropy(
            torch.tensor(z), torch.tensor(labels),
            weight=None if loss.weight is None else torch.tensor(loss.weight),
        )  # fmt: skip
        assert check.isnan()
    value, grad = manual_run(cls(reduction="sum"), z, y, 1.0)

    assert value == 0
    assert not grad.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HuberLoss(delta=0.0), "HuberLoss: delta must be positive, received 0.0"),
        (lambda: HuberLoss(delta=float("nan")), "HuberLoss: delta must be positive"),
        (lambda: CrossEntropyLoss(label_smoothing=1.5), "label_smoothing .* received 1.5"),
        (lambda: SmoothL1Loss(beta=-1.0), "SmoothL1Loss: beta must be 0 or more, received -1.0"),
        (lambda: MultiMarginLoss(p=3), "MultiMarginLoss: p must be 1 or 2, received 3"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
