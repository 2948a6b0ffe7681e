"""Activations and softmax: against torch, against their own forward, at extremes and at kinks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from manual import activations, softmax
from manual.activations import (
    CELU,
    ELU,
    GELU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from manual.graph import Layer
from manual.softmax import LogSoftmax, Softmax, Softmin
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    Planted,
    check_against_torch,
    decided,
    draw,
    integers,
    shapes,
)
from torch_ref import layers

SLOPES = st.floats(-2, 3).map(lambda s: round(s, 2))


def cases(
    draw_number: Callable = lambda strategy, default: default,
) -> list[tuple[Layer, Callable]]:
    """Pair each layer with torch's function; arguments are defaults, or drawn."""
    slope = draw_number(SLOPES, 0.01)
    alpha = draw_number(st.floats(0.1, 3), 1.0)
    beta = draw_number(st.floats(0.2, 3), 1.0)
    threshold = draw_number(st.floats(0.5, 30), 20.0)
    return [
        (Sigmoid(), torch.sigmoid),
        (Tanh(), torch.tanh),
        (ReLU(), functional.relu),
        (LeakyReLU(slope), partial(functional.leaky_relu, negative_slope=slope)),
        (ELU(alpha), partial(functional.elu, alpha=alpha)),
        (SiLU(), functional.silu),
        (Softplus(beta, threshold), partial(functional.softplus, beta=beta, threshold=threshold)),
        (GELU(), functional.gelu),
        (GELU("tanh"), partial(functional.gelu, approximate="tanh")),
        (LogSigmoid(), functional.logsigmoid),
        (Softmax(dim=-1), partial(functional.softmax, dim=-1)),
        (Softmin(dim=-1), partial(functional.softmin, dim=-1)),
        (LogSoftmax(dim=-1), partial(functional.log_softmax, dim=-1)),
        (CELU(alpha), layers.CELU(alpha)),
        (SELU(), functional.selu),
        (Mish(), functional.mish),
        (Hardtanh(-1.5, 0.5), partial(functional.hardtanh, min_val=-1.5, max_val=0.5)),
        (ReLU6(), functional.relu6),
        (Hardsigmoid(), layers.Hardsigmoid()),
        (Hardswish(), functional.hardswish),
        (Hardshrink(beta), partial(functional.hardshrink, lambd=beta)),
        (Softshrink(beta), partial(functional.softshrink, lambd=beta)),
        (Tanhshrink(), functional.tanhshrink),
        (Softsign(), functional.softsign),
        (Threshold(slope, 5.0), partial(functional.threshold, threshold=slope, value=5.0)),
    ]


CASES = [pytest.param(*case, id=repr(case[0])) for case in cases()]
every_case = pytest.mark.parametrize(("layer", "function"), CASES)


def test_every_public_layer_is_tested() -> None:
    tested = {type(layer).__name__ for layer, _ in cases()}

    elsewhere = {"GLU", "PReLU", "RReLU", "Softmax2d"}  # of other shapes, learned or drawn
    assert tested == {*activations.__all__, *softmax.__all__} - elsewhere


