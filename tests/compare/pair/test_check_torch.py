"""Torch callables with their own backward, in every dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compare
from compare.errors import UserError

DTYPES = ["float64", "float32", "float16", "bfloat16"]
INPUTS = {"x": (4, 3), "w": (3, 5)}


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, dout):
        x, w = ctx.saved_tensors
        return dout @ w.T, x.T @ dout


def variant(change):
    """Return a Function whose second gradient is changed."""

    class Wrong(Product):
        @staticmethod
        def backward(ctx, dout):
            dx, dw = Product.backward(ctx, dout)
            return dx, change(dw)

    return Wrong


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_function_agrees(dtype: str) -> None:
    for seed in range(3):
        report = compare.check_torch(
            Product.apply, torch.matmul, INPUTS, dtype=dtype, seed=seed, shrink=False
        )

        assert report.agrees, str(report)
        assert report.name == "Product"


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float64", 1e-9), ("float32", 1e-3), ("float16", 0.05), ("bfloat16", 0.5)],
)
def test_a_mistake_is_caught_as_far_as_the_dtype_allows(dtype: str, size: float) -> None:
    report = compare.check_torch(
        variant(lambda dw: dw * (1 + size)), torch.matmul, INPUTS, dtype=dtype, shrink=False
    )

    assert report.verdict == "disagree"
    assert report.first_divergence.quantity == "grad:w"


FUNCTIONS = {
    "softmax": (lambda x: torch.softmax(x, 1), {"x": (6, 5)}),
    "layer_norm": (lambda x: torch.nn.functional.layer_norm(x, x.shape[1:]), {"x": (6, 5)}),
    "gelu": (torch.nn.functional.gelu, {"x": (6, 5)}),
    "log_softmax": (lambda x: torch.log_softmax(x, 1), {"x": (6, 5)}),
    "sum of products": (lambda x, w: ((x @ w).tanh() @ w.T).sum(1), {"x": (4, 40), "w": (40, 9)}),
    "cross entropy": (
        torch.nn.functional.cross_entropy, {"x": (4, 3), "y": np.array([0, 2, 1, 1])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_torchs_own_functions_raise_no_false_alarm_in_any_dtype(name: str, dtype: str) -> None:
    function, inputs = FUNCTIONS[name]
    for seed in range(3):
        report = compare.check_torch(
            lambda *a: function(*a), function, inputs, dtype=dtype, seed=seed, shrink=False
        )

        assert report.agrees, str(report)


def _whitened(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(1, keepdim=True) + 1e-5)


def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1) @ v


STEP_BY_STEP = {  # torch's kernel, and the same in steps that round each by itself
    "bilinear": (
        torch.nn.functional.bilinear, lambda x, y, w: torch.einsum("ni,oij,nj->no", x, w, y),
        {"x": (5, 4), "y": (5, 6), "w": (3, 4, 6)},
    ),
    "layer_norm": (
        lambda x: torch.nn.functional.layer_norm(x, x.shape[1:]), _whitened, {"x": (6, 5)},
    ),
    "attention": (
        torch.nn.functional.scaled_dot_product_attention, _attention,
        {"q": (2, 5, 4), "k": (2, 6, 4), "v": (2, 6, 4)},
    ),
    "gelu": (
        torch.nn.functional.gelu, lambda x: 0.5 * x * (1 + torch.erf(x * 0.5**0.5)), {"x": (6, 5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_a_kernel_agrees_with_its_own_steps_in_a_half(name: str, dtype: str) -> None:
    whole, steps, inputs = STEP_BY_STEP[name]

    report = compare.check_torch(steps, whole, inputs, dtype=dtype)

    assert report.verdict == "agree", str(report)


def test_the_tolerance_states_what_the_dtype_rounds_away() -> None:
    report = compare.check_torch(Product.apply, torch.matmul, INPUTS, dtype="bfloat16")

    assert "u = 0.0039" in report.tolerance
    assert "K = 16" in report.tolerance


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_a_missing_gradient_is_missing(dtype: str) -> None:
    report = compare.check_torch(
        variant(lambda dw: None), torch.matmul, INPUTS, dtype=dtype, shrink=False
    )

    assert set(report.differences.query("quantity == 'grad:w'")["verdict"]) == {"missing"}


def test_saved_tensors_changed_in_place_are_caught() -> None:
    class Spoils(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.kept = x.clone()
            return x * x

        @staticmethod
        def backward(ctx, dout):
            grad = 2 * dout * ctx.kept
            ctx.kept += 1
            return grad

    report = compare.check_torch(Spoils, lambda x: x * x, {"x": (4, 3)}, shrink=False)

    assert "repeated:x" in set(report.differences.query("verdict == 'disagree'")["quantity"])


def test_assuming_contiguous_memory_is_caught() -> None:
    class Raw(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return torch.as_strided(x, x.shape, (x.shape[1], 1)) * 2

        @staticmethod
        def backward(ctx, dout):
            return dout * 2

    report = compare.check_torch(Raw.apply, lambda x: x * 2, {"x": (4, 3)}, shrink=False)

    assert set(report.differences.query("verdict == 'disagree'")["layer"]) == {
        "non-contiguous", "Fortran order",
    }  # fmt: skip


def test_without_a_reference_forward_is_differentiated_in_float64() -> None:
    right = compare.check_torch(Product.apply, None, INPUTS)
    wrong = compare.check_torch(
        variant(lambda dw: dw * (1 + 1e-6)).apply, None, INPUTS, shrink=False
    )

    assert right.agrees, str(right)
    assert wrong.verdict == "disagree"
    with pytest.raises(UserError, match="needs a reference"):
        compare.check_torch(Product.apply, None, INPUTS, dtype="float32")


def test_any_torch_callable_may_be_the_candidate() -> None:
    report = compare.check_torch(
        lambda x, y: torch.nn.functional.cross_entropy(x, y),
        lambda x, y: -torch.log_softmax(x, 1)[torch.arange(len(y)), y].mean(),
        {"x": (4, 3), "y": np.array([0, 2, 1, 1])},
    )

    assert report.agrees, str(report)


def test_numpys_check_sends_a_torch_function_here() -> None:
    with pytest.raises(UserError, match="check_torch"):
        compare.check(Product.apply, None, torch.matmul, INPUTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float8"}, "dtype 'float8' is not known"),
        ({"device": "nowhere"}, "device 'nowhere'"),
    ],
)
def test_unusable_options_are_refused(options, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compare.check_torch(Product.apply, torch.matmul, INPUTS, **options)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_a_gpu(dtype: str) -> None:
    right = compare.check_torch(Product.apply, torch.matmul, INPUTS, dtype=dtype, device="cuda")
    wrong = compare.check_torch(
        variant(lambda dw: -dw), torch.matmul, INPUTS, dtype=dtype, device="cuda"
    )

    assert right.agrees, str(right)
    assert wrong.verdict == "disagree"
