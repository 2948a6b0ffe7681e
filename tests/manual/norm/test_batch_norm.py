"""BatchNorm2d: in training and in evaluation, and how its running statistics move."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manual.norm import batch_norm
from manual.norm.batch_norm import Batch, BatchNorm2d
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    assert_close,
    check_against_own_forward,
    check_pure,
    draw,
    same,
)
from tests.manual.module_checks import (
    OfExamples,
    check_certified,
    check_equations,
    check_gauge,
    check_module,
    close,
    made,
    of_example,
    results,
    shown,
    twin,
    upstream,
)

SIDES = st.integers(1, 4)
BIAS_IN_TORCH = "bias" in inspect.signature(torch.nn.BatchNorm2d).parameters
EXAMPLES = [e for e in BatchNorm2d.examples if BIAS_IN_TORCH or "bias" not in e.arguments]
X = draw(5, (4, 3, 2, 2))


def scale_of(layer: BatchNorm2d, x: np.ndarray) -> float:
    """Return the size of what cancels: |x γ dy| / s, summed over a channel."""
    var = np.var(x, axis=(0, 2, 3)) if layer.uses_batch else layer.buffers["running_var"]
    sharp = 1 / np.sqrt(np.min(var) + layer.eps)
    factor = np.max(np.abs(layer.params.get("weight", 1)), initial=1)
    return float(8 * factor * sharp * max(1.0, np.abs(x).max()))


@given(
    shape=st.tuples(SIDES, SIDES, SIDES, SIDES),
    eps=st.sampled_from([1e-5, 1e-3, 0.5]),
    momentum=st.sampled_from([0.1, None, 0.75, 0.0, 1.0]),
    affine=st.booleans(),
    track=st.booleans(),
    training=st.booleans(),
    dtype=DTYPES,
    seed=SEEDS,
)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_every_option_agrees_with_torch(
    shape, eps, momentum, affine, track, training, dtype, seed
) -> None:
    assume(shape[0] * shape[2] * shape[3] > 1 or (track and not training))
    arguments = {"num_features": shape[1], "eps": eps, "momentum": momentum, "affine": affine,
                 "track_running_stats": track}  # fmt: skip
    layer, x = made(BatchNorm2d, arguments, seed, dtype, training), draw(seed + 1, shape, dtype)

    check_module(layer, "BatchNorm2d", arguments, x, seed, scale=scale_of(layer, x))


@pytest.mark.skipif(not BIAS_IN_TORCH, reason="this torch has no argument bias")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [F64, F32])
def test_without_a_bias_it_agrees_with_torch(training: bool, dtype: np.dtype) -> None:
    arguments = {"num_features": 3, "bias": False}
    layer = made(BatchNorm2d, arguments, 1, dtype, training)

    check_module(layer, "BatchNorm2d", arguments, X.astype(dtype), scale=8.0)


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("momentum", [0.1, 0.75, None])
def test_the_buffers_stay_torchs_over_several_passes(momentum: float, dtype: np.dtype) -> None:
    arguments = {"num_features": 3, "momentum": momentum}
    layer = made(BatchNorm2d, arguments, 1, dtype, True)

    check_module(layer, "BatchNorm2d", arguments, X.astype(dtype), passes=5, scale=8.0)


def test_without_a_momentum_the_running_statistics_are_means_over_the_batches() -> None:
    layer, batches = BatchNorm2d(3, momentum=None), [draw(k, (4, 3, 2, 2)) for k in range(4)]
    for x in batches:
        layer = layer.with_buffers(layer.next_buffers(layer.forward(x)[1]))

    means, variances = ([f(x) for x in batches] for f in (
        lambda x: x.mean(axis=(0, 2, 3)), lambda x: x.var(axis=(0, 2, 3), ddof=1)))  # fmt: skip
    assert_close("mean", layer.buffers["running_mean"], np.mean(means, axis=0), 1e-14)
    assert_close("variance", layer.buffers["running_var"], np.mean(variances, axis=0), 1e-14)
    assert layer.buffers["num_batches_tracked"] == 4


@pytest.mark.parametrize("arguments", [{}, {"affine": False}, {"bias": False}], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_backward_is_the_derivative_of_forward(arguments: dict, training: bool) -> None:
    layer = made(BatchNorm2d, {"num_features": 3, **arguments}, 1, F64, training)

    check_against_own_forward(layer, [X])


def test_torch_agrees_where_one_layer_is_called_twice() -> None:
    layer = made(BatchNorm2d, {"num_features": 3}, 1, F64, True)
    module = twin(layer, "BatchNorm2d", {"num_features": 3})
    leaf = torch.tensor(X, requires_grad=True)
    y = module(torch.tanh(module(leaf)))
    dy = draw(9, X.shape)
    y.backward(torch.tensor(dy))

    first, cache = layer.forward(X)
    moved = layer.with_buffers(layer.next_buffers(cache))
    second, again = moved.forward(np.tanh(first))
    (inner,), grads = moved.backward(dy, again)
    (dx,), more = layer.backward(inner * (1 - np.tanh(first) ** 2), cache)
    assert_close("output", second, y.detach().numpy(), 1e-12)
    assert leaf.grad is not None
    assert_close("input", dx, leaf.grad.numpy(), 1e-12, 1.0)
    for key, p in module.named_parameters():
        assert p.grad is not None
        assert_close(key, grads[key] + more[key], p.grad.numpy(), 1e-12)
    for key, b in module.named_buffers():
        close(key, moved.next_buffers(again)[key], b.numpy(), 1e-12)


# ── purity ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("training", [True, False])
def test_nothing_given_is_changed_and_the_buffers_stay_until_they_are_set(training: bool) -> None:
    layer = made(BatchNorm2d, {"num_features": 3}, 1, F64, training)
    before = {k: b.copy() for k, b in layer.buffers.items()}

    check_pure(layer, [X])
    cache = layer.forward(X)[1]
    moved = layer.next_buffers(cache)
    assert same(layer.buffers, before)
    assert same(moved, layer.next_buffers(cache))
    assert same(moved, before) != training


def test_a_cache_knows_its_mode_when_the_layer_has_gone_on() -> None:
    layer, dy = made(BatchNorm2d, {"num_features": 3}, 1, F64, True), draw(1, X.shape)
    cache = layer.forward(X)[1]

    assert same(layer.train(False).backward(dy, cache), layer.backward(dy, cache))
    assert same(layer.train(False).next_buffers(cache), layer.next_buffers(cache))


# ── its examples, in every number system ─────────────────────────────────────────────────────────
@pytest.mark.parametrize("example", EXAMPLES, ids=shown)
class TestExample(OfExamples):
    kind, scale_of = BatchNorm2d, staticmethod(scale_of)


def test_every_equation_is_reached_by_an_example() -> None:
    reached = [check_equations(*of_example(BatchNorm2d, e)) for e in BatchNorm2d.examples]

    assert set().union(*reached) == set(BatchNorm2d.equations)


# ── degenerate inputs ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("value", [0.0, 1.5, -3.0])
def test_a_constant_input_gives_the_bias(value: float, dtype: np.dtype) -> None:
    layer = made(BatchNorm2d, {"num_features": 3}, 1, dtype, True)
    x = np.full((4, 3, 2, 2), value, dtype)
    y, cache = layer.forward(x)
    dy = draw(2, x.shape, dtype)
    (dx,), grads = layer.backward(dy, cache)

    assert (y == layer.params["bias"][:, None, None]).all()
    assert not grads["weight"].any()
    inverse = (layer.params["weight"] / np.sqrt(dtype.type(1e-5)))[:, None, None]
    centred = dy - dy.mean(axis=(0, 2, 3), keepdims=True)
    assert_close("dx", dx, centred * inverse, 1e-5 if dtype == F32 else 1e-12)
    check_module(layer, "BatchNorm2d", {"num_features": 3}, x, scale=1e3)


def test_a_large_mean_costs_no_more_digits_than_it_must() -> None:
    """Σ x² / M - μ² would lose all digits of the variance here."""
    layer, x = BatchNorm2d(3), X + 1e6

    assert_close("output", layer.forward(x)[0], layer.forward(X)[0], 1e-9)


def test_an_input_of_another_layout_in_memory_gives_the_same() -> None:
    layer = made(BatchNorm2d, {"num_features": 3}, 1, F64, True)
    x = np.asfortranarray(X)
    dy = draw(2, X.shape)

    for key, value in results(layer, X, dy).items():
        close(key, results(layer, x, np.asfortranarray(dy))[key], value, 1e-13)


# ── names and messages ───────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "arguments", [{}, {"affine": False}, {"track_running_stats": False}], ids=str
)
def test_names_layouts_and_first_values_are_torchs(arguments: dict) -> None:
    mine, theirs = BatchNorm2d(3, **arguments), torch.nn.BatchNorm2d(3, **arguments).double()

    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert same({**mine.params, **mine.buffers}, state)
    if BIAS_IN_TORCH:
        assert mine.extra_repr() == theirs.extra_repr()


@pytest.mark.parametrize("arguments", [{}, {"track_running_stats": False}], ids=str)
def test_one_value_per_channel_is_refused_where_torch_refuses_it(arguments: dict) -> None:
    x = np.ones((1, 3, 1, 1))
    layer, module = BatchNorm2d(3, **arguments), torch.nn.BatchNorm2d(3, **arguments).double()

    for training in (True, False) if arguments else (True,):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            module.train(training)(torch.tensor(x))
        with pytest.raises(
            ValueError, match=r"BatchNorm2d: .*more than one value per channel.*\(1, 3, 1, 1\)"
        ):
            layer.train(training).forward(x)
    if not arguments:
        assert layer.train(False).forward(x)[0].shape == x.shape


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 4, 4), (2, 4, 3, 3)])
def test_another_shape_is_refused_by_name(shape: tuple) -> None:
    with pytest.raises(ValueError, match=r"BatchNorm2d: .*num_features = 3, received shape"):
        BatchNorm2d(3).forward(np.ones(shape))


@pytest.mark.parametrize("eps", [0.0, -1e-5])
def test_an_eps_that_torch_refuses_is_refused(eps: float) -> None:
    with pytest.raises(ValueError, match="BatchNorm2d: eps must be positive"):
        BatchNorm2d(3, eps=eps).forward(X)


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
class Forgets(BatchNorm2d):
    """Its dx lacks one of the terms that come through the batch's statistics."""

    term = "mean"

    def backward(self, grad_output: Any, cache: Any) -> Any:
        (dx,), grads = super().backward(grad_output, cache)
        kept = self._scale(cache.inverse) / cache.batch.size
        shape = (-1, 1, 1)
        if self.term == "mean":
            return (dx + (kept * grads["bias"]).reshape(shape),), grads
        back = cache.centred.reshape(dx.shape)
        return (dx + back * (kept * cache.inverse * grads["weight"]).reshape(shape),), grads


