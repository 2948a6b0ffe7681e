"""CTC, the adaptive softmax, losses of pairs and of triplets: torch, edges, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from manual import LogSoftmax, losses
from manual.distance import PairwiseDistance
from manual.linear import Linear
from tests.helpers import draw
from torch_ref.hybrid import as_torch
from torch_ref.losses import TripletMarginWithDistanceLoss

TARGETS = np.array([[1, 2, 2], [1, 1, 2], [2, 0, 0]])
LENGTHS = np.array([6, 4, 0]), np.array([3, 3, 0])


# ── CTC ──────────────────────────────────────────────────────────────────────────────────────────
def behind_log_softmax(loss: Any, z: np.ndarray, *rest: Any, dy: Any = 1.0) -> tuple[Any, Any]:
    """Return the value and the gradient of scores."""
    log_softmax = LogSoftmax(-1)
    x, before = log_softmax.forward(z)
    y, cache = loss.forward(x, *rest)
    return y, log_softmax.backward(loss.backward(dy, cache)[0][0], before)[0][0]


def by_torch(z: np.ndarray, *rest: Any, **options: Any) -> tuple[Any, Any]:
    leaf = torch.tensor(z, requires_grad=True)
    targets, steps, lengths = map(torch.tensor, rest)
    y = functional.ctc_loss(leaf.log_softmax(-1), targets, steps, lengths, **options)
    y.sum().backward()
    assert leaf.grad is not None
    return y.detach().numpy(), leaf.grad.numpy()


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("joined", [False, True])
def test_ctc_behind_a_log_softmax_is_torchs(
    reduction: str, zero_infinity: bool, joined: bool
) -> None:
    """One sample is as long as it may be, one too short for its labels, one has no steps."""
    z = draw(1, (6, 3, 3))
    targets = np.concatenate([t[:n] for t, n in zip(TARGETS, LENGTHS[1], strict=True)])
    rest = (targets if joined else TARGETS, *LENGTHS)
    short = np.array([6, 3, 0])
    for lengths in (LENGTHS[0], short):
        given = (rest[0], lengths, LENGTHS[1])
        loss = losses.CTCLoss(reduction=reduction, zero_infinity=zero_infinity)
        dy = np.ones(3) if reduction == "none" else 1.0
        expected = by_torch(z, *given, reduction=reduction, zero_infinity=zero_infinity)

        for a, b in zip(behind_log_softmax(loss, z, *given, dy=dy), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_ctc_has_the_derivative_where_torch_adds_the_probabilities() -> None:
    x = draw(2, (6, 3, 3))
    loss = losses.CTCLoss(reduction="sum")
    leaf = torch.tensor(x, requires_grad=True)
    rest = (TARGETS, np.array([6, 5, 0]), LENGTHS[1])
    targets, steps, lengths = map(torch.tensor, rest)
    functional.ctc_loss(leaf, targets, steps, lengths, reduction="sum").backward()
    _, cache = loss.forward(x, *rest)
    (dx, *others), _ = loss.backward(1.0, cache)
    step = np.zeros_like(x)
    step[2, 1, 2] = 1e-6
    slope = (loss.forward(x + step, *rest)[0] - loss.forward(x - step, *rest)[0]) / 2e-6
    runs = np.arange(6)[:, None, None] < rest[1][:, None]

    assert others == [None, None, None]
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad.numpy() - dx, np.exp(x) * runs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dx[2, 1, 2], slope, rtol=1e-7)
    assert abs(float(leaf.grad[2, 1, 2]) - slope) > 0.01  # what the test would reject


def test_ctc_of_impossible_steps_and_of_long_inputs_stays_finite() -> None:
    """-inf among the inputs gives torch nan gradients there; the derivative is 0."""
    x = draw(3, (2000, 1, 3)) * 5
    x[1:100, 0, 0] = -np.inf
    loss = losses.CTCLoss()
    y, cache = loss.forward(x, TARGETS[:1], np.array([2000]), np.array([3]))
    (dx, *_), _ = loss.backward(1.0, cache)

    assert np.isfinite(y)
    np.testing.assert_allclose(dx.sum(axis=2) * 3, -1, rtol=1e-9)
    assert np.array_equal(dx[1:100, 0, 0], np.zeros(99))


def test_ctc_under_autograd_takes_lengths_as_torch_does() -> None:
    z = torch.tensor(draw(4, (6, 2, 3)))
    given = (torch.tensor([[1, 2], [2, 1]]), (6, 5), [2, 1])

    assert torch.allclose(
        as_torch(losses.CTCLoss())(z.log_softmax(-1), *given),
        nn.CTCLoss()(z.log_softmax(-1), *given),
    )


def ctc(x: Any = (6, 3, 3), targets: Any = TARGETS, steps: Any = None, lengths: Any = None,
        **options: Any) -> Any:  # fmt: skip
    loss = losses.CTCLoss(**options)
    given = LENGTHS[0] if steps is None else np.array(steps)
    return loss.forward(
        np.zeros(x), np.asarray(targets), given,
        LENGTHS[1] if lengths is None else np.array(lengths),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"x": (0, 3, 3)}, ValueError, r"must be \(T, N, C\).*received shape \(0, 3, 3\)"),
        ({"x": (3,)}, ValueError, r"must be \(T, N, C\), or \(T, C\)"),
        ({"blank": 3}, ValueError, "blank must be one of the 3 classes, received 3"),
        ({"blank": -1}, ValueError, "received -1"),
        ({"steps": [7, 4, 0]}, ValueError, r"input_lengths must be from 0 to 6.*received \[7"),
        ({"steps": [6, -4, 0]}, ValueError, "input_lengths must be"),
        ({"steps": [6, 4]}, ValueError, "one number for each of the 3 samples.*received 2"),
        ({"lengths": [3, -1, 0]}, ValueError, "target_lengths must be 0 or more"),
        ({"lengths": [4, 1, 0]}, ValueError, r"targets must be \(3, 4\) or longer"),
        ({"targets": [[1, 2, 2]]}, ValueError, r"one row for each sample"),
        ({"targets": [1, 2]}, ValueError, r"as many as target_lengths counts \(6\)"),
        ({"targets": TARGETS + 1}, ValueError, "labels must be classes from 0 to 2.*to 3"),
        ({"targets": TARGETS - 2}, ValueError, "received targets from -1"),
        ({"targets": TARGETS * 1.0}, TypeError, "targets must hold integers"),
        ({"steps": [6.0, 4, 0]}, TypeError, "input_lengths must hold integers"),
    ],
)
def test_ctc_refuses_what_does_not_fit(given: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"CTCLoss: .*{message}"):
        ctc(**given)


def test_ctc_reads_no_label_beyond_a_samples_own() -> None:
    wild = TARGETS.copy()
    wild[2] = 77

    assert ctc(targets=wild)[0] == ctc()[0]


# ── adaptive softmax ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"cutoffs": [2, 4], "div_value": 2.0, "head_bias": True}, [0, 2, 6, 1, 3, 4]),
        ({"cutoffs": [1], "div_value": 1.0}, [0, 0, 0, 0, 0, 0]),
        ({"cutoffs": (1, 5, 6), "div_value": 1.5}, 6),
        ({"cutoffs": (3,), "head_bias": True}, 1),
    ],
)
def test_the_adaptive_softmax_is_torchs(options: Any, target: Any) -> None:
    layer = losses.AdaptiveLogSoftmaxWithLoss(8, 7, **options)
    ours = as_torch(layer).double()
    twin = nn.AdaptiveLogSoftmaxWithLoss(8, 7, **options).double()
    assert list(ours.state_dict()) == list(twin.state_dict())
    ours.load_state_dict(twin.state_dict())
    t = torch.tensor(target)
    x = torch.tensor(draw(5, (*t.shape, 8)), requires_grad=True)
    found = []
    for module in (ours, twin):
        y, loss = module(x, t)
        total = (y * torch.arange(1, y.numel() + 1).reshape(y.shape)).sum() + 3 * loss
        leaves = [x, *module.parameters()]
        grads = torch.autograd.grad(total, leaves, allow_unused=True)
        found.append([y, loss, *(torch.zeros_like(p) if g is None else g
                                 for p, g in zip(leaves, grads, strict=True))])  # fmt: skip

    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(found[0][0] * 1.001, found[1][0])


@pytest.mark.parametrize("cutoffs", [[], [0], [7], [3, 2], [2, 2], [1.5], [2.0]])
def test_cutoffs_out_of_order_are_refused(cutoffs: Any) -> None:
    with pytest.raises(ValueError, match=r"cutoffs must be .* from 1 to n_classes - 1 = 6"):
        losses.AdaptiveLogSoftmaxWithLoss(8, 7, cutoffs)
    with pytest.raises((ValueError, TypeError)):
        nn.AdaptiveLogSoftmaxWithLoss(8, 7, cutoffs)


@pytest.mark.parametrize("div_value", [0.0, -4.0, np.nan])
def test_a_divisor_of_the_features_that_is_not_above_zero_is_refused(div_value: float) -> None:
    with pytest.raises(ValueError, match=r"div_value .* must be above 0, received"):
        losses.AdaptiveLogSoftmaxWithLoss(8, 7, [2], div_value)


@pytest.mark.parametrize(
    ("x", "target", "error", "message"),
    [
        ((2, 8), [1, 7], ValueError, "classes from 0 to 6, received 1 to 7"),
        ((2, 8), [-1, 2], ValueError, "received -1"),
        ((2, 5), [1, 2], ValueError, r"must be \(N, 8\)"),
        ((3, 8), [1, 2], ValueError, r"received input \(3, 8\) and target \(2,\)"),
        ((8,), [1], ValueError, "with one target"),
        ((1, 2, 8), [[1, 2]], ValueError, "must be"),
        ((0, 8), np.zeros(0, int), ValueError, "N at least 1"),
        ((2, 8), [1.0, 2.0], TypeError, "integer dtype"),
    ],
)
def test_the_adaptive_softmax_refuses_what_does_not_fit(
    x: Any, target: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=f"AdaptiveLogSoftmaxWithLoss: .*{message}"):
        losses.AdaptiveLogSoftmaxWithLoss(8, 7, [2]).forward(np.zeros(x), np.asarray(target))


# ── distances ────────────────────────────────────────────────────────────────────────────────────
def test_a_margin_met_exactly_and_equal_distances_are_torchs() -> None:
    a, b, c = (np.array([[x, 0.0], [x, 1.0]]) for x in (0.0, 1.0, 2.0))
    distance = PairwiseDistance(eps=0.0)
    for swap, (x, y, z) in ((False, (a, b, c)), (True, (b, a, c)), (True, (a, c, b))):
        loss = losses.TripletMarginWithDistanceLoss(distance_function=distance, swap=swap)
        value, cache = loss.forward(x, y, z)
        grads, _ = loss.backward(1.0, cache)
        leaves = [torch.tensor(v, requires_grad=True) for v in (x, y, z)]
        twin = TripletMarginWithDistanceLoss(distance_function=distance, swap=swap)
        twin(*leaves).backward()

        assert value == twin(*leaves).item()
        for grad, leaf in zip(grads, leaves, strict=True):
            assert leaf.grad is not None
            np.testing.assert_allclose(grad, leaf.grad.numpy(), rtol=1e-14)


def test_pairs_at_no_distance_do_not_move() -> None:
    a = np.ones((2, 3))
    for legacy in (False, True):
        loss = losses.ContrastiveLoss(legacy_version=legacy)
        value, cache = loss.forward(a, a, np.array([0, 1]))
        (da, db, _), _ = loss.backward(1.0, cache)

        assert value == 0.25
        assert not da.any()
        assert not db.any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: losses.TripletMarginWithDistanceLoss(margin=0), ValueError, "must be above 0"),
        (lambda: losses.TripletMarginWithDistanceLoss(distance_function=abs), TypeError,
         "hand-written layer without parameters"),
        (lambda: losses.TripletMarginWithDistanceLoss(distance_function=Linear(2, 2)), TypeError,
         "without parameters"),
        (lambda: losses.TripletMarginWithDistanceLoss().forward(
            np.ones((2, 3)), np.ones(3), np.ones((2, 3))), ValueError, "number of axes"),
        (lambda: losses.ContrastiveLoss().forward(
            np.ones((2, 3)), np.ones((2, 3)), np.ones(2)), TypeError, "labels must be 1"),
        (lambda: losses.ContrastiveLoss().forward(
            np.ones((2, 3)), np.ones((2, 2)), np.ones(2, int)), ValueError, "both inputs"),
        (lambda: losses.ContrastiveLoss().forward(
            np.ones((2, 3)), np.ones((2, 3)), np.ones(3, int)), ValueError, "both inputs"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
