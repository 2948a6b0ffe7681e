"""MaxPool2d: against torch in every option and at ties, against its own forward, and alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compare.explaining.language import parse
from compare.explaining.render import Latex, Plain
from manual import blocks as blocks_module
from manual.examples import Example
from manual.pool import MaxPool2d
from tests.helpers import DTYPES, F32, F64, SEEDS, check_pure, draw, integers, same
from tests.manual.example_checks import (
    check_certificate,
    check_equations,
    check_exact_numbers,
    check_gauge,
    first,
    inputs_of,
    run,
    upstream,
)
from tests.manual.pool.against_torch import check_against_torch

EVERY = pytest.mark.parametrize(
    "example", MaxPool2d.examples, ids=lambda e: str(MaxPool2d(**e.arguments))
)


# ── against torch ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("values", [draw, integers])
@pytest.mark.parametrize("dtype", [F64, F32])
@EVERY
def test_every_example_agrees_with_torch_at_ties_too(
    example: Example, dtype: np.dtype, values: Callable
) -> None:
    layer = MaxPool2d(**example.arguments)

    check_against_torch(layer, values(2, inputs_of(example)[0].shape, dtype))


@EVERY
def test_whole_numbers_are_bitwise_torchs(example: Example) -> None:
    layer = MaxPool2d(**example.arguments)

    check_against_torch(layer, integers(2, inputs_of(example)[0].shape), integers, 0.0)


@pytest.mark.parametrize("value", [0.0, -3.0, np.inf, -np.inf])
@EVERY
def test_a_plain_image_goes_to_the_first_of_each_window(example: Example, value: float) -> None:
    layer = MaxPool2d(**example.arguments)

    check_against_torch(layer, np.full(inputs_of(example)[0].shape, value))


def test_every_kink_of_the_examples_is_a_tie_that_torch_settles_alike() -> None:
    count = 0
    for example in MaxPool2d.examples:
        layer, x = MaxPool2d(**example.arguments), inputs_of(example)[0]
        for kink in example.kinks.values():
            x = np.broadcast_to(kink["x"], x.shape).astype(F64)
            check_against_torch(layer, x)
            count += 1

    assert count >= 3


PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    lead=st.sampled_from([(2,), (0, 2), (1, 3), (3, 1)]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.one_of(st.none(), PAIR),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=PAIR,
    indices=st.booleans(),
    ceil=st.booleans(),
    values=st.sampled_from([draw, integers]),
    dtype=DTYPES,
    seed=SEEDS,
)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_options_agree_with_torch(
    lead, size, kernel, stride, padding, dilation, indices, ceil, values, dtype, seed
) -> None:
    for k, d, p, n in zip(kernel, dilation, padding, size, strict=True):
        assume(p <= k // 2)
        assume(n + 2 * p > d * (k - 1))
        assume(n >= d)  # or a window meets nothing but padding, and torch reads outside
    layer = MaxPool2d(kernel, stride, padding, dilation, indices, ceil)

    check_against_torch(layer, values(seed, (*lead, *size), dtype))


def test_nan_is_a_windows_output_and_its_last_place_wins_as_in_torch() -> None:
    x = integers(1, (2, 3, 6, 7))
    x[np.random.default_rng(0).random(x.shape) < 0.15] = np.nan
    for layer in (MaxPool2d(3, 2, 1), MaxPool2d(2, return_indices=True), MaxPool2d((2, 3), 1)):
        leaf = torch.tensor(x, requires_grad=True)
        value, indices = torch.nn.functional.max_pool2d(
            leaf, layer.kernel_size, layer.stride, layer.padding, return_indices=True
        )
        y, cache = layer.forward(x)
        dy = integers(2, value.shape)
        (expected,) = torch.autograd.grad(value, [leaf], torch.tensor(dy))

        assert np.array_equal(first(y), value.detach().numpy(), equal_nan=True)
        assert np.array_equal(layer.decisions(cache), indices.numpy())
        assert np.array_equal(layer.backward(upstream(y, dy), cache)[0][0], expected.numpy())


# ── alone ────────────────────────────────────────────────────────────────────────────────────────
@EVERY
def test_backward_is_the_derivative_of_forward(example: Example) -> None:
    layer, (x,), step = MaxPool2d(**example.arguments), inputs_of(example), 1e-6
    y, cache = layer.forward(x)
    dy = draw(1, first(y).shape)
    ((dx,), _) = layer.backward(upstream(y, dy), cache)
    for at in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        ahead, behind = (first(layer.forward(x + s * moved)[0]) for s in (1, -1))

        assert abs(np.sum(dy * (ahead - behind)) / (2 * step) - dx[at]) < 1e-7


@EVERY
def test_nothing_given_is_changed(example: Example) -> None:
    layer = MaxPool2d(**{**example.arguments, "return_indices": False})

    check_pure(layer, inputs_of(example))


def test_nothing_given_is_changed_with_indices_either() -> None:
    layer, x = MaxPool2d(2, return_indices=True), draw(1, (2, 2, 4, 4))
    before = x.copy()
    (y, indices), cache = layer.forward(x)
    kept, dy = (y.copy(), indices.copy(), cache.x.copy()), draw(2, y.shape)
    ((dx,), _) = layer.backward((dy, None), cache)
    ((again,), _) = layer.backward((dy, np.zeros_like(indices)), cache)

    assert np.array_equal(dx, again)
    assert same([x, y, indices, cache.x], [before, *kept])


@EVERY
def test_blocks_of_any_size_give_the_same(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, shape = MaxPool2d(**example.arguments), inputs_of(example)[0].shape
    x = integers(2, (5, *shape[-3:]))
    dy = integers(3, first(layer.forward(x)[0]).shape)
    whole = run(layer, [x], dy)
    monkeypatch.setattr(blocks_module, "BLOCK", 1)

    assert same(run(layer, [x], dy), whole)


@EVERY
def test_given_winners_are_taken(example: Example) -> None:
    layer, (x,) = MaxPool2d(**example.arguments), inputs_of(example)
    y, cache = layer.forward(x)
    winner = layer.decisions(cache)
    dy = draw(1, first(y).shape)
    swapped = np.array(winner)[..., ::-1, ::-1].copy()
    other = layer.settled(swapped)
    moved, cache_ = other.forward(x)
    flat = x.reshape(*x.shape[:-2], -1)
    taken = np.take_along_axis(flat, swapped.reshape(*x.shape[:-2], -1), axis=-1)

    assert same(run(layer.settled(winner), [x], dy), run(layer, [x], dy))
    assert layer.winner is None
    assert np.array_equal(first(moved), taken.reshape(dy.shape))
    assert np.array_equal(other.decisions(cache_), swapped)


def test_decisions_change_where_the_winner_does() -> None:
    x = np.zeros((1, 1, 2, 2))
    layer = MaxPool2d(2)
    found = [
        layer.decisions(layer.forward(x + moved)[1]).item()
        for moved in np.eye(4).reshape(4, 1, 1, 2, 2)
    ]

    assert found == [0, 1, 2, 3]


# ── number systems ───────────────────────────────────────────────────────────────────────────────
@EVERY
def test_the_error_gauge_has_the_plain_values_and_covers_float32(example: Example) -> None:
    check_gauge(MaxPool2d, example)


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.astype(complex) if a.dtype.kind == "f" else a,
        lambda a: a.astype(F32) if a.dtype.kind == "f" else a,
        np.vectorize(Fraction, otypes=[object]),
    ],
    ids=["complex", "float32", "fractions"],
)
@EVERY
def test_whole_numbers_come_out_alike_in_every_number_system(
    example: Example, convert: Callable
) -> None:
    check_exact_numbers(MaxPool2d, example, convert)


@EVERY
def test_50_digits_are_certified_in_balls(example: Example) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")

    check_certificate(MaxPool2d, example)


def test_the_certificate_rejects_the_seventeenth_digit() -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    with pytest.raises(AssertionError, match="WRONG"):
        check_certificate(MaxPool2d, MaxPool2d.examples[0], lambda g: g * (1 + 2.0**-52))


# ── equations ────────────────────────────────────────────────────────────────────────────────────
KEYS = {"output": "output", "input 0": "grad_input"}


@EVERY
def test_the_equations_say_what_the_layer_does(example: Example) -> None:
    check_equations(MaxPool2d, example, KEYS, w=lambda layer, cache: layer.decisions(cache))


def test_an_equation_that_reads_elsewhere_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {k: t.replace("s[0] * u", "u") for k, t in MaxPool2d.equations.items()}
    monkeypatch.setattr(MaxPool2d, "equations", wrong)

    with pytest.raises(AssertionError, match="off by"):
        check_equations(
            MaxPool2d, MaxPool2d.examples[0], KEYS, w=lambda layer, c: layer.decisions(c)
        )


def test_the_equations_can_be_printed() -> None:
    _, _, right = MaxPool2d.equations["output"].splitlines()[0].partition(" = ")

    assert Plain({}).text(parse(right)) == (
        "max_(0 ≤ k < K[0] ∧ 0 ≤ r[u,k] < H) max_(0 ≤ l < K[1] ∧ 0 ≤ q[v,l] < B) "
        "x[n,c,r[u,k],q[v,l]]"
    )
    assert r"\max_{0 \le k < K_{0} \wedge 0 \le r_{uk} < H}" in Latex({}).text(parse(right))


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), r"kernel_size, stride and dilation must be at least 1, received .*\(0, 0\)"),
        ((2, 0), r"must be at least 1, received .*stride=\(0, 0\)"),
        ((2, 2, 2), r"at most half the kernel, 1 here, received \(2, 2\)"),
        ((3, 2, (0, -1)), r"padding must be at least 0 .*received \(0, -1\)"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"MaxPool2d: .*{message}"):
        MaxPool2d(*arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 4), r"must be \(N, C, H, W\) or \(C, H, W\), received shape \(4, 4\)"),
        ((1, 1, 4, 2), r"the window spans 3 elements, the padded width has 2 \(input shape"),
        ((1, 1, 0, 4), r"only the batch may be empty, received shape"),
    ],
)
def test_bad_inputs_are_named(shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"MaxPool2d: .*{message}"):
        MaxPool2d(3).forward(np.ones(shape))


def test_indices_are_an_output_of_their_own_only_if_asked_for() -> None:
    assert MaxPool2d(2).outputs == ("output",)
    assert MaxPool2d(2, return_indices=True).outputs == ("output", "indices")
    assert "return_indices=True" in repr(MaxPool2d(2, return_indices=True))