class ForgetsSpread(Forgets):
    term = "variance"


class StoresBiased(BatchNorm2d):
    def next_buffers(self, cache: Any) -> Any:
        mean, var, size = cache.batch
        return super().next_buffers(
            cache._replace(batch=Batch(mean, var * ((size - 1) / size), size))
        )


class SwapsMomentum(BatchNorm2d):
    def next_buffers(self, cache: Any) -> Any:
        return self._twin(momentum=0.9)._right(cache)

    def _right(self, cache: Any) -> Any:
        return BatchNorm2d.next_buffers(self, cache)


class CountsNothing(BatchNorm2d):
    def next_buffers(self, cache: Any) -> Any:
        kept = {"num_batches_tracked": self.buffers["num_batches_tracked"]}
        return super().next_buffers(cache) | kept


class NoEps(BatchNorm2d):
    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return BatchNorm2d.forward(self._twin(eps=1e-300), x)


class SumsOverTheBatchOnly(BatchNorm2d):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        dx, grads = super().backward(grad_output, cache)
        return dx, grads | {"bias": grad_output[:, :, 0, 0].sum(axis=0)}


MISTAKES = [
    (Forgets, "grad_input"),
    (ForgetsSpread, "grad_input"),
    (StoresBiased, "buffer:running_var"),
    (SwapsMomentum, "buffer:running_mean"),
    (CountsNothing, "buffer:num_batches_tracked"),
    (NoEps, "output"),
    (SumsOverTheBatchOnly, "grad:bias"),
]