@given(data=st.data(), shape=shapes(), dtype=DTYPES, seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_values_and_gradients_agree_with_torch(data, shape, dtype, seed) -> None:
    x = draw(seed, shape, dtype, data.draw(st.sampled_from([0.1, 1.0, 10.0])))
    for layer, function in cases(lambda strategy, default: data.draw(strategy)):
        check_against_torch(layer, function, [x], seed + 1, scale=1.0)


@given(shape=shapes(min_dims=3), dim=st.integers(-3, 2), dtype=DTYPES, seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_softmax_agrees_with_torch_along_every_axis(shape, dim, dtype, seed) -> None:
    x = draw(seed, shape, dtype)

    check_against_torch(Softmax(dim), partial(functional.softmax, dim=dim), [x], seed, scale=1.0)
    check_against_torch(
        LogSoftmax(dim), partial(functional.log_softmax, dim=dim), [x], seed, scale=1.0
    )


EXTREMES = [
    0,
    -0.0,
    1e-30,
    -1e-30,
    20,
    20.5,
    -20,
    80,
    -80,
    89,
    -89,
    120,
    -120,
    700,
    -700,
    1e3,
    -1e3,
]


@every_case
@pytest.mark.parametrize("dtype", [F64, F32])
def test_extreme_inputs_give_torchs_numbers_without_warnings(
    layer: Layer, function: Callable, dtype: np.dtype
) -> None:
    for x in EXTREMES:  # one by one: beside 1000, no relative error of 1e-30 would show
        check_against_torch(
            layer, function, [np.full((1, 3), x, dtype)], rtol=1e-5 if dtype == F32 else 1e-11
        )


KINKED = [
    (ReLU(), functional.relu),
    (LeakyReLU(), functional.leaky_relu),
    (LeakyReLU(0.25), partial(functional.leaky_relu, negative_slope=0.25)),
    (LeakyReLU(3.0), partial(functional.leaky_relu, negative_slope=3.0)),
    (LeakyReLU(-2.0), partial(functional.leaky_relu, negative_slope=-2.0)),
]


@pytest.mark.parametrize(
    ("layer", "function"),
    KINKED,
    ids=lambda p: getattr(p, "__name__", repr(p)).partition(" at 0x")[0][:40],
)
@pytest.mark.parametrize("dtype", [F64, F32])
def test_ties_at_kinks_are_bitwise_torchs(
    layer: Layer, function: Callable, dtype: np.dtype
) -> None:
    x = integers(0, (8, 8), dtype)
    x[0] = -0.0

    assert (x == 0).any()
    check_against_torch(layer, function, [x], rtol=0.0, upstream=integers)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_elu_takes_torchs_side_of_its_kink(alpha: float) -> None:
    x = np.array([0.0, -0.0])

    check_against_torch(ELU(alpha), partial(functional.elu, alpha=alpha), [x], rtol=0.0)


@pytest.mark.parametrize("threshold", [1.0, 20.0])
def test_softplus_switches_at_torchs_threshold(threshold: float) -> None:
    at = np.array([threshold, np.nextafter(threshold, 0), np.nextafter(threshold, 99)])
    function = partial(functional.softplus, threshold=threshold)

    check_against_torch(Softplus(threshold=threshold), function, [at], rtol=1e-15)
    assert decided(Softplus(threshold=threshold), at).tolist() == [False, False, True]


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(), ELU(2.0)], ids=repr)
def test_decisions_say_which_piece_was_taken(layer: Layer) -> None:
    assert np.array(decided(layer, np.array([-1.0, 0.0, 2.0]))).tolist() == [False, False, True]


def test_smooth_layers_take_no_decisions() -> None:
    for layer in (Sigmoid(), Tanh(), SiLU(), GELU(), LogSigmoid(), Softmax(-1)):
        assert decided(layer, np.ones((2, 2))) is None


def test_gelu_names_the_two_forms_it_knows() -> None:
    with pytest.raises(
        ValueError, match=r"GELU: approximate must be 'none' or 'tanh', received 'erf'"
    ):
        GELU("erf")


def test_constructor_arguments_are_shown_as_torch_shows_them() -> None:
    for mine, theirs in [
        (LeakyReLU(0.2), torch.nn.LeakyReLU(0.2)),
        (ELU(2.0), torch.nn.ELU(2.0)),
        (Softplus(2.0, 9.0), torch.nn.Softplus(2.0, 9.0)),
        (GELU("tanh"), torch.nn.GELU("tanh")),
        (Softmax(1), torch.nn.Softmax(1)),
    ]:
        assert repr(mine) == repr(theirs)


# ── planted mistakes, each of which its check must reject ────────────────────────────────────────
MISTAKES = {
    "scaled by 1.001": lambda dx, dy: dx * 1.001,
    "sign": lambda dx, dy: -dx,
    "derivative forgotten": lambda dx, dy: dy,
    "one element": lambda dx, dy: dx + np.eye(*dx.shape, dtype=dx.dtype) * 0.01,
    "float64 in float32": lambda dx, dy: dx.astype(np.float64),
}


@every_case
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_torch_check_rejects(layer: Layer, function: Callable, mistake: str) -> None:
    wrong = Planted(layer, input_grad=MISTAKES[mistake])

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_torch(wrong, function, [draw(0, (3, 4), F32)])


def test_the_tie_check_rejects_the_other_side_of_the_kink() -> None:
    class Other(ReLU):
        def backward(self, grad_output, cache):
            return (grad_output * (cache.y >= 0),), {}

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_torch(
            Other(), functional.relu, [integers(0, (8, 8))], rtol=0.0, upstream=integers
        )


def test_the_extremes_reject_an_overflowing_sigmoid() -> None:
    class Naive(Sigmoid):
        def forward(self, x):
            y = 1 / (1 + np.exp(-x))
            return y, Sigmoid().forward(x)[1]._replace(y=y)

    with pytest.raises(RuntimeWarning, match="overflow"):
        check_against_torch(Naive(), torch.sigmoid, [np.full((1, 3), -1e3)])
