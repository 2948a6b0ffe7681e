"""Every loss: against torch with all options, its own forward, and planted mistakes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from manual import losses
from manual.losses import BCEWithLogitsLoss, CrossEntropyLoss
from manual.registry import LOSSES
from tests.manual.loss_checks import (
    ALIKE,
    CLASSES,
    Case,
    Wrong,
    case,
    cases,
    check_loss,
    weights_of,
)


def plain(name: str, seed: int = 5, dtype: Any = np.float64, **args: Any) -> Case:
    """Return a case of 4 samples and 3 columns, away from kinks."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 3)) * 0.75
    y: Any = [2, 0, 1, 0] if name in CLASSES else rng.normal(size=(4, 3))
    if name == "BCELoss":
        x = 1 / (1 + np.exp(-x))
    if name.startswith("BCE"):
        y = rng.integers(0, 2, (4, 3))
    return case(name, np.float32(x), y, dtype, **args)


@pytest.mark.parametrize("name", ALIKE)
def test_a_loss_agrees_with_torch_under_all_its_options(name: str) -> None:
    @given(c=cases(name))
    @settings(derandomize=True, deadline=None, max_examples=60)
    def run(c: Case) -> None:
        check_loss(c, upstream=-1.3125)

    run()


def test_both_sides_offer_the_same_losses() -> None:
    layers = {"AdaptiveLogSoftmaxWithLoss"}  # of two outputs

    assert set(losses.__all__) - {"Loss"} - layers == set(LOSSES)


# ── the contract ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backward_is_linear_in_its_upstream_gradient(name: str, dtype: Any) -> None:
    weights: Any = {key: [0.5, 1.5, 2.0] for key in weights_of(name)}
    c = plain(name, dtype=dtype, **weights)
    up = dtype(np.random.default_rng(3).normal())
    value, cache = c.manual().forward(c.input, c.target)
    once, twice, none, plain_one = (
        c.manual().backward(g, cache)[0][0] for g in (up, 2 * up, dtype(0), 1.0)
    )

    assert np.array_equal(2 * once, twice)
    assert np.any(once)
    assert not np.any(none)
    assert np.shape(value) == ()
    assert {a.dtype for a in (value, once, plain_one)} == {np.dtype(dtype)}


def test_weights_are_not_learnt_and_survive_a_copy() -> None:
    loss = CrossEntropyLoss(weight=[1.0, 2.0])

    assert loss.params == {}
    assert loss.with_params({}).weight is loss.weight  # type: ignore[attr-defined]


def test_representations_show_torchs_arguments() -> None:
    shown = repr(CrossEntropyLoss(weight=[1, 2], label_smoothing=0.1))

    assert shown == (
        "CrossEntropyLoss(weight=[1.0, 2.0], ignore_index=-100, reduction='mean', "
        "label_smoothing=0.1)"
    )
    assert repr(BCEWithLogitsLoss(pos_weight=[3])) == (
        "BCEWithLogitsLoss(pos_weight=[3.0], reduction='mean')"
    )


# ── another number system ────────────────────────────────────────────────────────────────────────
class Digits(Decimal):
    """A Decimal whose sums and products stay Digits, with the methods NumPy's ufuncs look for."""

    def exp(self, context: Any = None) -> Digits:
        return Digits(super().exp())

    def log(self) -> Digits:
        return Digits(self.ln())

    def log1p(self) -> Digits:
        return Digits((1 + Decimal(self)).ln())


def _arithmetic(name: str) -> Any:
    def operate(self: Digits, other: Any = 0) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        number = other if isinstance(other, Decimal) else Decimal(float(other))
        return Digits(getattr(Decimal, name)(Decimal(self), number))

    return operate


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv"):
    setattr(Digits, f"__{_name}__", _arithmetic(f"__{_name}__"))
for _name in ("neg", "abs"):
    setattr(
        Digits, f"__{_name}__", lambda self, n=f"__{_name}__": Digits(getattr(Decimal, n)(self))
    )


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
def one_hot(y: np.ndarray) -> np.ndarray:
    return np.eye(3)[y]