@pytest.mark.parametrize(("kind", "quantity"), MISTAKES)
def test_the_torch_check_rejects(kind: type[BatchNorm2d], quantity: str) -> None:
    layer = made(kind, {"num_features": 3}, 1, F64, True)

    with pytest.raises(AssertionError, match=quantity):
        check_module(layer, "BatchNorm2d", {"num_features": 3}, X, scale=8.0)


@pytest.mark.parametrize("kind", [Forgets, ForgetsSpread, SumsOverTheBatchOnly])
def test_own_forward_equations_gauge_and_balls_reject_a_wrong_backward(
    kind: type[BatchNorm2d],
) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    layer = made(kind, {"num_features": 3}, 1, F64, True)
    checks: list[Callable[[], Any]] = [
        lambda: check_against_own_forward(layer, [X]),
        lambda: check_equations(layer, X),
        lambda: check_gauge(layer, "BatchNorm2d", {"num_features": 3}, X),
        lambda: check_certified(layer, X),
    ]

    for check in checks:
        with pytest.raises(AssertionError):
            check()


@pytest.fixture
def unbiased(monkeypatch: pytest.MonkeyPatch) -> None:
    """Normalise with the variance that is stored."""
    right = batch_norm._centred

    def wrong(rows: Any) -> Any:
        centred, batch = right(rows)
        return centred, batch._replace(var=batch.var * (batch.size / (batch.size - 1)))

    monkeypatch.setattr(batch_norm, "_centred", wrong)


