"""LSTM beside torch.nn.LSTM, its own forward, balls, error arrays; and planted mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from manual.examples import Example
from manual.recurrent import LSTM, lstm_cell, stack, unrolled
from manual.recurrent.lstm_cell import LSTMUnit
from tests.helpers import F32, F64
from tests.manual.sequence_checks import (
    check_beside_torch,
    check_certified,
    check_equations,
    check_gauge,
    check_own_forward,
    check_pure,
    filled,
    of_example,
    results,
    shown,
    upstream,
)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
EXAMPLES = pytest.mark.parametrize("example", LSTM.examples, ids=shown)


# ── against torch ────────────────────────────────────────────────────────────────────────────────
@EXAMPLES
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_every_example_is_torchs(example: Example, dtype: np.dtype) -> None:
    layer, inputs, _ = of_example(LSTM, example)
    check_beside_torch(layer, example.arguments, inputs, dtype=dtype)


@EXAMPLES
@pytest.mark.parametrize("port", LSTM.outputs)
def test_each_output_alone_passes_its_gradient_back(example: Example, port: str) -> None:
    layer, inputs, _ = of_example(LSTM, example)
    check_beside_torch(layer, example.arguments, inputs, port=port)


def made(case: tuple, seed: int) -> tuple[LSTM, list[Any]]:
    arguments, shape, given_states = case
    rng = np.random.default_rng(seed)
    layer = filled(LSTM(**arguments), rng)
    count = layer.directions * layer.num_layers  # type: ignore[attr-defined]
    batch = () if len(shape) == 2 else (shape[0 if arguments.get("batch_first") else 1],)
    sizes = (layer.output_size, layer.hidden_size)  # type: ignore[attr-defined]
    states = [rng.standard_normal((count, *batch, size)) for size in sizes]
    inputs = [rng.standard_normal(shape), *(states if given_states else (None, None))]
    return layer, inputs  # type: ignore[return-value]


def test_dropout_uses_as_many_masks_as_torch_draws_and_draw_makes_them_alike() -> None:
    from tests.manual.sequence_checks import beside_torch

    arguments = {
        "input_size": 2, "hidden_size": 3, "num_layers": 3, "dropout": 0.5,
        "batch_first": True, "bidirectional": True,
    }  # fmt: skip
    layer, inputs = made((arguments, (4, 5, 2), False), 0)
    _, _, torchs = beside_torch(layer, arguments, inputs)
    own = layer.draw(inputs[0], rng=np.random.default_rng(0))

    assert [m.shape for m in torchs] == [m.shape for m in own] == [(5, 4, 6)] * 2
    assert 0.2 < np.mean([m.mean() for m in own]) < 0.8


def test_without_dropout_nothing_is_drawn() -> None:
    x = np.ones((3, 2, 2))

    assert LSTM(2, 2, num_layers=2).draw(x, rng=np.random.default_rng(0)) == ()
    assert LSTM(2, 2, dropout=0.5).draw(x, rng=np.random.default_rng(0)) == ()


def test_an_unused_output_may_have_none_for_a_gradient() -> None:
    layer, inputs = made(({"input_size": 2, "hidden_size": 3, "proj_size": 2}, (4, 2, 2), True), 0)
    for port in LSTM.outputs:
        ups = upstream(layer, inputs, None, port)
        nones = [u if u.any() else None for u in ups]
        with_zeros, with_nones = results(layer, inputs, ups), results(layer, inputs, nones)
        assert all(np.array_equal(with_zeros[k], with_nones[k]) for k in with_zeros)


def test_states_left_out_are_zero_and_have_no_gradient() -> None:
    layer, (x, h_0, c_0) = made(({"input_size": 2, "hidden_size": 3}, (4, 2, 2), True), 0)
    ups = upstream(layer, (x, h_0, c_0), None)
    given_zeros = results(layer, (x, 0 * h_0, 0 * c_0), ups)
    left_out = results(layer, (x, None, None), ups)

    assert given_zeros.keys() - left_out.keys() == {"input 1", "input 2"}
    assert all(np.array_equal(given_zeros[k], left_out[k]) for k in left_out)


def test_a_sequence_in_two_pieces_gives_what_it_gives_in_one() -> None:
    """States handed on join two passes, forwards and backwards: backpropagation through time."""
    layer, (x, h_0, c_0) = made(({"input_size": 2, "hidden_size": 3}, (6, 2, 2), True), 0)
    dy, dh, dc = upstream(layer, (x, h_0, c_0), None)
    whole = results(layer, (x, h_0, c_0), (dy, dh, dc))
    (first, h, c), early = layer.forward(x[:4], h_0, c_0)
    second = results(layer, (x[4:], h, c), (dy[4:], dh, dc))
    (dx, dh_0, dc_0, _), grads = layer.backward(
        (dy[:4], second["input 1"], second["input 2"]), early
    )

    pairs = {"output": np.concatenate([first, second["output"]]), "input 1": dh_0, "input 2": dc_0}
    pairs["input 0"] = np.concatenate([dx, second["input 0"]])
    pairs |= {f"grad:{k}": g + second[f"grad:{k}"] for k, g in grads.items()}
    for name, value in pairs.items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_scores_beyond_the_range_of_exp_saturate_without_a_warning() -> None:
    layer, inputs = made(({"input_size": 1, "hidden_size": 1}, (3, 1, 1), False), 0)
    far = [inputs[0] * 1e6, None, None]
    check_beside_torch(layer, {"input_size": 1, "hidden_size": 1}, far)


def test_a_small_candidate_keeps_its_digits() -> None:
    """tanh as 2 σ(2z) - 1 would leave 1e-10 with six digits."""
    layer = LSTM(1, 1, bias=False)
    layer = layer.with_params({k: np.ones_like(p) for k, p in layer.params.items()})
    tiny = np.full((1, 1, 1), 1e-10)
    (_, _, c_n), _ = layer.forward(tiny)

    np.testing.assert_allclose(c_n, 0.5e-10, rtol=1e-9)
    np.testing.assert_allclose(c_n, np.tanh(tiny) / (1 + np.exp(-tiny)), rtol=1e-15)


# ── in every number system ───────────────────────────────────────────────────────────────────────
@EXAMPLES
def test_backward_is_the_derivative_of_forward(example: Example) -> None:
    check_own_forward(*of_example(LSTM, example))


@EXAMPLES
def test_error_arrays_give_the_plain_values_and_cover_torchs(example: Example) -> None:
    layer, inputs, _ = of_example(LSTM, example)
    check_gauge(layer, example.arguments, inputs)


SMALL = {
    "plain": ({"input_size": 2, "hidden_size": 2}, (3, 1, 2), True),
    "all options": (
        {"input_size": 1, "hidden_size": 2, "num_layers": 2, "batch_first": True, "dropout": 0.5,
         "bidirectional": True, "proj_size": 1},
        (1, 2, 1),
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_balls_certify_every_gradient(case: tuple) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    layer, inputs = made(case, 0)
    check_certified(layer, inputs, layer.draw(*inputs, rng=np.random.default_rng(3)))


PORTS = {
    "h_n": "output:h_n",
    "c_n": "output:c_n",
    "input 0": "grad_input",
    "input 1": "grad_h_0",
    "input 2": "grad_c_0",
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("states", [False, True])
def test_its_equations_say_what_it_computes(batch_first: bool, states: bool) -> None:
    arguments = {"input_size": 2, "hidden_size": 2, "batch_first": batch_first}
    layer, inputs = made((arguments, (2, 3, 2), states), 0)
    check_equations(layer, inputs, PORTS)


@pytest.mark.parametrize(
    "more", [{"num_layers": 2}, {"bidirectional": True}, {"bias": False}, {"proj_size": 1}], ids=str
)
def test_no_equation_claims_to_hold_for_what_it_does_not_say(more: dict) -> None:
    layer, inputs = made(({"input_size": 2, "hidden_size": 2, **more}, (3, 2, 2), False), 0)

    assert layer.variants(layer.forward(*inputs)[1]) == ()


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
def swapped_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order i, f, o, g of some other libraries."""

    def four(gates: Any) -> tuple:
        size = len(gates) // 4
        i, f, g, o = (gates[k * size : (k + 1) * size] for k in range(4))
        return f, i, g, o

    monkeypatch.setattr(lstm_cell, "four", four)


