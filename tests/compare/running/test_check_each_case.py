"""Each case of a check catches what the others miss, and tells where."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compare
from tests.compare.pair.gradient_pairs import (
    AFFINE,
    affine,
    affine_backward,
    affine_forward,
    failing,
)


# ── each case catches what the others miss ───────────────────────────────────────────────────────
def test_a_squeeze_that_breaks_for_a_batch_of_one_is_found_there() -> None:
    def backward(dout, cache):
        x, w = cache
        return (dout @ w.T).squeeze(), x.T @ dout, dout.sum(axis=0)

    report = compare.check(affine_forward, backward, affine, AFFINE, shrink=False)

    assert failing(report) == {"batch of 1", "x axis 1 = 1"}
    assert "has shape (3,); it must be (1, 3)" in report.first_divergence.explanation


def test_a_candidate_that_fails_for_a_batch_of_one_is_found_there() -> None:
    def backward(dout, cache):
        if len(cache[0]) == 1:
            raise IndexError("no second row")
        return affine_backward(dout, cache)

    report = compare.check(affine_forward, backward, affine, AFFINE, shrink=False)

    assert failing(report) == {"batch of 1"}
    assert "missing" in set(report.differences["verdict"])
    assert "IndexError: no second row (line" in report.first_divergence.explanation


def test_a_batch_size_in_the_code_is_found_where_a_batch_of_one_is_refused() -> None:
    def forward(x):
        centred = x - x.mean(axis=0)
        return centred / np.sqrt((centred**2).mean(axis=0) + 1e-5), x

    def backward(dout, x, n=5):
        centred = x - x.sum(axis=0) / n
        s = 1 / np.sqrt((centred**2).sum(axis=0) / n + 1e-5)
        y = centred * s
        return s * (dout - dout.sum(axis=0) / n - y * (dout * y).sum(axis=0) / n)

    def reference(x):
        return torch.nn.functional.batch_norm(x, None, None, training=True)

    report = compare.check(forward, backward, reference, {"x": (5, 3)}, shrink=False)

    assert failing(report) == {"other sizes"}
    assert report.cause is None
    assert "Is a size written into the code" in report.first_divergence.explanation


def test_a_number_of_classes_in_the_code_is_found_though_the_labels_are_given() -> None:
    def forward(x, y):
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(y)), y]).mean(), (p, y)

    def backward(dout, cache):
        p, y = cache
        return dout * (p - np.eye(3)[y]) / len(y)

    inputs = {"x": (4, 3), "y": np.array([0, 2, 1, 1])}
    ours = compare.check(
        forward, backward, torch.nn.functional.cross_entropy, inputs,
        shrink=False, cases=["random", "ties", "other"],
    )  # fmt: skip

    assert failing(ours) == {"other sizes"}


def test_assuming_contiguous_memory_is_found() -> None:
    def backward(dout, cache):
        x, w = cache
        if not x.flags.c_contiguous:
            x = np.lib.stride_tricks.as_strided(x, x.shape, (x.shape[1] * x.itemsize, x.itemsize))
        return affine_backward(dout, (x, w))

    report = compare.check(affine_forward, backward, affine, AFFINE, shrink=False)

    assert failing(report) == {"non-contiguous", "Fortran order"}


@pytest.mark.parametrize(
    ("of_rows", "found"),
    [
        (lambda x: x.ravel(order="K").reshape(x.shape), "Fortran order"),
        (lambda x: np.frombuffer(x.tobytes(order="A")).reshape(x.shape), "Fortran order"),
        (lambda x: x[::-1] if x.strides[-1] < 0 else x, "non-contiguous"),
    ],
    ids=["ravel", "bytes", "sign of a stride"],
)
def test_assuming_how_arrays_lie_in_memory_is_found(of_rows, found) -> None:
    report = compare.check(
        lambda x: (x * x, x), lambda dout, x: 2 * of_rows(x) * dout, lambda x: x * x,
        {"x": (3, 4)}, shrink=False,
    )  # fmt: skip

    assert failing(report) == {found}


def test_an_epsilon_in_the_wrong_place_is_found_at_tiny_magnitudes() -> None:
    def forward(x):
        return x / np.sqrt((x * x).mean() + 1e-12), x

    def backward(dout, x):
        s = np.sqrt((x * x).mean()) + 1e-6  # outside the root: the same for ordinary numbers
        return dout / s - x * (dout * x).sum() / (s**3 * x.size)

    def reference(x):
        return x / torch.sqrt((x * x).mean() + 1e-12)

    report = compare.check(forward, backward, reference, {"x": (3, 2)}, shrink=False)

    assert "tiny (×1e-06)" in failing(report)


def test_an_exponential_that_overflows_is_found_at_large_magnitudes() -> None:
    def forward(x):
        return np.log(1 + np.exp(x)), x

    report = compare.check(
        forward,
        lambda dout, x: dout / (1 + np.exp(-x)),
        torch.nn.functional.softplus,
        {"x": (4, 3)},
        shrink=False,
    )

    assert failing(report) == {"large (×1000)"}


def test_numbers_whose_squares_overflow_are_no_false_alarm() -> None:
    x = np.array([[175.7, -182.1, 690.0], [5.0, -690.0, 400.0]])
    report = compare.check(
        lambda x: (np.log(1 + np.exp(x)), x),
        lambda dout, x: dout / (1 + np.exp(-x)),
        torch.nn.functional.softplus,
        {"x": x},
        cases=["given"],
    )

    assert report.agrees, str(report)


def test_what_the_reference_refuses_is_said_and_is_no_failure() -> None:
    def reference(x, w, b):
        if len(x) == 1:
            raise ValueError("more than one row, please")
        return affine(x, w, b)

    report = compare.check(affine_forward, affine_backward, reference, AFFINE)

    assert report.agrees
    assert "'batch of 1' (reference refuses it: ValueError: more than one row" in report.notes[0]
    assert "batch of 1" not in set(report.differences["layer"])


def test_only_the_chosen_cases_run() -> None:
    report = compare.check(affine_forward, affine_backward, affine, AFFINE, cases=["ties", "zer"])

    assert set(report.differences["layer"]) == {"ties", "zeros"}


def convolved(x: np.ndarray, w: np.ndarray) -> tuple:
    k = len(w)
    return np.array([x[i : i + k] @ w for i in range(len(x) - k + 1)]), (x, w)


@pytest.mark.parametrize(("turned", "verdict"), [(1, "agree"), (-1, "disagree")])
def test_sizes_in_which_forward_returns_nothing_are_left_out(turned: int, verdict: str) -> None:
    """One element under a kernel of three: no output, and so no gradient to get wrong."""

    def backward(dy: np.ndarray, cache: tuple) -> tuple:
        x, w = cache
        dw = np.array([dy @ x[i : i + len(dy)] for i in range(len(w))])
        return np.convolve(dy, w[::turned]), dw

    report = compare.check(convolved, backward, inputs={"x": (7,), "w": (3,)})

    assert report.verdict == verdict
    assert any("'batch of 1' (convolved returns nothing there)" in n for n in report.notes)


def test_a_factor_that_only_a_later_gradient_shows_is_told_of_that_one() -> None:
    """The scale is missing on the way to w; x gets a sum of that path and of a right one."""

    def forward(x: np.ndarray, w: np.ndarray) -> tuple:
        a = np.tanh(x @ w / 3)
        return a + x, (x, w, a)

    def backward(dy: np.ndarray, cache: tuple) -> tuple:
        x, w, a = cache
        da = dy * (1 - a * a)
        half = {"x": dy * np.cos(x) / np.cos(x)}  # nothing that a changed line would mend
        return half["x"] + 0.7 * np.sin(da @ w.T), x.T @ da

    report = compare.check(forward, backward, inputs={"x": (4, 5), "w": (5, 5)})

    assert report.cause is not None
    assert report.cause.evidence.startswith("grad:w shows it: ")
    assert "× 3 " in report.cause.evidence


def test_what_is_off_along_a_third_axis_is_told_by_its_number() -> None:
    """Not as columns; all steps but the last are off, as where a path through time is lost."""

    def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
        dx = dy * np.cos(cache)
        return np.concatenate([np.expm1(dx[:, :, :-1]), dx[:, :, -1:]], axis=2)

    report = compare.check(lambda x: (np.sin(x), x), backward, inputs={"x": (3, 4, 5)})

    assert report.cause is not None
    assert "at 0 to 3 of 5 along axis 2" in report.cause.evidence
    assert "through time" in report.cause.advice


def test_what_is_not_written_yet_is_told_so() -> None:
    def backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    report = compare.check(lambda x: (x * 2, x), backward, inputs={"x": (3,)})

    assert report.cause is not None
    assert "raised NotImplementedError (line" in report.cause.evidence
    assert report.cause.advice == "That line says that it is still to be written."
