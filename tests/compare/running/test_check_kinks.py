"""Where there is no derivative: every subgradient is a convention, any other number a mistake."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import compare
from compare.pair.tolerance import PRECISIONS

HALVES = ["float64", "float32", "float16", "bfloat16"]


def maximum(x, y):
    return np.maximum(x, y)


def whole_to_both(dout, x, y):
    return dout * (x >= y), dout * (y >= x)


def checked(forward: Any, backward: Any, reference: Any, inputs: dict, **options: Any) -> Any:
    return compare.check(forward, backward, reference, inputs, shrink=False, **options)


# ── ties are tested whatever else is kinked ──────────────────────────────────────────────────────
INTEGERS = {"x": np.array([[1.0, 2.0], [3.0, 0.0]]), "y": np.array([[1.0, 5.0], [3.0, 0.0]])}
BESIDE = {
    "relu": (
        lambda x, y: np.maximum(np.maximum(x, y), 0),
        lambda x, y: torch.relu(torch.maximum(x, y)),
        lambda x, y: ((x >= y) * (x > 0), (y >= x) * (y > 0)),
    ),
    "abs of the same input": (
        lambda x, y: np.maximum(x, y) + np.abs(x),
        lambda x, y: torch.maximum(x, y) + torch.abs(x),
        lambda x, y: ((x >= y) + np.sign(x), y >= x),
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_kink_at_other_values_does_not_hide_a_tie_that_is_given_twice(name: str) -> None:
    forward, reference, parts = BESIDE[name]

    def backward(dout, x, y):
        return tuple(dout * part for part in parts(x, y))

    for side in (reference, None):
        assert checked(forward, backward, side, INTEGERS, cases=["given"]).verdict == "disagree"


@pytest.mark.parametrize(("right", "agrees"), [(True, True), (False, False)])
@pytest.mark.parametrize("own", [True, False])
def test_a_kink_at_the_same_value_does_not_hide_it_either(
    right: bool, agrees: bool, own: bool
) -> None:
    def forward(x, y, z):
        return np.maximum(x, y) + np.abs(z)

    def backward(dout, x, y, z):
        second = (y > x) if right else (y >= x)
        return dout * (x >= y), dout * second, dout * np.sign(z)

    inputs = {"x": (4, 3), "y": (4, 3), "z": (4, 3)}
    reference = None if own else (lambda x, y, z: torch.maximum(x, y) + torch.abs(z))

    assert checked(forward, backward, reference, inputs, cases=["zeros"]).agrees is agrees


def test_ties_within_a_row_are_told_from_a_kink_in_the_same_row() -> None:
    def forward(x):
        return np.maximum(x[:, 0], x[:, 1]) + np.abs(x[:, 2])

    def backward(shares):
        def derivative(dout, x):
            first, second = shares(x[:, 0], x[:, 1])
            return np.stack([dout * first, dout * second, dout * np.sign(x[:, 2])], axis=1)

        return derivative

    def reference(x):
        return torch.maximum(x[:, 0], x[:, 1]) + torch.abs(x[:, 2])

    inputs = {"x": np.zeros((4, 3))}
    right = backward(lambda a, b: (a >= b, b > a))
    twice = backward(lambda a, b: (a >= b, b >= a))

    assert not checked(forward, twice, reference, inputs, cases=["given"]).agrees
    assert checked(forward, right, reference, inputs, cases=["given"]).verdict != "disagree"


# ── what a subgradient is ────────────────────────────────────────────────────────────────────────
UNARY = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: x > 0, torch.relu),
    "abs": (np.abs, np.sign, torch.abs),
}


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("name", "at_zero", "agrees"),
    [
        ("relu", 0, True), ("relu", 0.5, True), ("relu", 1, True),
        ("relu", 2, False), ("relu", -1, False), ("relu", 1.1, False), ("relu", -0.1, False),
        ("abs", 0, True), ("abs", 1, True), ("abs", -1, True), ("abs", 0.3, True),
        ("abs", 3, False), ("abs", -3, False), ("abs", 1.2, False),
    ],
)  # fmt: skip
def test_only_subgradients_are_conventions(
    name: str, at_zero: float, agrees: bool, own: bool
) -> None:
    forward, derivative, reference = UNARY[name]

    def backward(dout, x):
        return dout * (derivative(x) + at_zero * (x == 0))

    report = checked(forward, backward, None if own else reference, {"x": (4, 3)})

    assert report.agrees is agrees, str(report)


@pytest.mark.parametrize(
    ("share", "agrees"), [(0, True), (1, True), (0.3, True), (2, False), (-1, False)]
)
def test_shares_of_a_tie_lie_between_nothing_and_the_whole(share: float, agrees: bool) -> None:
    def backward(dout, x, y):
        tied = x == y
        return dout * ((x > y) + share * tied), dout * ((y > x) + (1 - share) * tied)

    inputs = {"x": (4, 3), "y": (4, 3)}

    assert checked(maximum, backward, torch.maximum, inputs).agrees is agrees


def test_among_many_tied_winners_each_may_be_the_one() -> None:
    def forward(x):
        return x.max(axis=1)

    def last(dout, x):
        tied = x == x.max(axis=1, keepdims=True)
        return dout[:, None] * (tied & (np.cumsum(tied[:, ::-1], axis=1)[:, ::-1] == 1))

    def shared(dout, x):
        tied = x == x.max(axis=1, keepdims=True)
        return dout[:, None] * tied / tied.sum(axis=1, keepdims=True)

    def each(dout, x):
        return dout[:, None] * (x == x.max(axis=1, keepdims=True))

    def reference(x):
        return x.max(dim=1).values

    inputs = {"x": np.random.default_rng(0).integers(0, 2, (3, 300)).astype(float)}

    def verdict(backward):
        return checked(forward, backward, reference, inputs, cases=["given"]).verdict

    assert verdict(last) != "disagree"
    assert verdict(shared) != "disagree"
    assert verdict(each) == "disagree"


def test_a_large_input_without_reference_has_its_kinks_tested_one_by_one() -> None:
    def backward(at_zero):
        return lambda dout, x: dout * ((x > 0) + at_zero * (x == 0))

    relu = UNARY["relu"][0]
    inputs = {"x": (30, 30)}

    cases = ["random", "zeros"]

    assert checked(relu, backward(1), None, inputs, cases=cases).agrees
    assert not checked(relu, backward(2), None, inputs, cases=cases).agrees


# ── torch's own conventions and others, in every dtype ───────────────────────────────────────────
class Maximum(torch.autograd.Function):
    """Gives ties to the first."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return torch.maximum(x, y)

    @staticmethod
    def backward(ctx, dout):
        x, y = ctx.saved_tensors
        return dout * (x >= y), dout * (y > x)


