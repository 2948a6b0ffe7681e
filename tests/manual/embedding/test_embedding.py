"""Embedding: rows looked up by integers, and the sums that come back to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.witness.cases import layer_case
from manual.embedding import Embedding
from manual.examples import Example
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    assert_close,
    check_pure,
    draw,
    integers,
    same,
    shapes,
    vjp_by_complex_step,
)
from tests.manual.module_checks import (
    check_certified,
    check_complex,
    check_equations,
    check_gauge,
    check_module,
    made,
    of_example,
    results,
    shown,
    upstream,
)

SIZE = {"num_embeddings": 6, "embedding_dim": 3}
INDEX = np.array([[4, 1, 4, 4], [0, 1, 2, 4]])  # rows 1 and 4 repeat, 3 and 5 are not looked up
DERIVATIVES = [e for e in Embedding.examples if not e.convention]


def check_own_forward(layer: Embedding, index: np.ndarray) -> None:
    """Compare the weight's gradient with the derivative of forward by complex steps."""
    y, cache = layer.forward(index)
    dy = draw(3, y.shape)
    (expected,) = vjp_by_complex_step(
        lambda w: layer.with_params({"weight": w}).forward(index)[0], [layer.params["weight"]], dy
    )
    assert_close("gradient of weight", layer.backward(dy, cache)[1]["weight"], expected, 1e-12)


@given(
    shape=shapes(min_dims=0, max_dims=3, max_side=5),
    rows=st.integers(1, 7),
    width=st.integers(1, 4),
    padding=st.none() | st.integers(-7, 6),
    frequency=st.booleans(),
    integer=st.sampled_from([np.int64, np.int32]),
    training=st.booleans(),
    dtype=DTYPES,
    seed=SEEDS,
)
@settings(derandomize=True, deadline=None, max_examples=120)
def test_every_option_agrees_with_torch(
    shape, rows, width, padding, frequency, integer, training, dtype, seed
) -> None:
    padding = None if padding is None else max(-rows, min(padding, rows - 1))
    arguments = {"num_embeddings": rows, "embedding_dim": width, "padding_idx": padding,
                 "scale_grad_by_freq": frequency}  # fmt: skip
    layer = made(Embedding, arguments, seed, dtype, training)
    index = np.array(np.random.default_rng(seed).integers(0, rows, shape), dtype=integer)

    check_module(layer, "Embedding", arguments, index, seed, scale=1.0)


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}], ids=str)
def test_on_whole_numbers_it_is_bitwise_torchs(options: dict, dtype: np.dtype) -> None:
    arguments = {"num_embeddings": 40, "embedding_dim": 5, **options}
    layer = Embedding(**arguments).with_params({"weight": integers(1, (40, 5), dtype)})
    index = np.minimum(np.random.default_rng(0).zipf(1.3, (30, 10)), 40) - 1  # some far more often
    dy = integers(2, (30, 10, 5), dtype)
    y, cache = layer.forward(index)
    leaf = torch.tensor(layer.params["weight"], requires_grad=True)
    theirs = torch.nn.functional.embedding(torch.tensor(index), leaf, **options)
    theirs.backward(torch.tensor(dy))

    assert leaf.grad is not None
    assert same(y, theirs.detach().numpy())
    assert same(layer.backward(dy, cache)[1]["weight"], leaf.grad.numpy())


@pytest.mark.parametrize("index", [INDEX, INDEX[0], np.array(4), INDEX.reshape(2, 2, 2)], ids=repr)
def test_the_weights_gradient_is_the_derivative_of_forward(index: np.ndarray) -> None:
    layer = made(Embedding, SIZE, 1, F64, True)
    assert isinstance(layer, Embedding)

    check_own_forward(layer, index)


def test_integers_have_no_gradient() -> None:
    layer = Embedding(6, 3)
    y, cache = layer.forward(INDEX)

    assert layer.backward(y, cache)[0] == (None,)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 4}, {"scale_grad_by_freq": True}], ids=str)
def test_nothing_given_is_changed(options: dict) -> None:
    check_pure(made(Embedding, {**SIZE, **options}, 1, F64, True), [INDEX])


@pytest.mark.parametrize("index", [np.array(2), np.array([2])])
def test_the_output_is_no_window_on_the_weight(index: np.ndarray) -> None:
    layer = Embedding(6, 3)

    assert not np.shares_memory(layer.forward(index)[0], layer.params["weight"])


