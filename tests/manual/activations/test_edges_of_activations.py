"""Activations at ties, on scalars and on nothing, their refusals, and what is drawn or learned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import manual
from manual import registry
from manual.activations import (
    CELU,
    GLU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    PReLU,
    ReLU6,
    RReLU,
    Softshrink,
    Threshold,
)
from manual.in_place import InPlace
from manual.layer import Layer
from manual.softmax import LogSoftmax, Softmax, Softmax2d, Softmin
from tests.helpers import F32, F64, assert_close, check_against_torch, integers, set_params
from torch_ref.classes import module_class
from torch_ref.hybrid import as_torch

KINKED: list[tuple[Layer, nn.Module]] = [
    (Hardtanh(), nn.Hardtanh()),
    (Hardtanh(-2.0, 1.0), nn.Hardtanh(-2.0, 1.0)),
    (ReLU6(), nn.ReLU6()),
    (Hardsigmoid(), module_class("Hardsigmoid")()),
    (Hardswish(), nn.Hardswish()),
    (Hardshrink(1.0), nn.Hardshrink(1.0)),
    (Hardshrink(-1.0), nn.Hardshrink(-1.0)),
    (Softshrink(1.0), nn.Softshrink(1.0)),
    (Softshrink(0.0), nn.Softshrink(0.0)),
    (Threshold(1.0, -3.0), nn.Threshold(1.0, -3.0)),
    (SELU(), nn.SELU()),
    (CELU(2.0), nn.CELU(2.0)),
    (CELU(-2.0), nn.CELU(-2.0)),
]
KINKS = pytest.mark.parametrize(("layer", "twin"), KINKED, ids=[repr(a) for a, _ in KINKED])


def at_kinks(dtype: Any = F64) -> np.ndarray:
    return np.array([-6, -3, -2, -1, -0.0, 0, 1, 2, 3, 6, 7], dtype=dtype)


@KINKS
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_kinks_take_torchs_side(layer: Layer, twin: nn.Module, dtype: Any) -> None:
    rtol = 4 * np.finfo(dtype).eps

    check_against_torch(layer, twin, [at_kinks(dtype)], rtol=rtol, upstream=integers)


SMOOTH = ("CELU", "Hardshrink(-1.0)", "Softshrink(0.0)")  # no slope jumps


@pytest.mark.parametrize(
    ("layer", "twin"), [pair for pair in KINKED if not repr(pair[0]).startswith(SMOOTH)], ids=repr
)
def test_the_kinks_reject_a_slope_of_the_other_side(layer: Layer, twin: nn.Module) -> None:
    def nudged(by: float) -> Any:
        return SimpleNamespace(
            params={},
            forward=lambda x: (layer.forward(x)[0], layer.forward(x + by)[1]),
            backward=layer.backward,
            grad_params=layer.grad_params,
        )

    def check() -> None:
        for by in (1e-9, -1e-9):
            check_against_torch(nudged(by), twin, [at_kinks()], rtol=1e-3, upstream=integers)

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check()


MADE: dict[str, dict[str, Any]] = {
    "Threshold": {"threshold": 0.25, "value": 2.0},
    "Softmax": {"dim": 0},
    "Softmin": {"dim": 0},
    "LogSoftmax": {"dim": 0},
}
ALONE = sorted(set(registry.ACTIVATIONS) - {"GLU", "Softmax2d"})


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_scalars_and_nothing_are_taken_as_torch_does(name: str, shape: tuple) -> None:
    twin = module_class(name)(**MADE.get(name, {})).double().eval()
    module = as_torch(registry.find(name)(**MADE.get(name, {}))).double().eval()
    x, z = (torch.full(shape, -0.7, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mine, theirs = module(x), twin(z)
    mine.sum().backward()
    theirs.sum().backward()

    assert mine.shape == theirs.shape
    assert_close("output", mine.detach().numpy(), theirs.detach().numpy(), 1e-15, 1.0)
    assert_close("gradient", x.grad.numpy(), z.grad.numpy(), 1e-15, 1.0)  # type: ignore[union-attr]
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)  # type: ignore[arg-type]


IN_PLACE = [
    cls for cls in registry.LAYERS.values() if issubclass(cls, InPlace)
]  # torch's argument `inplace`


@pytest.mark.parametrize("cls", IN_PLACE)
def test_in_place_is_refused_and_its_absence_accepted(cls: type[Layer]) -> None:
    given = MADE.get(cls.__name__, {})
    cls(**given, inplace=False)

    with pytest.raises(ValueError, match=f"{cls.__name__}: inplace=True would write"):
        cls(**given, inplace=True)


def test_every_class_that_torch_can_run_in_place_has_the_argument() -> None:
    import inspect

    theirs = {n for n in registry.LAYERS if "inplace" in _signature(getattr(nn, n, None))}

    assert theirs == {cls.__name__ for cls in IN_PLACE}
    assert "inplace" not in inspect.signature(nn.Tanh).parameters


def _signature(cls: Any) -> Any:
    import inspect

    return () if cls is None else inspect.signature(cls).parameters


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Hardtanh(1.0, -1.0), "max_val must be above min_val, received min_val = 1.0"),
    (lambda: Hardtanh(1.0, 1.0), "max_val must be above min_val"),
    (lambda: Softshrink(-0.1), "lambd must not be negative, received -0.1"),
    (lambda: CELU(0.0), "alpha divides x and must not be 0"),
    (lambda: RReLU(0.5, 0.25), "lower must not be above upper, received lower = 0.5"),
    (lambda: PReLU(0), "num_parameters must be 1 or the number of channels, received 0"),
    (lambda: PReLU(3).forward(np.ones((2, 4))), "number of channels, 4 in shape .* it is 3"),
    (lambda: PReLU(3).forward(np.ones(3)), "number of channels, 1 in shape"),
    (lambda: GLU().forward(np.ones((2, 3))), "axis -1 is halved and must have an even length"),
    (lambda: GLU(2).forward(np.ones((2, 4))), "dim = 2 is no axis of an input of shape"),
    (lambda: GLU().forward(np.ones(())), "dim = -1 is no axis"),
    (lambda: Softmax(2).forward(np.ones((2, 4))), "Softmax: dim = 2 is no axis"),
    (lambda: LogSoftmax(-3).forward(np.ones((2, 4))), "LogSoftmax: dim = -3 is no axis"),
    (lambda: Softmin(1).forward(np.ones(())), "Softmin: dim = 1 is no axis"),
    (
        lambda: Softmax2d().forward(np.ones((2, 4))),
        r"must have shape \(N, C, H, W\)",
    ),
    (
        lambda: RReLU().forward(np.ones((2, 3)), noise=np.ones(3)),
        r"must have the input's shape \(2, 3\), received \(3,\)",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_torch_refuses_is_refused_in_words(make: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 2), (2, 2, 3, 2)])
@pytest.mark.parametrize("cls", [Softmax, Softmin, LogSoftmax])
def test_an_axis_left_out_is_the_one_that_torch_takes(cls: type[Layer], shape: tuple) -> None:
    twin, x = getattr(nn, cls.__name__)(), integers(1, shape) / 2
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        twin(torch.tensor(x))

    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        check_against_torch(cls(), twin, [x])
    if len(shape) > 1:
        with pytest.raises(AssertionError, match="output"):
            check_against_torch(cls(-len(shape) + (len(shape) == 3)), twin_at(cls, shape), [x])


def twin_at(cls: type[Layer], shape: tuple) -> nn.Module:
    """Return torch's module along the axis that it would take by itself."""
    return getattr(nn, cls.__name__)(0 if len(shape) == 3 else 1)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 1, 2)])
