"""A mistake is named by the change that mends it, by a path that is left out, or not at all."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from compare.commands.check.check import check
from compare.diagnose.cases import named
from compare.diagnose.causes import Cause
from compare.diagnose.repair import search
from compare.diagnose.repair.code import Code

ONE = ("random",)


def cause_of(forward: Any, backward: Any, reference: Any, inputs: dict, **more: Any) -> Cause:
    report = check(forward, backward, reference, inputs, shrink=False, **{"cases": ONE, **more})

    assert report.verdict == "disagree"
    assert report.cause is not None
    return report.cause


def cube(x):
    return x**3, x


def affine(x, w):
    return x @ w, (x, w)


def windows(x):
    return np.stack([x[:, i : i + 3].sum(axis=1) for i in range(x.shape[1] - 2)], axis=1), x


def sums(x):
    return x.unfold(1, 3, 1).sum(2)


# ── one change ───────────────────────────────────────────────────────────────────────────────────
def assigned(dout, x):
    dx = np.zeros_like(x)
    for i in range(dout.shape[1]):
        dx[:, i : i + 3] = dout[:, i : i + 1]
    return dx


def one_window_short(dout, x):
    dx = np.zeros_like(x)
    for i in range(dout.shape[1] - 1):
        dx[:, i : i + 3] += dout[:, i : i + 1]
    return dx


def square_of_it(dout, x):
    return dout * 3 * x


def not_transposed(dout, cache):
    x, w = cache
    return dout @ w, x.T @ dout


def layer_norm(x, g):
    s = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    n = (x - x.mean(-1, keepdims=True)) * s
    return n * g, (n, s, g)


def norms(x, g):
    return functional.layer_norm(x, x.shape[-1:], g, None)


def without_gamma(d, cache):
    n, s, g = cache  # noqa: RUF059  (what is missing)
    dx = s * (d - d.mean(-1, keepdims=True) - n * (d * n).mean(-1, keepdims=True))
    return dx, (d * n).sum(0)


def along_the_batch(d, cache):
    n, s, g = cache
    e = d * g
    dx = s * (e - e.mean(0) - n * (e * n).mean(0))
    return dx, (d * n).sum(0)


def dense(x, w):
    return np.tanh(x @ w), (x, w)


def without_the_square(d, cache):
    x, w = cache
    g = d * (1 - np.tanh(x @ w))
    return g @ w.T, x.T @ g


NORM = {"x": (4, 6), "g": (6,)}
THROUGHOUT = "s * (d * g - (d * g).mean(-1, keepdims=True) - n * (d * g * n).mean("


@pytest.mark.parametrize(
    ("forward", "backward", "reference", "shapes", "kind", "told"),
    [
        (layer_norm, without_gamma, norms, NORM, "wrong factor", THROUGHOUT),
        (layer_norm, along_the_batch, norms, NORM, "wrong axis", "(e * n).mean(axis=1"),
        (windows, assigned, sums, {"x": (3, 6)}, "overwritten", "dx[:, i:i + 3] += dout"),
        (windows, one_window_short, sums, {"x": (3, 6)}, "index", "in range(dout.shape[1]):"),
        (cube, square_of_it, lambda x: x**3, {"x": (3, 4)}, "wrong factor", "3 * x * x"),
        (
            dense, without_the_square, lambda x, w: torch.tanh(x @ w), {"x": (4, 3), "w": (3, 5)},
            "power", "np.tanh(x @ w) ** 2",
        ),
        (affine, not_transposed, torch.matmul, {"x": (3, 4), "w": (4, 5)}, "exception", "@ w.T"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_the_change_that_mends_it(
    forward: Any, backward: Any, reference: Any, shapes: dict, kind: str, told: str
) -> None:
    cause = cause_of(forward, backward, reference, shapes)

    assert cause.kind == kind
    assert told in cause.evidence
    assert f"in {backward.__name__}" in cause.evidence


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.0447 * x**3))), x


def test_a_rounded_constant_is_told_with_its_digits() -> None:
    cause = cause_of(
        gelu, lambda dout, x: dout, lambda x: functional.gelu(x, approximate="tanh"), {"x": (3, 4)}
    )

    assert cause.kind == "rounded constant"
    assert "0.044715" in cause.evidence


def softmax_loss(x, y):
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    dx = p.copy()
    dx[y] -= 1
    return loss, dx / len(y)


def test_an_index_that_should_be_fancy_is_named() -> None:
    y = np.array([2, 0, 1, 2])
    cause = cause_of(softmax_loss, None, functional.cross_entropy, {"x": (4, 3), "y": y})

    assert cause.kind == "index"
    assert "dx[np.arange(len(y)), y] -= 1" in cause.evidence


class Layer:
    def __init__(self) -> None:
        self.w = np.arange(1.0, 5.0)

    def forward(self, x):
        self.x = x
        return np.tanh(x) * self.w

    def backward(self, dout):
        self.dw = (dout * self.x).sum(axis=0)
        return dout * self.w * (1 - np.tanh(self.x) ** 2)


def test_a_method_is_mended_too_and_left_as_it_was() -> None:
    code = Layer.backward.__code__
    cause = cause_of(Layer(), None, lambda x, w: torch.tanh(x) * w, {"x": (3, 4), "w": (4,)})

    assert "np.tanh(self.x)" in cause.evidence
    assert Layer.backward.__code__ is code


# ── a path of forward ────────────────────────────────────────────────────────────────────────────
def norm(x):
    mean = x.mean(axis=1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5), (x, mean, var)


def without_the_variance(dout, cache):
    _, _, var = cache
    d = dout / np.sqrt(var + 1e-5)
    return d - d.mean(axis=1, keepdims=True)


def test_a_path_that_is_left_out_is_named_by_its_variable() -> None:
    cause = cause_of(
        norm, without_the_variance, lambda x: functional.layer_norm(x, (5,)), {"x": (4, 5)}
    )

    assert cause.kind == "missing path"
    assert "through `var`" in cause.evidence
    assert "is missing" in cause.evidence
    assert "__held_for_a_path" not in globals()


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────
def row_max(x):
    return x.max(axis=1), x


def test_the_whole_gradient_to_every_tied_maximum_is_named() -> None:
    def backward(dout, x):
        return (x == x.max(axis=1, keepdims=True)) * dout[:, None]

    cause = cause_of(
        row_max, backward, lambda x: x.max(1).values, {"x": (5, 4)}, cases=("random", "ties")
    )

    assert cause.kind == "tied maximum"


def test_an_upstream_gradient_forgotten_with_a_length_is_told_as_both() -> None:
    def mean_square(x):
        return (x**2).mean(), x

    cause = cause_of(mean_square, lambda dout, x: 2 * x, lambda x: (x**2).mean(), {"x": (4, 3)})

    assert cause.kind == "upstream missing"
    assert "times the number of classes / dy" in cause.evidence


def test_a_number_of_the_code_is_not_told_as_a_length() -> None:
    cause = cause_of(
        lambda x: (np.sin(x), x), lambda dout, x: 0.05 * dout * np.cos(x), torch.sin,
        {"x": (4, 5)}, cases=("random", "other sizes"),
    )  # fmt: skip

    assert cause.kind == "setting"
    assert "0.05 = the 0.05 in the code in every element" in cause.evidence


def test_float64_gradients_of_float32_inputs_are_a_matter_of_dtype() -> None:
    def relu(x):
        return np.maximum(x, 0), x

    def backward(dout, x):
        dx = np.zeros(x.shape)
        dx[x > 0] = dout[x > 0]
        return dx

    assert cause_of(relu, backward, torch.relu, {"x": (3, 4)}, dtype="float32").kind == "dtype"


# ── what is right by chance ──────────────────────────────────────────────────────────────────────
def scores(q, k):
    scaled = q @ k.T / np.sqrt(np.array(q.shape[1], q.dtype))
    weights = np.exp(scaled - scaled.max(1, keepdims=True))
    weights = weights / weights.sum(1, keepdims=True)
    return weights, (q, k, weights)


def without_the_scale(dout, cache):
    q, k, weights = cache
    ds = weights * (dout - (dout * weights).sum(1, keepdims=True))
    return ds @ k / np.sqrt(q.shape[1]), ds.T @ q


def test_a_root_that_is_two_by_chance_is_no_factor_2_and_no_path_twice() -> None:
    report = check(
        scores, without_the_scale, lambda q, k: torch.softmax(q @ k.T / q.shape[1] ** 0.5, 1),
        {"q": (5, 4), "k": (5, 4)}, shrink=False,
    )  # fmt: skip

    assert "grad:k" in report.reason
    said = report.cause.evidence if report.cause else ""
    assert "whatever the sizes" not in said
    assert "twice" not in said
    assert "/ 2" not in said


def mirrored(x):
    return x[:, ::-1] @ x.T, x


def of_even_lengths(dout, x):
    dx = (dout @ x)[:, ::-1] + dout.T @ x[:, ::-1]
    if x.shape[1] % 2:
        dx[:, x.shape[1] // 2] /= 2
    return dx


def test_a_change_that_is_wrong_in_a_right_case_of_other_sizes_is_not_told() -> None:
    report = check(
        mirrored, of_even_lengths, lambda x: x.flip(1) @ x.T, {"x": (4, 4)}, shrink=False
    )

    assert report.verdict == "disagree"
    assert report.cause is None or "x.shape[0]" not in report.cause.evidence


def log_loss(x, y):
    p = np.exp(x - np.max(x, axis=1, keepdims=True))
    p = p / np.sum(p, axis=1, keepdims=True)
    rows = np.arange(len(x))
    dx = p.copy()
    dx[rows, y] -= 1
    return -np.mean(np.log(p[rows, y])), dx / len(x)


def test_a_change_after_which_a_loss_is_still_infinite_mends_nothing() -> None:
    inputs = {"x": (4, 3), "y": np.array([2, 0, 1, 2])}
    report = check(log_loss, None, functional.cross_entropy, inputs, dtype="float32", shrink=False)

    assert "output only in the case 'large (×1000)'" in report.reason
    assert report.cause is not None
    assert report.cause.kind == "float32 only"


# ── memory ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no such limit")
def test_a_changed_line_that_asks_for_too_much_fails_and_the_limit_is_lifted(monkeypatch) -> None:
    import resource

    before, during = resource.getrlimit(resource.RLIMIT_DATA), []

    def judged(*_: Any) -> str:
        during.append(resource.getrlimit(resource.RLIMIT_DATA)[0])
        with pytest.raises(MemoryError):
            np.ones(1 << 28)
        return ""

    monkeypatch.setattr(search.Trial, "judged", judged)
    check(cube, square_of_it, lambda x: x**3, {"x": (3, 4)}, cases=ONE, shrink=False)

    assert during
    assert all(limit != resource.RLIM_INFINITY for limit in during)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


# ── silence, and a search that dies ──────────────────────────────────────────────────────────────
def test_nothing_is_said_of_numbers_that_no_change_explains() -> None:
    noise = np.random.default_rng(1).standard_normal((3, 4))
    report = check(
        cube, lambda dout, x: noise, lambda x: x**3, {"x": (3, 4)}, cases=ONE, shrink=False
    )

    assert report.verdict == "disagree"
    assert report.cause is None


def test_a_search_that_dies_leaves_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any) -> None:
        raise RecursionError

    for name in ("repaired", "missing_path", "tied_maximum", "confirmed", "cause"):
        monkeypatch.setattr(named, name, dies)
    report = check(cube, square_of_it, lambda x: x**3, {"x": (3, 4)}, cases=ONE, shrink=False)

    assert report.verdict == "disagree"
    assert report.cause is None


def test_a_function_whose_loop_may_never_end_is_not_changed() -> None:
    def waits(x):
        while x > 1:
            x = x / 2
        return x

    with pytest.raises(ValueError, match="never end"):
        Code(waits)
