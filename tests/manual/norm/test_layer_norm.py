"""LayerNorm: over one or more last axes, with and without scale and shift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.norm.layer_norm import LayerNorm
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
    shapes,
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
    upstream,
)

OPTIONS: list[dict] = [{}, {"bias": False}, {"elementwise_affine": False}]
X = draw(5, (3, 2, 4))


def scale_of(layer: LayerNorm, x: np.ndarray) -> float:
    """Return the size of what cancels: |x γ dy| / s, summed over a row."""
    rows = x.reshape(-1, layer.size)
    sharp = 1 / np.sqrt(rows.var(axis=1).min(initial=np.inf) + layer.eps)
    factor = np.max(np.abs(layer.params.get("weight", 1)), initial=1)
    return float(8 * factor * sharp * np.abs(x).max(initial=1.0))


@given(
    leading=shapes(min_dims=0, max_dims=3, max_side=4),
    own=shapes(min_dims=1, max_dims=3, max_side=4),
    eps=st.sampled_from([1e-5, 1e-3, 0.5]),
    options=st.sampled_from(OPTIONS),
    training=st.booleans(),
    dtype=DTYPES,
    seed=SEEDS,
)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_every_option_agrees_with_torch(leading, own, eps, options, training, dtype, seed) -> None:
    arguments = {"normalized_shape": own, "eps": eps, **options}
    layer = made(LayerNorm, arguments, seed, dtype, training)
    x = draw(seed + 1, (*leading, *own), dtype)

    check_module(layer, "LayerNorm", arguments, x, seed, scale=scale_of(layer, x))


@pytest.mark.parametrize("dtype", [F64, F32])
def test_wide_rows_agree_with_torch(dtype: np.dtype) -> None:
    arguments = {"normalized_shape": 512}
    layer = made(LayerNorm, arguments, 1, dtype, True)

    check_module(layer, "LayerNorm", arguments, draw(2, (8, 512), dtype), scale=8.0)


@pytest.mark.parametrize("own", [4, (2, 4), (3, 2, 4)], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_backward_is_the_derivative_of_forward(own: Any, options: dict) -> None:
    check_against_own_forward(
        made(LayerNorm, {"normalized_shape": own, **options}, 1, F64, True), [X]
    )


def test_it_is_the_same_in_evaluation() -> None:
    layer, dy = made(LayerNorm, {"normalized_shape": 4}, 1, F64, True), draw(1, X.shape)

    assert same(results(layer.train(False), X, dy), results(layer, X, dy))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_nothing_given_is_changed(options: dict) -> None:
    check_pure(made(LayerNorm, {"normalized_shape": (2, 4), **options}, 1, F64, True), [X])


# ── its examples, in every number system ─────────────────────────────────────────────────────────
@pytest.mark.parametrize("example", LayerNorm.examples, ids=shown)
class TestExample(OfExamples):
    kind, scale_of = LayerNorm, staticmethod(scale_of)


def test_the_equations_of_one_and_two_axes_are_reached_by_examples_and_those_of_three_hold() -> (
    None
):
    reached = [check_equations(*of_example(LayerNorm, e)) for e in LayerNorm.examples]
    for options in OPTIONS:
        arguments = {"normalized_shape": (2, 1, 2), **options}
        layer = made(LayerNorm, arguments, 1, F64, True)
        reached.append(check_equations(layer, draw(2, (2, 2, 1, 2))))

    assert set().union(*reached) == set(LayerNorm.equations)


# ── degenerate inputs ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("value", [0.0, 1.5, -3.0])
def test_a_constant_row_gives_the_bias(value: float, dtype: np.dtype) -> None:
    layer = made(LayerNorm, {"normalized_shape": 4}, 1, dtype, True)
    x = np.full((3, 4), value, dtype)
    (y, cache), dy = layer.forward(x), draw(2, x.shape, dtype)
    (dx,), grads = layer.backward(dy, cache)

    assert (y == layer.params["bias"]).all()
    assert not grads["weight"].any()
    g = dy * layer.params["weight"]
    expected = (g - g.mean(axis=1, keepdims=True)) / np.sqrt(dtype.type(1e-5))
    assert_close("dx", dx, expected, 1e-5 if dtype == F32 else 1e-12)


def test_one_feature_says_nothing_about_x() -> None:
    layer = made(LayerNorm, {"normalized_shape": 1}, 1, F64, True)
    found = results(layer, draw(1, (3, 1)), draw(2, (3, 1)))

    assert (found["output"] == layer.params["bias"]).all()
    assert_close("dx", found["grad_input"], np.zeros((3, 1)), 1e-12, 1e3)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_empty_batch_agrees_with_torch(options: dict) -> None:
    arguments = {"normalized_shape": (2, 3), **options}

    check_module(made(LayerNorm, arguments, 1, F64, True), "LayerNorm", arguments,
                 np.zeros((0, 2, 3)))  # fmt: skip


def test_a_large_mean_costs_no_more_digits_than_it_must() -> None:
    layer = LayerNorm(4)

    assert_close("output", layer.forward(X + 1e6)[0], layer.forward(X)[0], 1e-8)


def test_an_input_of_another_layout_in_memory_gives_the_same() -> None:
    layer, dy = made(LayerNorm, {"normalized_shape": (2, 4)}, 1, F64, True), draw(2, X.shape)

    for key, value in results(layer, X, dy).items():
        found = results(layer, np.asfortranarray(X), np.asfortranarray(dy))[key]
        close(key, found, value, 1e-13)


# ── names and messages ───────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("own", [3, (3,), [2, 3], np.int64(3)], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_names_layouts_and_first_values_are_torchs(own: Any, options: dict) -> None:
    theirs = torch.nn.LayerNorm(own if not isinstance(own, np.int64) else 3, **options).double()
    mine = LayerNorm(own, **options)

    assert same(mine.params, {k: v.numpy() for k, v in theirs.state_dict().items()})
    assert mine.extra_repr() == theirs.extra_repr()


@pytest.mark.parametrize("shape", [(2, 3), (4,), (3, 2, 3), (2, 4, 3)])
def test_an_input_that_does_not_end_in_the_normalised_axes_is_refused(shape: tuple) -> None:
    with pytest.raises(
        ValueError, match=r"LayerNorm: .*normalized_shape = \(2, 4\), received shape"
    ):
        LayerNorm((2, 4)).forward(np.ones(shape))


@pytest.mark.parametrize("own", [(), 0, (2, 0), -1], ids=str)
def test_a_shape_without_elements_is_refused(own: Any) -> None:
    with pytest.raises(ValueError, match="LayerNorm: normalized_shape must hold the sizes"):
        LayerNorm(own)


def test_grad_params_alone_are_those_of_backward() -> None:
    for example in LayerNorm.examples:
        layer, x = of_example(LayerNorm, example)
        cache, dy = layer.forward(x)[1], upstream(layer, x, 0)
        assert same(layer.grad_params(dy, cache), layer.backward(dy, cache)[1])


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
class Wrong(LayerNorm):
    """Its dx is worked step by step, with a mistake."""

    mistake = ""

    def backward(self, grad_output: Any, cache: Any) -> Any:
        _, grads = super().backward(grad_output, cache)
        dy, gamma = grad_output.reshape(-1, self.size), self.params["weight"].reshape(-1)
        xhat, inverse = cache.centred * cache.inverse[:, None], cache.inverse[:, None]
        g = dy * gamma
        means = g, g * xhat
        if self.mistake == "scale outside the means":
            means = dy, dy * xhat
        one, along = (m.sum(axis=1, keepdims=True) / self.size for m in means)
        if self.mistake == "scale outside the means":
            dx = gamma * (dy - one - xhat * along)
        else:
            dx = g - one * (self.mistake != "no mean term")
            dx = dx - xhat * along * (self.mistake != "no variance term")
        if self.mistake == "means over the batch":
            dx = g - (g.sum(axis=0) / len(g) + xhat * ((g * xhat).sum(axis=0) / len(g)))
        dx = dx * (inverse if self.mistake != "not divided by s" else 1)
        return (dx.reshape(grad_output.shape),), grads


SLIPS = ["scale outside the means", "no mean term", "no variance term", "means over the batch",
         "not divided by s"]  # fmt: skip


def wrong(mistake: str) -> LayerNorm:
    kind = type("Slipped", (Wrong,), {"mistake": mistake})
    layer = made(kind, {"normalized_shape": 4}, 1, F64, True)
    assert isinstance(layer, LayerNorm)
    return layer


def test_the_step_by_step_backward_without_a_mistake_is_right() -> None:
    check_module(wrong("none"), "LayerNorm", {"normalized_shape": 4}, X, scale=4.0)


@pytest.mark.parametrize("mistake", SLIPS)
def test_every_check_rejects_a_wrong_backward(mistake: str) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    layer, arguments = wrong(mistake), {"normalized_shape": 4}
    checks: list[Callable[[], Any]] = [
        lambda: check_module(layer, "LayerNorm", arguments, X, scale=4.0),
        lambda: check_against_own_forward(layer, [X]),
        lambda: check_equations(layer, X),
        lambda: check_gauge(layer, "LayerNorm", arguments, X),
        lambda: check_certified(layer, X[:2, 0]),
    ]

    for check in checks:
        with pytest.raises(AssertionError):
            check()


class Unbiased(LayerNorm):
    def forward(self, x: Any) -> Any:  # type: ignore[override]
        cache = super().forward(x)[1]
        weight, bias = self.params["weight"], self.params["bias"]
        squares = (x - x.mean(axis=-1, keepdims=True)) ** 2
        var = squares.sum(axis=-1, keepdims=True) / (self.size - 1)
        return weight * (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(var + self.eps) + bias, cache


class EpsOutside(LayerNorm):
    def forward(self, x: Any) -> Any:  # type: ignore[override]
        cache = super().forward(x)[1]
        spread = x.std(axis=-1, keepdims=True) + self.eps
        centred = x - x.mean(axis=-1, keepdims=True)
        return self.params["weight"] * centred / spread + self.params["bias"], cache


class NoEps(LayerNorm):
    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return LayerNorm.forward(self._twin(eps=0.0), x)


@pytest.mark.parametrize("kind", [Unbiased, EpsOutside, NoEps])
def test_the_torch_check_and_the_equations_reject_a_wrong_forward(kind: type[LayerNorm]) -> None:
    layer = made(kind, {"normalized_shape": 4}, 1, F64, True)

    with pytest.raises(AssertionError, match="output"):
        check_module(layer, "LayerNorm", {"normalized_shape": 4}, X, scale=4.0)
    with pytest.raises(AssertionError, match="output"):
        check_equations(layer, X)


class ScaleWithoutNorm(LayerNorm):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        dx, grads = super().backward(grad_output, cache)
        dy = grad_output.reshape(-1, self.size)
        return dx, grads | {"weight": (dy * cache.centred).sum(axis=0)}


def test_a_weight_gradient_with_the_centred_input_is_rejected() -> None:
    layer = made(ScaleWithoutNorm, {"normalized_shape": 4}, 1, F64, True)

    with pytest.raises(AssertionError, match="grad:weight"):
        check_module(layer, "LayerNorm", {"normalized_shape": 4}, X, scale=4.0)