def test_padding_is_read_but_never_trained() -> None:
    layer = made(Embedding, {**SIZE, "padding_idx": 4}, 1, F64, True)
    y, cache = layer.forward(INDEX)
    grad = layer.backward(np.ones_like(y), cache)[1]["weight"]

    assert (y[0, 0] == layer.params["weight"][4]).all()
    assert grad.tolist() == [[1] * 3, [2] * 3, [1] * 3, [0] * 3, [0] * 3, [0] * 3]


def test_padding_takes_no_nan_from_above() -> None:
    layer = made(Embedding, {**SIZE, "padding_idx": 4}, 1, F64, True)
    y, cache = layer.forward(INDEX)
    dy = np.where((INDEX == 4)[..., None], np.nan, np.ones_like(y))

    assert np.isfinite(layer.backward(dy, cache)[1]["weight"]).all()


def test_no_look_ups_give_a_gradient_of_zeros() -> None:
    arguments = {**SIZE, "scale_grad_by_freq": True}
    layer = made(Embedding, arguments, 1, F64, True)

    check_module(layer, "Embedding", arguments, np.zeros((2, 0), dtype=np.int64))


# ── its examples, in every number system ─────────────────────────────────────────────────────────
@pytest.mark.parametrize("example", Embedding.examples, ids=shown)
class TestExample:
    def test_torch_agrees(self, example: Example) -> None:
        layer, x = of_example(Embedding, example)
        check_module(layer, "Embedding", example.arguments, x)

    def test_the_gauge_has_the_plain_values(self, example: Example) -> None:
        layer, x = of_example(Embedding, example)
        check_gauge(layer, "Embedding", example.arguments, x)

    def test_complex_numbers_pass(self, example: Example) -> None:
        check_complex(*of_example(Embedding, example))

    def test_its_equations_hold(self, example: Example) -> None:
        check_equations(*of_example(Embedding, example))


@pytest.mark.parametrize("example", DERIVATIVES, ids=shown)
def test_balls_certify_it(example: Example) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    check_certified(*of_example(Embedding, example))


@pytest.mark.parametrize("options", [{"padding_idx": 4}, {"scale_grad_by_freq": True}], ids=str)
def test_a_gradient_by_convention_is_no_derivative_and_balls_say_so(options: dict) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    layer = made(Embedding, {**SIZE, **options}, 1, F64, True)

    assert "WRONG" in layer_case(layer, INDEX).certify(256, 50, 0).note
    check_certified(layer, np.array([0, 3, 5]))  # each row once, the padding not at all


def test_every_equation_is_reached_by_an_example() -> None:
    reached = [check_equations(*of_example(Embedding, e)) for e in Embedding.examples]

    assert set().union(*reached) == set(Embedding.equations)


# ── names and messages ───────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "options", [{}, {"padding_idx": -1}, {"padding_idx": 0, "scale_grad_by_freq": True}], ids=str
)
def test_names_and_layouts_are_torchs(options: dict) -> None:
    mine, theirs = Embedding(6, 3, **options), torch.nn.Embedding(6, 3, **options)

    assert {k: p.shape for k, p in mine.params.items()} == {
        k: tuple(p.shape) for k, p in theirs.state_dict().items()
    }
    assert repr(mine) == repr(theirs)
    assert mine.padding_idx == theirs.padding_idx


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparse": True, "scale_grad_by_freq": True}, r"Embedding: sparse=True has no scale_gr"),
        ({"_weight": np.zeros((3, 6))}, r"Embedding: _weight must be \(6, 3\), received \(3, 6\)"),
        ({"padding_idx": 6}, r"Embedding: padding_idx must be one of the 6 rows.*received 6"),
        ({"padding_idx": -7}, r"Embedding: padding_idx must be one of the 6 rows.*received -7"),
        ({"num_embeddings": -1}, "Embedding: num_embeddings must be at least 0, received -1"),
        ({"embedding_dim": 3.0}, "Embedding: embedding_dim must be a whole number, received 3.0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Embedding(**{"num_embeddings": 6, "embedding_dim": 3, **options})


@pytest.mark.parametrize(("rows", "width"), [(6, 0), (0, 3)])
def test_a_table_without_columns_or_rows_is_looked_up_as_torch_does(rows: int, width: int) -> None:
    index = np.zeros((2, 3 if rows else 0), int)
    theirs = torch.nn.Embedding(6, 3).double()
    theirs.weight = torch.nn.Parameter(torch.zeros(rows, width, dtype=torch.float64))
    y = theirs(torch.tensor(index))
    y.sum().backward()
    mine, cache = Embedding(rows, width).forward(index)

    assert mine.shape == tuple(y.shape)
    (_, grads) = Embedding(rows, width).backward(mine, cache)
    assert grads["weight"].shape == tuple(theirs.weight.grad.shape)  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [6, -1, 100])