@pytest.mark.parametrize("count", [1, 3])
def test_prelu_learns_a_slope_for_all_or_for_each_channel(count: int, shape: tuple) -> None:
    layer = set_params(PReLU(count), 3)
    function = lambda x, w: torch.nn.functional.prelu(x, w)  # noqa: E731

    check_against_torch(layer, function, [integers(0, shape)], upstream=integers)
    assert PReLU(2, init=0.5).params["weight"].tolist() == [0.5, 0.5]
    assert PReLU().params["weight"].tolist() == nn.PReLU().weight.tolist()


def test_prelu_rejects_slopes_of_another_axis() -> None:
    layer = set_params(PReLU(3), 3)
    wrong = lambda x, w: torch.where(x > 0, x, x * w)  # noqa: E731  # along the last axis

    with pytest.raises(AssertionError, match="output"):
        check_against_torch(layer, wrong, [integers(0, (3, 3, 3))])


def test_rrelu_under_autograd_draws_torchs_slopes() -> None:
    x = torch.tensor(integers(0, (4, 5)), requires_grad=True)
    torch.manual_seed(5)
    y = as_torch(RReLU(0.25, 0.75))(x)
    torch.manual_seed(5)
    z = nn.RReLU(0.25, 0.75)(x)
    grads = [torch.autograd.grad(out.sum(), x)[0] for out in (y, z)]

    assert torch.equal(y, z)
    assert torch.equal(*grads)
    assert not torch.equal(y, nn.RReLU(0.25, 0.75)(x))


def test_rrelu_draws_slopes_between_its_bounds() -> None:
    slopes = RReLU(0.25, 0.75).draw(np.ones((50, 40)), rng=np.random.default_rng(0))

    assert slopes.min() > 0.25
    assert slopes.max() < 0.75
    assert abs(slopes.mean() - 0.5) < 0.02


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_rrelu_evaluates_with_the_slope_in_the_middle(dtype: Any) -> None:
    twin = partial(torch.nn.functional.rrelu, lower=0.25, upper=0.75, training=False)

    check_against_torch(RReLU(0.25, 0.75), twin, [at_kinks(dtype)], upstream=integers)


def test_slopes_of_another_dtype_do_not_show() -> None:
    x = np.array([-2, 4], F32)
    y, cache = RReLU().forward(x, noise=np.array([0.25, 9.0]))
    (dx,), _ = RReLU().backward(np.ones(2, F32), cache)

    assert y.dtype == dx.dtype == F32
    assert y.tolist() == [-0.5, 4]
    assert dx.tolist() == [0.25, 1]


def test_far_out_the_gates_neither_overflow_nor_lose_the_sign() -> None:
    x = np.array([-1e4, -800.0, 800.0, 1e4])

    assert manual.Mish().forward(x)[0].tolist() == [-0.0, -0.0, 800.0, 1e4]  # type: ignore[attr-defined]
    assert Softmin(0).forward(x)[0].tolist() == [1, 0, 0, 0]
