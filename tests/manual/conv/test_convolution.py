"""Convolutions and their transposes: against torch in any options, both ways to dx, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import manual.conv as conv
from manual import blocks as blocks_module
from manual.conv import correlation
from manual.examples import Example
from manual.layer import Layer
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    check_against_own_forward,
    check_against_torch,
    draw,
    integers,
    set_params,
)
from tests.manual.example_checks import (
    built,
    check_certificate,
    inputs_of,
    lifted,
    torch_conv,
)
from torch_ref import as_torch

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
CLASSES = {name: getattr(conv, name) for name in conv.__all__ if name.startswith("Conv")}
PAIRS = [(cls, example) for cls in CLASSES.values() for example in cls.examples]
EVERY = pytest.mark.parametrize(
    ("cls", "example"), PAIRS, ids=lambda v: str(v.arguments) if isinstance(v, Example) else None
)


def sizes(count: int, low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(low, high)] * count)


# ── against torch ────────────────────────────────────────────────────────────────────────────────
@EVERY
def test_whole_numbers_are_bitwise_torchs(cls: type[Layer], example: Example) -> None:
    layer = lifted(cls(**example.arguments), lambda p: integers(1, p.shape))
    x = integers(2, inputs_of(example)[0].shape)

    check_against_torch(layer, torch_conv(layer), [x], rtol=0.0, upstream=integers)


@pytest.mark.parametrize("axes", [1, 2, 3])
@given(data=st.data(), bias=st.booleans(), dtype=DTYPES, seed=SEEDS, batch=st.integers(0, 3))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_any_options_agree_with_torch(axes, data, bias, dtype, seed, batch) -> None:
    groups = data.draw(st.integers(1, 3))
    channels = [groups * m for m in data.draw(sizes(2, 1, 3))]
    kernel, stride, dilation = (data.draw(sizes(axes, 1, 3)) for _ in range(3))
    size, mode = data.draw(sizes(axes, 1, 6)), data.draw(st.sampled_from(MODES))
    padding = data.draw(st.one_of(st.sampled_from(["same", "valid"]), sizes(axes, 0, 3)))
    stride = (1,) * axes if padding == "same" else stride
    cls = CLASSES[f"Conv{axes}d"]
    made = cls(*channels, kernel, stride, padding, dilation, groups, bias, mode)
    for n, k, d, margin in zip(size, kernel, dilation, made.margins, strict=True):
        assume(n + sum(margin) >= d * (k - 1) + 1)
        assume(mode != "reflect" or max(margin) < n)
        assume(mode != "circular" or max(margin) <= n)
    assume(batch or mode == "zeros")  # torch pads no empty batch
    shape = (batch, channels[0], *size) if batch != 1 else (channels[0], *size)

    layer = set_params(made, seed, dtype)
    check_against_torch(layer, torch_conv(layer), [draw(seed, shape, dtype)], seed, scale=4.0)


MODES = ["zeros", "reflect", "replicate", "circular"]


@pytest.mark.parametrize("axes", [1, 2, 3])
@given(data=st.data(), bias=st.booleans(), dtype=DTYPES, seed=SEEDS, batch=st.integers(0, 3))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_any_transposed_options_agree_with_torch(axes, data, bias, dtype, seed, batch) -> None:
    groups = data.draw(st.integers(1, 3))
    channels = [groups * m for m in data.draw(sizes(2, 1, 3))]
    kernel, stride, dilation = (data.draw(sizes(axes, 1, 3)) for _ in range(3))
    size, padding, more = data.draw(sizes(axes, 1, 5)), *(data.draw(sizes(axes, 0, 2)),) * 2
    cls = CLASSES[f"ConvTranspose{axes}d"]
    made = cls(*channels, kernel, stride, padding, more, groups, bias, dilation)
    for n, k, s, p, e, d in zip(size, kernel, stride, padding, more, dilation, strict=True):
        assume(e < max(s, d) and (n - 1) * s - 2 * p + d * (k - 1) + e + 1 > 0)
    shape = (batch, channels[0], *size) if batch != 1 else (channels[0], *size)

    layer = set_params(made, seed, dtype)
    check_against_torch(layer, torch_conv(layer), [draw(seed, shape, dtype)], seed, scale=4.0)


def test_alexnets_first_layer_agrees_with_torch() -> None:
    layer = set_params(conv.Conv2d(3, 8, 11, stride=4, padding=2), 1, F32)

    check_against_torch(layer, torch_conv(layer), [draw(2, (2, 3, 63, 63), F32)])


def test_an_output_size_is_asked_for_as_of_torchs_module() -> None:
    layer = set_params(conv.ConvTranspose2d(2, 3, 3, stride=(2, 3)), 1)
    module, x = as_torch(layer), torch.tensor(draw(2, (1, 2, 4, 3)))
    theirs = torch.nn.ConvTranspose2d(2, 3, 3, stride=(2, 3), dtype=torch.float64)
    theirs.load_state_dict(module.state_dict())

    for size in ([9, 9], [10, 11], [1, 3, 10, 10]):
        torch.testing.assert_close(module(x, output_size=size), theirs(x, output_size=size))
    for size in ([11, 9], [8, 9], [9], [9, 9, 9]):
        with pytest.raises(ValueError, match=r"output_size must have 2 numbers from \(9, 9\) to"):
            module(x, output_size=size)
        with pytest.raises(ValueError, match="output"):
            theirs(x, output_size=size)


# ── alone ────────────────────────────────────────────────────────────────────────────────────────
@EVERY
def test_one_sample_is_a_batch_of_one(cls: type[Layer], example: Example) -> None:
    layer: Any = built(cls, example)
    x = inputs_of(example)[0]
    x = x if x.ndim == cls.axes + 1 else x[0]  # type: ignore[attr-defined]
    (y, cache), (ys, caches) = layer.forward(x), layer.forward(x[None])
    dy = draw(1, y.shape)
    ((dx,), grads), ((dxs,), many) = layer.backward(dy, cache), layer.backward(dy[None], caches)

    assert np.array_equal(y, ys[0])
    assert np.array_equal(dx, dxs[0])
    assert all(np.array_equal(grads[key], many[key]) for key in many)


@EVERY
def test_blocks_of_any_size_and_both_ways_to_dx_give_the_same(
    cls: type[Layer], example: Example, monkeypatch: Any
) -> None:
    layer: Any = lifted(cls(**example.arguments), lambda p: integers(1, p.shape))
    shape = inputs_of(example)[0].shape
    x = integers(2, (5, *shape[-cls.axes - 1 :]))  # type: ignore[attr-defined]

    def everything() -> list:
        y, cache = layer.forward(x)
        (dx,), grads = layer.backward(integers(3, y.shape), cache)
        return [y, dx, *grads.values()]

    whole = everything()
    for size in (1, 300):
        monkeypatch.setattr(blocks_module, "BLOCK", size)

        assert all(np.array_equal(a, b) for a, b in zip(everything(), whole, strict=True))
    monkeypatch.setattr(correlation, "_planes_back", correlation._planes_folded)

    assert all(np.array_equal(a, b) for a, b in zip(everything(), whole, strict=True))


def test_the_certificate_rejects_the_seventeenth_digit() -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    with pytest.raises(AssertionError, match="WRONG"):
        check_certificate(conv.Conv2d, conv.Conv2d.examples[0], lambda g: g * (1 + 2.0**-52))


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Conv2d", (3, 4, 2, 1, 0, 1, 2), r"groups = 2 must divide in_channels = 3 and out_chan"),
        ("Conv1d", (2, 3, 2, 1, 0, 1, 2), r"groups = 2 must divide in_channels = 2 and out_chan"),
        ("Conv2d", (2, 3, 0), r"kernel_size, stride, dilation and groups must .* at least 1, .*0"),
        ("Conv2d", (2, 3, 2, 0), r"must be at least 1, received .*stride=\(0, 0\)"),
        ("Conv3d", (2, 3, (2, 2)), r"kernel_size must be a number or 3 of them, received \(2, 2\)"),
        ("Conv2d", (2, 3, 2, 1, -1), r"padding must be at least 0, received \(-1, -1\)"),
        ("Conv2d", (2, 3, 2, 1, "full"), r"'same' or 'valid', received 'full'"),
        ("Conv2d", (2, 3, 2, (1, 2), "same"), r"'same' keeps the size, stride \(1, 2\) does not"),
        ("Conv2d", (2, 3, 2, 1, 0, 1, 1, True, "mirror"), r"padding_mode must be one of zeros, re"),
        ("ConvTranspose2d", (3, 4, 2, 1, 0, 0, 2), r"groups = 2 must divide in_channels = 3"),
        ("ConvTranspose2d", (3, 4, 2, 1, -1), r"padding must be at least 0, received \(-1, -1\)"),
        (
            "ConvTranspose1d",
            (2, 2, 2, 1, 0, 0, 1, True, 1, "reflect"),
            r"must be 'zeros', received",
        ),
    ],
)
def test_bad_arguments_are_named(name: str, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        CLASSES[name](*arguments)


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose3d"])
def test_a_tuple_of_one_number_stands_for_all_axes_as_in_torch(name: str) -> None:
    options: dict = {"stride": (3,), "padding": [1], "dilation": (2,)}
    if "Transpose" in name:
        options["output_padding"] = (1,)
    shape = (2, 2, *(5, 4, 6)[-int(name[-2]) :])
    x = torch.ones(shape, dtype=torch.float64)
    theirs = getattr(torch.nn, name)(2, 3, 2, **options, dtype=torch.float64)

    mine = as_torch(CLASSES[name](2, 3, 2, **options))
    mine.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(mine(x), theirs(x))
    with pytest.raises(ValueError, match="kernel_size must be a number or"):
        CLASSES[name](2, 3, (2,))


def test_but_not_where_the_border_is_laid_out_first() -> None:
    with pytest.raises(NotImplementedError):
        torch.nn.Conv2d(1, 1, 2, padding=(1,), padding_mode="reflect")(torch.ones(1, 1, 4, 4))
    with pytest.raises(ValueError, match="padding must be a number or 2 of them"):
        CLASSES["Conv2d"](1, 1, 2, padding=(1,), padding_mode="reflect")
    options: dict = {"padding": "same", "padding_mode": "reflect", "dilation": (2,)}
    narrowed = torch.nn.Conv2d(1, 1, 3, **options)(torch.ones(1, 1, 8, 8))
    assert narrowed.shape == (1, 1, 8, 4)  # not the same
    with pytest.raises(ValueError, match="dilation must be a number or 2 of them"):
        CLASSES["Conv2d"](1, 1, 3, **options)


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("Conv2d", {}, (2, 3, 5, 5), r"must be \(N, 2, H, W\) or \(2, H, W\), received shape \(2,"),
        ("Conv1d", {}, (3, 5), r"must be \(N, 2, L\) or \(2, L\), received shape \(3, 5\)"),
        ("Conv2d", {}, (2, 5), r"received shape \(2, 5\)"),
        ("Conv2d", {"dilation": 2}, (1, 2, 5, 4), r"spans 5 elements, the padded width has 4"),
        ("Conv3d", {"padding": 1}, (2, 0, 4, 4), r"spans 3 elements, the padded depth has 2"),
        ("Conv2d", {"padding": 3, "padding_mode": "reflect"}, (1, 2, 3, 4), r"2 to a height of 3"),
        ("Conv2d", {"padding": 4, "padding_mode": "circular"}, (2, 4, 3), r"3 to a width of 3"),
        ("ConvTranspose1d", {}, (1, 3, 4), r"must be \(N, 2, L\) or \(2, L\)"),
        ("ConvTranspose1d", {}, (1, 2, 0), r"an input of \(0,\) has no output"),
        ("ConvTranspose2d", {"padding": 2}, (2, 2, 1), r"no output: it would be \(0, -1\)"),
        ("ConvTranspose1d", {"output_padding": 1}, (2, 2), r"less than the stride or the dilation"),
        ("ConvTranspose1d", {"output_padding": -1}, (2, 2), r"output_padding must be at least 0"),
    ],
)
def test_bad_inputs_are_named(name: str, options: dict, shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        CLASSES[name](2, 3, 3, **options).forward(np.ones(shape))


@EVERY
def test_it_prints_as_torchs_does(cls: type[Layer], example: Example) -> None:
    mine = repr(cls(**example.arguments))
    theirs = repr(getattr(torch.nn, cls.__name__)(**example.arguments))

    assert mine == theirs


def test_backward_is_the_derivative_by_differences_too() -> None:
    example = conv.Conv2d.examples[2]

    check_against_own_forward(built(conv.Conv2d, example, F64), inputs_of(example), smooth=False)
