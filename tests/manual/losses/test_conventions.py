"""Losses of pairs, triples, counts, distributions and lists of labels, where torch decides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from manual import losses
from torch_ref import as_torch
from torch_ref.classes import module_class

NEW = (
    "CosineEmbeddingLoss", "GaussianNLLLoss", "HingeEmbeddingLoss", "KLDivLoss",
    "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "PoissonNLLLoss",
    "SoftMarginLoss", "TripletMarginLoss",
)  # fmt: skip
Call = tuple[str, dict[str, Any], tuple[Any, ...]]
SIGNS = np.array([1, -1, -1])
HALVES = np.array([[0.5, 1.0, -0.5], [1.0, 0.0, 2.0]])
TIES: list[Call] = [  # where a slope is a choice
    ("SmoothL1Loss", {"beta": 0.0}, (HALVES, np.array([[0.5, 0, 0], [1.0, 0, 0]]))),
    ("SmoothL1Loss", {"beta": 0.5}, (HALVES, 0 * HALVES)),
    ("MarginRankingLoss", {}, (np.zeros(3), np.zeros(3), SIGNS.astype(float))),
    ("MarginRankingLoss", {"margin": 0.5}, (np.array([0.5, 1, 2]), np.zeros(3), SIGNS)),
    ("HingeEmbeddingLoss", {}, (np.array([1.0, 1.0, 2.0, 0.5]), np.array([1, -1, -1, 0]))),
    ("CosineEmbeddingLoss", {}, (HALVES[:, :2], np.array([[-2.0, 1], [0, 1]]), np.array([-1, -1]))),
    ("CosineEmbeddingLoss", {}, (np.zeros((2, 2)), np.eye(2), np.array([1, -1]))),
    ("TripletMarginLoss", {"eps": 0.0, "p": 1.0}, ([[0.0, 0]], [[1.0, 0]], [[2.0, 0]])),
    ("TripletMarginLoss", {"eps": 0.0}, ([[0.0, 0]], [[0.0, 0]], [[0.5, 0]])),
    ("TripletMarginLoss", {"eps": 0.0, "swap": True}, ([[0.0, 0]], [[2.0, 0]], [[1.0, 0]])),
    ("TripletMarginLoss", {"eps": 0.0, "p": math.inf}, ([[0.0, 0]], [[1.0, -1]], [[0.0, 1]])),
    ("TripletMarginLoss", {"eps": 0.0, "p": 0.0}, ([[0.0, 1]], [[1.0, 1]], [[0.0, 1]])),
    ("TripletMarginLoss", {"eps": 0.0, "p": 0.5}, ([[0.0, 1]], [[1.0, 1]], [[0.0, 2]])),
    ("MultiLabelMarginLoss", {}, (np.array([1.0, 0, 2]), np.array([0, -1, 1]))),
    ("MultiLabelMarginLoss", {}, (np.array([0.3, 0.2, 0.1]), np.array([0, 0, -1]))),
    ("MultiLabelMarginLoss", {}, (np.array([0.3, 0.2]), np.array([-1, 1]))),
    ("PoissonNLLLoss", {"full": True}, (np.zeros(2), np.array([1.0, 2.0]))),
    ("KLDivLoss", {}, (np.array([-1.0, -2]), np.array([0.5, -0.5]))),
    ("GaussianNLLLoss", {"eps": 0.5}, (np.ones(3), np.zeros(3), np.array([0.25, 0.5, 1]))),
]  # fmt: skip
SHAPES: list[Call] = [  # what torch stretches, and what it takes beyond batches
    ("SmoothL1Loss", {"beta": math.inf}, (HALVES, 0 * HALVES)),
    ("MarginRankingLoss", {"margin": 1.0}, (HALVES[:, :1], HALVES[:1], -HALVES)),
    ("HingeEmbeddingLoss", {}, (HALVES, SIGNS.astype(float))),
    ("SoftMarginLoss", {}, (HALVES, SIGNS)),
    ("SoftMarginLoss", {}, (np.array([40.0, -40.0]), np.array([1, 1]))),
    ("CosineEmbeddingLoss", {}, (HALVES[0], HALVES[1], np.array(-1))),
    ("CosineEmbeddingLoss", {}, (HALVES, HALVES[:1] - 1, np.array([1.0]))),
    ("TripletMarginLoss", {}, (HALVES[0], HALVES[1], HALVES[1] / 2)),
    ("TripletMarginLoss", {"swap": True}, (HALVES, HALVES[:1] - 1, HALVES / 2)),
    ("MultiLabelMarginLoss", {}, (np.array(0.5), np.array(0))),
    ("MultiMarginLoss", {}, (HALVES[0], np.array(1))),
    ("MultiMarginLoss", {"weight": [0.5, 2, 1]}, (HALVES[0], np.array([1]))),
    ("MultiLabelSoftMarginLoss", {"weight": [0.5, 2, 1]}, (HALVES[None], np.ones(3))),
    ("PoissonNLLLoss", {}, (HALVES, np.arange(3))),
    ("KLDivLoss", {"log_target": True}, (HALVES[:, :1], HALVES[:1])),
    ("GaussianNLLLoss", {}, (HALVES, HALVES[0], np.array([0.5, 2]))),
    ("GaussianNLLLoss", {"full": True}, (HALVES, np.arange(3), np.array([[0.5, 2, 1]]))),
]
CALLS = TIES + SHAPES
EVERY = pytest.mark.parametrize("call", CALLS, ids=[f"{c[0]} {c[1]}" for c in CALLS])


def tensors(inputs: tuple[Any, ...], dtype: Any) -> list[torch.Tensor]:
    """Return leaves of the reals, and integers as they are."""
    found = [torch.tensor(np.asarray(x)) for x in inputs]
    return [x.to(dtype).requires_grad_() if x.is_floating_point() else x for x in found]


def results(module: Any, inputs: tuple[Any, ...], dtype: Any) -> list[np.ndarray]:
    """Return the value and the gradients of the reals, under an upstream gradient."""
    given = tensors(inputs, dtype)
    leaves = [x for x in given if x.requires_grad]
    if isinstance(module, torch.nn.SoftMarginLoss):
        given[1] = given[1].detach()
    y = module(*given)
    dy = torch.linspace(0.5, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    y = y if y.requires_grad else y + 0 * leaves[0].sum()
    grads = torch.autograd.grad(y, leaves, dy, allow_unused=True, materialize_grads=True)
    return [y.detach().numpy(), *(g.numpy() for g in grads)]


def both(call: Call, reduction: str, dtype: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    name, arguments, inputs = call
    options = {**arguments, "reduction": reduction}
    mine = results(as_torch(getattr(losses, name)(**options)), inputs, dtype)
    if "weight" in options:
        options["weight"] = torch.tensor(options["weight"], dtype=dtype)
    return mine, results(module_class(name)(**options), inputs, dtype)


def check(mine: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        few = 1e-14 if b.dtype == np.float64 else 1e-6
        np.testing.assert_allclose(a, b, rtol=few, atol=few)


@EVERY
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_loss_decides_as_torch_does(call: Call, reduction: str, dtype: Any) -> None:
    check(*both(call, reduction, dtype))


@pytest.mark.parametrize("call", TIES[:12], ids=[f"{c[0]} {c[1]}" for c in TIES[:12]])
def test_another_slope_at_a_tie_is_rejected(call: Call) -> None:
    mine, theirs = both(call, "none", torch.float64)
    mine[1] = mine[1] + 0.5 * (mine[1] == mine[1].flat[0])

    with pytest.raises(AssertionError):
        check(mine, theirs)


# ── where torch is not followed ──────────────────────────────────────────────────────────────────
APART: list[tuple[Call, Any, Any]] = [  # the gradients, torch's and ours, that differ
    (("SoftMarginLoss", {}, (np.array([-1000.0]), np.array([1]))), np.nan, -0.5),
    (("KLDivLoss", {}, (np.array([-1.0]), np.array([0.0]))), np.nan, -np.inf),
    (("PoissonNLLLoss", {"full": True}, (np.array([2.0]), np.array([0.0]))), np.nan, -1.0),
]


@pytest.mark.parametrize(("call", "theirs", "mine"), APART, ids=[a[0][0] for a in APART])
def test_the_derivative_is_kept_where_torch_gives_nan(call: Call, theirs: Any, mine: Any) -> None:
    found = both(call, "none", torch.float64)

    assert found[0][-1] == mine
    assert np.array_equal(found[1][-1], [theirs], equal_nan=True)


def test_soft_margin_stays_finite_where_torch_overflows() -> None:
    mine, theirs = both(APART[0][0], "mean", torch.float64)

    assert mine[0] == 1000
    assert theirs[0] == np.inf


def test_torch_takes_the_logarithm_of_whole_numbers_in_float32() -> None:
    call: Call = ("PoissonNLLLoss", {"full": True}, (np.zeros(1), np.array([3])))
    mine, theirs = both(call, "none", torch.float64)
    exact = 1 + 3 * math.log(3) - 3 + math.log(6 * math.pi) / 2

    assert abs(mine[0][0] - exact) < 1e-15
    assert 1e-9 < abs(theirs[0][0] - exact) < 1e-6


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
ONES = np.ones((2, 3))


@pytest.mark.parametrize("name", NEW)
def test_other_reductions_and_torchs_deprecated_ones_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: reduction must be 'mean'.*received 'men'"):
        getattr(losses, name)(reduction="men")
    with pytest.raises(TypeError, match=f"{name} has no argument 'size_average'"):
        getattr(losses, name)(size_average=False)


@pytest.mark.parametrize("name", NEW)
def test_an_empty_batch_and_unfitting_shapes_are_refused(name: str) -> None:
    example = getattr(losses, name).examples[0]
    x, *rest = example.draw(np.random.default_rng(0))

    with pytest.raises(ValueError, match=f"{name}: .*at least one element"):
        getattr(losses, name)().forward(x[:0], *(y[:0] for y in rest))
    with pytest.raises(ValueError, match=f"{name}: .*received"):
        getattr(losses, name)().forward(x[:, :2], *rest[:-1], rest[-1][:2])


NONE = np.zeros((0, 4))
NO_LABELS = np.zeros(0, int)
UNSET = ("MultiMarginLoss", "MultiLabelMarginLoss")  # torch returns what was in memory
EMPTY: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys((
        "L1Loss", "MSELoss", "HuberLoss", "SmoothL1Loss", "BCELoss", "BCEWithLogitsLoss",
        "KLDivLoss", "PoissonNLLLoss", "SoftMarginLoss", "HingeEmbeddingLoss",
        "MultiLabelSoftMarginLoss", "SquaredErrorLoss",
    ), (NONE, NONE)),
    **dict.fromkeys((
        "GaussianNLLLoss", "MarginRankingLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss"
    ), (NONE, NONE, NONE)),
    **dict.fromkeys(("NLLLoss", "MultiMarginLoss", "MulticlassHingeLoss"), (NONE, NO_LABELS)),
    "MultiLabelMarginLoss": (NONE, np.zeros((0, 4), int)),
    "CosineEmbeddingLoss": (NONE, NONE, NO_LABELS), "ContrastiveLoss": (NONE, NONE, NO_LABELS),
    "CrossEntropyLoss": (NONE, NONE), "LinearCrossEntropyLoss": (NONE, NO_LABELS),
}  # fmt: skip


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("name", EMPTY)
def test_the_sum_of_an_empty_batch_is_0_as_in_torch(name: str, reduction: str) -> None:
    options: Any = {"reduction": reduction}
    if name == "LinearCrossEntropyLoss":
        options |= {"in_features": 4, "num_classes": 3}
    layer = getattr(losses, name)(**options)
    value, cache = layer.forward(*EMPTY[name])
    grads, _ = layer.backward(np.ones_like(value), cache)
    theirs = module_class(name)(**options).double()(*map(torch.tensor, EMPTY[name]))

    assert value.shape == tuple(theirs.shape)
    assert value.sum() == 0
    assert theirs.sum() == 0 or name in UNSET
    assert grads[0].shape == (0, 4)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 0)])
def test_so_is_that_of_images_without_samples_or_places(name: str, shape: tuple) -> None:
    layer, labels = getattr(losses, name)(reduction="sum"), np.zeros((shape[0], shape[2]), int)
    value, cache = layer.forward(np.zeros(shape), labels)

    assert value == 0
    assert layer.backward(value, cache)[0][0].shape == shape


def test_without_classes_there_is_no_score() -> None:
    for target in (np.zeros(2, int), np.zeros((2, 0))):
        with pytest.raises(ValueError, match=r"at least one class, received shape \(2, 0\)"):
            losses.CrossEntropyLoss(reduction="sum").forward(np.zeros((2, 0)), target)


def refused(loss: Any, *inputs: Any) -> Any:
    return lambda: loss.forward(*map(np.asarray, inputs))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.TripletMarginLoss(margin=0), "margin must be above 0, received 0"),
        (lambda: losses.SmoothL1Loss(beta=math.nan), "beta must be 0 or more"),
        (refused(losses.MarginRankingLoss(), ONES, ONES, ONES[0]), "same number of axes"),
        (refused(losses.TripletMarginLoss(), ONES, ONES[0], ONES), "same number of axes"),
        (refused(losses.CosineEmbeddingLoss(), ONES, ONES, ONES), r"\(N, D\) and the target"),
        (refused(losses.CosineEmbeddingLoss(), ONES[0], ONES[0], [1]), "with one target"),
        (refused(losses.CosineEmbeddingLoss(), ONES, ONES[0], [1, 1]), "with one target"),
        (refused(losses.SoftMarginLoss(), ONES[:, :1], ONES), "broadcast to the input's shape"),
        (refused(losses.MultiLabelSoftMarginLoss(), 1.0, 1.0), r"\(…, C\) logits"),
        (refused(losses.MultiLabelMarginLoss(), ONES, [[0, 3, -1]] * 2), "from 0 to 2, .*ceived 3"),
        (refused(losses.MultiLabelMarginLoss(), ONES, [[0, -2, -1]] * 2), "received -2"),
        (refused(losses.MultiLabelMarginLoss(), ONES[None], [[[0] * 3] * 2]), r"must both be"),
        (refused(losses.GaussianNLLLoss(), ONES, ONES, -ONES), "every variance .* received -1.0"),
        (refused(losses.GaussianNLLLoss(), ONES, ONES, [1.0]), "var must have the input's shape"),
        (refused(losses.GaussianNLLLoss(), ONES, ONES, [[1.0]]), "var must have the input's"),
        (refused(losses.GaussianNLLLoss(), ONES[:, :1], ONES[:, :1], ONES), "var must have"),
    ],
)  # fmt: skip
def test_what_torch_refuses_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "name",
    [
        "GaussianNLLLoss",
        "KLDivLoss",
        "MarginRankingLoss",
        "MultiLabelSoftMarginLoss",
        "PoissonNLLLoss",
        "SoftMarginLoss",
    ],
)
def test_a_target_that_would_promote_the_loss_is_refused(name: str) -> None:
    inputs = getattr(losses, name).examples[0].draw(np.random.default_rng(0))
    single = [np.asarray(x).astype(np.float32) for x in inputs]
    place = 1 if name == "GaussianNLLLoss" else -1
    single[place] = single[place].astype(np.float64)

    with pytest.raises(TypeError, match=f"{name}: .*received dtype float64"):
        getattr(losses, name)().forward(*single)


def test_whole_numbers_are_no_probabilities_and_fractions_no_labels() -> None:
    with pytest.raises(TypeError, match=r"KLDivLoss: .*received dtype int64"):
        losses.KLDivLoss().forward(ONES, np.ones((2, 3), int))
    with pytest.raises(TypeError, match=r"MultiLabelMarginLoss: .*integer dtype"):
        losses.MultiLabelMarginLoss().forward(ONES, ONES)


def test_a_variance_may_be_one_number_as_in_torch() -> None:
    loss = losses.GaussianNLLLoss()
    value, cache = loss.forward(ONES, 0 * ONES, 0.5)
    (dx, _, dvar), _ = loss.backward(1.0, cache)

    assert value == loss.forward(ONES, 0 * ONES, 0.5 * ONES)[0]
    assert dx.shape == dvar.shape == ONES.shape
