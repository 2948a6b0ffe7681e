"""Wrong derivations that once agreed, each beside the right one in the same situation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compare


def verdict(*args, **options) -> str:
    return compare.check(*args, shrink=False, **options).verdict


# ── steep is not broken ──────────────────────────────────────────────────────────────────────────
def steep(function, derivative):
    return lambda x: (function(x), x), lambda dout, x: dout * derivative(x)


STEEP = {
    "charbonnier": (
        lambda x: np.sqrt(x * x + 1e-18), lambda x: x / np.sqrt(x * x + 1e-18),
        lambda x: torch.sqrt(x * x + 1e-18), lambda x: np.where(x == 0, 0.5, np.sign(x)),
    ),
    "log": (
        lambda x: np.log(np.abs(x) + 1e-12), lambda x: np.sign(x) / (np.abs(x) + 1e-12),
        lambda x: torch.log(x.abs() + 1e-12), lambda x: np.sign(x) / (np.abs(x) + 1e-11),
    ),
    "sigmoid": (
        lambda x: 1 / (1 + np.exp(-1e7 * x)),
        lambda x: 1e7 * np.exp(-1e7 * np.abs(x)) / (1 + np.exp(-1e7 * np.abs(x))) ** 2,
        lambda x: torch.sigmoid(1e7 * x), lambda x: np.zeros_like(x),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEEP)
def test_a_smooth_function_is_not_excused_as_a_kink_where_it_is_steep(name: str) -> None:
    value, right, reference, wrong = STEEP[name]

    assert verdict(*steep(value, right), reference, {"x": (4, 3)}) == "agree"
    assert verdict(*steep(value, wrong), reference, {"x": (4, 3)}) == "disagree"


def test_a_norm_guarded_at_a_zero_row_has_torchs_gradient_there_or_disagrees() -> None:
    def forward(x):
        n = np.maximum(np.sqrt((x * x).sum(1, keepdims=True)), 1e-12)
        return x / n, (x / n, n)

    def right(dout, cache):
        y, n = cache
        return (dout - np.where(n > 1e-12, y * (dout * y).sum(1, keepdims=True), 0)) / n

    def wrong(dout, cache):
        return np.where(cache[1] > 1e-12, right(dout, cache), 0 * dout)

    def reference(x):
        return torch.nn.functional.normalize(x, dim=1)

    assert verdict(forward, right, reference, {"x": (4, 3)}) == "agree"
    assert verdict(forward, wrong, reference, {"x": (4, 3)}) == "disagree"


# ── errors belong to an element ──────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("mask", [-1e30, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize(("factor", "expected"), [(1.0, "agree"), (1.0005, "disagree")])
def test_one_huge_number_does_not_blind_the_rest(mask, factor, expected) -> None:
    def forward(q, k):
        m = np.arange(k.shape[0]) == 0
        return np.where(m, mask, q @ k.T), (q, k, m)

    def backward(dout, cache):
        q, k, m = cache
        d = np.where(m, 0, dout)
        return d @ k * factor, d.T @ q

    def reference(q, k):
        m = torch.arange(k.shape[0]) == 0
        return torch.where(m, torch.tensor(mask, dtype=q.dtype), q @ k.T)

    assert verdict(forward, backward, reference, {"q": (5, 3), "k": (6, 3)}) == expected


def of_wide_range(sign: float):
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.exp(16 * x)

        @staticmethod
        def backward(ctx, g):
            d = 16 * g * torch.exp(16 * ctx.saved_tensors[0])
            return torch.where(ctx.saved_tensors[0] < -0.5, sign * d, d)

    return Exp.apply


@pytest.mark.parametrize(("sign", "expected"), [(1.0, "agree"), (-1.0, "disagree")])
def test_small_elements_are_judged_beside_large_ones(sign, expected) -> None:
    report = compare.check_torch(
        of_wide_range(sign), lambda x: torch.exp(16 * x), {"x": (16, 8)}, shrink=False
    )

    assert report.verdict == expected


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "agree"), (1.001, "disagree")])
def test_an_iteration_that_corrects_itself_is_judged_by_what_is_left_of_its_errors(
    factor, expected
) -> None:
    def newton(a, xp):
        x = 0 * a + 1
        for _ in range(40):
            x = 0.5 * (x + a / x)
        return x

    report = compare.check(
        lambda a: (newton(np.exp(a), np), a),
        lambda dout, a: dout * 0.5 * np.exp(0.5 * a) * factor,
        lambda a: newton(torch.exp(a), torch),
        {"a": (4, 3)},
        cases=["random"],
        shrink=False,
    )

    assert report.verdict == expected


def test_an_element_that_rounding_can_move_by_a_per_cent_is_never_said_to_agree() -> None:
    def forward(x):
        return (x + 1e15) - 1e15, x

    report = compare.check(
        forward, lambda dout, x: 1.3 * ((dout + 1e15) - 1e15), lambda x: 1.0 * x,
        {"x": (4, 3)}, cases=["random"], shrink=False,
    )  # fmt: skip

    assert report.verdict != "agree"


# ── a single special value ───────────────────────────────────────────────────────────────────────
def others(x):
    """Return the product of the other elements of each row."""
    found = np.ones_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[1]):
            if i != j:
                found[:, i] *= x[:, j]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_single_zero_in_a_row_is_tried(seed: int) -> None:
    def forward(x):
        return x.prod(1), x

    def guarded(dout, x):
        return dout[:, None] * x.prod(1)[:, None] / np.where(x == 0, 1, x)

    def run(backward):
        return verdict(forward, backward, lambda x: x.prod(1), {"x": (4, 8)}, seed=seed)

    assert run(lambda dout, x: dout[:, None] * others(x)) == "agree"
    assert run(guarded) == "disagree"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


BRANCHES = {  # a function, its derivative, the reference, and a derivative that branches elsewhere
    "softplus, linear from 4": (
        lambda x: np.logaddexp(0, x), sigmoid,
        lambda x: torch.logaddexp(x, torch.zeros_like(x)), lambda x: np.where(x > 4, 1, sigmoid(x)),
    ),
    "softplus, linear from 8": (
        lambda x: np.logaddexp(0, x), sigmoid,
        lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        lambda x: np.where(x > 8, 1, sigmoid(x)),
    ),
    "relu6 up to 20": (
        lambda x: np.clip(x, 0, 6), lambda x: 1.0 * ((x > 0) & (x < 6)),
        torch.nn.functional.relu6, lambda x: 1.0 * ((x > 0) & (x < 20)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(12,), (4, 5)])
@pytest.mark.parametrize("name", BRANCHES)
def test_magnitudes_between_one_and_a_hundred_are_visited(name: str, shape: tuple) -> None:
    value, right, reference, wrong = BRANCHES[name]

    assert verdict(*steep(value, right), reference, {"x": shape}) == "agree"
    assert verdict(*steep(value, wrong), reference, {"x": shape}) == "disagree"
    assert verdict(*steep(value, wrong), reference, {"x": shape}, cases=["-wide"]) == "agree"


# ── numbers that say nothing ─────────────────────────────────────────────────────────────────────
def test_a_forward_that_draws_its_own_numbers_is_told_as_such() -> None:
    def forward(x):
        mask = np.random.rand(*x.shape) < 0.5  # noqa: NPY002 - as people write it
        return x * mask, mask

    report = compare.check(forward, lambda dout, mask: dout * mask, inputs={"x": (6, 5)})

    assert report.verdict == "incomplete"
    assert "draws random numbers" in report.reason


def test_a_reference_that_torch_cannot_differentiate_is_no_gradient_of_zero() -> None:
    def run(reference):
        return compare.check(
            lambda x: (np.tanh(x), x), lambda dout, x: dout * (1 - np.tanh(x) ** 2), reference,
            {"x": (4, 3)}, shrink=False,
        )  # fmt: skip

    report = run(lambda x: torch.tanh(x.detach()))

    assert report.verdict == "incomplete"
    assert "has no grad_fn" in report.reason
    assert run(torch.tanh).agrees
    assert run(lambda x: torch.tanh(x) * 2).verdict == "disagree"


def test_code_that_loses_digits_which_the_reference_keeps_is_told_so() -> None:
    def check(lost):
        return compare.check(
            lambda x: (np.sin(x), x), lambda dout, x: (dout * np.cos(x) + lost) - lost, torch.sin,
            {"x": (8, 4)}, shrink=False, cases=["random"],
        )  # fmt: skip

    unstable, stable = check(1e10), check(0.0)

    assert unstable.verdict == "incomplete"
    assert "loses digits that the reference keeps" in " ".join(unstable.notes)
    assert stable.verdict == "agree"
    assert not stable.notes


def test_a_matrix_of_ours_that_is_singular_is_no_finding_and_the_users_own_is() -> None:
    def check(a, cases=None):
        return compare.check(
            lambda a: (np.linalg.slogdet(a)[1], a), lambda dout, a: dout * np.linalg.inv(a).T,
            lambda a: torch.linalg.slogdet(a)[1], {"a": a},
            dtype="float32", shrink=False, cases=cases,
        )  # fmt: skip

    assert check((4, 4)).verdict == "agree"
    assert check(np.ones((4, 4))).verdict != "agree"


def test_what_float32_cannot_tell_is_left_to_float64() -> None:
    def check(dtype):
        x = 100 + np.random.default_rng(0).standard_normal((8, 3))
        return compare.check(
            lambda x: ((x * x).mean(0) - x.mean(0) ** 2, x),
            lambda dout, x: dout * 2 * (x - x.mean(0)) / len(x),
            lambda x: x.var(0, unbiased=False), {"x": x}, dtype=dtype, shrink=False,
        )  # fmt: skip

    assert check("float64").agrees
    assert check("float32").verdict == "incomplete"
    assert "check the derivation in float64" in check("float32").reason


def test_an_upstream_gradient_that_is_clipped_is_found() -> None:
    def check(most):
        return compare.check(
            lambda x, w: (x @ w, (x, w)),
            lambda dout, c: (np.clip(dout, -most, most) @ c[1].T, c[0].T @ dout),
            torch.matmul, {"x": (4, 3), "w": (3, 5)}, shrink=False,
        )  # fmt: skip

    assert check(5).verdict == "disagree"
    assert check(1e9).agrees