def plant(module: Any, name: str, wrong: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what replaces a function by `wrong(right, *arguments)`."""

    def planted(monkeypatch: pytest.MonkeyPatch) -> None:
        right = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: wrong(right, *a, **k))

    return planted


def _no_forget_path(right: Callable, unit: Any, dstates: Any, step: Any) -> tuple:
    dz, _, (direct, before) = right(unit, dstates, step)
    return dz, dz, (direct, 0 * before)


def _no_output_path(right: Callable, unit: Any, dstates: Any, step: Any) -> tuple:
    dz, _, (direct, _) = right(unit, dstates, step)
    return dz, dz, (direct, dstates[1] * step.gates[len(step.c) : 2 * len(step.c)])


def _not_turned_back(right: Callable, *arguments: Any, **options: Any) -> Any:
    back = right(*arguments, **options)
    turned = arguments[4].x.strides[0] < 0
    return back._replace(x=back.x[::-1]) if turned and back.x is not None else back


def _squared_tanh(right: Callable, unit: Any, dstates: Any, step: Any) -> tuple:
    dz, _, before = right(unit, dstates, step)
    size = len(step.c)
    g = step.gates[2 * size : 3 * size]
    dz[2 * size : 3 * size] *= (1 - g) / (1 - g * g)
    return dz, dz, before


def _next_state(right: Callable, *arguments: Any) -> Any:
    *rest, past = arguments
    return right(*rest, past._replace(h=np.roll(past.h, -1, axis=0)))


def _last_step_only(right: Callable, unit: Any, dy: Any, *arguments: Any, **options: Any) -> Any:
    only = 0 * dy
    only[-1] = dy[-1]
    return right(unit, only, *arguments, **options)


def _scaled(by: float) -> Callable:
    def wrong(right: Callable, *arguments: Any) -> tuple:
        dz, _, (_, before) = right(*arguments)
        return dz * by, dz * by, (None, before * by)

    return wrong


BACKWARD = {
    "the forget gate's path through c is missing": plant(LSTMUnit, "backward", _no_forget_path),
    "the path from h to c is missing": plant(LSTMUnit, "backward", _no_output_path),
    "g has a slope of 1 - g": plant(LSTMUnit, "backward", _squared_tanh),
    "the reverse direction is not turned back": plant(stack, "run_backward", _not_turned_back),
    "U meets the state after the step": plant(unrolled, "_weight_gradients", _next_state),
    "only the last output's gradient is used": plant(stack, "run_backward", _last_step_only),
}
MISTAKES = {"gates in another order": swapped_gates, **BACKWARD}
ARGUMENTS = {"input_size": 2, "hidden_size": 3, "bidirectional": True}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_a_planted_mistake_is_rejected_beside_torch(
    mistake: Callable, dtype: np.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = made((ARGUMENTS, (4, 2, 2), True), 0)
    check_beside_torch(layer, ARGUMENTS, inputs, dtype=dtype)
    mistake(monkeypatch)

    with pytest.raises(AssertionError, match="off by"):
        check_beside_torch(layer, ARGUMENTS, inputs, dtype=dtype)


@pytest.mark.parametrize("mistake", BACKWARD.values(), ids=BACKWARD)
def test_a_mistake_in_backward_is_rejected_without_torch(
    mistake: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = made((ARGUMENTS, (4, 2, 2), True), 0)
    mistake(monkeypatch)

    with pytest.raises(AssertionError, match="not"):
        check_own_forward(layer, inputs)


def test_balls_reject_a_mistake_of_one_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    layer, inputs = made(({"input_size": 1, "hidden_size": 1}, (2, 1, 1), False), 0)
    plant(LSTMUnit, "backward", _scaled(1 + 2.0**-52))(monkeypatch)

    with pytest.raises(AssertionError, match="WRONG"):
        check_certified(layer, inputs)


def test_a_mask_forgotten_in_backward_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"input_size": 2, "hidden_size": 3, "num_layers": 2, "dropout": 0.5}
    layer, inputs = made((arguments, (4, 2, 2), False), 0)
    check_beside_torch(layer, arguments, inputs)
    right = LSTM.backward
    monkeypatch.setattr(LSTM, "backward", lambda s, dy, c: right(s, dy, c._replace(keeps=())))

    with pytest.raises(AssertionError, match="off by"):
        check_beside_torch(layer, arguments, inputs)


def test_the_gauge_rejects_a_mistake_far_below_a_common_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, inputs = made((ARGUMENTS, (4, 2, 2), True), 0)
    plant(LSTMUnit, "backward", _scaled(1 + 1e-9))(monkeypatch)

    with pytest.raises(AssertionError, match="beyond tolerance"):
        check_gauge(layer, ARGUMENTS, inputs)


def test_a_backward_that_writes_into_its_cache_is_impure(monkeypatch: pytest.MonkeyPatch) -> None:
    def writing(right: Callable, unit: Any, dstates: Any, step: Any) -> tuple:
        found = right(unit, dstates, step)
        step.tanh_c[...] *= 0.5
        return found

    layer, inputs = made((ARGUMENTS, (4, 2, 2), True), 0)
    plant(LSTMUnit, "backward", writing)(monkeypatch)

    with pytest.raises(AssertionError, match="changed"):
        check_pure(layer, inputs)


def test_a_wrong_equation_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = made(({"input_size": 2, "hidden_size": 2}, (2, 1, 2), False), 0)
    wrong = {k: t.replace("k + H + H])", "k + H])") for k, t in LSTM.equations.items()}
    monkeypatch.setattr(LSTM, "equations", wrong)

    with pytest.raises(AssertionError, match=r"output at"):
        check_equations(layer, inputs, PORTS)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1, received 0"),
        ({"num_layers": 0}, "num_layers must be at least 1, received 0"),
        ({"dropout": 1.5}, "between 0 and 1, received 1.5"),
        ({"proj_size": 3}, "from 1 to hidden_size - 1 = 2, received 3"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=f"LSTM: .*{re.escape(said)}"):
        LSTM(**{"input_size": 2, "hidden_size": 3, **arguments})


STATE = np.zeros((1, 4, 3))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((np.zeros((5, 4, 3)),), "input_size = 2, received shape (5, 4, 3)"),
        ((np.zeros((0, 4, 2)),), "T > 0"),
        ((np.zeros(2),), "received shape (2,)"),
        ((np.zeros((5, 4, 2)), STATE), "received h_0 alone. Pass zeros as c_0"),
        ((np.zeros((5, 4, 2)), None, STATE), "received c_0 alone"),
        ((np.zeros((5, 4, 2)), STATE[0], STATE), "h_0 must have the shape"),
        ((np.zeros((5, 4, 2)), STATE, STATE[:, :2]), "c_0 must have the shape"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=f"LSTM: .*{re.escape(said)}"):
        LSTM(2, 3).forward(*inputs)


@pytest.mark.parametrize(
    "noise", [np.ones((5, 4, 2)), (np.ones((5, 4, 3)),) * 2, (np.ones((4, 5, 3)),)]
)
def test_noise_of_another_shape_is_refused(noise: Any) -> None:
    layer = LSTM(2, 3, num_layers=2, dropout=0.5)

    with pytest.raises(
        ValueError, match=r"LSTM: noise must be 1 masks of the shapes \[\(5, 4, 3\)\]"
    ):
        layer.forward(np.zeros((5, 4, 2)), noise=noise)