class Relu(torch.autograd.Function):
    """Has the derivative 1 at 0."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.relu(x)

    @staticmethod
    def backward(ctx, dout):
        return dout * (ctx.saved_tensors[0] >= 0)


class TwiceAtZero(Relu):
    @staticmethod
    def backward(ctx, dout):
        (x,) = ctx.saved_tensors
        return dout * ((x > 0) + 2.0 * (x == 0)).to(dout.dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_end_points_are_excused_in_every_dtype_and_what_lies_beyond_is_not(dtype: str) -> None:
    def run(candidate):
        return compare.check_torch(candidate, torch.relu, {"x": (4, 3)}, dtype=dtype, shrink=False)

    assert run(Relu.apply).agrees
    assert run(TwiceAtZero.apply).verdict == "disagree"


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(2, 1), (4, 3)])
def test_a_tie_inside_a_longer_formula_is_excused_in_every_dtype(
    dtype: str, shape: tuple[int, ...]
) -> None:
    report = compare.check_torch(
        lambda x, y: torch.exp(Maximum.apply(x, y) + 0.3) * 1.1,
        lambda x, y: torch.exp(torch.maximum(x, y) + 0.3) * 1.1,
        {"x": shape, "y": shape},
        dtype=dtype,
        shrink=False,
        cases=["random", "ties", "zeros"],
    )

    assert report.agrees, str(report)
    assert any("'zeros'" in note for note in report.notes)


def at(derivative, kinks):
    """Return a backward pass that has a derivative of its own at each of the kinks."""

    def backward(dout, x):
        found = np.where(True, derivative(x), 0.0)
        for place, value in kinks.items():
            found = np.where(x == place, value, found)
        return dout * found

    return backward


# forward, its derivative beside the kinks, torch's function, and a convention other than torch's
CONVENTIONS = {
    "relu6": (
        lambda x: np.clip(x, 0, 6), lambda x: (x > 0) & (x < 6),
        torch.nn.functional.relu6, {0.0: 1.0, 6.0: 1.0},
    ),
    "hardtanh": (
        lambda x: np.clip(x, -1, 1), lambda x: (x > -1) & (x < 1),
        torch.nn.functional.hardtanh, {-1.0: 1.0, 1.0: 0.5},
    ),
    "leaky relu": (
        lambda x: np.where(x > 0, x, 0.25 * x), lambda x: np.where(x > 0, 1, 0.25),
        lambda x: torch.nn.functional.leaky_relu(x, 0.25), {0.0: 1.0},
    ),
    "clamp": (
        lambda x: np.clip(x, -1, 1), lambda x: (x > -1) & (x < 1),
        lambda x: torch.clamp(x, -1, 1), {-1.0: 0.0, 1.0: 0.0},
    ),
    "hardswish": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(x <= -3, 0, np.where(x < 3, (2 * x + 3) / 6, 1)),
        torch.nn.functional.hardswish, {3.0: 1.5, -3.0: -0.5},
    ),
}  # fmt: skip
KINKS = np.array([[-3.0, -1.0, 0.0, 1.0], [3.0, 6.0, 2.5, -0.5], [0.0, 0.0, 1.0, 6.0]])


@pytest.mark.parametrize("name", CONVENTIONS)
def test_other_conventions_than_torchs_are_notes_and_torchs_own_agree(name: str) -> None:
    forward, derivative, reference, other = CONVENTIONS[name]

    def run(kinks):
        backward = at(derivative, kinks)
        return checked(forward, backward, reference, {"x": KINKS}, cases=["given"])

    x = torch.tensor(KINKS, requires_grad=True)
    reference(x).sum().backward()
    torchs = {place: x.grad[x == place][0].item() for place in other}  # type: ignore[index]

    assert run(torchs).agrees
    assert not run(torchs).kinks.size
    assert run(other).agrees
    assert run(other).kinks.size
    assert run(dict.fromkeys(other, 10.0)).verdict == "disagree"


# ── beyond the largest number of a dtype ─────────────────────────────────────────────────────────
def test_the_largest_numbers_are_numpys_and_torchs() -> None:
    for name, precision in PRECISIONS.items():
        assert precision.largest == torch.finfo(getattr(torch, name)).max


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_torch_overflows_in_this_dtype_elements_are_left_out_with_a_note(dtype: str) -> None:
    def backward(dout, x):
        return dout * np.exp(x)

    report = checked(np.exp, backward, torch.exp, {"x": (4, 3)}, dtype=dtype)

    assert report.agrees, str(report)
    told = [note for note in report.notes if f"not finite in {dtype}" in note]
    assert len(told) == 1
    assert "'large (×1000)'" in told[0]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_where_torch_in_this_dtype_has_no_number_either_none_is_asked_for(dtype: str) -> None:
    def product(x, y):
        return torch.tanh(x) * torch.exp(y)

    def run(candidate):
        inputs = {"x": (4, 3), "y": (4, 3)}
        return compare.check_torch(candidate, product, inputs, dtype=dtype, shrink=False)

    report = run(lambda x, y: product(x, y) * 1.0)
    wrong = run(lambda x, y: product(x, y) / (torch.exp(1000 * x) < 1e30))

    assert report.agrees, str(report)
    assert any("not finite in" in note for note in report.notes)
    assert wrong.verdict == "disagree"


def test_what_overflows_where_torch_does_not_is_still_a_mistake() -> None:
    def forward(x):
        return np.log(1 + np.exp(x))

    def backward(dout, x):
        return dout / (1 + np.exp(-x))

    report = checked(
        forward, backward, torch.nn.functional.softplus, {"x": (4, 3)}, dtype="float32"
    )

    assert report.verdict == "disagree"


def test_of_inputs_that_the_user_gave_nothing_is_left_out() -> None:
    def backward(dout, x):
        return dout * np.exp(x)

    x = np.array([[1.0, 95.0], [2.0, 3.0]])
    report = checked(np.exp, backward, torch.exp, {"x": x}, dtype="float32", cases=["given"])

    assert report.verdict == "incomplete"
    assert "not finite on these inputs" in report.reason


def strict(p):
    if ((p < 0) | (p > 1)).any():
        raise ValueError("not a probability")
    return p * p


@pytest.mark.parametrize(("factor", "verdict"), [(2.0, "agree"), (3.0, "disagree")])
def test_a_reference_that_refuses_what_lies_beyond_its_domain_is_no_traceback(
    factor: float, verdict: str
) -> None:
    given = {"p": np.array([1.0, 0.5, 0.0])}
    report = checked(lambda p: (p * p, p), lambda dout, p: factor * p * dout, strict, given)

    assert report.verdict == verdict


# ── of several gradients only the wrong one is blamed ────────────────────────────────────────────
def two_layers(wrong: str) -> Any:
    """Return loss and gradients of a ReLU network; of `wrong` they are a tenth too large."""

    def loss(X, y, W1, b1, W2, b2):
        z = X @ W1 + b1
        h = np.maximum(0, z)
        scores = np.exp(h @ W2 + b2)
        p = scores / scores.sum(axis=1, keepdims=True)
        rows = np.arange(len(y))
        d = p.copy()
        d[rows, y] -= 1
        d /= len(y)
        dz = d @ W2.T * (z > 0)
        grads = {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ d, "b2": d.sum(axis=0)}
        if wrong:
            grads[wrong] = 1.1 * grads[wrong]
        return -np.log(p[rows, y]).mean(), grads

    return loss


@pytest.mark.parametrize("wrong", ["", "W1", "b1", "W2", "b2"])
def test_a_convention_of_one_gradient_is_no_mistake_because_another_is_wrong(wrong: str) -> None:
    """At inputs of zeros, all before the ReLU is at its kink."""
    labels = np.array([0, 1, 2, 1, 0])
    inputs = {"X": (5, 4), "y": labels, "W1": (4, 6), "b1": (6,), "W2": (6, 3), "b2": (3,)}
    report = compare.check(two_layers(wrong), inputs=inputs, no_grad=["X"], shrink=False, seed=2)
    table = report.differences
    blamed = set(table.quantity[table.verdict == "disagree"])
    assert blamed == ({f"grad:{wrong}"} if wrong else set())
    assert report.verdict == ("disagree" if wrong else "agree")
    assert "zeros" in set(table.layer)
