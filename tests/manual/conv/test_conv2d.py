"""Conv2d: against torch in every option, against its own forward, in other numbers, and alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compare.explaining.evaluate import definition
from compare.explaining.language import parse
from compare.explaining.render import Latex, Plain
from manual import blocks as blocks_module
from manual.conv import Conv2d
from manual.examples import Example
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    check_against_own_forward,
    check_against_torch,
    check_pure,
    draw,
    integers,
    set_params,
)
from tests.manual.example_checks import (
    built,
    check_certificate,
    check_equations,
    check_exact_numbers,
    check_gauge,
    inputs_of,
    lifted,
    torch_conv,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
EVERY = pytest.mark.parametrize(
    "example", Conv2d.examples, ids=lambda e: str(Conv2d(**e.arguments))
)


# ── against torch ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [F64, F32])
@EVERY
def test_every_example_agrees_with_torch(example: Example, dtype: np.dtype) -> None:
    layer = built(Conv2d, example, dtype)

    check_against_torch(layer, torch_conv(layer), inputs_of(example, dtype))


@EVERY
def test_whole_numbers_are_bitwise_torchs(example: Example) -> None:
    layer = lifted(Conv2d(**example.arguments), lambda p: integers(1, p.shape))
    x = integers(2, inputs_of(example)[0].shape)

    check_against_torch(layer, torch_conv(layer), [x], rtol=0.0, upstream=integers)


PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    batch=st.integers(0, 3),
    groups=st.integers(1, 3),
    multiples=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=PAIRS,
    padding=st.one_of(
        st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 3), st.integers(0, 3))
    ),
    dilation=PAIRS,
    bias=st.booleans(),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=DTYPES,
    seed=SEEDS,
)
@settings(derandomize=True, deadline=None, max_examples=120)
def test_any_options_agree_with_torch(
    batch, groups, multiples, kernel, stride, padding, dilation, bias, mode, size, dtype, seed
) -> None:
    stride = (1, 1) if padding == "same" else stride
    channels = [groups * m for m in multiples]
    made = Conv2d(*channels, kernel, stride, padding, dilation, groups, bias, mode)
    for n, k, d, margin in zip(size, kernel, dilation, made.margins, strict=True):
        assume(n + sum(margin) >= d * (k - 1) + 1)
        assume(mode != "reflect" or max(margin) < n)
        assume(mode != "circular" or max(margin) <= n)
    assume(batch or mode == "zeros")  # torch pads no empty batch
    shape = (batch, channels[0], *size) if batch != 1 else (channels[0], *size)

    layer = set_params(made, seed, dtype)
    check_against_torch(layer, torch_conv(layer), [draw(seed, shape, dtype)], seed, scale=4.0)


def test_alexnets_first_layer_agrees_with_torch() -> None:
    layer = set_params(Conv2d(3, 8, 11, stride=4, padding=2), 1, F32)

    check_against_torch(layer, torch_conv(layer), [draw(2, (2, 3, 63, 63), F32)])


# ── alone ────────────────────────────────────────────────────────────────────────────────────────
@EVERY
def test_backward_is_the_derivative_of_forward(example: Example) -> None:
    layer, inputs = built(Conv2d, example), inputs_of(example)

    check_against_own_forward(layer, inputs)


def test_backward_is_the_derivative_by_differences_too() -> None:
    example = Conv2d.examples[2]

    check_against_own_forward(built(Conv2d, example), inputs_of(example), smooth=False)


@EVERY
def test_nothing_given_is_changed(example: Example) -> None:
    check_pure(built(Conv2d, example), inputs_of(example))


@EVERY
def test_one_image_is_a_batch_of_one(example: Example) -> None:
    layer: Any = built(Conv2d, example)
    x = inputs_of(example)[0]
    x = x if x.ndim == 3 else x[0]
    (y, cache), (ys, caches) = layer.forward(x), layer.forward(x[None])
    dy = draw(1, y.shape)
    ((dx,), grads), ((dxs,), many) = layer.backward(dy, cache), layer.backward(dy[None], caches)

    assert np.array_equal(y, ys[0])
    assert np.array_equal(dx, dxs[0])
    assert all(np.array_equal(grads[key], many[key]) for key in many)


@EVERY
def test_blocks_of_any_size_give_the_same(example: Example, monkeypatch: Any) -> None:
    layer = lifted(Conv2d(**example.arguments), lambda p: integers(1, p.shape))
    shape = inputs_of(example)[0].shape
    x = integers(2, (5, *shape[-3:]))

    def everything() -> list:
        y, cache = layer.forward(x)
        (dx,), grads = layer.backward(integers(3, y.shape), cache)
        return [y, dx, *grads.values()]

    whole = everything()
    for size in (1, 300):
        monkeypatch.setattr(blocks_module, "BLOCK", size)

        assert all(np.array_equal(a, b) for a, b in zip(everything(), whole, strict=True))


@EVERY
def test_both_ways_to_the_inputs_gradient_agree(example: Example, monkeypatch: Any) -> None:
    layer = lifted(Conv2d(**example.arguments), lambda p: integers(1, p.shape))
    x = integers(2, inputs_of(example)[0].shape)
    y, cache = layer.forward(x)
    dy = integers(3, y.shape)
    dx = layer.backward(dy, cache)[0][0]
    monkeypatch.setattr(
        Conv2d, "_grad_by_turned_kernel", lambda s, g, w, n, _: s._grad_by_folding(g, w, n)
    )

    assert np.array_equal(layer.backward(dy, cache)[0][0], dx)


# ── number systems ───────────────────────────────────────────────────────────────────────────────
@EVERY
def test_the_error_gauge_has_the_plain_values_and_covers_float32(example: Example) -> None:
    check_gauge(Conv2d, example)


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.astype(complex),
        lambda a: a.astype(F32),
        np.vectorize(Fraction, otypes=[object]),
    ],
    ids=["complex", "float32", "fractions"],
)
@EVERY
def test_whole_numbers_come_out_alike_in_every_number_system(
    example: Example, convert: Callable
) -> None:
    check_exact_numbers(Conv2d, example, convert)


@EVERY
def test_50_digits_are_certified_in_balls(example: Example) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")

    check_certificate(Conv2d, example)


def test_the_certificate_rejects_the_seventeenth_digit() -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    with pytest.raises(AssertionError, match="WRONG"):
        check_certificate(Conv2d, Conv2d.examples[0], lambda g: g * (1 + 2.0**-52))


# ── equations ────────────────────────────────────────────────────────────────────────────────────
def keys_of(layer: Conv2d) -> dict[str, str]:
    """Return which of the equations hold for a layer."""
    groups = ["grouped"] if layer.groups > 1 else []
    mode = [layer.padding_mode] if layer.padding_mode != "zeros" else []
    bias = [] if "bias" in layer.params else ["no bias"]

    def key(role: str, *variant: str) -> str:
        return f"{role}/{', '.join(variant)}" if variant else role

    keys = {
        "output": key("output", *bias, *groups, *mode),
        "input 0": key("grad_input", *groups, *mode),
        "weight": key("grad:weight", *groups, *mode),
    }
    return keys if bias else keys | {"bias": "grad:bias"}


SMALL = [e for e in Conv2d.examples if np.prod(e.inputs[0]) <= 72]


@pytest.mark.parametrize("example", SMALL, ids=lambda e: str(Conv2d(**e.arguments)))
def test_the_equations_say_what_the_layer_does(example: Example) -> None:
    check_equations(Conv2d, example, keys_of(Conv2d(**example.arguments)))


def test_small_examples_show_every_option() -> None:
    layers = [Conv2d(**e.arguments) for e in SMALL]

    assert {layer.padding_mode for layer in layers} == {
        "zeros", "reflect", "replicate", "circular",
    }  # fmt: skip
    assert any(layer.groups > 1 for layer in layers)
    assert any("bias" not in layer.params for layer in layers)


def test_an_equation_that_reads_elsewhere_is_rejected(monkeypatch: Any) -> None:
    example = Conv2d.examples[2]
    turned = {k: t.replace("- p[0]", "+ p[0]") for k, t in Conv2d.equations.items()}
    monkeypatch.setattr(Conv2d, "equations", turned)

    with pytest.raises(AssertionError, match="off by"):
        check_equations(Conv2d, example, keys_of(Conv2d(**example.arguments)))


def test_every_variant_is_of_the_language_and_can_be_printed() -> None:
    for text in Conv2d.equations.values():
        equation, *rest = text.splitlines()
        left, _, right = equation.partition(" = ")
        for side in (left, right):
            assert Plain({}).text(parse(side))
            assert Latex({}).text(parse(side))
        assert all(definition(line.removeprefix("where ")) for line in rest)
    assert len(Conv2d.equations) == 1 + 4 * 2 * 4


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 4, 2, 1, 0, 1, 2), r"groups = 2 must divide in_channels = 3 and out_channels = 4"),
        ((2, 3, 2, 1, 0, 1, 2), r"groups = 2 must divide in_channels = 2 and out_channels = 3"),
        ((2, 3, 0), r"kernel_size, stride, dilation and groups must be at least 1, .*\(0, 0\)"),
        ((2, 3, 2, 0), r"must be at least 1, received .*stride=\(0, 0\)"),
        ((2, 3, 2, 1, -1), r"padding must be at least 0, received \(-1, -1\)"),
        ((2, 3, 2, 1, "full"), r"'same' or 'valid', received 'full'"),
        ((2, 3, 2, 2, "same"), r"padding 'same' keeps the size, stride \(2, 2\) does not"),
        ((2, 3, 2, 1, 0, 1, 1, True, "mirror"), r"padding_mode must be one of zeros, reflect"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"Conv2d: .*{message}"):
        Conv2d(*arguments)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (2, 3, 5, 5), r"must be \(N, 2, H, W\) or \(2, H, W\), received shape \(2, 3, 5, 5\)"),
        ({}, (2, 5), r"received shape \(2, 5\)"),
        ({"dilation": 2}, (1, 2, 5, 4), r"the kernel spans 5 elements, the padded width has 4"),
        ({"padding": 1}, (1, 2, 0, 4), r"the kernel spans 3 elements, the padded height has 2"),
        ({"padding": 3, "padding_mode": "reflect"}, (1, 2, 3, 4), r"at most 2 to a height of 3"),
        ({"padding": 4, "padding_mode": "circular"}, (1, 2, 4, 3), r"at most 3 to a width of 3"),
    ],
)
def test_bad_inputs_are_named(options: dict, shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"Conv2d: .*{message}"):
        Conv2d(2, 3, 3, **options).forward(np.ones(shape))


def test_it_prints_as_torchs_does() -> None:
    for example in Conv2d.examples:
        arguments = dict(example.arguments)
        mine = repr(Conv2d(**arguments))
        theirs = repr(torch.nn.Conv2d(**arguments))

        assert mine == theirs