W = [0.5, 1.5, 2.0]
LABELS = [2, 0, 1, 0]
SHARE = np.take(W, LABELS).sum() / len(LABELS)  # Σ w / N
MISTAKES: dict[str, tuple[str, dict, dict]] = {
    "MSE: 1/N dropped": ("MSELoss", {}, {"grad": lambda g, x, y: g * x.size}),
    "MSE: divides by samples": ("MSELoss", {}, {"grad": lambda g, x, y: g * x.shape[1]}),
    "MSE: 2 forgotten": ("MSELoss", {}, {"grad": lambda g, x, y: g / 2}),
    "MSE: y - input": ("MSELoss", {}, {"grad": lambda g, x, y: -g}),
    "squared error: factor 1 for 0.5": (
        "SquaredErrorLoss", {"factor": 0.5}, {"grad": lambda g, x, y: 2 * g},
    ),
    "squared error: mean over elements": (
        "SquaredErrorLoss", {"reduction": "mean"}, {"value": lambda v, x, y: v / x.shape[1]},
    ),
    "L1: slope d for sign(d)": ("L1Loss", {}, {"grad": lambda g, x, y: g * np.abs(x - y)}),
    "Huber: never linear": (
        "HuberLoss", {"delta": 0.5}, {"grad": lambda g, x, y: 0.8125 * (x - y) / x.size},
    ),
    "Huber: ½δ² forgotten": (
        "HuberLoss", {"delta": 0.5},
        {"value": lambda v, x, y: v + 0.125 * np.mean(abs(x - y) > 0.5)},
    ),
    "BCE: σ′ cancelled without a sigmoid": (
        "BCELoss", {}, {"grad": lambda g, x, y: g * x * (1 - x)},
    ),
    "BCE with logits: positive weight only in the value": (
        "BCEWithLogitsLoss", {"pos_weight": W},
        {"grad": lambda g, x, y: 0.8125 * (1 / (1 + np.exp(-x)) - y) / x.size},
    ),
    "NLL: weight left out of the denominator": (
        "NLLLoss", {"weight": W},
        {"value": lambda v, x, y: v * SHARE, "grad": lambda g, x, y: g * SHARE},
    ),
    "cross-entropy: 1/N dropped": ("CrossEntropyLoss", {}, {"grad": lambda g, x, y: g * len(y)}),
    "cross-entropy: softmax without -1": (
        "CrossEntropyLoss", {}, {"grad": lambda g, x, y: g + 0.8125 * one_hot(y) / len(y)},
    ),
    "cross-entropy: weight left out of the denominator": (
        "CrossEntropyLoss", {"weight": W},
        {"value": lambda v, x, y: v * SHARE, "grad": lambda g, x, y: g * SHARE},
    ),
    "cross-entropy: smoothing left out of the gradient": (
        "CrossEntropyLoss", {"label_smoothing": 0.1},
        {"grad": lambda g, x, y: g - 0.8125 * 0.1 * (one_hot(y) - 1 / 3) / len(y)},
    ),
    "multi-margin: 1/C dropped": (
        "MultiMarginLoss", {}, {"value": lambda v, x, y: 3 * v, "grad": lambda g, x, y: 3 * g},
    ),
    "hinge: true class forgotten": (
        "MulticlassHingeLoss", {}, {"grad": lambda g, x, y: g * (1 - one_hot(y))},
    ),
    "hinge: 1/C as in multi-margin": ("MulticlassHingeLoss", {}, {"grad": lambda g, x, y: g / 3}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_comparison_with_torch_rejects_a_planted_mistake(mistake: str, dtype: Any) -> None:
    name, args, wrong = MISTAKES[mistake]
    c = plain(name, seed=9, dtype=dtype, **args)
    check_loss(c)

    with pytest.raises(AssertionError, match="budget"):
        check_loss(c, Wrong(c.manual(), **wrong))


def test_the_comparison_with_torch_rejects_an_upstream_gradient_that_is_ignored() -> None:
    c = plain("CrossEntropyLoss")

    with pytest.raises(AssertionError, match="budget"):
        check_loss(c, Wrong(c.manual(), grad=lambda g, x, y: g / 0.8125))


def test_the_comparison_with_torch_rejects_float64_hidden_in_float32() -> None:
    c = plain("CrossEntropyLoss", dtype=np.float32)

    class Promoted(CrossEntropyLoss):
        def backward(self, grad_output, cache):
            (grad, of_target), params = super().backward(grad_output, cache)
            return (grad * np.ones(3), of_target), params

    with pytest.raises(AssertionError, match="dtype float64"):
        check_loss(c, Promoted())


# ── shapes, probabilities, targets that are inputs ───────────────────────────────────────────────
SHAPES = [(3,), (4, 3), (2, 3, 5), (2, 3, 4, 2)]


def of_shape(name: str, shape: tuple, dtype: Any, soft: bool = False, **args: Any) -> Case:
    rng = np.random.default_rng(sum(shape))
    classes = shape[1] if len(shape) > 1 else shape[0]
    y: Any = rng.integers(0, classes, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if soft:
        y = rng.random(shape).astype(dtype)
    return Case(name, args, rng.normal(size=shape).astype(dtype), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_class_losses_take_one_sample_and_any_number_of_axes(shape, reduction, dtype) -> None:
    weight = [0.5, 2.0, 1.25]
    for name, args in [
        ("NLLLoss", {}), ("NLLLoss", {"weight": weight}), ("CrossEntropyLoss", {}),
        ("CrossEntropyLoss", {"weight": weight, "label_smoothing": 0.25}),
        ("CrossEntropyLoss", {"weight": weight, "ignore_index": 1}),
    ]:  # fmt: skip
        c = of_shape(name, shape, dtype, reduction=reduction, **args)
        if "ignore_index" in args and (np.asarray(c.target) == 1).all():
            continue  # nothing to divide by
        check_loss(c)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_takes_probabilities_and_has_their_gradient(shape, reduction, dtype) -> None:
    for args in ({}, {"weight": [0.5, 2.0, 1.25]}, {"label_smoothing": 0.25},
                 {"weight": [0.5, 2.0, 1.25], "label_smoothing": 0.25}):  # fmt: skip
        check_loss(
            of_shape("CrossEntropyLoss", shape, dtype, soft=True, reduction=reduction, **args)
        )


def test_an_ignored_label_among_the_classes_has_no_meaning_for_probabilities() -> None:
    c = of_shape("CrossEntropyLoss", (4, 3), np.float64, soft=True, ignore_index=1)

    with pytest.raises(ValueError, match="ignore_index = 1 names a label"):
        c.manual().forward(c.input, c.target)


@pytest.mark.parametrize("name", ["MSELoss", "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss"])
def test_the_comparison_with_torch_rejects_a_wrong_gradient_of_the_target(name: str) -> None:
    c = plain(name) if name != "CrossEntropyLoss" else of_shape(name, (4, 3), np.float64, soft=True)

    class Swapped(Wrong):
        def backward(self, grad_output, cache):
            (grad, of_target), params = super().backward(grad_output, cache)
            return (grad, of_target * (1 + 1e-9)), params

    with pytest.raises(AssertionError, match="target's grad"):
        check_loss(c, Swapped(c.manual()))


def test_the_comparison_with_torch_rejects_classes_on_the_wrong_axis() -> None:
    c = of_shape("CrossEntropyLoss", (3, 3, 3), np.float64)
    swapped = lambda g, x, y: np.swapaxes(g, 1, 2)  # noqa: E731

    with pytest.raises(AssertionError, match="grad"):
        check_loss(c, Wrong(c.manual(), grad=swapped))


def test_a_saturated_probability_gives_the_targets_gradient_that_torch_gives() -> None:
    c = case("BCELoss", [0.0, 1.0, 0.25], [0.5, 0.5, 0.5], reduction="sum")

    check_loss(c)
