"""MultiheadAttention beside torch.nn's, its own forward, balls, error arrays; its refusals."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.attention import MultiheadAttention
from manual.attention.examples import BLIND, CAUSAL
from manual.examples import Example
from tests.helpers import DTYPES, F32, F64, SEEDS
from tests.manual.attention.multihead_cases import EXAMPLES, PLAIN, case_of, cases, fixed, made
from tests.manual.sequence_checks import (
    beside_torch,
    check_beside_torch,
    check_certified,
    check_complex,
    check_equations,
    check_gauge,
    check_own_forward,
    check_pure,
    of_example,
    results,
    upstream,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:Support for mismatched key_padding_mask and attn_mask"
)


# ── against torch ────────────────────────────────────────────────────────────────────────────────
@EXAMPLES
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_every_example_is_torchs(example: Example, dtype: np.dtype) -> None:
    layer, inputs, _ = of_example(MultiheadAttention, example)
    check_beside_torch(layer, example.arguments, inputs, dtype=dtype)


@EXAMPLES
@pytest.mark.parametrize("port", MultiheadAttention.outputs)
def test_each_output_alone_passes_its_gradient_back(example: Example, port: str) -> None:
    layer, inputs, _ = of_example(MultiheadAttention, example)
    if port in layer.outputs:
        check_beside_torch(layer, example.arguments, inputs, port=port)


@pytest.mark.parametrize("sizes", [(2, 0, 3), (0, 2, 3)], ids=str)
@pytest.mark.parametrize("masks", [("", ""), ("bool", "float by head")], ids=str)
def test_sequences_and_batches_may_be_empty(sizes: Any, masks: tuple[str, str]) -> None:
    arguments = {"embed_dim": 4, "num_heads": 2}
    layer, inputs = made((arguments, sizes, True, *masks), 0)
    check_beside_torch(layer, arguments, inputs)


@given(cases(), SEEDS, DTYPES, st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_options_give_torchs_results(
    case: tuple, seed: int, dtype: np.dtype, training: bool
) -> None:
    layer, inputs = made(case, seed)
    check_beside_torch(layer.train(training), case[0], inputs, seed=seed % 1000, dtype=dtype)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_sees_nothing_gives_what_torch_gives(need_weights: bool) -> None:
    """NaN if the weights are asked for, else zeros: forwards and backwards."""
    arguments = {**PLAIN[0], "need_weights": need_weights}
    layer, inputs = made((arguments, (2, 2, 2), True, "", ""), 0)
    mine, theirs, _ = beside_torch(layer, arguments, [*inputs[:4], BLIND])

    assert np.isnan(mine["output"]).any() == need_weights
    for name, value in theirs.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_float_mask_that_blinds_a_query_has_torchs_gradient(need_weights: bool) -> None:
    arguments = {**PLAIN[0], "need_weights": need_weights}
    layer, inputs = made((arguments, (2, 2, 2), True, "", ""), 0)
    mine, theirs, _ = beside_torch(layer, arguments, [*inputs[:4], np.where(BLIND, -np.inf, 0.5)])

    assert "input 4" in theirs
    for name, value in theirs.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-12, atol=1e-13, err_msg=name)


def test_a_hidden_score_of_any_size_leaves_the_others_their_digits() -> None:
    """The largest score is taken of what is seen, or all that is seen would underflow."""
    layer, inputs = made(case_of({}), 0)
    inputs[1] = inputs[1].copy()
    inputs[1][1] *= 1e4  # the key that nobody sees
    hidden = np.zeros((3, 3), bool)
    hidden[:, 1] = True
    check_beside_torch(layer, PLAIN[0], [*inputs[:4], hidden])


@pytest.mark.parametrize("padding", ["", "bool"])
@pytest.mark.parametrize("need_weights", [True, False])
def test_the_hint_replaces_the_mask_just_where_torch_lets_it(
    need_weights: bool, padding: str
) -> None:
    """With a mask that is not causal, so that one sees which was used."""
    arguments = {"is_causal": True, "need_weights": need_weights}
    layer, inputs = made(case_of(arguments, padding), 0)
    inputs[4] = np.zeros((3, 3), bool)
    check_beside_torch(layer, {**PLAIN[0], **arguments}, inputs)
    plain = layer.forward(*inputs[:4], CAUSAL)[0]
    hinted = layer.forward(*inputs)[0]

    assert np.array_equal(hinted, plain) if not (need_weights or padding) else True


def test_a_causal_hint_beside_a_float_mask_leaves_it_without_a_gradient() -> None:
    arguments = {"is_causal": True, "need_weights": False}
    layer, inputs = made(case_of(arguments, "", "float"), 0)
    mine, theirs, _ = beside_torch(layer, {**PLAIN[0], **arguments}, inputs)

    assert "input 4" not in theirs
    assert mine.keys() == theirs.keys()


@pytest.mark.parametrize("need_weights", [True, False])
def test_torch_draws_its_mask_in_the_shape_that_draw_has(need_weights: bool) -> None:
    arguments = {"dropout": 0.5, "add_zero_attn": True, "need_weights": need_weights}
    layer, inputs = made(case_of(arguments), 0)
    _, _, torchs = beside_torch(layer, {**PLAIN[0], **arguments}, inputs)
    own = layer.draw(*inputs, rng=np.random.default_rng(0))

    assert own.shape == torchs[0].shape == ((4, 3, 4) if need_weights else (2, 2, 3, 4))
    assert len(torchs) == 1
    assert 0.2 < own.mean() < 0.8


def test_without_dropout_nothing_is_drawn() -> None:
    layer, inputs = made(PLAIN, 0)

    assert layer.draw(*inputs, rng=np.random.default_rng(0)) is None


def test_an_unused_output_may_have_none_for_a_gradient() -> None:
    layer, inputs = made(PLAIN, 0)
    for port in layer.outputs:
        ups = upstream(layer, inputs, None, port)
        nones = [u if u.any() else None for u in ups]
        with_zeros, with_nones = results(layer, inputs, ups), results(layer, inputs, nones)
        for name, value in with_zeros.items():
            np.testing.assert_allclose(with_nones[name], value, rtol=1e-14, atol=1e-15)


def test_without_weights_there_is_one_output() -> None:
    layer, inputs = made(case_of({"need_weights": False}), 0)

    assert layer.outputs == ("output",)
    assert layer.forward(*inputs)[0].shape == (3, 2, 4)
    assert MultiheadAttention.outputs == ("output", "weights")


# ── in every number system ───────────────────────────────────────────────────────────────────────
@EXAMPLES
def test_backward_is_the_derivative_of_forward(example: Example) -> None:
    check_own_forward(*of_example(MultiheadAttention, example), fixed(example))


@EXAMPLES
def test_complex_numbers_without_an_imaginary_part_give_the_real_result(example: Example) -> None:
    check_complex(*of_example(MultiheadAttention, example))


@EXAMPLES
def test_error_arrays_give_the_plain_values_and_cover_torchs(example: Example) -> None:
    layer, inputs, _ = of_example(MultiheadAttention, example)
    check_gauge(layer, example.arguments, inputs)


@EXAMPLES
def test_it_is_pure(example: Example) -> None:
    check_pure(*of_example(MultiheadAttention, example))


SMALL = {
    "masks that are added": ({}, "float", "float"),
    "all that is appended": ({"add_bias_kv": True, "add_zero_attn": True}, "bool", ""),
    "projections of their own": ({"kdim": 1, "vdim": 1, "dropout": 0.4}, "", "bool"),
}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_balls_certify_every_gradient(case: tuple) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    more, padding, attention = case
    arguments = {"embed_dim": 2, "num_heads": 2, **more}
    layer, inputs = made((arguments, (1, 2, 2), True, padding, attention), 0)
    noise = layer.draw(*inputs, rng=np.random.default_rng(3))
    infinite = [i for i in (3, 4) if inputs[i] is not None and not np.isfinite(inputs[i]).all()]
    check_certified(layer, inputs, noise, infinite)


@pytest.mark.parametrize("batch_first", [False, True])
def test_its_equations_say_what_it_computes(batch_first: bool) -> None:
    arguments = {"embed_dim": 2, "num_heads": 1, "batch_first": batch_first}
    layer, inputs = made((arguments, (2, 3, 3), True, "", ""), 0)
    check_equations(layer, inputs, {"weights": "output:weights"})


@pytest.mark.parametrize(
    ("more", "mask"),
    [
        ({"num_heads": 2}, ""),
        ({"bias": False}, ""),
        ({"kdim": 1}, ""),
        ({"add_zero_attn": True}, ""),
        ({}, "bool"),
    ],
    ids=str,
)
def test_no_equation_claims_to_hold_for_what_it_does_not_say(more: dict, mask: str) -> None:
    arguments = {"embed_dim": 2, "num_heads": 1, **more}
    layer, inputs = made((arguments, (2, 3, 3), True, mask, ""), 0)

    assert layer.variants(layer.forward(*inputs)[1]) == ()


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_heads": 3}, "must divide embed_dim, received embed_dim = 4 and num_heads = 3"),
        ({"num_heads": 0}, "num_heads = 0"),
        ({"dropout": -0.5}, "between 0 and 1, received -0.5"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=f"MultiheadAttention: .*{re.escape(said)}"):
        MultiheadAttention(**{"embed_dim": 4, "num_heads": 2, **arguments})


X = np.ones((3, 2, 4))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((X, X[..., :2], X), "key must be (T, N, 4)"),
        ((X, X, X[0]), "value must be (T, N, 4), or all three without N, received shape (2, 4)"),
        ((X, X, X[:2]), "key and value must be equally long"),
        ((X, X[:, :1], X[:, :1]), "one batch size"),
        ((X, X, X, CAUSAL), "key_padding_mask must have the shape (2, 3), received (3, 3)"),
        ((X, X, X, None, CAUSAL[:2]), "attn_mask must have the shape (3, 3) or (4, 3, 3)"),
        ((X, X, X, None, CAUSAL.astype(int)), "must be boolean (True hides) or of floats"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=f"MultiheadAttention: .*{re.escape(said)}"):
        MultiheadAttention(4, 2).forward(*inputs)


def test_a_causal_hint_without_a_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="is_causal is a hint about attn_mask"):
        MultiheadAttention(4, 2, is_causal=True).forward(X, X, X)


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"noise must be a mask of the weights, \(4, 3, 3\) or"):
        MultiheadAttention(4, 2, dropout=0.5).forward(X, X, X, noise=np.ones((3, 3)))