def test_the_unbiased_variance_in_the_normalisation_is_rejected(unbiased: None) -> None:
    layer = made(BatchNorm2d, {"num_features": 3}, 1, F64, True)

    with pytest.raises(AssertionError, match="output"):
        check_module(layer, "BatchNorm2d", {"num_features": 3}, X, scale=8.0)
    with pytest.raises(AssertionError, match="output"):
        check_equations(layer, X)


def test_the_batchs_statistics_in_evaluation_are_rejected() -> None:
    class Trains(BatchNorm2d):
        uses_batch = True  # type: ignore[assignment]

    layer = made(Trains, {"num_features": 3}, 1, F64, False)

    with pytest.raises(AssertionError, match="output"):
        check_module(layer, "BatchNorm2d", {"num_features": 3}, X, scale=8.0)


def test_the_equations_check_rejects_a_missing_eps_and_a_missing_mean() -> None:
    for wrong in ("sqrt(v[c] + eps)", "sqrt(v[c])"), (" - p[c]", ""):
        misprinted = {k: e.replace(*wrong) for k, e in BatchNorm2d.equations.items()}
        kind = type("Misprinted", (BatchNorm2d,), {"equations": misprinted})
        with pytest.raises(AssertionError, match="by its equation"):
            check_equations(made(kind, {"num_features": 3}, 1, F64, True), X)


def test_grad_params_alone_are_those_of_backward() -> None:
    for example in BatchNorm2d.examples:
        layer, x = of_example(BatchNorm2d, example)
        cache, dy = layer.forward(x)[1], upstream(layer, x, 0)
        assert same(layer.grad_params(dy, cache), layer.backward(dy, cache)[1])