def test_a_number_that_is_no_row_is_refused_as_torch_does(wrong: int) -> None:
    index = np.array([0, wrong, 1])

    with pytest.raises(IndexError):
        torch.nn.Embedding(6, 3)(torch.tensor(index))
    with pytest.raises(IndexError, match=rf"Embedding: .*rows 0 to 5, received {wrong}"):
        Embedding(6, 3).forward(index)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, bool, np.uint8, np.uint64])
def test_an_input_without_signed_integers_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"Embedding: .*signed integers.*astype\(np.int64\)"):
        Embedding(6, 3).forward(np.ones(2, dtype))


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
class Overwrites(Embedding):
    """`=` instead of `+=`: the last look-up of a row wins."""

    def grad_params(self, grad_output: Any, cache: Any) -> Any:
        grad = np.zeros_like(grad_output, shape=(self.num_embeddings, self.embedding_dim))
        grad[cache.index.reshape(-1)] = grad_output.reshape(-1, self.embedding_dim)
        return {"weight": grad}


class KeepsPadding(Embedding):
    def grad_params(self, grad_output: Any, cache: Any) -> Any:
        return Embedding.grad_params(self._twin(padding_idx=None), grad_output, cache)


class IgnoresFrequency(Embedding):
    def grad_params(self, grad_output: Any, cache: Any) -> Any:
        return Embedding.grad_params(self._twin(scale_grad_by_freq=False), grad_output, cache)


class DividesByAll(Embedding):
    """Scales by the number of look-ups of any row."""

    def grad_params(self, grad_output: Any, cache: Any) -> Any:
        plain = self._twin(scale_grad_by_freq=False)
        grads = Embedding.grad_params(plain, grad_output, cache)
        return {"weight": grads["weight"] / cache.index.size}


class Unsorted(Embedding):
    """The rows of dy are not put into the order of the indices."""

    def grad_params(self, grad_output: Any, cache: Any) -> Any:
        cache = cache._replace(index=np.sort(cache.index, axis=None).reshape(cache.index.shape))
        return Embedding.grad_params(self, grad_output, cache)


class NextRow(Embedding):
    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return super().forward((x + 1) % self.num_embeddings)


MISTAKES: list[tuple[type[Embedding], dict, str]] = [
    (Overwrites, {}, "grad:weight"),
    (KeepsPadding, {"padding_idx": 4}, "grad:weight"),
    (KeepsPadding, {"padding_idx": -2}, "grad:weight"),
    (IgnoresFrequency, {"scale_grad_by_freq": True}, "grad:weight"),
    (DividesByAll, {"scale_grad_by_freq": True}, "grad:weight"),
    (Unsorted, {}, "grad:weight"),
    (NextRow, {}, "output"),
]


@pytest.mark.parametrize(("kind", "options", "quantity"), MISTAKES)
def test_the_torch_check_the_equations_and_the_gauge_reject(
    kind: type[Embedding], options: dict, quantity: str
) -> None:
    arguments = {**SIZE, **options}
    layer = made(kind, arguments, 1, F64, True)

    with pytest.raises(AssertionError, match=quantity):
        check_module(layer, "Embedding", arguments, INDEX)
    with pytest.raises(AssertionError, match=quantity):
        check_equations(layer, INDEX)
    with pytest.raises(AssertionError, match="beyond tolerance"):
        check_gauge(layer, "Embedding", arguments, INDEX)


@pytest.mark.parametrize("kind", [Overwrites, Unsorted])
def test_own_forward_and_balls_reject(kind: type[Embedding]) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    layer = made(kind, SIZE, 1, F64, True)
    assert isinstance(layer, Embedding)
    checks: list[Callable[[], Any]] = [
        lambda: check_own_forward(layer, INDEX),
        lambda: check_certified(layer, INDEX),
    ]

    for check in checks:
        with pytest.raises(AssertionError):
            check()


def test_repeated_indices_are_what_tells_overwriting_from_adding() -> None:
    layer, once = made(Overwrites, SIZE, 1, F64, True), np.array([3, 0, 5])

    check_module(layer, "Embedding", SIZE, once)


def test_grad_params_alone_are_those_of_backward() -> None:
    for example in Embedding.examples:
        layer, x = of_example(Embedding, example)
        cache, dy = layer.forward(x)[1], upstream(layer, x, 0)
        assert same(layer.grad_params(dy, cache), layer.backward(dy, cache)[1])
        assert set(results(layer, x, dy)) == {"output", "grad:weight"}
